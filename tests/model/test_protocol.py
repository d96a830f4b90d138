"""The estimators' protocol, the loss and rows without weight, against loops of forward passes."""

import itertools

import pytest
import torch
from tiny import BOS, EOS, V, Z, batch, latents, model
from torch.distributions import Normal
from torch.testing import assert_close

from hf_seqvae.model.scoring import mask_of_padding_in_front, negative_elbo, shift_right

PAIRS = [("lstm", "lstm"), ("bert", "gpt2"), ("gpt2", "llama")]
every_pair = pytest.mark.parametrize(("encoder", "decoder"), PAIRS)


@every_pair
def test_log_likelihood_is_a_loop_of_forward_passes(encoder, decoder):
    made, texts = model(encoder, decoder), batch(3)
    z = torch.randn(4, 3, Z, generator=torch.Generator().manual_seed(0))
    found = made.log_likelihood(texts, z)
    assert found.shape == (4, 3)
    for sample, row in itertools.product(range(4), range(3)):
        labels = texts["labels"][row][texts["labels"][row] != -100]
        assert labels[-1] == EOS
        words = torch.cat([torch.tensor([BOS]), labels[:-1]])[None]
        logits = made(latents=z[sample, row][None], decoder_input_ids=words).logits[0]
        scores = logits.log_softmax(-1)
        assert_close(found[sample, row], scores[range(len(labels)), labels].sum())


def test_log_likelihood_is_normalised_over_all_texts_of_two_tokens():
    made, z = model(), latents(1)
    rest = [token for token in range(V) if token != EOS]
    pairs = torch.tensor(list(itertools.product(rest, range(V))))
    whole = torch.cat([torch.tensor([[EOS, -100]]), pairs])  # ends at once, or any two tokens
    total = made.log_likelihood({"labels": whole}, z.expand(1, len(whole), -1)).logsumexp(1)
    assert_close(total, torch.zeros(1), atol=1e-5, rtol=0.0)


def test_log_likelihood_casts_latents_and_refuses_those_that_do_not_fit():
    made, texts = model(), batch(3)
    z = torch.zeros(2, 3, Z)
    assert_close(made.log_likelihood(texts, z.double()), made.log_likelihood(texts, z))
    with pytest.raises(ValueError, match=r"latents must be \(S, 3, 4\) beside labels.*\(2, 2, 4\)"):
        made.log_likelihood(texts, z[:, :2])
    with pytest.raises(ValueError, match=r"latents must be \(S, 3, 4\).*got \(3, 4\)"):
        made.log_likelihood(texts, z[0])
    with pytest.raises(ValueError, match=r"latents must be \(B, 4\), got \(6, 3\)"):
        made.log_likelihood(texts, z[..., :3])


@every_pair
def test_posterior_is_what_forward_uses(encoder, decoder):
    made, texts = model(encoder, decoder), batch(3)
    q, output = made.posterior(texts), made(**texts)
    assert torch.equal(q.mean, output.posterior_mean)
    assert torch.equal(q.logvar, output.posterior_logvar)
    assert torch.equal(q.kl(), output.kl)


def test_prior_is_a_standard_normal_over_latents():
    p = model().prior()
    assert p.rsample(7).shape == (7, Z)
    z = latents(5)
    assert_close(p.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_eval_takes_the_mean_and_training_samples_unless_told_otherwise():
    made, texts = model(), batch(3)
    assert torch.equal(made(**texts).latents, made(**texts).posterior_mean)
    made.train()
    torch.manual_seed(0)
    one, two = made(**texts).latents, made(**texts).latents
    assert not torch.equal(one, two)
    assert torch.equal(made(**texts, sample_posterior=False).latents, made(**texts).posterior_mean)
    made.eval()
    assert not torch.equal(
        made(**texts, sample_posterior=True).latents, made(**texts).posterior_mean
    )


def test_training_samples_have_the_posteriors_moments():
    made = model().train()
    texts = {name: value[:1].expand(4000, -1) for name, value in batch(1).items()}
    torch.manual_seed(0)
    encoded = made.encoder(texts["input_ids"], texts["attention_mask"])
    noise = (encoded.latents - encoded.posterior_mean) / (0.5 * encoded.posterior_logvar).exp()
    assert_close(noise.mean(0), torch.zeros(Z), atol=4 / 4000**0.5, rtol=0.0)
    assert_close(noise.std(0), torch.ones(Z), atol=4 / 8000**0.5, rtol=0.0)


# the loss


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_the_loss_divides_by_the_items_it_is_given(normalization):
    made, texts = model(loss_normalization=normalization), batch(4)
    output = made(**texts)
    total = output.reconstruction_nll.sum() + output.kl.sum()
    items = output.num_tokens.sum() if normalization == "token" else torch.tensor(4)
    assert_close(output.loss, total / items)
    assert_close(made(**texts, num_items_in_batch=10).loss, total / 10)
    assert_close(made(**texts, num_items_in_batch=torch.tensor(10)).loss, total / 10)


def test_the_kl_weight_of_a_call_goes_before_the_configs():
    made, texts = model(kl_weight=0.5), batch(4)
    output = made(**texts)
    nll, kl, n = output.reconstruction_nll.sum(), output.kl.sum(), output.num_tokens.sum()
    assert_close(output.loss, (nll + 0.5 * kl) / n)
    assert_close(made(**texts, kl_weight=0.0).loss, nll / n)
    assert_close(made(**texts, kl_weight=torch.tensor(2.0)).loss, (nll + 2 * kl) / n)


@pytest.mark.parametrize("normalization", ["token", "sequence"])
@pytest.mark.parametrize("training", [False, True])
def test_a_row_without_labels_weighs_nothing(normalization, training):
    made = model(loss_normalization=normalization).train(training)
    texts = batch(4)
    results = []
    for rows in (slice(0, 3), slice(0, 4)):
        part = {name: value[rows].clone() for name, value in texts.items()}
        part["labels"][3:] = -100
        made.zero_grad()
        output = made(**part, sample_posterior=False)
        output.loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in made.parameters()])
        results.append((output.loss.detach(), gradient))
    assert_close(results[0], results[1])
    assert output.num_tokens.tolist()[3] == 0
    assert output.reconstruction_nll[3] == 0


