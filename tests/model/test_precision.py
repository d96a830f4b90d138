"""bf16 weights and bf16 autocast: finite, close to float32, and distributions in float32."""

import pytest
import torch
from test_training import CHECKPOINTED
from tiny import batch, latents, model
from torch import nn
from torch.testing import assert_close

from hf_seqvae.model.modeling_lstm import run_lstm
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

REMEDIES = {
    "batch-norm": lambda: model(posterior="batch_norm_gaussian", batch_norm_gamma=0.6),
    "rate-output": lambda: model(
        posterior="committed_rate_gaussian", committed_rate=2.0, latent_injection=("output",)
    ),
}
MODELS = CHECKPOINTED | REMEDIES
NAMES = list(MODELS)


@pytest.mark.parametrize("name", NAMES)
def test_a_bf16_model_is_close_to_float32(name):
    texts = batch(4, left=True)
    expected = MODELS[name]()(**texts)
    low = MODELS[name]().bfloat16()
    output = low(**texts)
    assert output.logits.dtype == torch.bfloat16
    for term in ("loss", "reconstruction_nll", "kl", "posterior_mean", "latents"):
        value = getattr(output, term)
        assert value.dtype == torch.float32, term
        scale = getattr(expected, term).abs().max().item()
        assert_close(value, getattr(expected, term), atol=0.06 * scale, rtol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_bf16_model_trains_with_finite_gradients(name):
    low = MODELS[name]().bfloat16().train()
    torch.manual_seed(0)
    loss = low(**batch(4)).loss
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in low.parameters())


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"do_sample": True}])
@pytest.mark.parametrize("name", NAMES)
def test_a_bf16_model_generates(name, settings):
    low = MODELS[name]().bfloat16()
    for z in (latents(3), latents(3).bfloat16()):
        torch.manual_seed(0)
        found = low.generate(
            latents=z,
            max_new_tokens=5,
            output_scores=True,
            return_dict_in_generate=True,
            **settings,
        )
        scores = torch.stack(found.scores)
        assert torch.isfinite(scores[scores > float("-inf")]).all()
        assert found.sequences.shape[0] == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_model_loads_in_bf16(name, tmp_path):
    made = MODELS[name]()
    made.save_pretrained(tmp_path)
    low = SeqVAEModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in low.parameters()} == {torch.bfloat16}
    assert torch.equal(low(**batch(3)).logits, made.bfloat16()(**batch(3)).logits)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_autocast_to_bf16_is_close_to_float32_with_gradients(name, training):
    made, texts = MODELS[name]().train(training), batch(4)
    expected = made(**texts, sample_posterior=False)
    expected.loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in made.parameters()])
    made.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        output = made(**texts, sample_posterior=False)
    output.loss.backward()
    assert output.loss.dtype == output.kl.dtype == torch.float32
    assert_close(output.loss, expected.loss, rtol=0.03, atol=0.0)
    found = torch.cat([p.grad.flatten() for p in made.parameters()])
    assert torch.cosine_similarity(found, gradient, dim=0) > 0.98


@pytest.mark.parametrize("name", NAMES)
def test_autocast_generates(name):
    made = MODELS[name]()
    with torch.autocast("cpu", torch.bfloat16):
        found = made.generate(latents=latents(2), max_new_tokens=4, num_beams=2)
    assert found.shape[0] == 2


def test_float64_keeps_its_precision_throughout():
    made, texts = model().double(), batch(4)
    output = made(**texts)
    assert output.kl.dtype == output.posterior_mean.dtype == torch.float64
    again = made(latents=output.latents, labels=texts["labels"])
    assert output.latents.dtype == again.latents.dtype == torch.float64
    assert_close(again.reconstruction_nll, output.reconstruction_nll, rtol=1e-12, atol=0.0)


def test_float16_cast_model_runs_finite():
    made = model().half()
    assert torch.isfinite(made(**batch(3)).loss)


@pytest.mark.parametrize(
    ("dtype", "has_kernel", "expected"),
    [
        (torch.bfloat16, True, torch.bfloat16),
        (torch.bfloat16, False, torch.float32),
        (torch.float16, True, torch.float32),
    ],
)
def test_an_lstm_follows_autocast_on_a_cpu_that_has_one_of_its_type(
    dtype, has_kernel, expected, monkeypatch
):
    if has_kernel and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no bfloat16 LSTM")
    if not has_kernel:
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    torch.manual_seed(0)
    lstm, inputs = nn.LSTM(3, 4, batch_first=True), torch.ones(2, 5, 3)
    whole, _ = run_lstm(lstm, inputs)
    with torch.autocast("cpu", dtype):
        outputs, (_, cell) = run_lstm(lstm, inputs)
    assert outputs.dtype == cell.dtype == expected
    assert_close(outputs.float(), whole, rtol=0, atol=0.01)
