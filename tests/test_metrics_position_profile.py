"""What z saves by position: against enumeration, logits by hand and the swap gap."""

import itertools
import math

import pytest
import torch
from metrics_standins import BOS, EOS, V, Z, batch_of, deaf, sequence_model, texts
from torch.testing import assert_close

from hf_seqvae.metrics import (
    first_words_ratio,
    position_profile,
    reconstruction_nll,
    savings,
    swap_gap,
)

A, B = 4, 5
log = math.log


def random_latents(rows: int, samples: int = 2) -> list[torch.Tensor]:
    """Two sets of samples (S, B, Z)."""
    generator = torch.Generator().manual_seed(1)
    return list(1.5 * torch.randn(2, samples, rows, Z, generator=generator))


def saved_by(model, batch, own, foreign):
    with torch.no_grad():
        at_own, at_foreign = (model.position_log_likelihood(batch, z) for z in (own, foreign))
    return savings(at_own, at_foreign, batch["labels"])


def hand_made(labels):
    """p of two sentences' labels and of EOS at each place; at own and at foreign latents."""
    own_ends = torch.tensor([[[0.1, 0.2, 0.5], [0.0, 0.25, 0.0]]])
    foreign_ends = torch.tensor([[[0.5, 0.1, 0.25], [0.0, 0.5, 0.0]]])
    own_labels = torch.tensor([[[0.6, 0.4, 0.5], [1.0, 0.25, 1.0]]])
    foreign_labels = torch.tensor([[[0.1, 0.8, 0.25], [1.0, 0.5, 1.0]]])
    real = torch.tensor(labels) != -100
    return [
        tuple(value.double().log().masked_fill(~real, 0.0) for value in pair)
        for pair in ((own_labels, own_ends), (foreign_labels, foreign_ends))
    ]


# savings


def test_savings_by_hand():
    labels = [[A, B, EOS], [-100, EOS, -100]]
    saved = savings(*hand_made(labels), torch.tensor(labels))
    tokens = [[log(6), log(0.5), log(2)], [log(0.5), 0, 0]]  # the second stands at the start
    length = [log(0.9 / 0.5) + log(0.8 / 0.9) + log(2), log(0.5)]
    words = [[log(6) - log(0.9 / 0.5), log(0.5) - log(0.8 / 0.9), 0], [0, 0, 0]]
    assert_close(saved.tokens, torch.tensor(tokens, dtype=torch.float64))
    assert_close(saved.length, torch.tensor(length, dtype=torch.float64))
    assert_close(saved.words, torch.tensor(words, dtype=torch.float64))


def test_savings_average_over_samples_whose_numbers_may_differ():
    batch, model = batch_of(texts(3)), sequence_model()
    own, foreign = random_latents(3, samples=3)
    found = saved_by(model, batch, own, foreign[:2])
    pairs = [
        saved_by(model, batch, own[[i]], foreign[[j]])
        for i, j in itertools.product(range(3), range(2))
    ]
    for name in ("tokens", "words", "length"):
        mean = torch.stack([getattr(pair, name) for pair in pairs]).mean(0)
        assert_close(getattr(found, name), mean, rtol=0, atol=1e-6)


def test_words_and_length_add_up_to_tokens_and_these_to_the_swap_gap():
    model, batch = sequence_model().double(), batch_of(texts(6), extra=2)
    own, foreign = random_latents(6)
    saved = saved_by(model, batch, own, foreign)
    with torch.no_grad():
        own_nll = reconstruction_nll(model, batch, own)
        gap = swap_gap(model, batch, exchanged=foreign, own_nll=own_nll)
    assert gap.abs().min() > 0.01
    assert_close(saved.tokens.sum(1), gap, rtol=0, atol=1e-12)
    assert_close(saved.words.sum(1) + saved.length, gap, rtol=0, atol=1e-12)


