"""The report: strict JSON and back, reasons in place of numbers, and the lines of its table."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from evaluation_standins import (
    BagByPosition,
    BagOfWords,
    assert_same_report,
    strict_json,
    tiny_vae,
    tokenised,
)

from hf_seqvae.evaluation import Figure, Report, evaluate
from hf_seqvae.evaluation.spread import dispersion_figures
from hf_seqvae.metrics import feature_sums


def numbers(value):
    """All numbers in plain values."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_report_as_json_holds_every_figure_with_its_definition(tmp_path):
    report = evaluate(BagByPosition(), tokenised(), seed=4, num_samples=2, iw_samples=3)
    text = report.to_json(tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text() == text
    read = strict_json(text)
    assert read["settings"] == {
        "seed": 4,
        "num_samples": 2,
        "iw_samples": 3,
        "batch_size": 64,
        "decode_size": 512,
    }
    assert read["figures"]["negative_elbo"]["value"] == report["negative_elbo"].value
    assert all(figure["definition"] for figure in read["figures"].values())
    assert "2 posterior samples" in read["figures"]["negative_elbo"]["definition"]
    assert "K = 3" in read["figures"]["iw_nll"]["definition"]
    assert "per_sentence" not in read


def test_a_report_comes_back_whole_from_its_own_values():
    report = evaluate(BagByPosition(), tokenised(), iw_samples=3)
    read = Report.from_dict(strict_json(report.to_json()), report.per_sentence)
    assert read == report
    assert_same_report(read, report, exactly=True)
    assert read.to_dict() == report.to_dict()


def test_a_figure_that_is_no_number_is_refused_rather_than_written():
    report = evaluate(BagOfWords(), tokenised())
    broken = dict(report.figures) | {"kl": Figure(math.nan, "not a number")}
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(report, figures=broken).to_json()


def test_an_average_has_an_error_and_an_undefined_figure_a_reason():
    without = {"active_units", "used_fraction", "collapse_curve"}  # counts and shares of dimensions
    without |= {"pooled_spectrum", "posterior_mean_spectrum"}
    without |= {f"{name}_mutual_information" for name in ("he", "li")}
    without |= {f"{name}_perplexity" for name in ("he", "optimus")}
    report = evaluate(BagByPosition(), tokenised(), iw_samples=3)
    for name, figure in report.figures.items():
        if figure.value is None:
            assert figure.reason, name
        elif name not in without:
            assert figure.standard_error is not None, name


def test_a_report_says_what_was_measured_how_and_for_how_long():
    model, data = tiny_vae(), tokenised()
    report = evaluate(model, data)
    assert report.model["num_parameters"] == sum(value.numel() for value in model.parameters())
    assert {"hf_seqvae", "torch", "transformers", "python"} <= set(report.versions)
    assert report.device == "cpu" and report.num_processes == 1
    assert report.cpu_seconds > 0 and 0 < report.wall_seconds < 60

    def hashes(report):
        return report.model["sha256"], report.data["tokens_sha256"]

    again, other = evaluate(tiny_vae(), data), evaluate(tiny_vae(seed=4), data)
    assert hashes(report) == hashes(again)
    assert hashes(other)[0] != hashes(report)[0] and hashes(other)[1] == hashes(report)[1]
    cut = evaluate(model, data.select(range(6)))
    assert hashes(cut)[0] == hashes(report)[0] and hashes(cut)[1] != hashes(report)[1]


# -- undefined, and said so


@pytest.mark.parametrize("model", [BagOfWords, BagByPosition, tiny_vae])
def test_one_sentence_gives_reasons_in_place_of_comparisons(model):
    report = evaluate(model(), tokenised([[4, 5]], [2]), iw_samples=3)
    undefined = {name for name, figure in report.figures.items() if figure.value is None}
    compared = {"mutual_information", "minibatch_mutual_information", "used_fraction"}
    compared |= {"active_units", "exchanged_nll", "swap_gap"}
    assert undefined == compared | {
        f"{features}_{statistic}"
        for features in ("pooled", "posterior_mean")
        for statistic in (
            "variance",
            "relative_variance",
            "mean_cosine",
            "participation_ratio",
            "spectrum",
        )
    }
    assert all("one sentence" in report[name].reason for name in undefined)
    assert report["negative_elbo"].value > 0 and report["negative_elbo"].standard_error is None
    assert all(map(math.isfinite, numbers(strict_json(report.to_json()))))
    rows = {row[0]: row[1:] for row in report.rows()}
    assert rows["swap_gap"] == (
        "-",
        "",
        "",
        "undefined: one sentence: there is no other to compare it with",
    )


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("model", [BagByPosition, tiny_vae])
def test_equal_sentences_say_nothing_of_each_other_and_no_figure_is_nan(model, batch_size):
    report = evaluate(
        model(), tokenised([[4, 5, 6]] * 5, [3] * 5), iw_samples=3, batch_size=batch_size
    )
    assert report["mutual_information"].value == pytest.approx(0.0, abs=1e-5)
    assert report["active_units"].value == 0
    assert report["posterior_mean_variance"].value == pytest.approx(0.0, abs=1e-9)
    assert report["posterior_mean_mean_cosine"].value == pytest.approx(1.0)
    for features in ("pooled", "posterior_mean"):
        figure = report[f"{features}_participation_ratio"]
        assert (figure.value, figure.reason) == (None, "all of them are equal")
    assert report["first_words_ratio"].value is None
    assert abs(report["swap_gap"].value) <= 3 * report["swap_gap"].standard_error
    assert all(map(math.isfinite, numbers(strict_json(report.to_json()))))


def test_features_that_differ_by_rounding_alone_are_equal():
    """In batches of another shape float32 gives the same sentence another last digit."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, generator=generator).repeat(6, 1)
    features *= 1 + 1e-7 * torch.randn(6, 4, generator=generator)
    hidden = torch.randn(6, 2, 4, generator=generator)
    sums = feature_sums(hidden, torch.ones(6, 2))._asdict()
    encoded = {"pooled": features, "posterior_mean": 1e-4 * torch.randn(6, 4, generator=generator)}
    encoded |= {f"features_{name}": value for name, value in sums.items()}
    figures = dispersion_figures(encoded)
    assert figures["pooled_participation_ratio"].reason == "all of them are equal"
    assert figures["posterior_mean_participation_ratio"].value > 1  # small, and not equal


def test_features_that_are_zero_have_no_direction_and_a_reason():
    model = BagOfWords()
    with torch.no_grad():
        model.embedding.zero_()
    report = evaluate(model, tokenised())
    for name in ("features_mean_cosine", "features_relative_variance"):
        assert report[name].reason == "an encoder state is zero"
    assert report["pooled_relative_variance"].reason == "every feature is zero"
    assert report["pooled_mean_cosine"].reason == "a feature is zero"
    assert report["pooled_participation_ratio"].reason == "all of them are equal"
    strict_json(report.to_json())


def test_a_perplexity_beyond_the_largest_float_is_said():
    class Hopeless(BagOfWords):
        def log_likelihood(self, batch, latents):
            return super().log_likelihood(batch, latents) - 1e6

    report = evaluate(Hopeless(), tokenised(), iw_samples=2)
    for name in ("word_perplexity", "token_perplexity_bound", "he_perplexity"):
        assert report[name].value is None
        assert report[name].reason == "greater than the largest float"
    strict_json(report.to_json())


# -- the table


def test_rows_of_the_table_name_values_errors_and_caps():
    rows = {row[0]: row[1:] for row in evaluate(BagOfWords(), tokenised(words=None)).rows()}
    value, error, cap, definition = rows["mutual_information"]
    assert cap == "1.946" and 0 < float(value) <= 1.946 and float(error) > 0
    assert "all 7 sentences" in definition
    assert rows["active_units"][:3] == ("3", "", "3")
    assert " to " in rows["kl_per_dimension"][0]
    assert rows["word_perplexity_bound"][0] == "-"
    assert rows["word_perplexity_bound"][3].startswith("undefined: ")


def test_winners_of_max_pooling_are_shares_of_all_coordinates():
    figure = evaluate(tiny_vae(pooling="max"), tokenised())["pooling_winners"]
    assert len(figure.value) == max(map(len, tokenised()["input_ids"]))
    assert np.sum(figure.value) == pytest.approx(1.0)
    assert "pooling_winners" not in evaluate(tiny_vae(pooling="mean"), tokenised()).figures
