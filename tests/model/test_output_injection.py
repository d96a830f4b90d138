"""z beside the states that the output layer reads: logits by hand, and nothing else moves."""

import pytest
import torch
from tiny import BOS, V, Z, batch, latents, lstm_decoder, model
from torch.testing import assert_close

from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

WORDS = torch.tensor([[BOS, 4, 5, 6, 7], [BOS, 9, 8, 7, 6]])
STATE = ("state", "output")


def by_hand(made, words, z):
    """W [h; z] of each state, its two halves apart."""
    given = made.injection(z, at_start=True)
    states = made.decoder.model(
        words, initial_hidden=given.initial_hidden, initial_cell=given.initial_cell
    ).last_hidden_state
    weight = made.decoder.lm_head.weight  # (V, H + Z)
    return states @ weight[:, :-Z].T + (z @ weight[:, -Z:].T)[:, None]


@pytest.mark.parametrize("ways", [("output",), STATE])
def test_the_output_layer_reads_every_state_and_z_behind_it(ways):
    made, z = model(latent_injection=ways), latents(2)
    assert made.decoder.lm_head.weight.shape == (V, 8 + Z)
    assert_close(made(latents=z, decoder_input_ids=WORDS).logits, by_hand(made, WORDS, z))


def test_cached_steps_read_z_like_the_whole_text():
    made, z = model(latent_injection=STATE), latents(2)
    cache, steps = None, []
    for piece in WORDS.split([1, 3, 1], dim=1):
        output = made(latents=z, decoder_input_ids=piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        steps.append(output.logits)
    assert_close(torch.cat(steps, dim=1), by_hand(made, WORDS, z))


def test_with_no_weight_on_z_it_is_the_model_without():
    made, plain = model(latent_injection=STATE), model(latent_injection=("state",))
    weights = made.state_dict()
    weights["decoder.lm_head.weight"][:, -Z:] = 0.0
    narrow = weights | {"decoder.lm_head.weight": weights["decoder.lm_head.weight"][:, :-Z]}
    plain.load_state_dict(narrow)
    texts = batch(4)
    found, expected = made(**texts), plain(**texts)
    assert_close(found.logits, expected.logits)
    assert_close(found.loss, expected.loss)


def test_training_reads_z_at_scored_positions_alone():
    made, texts = model(latent_injection=STATE).train(), batch(5, extra=3)
    read = []
    made.decoder.lm_head.register_forward_hook(lambda _, args, __: read.append(args[0].shape))
    output = made(**texts)
    assert output.logits is None
    assert read == [(int(output.num_tokens.sum()), 8 + Z)]


def test_a_grown_vocabulary_keeps_the_weights_for_z():
    made, z = model(latent_injection=STATE), latents(2)
    expected = made(latents=z, decoder_input_ids=WORDS).logits
    made.resize_token_embeddings(V + 3)
    found = made(latents=z, decoder_input_ids=WORDS).logits
    assert found.shape[-1] == V + 3
    assert_close(found[..., :V], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_folder_gives_the_same_logits(dtype, tmp_path):
    made, z = model(latent_injection=STATE).to(dtype), latents(2)
    made.save_pretrained(tmp_path)
    loaded = SeqVAEModel.from_pretrained(tmp_path, dtype=dtype)
    expected = made(latents=z, decoder_input_ids=WORDS).logits
    assert torch.equal(loaded(latents=z, decoder_input_ids=WORDS).logits, expected)


# the language model on its own


@pytest.mark.parametrize(("size", "given"), [(0, True), (3, False)])
def test_what_stands_beside_the_states_fits_the_config_or_is_refused(size, given):
    made = SeqVAELSTMForCausalLM(lstm_decoder(output_conditioning_size=size))
    beside = torch.zeros(1, 3) if given else None
    with pytest.raises(ValueError, match=f"output_conditioning_size is {size}, so output_cond"):
        made(torch.tensor([[1]]), output_conditioning=beside)


def test_the_language_model_alone_keeps_the_last_logits_of_a_wider_layer():
    made = SeqVAELSTMForCausalLM(lstm_decoder(output_conditioning_size=Z)).eval()
    z = latents(2)
    whole = made(WORDS, output_conditioning=z).logits
    assert_close(made(WORDS, output_conditioning=z, logits_to_keep=1).logits, whole[:, -1:])
    other = made(WORDS, output_conditioning=z + 1.0).logits
    assert_close(
        other - whole, made.lm_head.weight[:, -Z:].sum(dim=1).expand_as(whole), rtol=1e-4, atol=1e-5
    )
