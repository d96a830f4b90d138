"""How the decoder reads z: the literature's decoder, and a gradient through every way."""

import itertools

import pytest
import torch
from tiny import BOS, DECODERS, UNK, V, Z, batch, config, latents, lstm_decoder, model
from torch import nn
from torch.testing import assert_close

from hf_seqvae.model.injection import INJECTIONS, LSTM_ONLY_INJECTIONS, LatentInjection

ALL = range(1, len(INJECTIONS) + 1)
SUBSETS = [ways for size in ALL for ways in itertools.combinations(INJECTIONS, size)]
LEGAL = [
    (decoder, ways)
    for decoder in DECODERS
    for ways in SUBSETS
    if decoder == "lstm" or not set(ways) & set(LSTM_ONLY_INJECTIONS)
]


class HeDecoder(nn.Module):
    """The decoder of He et al. (arXiv 1901.05534), one layer: z as state and beside every input."""

    def __init__(self, vocab, embedding, hidden, latent, dropout_in=0.0, dropout_out=0.0):
        super().__init__()
        self.embed = nn.Embedding(vocab, embedding)
        self.dropout_in, self.dropout_out = nn.Dropout(dropout_in), nn.Dropout(dropout_out)
        self.trans_linear = nn.Linear(latent, hidden, bias=False)
        self.lstm = nn.LSTM(embedding + latent, hidden, batch_first=True)
        self.pred_linear = nn.Linear(hidden, vocab, bias=False)

    def forward(self, tokens, z):
        words = self.dropout_in(self.embed(tokens))
        inputs = torch.cat([words, z[:, None].expand(-1, tokens.shape[1], -1)], dim=-1)
        c0 = self.trans_linear(z)[None]
        output, _ = self.lstm(inputs, (torch.tanh(c0), c0))
        return self.pred_linear(self.dropout_out(output))


def same_weights(ours, **kwargs):
    theirs = HeDecoder(V, 6, 8, Z, **kwargs)
    theirs.load_state_dict(
        {
            "embed.weight": ours.decoder.model.embed_tokens.weight,
            "trans_linear.weight": ours.injection.to_state.weight,
            "pred_linear.weight": ours.decoder.lm_head.weight,
        }
        | {
            f"lstm.{name}": value
            for name, value in ours.decoder.model.layers[0].lstm.state_dict().items()
        }
    )
    return theirs


def literature(**kwargs):
    decoder = lstm_decoder(num_hidden_layers=1, **kwargs)
    return model(decoder=decoder, latent_injection=("state", "concat"))


