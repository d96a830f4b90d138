"""What TrainingArguments offers and SeqVAETrainer keeps: precision, compilation, logs, the card."""

import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.testing import assert_close
from trainer_standins import VOCABULARY, arguments, quiet_model, rows, tiny_model, weights
from transformers import (
    AutoModelForSeq2SeqLM,
    BertConfig,
    GPT2Config,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
)

from hf_seqvae import SeqVAEConfig, SeqVAEModel, SeqVAETrainer
from hf_seqvae.data import Collator
from hf_seqvae.evaluation import trainer_metrics


def attention_model(seed: int = 0) -> SeqVAEModel:
    """BERT and GPT-2, whose layers can be computed twice; without dropout."""
    torch.manual_seed(seed)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    encoder = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **special,
    )
    decoder = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=16,
        n_layer=2,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        **special,
    )
    return SeqVAEModel(SeqVAEConfig(encoder=encoder, decoder=decoder, latent_size=4))


def trained(folder, model, **settings) -> SeqVAETrainer:
    data = {"train_dataset": rows(48), "eval_dataset": rows(16, seed=1)}
    trainer = SeqVAETrainer(model, arguments(folder, **settings), **data)
    trainer.train()
    return trainer


COMPILED = {"torch_compile": True, "torch_compile_backend": "aot_eager"}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        pytest.param(COMPILED, 1e-3, marks=pytest.mark.slow),
        ({"bf16": True}, 0.1),
        ({"activation_checkpointing": True}, 1e-3),
    ],
    ids=["torch_compile", "bf16", "activation_checkpointing"],
)
def test_a_model_trains_as_without_it(tmp_path, monkeypatch, settings, tolerance):
    """nats a sentence, of a bound that training has moved by far more."""
    torch._dynamo.reset()
    one_length = rows(64).filter(lambda row: row["length"] == 5)  # one shape to compile
    monkeypatch.setitem(globals(), "rows", lambda count, seed=0: one_length.select([0, 1] * 24))
    longer = {"max_steps": 12, "learning_rate": 3e-2}
    before = trained(tmp_path, quiet_model(), max_steps=1, learning_rate=0.0)
    plain = trained(tmp_path, quiet_model(), **longer).evaluate()["eval_elbo"]
    other = trained(tmp_path, quiet_model(), **longer, **settings).evaluate()["eval_elbo"]
    assert plain > before.evaluate()["eval_elbo"] + 0.5
    assert other == pytest.approx(plain, abs=tolerance)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
def test_a_compiled_model_takes_batches_of_every_size(tmp_path):
    """Texts of many lengths, the last batch of an epoch short, posterior samples on."""
    torch._dynamo.reset()
    lasting = {"num_train_epochs": 2, "max_steps": -1, "per_device_train_batch_size": 5}
    plain = trained(tmp_path, tiny_model(), **lasting)
    compiled = trained(tmp_path, tiny_model(), **lasting, **COMPILED)
    assert plain.state.global_step == 20  # 48 rows in batches of 5: the last has 3
    assert_close(weights(compiled.model), weights(plain.model), rtol=0, atol=1e-4)
    assert compiled.evaluate()["eval_elbo"] == pytest.approx(plain.evaluate()["eval_elbo"], abs=0.1)


def test_layers_computed_twice_give_the_same_weights(tmp_path):
    """Posterior samples on: what is computed again has to meet the same latents."""
    plain, twice = attention_model(), attention_model()
    passes = []
    for model in (plain, twice):
        layer = model.decoder.transformer.h[1]
        layer.attn.register_forward_hook(lambda *_, model=model: passes.append(model is twice))
    trained(tmp_path, plain, max_steps=3)
    trained(tmp_path, twice, max_steps=3, activation_checkpointing=True)
    assert_close(weights(twice), weights(plain), rtol=0, atol=1e-5)
    assert passes.count(False) == 3 and passes.count(True) == 6


def test_a_checkpoint_of_bert_and_gpt2_is_fine_tuned_by_stock_trainers(tmp_path):
    """Its terms are found among more outputs than our LSTM's; what is judged is what it writes."""
    attention_model().save_pretrained(tmp_path / "first")
    data = {"train_dataset": rows(16), "eval_dataset": rows(5, seed=1)}
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "first")
    common = {"data_collator": Collator(0), **data}
    stock = Trainer(model, arguments(tmp_path, max_steps=2), **common, **trainer_metrics())
    stock.train()
    batch = Collator(0)([data["eval_dataset"][place] for place in range(5)])
    kl = float(model.eval()(**batch).kl.detach().sum(1).mean())
    assert stock.evaluate()["eval_kl"] == pytest.approx(kl, abs=1e-5)

    written = {"predict_with_generate": True, "generation_max_length": 8, "max_steps": 2}
    settings = arguments(tmp_path, kind=Seq2SeqTrainingArguments, **written)
    writing = Seq2SeqTrainer(model, settings, **common)
    writing.train()
    predicted = writing.predict(data["eval_dataset"]).predictions
    model.eval()
    for place, row in enumerate(data["eval_dataset"]):
        ids = model.generate(torch.tensor([row["input_ids"]]), max_length=8)[0].tolist()
        assert predicted[place].tolist()[: len(ids)] == ids
        assert set(predicted[place].tolist()[len(ids) :]) <= {0}


