"""The training loop against a bare one, its log, its limits and its schedules."""

import math

import pytest
import torch
from engine_standins import (
    MemoryLoader,
    assert_same_weights,
    collate,
    empty_batch,
    evaluator,
    make_engine,
    read_log,
    tiny_model,
    weights,
)
from torch.testing import assert_close
from transformers import AutoModel, get_scheduler

from hf_seqvae import Objective
from hf_seqvae.engine import Settings
from hf_seqvae.objectives import LinearSchedule, summarize


def test_the_loop_is_a_bare_torch_loop(tmp_path):
    engine = make_engine(
        tmp_path, dropout=0.0, sample_posterior=False, max_grad_norm=0.5, learning_rate=0.1
    )
    bare = tiny_model()
    optimizer = torch.optim.Adam(bare.parameters(), lr=0.1)
    bare.train()
    loader = MemoryLoader()
    for epoch in range(3):
        loader.set_epoch(epoch)
        for batch in loader:
            output = bare(**batch, sample_posterior=False)
            loss = (output.reconstruction_nll.sum() + output.kl.sum()) / output.num_tokens.sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
            optimizer.step()
    engine.fit()
    assert_close(weights(engine), weights(bare), rtol=0, atol=1e-6)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_cut_into_micro_batches_gives_the_same_weights(tmp_path, normalization, parts):
    def train(name, num_parts):
        engine = make_engine(
            tmp_path / name,
            dropout=0.0,
            sample_posterior=False,
            optimizer="SGD",
            learning_rate=0.5,
            epochs=1,
            objective=Objective(normalization=normalization),
            gradient_accumulation_steps=num_parts,
        )
        engine.fit()
        return weights(engine)

    assert_close(train("whole", 1), train("cut", parts), rtol=0, atol=1e-6)


def test_a_row_without_labels_changes_neither_weights_nor_log(tmp_path):
    class WithEmptyRow(MemoryLoader):
        def __iter__(self):
            for batch in super().__iter__():
                labels = batch["labels"]
                batch = {name: torch.cat([value, value[:1]]) for name, value in batch.items()}
                batch["labels"][len(labels) :] = -100
                yield batch

    def train(name, loader):
        options = {"dropout": 0.0, "sample_posterior": False, "optimizer": "SGD", "epochs": 1}
        engine = make_engine(tmp_path / name, loader=loader, **options)
        engine.fit()
        return weights(engine), read_log(tmp_path / name)

    (plain, plain_log), (padded, padded_log) = (
        train("plain", MemoryLoader()),
        train("padded", WithEmptyRow()),
    )
    assert_close(plain, padded, rtol=0, atol=1e-7)
    assert_close(plain_log, padded_log, rtol=1e-5, atol=1e-6)


def test_a_line_of_the_log_is_the_mean_over_the_steps_since_the_line_before(tmp_path):
    logs = []

    class Spy(Objective):
        def __call__(self, output, step, num_items=None):
            loss, values = super().__call__(output, step, num_items)
            logs.append(values)
            return loss, values

    make_engine(tmp_path, objective=Spy(beta=LinearSchedule(0.0, 1.0, 10)), epochs=2).fit()
    lines = [line for line in read_log(tmp_path) if "train/elbo" in line]
    # 4 steps an epoch: a line each 3 steps, and at the end of an epoch
    assert [line["step"] for line in lines] == [3, 4, 6, 8]
    for start, line in zip([0, 3, 4, 6], lines, strict=True):
        part = logs[start : line["step"]]
        sums = {name: sum(log[name] for log in part) for name in part[0]}
        expected = summarize(sums, part[-1]["beta"])
        assert line["train/beta"] == pytest.approx((line["step"] - 1) / 10)
        for name in ("elbo", "reconstruction_nll", "kl"):
            assert line[f"train/{name}"] == pytest.approx(expected[name], rel=1e-6)


def test_the_log_holds_the_promised_keys(tmp_path):
    make_engine(tmp_path, epochs=1).fit()
    train, evaluation = read_log(tmp_path, with_times=True)[-2:]
    assert set(train) == {
        *("step", "epoch", "train/elbo", "train/reconstruction_nll", "train/kl", "train/beta"),
        *("train/tokens_per_second", "train/learning_rate"),
    }
    names = ("elbo", "reconstruction_nll", "kl", "mutual_information", "active_units")
    names += ("pooled_variance", "pooled_relative_variance", "pooled_mean_cosine")
    assert set(evaluation) == {"step", "epoch", *(f"eval/{name}" for name in names)}
    assert evaluation["epoch"] == 1 and train["train/tokens_per_second"] > 0


