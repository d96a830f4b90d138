"""Figures of what a model writes: which texts are measured, how often they are written, and when
there is nothing to measure.
"""

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from evaluation_standins import (
    TEXTS,
    Stopped,
    tiny_data,
    tiny_tokenizer,
    tiny_vae,
)

from hf_seqvae import LatentSpace
from hf_seqvae.data import build_tokenizer, tokenizer_from_words
from hf_seqvae.evaluation import measure
from hf_seqvae.evaluation.generation import STEPS, Generated, generated_figures

MEANS = torch.arange(7.0)[:, None].expand(7, 4).contiguous()  # the latent of a text is its number


class Writer:
    """A space whose decoder writes what a function makes of a latent; it keeps what was asked."""

    def __init__(self, write, samples=("a dog sleeps .",) * 5):
        self.model = tiny_vae()
        self.write = write
        self.samples = samples
        self.decoded, self.sampled = [], []

    def decode(self, latents, **options):
        self.decoded.append((latents, options))
        return [self.write(latent) for latent in latents]

    def sample(self, n, **options):
        self.sampled.append((n, options))
        return list(self.samples[:n])


def copy(latent) -> str:
    """The text whose number is nearest."""
    return TEXTS[int(latent[0].round())]


def figures_of(space, *, texts=TEXTS, path=None, num_generated=5, seed=0):
    return generated_figures(
        space,
        texts,
        MEANS[: len(texts)],
        num_generated=num_generated,
        longest=8,
        seed=seed,
        generated=Generated(path),
    )


# -- what is measured


def test_reconstructions_are_of_the_first_sentences_from_their_means():
    space = Writer(copy)
    figures = figures_of(space, num_generated=3)
    latents, options = space.decoded[0]
    assert torch.equal(latents, MEANS[:3])
    assert options == {"max_new_tokens": 32}  # greedy, to twice the longest sentence and some
    assert figures["exact_match"].value == figures["token_accuracy"].value == 1.0
    assert figures["reconstruction_bleu"].value == pytest.approx(100.0)
    assert "first 3 sentences" in figures["exact_match"].definition


def test_a_word_that_is_wrong_or_too_much_is_counted():
    written = {"the girl reads a book .": "the girl reads a house .", "a dog sleeps .": "a dog"}
    figures = figures_of(Writer(lambda z: written.get(copy(z), copy(z))), num_generated=2)
    assert figures["exact_match"].value == 0.0
    # 5 of 6 words and the end; then 2 of 4 words, and the end at another place
    assert figures["token_accuracy"].value == pytest.approx((6 + 2) / (7 + 5))
    assert 0 < figures["reconstruction_bleu"].value < 100


def test_walks_go_between_the_means_of_different_sentences():
    space = Writer(copy)
    figures = figures_of(space)
    paths = space.decoded[1][0].view(-1, STEPS, 4)
    assert len(paths) == 3 and "3 straight walks of 7" in figures["walk_step"].definition
    ends = [int(point[0]) for path in paths for point in (path[0], path[-1])]
    assert len(set(ends)) == 6  # each sentence is an end once at most
    for path in paths:
        assert torch.allclose(path, torch.lerp(path[0], path[-1], torch.linspace(0, 1, 7)[:, None]))


def test_at_most_fifty_walks_are_made():
    texts = [f"{word} ." for word in range(130)]
    space = Writer(lambda z: texts[int(z[0])])
    generated_figures(
        space,
        texts,
        torch.arange(130.0)[:, None].expand(130, 4),
        num_generated=2,
        longest=3,
        seed=0,
        generated=Generated(None),
    )
    assert len(space.decoded[1][0]) == 50 * STEPS


