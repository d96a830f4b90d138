"""From texts to a finished report in a folder: what it holds, reads back, refuses and survives."""

import logging
import math

import numpy as np
import pytest
import torch
from evaluation_standins import (
    TEXTS,
    VOCABULARY_OF_TEXTS,
    assert_same_report,
    strict_json,
    tiny_data,
    tiny_language_model,
    tiny_tokenizer,
    tiny_vae,
)
from evaluation_worker import counted
from safetensors import SafetensorError
from transformers import GPT2Config

from hf_seqvae import SeqVAEConfig, SeqVAEModel, everyday
from hf_seqvae.data import tokenize, tokenizer_from_words
from hf_seqvae.evaluation import evaluate, measure, measuring, read_report

SETTINGS = {"num_samples": 2, "iw_samples": 4, "num_generated": 3, "seed": 1}
EACH = 4 + 2 + 1


def report_in(folder, *, model=None, texts=TEXTS, tokenizer=None, **arguments):
    model = tiny_vae() if model is None else model
    tokenizer = tiny_tokenizer() if tokenizer is None else tokenizer
    return measure(model, tokenizer, tiny_data(texts), folder=folder, **SETTINGS | arguments)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


FINISHED = ["evaluation.json", "generated.json", "per_sentence.safetensors", "report.json"]


# -- a finished report


def test_a_folder_holds_the_whole_report_and_gives_it_back(tmp_path):
    report = report_in(tmp_path, names=("a model", "some text"))
    assert names_in(tmp_path) == FINISHED
    read = read_report(tmp_path)
    assert read == report
    assert_same_report(read, report, exactly=True)
    values = strict_json((tmp_path / "report.json").read_text())
    assert values["model"]["name"] == "a model" and values["data"]["name"] == "some text"
    assert values["settings"].items() >= {**SETTINGS, "max_length": None, "truncate": False}.items()
    assert len(values["model"]["sha256"]) == 64 and values["model"]["num_parameters"] > 0
    assert len(values["data"]["texts_sha256"]) == len(values["data"]["tokens_sha256"]) == 64
    assert values["versions"]["hf_seqvae"] and values["peak_memory_mib"] > 10
    assert values["wall_seconds"] > 0 and values["cpu_seconds"] > 0


def test_a_finished_report_is_read_and_the_model_not_run(tmp_path):
    first = report_in(tmp_path)
    with counted() as rows:
        again = report_in(tmp_path, batch_size=2, decode_size=3)  # on which nothing depends
    assert rows == {"encoded": 0, "decoded": 0}
    assert again == first
    assert_same_report(again, first, exactly=True)


def test_without_a_folder_the_report_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same_report(report_in(None), report_in(tmp_path / "there"), exactly=True)
    assert names_in(tmp_path) == ["there"]


def test_another_question_to_a_finished_folder_is_refused_or_measured_afresh(tmp_path):
    report_in(tmp_path)
    with pytest.raises(ValueError, match="changed: seed: 1 -> 2.*--fresh"):
        report_in(tmp_path, seed=2)
    fresh = report_in(tmp_path, seed=2, fresh=True)
    assert_same_report(fresh, report_in(None, seed=2), exactly=True)
    assert read_report(tmp_path) == fresh


def test_equal_weights_under_another_config_are_another_model(tmp_path):
    report_in(tmp_path, model=tiny_vae(pooling="max"))
    with pytest.raises(ValueError, match="changed: config_sha256"):
        report_in(tmp_path, model=tiny_vae(pooling="mean"))


def test_a_saved_model_is_the_same_model(tmp_path):
    report = report_in(tmp_path / "report")
    tiny_vae().save_pretrained(tmp_path / "model")
    loaded = SeqVAEModel.from_pretrained(tmp_path / "model")
    with counted() as rows:
        assert report_in(tmp_path / "report", model=loaded) == report
    assert rows["encoded"] == 0


def test_more_generated_text_is_written_and_not_passed_over(tmp_path):
    report_in(tmp_path)
    more = report_in(tmp_path, num_generated=5)
    assert "5 samples" in more["sample_length"].definition
    assert_same_report(more, report_in(None, num_generated=5), exactly=True)


