"""Plots of a training: what is drawn."""

import json
import re

import pytest
from matplotlib.image import imread

from hf_seqvae.plots import information_over_training, style, training_curves


def train(step, elbo=-30.0):
    return {"step": step, "epoch": 0, "train/elbo": elbo, "train/kl": 2.0, "train/beta": 0.5}


def valid(step, elbo=-31.0):
    figures = {"elbo": elbo, "kl": 2.5, "mutual_information": 1.5, "active_units": 4}
    return {"step": step, "epoch": 0} | {f"eval/{name}": value for name, value in figures.items()}


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(style, "save", lambda figure, path: figures.append(figure) or path)
    return figures


def test_training_curves_are_an_image_with_something_on_it(tmp_path):
    path = training_curves(
        [train(1), train(2), valid(2)], tmp_path / "new" / "curves.png", floor=20
    )
    image = imread(path)
    assert path == tmp_path / "new" / "curves.png"
    assert image.shape[0] > 500 and image.std() > 0.05


def test_text_of_the_image_names_quantities_and_units(tmp_path):
    text = training_curves([train(1), valid(1)], tmp_path / "curves.svg", floor=20.125).read_text()
    words = " ".join(re.findall("<!-- (.*?) -->", text))
    for word in ("Negative ELBO", "nats per sentence", "training step", "entropy 20.1", "β"):
        assert word in words


def test_each_figure_of_the_log_has_its_panel_and_no_other(drawn):
    training_curves([train(1), valid(1)], "unused.png")
    titles = [axis.get_title() for axis in drawn[0].axes if axis.axison]
    assert titles == [
        "Negative ELBO",
        "KL to the prior",
        "KL weight β (training)",
        "Mutual information of x and z (validation)",
        "Active units (validation)",
    ]


def test_curves_hold_the_numbers_of_the_log_with_the_elbo_turned_round(drawn):
    training_curves([train(1, -30.0), valid(1, -31.5), train(3, -28.0)], "unused.png", floor=20.0)
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawn[0].axes[0].lines}
    assert lines["training"] == [[1, 30.0], [3, 28.0]]
    assert lines["validation"] == [[1, 31.5]]
    assert [y for _, y in lines["entropy 20.00"]] == [20.0, 20.0]


def test_the_first_steps_do_not_flatten_the_rest(drawn):
    steps = [train(step, -1000.0 if step < 3 else -30.0 - step % 2) for step in range(100)]
    training_curves([*steps, valid(99, -35.0)], "unused.png", floor=25.0)
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 25.0 and 35.0 < high < 100.0


def test_curves_are_drawn_from_the_path_of_a_log(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(train(1)) + "\n" + json.dumps(valid(1)) + "\n" + '{"step": 2, "tra')
    assert training_curves(log, tmp_path / "curves.png").stat().st_size > 10_000


def test_a_log_without_figures_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no figure to draw"):
        training_curves([{"step": 1, "epoch": 0}], tmp_path / "curves.png")


def test_information_over_training_draws_kl_mi_and_beta_of_the_log(drawn):
    information_over_training([train(1), valid(1), train(3), valid(3, -28.0)], "unused.png")
    left, right = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in left.lines}
    assert lines["KL, what is paid"] == [[1, 2.5], [3, 2.5]]
    assert lines["MI, what tells sentences apart"] == [[1, 1.5], [3, 1.5]]
    assert right.lines[0].get_xydata().tolist() == [[1, 0.5], [3, 0.5]]


def test_information_over_training_needs_neither_mi_nor_beta(tmp_path):
    path = information_over_training([{"step": 1, "eval/kl": 2.0}], tmp_path / "new" / "kl.png")
    assert imread(path).std() > 0.02


def test_information_over_training_of_a_log_without_validations_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no 'eval/kl'"):
        information_over_training([train(1)], tmp_path / "kl.png")
