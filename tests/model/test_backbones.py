"""Foreign encoders and decoders: positions, lengths, types and what they bring of their own."""

import pytest
import torch
from tiny import BOS, EOS, PAD, V, Z, batch, bert, config, gpt2, latents, llama, lstm_decoder, model
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from hf_seqvae.model.modeling_encoder import SeqVAEEncoder
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

SIZES = {
    "vocab_size": V,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
COUNT_FROM_PADDING = ["roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "data2vec-text"]
COUNT_FROM_PADDING += ["xmod", "roberta-prelayernorm"]


def foreign(kind, **kwargs):
    sizes = {name: size for name, size in (SIZES | kwargs).items() if size is not ...}
    return AutoConfig.for_model(kind, **sizes)


def roberta_like(kind):
    languages = {"languages": ["en_XX"], "default_language": "en_XX"} if kind == "xmod" else {}
    return foreign(kind, is_decoder=True, **languages)


def left_padded(labels):
    """The same labels with their padding in front."""
    rows = []
    for row in labels:
        real = row[row != -100]
        rows.append(torch.cat([row.new_full((len(row) - len(real),), -100), real]))
    return torch.stack(rows)


# -- positions


@pytest.mark.parametrize("kind", COUNT_FROM_PADDING)
@pytest.mark.parametrize("injection", [("add",), ("add", "prefix")])
def test_a_decoder_that_counts_from_behind_padding_scores_and_writes_one_way(kind, injection):
    made = model("bert", roberta_like(kind), latent_injection=injection, num_prefix_tokens=2)
    texts = batch(4)
    z = latents(4)
    nll = made(latents=z, labels=texts["labels"]).reconstruction_nll
    mask = torch.ones_like(texts["labels"])
    assert_close(
        made(latents=z, labels=texts["labels"], decoder_attention_mask=mask).reconstruction_nll, nll
    )
    assert_close(made(latents=z, labels=left_padded(texts["labels"])).reconstruction_nll, nll)
    found = [
        made.generate(
            latents=z,
            max_new_tokens=6,
            min_new_tokens=6,
            use_cache=use_cache,
            output_logits=True,
            return_dict_in_generate=True,
        )
        for use_cache in (True, False)
    ]
    assert_close(*(torch.stack(one.logits) for one in found), rtol=1e-4, atol=1e-5)
    words = found[0].sequences
    scored = made(latents=z, decoder_input_ids=words[:, :-1]).logits
    assert_close(torch.stack(found[0].logits, dim=1), scored, rtol=1e-4, atol=1e-5)


DISTANCES = {
    "mistral": {"num_key_value_heads": 1, "sliding_window": 4},
    "gpt_neo": {"num_layers": 2, "num_heads": 2, "window_size": 4}
    | {"attention_types": [[["global", "local"], 1]]},
    "mpt": {"d_model": 8, "n_heads": 2, "n_layers": 2, "max_seq_len": 40},
}


@pytest.mark.parametrize("kind", DISTANCES)
def test_a_prefix_stands_next_to_its_text_whatever_padding_is_in_front(kind):
    made = model("bert", foreign(kind, **DISTANCES[kind]), num_prefix_tokens=2)
    texts, z = batch(4), latents(4)
    nll = made(latents=z, labels=texts["labels"]).reconstruction_nll
    assert_close(made(latents=z, labels=left_padded(texts["labels"])).reconstruction_nll, nll)
    ids = torch.tensor([[9, 9, BOS, 7], [BOS, 4, 5, 6]])
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "output_logits": True}
    settings["return_dict_in_generate"] = True
    both, one = (
        made.generate(
            latents=z[:rows],
            decoder_input_ids=ids[:rows, first:],
            decoder_attention_mask=mask[:rows, first:],
            **settings,
        )
        for rows, first in ((2, 0), (1, 2))
    )
    assert_close(torch.stack(both.logits)[:, :1], torch.stack(one.logits), rtol=1e-4, atol=1e-5)


def test_hidden_states_and_attentions_are_those_of_the_tokens():
    made = model("bert", "gpt2", num_prefix_tokens=3)
    made.set_attn_implementation("eager")
    texts = batch(2)
    output = made(**texts, output_hidden_states=True, output_attentions=True)
    length = texts["labels"].shape[1]
    assert {states.shape[1] for states in output.decoder_hidden_states} == {length}
    assert {tuple(w.shape[2:]) for w in output.decoder_attentions} == {(length, length + 3)}
    native = model("lstm", latent_injection=("prefix",), num_prefix_tokens=3)
    states = native(**texts, output_hidden_states=True).decoder_hidden_states
    assert {one.shape[1] for one in states} == {length}


# -- how long a text they read


@pytest.mark.parametrize(
    ("encoder", "longest"),
    [
        (foreign("roberta"), 39),
        (foreign("mpnet"), 40 - 2),  # it pads by 1
        (foreign("bert"), 40),
        (foreign("xlnet", max_position_embeddings=..., d_head=4, d_inner=16), None),
        (foreign("deberta-v2", position_biased_input=False, relative_attention=True), None),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_an_encoder_reads_as_many_tokens_as_it_has_positions(encoder, longest):
    if encoder.model_type == "mpnet":
        encoder.pad_token_id = 1
    made = SeqVAEModel(config(encoder, lstm_decoder())).eval()
    ids = torch.full((1, longest or 60), 5)
    assert made.encoder(input_ids=ids).posterior_mean.isfinite().all()
    if longest is not None:
        with pytest.raises(ValueError, match=f"{longest + 1} tokens, but .* has {longest} pos"):
            made.encoder(input_ids=torch.full((1, longest + 1), 5))


def test_a_generation_beyond_the_positions_says_how_to_ask_for_less():
    made = model("bert", gpt2(n_positions=8))
    with pytest.raises(ValueError, match="max_new_tokens"):
        made.generate(latents=latents(1), max_new_tokens=20, min_new_tokens=20)


# -- what they bring


@pytest.mark.parametrize("kind", ["squeezebert", "layoutlm", "bert"])
def test_an_encoders_own_pooler_is_neither_run_nor_trained(kind):
    encoder = foreign(kind, embedding_size=8) if kind == "squeezebert" else foreign(kind)
    made = SeqVAEModel(config(encoder, lstm_decoder()))
    made(**batch(2)).loss.backward()
    assert not [n for n, p in made.encoder.named_parameters() if p.grad is None]
    assert "pooler" not in " ".join(made.state_dict())


def test_an_encoder_whose_states_are_narrower_than_its_layers():
    encoder = foreign("opt", word_embed_proj_dim=4, ffn_dim=16)
    made = SeqVAEModel(config(encoder, lstm_decoder())).eval()
    assert made.encoder.posterior.projection.in_features == 4
    assert made(**batch(2)).loss.isfinite()


def test_an_encoder_that_is_two_stacks_after_all_is_refused():
    pair = AutoConfig.for_model(
        "t5", vocab_size=V, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    pair.is_encoder_decoder = False
    with pytest.raises(ValueError, match="encoder T5Model has a decoder too"):
        SeqVAEModel(config(pair, lstm_decoder()))


def test_a_decoder_without_bos_writes_from_latents():
    decoder = foreign("qwen2", num_key_value_heads=1, bos_token_id=None)
    made = model("bert", decoder, decoder_start_token_id=5)
    assert made.generation_config.bos_token_id is None
    texts = batch(3)
    torch.manual_seed(0)
    z = made(**texts).posterior_mean
    written = made.generate(latents=z, max_new_tokens=5)
    assert (written[:, 0] == 5).all()
    encoder_inputs = {name: texts[name] for name in ("input_ids", "attention_mask")}
    assert torch.equal(made.generate(**encoder_inputs, max_new_tokens=5), written)


def test_an_assistant_writes_what_the_model_writes():
    made, assistant = model("bert", "gpt2"), model("bert", "gpt2", seed=1)
    z = latents(1)
    alone = made.generate(latents=z, max_new_tokens=8)
    assert torch.equal(made.generate(latents=z, max_new_tokens=8, assistant_model=assistant), alone)


# -- two pretrained models


def save(folder, made_config, kind, dtype):
    kind.from_config(made_config).to(dtype).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("of_encoder", "of_decoder", "asked", "whole"),
    [
        (torch.float32, torch.float32, None, torch.float32),
        (torch.float32, torch.bfloat16, None, torch.float32),
        (torch.bfloat16, torch.bfloat16, None, torch.bfloat16),
        (torch.bfloat16, torch.bfloat16, "float32", torch.float32),
    ],
)
def test_two_pretrained_models_come_in_one_dtype_and_in_eval(
    tmp_path, of_encoder, of_decoder, asked, whole
):
    encoder = save(tmp_path / "encoder", bert(), AutoModel, of_encoder)
    decoder = save(tmp_path / "decoder", llama(), AutoModelForCausalLM, of_decoder)
    given = {} if asked is None else {"dtype": asked}
    made = SeqVAEModel.from_encoder_decoder_pretrained(
        encoder, decoder, latent_size=Z, pooling="attention", **given
    )
    assert {parameter.dtype for parameter in made.parameters()} == {whole}
    assert not any(module.training for module in made.modules())
    made.train()
    made(**batch(3)).loss.backward()
    made.save_pretrained(tmp_path / "saved")
    assert AutoModel.from_pretrained(tmp_path / "saved").dtype == whole


def test_a_pair_of_berts_is_a_language_model_on_the_right(tmp_path):
    folder = save(tmp_path, bert(), AutoModel, torch.float32)
    made = SeqVAEModel.from_encoder_decoder_pretrained(folder, folder, latent_size=Z)
    z, words = latents(1), torch.tensor([[BOS, 4, 5, 6]])
    before = made(latents=z, decoder_input_ids=words).logits
    words[0, -1] = 7
    assert_close(made(latents=z, decoder_input_ids=words).logits[:, :-1], before[:, :-1])


# -- more than a weight


def offload(module):
    """As accelerate does: the weight comes when the module is called, and goes after."""
    accelerate = pytest.importorskip("accelerate")
    accelerate.cpu_offload(module, execution_device=torch.device("cpu"))


def test_offloaded_weights_give_the_same_posterior():
    made, texts = model("bert", "gpt2"), batch(3)
    with torch.no_grad():
        before = made(**texts)
        offload(made)
        after = made(**texts)
    assert torch.equal(after.posterior_mean, before.posterior_mean)
    assert torch.equal(after.loss, before.loss)


class Adapter(torch.nn.Module):
    """An adapter's form: the base layer's weight under its own name, and something beside it."""

    def __init__(self, base):
        super().__init__()
        self.base, self.weight = base, base.weight
        self.beside = torch.nn.Parameter(torch.ones(base.out_features, base.in_features))

    def forward(self, x):
        return self.base(x) + x @ self.beside.T


def test_an_adapter_on_the_posterior_is_called_and_trained():
    made, texts = model(), batch(3)
    before = made(**texts).posterior_mean
    head = made.encoder.posterior
    head.projection = Adapter(head.projection)
    output = made(**texts)
    assert (output.posterior_mean - before).abs().min() > 0.01
    output.loss.backward()
    assert head.projection.beside.grad.abs().sum() > 0


def test_the_encoder_of_a_models_folder_is_loaded_from_it(tmp_path):
    made, texts = model(), batch(3)
    made.save_pretrained(tmp_path)
    encoder = SeqVAEEncoder.from_pretrained(tmp_path).eval()
    inputs = {name: texts[name] for name in ("input_ids", "attention_mask")}
    assert torch.equal(encoder(**inputs).latents, made.encoder(**inputs).latents)