def test_real_text_in_the_place_of_samples_reads_as_the_real_figures_do():
    """Samples that are the odd sentences, or the even ones, themselves."""
    odd = figures_of(Writer(copy, samples=TEXTS[1::2]), num_generated=3)
    assert odd["forward_perplexity"].value == odd["real_forward_perplexity"].value
    even = figures_of(Writer(copy, samples=TEXTS[::2]), num_generated=4)
    assert even["reverse_perplexity"].value == even["real_reverse_perplexity"].value
    assert odd["reverse_perplexity"].value < even["reverse_perplexity"].value  # it read the answer


def test_both_trigrams_of_the_reverse_perplexity_read_as_many_sentences():
    real = TEXTS[::2]  # what the data side reads
    many = figures_of(Writer(copy, samples=[*real, *TEXTS]), num_generated=len(real) + len(TEXTS))
    assert many["reverse_perplexity"].value == pytest.approx(many["real_reverse_perplexity"].value)


def test_samples_follow_the_models_own_distribution_and_not_its_likeliest_words():
    """A decoder to which all words are nearly alike writes them all, also beyond the likeliest."""
    words = [f"w{number}" for number in range(80)]
    sizes = {"vocab_size": 84, "embedding_size": 4, "hidden_size": 4}
    model = tiny_vae(encoder=sizes, decoder=dict(sizes))
    with torch.no_grad():
        for parameter in (*model.decoder.parameters(), *model.injection.parameters()):
            parameter.zero_()
        for layer in model.decoder.model.layers:
            layer.lstm.bias_ih_l0.fill_(1.0)  # the state is positive whatever was read,
        # and so the later words are a little likelier at every place
        model.decoder.lm_head.weight.copy_(1e-4 * torch.arange(84.0)[:, None].expand(84, 4))
    space = LatentSpace(model, tokenizer_from_words(words))
    path: dict = {}
    generated = SimpleNamespace(get=lambda name, write: path.setdefault(name, write()))
    generated_figures(
        space,
        ["w1 w2"],
        torch.zeros(1, 4),
        num_generated=200,
        longest=3,
        seed=0,
        generated=generated,
    )
    written = " ".join(path["200 samples"]).split()
    assert len(written) > 2000
    assert set(words) <= set(written)
    most = max(written.count(word) for word in words)
    mean = len(written) / 84  # each of the 84 tokens is as likely
    assert most < mean + 5 * mean**0.5


@pytest.mark.parametrize("num_generated", [1, 2, 20])
def test_so_many_samples_are_drawn_also_beyond_the_sentences_there_are(num_generated):
    model, tokenizer = tiny_vae(), tiny_tokenizer()
    report = measure(model, tokenizer, tiny_data(), num_generated=num_generated)
    assert f"{num_generated} samples" in report["sample_length"].definition
    shown = min(num_generated, 7)
    assert f"the first {shown} sentences" in report["exact_match"].definition
    assert ("self_bleu" in report.figures) == (num_generated > 1)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_seed_decides_samples_and_walks():
    def figures(seed):
        report = measure(tiny_vae(), tiny_tokenizer(), tiny_data(), num_generated=5, seed=seed)
        return {name: report[name] for name in ("self_bleu", "sample_length", "walk_step")}

    assert figures(1) == figures(1)
    assert figures(1)["sample_length"] != figures(2)["sample_length"]


def test_the_longest_text_is_counted_in_tokens_and_not_in_words(monkeypatch):
    texts = ["incomprehensibilities", "a"]
    tokenizer = build_tokenizer(texts, kind="bpe", vocab_size=261)
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 4, "hidden_size": 4}
    asked = []
    monkeypatch.setattr(
        LatentSpace, "decode", lambda self, z, **options: asked.append(options) or ["a"] * len(z)
    )
    measure(
        tiny_vae(encoder=sizes, decoder=dict(sizes)), tokenizer, tiny_data(texts), num_generated=2
    )
    longest = len(tokenizer(texts[0])["input_ids"]) - 1  # a BOS, which is not written
    assert longest > 15
    assert asked[0]["max_new_tokens"] == 2 * longest + 16


# -- a kill


