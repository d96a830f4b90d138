"""Trainers that push to the double of the Hub: each strategy, code, card, and going on from it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from hub.wire import OWNER
from hub_standins import SENTENCES, tiny_model, tiny_tokenizer
from huggingface_hub import HfApi, ModelCard, snapshot_download
from trainer_standins import arguments, weights
from transformers import AutoConfig, AutoModel, Trainer, TrainerCallback

from hf_seqvae import SeqVAETrainer
from hf_seqvae.data import Collator, tokenize
from hf_seqvae.model.decoder_tokenizer import DECODER_TOKENIZER

REPO = "owner/trained"
KINDS = {"stock": Trainer, "ours": SeqVAETrainer}
ROOT = {"config.json", "model.safetensors", "tokenizer.json", "README.md"}
RESUMABLE = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}


def rows(tokenizer) -> Dataset:
    return tokenize(Dataset.from_dict({"text": SENTENCES * 6}), tokenizer)


def trainer(kind: str, folder: Path, *, seed: int = 0, **settings) -> Trainer:
    """Six steps of word dropout, three an epoch; a checkpoint in the middle of the second."""
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer)
    model.config.word_dropout = 0.3
    if seed == 0:  # any other begins with weights of its own, to be replaced by the checkpoint's
        torch.manual_seed(0)
        model.init_weights()
    pushed = {"push_to_hub": True, "hub_model_id": REPO}
    saved = {"save_strategy": "steps", "save_steps": 4, "remove_unused_columns": False}
    made = KINDS[kind](
        model,
        arguments(folder, **pushed | saved | settings),
        train_dataset=rows(tokenizer),
        data_collator=Collator.from_tokenizer(tokenizer),
        processing_class=tokenizer,
    )
    made.add_callback(OneAtATime(made))
    return made


class OneAtATime(TrainerCallback):
    """Waits for a push, whose thread reads the files that the next save writes over."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_save(self, args, state, control, **kwargs):
        if args.push_to_hub:
            self.trainer.push_in_progress.wait_until_done()


def on_the_way() -> str:
    """The last commit of the push at step 4, when the training was not at its end."""
    commits = HfApi().list_repo_commits(REPO)
    return next(commit.commit_id for commit in commits if "step 4" in commit.title)


def files(revision: str | None = None) -> set[str]:
    return set(HfApi().list_repo_files(REPO, revision=revision))


def code() -> set[str]:
    from hf_seqvae import model

    return {path.name for path in Path(model.__file__).parent.glob("*.py")} - {"__init__.py"}


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_strategy_leaves_what_it_names_and_the_model_loads(
    hub, transport, tmp_path, kind, strategy
):
    trained = trainer(kind, tmp_path, hub_strategy=strategy)
    trained.train()
    trained.push_to_hub()
    there = files()
    assert there >= ROOT
    folders = {name.partition("/")[0] for name in there if "/" in name}
    expected = {"every_save": set(), "checkpoint": {"last-checkpoint"}}
    assert folders == expected.get(strategy, {"checkpoint-4", "checkpoint-6"})
    for folder in folders:
        assert there >= {f"{folder}/{name}" for name in RESUMABLE}
    loaded = AutoModel.from_pretrained(REPO)
    for one, other in zip(weights(loaded), weights(trained.model), strict=True):
        assert torch.equal(one, other)
    assert code() <= there if kind == "ours" else not code() & there


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_goes_on_from_the_hub_as_if_never_cut_short(hub, transport, tmp_path, kind):
    whole = trainer(kind, tmp_path / "here", hub_strategy="checkpoint")
    whole.train()
    folder = snapshot_download(REPO, allow_patterns="last-checkpoint/*", revision=on_the_way())
    elsewhere = trainer(kind, tmp_path / "elsewhere", seed=1, push_to_hub=False)
    assert not torch.equal(weights(elsewhere.model)[0], weights(whole.model)[0])
    elsewhere.train(resume_from_checkpoint=f"{folder}/last-checkpoint")
    assert elsewhere.state.global_step == 6
    for one, other in zip(weights(elsewhere.model), weights(whole.model), strict=True):
        assert torch.equal(one, other)


def test_what_is_pushed_on_the_way_names_its_code_and_holds_it(hub, tmp_path):
    trainer("ours", tmp_path, hub_strategy="checkpoint").train()
    there = files(on_the_way())
    assert there >= code() | {f"last-checkpoint/{name}" for name in code()}
    for options in ({}, {"subfolder": "last-checkpoint"}):
        config = AutoConfig.from_pretrained(REPO, revision=on_the_way(), **options)
        assert config.auto_map["AutoModelForSeq2SeqLM"] == "modeling_seqvae.SeqVAEModel"


def test_what_is_pushed_on_the_way_holds_the_decoders_tokenizer(hub, tmp_path):
    begun = trainer("ours", tmp_path, hub_strategy="checkpoint")
    begun.model.decoder_tokenizer = tiny_tokenizer()
    begun.train()
    own = {f"{DECODER_TOKENIZER}/tokenizer.json", f"{DECODER_TOKENIZER}/tokenizer_config.json"}
    assert files(on_the_way()) >= own | {f"last-checkpoint/{name}" for name in own}


@pytest.mark.slow  # a process of its own; what it needs is there by the test above
def test_what_is_pushed_on_the_way_loads_without_the_package(hub, tmp_path):
    pushed = trainer("ours", tmp_path / "run", hub_strategy="every_save")
    pushed.train()
    revision = on_the_way()
    script = (
        "import sys, torch\n"
        "from transformers import AutoModelForSeq2SeqLM\n"
        f"model = AutoModelForSeq2SeqLM.from_pretrained({REPO!r}, revision={revision!r}, "
        "trust_remote_code=True)\n"
        "assert 'hf_seqvae' not in sys.modules\n"
        "torch.save(model.state_dict(), sys.argv[1])\n"
    )
    command = [sys.executable, "-P", "-c", script, str(tmp_path / "weights.pt")]
    environment = hub.environment(tmp_path / "home")
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = torch.load(tmp_path / "weights.pt")
    saved = AutoModel.from_pretrained(tmp_path / "run" / "checkpoint-4").state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_no_token_goes_up(hub, tmp_path):
    """Looked for in the bytes of every file, pickles among them."""
    trainer("ours", tmp_path, hub_strategy="all_checkpoints").train()
    paths = [path for path in Path(snapshot_download(REPO)).rglob("*") if path.is_file()]
    assert "training_args.bin" in {path.name for path in paths}
    assert not [path for path in paths if OWNER.encode() in path.read_bytes()]
    with pytest.raises(ValueError, match="hub_token would be saved.*hf auth login"):
        trainer("ours", tmp_path, hub_token=OWNER)


def test_the_pushed_card_is_true_and_valid(hub, tmp_path):
    trainer("ours", tmp_path, max_steps=1, save_strategy="no").push_to_hub()
    card = ModelCard.load(REPO)
    assert "begun from random weights" in card.text and "fine-tuned version" not in card.text
    assert {"seqvae", "generated_from_trainer"} <= set(card.data.tags)
    card.validate()


def test_a_push_that_the_arguments_did_not_ask_for_carries_the_code(hub, tmp_path):
    asked = trainer("ours", tmp_path, max_steps=1, save_strategy="no", push_to_hub=False)
    asked.train()
    asked.push_to_hub()
    assert code() <= files()
    assert (
        "modeling_seqvae.SeqVAEModel"
        in AutoModel.from_pretrained(REPO).config.auto_map["AutoModel"]
    )
