"""What each of two processes runs for test_evaluate_modules.py."""

import sys

import evaluate
import numpy as np

from hf_seqvae.evaluate_modules import path

NUM_ROWS = 23
OPTIONS = {
    "active_units": {"threshold": 0.5},
    "feature_dispersion": {},
    "iw_perplexity": {"unit": "token"},
    "mutual_information": {"batch_size": 4},
}
# which rows the second process has: a few, out of order with the rest, or none at all
SHARES = {"uneven": [1, 2, 9, 16, 20], "one-sided": []}


def columns() -> dict[str, dict[str, np.ndarray]]:
    """The inputs of each module, 23 sentences."""
    drawn = np.random.default_rng(0)
    scale = np.array([2.0, 1.0, 0.7, 0.2, 0.01])
    mean = drawn.standard_normal((NUM_ROWS, 5)).astype(np.float32) * scale
    logvar = drawn.standard_normal((NUM_ROWS, 5)) - 1
    return {
        "active_units": {"posterior_mean": mean},
        "feature_dispersion": {"features": mean + 0.3},
        "iw_perplexity": {
            "log_weights": 3 * drawn.standard_normal((NUM_ROWS, 7)) - 40,
            "num_units": drawn.integers(1, 30, NUM_ROWS),
        },
        "mutual_information": {
            "posterior_mean": mean,
            "posterior_logvar": logvar,
            "latents": mean + np.exp(logvar / 2) * drawn.standard_normal((NUM_ROWS, 5)),
        },
    }


def results(process_id: int, folder: str) -> dict[tuple[str, str], dict | None]:
    """Figures of each round and module as this process gets them."""
    found = {}
    for name, inputs in columns().items():
        for kind, second in SHARES.items():
            rows = second if process_id else np.setdiff1d(np.arange(NUM_ROWS), second)
            metric = evaluate.load(
                path(name),
                num_process=2,
                process_id=process_id,
                experiment_id=kind,
                cache_dir=folder,
            )
            for half in (rows[:3], rows[3:]):
                metric.add_batch(**{key: column[half] for key, column in inputs.items()})
            found[kind, name] = metric.compute(**OPTIONS[name])
    return found


if __name__ == "__main__":
    assert set(results(1, sys.argv[1]).values()) == {None}
