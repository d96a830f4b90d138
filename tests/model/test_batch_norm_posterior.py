"""Batch-normalised posterior means: torch's own layer, the floor under the KL, and what it asks."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import Z, batch, config, lstm_decoder, lstm_encoder, model
from torch import nn
from torch.testing import assert_close

from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.posterior_families import BatchNormGaussianPosterior, FixedScaleBatchNorm

NAME = "batch_norm_gaussian"


def bn_model(**kwargs):
    return model(posterior=NAME, **kwargs)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def floor_of(means, gamma, eps=1e-12):
    """1/2 sum_j gamma^2 v_j / (v_j + eps) of projected means (B, Z), in nats."""
    variance = means.double().var(dim=0, correction=0)
    return 0.5 * gamma**2 * (variance / (variance + eps)).sum().item()


# the layer


def test_it_is_torchs_batch_norm_with_a_weight_that_nothing_trains():
    # momentum=None: the mean over all batches, as ours over the first ten
    ours, theirs = FixedScaleBatchNorm(3, 0.7), nn.BatchNorm1d(3, eps=1e-12, momentum=None)
    nn.init.constant_(theirs.weight, 0.7)
    for seed in range(4):
        values = [(2.0 + draw(5, 3, seed=seed)).requires_grad_() for _ in range(2)]
        for layer, given in zip((ours, theirs), values, strict=True):
            nn.init.constant_(layer.bias, 0.2 * seed)
            layer(given).square().mul(draw(5, 3, seed=9)).sum().backward()
        assert_close(values[0].grad, values[1].grad)
        assert_close(ours(values[0]), theirs(values[1]))
    assert_close(ours.bias.grad, theirs.bias.grad)
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)
    assert_close(ours.eval()(values[0]), theirs.eval()(values[1]))


def test_after_ten_batches_the_newest_one_weighs_a_tenth():
    layer = FixedScaleBatchNorm(3, 0.7)
    batches = [draw(5, 3, seed=seed) for seed in range(15)]
    for values in batches:
        layer(values)
    expected = torch.stack([values.mean(0) for values in batches[:10]]).mean(0)
    for values in batches[10:]:
        expected = 0.9 * expected + 0.1 * values.mean(0)
    assert_close(layer.running_mean, expected)


def test_one_batch_of_means_that_hardly_spread_is_enough_for_eval():
    """Var 5e-9, as at He et al.'s initialisation: running statistics that began at 1 hide it."""
    layer = FixedScaleBatchNorm(3, 0.6)
    values = 7e-5 * draw(64, 3)
    layer(values)
    assert_close(layer.eval()(values).std(dim=0), torch.full((3,), 0.6), rtol=1e-3, atol=0)


def test_the_scale_is_no_parameter_and_is_not_saved():
    head = BatchNormGaussianPosterior(6, 3, batch_norm_gamma=0.7)
    names = {"projection.weight", "batch_norm.bias"}
    assert {name for name, _ in head.named_parameters()} == names
    running = {"running_mean", "running_var", "num_batches_tracked"}
    running = {f"batch_norm.{name}" for name in running}
    assert set(head.state_dict()) == names | running


# the floor


