"""Models side by side: paired differences in standard errors, over the same sentences alone."""

import dataclasses
import math

import numpy as np
import pytest
from evaluation_standins import TEXTS, tiny_data, tiny_language_model, tiny_tokenizer, tiny_vae

from hf_seqvae.evaluation import compare, measure


def report_of(model, texts=TEXTS, **arguments):
    return measure(model, tiny_tokenizer(), tiny_data(texts), **{"iw_samples": 3} | arguments)


@pytest.fixture(scope="module")
def pair():
    return report_of(tiny_vae(seed=3)), report_of(tiny_vae(seed=4))


def test_a_difference_is_the_mean_of_the_sentences_own_and_its_error_theirs(pair):
    found = {item.name: item for item in compare(*pair)}
    assert {"iw_nll", "negative_elbo", "reconstruction_nll", "kl", "swap_gap"} < set(found)
    columns = {"zero_latent_nll": "zero_nll", "length_saving": "saved_length"}
    for name, item in found.items():
        column = columns.get(name, name)
        first, second = (report.per_sentence[column].astype(float) for report in pair)
        differences = [b - a for a, b in zip(first, second, strict=True)]
        mean = sum(differences) / 7
        variance = sum((value - mean) ** 2 for value in differences) / 6
        assert item.difference == pytest.approx(mean, abs=1e-9), name
        assert item.standard_error == pytest.approx(math.sqrt(variance / 7), rel=1e-6), name
        assert item.in_standard_errors == pytest.approx(mean / math.sqrt(variance / 7), rel=1e-5)
        figures = pair[1][name].value - pair[0][name].value
        assert item.difference == pytest.approx(figures, abs=1e-5), name


def test_pairing_tells_apart_what_the_two_errors_alone_do_not():
    first = report_of(tiny_vae())
    arrays = dict(first.per_sentence)
    arrays["kl"] = arrays["kl"] + 0.001 * np.arange(1, 8)
    second = dataclasses.replace(first, per_sentence=arrays)
    item = {item.name: item for item in compare(first, second)}["kl"]
    assert item.difference == pytest.approx(0.004)
    assert item.in_standard_errors > 4 and first["kl"].standard_error > 10 * item.difference


def test_the_other_way_round_every_difference_changes_its_sign(pair):
    there, back = compare(*pair), compare(*reversed(pair))
    assert [item.difference for item in there] == pytest.approx([-item.difference for item in back])


def test_a_model_against_itself_differs_by_nothing(pair):
    for item in compare(pair[0], pair[0]):
        assert (item.difference, item.standard_error, item.in_standard_errors) == (0.0, 0.0, None)


def test_of_one_sentence_there_is_a_difference_and_no_error():
    first, second = (report_of(tiny_vae(seed=seed), TEXTS[:1]) for seed in (3, 4))
    found = compare(first, second)
    assert {"iw_nll", "kl"} < {item.name for item in found}
    assert all(item.standard_error is None for item in found)
    assert all(item.in_standard_errors is None for item in found)


@pytest.mark.parametrize(("iw_samples", "column"), [(3, "iw_nll"), (None, "negative_elbo")])
def test_a_model_without_latents_is_held_against_the_tightest_bound(iw_samples, column):
    exact = report_of(tiny_language_model())
    bound = report_of(tiny_vae(), iw_samples=iw_samples)
    for reports, columns, name in (
        ((exact, bound), ("nll", column), f"{column} against nll"),
        ((bound, exact), (column, "nll"), f"nll against {column}"),
    ):
        (item,) = compare(*reports)
        own, other = (r.per_sentence[c] for r, c in zip(reports, columns, strict=True))
        assert item.name == name and item.sign == -1
        assert item.difference == pytest.approx((other - own).mean())
        assert item.standard_error == pytest.approx((other - own).std(ddof=1) / math.sqrt(7))


def test_two_models_without_latents_are_compared_by_their_exact_nll():
    found = compare(report_of(tiny_language_model(3)), report_of(tiny_language_model(4)))
    assert [item.name for item in found] == ["exact_model_nll"]


def test_other_texts_are_refused_with_what_each_is(pair):
    other = report_of(tiny_vae(), TEXTS[:6])
    message = "over the same texts; got the first: 7 sentences.*the second: 6 sentences"
    with pytest.raises(ValueError, match=message):
        compare(pair[0], other)
    shuffled = report_of(tiny_vae(), TEXTS[::-1])
    with pytest.raises(ValueError, match="sentence by sentence"):
        compare(pair[0], shuffled)


def test_reports_that_do_not_know_their_texts_are_refused(pair):
    unknown = dataclasses.replace(pair[0], data={})
    with pytest.raises(ValueError, match="over the same texts"):
        compare(unknown, unknown)


def test_importance_weighted_estimates_of_another_k_are_refused(pair):
    other = report_of(tiny_vae(), iw_samples=6)
    with pytest.raises(ValueError, match="falls with K, whatever the model, got K = 3 and 6"):
        compare(pair[0], other)
    # where one of the two has none, the bounds are compared
    assert compare(pair[0], report_of(tiny_vae(), iw_samples=None))[0].name == "negative_elbo"
    # and a model without latents has no K
    assert compare(report_of(tiny_language_model()), other)[0].name == "iw_nll against nll"


def test_the_same_texts_cut_at_other_places_are_refused(pair):
    cut = report_of(tiny_vae(seed=4), max_length=2, truncate=True)
    assert cut.data["texts_sha256"] == pair[0].data["texts_sha256"]
    with pytest.raises(ValueError, match=r"not as much of them.*the second: \d+ words.*max-length"):
        compare(pair[0], cut)
