"""The self-check: every estimator against a case whose answer is known exactly."""

import difflib
import time
from collections.abc import Callable, Iterator, Sequence

import torch

from hf_seqvae.selfcheck import features, likelihood, report, training, usage
from hf_seqvae.selfcheck.comparison import Check, Comparison, Line, raised

__all__ = ["CHECKS", "Check", "Comparison", "Line", "choose_checks", "run_checks"]

CHECKS = (
    Check("scoring", likelihood.scoring),
    Check("elbo", likelihood.elbo),
    Check("iw_nll", likelihood.importance),
    Check("iw_nll_gap", likelihood.importance_gap),
    Check("effective_sample_size", likelihood.effective_samples),
    Check("perplexity", likelihood.perplexity),
    Check("grammar", likelihood.grammar),
    Check("kl", usage.kl),
    Check("mutual_information", usage.information),
    Check("minibatch_information", usage.minibatch_information),
    Check("active_units", usage.units),
    Check("used_fraction", usage.used),
    Check("swap_gap", usage.swaps),
    Check("position_profile", usage.positions),
    Check("collapse", usage.collapse),
    Check("dispersion", features.dispersion),
    Check("report", report.report),
    Check("optimum", training.optimum),
    Check("training", training.trained),
    Check("annealing", training.annealing),
)
# what a broken estimator may end in
ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


def choose_checks(names: Sequence[str] = ()) -> list[Check]:
    """The checks of these names, in their order here; all of them for no name."""
    known = {check.name: check for check in CHECKS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Do you mean {near[0]!r}?" if near else ""
            raise ValueError(f"a check is one of {list(known)}, got {name!r}.{hint}")
    return [check for check in CHECKS if not names or check.name in names]


def run_checks(
    checks: Sequence[Check],
    *,
    full: bool = False,
    before: Callable[[Check], None] | None = None,
) -> Iterator[Line]:
    """The comparisons of all checks, as they are made; an estimator's error is a failed one.

    Args:
        checks: which.
        full: the long comparisons too: minutes in place of seconds.
        before: called before each check.
    """
    for check in checks:
        if before is not None:
            before(check)
        lines: list[Line] = []
        clock = time.perf_counter()
        # the same figures in every run, and the caller's random numbers as if none had been drawn
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            try:
                for comparison in check.run(full):
                    now = time.perf_counter()
                    lines.append(Line(check.name, comparison, now - clock))
                    clock = now
            except ERRORS as error:
                lines.append(Line(check.name, raised(error), time.perf_counter() - clock))
        yield from lines