def test_other_texts_with_the_same_tokens_are_other_texts(tmp_path):
    """Two unknown words are one token: the old report must not speak for the new text."""
    old = report_in(tmp_path, texts=[*TEXTS, "the zebra sleeps ."])
    new = report_in(tmp_path, texts=[*TEXTS, "the yak sleeps ."])
    assert old.data["tokens_sha256"] == new.data["tokens_sha256"]
    assert old.data["texts_sha256"] != new.data["texts_sha256"]


def test_fresh_drops_the_texts_that_another_model_wrote(tmp_path, monkeypatch):
    """Also where it is killed before it wrote any itself, and taken up without --fresh."""
    report_in(tmp_path)

    class Stopped(BaseException):
        pass

    def stop(*_, **__):
        raise Stopped

    other = tiny_vae(seed=4)
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "generated_figures", stop)
        with pytest.raises(Stopped):
            report_in(tmp_path, model=other, fresh=True)
    assert "report.json" not in names_in(tmp_path)  # nor is the old report left to be read
    assert_same_report(report_in(tmp_path, model=other), report_in(None, model=other), exactly=True)


def test_the_time_of_generation_is_counted(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])

    def slow(*_, **__):
        clock[0] += 100.0
        return {}

    monkeypatch.setattr(measuring, "generated_figures", slow)
    assert report_in(None).wall_seconds == pytest.approx(100.0)


def test_the_model_is_given_back_in_its_mode():
    model = tiny_vae().train()
    report_in(None, model=model)
    assert all(module.training for module in model.modules())


# -- the disk


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O")])
def test_a_disk_that_is_full_at_the_end_loses_nothing(tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "save_file", full)
        with pytest.raises(OSError, match="Free some disk space.*all 7 sentences are kept"):
            report_in(tmp_path)
    with counted() as rows:
        report = report_in(tmp_path)
    assert rows == {"encoded": 0, "decoded": 0}
    assert_same_report(report, report_in(None), exactly=True)


def test_the_folder_of_a_training_run_is_refused_and_left_alone(tmp_path):
    (tmp_path / "report.json").write_text('{"model": "best", "test": {}}')
    for fresh in (False, True):
        with pytest.raises(ValueError, match="is not the report of an evaluation: a training run"):
            report_in(tmp_path, fresh=fresh)
    with pytest.raises(ValueError, match="is not the report of an evaluation"):
        read_report(tmp_path)
    assert names_in(tmp_path) == ["report.json"]


def test_a_folder_without_a_report_or_with_half_of_one_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match="holds no report.json: give the folder of a finished"):
        read_report(tmp_path)
    report_in(tmp_path)
    arrays = tmp_path / "per_sentence.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged.*--fresh"):
        read_report(tmp_path)
    assert_same_report(report_in(tmp_path, fresh=True), report_in(None), exactly=True)


# -- text


def test_everyday_sentences_stand_beside_their_exact_probability():
    texts = everyday.generate(6, 3)[0]
    words = sorted(everyday.vocabulary())
    sizes = {"vocab_size": len(words) + 4, "embedding_size": 4, "hidden_size": 4}
    torch.manual_seed(0)
    model = SeqVAEModel(SeqVAEConfig(encoder=sizes, decoder=sizes, latent_size=2))
    arguments = {"model": model, "tokenizer": tokenizer_from_words(words), "is_everyday": True}
    report = report_in(None, texts=texts, **arguments)
    exact = np.array([-everyday.log_prob(text) for text in texts])
    assert report["exact_nll"].value == pytest.approx(exact.mean())
    gap = report.per_sentence["iw_nll"] - exact
    assert report["iw_gap"].value == pytest.approx(gap.mean())


