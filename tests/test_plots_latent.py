"""Plots of a latent: KL, position profile, spectra, water level, latent map, dispersion."""

import math

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from hf_seqvae.oracles import linear_vae_optimum
from hf_seqvae.plots import (
    dispersion_by_pooling,
    kl_per_dimension,
    latent_map,
    position_profile,
    principal_axes,
    spectrum,
    style,
    water_level,
)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(style, "save", lambda figure, path: figures.append(figure) or path)
    return figures


def bars(axis) -> dict[str, list[float]]:
    """Heights of the bars by label."""
    return {
        container.get_label(): [bar.get_height() for bar in container]
        for container in axis.containers
        if all(isinstance(bar, Rectangle) for bar in container)
    }


def labels(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


# -- KL and positions


def test_kl_per_dimension_shows_every_dimension_largest_first(drawn):
    kl_per_dimension([0.5, 2.0, 0.0, 1.0], "unused.png")
    axis = drawn[0].axes[0]
    assert [bar.get_height() for bar in axis.patches] == [2.0, 1.0, 0.5, 0.0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "3", "0", "2"]
    assert "3.50 nats" in axis.get_title()


@pytest.mark.parametrize("size", [1, 32, 200])
def test_kl_per_dimension_is_an_image_for_any_latent_size(tmp_path, size):
    path = kl_per_dimension([0.1] * size, tmp_path / "kl.png")
    assert imread(path).std() > 0.05


def test_kl_of_no_dimension_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no latent dimension"):
        kl_per_dimension([], tmp_path / "kl.png")


def test_position_profile_has_a_bar_a_position_with_its_error_and_one_for_the_length(drawn):
    position_profile(
        [2.0, 1.0, -0.1],
        "unused.png",
        standard_errors=[0.2, 0.1, 0.05],
        length_saving=0.75,
        length_error=0.3,
    )
    axis = drawn[0].axes[0]
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == [2.0, 1.0, -0.1, 0.75]
    whiskers = [lines.get_segments() for lines in axis.collections]
    ends = [segment[:, 1].tolist() for segments in whiskers for segment in segments]
    assert ends == [
        pytest.approx(pair) for pair in ([1.8, 2.2], [0.9, 1.1], [-0.15, -0.05], [0.45, 1.05])
    ]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3", "length"]


def test_position_profile_refuses_errors_of_other_positions():
    with pytest.raises(ValueError, match="3 positions need as many standard errors, got 2"):
        position_profile([1.0, 1.0, 1.0], "unused.png", standard_errors=[0.1, 0.1])
    with pytest.raises(ValueError, match="no position"):
        position_profile([], "unused.png")


# -- spectra


def test_a_spectrum_is_shown_as_shares_of_all_the_variance(drawn):
    spectrum({"means": [1.0, 3.0]}, "unused.png")
    spectrum({"pooled": [3.0, 1.0]}, "unused.png", totals={"pooled": 8.0})
    shares = [figure.axes[0].lines[0].get_ydata() for figure in drawn]
    assert list(shares[0]) == [0.75, 0.25]
    assert list(shares[1]) == [0.375, 0.125]
    assert drawn[0].axes[0].get_yscale() == "log"


def test_a_spectrum_without_variance_is_refused():
    with pytest.raises(ValueError, match="positive eigenvalue"):
        spectrum({"means": [0.0, 0.0]}, "unused.png")


def test_water_level_of_the_linear_vae_marks_its_active_dimensions_and_shows_their_rates(drawn):
    cov = torch.diag(torch.tensor([5.0, 2.0, 1.0, 0.4, 0.1], dtype=torch.float64))
    optimum = linear_vae_optimum(cov, 5, sigma2=1.0, kl_weight=0.5)
    water_level(optimum.eigenvalues.tolist(), optimum.water_level, "unused.png", exact=True)
    figure = drawn[0]
    axis = figure.axes[0]
    found = bars(axis)
    assert len(found["active"]) == optimum.active_units == 3
    assert len(found["under water: collapsed"]) == 2
    shown = [float(text.get_text()) for text in axis.texts]
    assert shown == pytest.approx([rate for rate in optimum.rates.tolist() if rate > 0], abs=5e-3)
    assert f"3 of 5 active, {float(optimum.rates.sum()):.2f} nats" in axis.get_title()
    assert "exactly these rates" in figure.get_supxlabel()
    assert "water level βσ² = 0.5" in labels(axis)


def test_water_level_of_text_is_called_a_picture_and_no_prediction(drawn):
    water_level([3.0, 0.2], 1.0, "unused.png")
    assert "A picture, not a prediction" in drawn[0].get_supxlabel()


def test_what_is_above_the_water_without_a_latent_dimension_is_not_called_active(drawn):
    water_level([5.0, 4.0, 3.0, 0.1], 1.0, "unused.png", exact=True, latent_size=2)
    found = bars(drawn[0].axes[0])
    assert found["active"] == [5.0, 4.0]
    assert found["above it, but z has 2 dimensions"] == [3.0]
    assert f"2 of 4 active, {0.5 * math.log(20):.2f} nats" in drawn[0].axes[0].get_title()


def test_all_or_nothing_under_water_are_images_with_the_level_on_them(tmp_path, drawn):
    for values in ([0.2, 0.1], [5.0, 3.0], [1.0, 0.0]):
        water_level(values, 0.5, "unused.png")
        low, high = drawn[-1].axes[0].get_ylim()
        assert low < 0.5 < high


@pytest.mark.parametrize(
    ("eigenvalues", "level", "rule"),
    [
        ([], 1.0, "0 or more"),
        ([-1.0, 2.0], 1.0, "0 or more"),
        ([0.0], 1.0, "one at least is positive"),
        ([1.0], 0.0, "level must be positive"),
    ],
)
def test_water_level_refuses_what_is_no_spectrum_or_level(eigenvalues, level, rule):
    with pytest.raises(ValueError, match=rule):
        water_level(eigenvalues, level, "unused.png")


# -- latent map


def test_principal_axes_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 3)) @ np.diag([3.0, 1.0, 0.2]) @ rng.normal(size=(3, 3))
    placed, shares = principal_axes(points)
    eigenvalues = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    assert shares == pytest.approx(eigenvalues[:2] / eigenvalues.sum())
    assert np.var(placed, axis=0, ddof=1) == pytest.approx(eigenvalues[:2])
    assert np.corrcoef(placed.T)[0, 1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    "points", [[[1.0], [2.0], [4.0]], [[1.0, 1.0]] * 3, [[1.0, 2.0], [2.0, 4.0]]]
)
def test_principal_axes_of_fewer_dimensions_are_padded_with_nothing(points):
    placed, shares = principal_axes(points)
    assert placed.shape == (len(points), 2)
    assert np.isfinite(placed).all() and np.isfinite(shares).all()
    assert shares[1] == pytest.approx(0.0, abs=1e-12)