def test_texts_written_before_a_kill_are_not_written_again(tmp_path):
    path = tmp_path / "generated.json"

    def stop(*_, **__):
        raise Stopped

    first = Writer(copy)
    first.sample = stop
    with pytest.raises(Stopped):
        figures_of(first, path=path)
    assert list(json.loads(path.read_text())) == ["5 reconstructions"]
    second = Writer(copy)
    resumed = figures_of(second, path=path)
    assert len(second.decoded) == 1 and len(second.decoded[0][0]) == 3 * STEPS  # the walks alone
    assert resumed == figures_of(Writer(copy))
    third = Writer(stop)
    third.sample = stop
    assert figures_of(third, path=path) == resumed


@pytest.mark.parametrize("damage", [lambda text: text[:20], lambda text: f"[{text}]"])
def test_a_damaged_file_of_texts_is_written_again_and_said(tmp_path, caplog, damage):
    path = tmp_path / "generated.json"
    whole = figures_of(Writer(copy), path=path)
    path.write_text(damage(path.read_text()))
    with caplog.at_level(logging.WARNING):
        assert figures_of(Writer(copy), path=path) == whole
    assert f"{path} is damaged" in caplog.text


# -- little to measure


@pytest.mark.parametrize(
    ("samples", "undefined"),
    [
        (("dog",) * 5, {"distinct_2": "no sample has 2 words"}),
        (("",) * 5, {"distinct_1": "no sample has 1 words", "distinct_2": "no sample has 2 words"}),
        (("", "a dog", "", "", ""), {}),
        (("the house .",) * 5, {}),
    ],
)
def test_samples_of_one_word_or_none_have_figures_or_reasons(samples, undefined):
    figures = figures_of(Writer(copy, samples=samples))
    found = {name: figure.reason for name, figure in figures.items() if figure.value is None}
    assert found == undefined
    if len(set(samples)) == 1:
        # of a single word, the two longer orders count as a tenth of a match
        whole = 100.0 if samples[0] != "dog" else 100 * 0.1 ** (2 / 3)
        assert figures["self_bleu"].value == pytest.approx(whole)
    json.dumps([figure.value for figure in figures.values()], allow_nan=False)


def test_empty_reconstructions_are_wrong_and_no_error():
    figures = figures_of(Writer(lambda z: ""))
    assert figures["exact_match"].value == figures["reconstruction_bleu"].value == 0.0
    assert figures["token_accuracy"].value == 0.0


def test_a_decoder_that_ignores_z_walks_nowhere_and_the_figures_say_so():
    figures = figures_of(Writer(lambda z: "the house ."))
    assert figures["walk_moving"].value == figures["walk_step"].value == 0.0
    for name in ("walk_largest_step", "walk_monotonicity"):
        assert figures[name].value is None
        assert figures[name].reason == "no word changes on any of them"


def test_of_one_sentence_there_are_no_walks_and_no_held_out_text():
    figures = figures_of(Writer(copy), texts=TEXTS[:1])
    assert not {name for name in figures if name.startswith(("walk", "real", "reverse"))}
    assert figures["exact_match"].value == 1.0 and figures["exact_match"].standard_error is None
    assert figures["forward_perplexity"].value > 1
    json.dumps([figure.value for figure in figures.values()], allow_nan=False)


def test_of_two_sentences_there_is_one_walk():
    figures = figures_of(Writer(copy), texts=TEXTS[:2])
    assert "1 straight walks" in figures["walk_step"].definition
    assert figures["walk_monotonicity"].value == 1.0
    # all the edits are in the one step from the first text to the second
    assert figures["walk_largest_step"].value == 1.0
    assert figures["real_forward_perplexity"].value > 1
    json.dumps([figure.value for figure in figures.values()], allow_nan=False)


def test_no_generated_text_means_none_of_its_figures():
    report = measure(tiny_vae(), tiny_tokenizer(), tiny_data(), num_generated=0)
    assert not {"exact_match", "self_bleu", "walk_step"} & set(report.figures)
