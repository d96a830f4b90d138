"""The committed rate: the cap's equation, KL >= delta at any parameters, and what it leaves."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import batch, model
from torch.testing import assert_close

from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.posterior_families import CommittedRatePosterior, log_variance_cap

NAME = "committed_rate_gaussian"


def rate_model(rate, **kwargs):
    return model(posterior=NAME, committed_rate=rate, **kwargs)


# the cap


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 0.0625, 0.25, 1.0, 5.0, 40.0])
def test_the_cap_is_where_the_kl_of_a_centred_gaussian_is_the_rate(rate):
    log_cap = log_variance_cap(rate)
    cap = math.exp(log_cap)
    assert 0.0 < cap < 1.0
    found = 0.5 * (math.expm1(log_cap) - log_cap)
    assert found == pytest.approx(rate, rel=1e-9, abs=1e-12)
    assert 0.5 * (cap - 1.0 - log_cap) == pytest.approx(rate, abs=1e-6)


def test_the_cap_at_a_rate_known_in_closed_form():
    # s = 1/e: 1/2 (1/e - 1 + 1) = 1 / (2 e)
    assert log_variance_cap(0.5 / math.e) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize("rate", [0.0, -1.0, 41.0, math.inf, math.nan])
def test_a_rate_that_float32_cannot_hold_has_no_cap(rate):
    with pytest.raises(ValueError, match=r"must be in \[1e-06, 40.0\] nats, got"):
        log_variance_cap(rate)


# the guarantee


def test_the_head_has_a_bias_free_map_and_no_other_parameter():
    head = CommittedRatePosterior(6, 4, committed_rate=1.0)
    assert [name for name, _ in head.named_parameters()] == ["projection.weight"]


@pytest.mark.parametrize("rate", [4e-6, 160.0])
def test_the_smallest_and_the_largest_rate_of_a_latent_size_are_taken(rate):
    assert rate_model(rate).config.latent_size == 4


@given(
    rate=st.floats(0.01, 100.0),
    latent_size=st.sampled_from([4, 16, 32]),
    scale=st.sampled_from([0.0, 1e-3, 1.0, 1e3]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 10),
)
def test_every_kl_is_at_least_the_rate_at_any_parameters(rate, latent_size, scale, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    head = CommittedRatePosterior(6, latent_size, committed_rate=rate)
    with torch.no_grad():
        head.projection.weight.copy_(scale * torch.randn(2 * latent_size, 6, generator=generator))
        head.projection.weight[: latent_size // 2] = 0.0  # no help from these means
        pooled = torch.randn(16, 6, generator=generator)
        kl = head.to(dtype)(pooled.to(dtype)).kl().sum(dim=1)
    assert kl.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert (kl >= rate * (1 - 1e-5) - 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_rate_is_met_by_centred_means_and_variances_at_their_cap(dtype):
    head = CommittedRatePosterior(1, 8, committed_rate=5.0)
    with torch.no_grad():
        head.projection.weight[:8], head.projection.weight[8:] = 0.0, -100.0
        kl = head.to(dtype)(torch.ones(1, 1, dtype=dtype)).kl().sum()
    assert kl.item() == pytest.approx(5.0, abs=1e-5)


def test_no_sentence_falls_below_the_rate_in_a_run_that_would_rather_collapse():
    made = rate_model(2.0, kl_weight=10.0).train()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    torch.manual_seed(0)
    lowest = []
    for step in range(80):
        optimizer.zero_grad()
        output = made(**batch(8, seed=step % 4))
        lowest.append(output.kl.sum(dim=1).min().item())
        output.loss.backward()
        optimizer.step()
    assert min(lowest) >= 2.0 - 1e-3
    assert min(lowest) < 2.5 < lowest[0]  # it did come down to the rate


def test_the_rate_holds_in_eval_and_for_a_model_loaded_in_bf16(tmp_path):
    made = rate_model(3.0)
    made.save_pretrained(tmp_path)
    for dtype in (torch.float32, torch.bfloat16):
        loaded = SeqVAEModel.from_pretrained(tmp_path, dtype=dtype)
        assert (loaded(**batch(8)).kl.sum(dim=1) >= 3.0 - 1e-3).all()
    assert_close(made(**batch(4)).kl, SeqVAEModel.from_pretrained(tmp_path)(**batch(4)).kl)


# what it leaves to learn


def data_of(eigenvalues):
    """Eight points whose second moments are exactly diag(eigenvalues), (8, 6)."""
    signs = torch.tensor([[(-1.0) ** (row >> bit & 1) for bit in range(3)] for row in range(8)])
    products = [signs[:, 0] * signs[:, 1], signs[:, 1] * signs[:, 2], signs.prod(dim=1)]
    return torch.cat([signs, torch.stack(products, dim=1)], dim=1).double() * eigenvalues.sqrt()


@pytest.mark.parametrize(
    ("cap", "beta", "survivors"), [(0.99, 1.0, 2), (0.5, 1.0, 4), (0.3, 1.0, 5), (0.5, 2.5, 2)]
)
def test_a_direction_of_a_linear_vae_survives_where_its_variance_exceeds_cap_beta_sigma2(
    cap, beta, survivors
):
    """lambda > s beta sigma^2, the threshold of a fixed variance s, since a collapsed dimension
    stands at its cap. Source: Wang and Ziyin, arXiv 2205.04009, Proposition 2.
    """
    sigma2 = 1.0
    eigenvalues = torch.tensor([3.0, 2.0, 0.9, 0.6, 0.4, 0.2], dtype=torch.float64)
    assert int((eigenvalues > cap * beta * sigma2).sum()) == survivors
    data = data_of(eigenvalues)
    assert_close(data.T @ data / 8, torch.diag(eigenvalues))
    rate = 6 * 0.5 * (cap - 1.0 - math.log(cap))
    head = CommittedRatePosterior(7, 6, committed_rate=rate).double()
    pooled = torch.cat([data, torch.ones(8, 1, dtype=torch.float64)], dim=1)  # raw may be constant
    generator = torch.Generator().manual_seed(0)
    decoder = torch.nn.Parameter(0.1 * torch.randn(6, 6, generator=generator, dtype=torch.float64))
    with torch.no_grad():
        head.projection.weight.copy_(0.1 * torch.randn(12, 7, generator=generator))
    parameters = [decoder, head.projection.weight]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=800,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
    )

    def loss():
        optimizer.zero_grad()
        q = head(pooled)
        error = (data - q.mean @ decoder).square().sum(dim=1)  # in expectation over z
        error = error + (q.logvar.exp() @ decoder.square()).sum(dim=1)
        value = (0.5 * error / sigma2 + beta * q.kl().sum(dim=1)).mean()
        value.backward()
        return value

    optimizer.step(loss)
    strengths = torch.linalg.svdvals(head.projection.weight[:6, :6].detach())
    assert int((strengths > 0.02).sum()) == survivors, strengths