def test_best_holds_the_weights_of_the_best_validation_and_last_the_last(tmp_path):
    elbos = iter([-3.0, -1.0, -2.0])
    seen = []

    def scripted(model):
        seen.append(weights(model))
        return {"eval/elbo": next(elbos)}

    engine = make_engine(tmp_path, evaluator=scripted)
    progress = engine.fit()
    assert (progress.best_score, progress.best_step) == (-1.0, 8)
    assert_same_weights(weights(AutoModel.from_pretrained(tmp_path / "best")), seen[1])
    assert_same_weights(weights(AutoModel.from_pretrained(tmp_path / "last")), seen[2])


def test_without_validation_data_the_newest_weights_are_the_best(tmp_path):
    engine = make_engine(tmp_path, evaluator=None, epochs=2)
    progress = engine.fit()
    assert progress.best_step == progress.step == 8
    assert_same_weights(weights(AutoModel.from_pretrained(tmp_path / "best")), weights(engine))


def test_max_steps_ends_within_an_epoch_with_a_validation_and_a_checkpoint(tmp_path):
    progress = make_engine(tmp_path, max_steps=6, save_steps=None).fit()
    last = read_log(tmp_path)[-1]
    assert (progress.step, progress.finished) == (6, True)
    assert (last["step"], last["epoch"], "eval/elbo" in last) == (6, 1.5, True)
    assert (tmp_path / "checkpoints" / "step-00000006").is_dir()


def test_training_raises_the_validation_elbo(tmp_path):
    before = evaluator(tiny_model())["eval/elbo"]
    progress = make_engine(tmp_path, dropout=0.0, epochs=8, learning_rate=3e-2).fit()
    # from uniform over 16 words: 5 tokens at ln 16 nats each, 14 nats; 1 nat is no noise
    assert progress.best_score > before + 1.0


def test_the_learning_rate_follows_the_scheduler_of_transformers(tmp_path):
    def cosine(optimizer):
        return get_scheduler("cosine", optimizer, num_warmup_steps=3, num_training_steps=12)

    make_engine(tmp_path, scheduler=cosine, logging_steps=1, learning_rate=0.4).fit()
    rates = [line["train/learning_rate"] for line in read_log(tmp_path) if "train/elbo" in line]
    # the rate of the update after: half a cosine over the 9 steps behind the warm-up
    expected = [
        0.4 * (s / 3 if s < 3 else 0.5 * (1 + math.cos(math.pi * (s - 3) / 9)))
        for s in range(1, 13)
    ]
    assert rates == pytest.approx(expected)


def test_reduce_on_plateau_is_stepped_with_the_negative_elbo(tmp_path):
    elbos = iter([-3.0, -4.0, -5.0])
    make_engine(
        tmp_path,
        scheduler=lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, patience=0
        ),
        evaluator=lambda model: {"eval/elbo": next(elbos)},
        logging_steps=4,
        learning_rate=1.0,
        optimizer="SGD",
    ).fit()
    rates = [line["train/learning_rate"] for line in read_log(tmp_path) if "train/elbo" in line]
    assert rates == pytest.approx([1.0, 1.0, 0.1])


def test_a_batch_of_an_empty_process_has_a_loss_with_a_gradient():
    output = tiny_model().train()(**empty_batch())
    loss, logs = Objective()(output, 0, 5)
    loss.backward()
    assert loss.item() == 0 and logs["num_sentences"] == 0


def test_the_loader_in_memory_gives_each_row_once_over_all_processes():
    lengths = []
    for rank in range(2):
        for batch in MemoryLoader(rank=rank, num_processes=2):
            lengths += [int(n) for n in (batch["labels"] != -100).sum(1) if n]
    assert sorted(lengths) == sorted(len(row) + 1 for row in MemoryLoader().rows)
    assert collate([[4, 5]])["labels"].tolist() == [[4, 5, 2]]


@pytest.mark.parametrize("name", ["epochs", "max_steps", "logging_steps", "keep_checkpoints"])
def test_a_count_below_one_is_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name} must be 1 or more, got 0"):
        Settings(**({"epochs": 1} | {name: 0}))
