"""Features for the doctor's pictures: against operators applied by hand and the linear VAE."""

import pytest
import torch
from engine_standins import MemoryLoader, tiny_model

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.diagnosis import dispersion_by_pooling, signal_to_noise
from hf_seqvae.diagnosis.features import PARAMETER_FREE
from hf_seqvae.metrics import mean_pairwise_cosine, relative_variance, total_variance
from hf_seqvae.oracles import linear_vae_optimum


def features_by_hand(states, real):
    """Every operator, a sentence at a time without padding."""
    rows = [row[keep.bool()] for row, keep in zip(states, real, strict=True)]
    largest = [row.abs().argmax(0) for row in rows]
    return {
        "last": torch.stack([row[-1] for row in rows]),
        "first": torch.stack([row[0] for row in rows]),
        "mean": torch.stack([row.mean(0) for row in rows]),
        "max": torch.stack([row.amax(0) for row in rows]),
        "abs_max": torch.stack(
            [row[place, torch.arange(len(place))] for row, place in zip(rows, largest, strict=True)]
        ),
        "mean_max": torch.stack([torch.cat([row.mean(0), row.amax(0)]) for row in rows]),
    }


def test_each_operator_pools_the_same_states_and_the_three_statistics_are_theirs():
    model = tiny_model().eval()
    batch = next(iter(MemoryLoader(8, 8, shuffle=False)))
    found = dispersion_by_pooling(model, [batch])
    with torch.no_grad():
        states = model.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    expected = features_by_hand(states, batch["attention_mask"])
    assert set(found) == set(expected) == set(PARAMETER_FREE)
    for name, features in expected.items():
        assert found[name]["variance"] == pytest.approx(float(total_variance(features)), rel=1e-5)
        assert found[name]["relative_variance"] == pytest.approx(
            float(relative_variance(features)), rel=1e-5, abs=1e-9
        )
        assert found[name]["mean_cosine"] == pytest.approx(
            float(mean_pairwise_cosine(features)), rel=1e-5
        )


def test_batches_and_the_mode_of_the_model_change_nothing():
    model = tiny_model(dropout=0.5).train()
    whole = dispersion_by_pooling(model, MemoryLoader(12, 12, shuffle=False))
    parts = dispersion_by_pooling(model, MemoryLoader(12, 5, shuffle=False))
    assert model.training
    for name, values in whole.items():
        assert parts[name] == pytest.approx(values, rel=1e-4, abs=1e-6)


def test_the_pooling_a_model_has_shows_what_its_own_pooled_features_show():
    model = tiny_model(pooling="abs_max").eval()
    batch = next(iter(MemoryLoader(8, 8, shuffle=False)))
    with torch.no_grad():
        pooled = model.encoder(batch["input_ids"], batch["attention_mask"]).pooled
    found = dispersion_by_pooling(model, [batch])["abs_max"]
    assert found["variance"] == pytest.approx(float(total_variance(pooled)), rel=1e-5)


def test_special_tokens_that_do_not_count_in_the_model_do_not_count_here():
    batch = next(iter(MemoryLoader(8, 8, shuffle=False)))
    counted = dispersion_by_pooling(tiny_model(), [batch])
    left_out = dispersion_by_pooling(tiny_model(pool_special_tokens=False), [batch])
    assert counted["first"]["variance"] == pytest.approx(0.0, abs=1e-12)  # the start symbol
    assert left_out["first"]["variance"] > 1e-4


def test_signal_to_noise_of_the_optimal_linear_vae_is_eigenvalue_over_water_level():
    eigenvalues = torch.tensor([4.0, 2.0, 1.0, 0.3], dtype=torch.float64)
    optimum = linear_vae_optimum(torch.diag(eigenvalues), 4, sigma2=1.0, kl_weight=0.5)
    # data whose covariance is exactly that: two points along each axis
    points = torch.cat(
        [torch.diag((4 * eigenvalues).sqrt()), -torch.diag((4 * eigenvalues).sqrt())]
    )
    mean = points @ optimum.encoder_weights.T
    logvar = optimum.posterior_variance.log().expand(len(mean), -1)
    expected = [8.0, 4.0, 2.0, 1.0]  # over the level 0.5, or 1 under water
    assert signal_to_noise(mean, logvar).tolist() == pytest.approx(expected, rel=1e-9)


def test_signal_to_noise_of_one_sentence_is_refused():
    with pytest.raises(ValueError, match="needs 2 or more, got 1"):
        signal_to_noise(torch.zeros(1, 3), torch.zeros(1, 3))


def test_last_of_an_encoder_read_both_ways_is_where_each_direction_has_read_all():
    model = tiny_model(pooling="last").eval()
    lstm = {**model.config.encoder.to_dict(), "bidirectional": True}
    model = SeqVAEModel(
        SeqVAEConfig(encoder=lstm, decoder=model.config.decoder, pooling="last")
    ).eval()
    batch = next(iter(MemoryLoader(8, 8, shuffle=False)))
    with torch.no_grad():
        pooled = model.encoder(batch["input_ids"], batch["attention_mask"]).pooled
    found = dispersion_by_pooling(model, [batch])["last"]
    assert found["variance"] == pytest.approx(float(total_variance(pooled)), rel=1e-5)