@pytest.mark.parametrize("gamma", [0.5, 0.6, 0.9])
@pytest.mark.parametrize("scale", [1e-5, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("rows", [2, 3, 32])
def test_in_training_the_mean_kl_of_a_batch_is_not_below_the_floor(gamma, scale, rows):
    for seed in range(5):
        head = BatchNormGaussianPosterior(6, 8, batch_norm_gamma=gamma)
        pooled = draw(rows, 6, seed=seed)
        with torch.no_grad():
            head.projection.weight.copy_(scale * draw(16, 6, seed=seed + 100))
            head.batch_norm.bias.copy_(draw(8, seed=seed + 200))
            kl = head(pooled).kl().sum(dim=1).mean().item()
            floor = floor_of(head.projection(pooled)[:, :8], gamma)
        assert kl >= floor * (1 - 1e-5)


def test_the_floor_is_met_where_bias_and_log_variances_are_zero():
    head = BatchNormGaussianPosterior(6, 8, batch_norm_gamma=0.6)
    with torch.no_grad():
        head.projection.weight[8:] = 0.0
        kl = head(draw(16, 6)).kl().sum(dim=1).mean().item()
    assert kl == pytest.approx(0.5 * 0.6**2 * 8, rel=1e-5)


@pytest.mark.parametrize(("eps", "floor"), [(1e-12, 5.76), (1e-5, 0.003)])
def test_the_usual_eps_would_leave_nothing_of_the_floor_at_the_literatures_variance(eps, floor):
    layer = FixedScaleBatchNorm(32, 0.6)
    assert layer.eps == 1e-12
    layer.eps = eps
    values = draw(64, 32)
    values = 5e-9**0.5 * (values - values.mean(0)) / values.std(0, correction=0)
    rate = 0.5 * layer(values).square().sum(dim=1).mean().item()
    assert rate == pytest.approx(floor, rel=0.05)
    assert rate == pytest.approx(floor_of(values, 0.6, eps), rel=1e-3)


def literature(latent_size=32, **kwargs):
    """The literature's model at its initialisation, but for its size."""
    torch.manual_seed(0)
    sizes = {"embedding_size": 64, "hidden_size": 64, "initializer": "literature"}
    return SeqVAEModel(
        config(
            lstm_encoder(**sizes),
            lstm_decoder(num_hidden_layers=1, **sizes),
            latent_size=latent_size,
            pooling="last",
            posterior=NAME,
            batch_norm_gamma=0.6,
            initializer="literature",
            **kwargs,
        )
    ).train()


def test_the_literatures_initialisation_begins_at_the_advertised_floor():
    made, texts = literature(), batch(32)
    projected = []
    made.encoder.posterior.batch_norm.register_forward_pre_hook(
        lambda _, args: projected.append(args[0])
    )
    kl = made(**texts).kl.sum(dim=1).mean().item()
    assert projected[0].var(dim=0).max() < 1e-7  # this close together are the means
    assert kl == pytest.approx(5.76, rel=0.01)
    assert kl >= floor_of(projected[0], 0.6) * (1 - 1e-5)


def test_bf16_autocast_does_not_round_means_that_are_close_together():
    made, texts = literature(), batch(32)
    pooled = made.encoder(texts["input_ids"], texts["attention_mask"]).pooled
    expected = made.encoder.posterior(pooled).mean
    with torch.autocast("cpu", torch.bfloat16):
        found = made.encoder.posterior(pooled).mean
    assert found.dtype == torch.float32
    assert_close(found, expected)


def test_the_floor_holds_at_every_step_of_a_run_that_would_rather_collapse():
    made, texts = bn_model(batch_norm_gamma=0.6, kl_weight=10.0).train(), batch(8)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.03)
    torch.manual_seed(0)
    rates = []
    for _ in range(60):
        optimizer.zero_grad()
        output = made(**texts)
        rates.append(output.kl.sum(dim=1).mean().item())
        output.loss.backward()
        optimizer.step()
    floor = 0.5 * 0.6**2 * Z
    assert min(rates) >= floor * (1 - 1e-3)
    assert rates[-1] < 1.5 * floor < rates[0]  # it did go down, and stayed


# batches


@pytest.mark.parametrize("training", [True, False])
def test_a_text_alone_is_encoded_in_eval_and_refused_in_training(training):
    made, text = bn_model().train(training), batch(1)
    if training:
        with pytest.raises(ValueError, match="two or more texts.*got 1.*drop the last batch"):
            made(**text)
    else:
        assert torch.isfinite(made(**text).loss)


def test_in_training_a_posterior_depends_on_its_batch_and_in_eval_it_does_not():
    made, texts = bn_model(), batch(4)
    half = {name: value[:2] for name, value in texts.items()}
    assert_close(made(**half).posterior_mean, made(**texts).posterior_mean[:2])
    made.train()
    difference = made(**half).posterior_mean - made(**texts).posterior_mean[:2]
    assert difference.abs().max() > 0.01


def test_rows_without_labels_count_in_the_statistics():
    made, texts = bn_model().train(), batch(4)
    expected = made(**texts).posterior_mean
    texts["labels"][1] = -100
    assert torch.equal(made(**texts).posterior_mean, expected)


def test_several_processes_are_refused_in_training_alone(monkeypatch):
    made, texts = bn_model(), batch(4)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    made(**texts)
    with pytest.raises(ValueError, match="trains in one process.*got 2 processes"):
        made.train()(**texts)


@pytest.mark.parametrize(
    ("posterior", "uses"),
    [("gaussian", False), (NAME, True), ("committed_rate_gaussian", False)],
)
def test_the_model_says_whether_its_posterior_needs_the_whole_batch(posterior, uses):
    rate = 1.0 if posterior == "committed_rate_gaussian" else None
    assert model(posterior=posterior, committed_rate=rate).uses_batch_statistics is uses


# statistics in a checkpoint


def test_running_statistics_are_saved_and_loaded(tmp_path):
    made, texts = bn_model().train(), batch(6)
    for _ in range(3):
        made(**texts)
    expected = made.eval()(**texts)
    assert made.encoder.posterior.batch_norm.running_mean.abs().max() > 0.01
    made.save_pretrained(tmp_path)
    found = SeqVAEModel.from_pretrained(tmp_path)(**texts)
    assert torch.equal(found.posterior_mean, expected.posterior_mean)
    low = SeqVAEModel.from_pretrained(tmp_path, dtype=torch.bfloat16).train()
    assert torch.isfinite(low(**texts).loss)


@pytest.mark.parametrize("initializer", ["torch", "literature"])
def test_a_layer_that_a_checkpoint_lacks_begins_afresh(initializer, tmp_path):
    """Loading builds on the meta device, where a buffer holds whatever memory held before."""
    made = bn_model(initializer=initializer)
    made.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "batch_norm" not in name}
    assert len(weights) == len(kept) + 4
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    layer = SeqVAEModel.from_pretrained(tmp_path).encoder.posterior.batch_norm
    assert torch.equal(layer.bias, torch.zeros(Z))
    assert torch.equal(layer.running_mean, torch.zeros(Z))
    assert torch.equal(layer.running_var, torch.ones(Z))
    assert layer.num_batches_tracked == 0


