"""Pictures of a study: what is drawn of each run."""

import pytest
from matplotlib.image import imread

from hf_seqvae.plots import (
    dispersion_against_usage,
    dispersion_over_training,
    likelihood_by_run,
    rate_distortion,
    style,
    usage_over_training,
)
from hf_seqvae.plots.looks import looks_of

STATISTICS = ("pooled_variance", "pooled_relative_variance", "pooled_mean_cosine")


def run(name, pooling, nll, kl, **values):
    figures = {"nll": nll, "kl": kl, "reconstruction_nll": nll - kl, "mutual_information": kl / 2}
    figures |= {f"{prefix}{key}": kl / 10 for key in STATISTICS for prefix in ("", "initial_")}
    lines = [
        {"epoch": epoch, "step": 5 * epoch, "eval/kl": kl, "eval/pooled_variance": epoch + kl}
        for epoch in (1.0, 2.0)
    ]
    return {"name": name, "pooling": pooling, "validations": lines, **figures, **values}


RUNS = [
    run("plain", "last", 30.0, 1.0),
    run("plain", "last", 32.0, 1.5),
    run("pooled", "max", 28.0, 3.0),
]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(style, "save", lambda figure, path: figures.append(figure) or path)
    return figures


def points(axis):
    """Where markers stand, without lines."""
    lines = [line for line in axis.lines if line.get_linestyle() == "None"]
    return sorted(tuple(point) for line in lines for point in line.get_xydata().tolist())


def test_likelihoods_are_points_and_the_baseline_is_a_line_at_its_mean(drawn):
    likelihood_by_run(RUNS, "unused.png", baseline="plain", unit="IW-NLL")
    axis = drawn[0].axes[0]
    assert points(axis) == [(28.0, 1.0), (30.0, 0.0), (32.0, 0.0)]
    dashed = next(line for line in axis.lines if line.get_linestyle() == "--")
    assert set(dashed.get_xdata()) == {31.0}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["plain", "pooled"]


def test_an_exact_likelihood_is_called_so(drawn):
    runs = [*RUNS, run("lm", "none", 29.0, 0.0, exact=True)]
    likelihood_by_run(runs, "unused.png", baseline="plain", unit="IW-NLL")
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert labels == ["plain", "pooled", "lm (exact)"]


def test_rate_and_distortion_are_those_of_each_seed_and_on_a_dashed_line_the_bound_is_equal(drawn):
    rate_distortion(RUNS, "unused.png")
    axis = drawn[0].axes[0]
    assert points(axis) == [(1.0, 29.0), (1.5, 30.5), (3.0, 25.0)]
    for line in axis.lines:
        if line.get_linestyle() == "--":
            (x0, y0), (x1, y1) = line.get_xydata()
            assert x0 + y0 == pytest.approx(x1 + y1)


def test_curves_over_training_are_a_line_a_seed(drawn):
    usage_over_training(RUNS, "unused.png")
    kl, information = drawn[0].axes
    assert [line.get_xydata().tolist() for line in kl.lines] == [
        [[1.0, value], [2.0, value]] for value in (1.0, 1.5, 3.0)
    ]
    assert len(information.lines) == 0


def test_dispersion_begins_before_training(drawn):
    dispersion_over_training(RUNS[2:], "unused.png")
    line = drawn[0].axes[0].lines[0]
    assert line.get_xydata().tolist() == [[0.0, pytest.approx(0.3)], [1.0, 4.0], [2.0, 5.0]]


def test_a_run_that_begins_far_above_the_others_does_not_flatten_them(drawn):
    first = {"epoch": 0.5, "eval/kl": 250.0, "eval/mutual_information": 3.0}
    high = {**RUNS[0], "name": "high", "validations": [first, *RUNS[0]["validations"]]}
    usage_over_training([*RUNS, high], "unused.png")
    assert [axis.get_yscale() for axis in drawn[0].axes] == ["symlog", "linear"]
    assert drawn[0].axes[0].get_ylim()[1] > 250.0


def test_dispersion_against_usage_has_a_panel_for_each_pair_and_its_correlation(drawn):
    texts = {("initial_pooled_variance", "kl"): "Spearman +0.50"}
    dispersion_against_usage(RUNS, "unused.png", correlations=texts)
    axes = drawn[0].axes
    assert len(axes) == 12
    assert axes[0].get_title() == "Spearman +0.50"
    assert points(axes[0]) == [(0.1, 1.0), (0.15, 1.5), (0.3, 3.0)]


def test_a_colour_is_a_pooling_and_a_shape_what_differs_within_it():
    runs = [{"name": f"{p}_{t}", "pooling": p} for p in ("last", "max") for t in ("a", "b")]
    looks = looks_of(runs)
    assert looks["last_a"].colour == looks["last_b"].colour != looks["max_a"].colour
    assert looks["last_a"].marker == looks["max_a"].marker != looks["last_b"].marker
    eight = looks_of([{"name": str(place), "pooling": "last"} for place in range(8)]).values()
    assert len({look.colour for look in eight}) == 1
    assert len({look.line for look in eight}) == len({look.marker for look in eight}) == 8


def test_many_runs_of_one_pooling_all_look_different():
    looks = looks_of([{"name": str(place), "pooling": "last"} for place in range(20)])
    assert len(set(looks.values())) == 20


@pytest.mark.parametrize("count", [1, 28, 60])
@pytest.mark.parametrize("letters", [5, 30])
@pytest.mark.parametrize(
    "picture", [usage_over_training, dispersion_over_training, rate_distortion]
)
def test_every_run_is_named_inside_the_picture(drawn, picture, count, letters):
    runs = [run(f"{place}".rjust(letters, "m"), "max", 30.0, 1.0) for place in range(count)]
    picture(runs, "unused.png")
    (figure,) = drawn
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [run["name"] for run in runs]
    box, page = legend.get_window_extent(), figure.bbox
    assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    assert all(axis.get_window_extent().x1 <= box.x0 for axis in figure.axes)
    assert min(axis.get_window_extent().width for axis in figure.axes) >= 250


def test_a_picture_has_something_on_it(tmp_path):
    image = imread(rate_distortion(RUNS, tmp_path / "new" / "rate.png"))
    assert image.shape[0] > 500 and image.std() > 0.05
