"""The `evaluate` modules: loaded without a network, and equal to the functions they stand for."""

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest
import torch
from evaluate_modules_worker import OPTIONS, SHARES, columns, results

from hf_seqvae.evaluate_modules import NAMES, path
from hf_seqvae.metrics import (
    active_units,
    mean_pairwise_cosine,
    minibatch_mutual_information,
    mutual_information,
    participation_ratio,
    perplexity_and_standard_error,
    pointwise_mutual_information,
    relative_variance,
    total_variance,
    word_perplexity,
)

WORKER = Path(__file__).parent / "evaluate_modules_worker.py"
INPUTS = columns()


@pytest.fixture
def load(tmp_path):
    return lambda name: evaluate.load(path(name), cache_dir=str(tmp_path))


@pytest.fixture
def compute(load):
    return lambda name, inputs=None, **options: load(name).compute(
        **(INPUTS[name] if inputs is None else inputs), **options
    )


def tensors(name):
    return [torch.tensor(column, dtype=torch.float64) for column in INPUTS[name].values()]


@pytest.mark.parametrize("name", NAMES)
def test_a_module_explains_itself(load, name):
    metric = load(name)
    assert os.environ["HF_EVALUATE_OFFLINE"] == "1"
    assert metric.name == name
    assert list(metric.features) == list(INPUTS[name])
    assert "sentence" in metric.description
    assert "@" in metric.citation and metric.info.reference_urls[0] in metric.citation
    for shown in (*metric.features, *OPTIONS[name], "(N,"):
        assert shown in metric.inputs_description
    figures = metric.compute(**INPUTS[name], **OPTIONS[name])
    for figure in figures:
        assert figure in metric.inputs_description, f"{figure} is not explained"


def test_active_units_is_the_function_and_shows_its_variances(compute):
    (mean,) = tensors("active_units")
    variances = mean.var(0, correction=1)
    for threshold in (0.01, float(variances.median())):
        figures = compute("active_units", threshold=threshold)
        assert figures["active_units"] == active_units(mean, threshold=threshold)
        assert figures["active_units"] == int((variances >= threshold).sum())
    assert figures["num_units"] == 5 and figures["num_sentences"] == len(mean)
    assert figures["variances"] == pytest.approx(variances.tolist(), rel=1e-12)
    assert compute("active_units")["threshold"] == 0.01


def test_feature_dispersion_is_the_functions(compute):
    (features,) = tensors("feature_dispersion")
    figures = compute("feature_dispersion")
    assert figures.pop("num_sentences") == len(features)
    assert figures.pop("reason") is None
    assert figures == pytest.approx(
        {
            "variance": float(total_variance(features)),
            "relative_variance": float(relative_variance(features)),
            "mean_cosine": float(mean_pairwise_cosine(features)),
            "participation_ratio": float(participation_ratio(features)),
        },
        rel=1e-12,
    )


def test_equal_features_have_no_participation_ratio_and_a_reason(compute):
    figures = compute("feature_dispersion", {"features": [[0.1, 0.2, 0.3]] * 3})
    assert figures["participation_ratio"] is None
    assert figures["reason"].startswith("all features are equal")
    assert figures["variance"] == pytest.approx(0, abs=1e-15)
    assert figures["mean_cosine"] == pytest.approx(1)


def test_iw_perplexity_is_that_of_plain_arithmetic(compute):
    weights, counts = INPUTS["iw_perplexity"].values()
    nll = [-math.log(sum(math.exp(w) for w in row) / len(row)) for row in weights]
    effective = [
        sum(math.exp(w) for w in row) ** 2 / sum(math.exp(2 * w) for w in row) for row in weights
    ]
    figures = compute("iw_perplexity")
    assert figures["iw_nll"] == pytest.approx(np.mean(nll), rel=1e-12)
    error = np.std(nll, ddof=1) / math.sqrt(len(nll))
    assert figures["iw_nll_standard_error"] == pytest.approx(error, rel=1e-12)
    expected = word_perplexity(sum(nll), int(counts.sum()))
    assert figures["word_perplexity"] == pytest.approx(expected, rel=1e-12)
    values = torch.tensor(nll, dtype=torch.float64)
    _, error = perplexity_and_standard_error(values, torch.tensor(counts))
    assert figures["word_perplexity_standard_error"] == pytest.approx(error, rel=1e-9)
    assert figures["effective_sample_size"] == pytest.approx(np.mean(effective), rel=1e-12)
    assert figures["num_samples"] == 7