def test_a_map_says_the_share_of_each_axis_and_names_the_most_frequent_labels_only(drawn):
    rng = np.random.default_rng(0)
    words = ["past"] * 50 + ["present"] * 30 + ["future"] * 5 + ["", "rare"] * 2
    means = rng.normal(size=(len(words), 4))
    latent_map(means, "unused.png", labels=words, label_name="tense", max_labels=3)
    axis = drawn[0].axes[0]
    shares = principal_axes(means)[1]
    assert f"{shares[0]:.0%} of the variance" in axis.get_xlabel()
    assert f"{shares[1]:.0%}" in axis.get_ylabel()
    assert labels(axis) == ["others (4, 2 labels)", "past (50)", "present (30)", "future (5)"]
    assert axis.get_legend().get_title().get_text() == "tense"
    assert sum(len(dots.get_offsets()) for dots in axis.collections) == len(words)


def test_labels_are_shown_as_they_are_written(drawn, tmp_path):
    words = ["_hidden"] * 4 + ["$5 or $6"] * 3 + [r"$\frac$"] * 2
    means = np.random.default_rng(0).normal(size=(9, 3))
    latent_map(means, "unused.png", labels=words, label_name="$x_")
    assert labels(drawn[0].axes[0]) == ["_hidden (4)", "$5 or $6 (3)", r"$\frac$ (2)"]
    drawn[0].savefig(tmp_path / "map.png")
    assert imread(tmp_path / "map.png").std() > 0.02


def test_a_map_without_labels_is_an_image(tmp_path):
    path = latent_map(np.random.default_rng(0).normal(size=(50, 4)), tmp_path / "map.png")
    assert imread(path).std() > 0.02


def test_colours_of_labels_differ_and_each_has_a_marker_of_its_own(drawn):
    words = list("abcdef") * 3
    latent_map(np.random.default_rng(0).normal(size=(18, 2)), "unused.png", labels=words)
    dots = drawn[0].axes[0].collections
    assert len({tuple(each.get_facecolor()[0]) for each in dots}) == 6
    assert len({each.get_paths()[0].vertices.tobytes() for each in dots}) == 6


def test_a_map_refuses_labels_of_other_points_and_too_many_colours():
    with pytest.raises(ValueError, match="3 points need as many labels, got 2"):
        latent_map(np.eye(3), "unused.png", labels=["a", "b"])
    with pytest.raises(ValueError, match="max_labels must be 1 to 6, got 9"):
        latent_map(np.eye(3), "unused.png", labels=["a", "b", "c"], max_labels=9)
    with pytest.raises(ValueError, match="two or more"):
        latent_map(np.eye(1), "unused.png")


# -- dispersion


def test_dispersion_has_a_panel_a_statistic_and_a_bar_a_pooling(drawn):
    found = {
        "last": {"variance": 1.0, "relative_variance": 0.1, "mean_cosine": 0.9},
        "max": {"variance": 4.0, "relative_variance": 0.5, "mean_cosine": -0.2},
        "first": {"variance": 0.0, "relative_variance": None, "mean_cosine": None},
    }
    dispersion_by_pooling(found, "unused.png", own="max")
    heights = [[bar.get_height() for bar in axis.patches] for axis in drawn[0].axes]
    assert heights == [[1.0, 4.0, 0.0], [0.1, 0.5, 0.0], [0.9, -0.2, 0.0]]
    words = [[text.get_text() for text in axis.texts] for axis in drawn[0].axes]
    assert words[1] == ["0.1", "0.5", "undefined"]
    own = {bar.get_facecolor() for axis in drawn[0].axes for bar in axis.patches[1:2]}
    others = {bar.get_facecolor() for axis in drawn[0].axes for bar in axis.patches[::2]}
    assert len(own) == 1 and not own & others
    assert "max, orange, is what it was trained with" in drawn[0].get_supxlabel()


def test_dispersion_of_no_pooling_is_refused():
    with pytest.raises(ValueError, match="no pooling operator"):
        dispersion_by_pooling({}, "unused.png")
