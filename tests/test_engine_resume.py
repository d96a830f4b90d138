"""Going on from a checkpoint: the same weights bit for bit, the same log, and no mixing of runs."""

import json
import shutil

import pytest
import torch
from engine_standins import (
    MemoryLoader,
    assert_same_weights,
    make_engine,
    read_log,
    tiny_model,
    two_phases,
    weights,
)
from transformers import get_scheduler

from hf_seqvae import Objective
from hf_seqvae.engine import InnerLoop, PlateauHalving
from hf_seqvae.engine.checkpoint import Checkpoints
from hf_seqvae.engine.log import RunLog
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.objectives import TargetRate


class Crash(BaseException):
    """Stands for a kill: no handler of the engine runs."""


def crash_at(epoch, batch):
    def on_batch(*place):
        if place == (epoch, batch):
            raise Crash

    return MemoryLoader(on_batch=on_batch)


def warmup(optimizer):
    return get_scheduler("linear", optimizer, num_warmup_steps=3, num_training_steps=12)


VARIANTS = {
    "adam": {},
    "momentum and micro-batches": {
        "optimizer": "RMSprop",
        "gradient_accumulation_steps": 2,
    },
    "schedule": {"scheduler": warmup},
    "plateau": {"decay": True, "learning_rate": 1.0},
    "phases": {"phases": two_phases},
    "aggressive": {"inner": InnerLoop(max_updates=7, window=2)},
    "target rate": {"objective": lambda: Objective(TargetRate(1e-4, integral_gain=0.5))},
}


def run(folder, variant, loader=None, resume=True):
    options = dict(VARIANTS[variant])
    if options.pop("decay", None):
        options["decay"] = PlateauHalving(patience=1)
    for name in {"phases", "objective"} & options.keys():
        options[name] = options[name]()  # a controller has a state, so each run has its own
    engine = make_engine(folder, loader=loader or MemoryLoader(), **options)
    try:
        engine.fit(resume=resume)
    except Crash:
        return None
    return engine


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folders = {}

    def make(variant):
        if variant not in folders:
            folder = tmp_path_factory.mktemp("whole")
            folders[variant] = (folder, weights(run(folder, variant)))
        return folders[variant]

    return make


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("place", [(0, 2), (1, 1), (1, 4), (2, 3)])
def test_a_crashed_run_ends_with_the_same_weights_and_log(tmp_path, uninterrupted, variant, place):
    whole_folder, whole = uninterrupted(variant)
    assert run(tmp_path, variant, crash_at(*place)) is None
    torch.manual_seed(123)  # whatever the new process draws before is of no account
    resumed = run(tmp_path, variant)
    assert_same_weights(weights(resumed), whole)
    assert read_log(tmp_path) == read_log(whole_folder)
    for name in ("best", "last"):
        files = [folder / name / "model.safetensors" for folder in (tmp_path, whole_folder)]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_the_held_rate_does_move_beta(uninterrupted):
    folder, _ = uninterrupted("target rate")
    betas = [line["train/beta"] for line in read_log(folder) if "train/beta" in line]
    assert len(set(betas)) == len(betas) > 3 and 0 < max(betas) < 1


def test_the_plateau_variant_does_decay(uninterrupted):
    folder, _ = uninterrupted("plateau")
    rates = {line["train/learning_rate"] for line in read_log(folder) if "train/elbo" in line}
    assert len(rates) > 1


def test_a_run_of_many_crashes_ends_the_same(tmp_path, uninterrupted):
    whole_folder, whole = uninterrupted("adam")
    for place in [(0, 1), (0, 4), (1, 2), (1, 4), (2, 2), (2, 4)]:
        assert run(tmp_path, "adam", crash_at(*place)) is None
    assert_same_weights(weights(run(tmp_path, "adam")), whole)
    assert read_log(tmp_path) == read_log(whole_folder)


def test_a_finished_run_is_left_as_it_is(tmp_path, uninterrupted):
    folder, whole = uninterrupted("adam")
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "best")
    engine = run(tmp_path / "run", "adam", crash_at(0, 1))
    assert engine is not None and engine.progress.finished
    assert read_log(tmp_path / "run") == read_log(folder)
    assert (tmp_path / "run" / "best" / "model.safetensors").is_file()  # made anew


def test_a_named_checkpoint_drops_what_came_later(tmp_path, uninterrupted):
    folder, whole = uninterrupted("adam")
    assert run(tmp_path, "adam", crash_at(2, 2)) is None
    kept = sorted((tmp_path / "checkpoints").iterdir())
    engine = run(tmp_path, "adam", crash_at(2, 2), resume=kept[0])
    assert engine is None
    assert_same_weights(weights(run(tmp_path, "adam", resume=kept[0])), whole)
    assert read_log(tmp_path) == read_log(folder)


