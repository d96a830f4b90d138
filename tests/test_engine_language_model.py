"""The model without latents in the engine: the same loop, folders of an ordinary causal model."""

import json
import logging

import pytest
import torch
from engine_standins import (
    MemoryLoader,
    assert_same_weights,
    make_engine,
    read_log,
    tiny_language_model,
    weights,
)
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_seqvae import Objective, SeqVAELSTMForCausalLM, everyday
from hf_seqvae.data import Collator
from hf_seqvae.engine import train
from hf_seqvae.evaluation import evaluate_bound
from hf_seqvae.model.modeling_encoder import SeqVAEEncoder
from hf_seqvae.recipe import Recipe


def noisy_engine(folder, **options):
    """With dropout and word dropout, so that a resume has noise to take up."""
    return make_engine(folder, model=tiny_language_model(dropout=0.3, word_dropout=0.3), **options)


# -- the loop


def test_the_loop_is_a_bare_torch_loop_over_an_ordinary_causal_model(tmp_path):
    """Whose own loss, with labels shifted inside and averaged over tokens, is the same."""
    engine = make_engine(
        tmp_path, model=tiny_language_model(), max_grad_norm=0.5, learning_rate=0.1
    )
    bare = tiny_language_model().language_model.train()
    optimizer = torch.optim.Adam(bare.parameters(), lr=0.1)
    loader = MemoryLoader()
    for epoch in range(3):
        loader.set_epoch(epoch)
        for batch in loader:
            begun = torch.nn.functional.pad(batch["labels"], (1, 0), value=1)  # BOS
            loss = bare(input_ids=begun.clamp(min=0), labels=begun).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bare.parameters(), 0.5)
            optimizer.step()
    engine.fit()
    trained = engine.accelerator.unwrap_model(engine.trained.model).language_model
    assert_close(weights(trained), weights(bare), rtol=0, atol=1e-6)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_a_batch_cut_into_micro_batches_gives_the_same_weights(tmp_path, normalization):
    """Of 8 rows: one by eight, two by four, four by two, eight by one."""

    def trained(parts):
        engine = make_engine(
            tmp_path / str(parts),
            model=tiny_language_model(),
            loader=MemoryLoader(num_rows=24, batch_size=8),
            optimizer="SGD",
            learning_rate=0.5,
            epochs=1,
            objective=Objective(normalization=normalization),
            gradient_accumulation_steps=parts,
        )
        engine.fit()
        return weights(engine)

    whole = trained(1)
    for parts in (2, 4, 8):
        assert_close(whole, trained(parts), rtol=0, atol=1e-6)


def test_a_validation_is_exact_and_of_a_latent_says_nothing(tmp_path):
    engine = noisy_engine(tmp_path, epochs=1)
    engine.fit()
    figures = [line for line in read_log(tmp_path) if "eval/elbo" in line][-1]
    assert {name for name in figures if name.startswith("eval/")} == {
        "eval/elbo",
        "eval/reconstruction_nll",
        "eval/kl",
    }
    model = engine.accelerator.unwrap_model(engine.trained.model).eval()
    nlls = torch.cat([-model.log_prob(batch) for batch in MemoryLoader(shuffle=False)])
    assert figures["eval/elbo"] == pytest.approx(-float(nlls.detach().mean()), rel=1e-6)
    assert figures["eval/reconstruction_nll"] == -figures["eval/elbo"]
    assert figures["eval/kl"] == 0


def test_a_validation_in_train_mode_is_the_same_and_gives_the_mode_back():
    model = tiny_language_model(dropout=0.3, word_dropout=0.5)
    first, second = (
        evaluate_bound(mode, MemoryLoader(shuffle=False)) for mode in (model.eval(), model.train())
    )
    assert first == second and model.training and model.language_model.training


# -- folders


@pytest.mark.parametrize("tied", [False, True])
def test_a_folder_is_that_of_an_ordinary_causal_model(tmp_path, tied):
    engine = make_engine(tmp_path, model=tiny_language_model(tied=tied), epochs=1)
    engine.fit()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "last")
    assert type(loaded) is SeqVAELSTMForCausalLM
    trained = engine.accelerator.unwrap_model(engine.trained.model)
    assert_same_weights(weights(loaded), weights(trained.language_model))
    config = json.loads((tmp_path / "last" / "config.json").read_text())
    assert config["architectures"] == ["SeqVAELSTMForCausalLM"]
    assert loaded.generate(torch.tensor([[1]]), max_new_tokens=3).shape[1] <= 4