def test_padding_on_either_side_changes_nothing_but_the_width():
    model, sentences = sequence_model().double(), texts(5)
    own, foreign = random_latents(5)
    batch = batch_of(sentences)
    saved = saved_by(model, batch, own, foreign)
    width = batch["labels"].shape[1]
    labels = torch.full((5, width + 2), -100)
    for row, text in enumerate(sentences):
        end = width + 2 - row % 3  # at the right edge, or one or two places before it
        labels[row, end - len(text) - 1 : end] = torch.tensor([*text, EOS])
    moved = saved_by(model, {"labels": labels}, own, foreign)
    assert_close(moved.length, saved.length, rtol=0, atol=1e-12)
    for name in ("tokens", "words"):
        before, after = getattr(saved, name), getattr(moved, name)
        assert_close(after[:, :width], before, rtol=0, atol=1e-12)
        assert not after[:, width:].any()
    for row, text in enumerate(sentences):
        assert not saved.tokens[row, len(text) + 1 :].any()


def test_words_are_scored_among_words_alone():
    model, text = sequence_model().double(), [4, 7, 7, 9]
    own, foreign = random_latents(1, samples=1)
    saved = saved_by(model, batch_of([text]), own, foreign)
    read = torch.tensor([[BOS, *text]])
    scores = []
    for z in (own, foreign):
        with torch.no_grad():
            logits = model(latents=z[0], decoder_input_ids=read).logits[0]
        logits[:, EOS] = -math.inf
        scores.append(logits.log_softmax(-1)[range(4), text])
    assert_close(saved.words[0, :4], scores[0] - scores[1], rtol=0, atol=1e-10)
    assert saved.words[0, 4].abs() < 1e-12  # no word is left to choose at the end


def test_length_is_log_p_of_the_length_by_enumeration_where_words_tell_nothing_of_it():
    model = sequence_model().double()
    with torch.no_grad():  # all words are read as one: only their number is left to end by
        model.decoder.model.embed_tokens.weight.copy_(
            model.decoder.model.embed_tokens.weight[[4]].expand(V, -1)
        )
    own, foreign = random_latents(1, samples=1)
    words = [token for token in range(V) if token != EOS]
    for length in (0, 1, 2, 3):
        every = [list(text) for text in itertools.product(words, repeat=length)]
        labels = {"labels": torch.tensor([[*text, EOS] for text in every])}
        with torch.no_grad():
            of_own, of_foreign = (
                model.log_likelihood(labels, z.expand(1, len(every), Z)).logsumexp(1)
                for z in (own, foreign)
            )
        saved = saved_by(model, batch_of([every[-1]]), own, foreign)
        assert_close(saved.length, of_own - of_foreign, rtol=0, atol=1e-10)


def test_a_decoder_that_ignores_its_latents_saves_nothing():
    saved = saved_by(deaf(sequence_model()), batch_of(texts(5)), *random_latents(5))
    for value in saved:
        assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-6)


def test_own_latents_save_nothing_against_themselves():
    own, _ = random_latents(4)
    saved = saved_by(sequence_model(), batch_of(texts(4)), own, own)
    assert not any(value.any() for value in saved)


def test_a_decoder_sure_of_the_end_where_the_text_goes_on_costs_a_finite_number():
    # p(EOS) rounds to 1 in float32, or past it, while a word of 18 nats follows
    labels = torch.tensor([[A, EOS]])
    own = torch.tensor([[[-1.0, -1.0]]]), torch.tensor([[[-2.0, -1.0]]])
    for end in (0.0, -0.0, 1e-7, -1e-9):
        foreign = torch.tensor([[[-18.0, -1.0]]]), torch.tensor([[[end, -1.0]]])
        saved = savings(own, foreign, labels)
        assert_close(saved.tokens, torch.tensor([[17.0, 0.0]], dtype=torch.float64))
        # no word is likelier than sure: what is lost is lost by the length
        own_word = -1.0 - math.log1p(-math.exp(-2.0))
        assert own_word - 1e-6 <= float(saved.words[0, 0]) <= 17 - own_word
        assert float(saved.length) == pytest.approx(17 - float(saved.words[0, 0]))