def test_a_new_layer_begins_without_shift_by_either_initializer():
    for initializer in ("torch", "literature"):
        made = SeqVAEModel(config(posterior=NAME, initializer=initializer))
        assert not made.encoder.posterior.batch_norm.bias.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("way", ["to", "from_pretrained"])
def test_half_precision_leaves_the_small_variances_what_they_are(dtype, way, tmp_path):
    parts = {"encoder": lstm_encoder(initializer="literature"), "decoder": lstm_decoder()}
    made = SeqVAEModel(config(posterior=NAME, initializer="literature", **parts)).train()
    texts = batch(6)
    for _ in range(3):
        made(**texts)
    norm = made.eval().encoder.posterior.batch_norm
    assert 0 < norm.running_var.max() < 1e-7  # 0 in float16
    kept = norm.running_var.clone()
    kl = made(**texts).kl.sum(dim=1)
    if way == "to":
        low = made.to(dtype)
    else:
        made.save_pretrained(tmp_path)
        low = SeqVAEModel.from_pretrained(tmp_path, dtype=dtype).eval()
    assert {parameter.dtype for parameter in low.parameters()} == {dtype}
    assert torch.equal(low.encoder.posterior.batch_norm.running_var, kept)
    assert_close(low(**texts).kl.sum(dim=1), kl, rtol=0.3, atol=0.1)