def test_a_checkpoint_of_another_folder_is_refused(tmp_path, uninterrupted):
    folder, _ = uninterrupted("adam")
    other = sorted((folder / "checkpoints").iterdir())[0]
    with pytest.raises(ValueError, match="resume must be True, False or a checkpoint of this run"):
        run(tmp_path, "adam", resume=other)


def test_starting_again_removes_the_run_and_nothing_else(tmp_path, uninterrupted):
    folder, whole = uninterrupted("adam")
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    engine = run(tmp_path / "run", "adam", resume=False)
    assert_same_weights(weights(engine), whole)
    assert read_log(tmp_path / "run") == read_log(folder)
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_the_newest_checkpoints_and_the_best_one_stay(tmp_path):
    elbos = iter([-1.0, -2.0, -3.0, -4.0])
    make_engine(
        tmp_path,
        evaluator=lambda model: {"eval/elbo": next(elbos)},
        keep_checkpoints=2,
        save_steps=3,
        epochs=4,
    ).fit()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000015", "step-00000016"]


def test_a_kill_before_old_checkpoints_went_leaves_no_more_of_them(
    tmp_path, uninterrupted, monkeypatch
):
    folder, _ = uninterrupted("adam")
    prune = Checkpoints.prune

    def crash_at_the_end(checkpoints, keep):
        if checkpoints.latest().name == "step-00000012":
            raise Crash
        prune(checkpoints, keep)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "prune", crash_at_the_end)
        assert run(tmp_path, "adam") is None
    run(tmp_path, "adam")
    left, expected = (
        sorted(path.name for path in (place / "checkpoints").iterdir())
        for place in (tmp_path, folder)
    )
    assert left == expected


@pytest.fixture
def partial(tmp_path):
    """A run that crashed in its second epoch, and the newest of its checkpoints."""
    assert run(tmp_path, "adam", crash_at(1, 3)) is None
    return tmp_path, max((tmp_path / "checkpoints").iterdir())


def test_another_recipe_is_refused_by_the_key_that_changed(partial):
    folder, _ = partial
    with pytest.raises(ValueError, match=r"recipe: None -> 'other'.*--fresh"):
        make_engine(folder, fingerprint={"recipe": "other"}).fit()


def test_other_data_is_refused(partial):
    with pytest.raises(ValueError, match="batches_per_epoch: 4 -> 5"):
        make_engine(partial[0], loader=MemoryLoader(num_rows=25)).fit()


def test_a_checkpoint_of_another_model_is_refused(partial):
    config = tiny_model().config
    config.latent_size = 2
    with pytest.raises(ValueError, match="holds the weights of another model"):
        make_engine(partial[0], model=SeqVAEModel(config)).fit()


def test_a_damaged_weight_file_is_named_with_the_cure(partial):
    folder, checkpoint = partial
    weight_file = checkpoint / "model.safetensors"
    weight_file.write_bytes(weight_file.read_bytes()[:100])
    with pytest.raises(ValueError, match="not a whole safetensors file.*Remove .* to go on"):
        run(folder, "adam")


@pytest.mark.parametrize("name", ["training_state.pt", "process-00000.pt"])
def test_a_damaged_state_file_is_named_with_the_cure(partial, name):
    folder, checkpoint = partial
    (checkpoint / name).write_bytes((checkpoint / name).read_bytes()[:50])
    with pytest.raises(ValueError, match=f"{name} is missing or damaged.*Remove .* to go on"):
        run(folder, "adam")


@pytest.mark.parametrize("size", [0, 20])
def test_a_checkpoint_cut_short_by_a_broken_disk_is_named_with_the_cure(partial, size):
    folder, checkpoint = partial
    for name in ("progress.json", "training_state.pt"):
        whole = (checkpoint / name).read_bytes()
        (checkpoint / name).write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{name} is .*damaged.*Remove .* to go on"):
            run(folder, "adam")
        (checkpoint / name).write_bytes(whole)


def test_a_log_that_lost_lines_is_refused(partial):
    (partial[0] / "log.jsonl").write_text("")
    with pytest.raises(ValueError, match="fewer than the .* of its checkpoint"):
        run(partial[0], "adam")


def test_a_damaged_line_of_the_log_is_named_with_the_cure(partial):
    log = RunLog(partial[0] / "log.jsonl")
    assert log.read() == read_log(partial[0], with_times=True)
    log.path.write_text("{" + log.path.read_text())
    with pytest.raises(ValueError, match=r"log.jsonl, line 1, is not JSON.*Remove the line"):
        log.read()


def test_every_checkpoint_is_a_loadable_model_and_holds_no_pickled_code(partial):
    _, checkpoint = partial
    model = SeqVAEModel.from_pretrained(checkpoint)
    assert model.config.latent_size == 3
    for path in checkpoint.glob("*.pt"):
        torch.load(path, weights_only=True)
    assert json.loads((checkpoint / "progress.json").read_text())["step"] == 6