def test_iw_perplexity_names_its_unit(compute):
    words, tokens = compute("iw_perplexity"), compute("iw_perplexity", unit="token")
    assert tokens["token_perplexity"] == words["word_perplexity"]
    assert "word_perplexity" not in tokens and "token_perplexity" not in words


def test_mutual_information_is_the_function_with_its_cap(compute):
    mean, logvar, latents = tensors("mutual_information")
    figures = compute("mutual_information")
    expected = float(mutual_information(mean, logvar, latents))
    assert figures["mutual_information"] == pytest.approx(expected, rel=1e-12)
    spread = float(pointwise_mutual_information(mean, logvar, latents).std())
    assert figures["standard_error"] == pytest.approx(spread / math.sqrt(len(mean)), rel=1e-9)
    assert figures["cap"] == math.log(len(mean))
    assert not any(name.startswith("minibatch") for name in figures)


def test_minibatch_information_has_its_own_cap_and_minds_no_order(compute):
    inputs, batch = INPUTS["mutual_information"], {"batch_size": 4}
    figures = compute("mutual_information", **batch)
    assert figures["minibatch_cap"] == pytest.approx((20 * math.log(4) + 3 * math.log(3)) / 23)
    assert 0 < figures["minibatch_mutual_information"] < math.log(4)
    order = np.random.default_rng(1).permutation(len(inputs["latents"]))
    shuffled = {name: column[order] for name, column in inputs.items()}
    again = compute("mutual_information", shuffled, **batch)
    assert again == pytest.approx(figures, rel=1e-9)
    # one batch of all sentences is the figure without batches
    whole = compute("mutual_information", batch_size=1000)
    assert whole["minibatch_mutual_information"] == pytest.approx(whole["mutual_information"])
    assert whole["minibatch_cap"] == pytest.approx(whole["cap"])


def test_minibatch_information_is_about_that_of_batches_drawn_at_random(compute):
    found = compute("mutual_information", batch_size=4)
    rows = tensors("mutual_information")
    drawn = []
    for seed in range(60):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows[0])))
        figures = minibatch_mutual_information(*(row[order] for row in rows), batch_size=4)
        drawn.append(float(figures.mean()))
    distance = found["minibatch_mutual_information"] - np.mean(drawn)
    assert abs(distance) < 3 * np.std(drawn)