def tokens(rows, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randint(4, V, (rows, length), generator=generator)
    made[:, 0] = BOS
    return made


def test_state_and_concat_are_the_literatures_decoder():
    ours, z, words = literature(), latents(3), tokens(3, 7)
    assert_close(
        ours(latents=z, decoder_input_ids=words).logits, same_weights(ours).eval()(words, z)
    )


def test_state_and_concat_are_the_literatures_decoder_step_by_cached_step():
    ours, z, words = literature(), latents(3), tokens(3, 7)
    cache, steps = None, []
    for piece in words.split([1, 3, 1, 1, 1], dim=1):
        output = ours(latents=z, decoder_input_ids=piece, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        steps.append(output.logits)
    assert_close(torch.cat(steps, dim=1), same_weights(ours).eval()(words, z))


def test_the_literatures_decoder_trains_alike_with_dropout_on_words_and_features():
    ours, z, words = (
        literature(input_dropout=0.4, output_dropout=0.3).train(),
        latents(3),
        tokens(3, 7),
    )
    theirs = same_weights(ours, dropout_in=0.4, dropout_out=0.3).train()
    torch.manual_seed(1)
    logits = ours(latents=z, decoder_input_ids=words).logits
    torch.manual_seed(1)
    assert_close(logits, theirs(words, z))


def test_greedy_generation_is_the_literatures_argmax_loop():
    ours, z = literature(), latents(3)
    theirs, words = same_weights(ours).eval(), torch.full((3, 1), BOS)
    for _ in range(6):
        words = torch.cat([words, theirs(words, z)[:, -1:].argmax(-1)], dim=1)
    generated = ours.generate(latents=z, max_new_tokens=6, eos_token_id=None)
    assert generated.tolist() == words.tolist()


@pytest.mark.parametrize(
    ("ways", "dropout"),
    [((way,), "input_dropout") for way in INJECTIONS] + [(("output",), "output_dropout")],
)
def test_z_is_never_dropped_with_the_words_nor_beside_the_states(ways, dropout):
    decoder = lstm_decoder(**{dropout: 0.999})
    made = model(decoder=decoder, latent_injection=ways).train()
    words = tokens(1, 5)
    outputs = []
    for seed in (0, 1):
        torch.manual_seed(7)  # the same words are dropped
        z = latents(1, seed=seed).requires_grad_()
        logits = made(latents=z, decoder_input_ids=words).logits
        gradient = torch.autograd.grad(logits.square().sum(), z)[0]
        assert gradient.abs().min() > 0
        outputs.append(logits.detach())
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2


def test_z_joins_every_input_and_not_the_first_alone():
    made = model(latent_injection=("concat",))
    words, z = tokens(1, 5), latents(1)
    read = []
    made.decoder.model.layers[0].lstm.register_forward_hook(
        lambda _, args, __: read.append(args[0])
    )
    made(latents=z, decoder_input_ids=words)
    assert_close(read[0][0, :, -Z:], z.expand(5, -1))


def test_state_is_w_z_and_its_tanh_for_every_layer():
    injection = LatentInjection(("state",), Z, embedding_size=6, state_size=(2, 3))
    z = latents(5)
    given = injection(z, at_start=True)
    cells = (z @ injection.to_state.weight.T).view(5, 2, 3)
    assert_close(given.initial_cell, cells.transpose(0, 1))
    assert_close(given.initial_hidden, cells.transpose(0, 1).tanh())
    assert injection.to_state.bias is None


def test_state_and_prefix_are_given_at_the_start_alone_and_the_rest_at_every_step():
    injection = LatentInjection(
        INJECTIONS, Z, embedding_size=6, num_prefix_tokens=2, state_size=(1, 3)
    )
    z = latents(5)
    start, later = injection(z, at_start=True), injection(z, at_start=False)
    assert start.prefix.shape == (5, 2, 6)
    assert later.prefix is later.initial_hidden is later.initial_cell is None
    assert_close(later.conditioning, z)
    assert_close(later.output_conditioning, z)
    assert_close(later.shift, (z @ injection.to_embedding.weight.T)[:, None])


def test_state_without_an_lstm_is_refused_with_the_cure():
    with pytest.raises(ValueError, match='"state" needs an LSTM decoder; use "add" or "prefix"'):
        LatentInjection(("state",), Z, embedding_size=6)


def test_add_shifts_the_input_of_every_step():
    made, words, z = model(decoder="gpt2", latent_injection=("add",)), tokens(2, 4), latents(2)
    embeds = (
        made.decoder.transformer.wte(words) + (z @ made.injection.to_embedding.weight.T)[:, None]
    )
    expected = made.decoder(inputs_embeds=embeds).logits
    assert_close(made(latents=z, decoder_input_ids=words).logits, expected)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("count", [1, 3])
def test_prefix_stands_before_the_text_and_its_logits_are_cut_off(decoder, count):
    made = model(decoder=decoder, latent_injection=("prefix",), num_prefix_tokens=count)
    words, z = tokens(2, 4), latents(2)
    prefix = made.injection.to_prefix(z).view(2, count, -1)
    embeds = torch.cat([prefix, made.decoder.get_input_embeddings()(words)], dim=1)
    expected = made.decoder(inputs_embeds=embeds).logits[:, count:]
    assert_close(made(latents=z, decoder_input_ids=words).logits, expected)


def test_the_output_layer_never_runs_on_prefix_inputs():
    made = model(decoder="gpt2", latent_injection=("prefix",), num_prefix_tokens=5)
    rows = []
    made.decoder.lm_head.register_forward_hook(lambda _, args, __: rows.append(args[0].shape[1]))
    made(latents=latents(2), decoder_input_ids=tokens(2, 4))
    assert rows == [4]


@pytest.mark.parametrize(
    ("decoder", "ways"), LEGAL, ids=lambda v: v if isinstance(v, str) else "+".join(v)
)
def test_a_gradient_reaches_z_and_every_map_from_it(decoder, ways):
    made = model(decoder=decoder, latent_injection=ways)
    z = latents(2).requires_grad_()
    labels = batch(2)["labels"]
    made(latents=z, labels=labels).reconstruction_nll.sum().backward()
    assert (z.grad.abs() > 0).all()
    for name, parameter in made.injection.named_parameters():
        # a prefix token's map reaches the text only through attention or state, so look at it whole
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    expected = {
        "state": "to_state.weight",
        "add": "to_embedding.weight",
        "prefix": "to_prefix.weight",
    }
    owned = {name for name, _ in made.injection.named_parameters()} - {"to_prefix.bias"}
    assert owned == {expected[way] for way in set(ways) - {"concat", "output"}}


@pytest.mark.parametrize("way", INJECTIONS)
def test_each_way_alone_brings_another_z_to_every_predicted_token(way):
    made, words = model(latent_injection=(way,)), tokens(1, 5)
    one, two = (made(latents=latents(1, seed=s), decoder_input_ids=words).logits for s in (0, 1))
    assert ((one - two).abs().amax(dim=-1) > 1e-6).all()


def what_is_read(module):
    read = []
    module.register_forward_pre_hook(lambda _, args: read.append(args[0].detach()))
    return read


def test_dropout_thins_embeddings_and_states_and_neither_z_beside_them():
    """Each value is 0 or twice what it was; in eval() nothing is dropped."""
    decoder = lstm_decoder(num_hidden_layers=1, input_dropout=0.5, output_dropout=0.5)
    made = model(decoder=decoder, latent_injection=("concat", "output"))
    lstm = made.decoder.model.layers[0].lstm
    inputs, features, states = what_is_read(lstm), what_is_read(made.decoder.lm_head), []
    lstm.register_forward_hook(lambda _, __, output: states.append(output[0].detach()))
    z, words = latents(16), tokens(16, 9)
    for training in (False, True):
        torch.manual_seed(0)
        made.train(training)(latents=z, decoder_input_ids=words)
    embeds = made.decoder.model.embed_tokens(words)
    for given, whole in ((inputs, (embeds, embeds)), (features, states)):
        for read in given:
            assert_close(read[..., -Z:], z[:, None].expand(-1, 9, -1))
        assert_close(given[0][..., :-Z], whole[0])
        dropped = given[1][..., :-Z] == 0
        assert_close(given[1][..., :-Z], (2.0 * whole[1]).masked_fill(dropped, 0.0))
        # half of the values: four standard deviations
        assert abs(dropped.float().mean().item() - 0.5) < 4 * 0.5 / dropped.numel() ** 0.5


# words are dropped in training, by the model


def test_word_dropout_replaces_words_by_unk_in_training_but_never_the_start():
    made = model(word_dropout=0.5)
    labels = torch.randint(4, V, (64, 20), generator=torch.Generator().manual_seed(0))
    read = []
    made.decoder.model.embed_tokens.register_forward_hook(lambda _, args, __: read.append(args[0]))
    made.eval()(latents=latents(64), labels=labels)
    torch.manual_seed(0)
    made.train()(latents=latents(64), labels=labels)
    whole, dropped = read
    assert (dropped[:, 0] == BOS).all()
    changed = whole != dropped
    assert (dropped[changed] == UNK).all()
    # 1216 words, each dropped with 1/2: four standard deviations
    assert abs(changed[:, 1:].float().mean().item() - 0.5) < 4 * 0.5 / 1216**0.5


def test_word_dropout_of_one_leaves_no_word():
    made = model(word_dropout=1.0).train()
    read = []
    made.decoder.model.embed_tokens.register_forward_hook(lambda _, args, __: read.append(args[0]))
    made(latents=latents(4), labels=batch(4)["labels"])
    assert (read[0][:, 1:] == UNK).all()


def test_word_dropout_is_reproduced_by_the_seed_alone():
    made, labels = model(word_dropout=0.5).train(), batch(4)["labels"]
    scores = []
    for _ in range(2):
        torch.manual_seed(3)
        scores.append(made(latents=latents(4), labels=labels).reconstruction_nll)
    assert torch.equal(*scores)


def test_the_default_ways_fit_the_decoder():
    assert config(decoder="lstm").latent_injection == ["state", "concat"]
    assert config(decoder="gpt2").latent_injection == ["add", "prefix"]
