"""Log-likelihoods by position, of the model and of the LSTM on its own, against logits by hand."""

import itertools

import pytest
import torch
from tiny import BOS, EOS, V, Z, batch, lstm_decoder, model
from torch import nn
from torch.testing import assert_close

from hf_seqvae.model import scoring
from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.scoring import nll_from_features, nll_from_logits, position_log_probs

WAYS = [
    ("lstm", ("state", "concat")),
    ("lstm", ("add", "prefix")),
    ("gpt2", ("add", "prefix")),
    ("gpt2", ("prefix",)),
    ("llama", ("add",)),
]
every_way = pytest.mark.parametrize(("decoder", "ways"), WAYS)


def samples(rows: int, count: int = 2, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, rows, Z, generator=torch.Generator().manual_seed(seed))


def made_with(decoder, ways):
    return model(decoder=decoder, latent_injection=ways, num_prefix_tokens=3)


def without_padding(labels: torch.Tensor) -> torch.Tensor:
    return labels[labels != -100]


def moved(labels: torch.Tensor, *, extra: int = 2) -> torch.Tensor:
    """The same labels with their padding in front, and some of it behind in every other row."""
    found = labels.new_full((len(labels), labels.shape[1] + extra), -100)
    for row, text in enumerate(labels):
        text = without_padding(text)
        end = found.shape[1] - row % 2
        found[row, end - len(text) : end] = text
    return found


def scores_by_hand(made, labels, z):
    """log_softmax (L, V) of one text's own places under one z (Z,), without padding."""
    words = torch.cat([torch.tensor([BOS]), labels[:-1]])[None]
    with torch.no_grad():
        return made(latents=z[None], decoder_input_ids=words).logits[0].log_softmax(-1)


# the model, by position


@every_way
def test_each_position_is_log_softmax_at_its_label_and_at_eos(decoder, ways):
    made, labels, z = made_with(decoder, ways), batch(3)["labels"], samples(3)
    with torch.no_grad():
        of_labels, of_end = made.position_log_likelihood({"labels": labels}, z)
    assert of_labels.shape == of_end.shape == (2, *labels.shape)
    for sample, row in itertools.product(range(2), range(3)):
        text = without_padding(labels[row])
        scores, real = scores_by_hand(made, text, z[sample, row]), slice(0, len(text))
        assert_close(of_labels[sample, row, real], scores[range(len(text)), text])
        assert_close(of_end[sample, row, real], scores[:, EOS])
    padding = (labels == -100).expand(2, -1, -1)
    assert padding.any()
    assert not of_labels[padding].any()
    assert not of_end[padding].any()


@every_way
def test_positions_add_up_to_the_log_likelihood(decoder, ways):
    made, texts, z = made_with(decoder, ways), batch(4), samples(4, 3)
    with torch.no_grad():
        of_labels, _ = made.position_log_likelihood(texts, z)
        assert_close(of_labels.sum(-1), made.log_likelihood(texts, z))


@every_way
def test_the_side_and_the_amount_of_padding_change_no_position(decoder, ways):
    made, labels, z = made_with(decoder, ways), batch(4)["labels"], samples(4)
    wide = torch.cat([labels, labels.new_full((4, 3), -100)], dim=1)
    with torch.no_grad():
        whole = made.position_log_likelihood({"labels": labels}, z)
        for others in (moved(labels), wide):
            found = made.position_log_likelihood({"labels": others}, z)
            assert_close(
                made.log_likelihood({"labels": others}, z),
                made.log_likelihood({"labels": labels}, z),
            )
            for before, after in zip(whole, found, strict=True):
                assert not after[:, others == -100].any()
                assert_close(after[:, others != -100], before[:, labels != -100])


@every_way
def test_rows_alone_have_the_positions_they_have_together(decoder, ways):
    made, labels, z = made_with(decoder, ways), batch(3)["labels"], samples(3)
    with torch.no_grad():
        together = made.position_log_likelihood({"labels": labels}, z)
        for row in range(3):
            text = without_padding(labels[row])[None]
            alone = made.position_log_likelihood({"labels": text}, z[:, [row]])
            for one, many in zip(alone, together, strict=True):
                assert_close(one[:, 0], many[:, row, : text.shape[1]])