@pytest.mark.parametrize("form", [np.float32, "tensor", "float32 tensor", "list", "one by one"])
def test_every_form_of_input_gives_the_same_figure(load, form):
    features = INPUTS["feature_dispersion"]["features"].astype(np.float32)
    exact = {"variance": float(total_variance(torch.from_numpy(features).double()))}
    metric = load("feature_dispersion")
    if form == "one by one":
        for row in features:
            metric.add(features=row)
    else:
        metric.add_batch(
            features={
                np.float32: features,
                "tensor": torch.from_numpy(features).double(),
                "float32 tensor": torch.from_numpy(features),
                "list": features.tolist(),
            }[form]
        )
    assert metric.compute()["variance"] == pytest.approx(exact["variance"], rel=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_batches_add_up_to_the_whole(load, compute, name):
    metric = load(name)
    for rows in (slice(0, 1), slice(1, 9), slice(9, 9), slice(9, None)):
        metric.add_batch(**{key: column[rows] for key, column in INPUTS[name].items()})
    assert metric.compute(**OPTIONS[name]) == compute(name, **OPTIONS[name])


def test_two_processes_with_uneven_shares_give_the_figure_of_one(compute, tmp_path):
    shared = str(tmp_path / "shared")
    command = [sys.executable, str(WORKER), shared]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as second:
        try:
            found = results(0, shared)
            output, _ = second.communicate(timeout=120)
        finally:
            second.kill()
    assert second.returncode == 0, output.decode()
    assert set(found) == {(kind, name) for kind in SHARES for name in NAMES}
    for (_, name), figures in found.items():
        alone = compute(name, **OPTIONS[name])
        assert set(figures) == set(alone)
        for figure, value in alone.items():
            assert figures[figure] == (value if value is None else pytest.approx(value, rel=1e-9))


def test_modules_combine_by_their_inputs(load, compute):
    names = ["active_units", "mutual_information"]
    together = evaluate.combine([load(name) for name in names])
    together.add_batch(**INPUTS["mutual_information"])
    figures = together.compute(threshold=0.5)  # an option of one of the two
    assert figures["active_units"] == compute("active_units", threshold=0.5)["active_units"]
    expected = compute("mutual_information")
    assert figures["mutual_information"] == expected["mutual_information"]
    assert figures["active_units_num_sentences"] == 23  # a name of both carries its module's
    # and all at once, inputs given to compute()
    every = {key: column for inputs in INPUTS.values() for key, column in inputs.items()}
    figures = evaluate.combine([load(name) for name in NAMES]).compute(**every, batch_size=4)
    assert figures["minibatch_cap"] == pytest.approx((20 * math.log(4) + 3 * math.log(3)) / 23)
    assert figures["word_perplexity"] == compute("iw_perplexity")["word_perplexity"]


def test_one_sentence_gives_a_likelihood_without_error_and_no_statistic_of_many(compute):
    one = {
        name: {key: column[:1] for key, column in inputs.items()} for name, inputs in INPUTS.items()
    }
    figures = compute("iw_perplexity", one["iw_perplexity"])
    assert math.isfinite(figures["word_perplexity"])
    assert figures["iw_nll_standard_error"] is None
    assert figures["word_perplexity_standard_error"] is None
    for name in ("active_units", "feature_dispersion", "mutual_information"):
        with pytest.raises(ValueError, match="2 or more, got 1|2 or more sentences, got 1"):
            compute(name, one[name])


@pytest.mark.parametrize(
    ("name", "inputs", "options", "message"),
    [
        ("active_units", {"posterior_mean": [[1.0], [1.0, 2.0]]}, {}, r"got \[1, 2\]"),
        ("active_units", {"posterior_mean": []}, {}, "holds no sentence"),
        ("active_units", {"posterior_mean": [[], []]}, {}, r"1 or more, got \[0\]"),
        ("active_units", None, {"treshold": 1}, "options threshold; got treshold"),
        ("feature_dispersion", None, {"center": True}, "options none; got center"),
        ("feature_dispersion", {"features": [[1.0], [math.nan]]}, {}, r"finite.*\(sentence 1\)"),
        ("feature_dispersion", {"features": [[1.0], [0.0]]}, {}, "zero feature"),
        ("iw_perplexity", None, {"unit": "byte"}, "unit must be 'word'.*got 'byte'"),
        (
            "iw_perplexity",
            {"log_weights": [[1.0], [2.0]], "num_units": [3, 0]},
            {},
            r"1 or more, got 0 \(sentence 1\)",
        ),
        (
            "mutual_information",
            {"posterior_mean": [[1.0]], "posterior_logvar": [[1.0, 2.0]], "latents": [[1.0]]},
            {},
            r"one shape.*posterior_logvar \(1, 2\)",
        ),
        ("mutual_information", None, {"batch_size": 1}, "got batch_size=1"),
        (
            "mutual_information",
            {"posterior_mean": [[1.0]], "posterior_logvar": [[math.inf]], "latents": [[1.0]]},
            {},
            "posterior_logvar must be finite",
        ),
    ],
)
def test_what_is_undefined_is_refused(compute, name, inputs, options, message):
    with pytest.raises(ValueError, match=message):
        compute(name, inputs, **options)


def test_path_knows_every_module_folder_and_no_other():
    folder = Path(path("active_units")).parent
    assert sorted(NAMES) == sorted(
        file.stem for file in folder.glob("*/*.py") if file.stem == file.parent.name
    )
    with pytest.raises(ValueError, match="active_units, feature_dispersion.*got 'bleu'"):
        path("bleu")


@pytest.mark.parametrize("name", NAMES)
def test_options_of_every_module_pass_by_the_others(name):
    # what `evaluate.combine` hands to all: inputs and options of each module are known to each
    namespace: dict = {}
    exec((Path(path(name)) / f"{name}.py").read_text(encoding="utf-8"), namespace)
    (module,) = [
        value
        for value in namespace.values()
        if inspect.isclass(value) and issubclass(value, evaluate.Metric)
    ]
    signature = inspect.signature(module._compute)
    known = [key for key in signature.parameters if key not in ("self", "others")]
    for other in NAMES:
        namespace["check_options"](other, known, [])
    assert isinstance(next(iter(module._info(module).features.values())), datasets.List)