@pytest.mark.parametrize("place", [(0, 3), (2, 2)])
def test_a_crashed_run_ends_with_the_same_weights_and_log(tmp_path, place):
    class Crash(BaseException):
        pass

    def crash(*now):
        if now == place:
            raise Crash

    whole = noisy_engine(tmp_path / "whole")
    whole.fit()
    with pytest.raises(Crash):
        noisy_engine(tmp_path / "cut", loader=MemoryLoader(on_batch=crash)).fit()
    torch.manual_seed(123)
    resumed = noisy_engine(tmp_path / "cut")
    resumed.fit()
    assert_same_weights(weights(whole), weights(resumed))
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "cut")


# -- a whole recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The recipe of a language model on everyday, trained, and what was logged meanwhile."""
    folder = tmp_path_factory.mktemp("runs") / "lm"
    recipe = Recipe.from_dict(
        {
            "name": "lm",
            "output_dir": str(folder),
            "model": {
                "kind": "language_model",
                "decoder": {"embedding_size": 16, "hidden_size": 32},
            },
            "data": {
                "dataset": "everyday",
                "num_train": 600,
                "num_validation": 60,
                "num_test": 300,
            },
            "training": {"epochs": 4, "optimizer": "adam", "learning_rate": 0.02},
        }
    )
    records = []

    class Kept(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    def refuse(*given, **options):
        raise AssertionError("an encoder was built")

    logger, handler = logging.getLogger("hf_seqvae"), Kept(level=logging.WARNING)
    logger.addHandler(handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SeqVAEEncoder, "__init__", refuse)
        result = train(recipe, progress=False)
    logger.removeHandler(handler)
    return result, records


def test_training_lowers_the_exact_nll_and_nobody_warns_of_a_collapse(run):
    result, warnings = run
    lines = [line for line in read_log(result.output_dir) if "eval/elbo" in line]
    nlls = [line["eval/reconstruction_nll"] for line in lines]
    assert len(nlls) == 4 and nlls[-1] < nlls[0] - 5
    assert not warnings


def test_the_nll_is_never_below_the_grammar_s_own(run):
    """Sentence by sentence against the exact probability, in standard errors."""
    report = run[0].report["test"]
    assert "kl" not in report.figures and "elbo" not in report.figures
    gap = report["model_gap"]
    assert gap.value > -3 * gap.standard_error
    floor = everyday.entropy()
    nll = report["exact_model_nll"]
    assert floor - 3 * nll.standard_error < nll.value < floor + 40


def test_the_report_is_of_the_best_weights_by_the_exact_nll(run):
    result = run[0]
    log = [line for line in read_log(result.output_dir) if "eval/elbo" in line]
    best = max(log, key=lambda line: line["eval/elbo"])
    assert result.progress.best_step == best["step"]
    written = json.loads(result.report_path.read_text())["validation"]["figures"]
    assert written["exact_model_nll"]["value"] == pytest.approx(-best["eval/elbo"], rel=1e-5)


def test_the_best_folder_scores_text_as_the_report_does(run):
    """By the ordinary classes alone: tokenizer, ids, labels shifted inside."""
    result = run[0]
    model = AutoModelForCausalLM.from_pretrained(result.best_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(result.best_dir)
    text = everyday.generate(1, seed=5)[0][0]
    ids = tokenizer([text], return_tensors="pt")["input_ids"]  # BOS, words, EOS
    features = [{"input_ids": ids[0].tolist(), "labels": ids[0, 1:].tolist()}]
    with torch.no_grad():
        own = float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        scored = model.log_prob(Collator.from_tokenizer(tokenizer)(features))
    assert -float(scored) == pytest.approx(own, rel=1e-5)


def test_the_same_recipe_again_changes_nothing(run):
    result = run[0]
    before = load_file(result.last_dir / "model.safetensors")
    again = train(result.output_dir / "recipe.yaml", progress=False)
    assert again.progress == result.progress
    assert_same_weights(before, load_file(again.last_dir / "model.safetensors"))