@pytest.mark.parametrize("decoder", ["lstm", "gpt2"])
def test_a_batch_of_nothing_but_empty_rows_has_loss_zero_and_gradient_zero(decoder):
    made, texts = model(decoder=decoder).train(), batch(2)
    loss = made(**dict(texts, labels=torch.full_like(texts["labels"], -100))).loss
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in made.parameters())


def test_given_latents_have_no_kl_and_so_no_loss():
    output = model()(latents=latents(3), labels=batch(3)["labels"])
    assert output.loss is output.kl is output.posterior_mean is None
    assert output.reconstruction_nll.shape == output.num_tokens.shape == (3,)


def test_what_the_encoder_returned_may_be_given_in_place_of_texts():
    made, texts = model(), batch(3)
    encoded = made.encoder(texts["input_ids"], texts["attention_mask"])
    given = made(encoder_outputs=encoded, labels=texts["labels"])
    assert torch.equal(given.loss, made(**texts).loss)
    as_tuple = made(encoder_outputs=encoded.to_tuple(), labels=texts["labels"])
    assert torch.equal(as_tuple.loss, given.loss)
    encoded.latents = None
    with pytest.raises(ValueError, match=r"encoder_outputs must hold latents \(B, Z\)"):
        made(encoder_outputs=encoded, labels=texts["labels"])


def test_outputs_have_the_shapes_they_promise():
    made, texts = model("lstm2", pooling="mean_max"), batch(3)
    output = made(**texts, output_hidden_states=True)
    steps, length = texts["input_ids"].shape[1], texts["labels"].shape[1]
    assert output.loss.shape == ()
    assert output.logits.shape == (3, length, V)
    assert output.kl.shape == output.latents.shape == output.posterior_logvar.shape == (3, Z)
    assert output.encoder_last_hidden_state.shape == (3, steps, 16)
    assert output.pooled.shape == (3, 32)
    assert [h.shape[-1] for h in output.encoder_hidden_states] == [6, 16, 16]
    assert [h.shape for h in output.decoder_hidden_states] == [(3, length, w) for w in (6, 8, 8)]
    assert output.past_key_values is None


def test_embeddings_in_place_of_ids_encode_alike():
    made, texts = model(), batch(3)
    embeds = made.get_input_embeddings()(texts["input_ids"])
    given = made(
        inputs_embeds=embeds, attention_mask=texts["attention_mask"], labels=texts["labels"]
    )
    assert_close(given.loss, made(**texts).loss)


# labels


def test_labels_are_shifted_right_behind_the_start():
    labels = torch.tensor([[4, 5, EOS, -100], [6, EOS, -100, -100], [-100] * 4])
    assert shift_right(labels, start=BOS, filler=0).tolist() == [
        [1, 4, 5, 2],
        [1, 6, 2, 0],
        [1, 0, 0, 0],
    ]
    assert mask_of_padding_in_front(labels).tolist() == [[1] * 4] * 3
    assert mask_of_padding_in_front(labels[:2]) is None


def test_labels_padded_in_front_begin_with_the_start_where_their_text_does():
    labels = torch.tensor([[4, 5, EOS], [-100, 6, EOS]])
    assert shift_right(labels, start=BOS, filler=0).tolist() == [[1, 4, 5], [1, 1, 6]]
    assert mask_of_padding_in_front(labels).tolist() == [[1, 1, 1], [0, 1, 1]]


def test_the_models_own_start_and_padding_are_used():
    made = model(decoder_start_token_id=7, pad_token_id=9)
    labels = torch.tensor([[4, EOS, -100]])
    assert made.prepare_decoder_input_ids_from_labels(labels).tolist() == [[7, 4, 2]]


def test_padding_is_known_by_mask_and_not_by_id():
    made = model("gpt2", "gpt2", pad_token_id=EOS)  # as GPT-2's tokenizer has it
    texts = batch(3)
    assert made(**texts).num_tokens.tolist() == texts["attention_mask"].sum(1).sub(1).tolist()
    filled = dict(
        texts, input_ids=texts["input_ids"].masked_fill(texts["attention_mask"] == 0, EOS)
    )
    assert_close(made(**filled).loss, made(**texts).loss)


def test_the_negative_elbo_by_hand():
    loss = negative_elbo(
        torch.tensor([6.0, 0.0]),
        torch.tensor([[1.0, 2.0], [50.0, 50.0]]),
        torch.tensor([3, 0]),
        kl_weight=2.0,
        normalization="token",
    )
    assert loss.item() == (6 + 2 * 3) / 3


def test_the_loss_comes_first_in_the_output():
    output = model()(**batch(3))
    assert output[0] is output.loss
    assert list(output.keys())[:2] == ["loss", "logits"]
