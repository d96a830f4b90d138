"""The LSTM backbones against nn.LSTM, padded on either side, and how their weights begin."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import V, batch, batch_of, config, latents, lstm_decoder, lstm_encoder, model
from torch import nn
from torch.testing import assert_close
from transformers.cache_utils import DynamicCache

from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig
from hf_seqvae.model.injection import INJECTIONS
from hf_seqvae.model.lstm_cache import SeqVAELSTMCacheLayer
from hf_seqvae.model.modeling_lstm import SeqVAELSTMEncoderModel, SeqVAELSTMForCausalLM
from hf_seqvae.model.modeling_seqvae import SeqVAEModel


def torch_lstm(layers: nn.ModuleList, input_size: int, hidden_size: int) -> nn.LSTM:
    """nn.LSTM with the weights of our layers."""
    both = layers[0].reverse_lstm is not None
    made = nn.LSTM(input_size, hidden_size, len(layers), batch_first=True, bidirectional=both)
    for index, layer in enumerate(layers):
        for suffix, part in (("", layer.lstm), ("_reverse", layer.reverse_lstm)):
            if part is not None:
                for name, value in part.named_parameters():
                    made.get_parameter(name.replace("_l0", f"_l{index}{suffix}")).data.copy_(value)
    return made


@pytest.mark.parametrize("left", [False, True], ids=["right-padded", "left-padded"])
@pytest.mark.parametrize("both", [False, True], ids=["one-way", "both-ways"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_encoder_is_nn_lstm_of_each_text_alone(num_layers, both, left):
    encoder = lstm_encoder(num_hidden_layers=num_layers, bidirectional=both)
    made = model(encoder, pooling="last")
    backbone = made.encoder.backbone
    oracle = torch_lstm(backbone.layers, 6, 8)
    texts = batch(5, left=left)
    encoded = made.encoder(texts["input_ids"], texts["attention_mask"])
    for row in range(5):
        kept = texts["attention_mask"][row].bool()
        embeds = backbone.embed_tokens(texts["input_ids"][row][kept])[None]
        features, (h_n, _) = oracle(embeds)
        assert_close(encoded.last_hidden_state[row][kept], features[0])
        last = h_n[-2:] if both else h_n[-1:]  # forward at the last token, backward at the first
        assert_close(encoded.pooled[row], last[:, 0].flatten())


@pytest.mark.parametrize("both", [False, True], ids=["one-way", "both-ways"])
def test_holes_in_the_mask_are_closed_up(both):
    backbone = SeqVAELSTMEncoderModel(lstm_encoder(bidirectional=both, num_hidden_layers=2)).eval()
    ids = torch.tensor([[4, 9, 5, 9, 6, 9]])
    mask = torch.tensor([[1, 0, 1, 0, 1, 0]])
    whole = backbone(ids, mask).last_hidden_state[0, [0, 2, 4]]
    assert_close(whole, backbone(torch.tensor([[4, 5, 6]])).last_hidden_state[0])


def test_every_encoder_layer_is_returned_when_asked_in_the_order_of_the_tokens():
    backbone = SeqVAELSTMEncoderModel(lstm_encoder(num_hidden_layers=2)).eval()
    ids, mask = torch.tensor([[9, 9, 4, 5]]), torch.tensor([[0, 0, 1, 1]])
    padded = backbone(ids, mask, output_hidden_states=True)
    alone = backbone(ids[:, 2:], output_hidden_states=True)
    assert backbone(ids).hidden_states is None
    assert len(padded.hidden_states) == len(alone.hidden_states) == 3
    for one, other in zip(padded.hidden_states, alone.hidden_states, strict=True):
        assert_close(one[:, 2:], other)
    assert_close(padded.hidden_states[-1], padded.last_hidden_state)


def test_the_language_model_scores_left_padded_prompts_like_unpadded_ones():
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    texts = [[4, 5, 6, 7], [8, 9]]
    ids = torch.tensor([texts[0], [11, 12, *texts[1]]])
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    logits = made(ids, mask).logits
    assert_close(logits[0], made(torch.tensor([texts[0]])).logits[0])
    assert_close(logits[1, 2:], made(torch.tensor([texts[1]])).logits[0])


def test_a_left_padded_prompt_is_continued_from_its_last_real_token():
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    ids, mask = torch.tensor([[11, 12, 8, 9], [4, 5, 6, 7]]), torch.tensor([[0, 0, 1, 1], [1] * 4])
    cache = made(ids, mask, use_cache=True).past_key_values
    step = made(torch.tensor([[10], [10]]), past_key_values=cache, use_cache=True).logits[:, -1]
    assert_close(step[0], made(torch.tensor([[8, 9, 10]])).logits[0, -1])
    assert_close(step[1], made(torch.tensor([[4, 5, 6, 7, 10]])).logits[0, -1])


def test_right_padding_does_not_move_the_cached_state():
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    ids, mask = torch.tensor([[8, 9, 0, 0], [4, 5, 6, 7]]), torch.tensor([[1, 1, 0, 0], [1] * 4])
    cache = made(ids, mask, use_cache=True).past_key_values
    step = made(torch.tensor([[10], [10]]), past_key_values=cache, use_cache=True).logits[:, -1]
    assert_close(step[0], made(torch.tensor([[8, 9, 10]])).logits[0, -1])


def test_the_language_model_generates_alone_and_alike_without_a_cache():
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    torch.manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    ids = torch.tensor([[1, 4, 5], [1, 6, 7]])
    results = [made.generate(ids, max_new_tokens=6, use_cache=use) for use in (True, False)]
    assert torch.equal(*results)


def test_the_language_models_loss_is_the_shifted_cross_entropy():
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    ids = torch.tensor([[1, 4, 5, 2]])
    output = made(ids, labels=ids)
    expected = nn.functional.cross_entropy(output.logits[0, :-1], ids[0, 1:])
    assert_close(output.loss, expected)


def test_both_or_no_inputs_are_refused():
    made = SeqVAELSTMForCausalLM(lstm_decoder())
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds, and not both"):
        made()
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds, and not both"):
        made(torch.tensor([[1]]), inputs_embeds=torch.zeros(1, 1, 6))


@pytest.mark.parametrize(("size", "given"), [(0, True), (3, False)])
def test_conditioning_that_does_not_fit_the_config_is_refused(size, given):
    made = SeqVAELSTMForCausalLM(lstm_decoder(conditioning_size=size))
    conditioning = torch.zeros(1, 3) if given else None
    with pytest.raises(ValueError, match=f"conditioning_size is {size}, so conditioning must"):
        made(torch.tensor([[1]]), conditioning=conditioning)


def test_an_empty_cache_of_another_class_is_filled_with_our_layers():
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    ids = torch.tensor([[1, 4, 5]])
    cache = DynamicCache()
    made(ids[:, :2], past_key_values=cache, use_cache=True)
    assert [type(layer) for layer in cache.layers] == [SeqVAELSTMCacheLayer] * 2
    step = made(ids[:, 2:], past_key_values=cache, use_cache=True).logits
    assert_close(step, made(ids).logits[:, 2:])


def test_the_cache_layer_repeats_selects_reorders_and_resets_states():
    layer = SeqVAELSTMCacheLayer(max_cache_len=9)
    h, c = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])
    layer.update(h, c, 5)
    assert (layer.get_seq_length(), layer.get_max_length(), layer.get_mask_sizes(2)) == (
        5,
        -1,
        (7, 0),
    )
    layer.batch_repeat_interleave(2)
    assert layer.keys.flatten().tolist() == [1, 1, 2, 2]
    layer.reorder_cache(torch.tensor([3, 0, 0, 0]))
    assert layer.values.flatten().tolist() == [4, 3, 3, 3]
    layer.batch_select_indices(torch.tensor([0, 1]))
    assert layer.keys.flatten().tolist() == [2, 1]
    layer.reset()
    assert layer.get_seq_length() == 0


# scoring


@pytest.mark.parametrize("decoder", ["lstm", "gpt2"])
def test_training_scores_real_positions_alone(decoder):
    made, texts = model(decoder=decoder), batch(6, extra=5)
    rows = []
    made.decoder.lm_head.register_forward_hook(lambda _, args, __: rows.append(args[0].shape[:-1]))
    native = decoder == "lstm"
    num_real, shape = int((texts["labels"] != -100).sum()), texts["labels"].shape
    trained = made.train()(**texts)
    assert (trained.logits is None) == native
    given = made(**texts, return_logits=True)
    evaluated = made.eval()(**texts)
    assert given.logits.shape == evaluated.logits.shape == (*shape, V)
    assert rows == [(num_real,) if native else shape, shape, shape]


def test_scores_are_the_same_with_and_without_logits():
    made, texts = model().train(), batch(6)
    outputs = [
        made(**texts, sample_posterior=False, return_logits=asked) for asked in (False, True)
    ]
    assert_close(outputs[0].reconstruction_nll, outputs[1].reconstruction_nll)
    assert_close(outputs[0].loss, outputs[1].loss)
    gathered = outputs[1].logits.log_softmax(-1).gather(-1, texts["labels"].clamp(min=0)[..., None])
    real = texts["labels"] != -100
    assert_close(outputs[0].reconstruction_nll, -(gathered[..., 0] * real).sum(1))


def test_without_labels_a_training_forward_still_gives_logits():
    made = model().train()
    assert made(latents=latents(2), decoder_input_ids=torch.ones(2, 3).long()).logits.shape == (
        2,
        3,
        V,
    )


# initialisation: the composite's layers, the encoder's and the decoder's


def parameters_of(made):
    return {name: parameter.detach() for name, parameter in made.named_parameters()}


def big(initializer, **kwargs):
    torch.manual_seed(0)
    return SeqVAEModel(
        config(
            lstm_encoder(
                embedding_size=32, hidden_size=32, initializer=initializer, bidirectional=True
            ),
            lstm_decoder(embedding_size=32, hidden_size=32, initializer=initializer),
            latent_size=16,
            pooling="attention",
            latent_injection=INJECTIONS,
            initializer=initializer,
            **kwargs,
        )
    )


def fills(parameter, bound):
    """Uniform within the bound: inside it, with its standard deviation, mean and extremes."""
    n = parameter.numel()
    assert parameter.abs().max() <= bound
    assert parameter.abs().max() > bound * (1 - 20 / n)
    std = bound / 3**0.5
    assert abs(parameter.std().item() / std - 1) < 4 * (0.2 / n) ** 0.5 + 2 / n
    assert abs(parameter.mean().item()) < 4 * std / n**0.5


def test_the_literatures_initialisation_is_uniform_everywhere_lstm_biases_included():
    found = parameters_of(big("literature"))
    assert any("bias_hh" in name for name in found)
    for name, parameter in found.items():
        fills(parameter, 0.1 if "embed_tokens" in name else 0.01)


def test_torchs_initialisation_is_torchs_own():
    made = big("torch")
    for module in made.modules():
        if isinstance(module, nn.LSTM):
            for parameter in module.parameters():
                fills(parameter.detach(), 32**-0.5)
        elif isinstance(module, nn.Linear):
            fills(module.weight.detach(), module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            weight = module.weight.detach()
            assert abs(weight.std().item() - 1) < 4 / (2 * weight.numel()) ** 0.5
            assert weight.abs().max() > 2.5  # normal, not uniform


def test_each_part_begins_by_its_own_initializer():
    made = SeqVAEModel(
        config(
            lstm_encoder(initializer="torch"),
            lstm_decoder(initializer="literature"),
            initializer="torch",
        )
    )
    assert made.decoder.lm_head.weight.abs().max() <= 0.01
    assert made.encoder.backbone.layers[0].lstm.weight_hh_l0.abs().max() > 0.1
    assert made.injection.to_state.weight.abs().max() > 0.1


def test_posterior_head_and_output_layer_have_no_bias():
    made = big("torch")
    assert made.encoder.posterior.projection.bias is None
    assert made.decoder.lm_head.bias is None


@pytest.mark.parametrize("initializer", ["literature", "torch"])
@pytest.mark.parametrize(
    "missing",
    ["decoder.model.layers.0.lstm.weight_hh_l0", "encoder.backbone.layers.0.lstm.bias_ih_l0"],
)
def test_a_checkpoint_that_lacks_one_lstm_weight_keeps_the_others(initializer, missing, tmp_path):
    made = big(initializer)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(7.0)  # outside every initialiser's range
    made.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[missing]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, report = SeqVAEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == {missing}
    bound = 0.01 if initializer == "literature" else 32**-0.5
    for name, parameter in parameters_of(loaded).items():
        if name == missing:
            fills(parameter, bound)
        else:
            assert (parameter == 7.0).all(), name


def test_a_decoder_config_on_its_own_has_no_conditioning():
    assert SeqVAELSTMConfig().conditioning_size == 0


def test_texts_of_one_batch_do_not_touch_each_other_in_the_encoder():
    made = model("lstm2", pooling="last")
    one, two = batch_of([[4, 5, 6, 7], [8]]), batch_of([[9, 9, 9, 9], [8]])
    means = [made.encoder(b["input_ids"], b["attention_mask"]).posterior_mean for b in (one, two)]
    assert torch.equal(means[0][1], means[1][1])
    assert not torch.equal(means[0][0], means[1][0])


@pytest.mark.parametrize("state", [False, True], ids=["at the start", "behind a cache"])
def test_a_row_of_padding_alone_keeps_the_state_that_it_had(state):
    made = SeqVAELSTMForCausalLM(lstm_decoder()).eval()
    ids, mask = torch.tensor([[4, 5], [9, 9]]), torch.tensor([[1, 1], [0, 0]])
    cache = made(torch.tensor([[6], [7]])).past_key_values if state else None
    before = [] if cache is None else [layer.keys[1].clone() for layer in cache.layers]
    if cache is not None:
        mask = torch.cat([torch.ones(2, 1, dtype=torch.long), mask], dim=1)
    after = made(ids, attention_mask=mask, past_key_values=cache).past_key_values
    expected = before or [torch.zeros(8)] * len(after.layers)
    for layer, old in zip(after.layers, expected, strict=True):
        assert torch.equal(layer.keys[1], old)
        assert not torch.equal(layer.keys[0], old)