def test_going_on_is_exact_where_the_end_is_nearly_sure_or_nearly_ruled_out():
    labels = torch.tensor([[A, EOS]])
    for end in (-1e-12, -0.5, -0.7, -50.0):
        word = torch.tensor([[[-900.0, -1.0]]]).double()
        at_end, never_at_end = (
            (word, torch.tensor([[[p, -1.0]]], dtype=torch.float64)) for p in (end, -800.0)
        )
        goes_on = math.log(-math.expm1(end)) if end > -1 else math.log1p(-math.exp(end))
        found = float(savings(at_end, never_at_end, labels).length)
        assert found == pytest.approx(goes_on, rel=1e-12, abs=0)


# averages by place


def test_the_profile_averages_over_the_sentences_that_reach_a_place():
    saved = torch.tensor([[1.0, 2.0, 4.0], [3.0, 6.0, 0.0], [8.0, 0.0, 0.0]])
    profile = position_profile(saved, torch.tensor([3, 2, 1]))
    assert profile.count.tolist() == [3, 2, 1]
    assert profile.mean.tolist() == [4.0, 4.0, 4.0]
    errors = [math.sqrt((9 + 1 + 16) / 2 / 3), math.sqrt((4 + 4) / 1 / 2), math.nan]
    assert_close(profile.standard_error, torch.tensor(errors, dtype=torch.float64), equal_nan=True)


def test_the_profile_does_not_read_behind_a_text_and_is_zero_where_none_reaches():
    saved = torch.tensor([[1.0, math.nan, math.inf], [2.0, 5.0, math.nan]])
    profile = position_profile(saved, torch.tensor([1, 2]))
    assert profile.mean.tolist() == [1.5, 5.0, 0.0]
    # one sentence has no spread, and none has neither
    assert profile.standard_error.isnan().tolist() == [False, True, True]
    assert profile.standard_error[0] == 0.5
    assert profile.count.tolist() == [2, 1, 0]


# the first words


def test_first_words_ratio_by_hand():
    # the first quarter is 2 of 8 tokens, 3/4 of the first of 3, and 1.5 of 6
    saved = torch.tensor([[2.0, 4, 1, 1, 0, 0, 0, 0], [3, 3, 0, 0, 0, 0, 0, 0], [8, 4] + [0] * 6])
    ratio, error = first_words_ratio(saved, torch.tensor([8, 3, 6]))
    early, every = torch.tensor([3.0, 3, 20 / 3]), torch.tensor([1.0, 2, 2])
    assert ratio == pytest.approx((38 / 9) / (5 / 3))
    residuals = early - ratio * every
    assert error == pytest.approx(float(residuals.std()) / math.sqrt(3) / (5 / 3))


@pytest.mark.parametrize("length", [4, 5, 6, 7, 9, 13])
def test_first_words_ratio_reaches_four_at_any_length(length):
    saved = torch.zeros(2, length)
    saved[:, 0] = 3.0
    assert first_words_ratio(saved, torch.full((2,), length))[0] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("places", "ratio"), [(range(12), 1.0), ([0], 4.0), ([1, 2], 4.0), ([11], 0.0), ([2, 3], 2.0)]
)
def test_first_words_ratio_is_one_for_all_alike_and_four_for_the_first_alone(places, ratio):
    saved = torch.zeros(3, 14)
    saved[:, list(places)] = 0.3
    found = first_words_ratio(saved, torch.full((3,), 12))
    assert found == (pytest.approx(ratio), pytest.approx(0.0, abs=1e-12))


def test_first_words_ratio_of_one_sentence_has_no_error_and_of_nothing_saved_no_value():
    assert first_words_ratio(torch.ones(1, 4), torch.tensor([4])) == (1.0, None)
    assert first_words_ratio(torch.zeros(2, 4), torch.tensor([4, 4])) == (None, None)
    assert first_words_ratio(-torch.ones(2, 4), torch.tensor([4, 4])) == (None, None)
