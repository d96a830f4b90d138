"""The model without latents: its terms against the composite's, enumeration, and what it writes."""

import math
from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from hf_seqvae import Objective, SeqVAEConfig, SeqVAELSTMConfig, SeqVAELSTMForCausalLM, SeqVAEModel
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.language_model import WithoutLatents, sample_texts
from hf_seqvae.metrics import has_exact_likelihood
from hf_seqvae.model.scoring import drop_words, shift_right

BOS, EOS, UNK = 1, 2, 3
LABELS = torch.tensor([[5, 7, 4, EOS], [6, EOS, -100, -100], [EOS, -100, -100, -100]])


def wide(model, seed=0, scale=0.8):
    """The model in float64 with weights that make sentences differ."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.double().parameters():
            value.copy_(scale * torch.randn(value.shape, generator=draw, dtype=torch.float64))
    return model.eval()


def language_model(vocab_size=9, **config) -> SeqVAELSTMForCausalLM:
    sizes = {"embedding_size": 5, "hidden_size": 6} | config
    return wide(SeqVAELSTMForCausalLM(SeqVAELSTMConfig(vocab_size=vocab_size, **sizes)))


def by_hand(model, labels, inputs=None) -> torch.Tensor:
    """-log p of each row, from the logits of the ordinary forward: (B,)."""
    inputs = shift_right(labels, start=BOS, filler=0) if inputs is None else inputs
    logits = model(input_ids=inputs).logits.transpose(1, 2)  # (B, V, L)
    return F.cross_entropy(logits, labels, reduction="none").sum(1)


# -- what it is worth


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("in_front", [False, True])
def test_its_nll_is_the_composite_s_where_z_weighs_nothing(num_layers, in_front):
    """The decoder's own weights, but for the columns of z, and z's maps at zero."""
    lstm = {"vocab_size": 9, "embedding_size": 5, "hidden_size": 6}
    config = SeqVAEConfig(
        encoder=dict(lstm),
        decoder=lstm | {"num_hidden_layers": num_layers},
        latent_size=3,
        latent_injection=["state", "concat", "add"],
    )
    vae = wide(SeqVAEModel(config))
    alone = language_model(num_hidden_layers=num_layers)
    first = "model.layers.0.lstm.weight_ih_l0"
    with torch.no_grad():
        for value in vae.injection.parameters():
            value.zero_()
        of_decoder = vae.decoder.state_dict()
        of_decoder[first][:, 5:] = 0.0  # z stands behind the embedding; in place
        alone.load_state_dict(of_decoder | {first: of_decoder[first][:, :5]})
    padded_in_front = torch.tensor([[5, 7, 4, EOS], [-100, -100, 6, EOS], [-100, -100, -100, EOS]])
    labels = padded_in_front if in_front else LABELS
    texts = {"input_ids": torch.tensor([[BOS, 5, EOS]] * 3)}
    terms = WithoutLatents(alone)(labels, **texts)
    output = vae(**texts, labels=labels, sample_posterior=True)
    assert (output.latents != 0).all() and (output.kl.detach().sum(1) > 0.1).all()
    assert_close(terms.reconstruction_nll, output.reconstruction_nll, rtol=1e-10, atol=0)
    assert torch.equal(terms.num_tokens, output.num_tokens)


def test_all_sentences_and_what_lies_beyond_have_probability_one():
    """Every string of two words out of a vocabulary of four, none of them special but EOS."""
    model = language_model(vocab_size=4, eos_token_id=0, pad_token_id=3)
    texts = [text for length in range(3) for text in product([1, 2, 3], repeat=length)]
    rows = [[*text, 0] + [-100] * (2 - len(text)) for text in texts]
    with torch.no_grad():
        probability = WithoutLatents(model).log_prob({"labels": torch.tensor(rows)}).exp()
        # beyond: p(a, b) and then no EOS
        pairs = torch.tensor(list(product([1, 2, 3], repeat=2)))
        read = torch.cat([torch.full((9, 1), BOS), pairs], dim=1)
        steps = model(input_ids=read).logits.softmax(-1)  # (9, 3, 4)
    begun = steps[:, :2].gather(2, pairs[:, :, None]).squeeze(2).prod(1)
    beyond = (begun * (1 - steps[:, 2, 0])).sum()
    assert len(texts) == 13 and 0.05 < float(beyond) < 0.95
    assert float(probability.sum()) < 1
    assert float(probability.sum() + beyond) == pytest.approx(1, abs=1e-12)


# -- its terms


def test_the_terms_are_the_exact_nll_and_a_kl_of_no_dimension():
    model = language_model()
    terms = WithoutLatents(model)(LABELS, input_ids=None, sample_posterior=False)
    assert_close(terms.reconstruction_nll, by_hand(model, LABELS), rtol=1e-12, atol=0)
    assert terms.kl.shape == (3, 0) and terms.kl.sum(1).tolist() == [0, 0, 0]
    assert terms.num_tokens.tolist() == [4, 2, 1]
    assert has_exact_likelihood(WithoutLatents(model))


def test_a_row_without_labels_costs_nothing():
    padded = torch.cat([LABELS, torch.full((1, 4), -100)])
    whole, without = (WithoutLatents(language_model())(rows) for rows in (padded, LABELS))
    assert whole.reconstruction_nll[3] == 0 and whole.num_tokens[3] == 0
    assert_close(whole.reconstruction_nll[:3], without.reconstruction_nll)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_the_objective_is_the_mean_nll_with_or_without_beta(normalization):
    model = language_model()
    objective = Objective(normalization=normalization, beta=lambda step: 7.0)
    loss, logs = objective(WithoutLatents(model)(LABELS), 0)
    whole = by_hand(model, LABELS).sum()
    assert_close(loss.double(), whole / (7 if normalization == "token" else 3))
    assert float(logs["kl"]) == 0 and float(logs["num_tokens"]) == 7


def test_the_loss_per_token_is_that_of_the_ordinary_causal_model():
    """Which shifts its labels by itself: so BOS stands before them, and counts nothing."""
    model = language_model()
    loss, _ = Objective()(WithoutLatents(model)(LABELS), 0)
    ids = torch.cat([torch.full((3, 1), BOS), LABELS], dim=1)
    own = model(input_ids=ids.clamp(min=0), labels=ids).loss
    assert_close(loss.float(), own)


# -- word dropout


def test_word_dropout_of_all_words_leaves_the_unknown_token_behind_bos():
    model = language_model()
    blind = torch.tensor([[BOS, UNK, UNK, UNK]] * 3)
    terms = WithoutLatents(model, word_dropout=1.0).train()(LABELS)
    assert_close(terms.reconstruction_nll, by_hand(model, LABELS, blind))


def test_word_dropout_spares_bos_where_padding_stands_in_front():
    model = language_model()
    in_front = torch.tensor([[5, 7, 4, EOS], [-100, -100, 6, EOS], [-100, -100, -100, EOS]])
    terms = WithoutLatents(model, word_dropout=1.0).train()
    assert_close(terms(in_front).reconstruction_nll, terms(LABELS).reconstruction_nll)


def test_word_dropout_drops_what_the_composite_s_would_and_none_in_evaluation():
    model = language_model()
    dropping = WithoutLatents(model, word_dropout=0.5)
    torch.manual_seed(4)
    dropped = dropping.train()(LABELS).reconstruction_nll
    torch.manual_seed(4)
    inputs = drop_words(shift_right(LABELS, start=BOS, filler=0), share=0.5, unknown=UNK)
    assert_close(dropped, by_hand(model, LABELS, inputs))
    exact = by_hand(model, LABELS).detach()
    assert float((dropped.detach() - exact).abs().max()) > 0.01
    assert_close(dropping.eval()(LABELS).reconstruction_nll.detach(), exact)
    assert_close(-dropping.train().log_prob({"labels": LABELS}).detach(), exact)


def test_word_dropout_out_of_range_or_without_an_unknown_token_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 1.5"):
        WithoutLatents(language_model(), word_dropout=1.5)
    with pytest.raises(ValueError, match="unk_token_id, which is not set"):
        WithoutLatents(language_model(unk_token_id=None), word_dropout=0.5).train()(LABELS)


@pytest.mark.slow
# 2026-11, torch 2.13: dynamo looks at .grad of every tensor that it guards
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_training_step_agrees_with_eager():
    torch._dynamo.reset()
    made = WithoutLatents(language_model()).train()
    compiled = torch.compile(made, backend="aot_eager")
    nlls, gradients = [], []
    for call in (made, compiled):
        nlls.append(call(labels=LABELS).reconstruction_nll)
        made.zero_grad()
        nlls[-1].sum().backward()
        gradients.append([value.grad.clone() for value in made.parameters()])
    assert_close(nlls[0], nlls[1])
    assert_close(gradients[0], gradients[1])
    torch._dynamo.reset()


# -- what it writes


WORDS = [f"w{number}" for number in range(80)]


@pytest.fixture(scope="module")
def writer():
    """A model of 84 tokens with nearly equal chances, no two the same, and its tokenizer."""
    tokenizer = tokenizer_from_words(WORDS)
    model = language_model(vocab_size=len(tokenizer))
    with torch.no_grad():
        model.lm_head.weight.mul_(0.3)
    return model, tokenizer


def test_samples_follow_the_model_s_own_probabilities(writer):
    """Of all words, whatever its generation_config and the defaults of `generate` say."""
    model, tokenizer = writer
    model.generation_config.top_p = 0.05
    with torch.no_grad():
        chances = model(input_ids=torch.tensor([[BOS]])).logits[0, -1].softmax(-1)
    counts = Counter(sample_texts(model, tokenizer, 2000, seed=1, max_new_tokens=1))
    ids = tokenizer.convert_tokens_to_ids(WORDS)
    found = torch.tensor([counts[word] for word in WORDS])
    expected = 2000 * chances[ids]
    assert float(expected.max() / expected.min()) > 1.1
    chi_square = float(((found - expected).square() / expected).sum())
    assert chi_square < 80 + 4 * math.sqrt(160)  # mean and standard deviation of 80 cells


def test_samples_are_the_seed_s_and_leave_the_generator_alone(writer):
    model, tokenizer = writer
    before = torch.get_rng_state()
    first, again = (sample_texts(model, tokenizer, 5, seed=3, max_new_tokens=4) for _ in range(2))
    other = sample_texts(model, tokenizer, 5, seed=4, max_new_tokens=4)
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_a_low_temperature_writes_the_likeliest_text():
    tokenizer = tokenizer_from_words(["a", "b", "c"])
    model = language_model(vocab_size=len(tokenizer))
    greedy = model.generate(torch.tensor([[BOS]]), do_sample=False, max_new_tokens=6)
    words = [token for token in greedy[0, 1:].tolist() if token not in (0, BOS, EOS)]
    likeliest = " ".join(tokenizer.convert_ids_to_tokens(words))
    cold = sample_texts(model, tokenizer, 4, temperature=1e-4, max_new_tokens=6)
    assert cold == [likeliest] * 4


@pytest.mark.parametrize(("number", "temperature"), [(0, 1.0), (1, 0.0), (1, math.inf)])
def test_no_samples_and_no_temperature_are_refused(number, temperature):
    with pytest.raises(ValueError, match="must be"):
        sample_texts(SimpleNamespace(), None, number, temperature=temperature)


def test_a_model_without_a_start_is_refused():
    with pytest.raises(ValueError, match="bos_token_id is None"):
        sample_texts(language_model(bos_token_id=None), None, 1)