def test_the_exact_probability_is_left_out_where_the_text_was_cut(caplog):
    with caplog.at_level(logging.WARNING):
        report = report_in(None, is_everyday=True, max_length=4, truncate=True)
    assert "exact_nll" not in report.figures
    assert "grammar's exact figures are left out" in caplog.text
    assert report.settings["truncate"] and report.settings["max_length"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": []}, "the data set is empty"),
        ({"texts": [*TEXTS, "  "]}, "1 of 8 texts are empty, the first at row 7"),
        ({"texts": ["xyzzy plugh", "plugh"]}, "every word of all 2 texts is unknown"),
        ({"max_length": 4}, "texts have more than max_length=4"),
        ({"iw_samples": 1}, "at least num_samples = 2"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_no_folder_made(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        report_in(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()


def test_a_text_longer_than_the_tokenizer_allows_is_refused_or_cut():
    tokenizer = tiny_tokenizer(max_length=5)
    with pytest.raises(ValueError, match="have more than max_length=5 tokens"):
        report_in(None, tokenizer=tokenizer)
    assert report_in(None, tokenizer=tokenizer, truncate=True).num_tokens < 7 * 7


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_tokenizer_of_another_model_is_refused(part):
    words = len(VOCABULARY_OF_TEXTS) + 4
    small = {"vocab_size": words - 1, "embedding_size": 8, "hidden_size": 8}
    model = tiny_vae(**{part: small})
    message = f"gives token {words - 1}, and the {part} has {words - 1}: they do not belong"
    with pytest.raises(ValueError, match=message):
        report_in(None, model=model)


def test_a_text_longer_than_the_decoder_has_positions_is_refused():
    model = tiny_vae(decoder=gpt2(positions=6), latent_injection=("prefix",))
    with pytest.raises(ValueError, match="has 6 positions. Truncate the texts"):
        report_in(None, model=model)


def test_samples_stop_where_the_decoder_has_no_more_positions():
    """Twice the longest text, and some, would be 30 tokens."""
    model = tiny_vae(decoder=gpt2(positions=12), latent_injection=("prefix",))
    with torch.no_grad():  # it never ends by itself
        model.decoder.lm_head.weight[2] = 0
    report = report_in(None, model=model)
    assert "to 11 tokens" in report["sample_length"].definition


def gpt2(positions: int) -> dict:
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "bos_token_id": 1, "eos_token_id": 2}
    config = GPT2Config(vocab_size=len(VOCABULARY_OF_TEXTS) + 4, n_positions=positions, **sizes)
    return config.to_dict()


# -- a language model without latents


def test_a_language_model_is_measured_by_its_exact_nll(tmp_path):
    model, tokenizer = tiny_language_model(), tiny_tokenizer()
    report = report_in(tmp_path, model=model, batch_size=2)
    by_hand = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])  # BOS, the words, EOS
        log_probs = model(ids).logits.detach().log_softmax(-1)[0, :-1]
        by_hand.append(-float(log_probs.gather(1, ids[0, 1:, None]).sum()))
    assert report["exact_model_nll"].value == pytest.approx(np.mean(by_hand), rel=1e-5)
    np.testing.assert_allclose(report.per_sentence["nll"], by_hand, rtol=1e-5)
    words = sum(len(text.split()) for text in TEXTS) + 7
    expected = math.exp(sum(by_hand) / words)
    assert report["word_perplexity"].value == pytest.approx(expected, rel=1e-5)
    known = {"exact_model_nll", "word_perplexity", "token_perplexity", "unknown_share"}
    assert set(report.figures) == known
    assert report_in(tmp_path, model=model) == report == read_report(tmp_path)


def test_a_language_model_is_held_against_the_floor_of_the_text():
    rows = tokenize(tiny_data(), tiny_tokenizer())
    floor = np.linspace(1.0, 4.0, len(rows))
    report = evaluate(tiny_language_model(), rows, floor=floor)
    differences = report.per_sentence["nll"] - floor
    assert report["exact_nll"].value == pytest.approx(floor.mean())
    assert report["model_gap"].value == pytest.approx(differences.mean())
    error = differences.std(ddof=1) / len(rows) ** 0.5
    assert report["model_gap"].standard_error == pytest.approx(error)


def test_the_share_of_unknown_words_is_counted():
    report = measure(tiny_vae(), tiny_tokenizer(), tiny_data(["cats sleep .", "cats fly ."]))
    unknown = tiny_tokenizer().unk_token_id
    labels = tokenize(tiny_data(["cats sleep .", "cats fly ."]), tiny_tokenizer())["labels"]
    by_hand = sum(ids.count(unknown) for ids in labels) / sum(map(len, labels))
    assert report["unknown_share"].value == pytest.approx(by_hand) and by_hand > 0


@pytest.mark.parametrize("other", ["eos_token", "bos_token", "pad_token"])
def test_an_unknown_token_that_is_a_control_token_counts_no_word(other):
    tokenizer = tiny_tokenizer()
    tokenizer.unk_token = getattr(tokenizer, other)
    report = measure(tiny_vae(), tokenizer, tiny_data(["cats sleep ."]))
    assert report["unknown_share"].value == 0.0