def test_terms_arrive_in_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = trained(tmp_path, tiny_model(), report_to=["tensorboard"])
    figures = trainer.evaluate()
    files = EventAccumulator(str(tmp_path / "board"))
    files.Reload()
    for name in ("elbo", "reconstruction_nll", "kl", "beta"):
        logged = [line[name] for line in trainer.state.log_history if name in line]
        written = [(event.step, event.value) for event in files.Scalars(f"train/{name}")]
        assert [step for step, _ in written] == [2, 4, 6]
        assert_close([value for _, value in written], logged, rtol=1e-5, atol=1e-6)
    assert math.isclose(files.Scalars("eval/elbo")[-1].value, figures["eval_elbo"], rel_tol=1e-5)


@pytest.mark.parametrize(("step", "exact"), [(4, True), (5, False)], ids=["epoch's end", "within"])
def test_a_stock_trainer_grouping_by_length_resumes_exactly_at_an_epochs_end(tmp_path, step, exact):
    def stock(seed):
        settings = {"train_sampling_strategy": "group_by_length", "max_steps": 8}
        settings |= {"save_strategy": "steps", "save_steps": step, "remove_unused_columns": False}
        return Trainer(
            tiny_model(seed=seed, word_dropout=0.3),
            arguments(tmp_path, **settings),
            train_dataset=rows(32),
            data_collator=Collator(0),
        )

    whole, again = stock(0), stock(1)
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    pairs = zip(weights(whole.model), weights(again.model), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs) is exact


@pytest.mark.parametrize("strategy", ["random", "sequential", "batch_rebalance"])
def test_a_stock_trainer_of_another_order_resumes_exactly_within_an_epoch(tmp_path, strategy):
    def stock(seed):
        settings = {"train_sampling_strategy": strategy, "max_steps": 4, "save_steps": 3}
        return Trainer(
            tiny_model(seed=seed, word_dropout=0.3),
            arguments(tmp_path, save_strategy="steps", remove_unused_columns=False, **settings),
            train_dataset=rows(40),
            data_collator=Collator(0),
        )

    whole, again = stock(0), stock(1)
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    for one, other in zip(weights(whole.model), weights(again.model), strict=True):
        assert torch.equal(one, other)


def test_a_stock_trainer_that_takes_the_labels_away_is_told_by_the_model(tmp_path):
    settings = arguments(tmp_path, label_smoothing_factor=0.1)
    stock = Trainer(tiny_model(), settings, train_dataset=rows(8), data_collator=Collator(0))
    with pytest.raises(ValueError, match="label_smoothing_factor.*compute_loss_func"):
        stock.train()


def test_a_smoothed_loss_of_a_stock_trainer_has_no_kl(tmp_path):
    """What SeqVAETrainer refuses it for: with decoder_input_ids the model cannot know."""

    def with_decoder_inputs(batch):
        batch = Collator(0)(batch)
        return batch | {"decoder_input_ids": batch["labels"].clamp(min=0)}

    def trained_at(kl_weight):
        model = quiet_model(kl_weight=kl_weight)
        settings = {"label_smoothing_factor": 0.1, "remove_unused_columns": False}
        data = {"train_dataset": rows(48), "data_collator": with_decoder_inputs}
        Trainer(model, arguments(tmp_path, **settings), **data).train()
        return weights(model)

    assert_close(trained_at(100.0), trained_at(0.0), rtol=0, atol=0)


def test_the_card_says_where_the_weights_came_from(tmp_path):
    def card(model) -> str:
        settings = arguments(tmp_path / "run", max_steps=1)
        trainer = SeqVAETrainer(model, settings, train_dataset=rows(8), eval_dataset=rows(8))
        trainer.train()
        trainer.evaluate()
        trainer.create_model_card(tags=["seqvae"])
        return (tmp_path / "run" / "README.md").read_text()

    scratch = card(tiny_model())
    assert "A sequence VAE, begun from random weights, trained on" in scratch
    assert "fine-tuned" not in scratch and "base_model" not in scratch
    assert "- Elbo: -" in scratch and "- seqvae" in scratch
    tiny_model().save_pretrained(tmp_path / "first")
    assert "fine-tuned from a local checkpoint" in card(
        SeqVAEModel.from_pretrained(tmp_path / "first")
    )
    named = tiny_model()
    named.config.name_or_path = "someone/sentences"
    assert "fine-tuned from [someone/sentences](https" in card(named)
    assert "base_model: someone/sentences" in card(named)
    parts = attention_model()
    parts.config.encoder.name_or_path = "google/bert"
    assert "built around [google/bert]" in card(parts)