@pytest.mark.parametrize("decoder", ["lstm", "gpt2"])
def test_likelihoods_of_a_float64_model_are_float64(decoder):
    narrow, texts, z = model(decoder=decoder), batch(3), samples(3)
    wide = model(decoder=decoder).double()
    with torch.no_grad():
        found = wide.position_log_likelihood(texts, z)
        assert found[0].dtype == found[1].dtype == torch.float64
        whole = wide.log_likelihood(texts, z)
        assert whole.dtype == torch.float64
        assert_close(found[0].sum(-1), whole, rtol=0, atol=1e-12)
        assert wide(**texts).reconstruction_nll.dtype == torch.float64
        assert_close(narrow.log_likelihood(texts, z).double(), whole, rtol=0, atol=1e-4)
        by_hand = [
            scores_by_hand(wide, text, z[0, row].double())[range(len(text)), text].sum()
            for row, text in enumerate(without_padding(labels) for labels in texts["labels"])
        ]
    assert_close(whole[0], torch.stack(by_hand), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", [True, False])
def test_positions_are_without_word_dropout_in_either_mode(mode):
    texts, z = batch(3), samples(3)
    made = model(word_dropout=0.9).train(mode)
    expected = model().position_log_likelihood(texts, z)
    for found, value in zip(made.position_log_likelihood(texts, z), expected, strict=True):
        assert_close(found, value)


def test_positions_refuse_latents_that_do_not_fit():
    made, texts = model(), batch(3)
    with pytest.raises(ValueError, match=r"latents must be \(S, 3, 4\) beside labels.*\(2, 2, 4\)"):
        made.position_log_likelihood(texts, torch.zeros(2, 2, Z))
    with pytest.raises(ValueError, match=r"latents must be \(B, 4\), got \(6, 3\)"):
        made.position_log_likelihood(texts, torch.zeros(2, 3, Z - 1))


def test_a_row_without_labels_is_zero_everywhere():
    made, labels = model(), batch(3)["labels"]
    labels[1] = -100
    with torch.no_grad():
        for rows in ([0, 1, 2], [1]):
            part = {"labels": labels[rows]}
            found = made.position_log_likelihood(part, samples(3)[:, rows])
            assert not any(value[:, rows.index(1)].any() for value in found)
            assert not made.log_likelihood(part, samples(3)[:, rows])[:, rows.index(1)].any()


# blocks of positions


@pytest.mark.parametrize("at_once", [1, V, 3 * V, 5 * V + 1])
def test_blocks_of_positions_change_nothing(at_once, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 8, 5, generator=generator, dtype=torch.float64)
    layer, labels = nn.Linear(5, V, bias=False).double(), batch(4)["labels"]
    features = features[:, : labels.shape[1]]
    expected = nll_from_logits(layer(features), labels)
    positions = position_log_probs(features, layer, labels)
    sizes = []
    layer.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    monkeypatch.setattr(scoring, "_LOGITS_AT_ONCE", at_once)
    with torch.no_grad():
        assert_close(nll_from_features(features, layer, labels), expected, rtol=0, atol=1e-12)
        assert max(sizes) == max(1, at_once // V)
        assert sum(sizes) == int((labels != -100).sum())
        found = position_log_probs(features, layer, labels)
        bare = position_log_probs(layer(features), None, labels)
    assert_close(found, positions, rtol=0, atol=1e-12)
    assert_close(bare, positions, rtol=0, atol=1e-12)


def test_with_gradients_a_layer_with_a_hook_is_called_once_at_all_positions(monkeypatch):
    monkeypatch.setattr(scoring, "_LOGITS_AT_ONCE", 1)
    layer, labels = nn.Linear(5, V), batch(4)["labels"]
    sizes = []
    layer.register_forward_hook(lambda _, given, __: sizes.append(len(given[0])))
    features = torch.ones(*labels.shape, 5, requires_grad=True)
    nll_from_features(features, layer, labels).sum().backward()
    assert sizes == [int((labels != -100).sum())]
    assert features.grad[labels != -100].any(-1).all()
    assert not features.grad[labels == -100].any()


def test_scores_of_half_precision_logits_are_float32():
    logits, labels = torch.zeros(1, 2, V, dtype=torch.bfloat16), torch.tensor([[5, EOS]])
    found = [nll_from_logits(logits, labels), *position_log_probs(logits, None, labels)]
    assert {value.dtype for value in found} == {torch.float32}
    assert_close(found[0], 2 * torch.tensor([float(V)]).log())


# the LSTM on its own


def language_model(**kwargs):
    made = SeqVAELSTMForCausalLM(lstm_decoder(**kwargs)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(made.named_parameters()):
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return made


@torch.no_grad()
def test_a_language_models_log_prob_is_that_of_its_own_logits():
    made, labels = language_model(), batch(4)["labels"]
    found = made.log_prob({"labels": labels})
    assert found.shape == (4,)
    for row, text in enumerate(without_padding(labels) for labels in labels):
        words = torch.cat([torch.tensor([BOS]), text[:-1]])[None]
        scores = made(input_ids=words).logits[0].log_softmax(-1)
        assert_close(found[row], scores[range(len(text)), text].sum())


@torch.no_grad()
def test_a_language_models_log_prob_is_normalised_over_all_texts_of_two_tokens():
    rest = [token for token in range(V) if token != EOS]
    pairs = torch.tensor(list(itertools.product(rest, range(V))))
    whole = torch.cat([torch.tensor([[EOS, -100]]), pairs])  # ends at once, or any two tokens
    total = language_model().double().log_prob({"labels": whole}).logsumexp(0)
    assert_close(total, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12)


@torch.no_grad()
def test_padding_on_either_side_does_not_change_a_language_models_log_prob():
    made, labels = language_model(), batch(4)["labels"]
    expected = made.log_prob({"labels": labels})
    for others in (moved(labels), torch.cat([labels, labels.new_full((4, 3), -100)], dim=1)):
        assert_close(made.log_prob({"labels": others}), expected)


@torch.no_grad()
@pytest.mark.parametrize("ways", [("state", "add"), ("state", "concat")])
def test_a_vae_whose_weights_for_z_are_zero_is_its_decoder_alone(ways):
    vae, texts = model(latent_injection=ways), batch(4)
    for parameter in vae.injection.parameters():
        parameter.zero_()
    alone = language_model()
    weights = vae.decoder.state_dict()
    for name, value in alone.state_dict().items():  # z stands behind the embeddings
        weights[name][..., value.shape[-1] :] = 0.0  # the decoder's own memory
        weights[name] = weights[name][..., : value.shape[-1]]
    alone.load_state_dict(weights)
    found = alone.log_prob(texts)
    assert_close(vae(**texts).reconstruction_nll, -found)
    assert_close(vae.log_likelihood(texts, samples(4)), found.expand(2, -1))


def test_a_language_model_without_bos_is_refused_clearly():
    made = language_model(bos_token_id=None)
    with pytest.raises(ValueError, match="bos_token_id is None"):
        made.log_prob({"labels": torch.tensor([[5, EOS]])})


def test_a_decoder_that_reads_z_has_no_log_prob_without_it():
    with pytest.raises(ValueError, match="conditioning_size is 4"):
        model().decoder.log_prob(batch(2))
