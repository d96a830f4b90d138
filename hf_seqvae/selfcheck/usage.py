"""Checks of what is said about the latents: KL, information, active units, swaps, collapse."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hf_seqvae.metrics import (
    active_units,
    closed_form_mutual_information,
    collapse_curve,
    exchange_partners,
    first_words_ratio,
    kl_per_dimension,
    minibatch_mutual_information,
    mutual_information,
    pointwise_mutual_information,
    position_profile,
    reconstruction_nll,
    row_noise,
    sample_with_noise,
    savings,
    swap_gap,
    used_fraction,
)
from hf_seqvae.model.posterior import DiagonalGaussian, kl_to_standard_normal
from hf_seqvae.oracles import SENTENCES, two_word_batch
from hf_seqvae.selfcheck import gaussian
from hf_seqvae.selfcheck.comparison import Comparison, average, ranged, same, sampled
from hf_seqvae.selfcheck.likelihood import NUM_SAMPLES, each_and_all, mean_error, two_words

ALL = range(len(SENTENCES))
NEXT = [*ALL[1:], 0]  # whose latents each sentence is decoded from
NUM_INFORMED = 4096  # vectors of the aggregated posterior
NUM_MIXED = 2000  # samples of each sentence under an aggregated posterior


def _two_word_latents() -> tuple[DiagonalGaussian, Tensor]:
    """The posteriors of the seven sentences and samples of them, (S, 7, 1)."""
    posterior = two_words()[0].posterior(two_word_batch())
    noise = row_noise(ALL, NUM_SAMPLES, 1, seed=5)
    return posterior, sample_with_noise(posterior, noise)


def kl(full: bool) -> Iterator[Comparison]:
    """KL by dimension against the rates of the optimum, and by quadrature."""
    for beta in (1.0, 2.0):
        best = gaussian.optimum(kl_weight=beta)
        model = gaussian.best_model(kl_weight=beta)
        q = model.posterior(gaussian.batch_of(gaussian.design()))
        found = kl_per_dimension(q.mean, q.logvar)
        worst = int((found - best.rates).abs().argmax())
        for what, estimate, exact in (
            ("total", found.sum(), best.rate),
            ("worst dimension", found[worst], best.rates[worst]),
        ):
            quantity = f"KL at beta {beta:g}, {what}"
            yield same(quantity, estimate, exact, tolerance=1e-8)
    posterior, _ = _two_word_latents()
    exact = two_words()[1].kl()
    for n in (0, 6):
        quantity = f"KL of two-word sentence {n + 1}"
        yield same(quantity, posterior.kl()[n].sum(), exact[n], tolerance=1e-9)
    nearly = kl_to_standard_normal(torch.zeros(1), torch.full((1,), 1e-4))
    expected = 0.25 * 1e-8 * (1 + 1e-4 / 3)  # the series of (exp l - 1 - l) / 2
    yield ranged(
        "KL, nearly collapsed, float32",
        nearly,
        expected,
        low=0.99 * expected,
        high=1.01 * expected,
        rule="within 1 %",
    )


def information(full: bool) -> Iterator[Comparison]:
    """Mutual information by the whole aggregate: quadrature, a Gaussian, the cap, collapse."""
    posterior, latents = _two_word_latents()
    _, exact = two_words()
    ratio = exact.log_density_ratio(ALL)
    yield sampled(
        "MI, two-word sentences",
        mutual_information(posterior.mean, posterior.logvar, latents[:NUM_MIXED]),
        exact.mutual_information(ALL),
        mean_error(exact.variance(ratio), NUM_MIXED),
    )
    best, count = gaussian.optimum(), NUM_INFORMED
    q = gaussian.best_model().posterior(gaussian.batch_of(gaussian.vectors(count)))
    noise = row_noise(range(count), 1, gaussian.LATENT_SIZE, seed=6)
    found = pointwise_mutual_information(q.mean, q.logvar, sample_with_noise(q, noise))
    mean, error = average(found)
    yield ranged(
        f"MI, linear VAE, {count} vectors",
        mean,
        best.rate,
        low=0.95 * best.rate,
        high=best.rate + 3 * error,
        rule="-5 % to + 3 s.e.",
    )
    mean, logvar, latents = _far_apart()
    yield same(
        "MI, 64 far apart: ln 64",
        mutual_information(mean, logvar, latents),
        math.log(64),
        tolerance=1e-9,
    )
    nothing = torch.zeros(64, 2)
    yield same(
        "MI, 64 equal posteriors",
        mutual_information(nothing, nothing, latents[:, :1].expand(64, 2)),
        0.0,
        tolerance=1e-9,
    )


def minibatch_information(full: bool) -> Iterator[Comparison]:
    """Mutual information within batches, and as the literature computes it."""
    posterior, latents = _two_word_latents()
    _, exact = two_words()
    six = slice(0, 6)  # three batches of two
    found = minibatch_mutual_information(
        posterior.mean[six], posterior.logvar[six], latents[:NUM_MIXED, six], batch_size=2
    )
    pairs = [(0, 1), (2, 3), (4, 5)]
    expected = [exact.mutual_information(pair) for pair in pairs]
    variances = torch.cat(
        [exact.variance(exact.log_density_ratio(pair))[list(pair)] for pair in pairs]
    )
    yield sampled(
        "MI within batches of 2",
        found.mean(),
        sum(expected) / len(expected),
        mean_error(variances, NUM_MIXED),
    )
    mean, logvar, far = _far_apart()
    yield same(
        "MI within batches of 32: ln 32",
        minibatch_mutual_information(mean, logvar, far, batch_size=32).mean(),
        math.log(32),
        tolerance=1e-9,
    )
    found = torch.tensor(
        [
            closed_form_mutual_information(posterior.mean, posterior.logvar, sample)
            for sample in latents[:300]
        ]
    )
    mean, error = average(found)
    yield sampled(
        "MI, first term in closed form",
        mean,
        exact.mutual_information(ALL),
        error,
    )


def units(full: bool) -> Iterator[Comparison]:
    """Active units against #{lambda > beta sigma2 / 0.99}; and the variance is unbiased."""
    for (sigma2, beta), expected in gaussian.CASES.items():
        model = gaussian.best_model(sigma2, beta)
        q = model.posterior(gaussian.batch_of(gaussian.design()))
        quantity = f"sigma2 {sigma2:g}, beta {beta:g}"
        yield same(quantity, active_units(q.mean), expected)
    q = gaussian.best_model().posterior(gaussian.batch_of(gaussian.vectors(NUM_INFORMED)))
    quantity = f"by {NUM_INFORMED} vectors"
    yield same(quantity, active_units(q.mean), gaussian.optimum().active_units)
    # two means at +-a have the unbiased variance 2 a^2 and the biased one a^2
    for square, expected in ((0.0049, 0), (0.0051, 1)):
        pair = torch.tensor([[1.0], [-1.0]], dtype=torch.float64) * math.sqrt(square)
        quantity = f"two means of variance {2 * square:g}"
        yield same(quantity, active_units(pair), expected)


def used(full: bool) -> Iterator[Comparison]:
    """The share of the rate that tells sentences apart."""
    _, exact = two_words()
    posterior, latents = _two_word_latents()
    found, _ = used_fraction(
        float(mutual_information(posterior.mean, posterior.logvar, latents[:NUM_MIXED])),
        float(posterior.kl().sum(1).mean()),
        len(SENTENCES),
    )
    rate = float(exact.kl().mean())
    yield sampled(
        "MI / KL, two-word sentences",
        math.nan if found is None else found,
        exact.mutual_information(ALL) / rate,
        mean_error(exact.variance(exact.log_density_ratio(ALL)), NUM_MIXED) / rate,
    )
    refused = [used_fraction(*values)[0] for values in ((0.01, 0.04, 100), (3.7, 9.0, 100))]
    quantity = "refused: KL < 0.05; MI > ln N - 1"
    yield same(quantity, sum(value is None for value in refused), 2)


def swaps(full: bool) -> Iterator[Comparison]:
    """What a foreign latent costs; and that it is foreign."""
    model, exact = two_words()
    _, latents = _two_word_latents()
    batch = two_word_batch()
    own = reconstruction_nll(model, batch, latents)
    gap = swap_gap(model, batch, exchanged=latents[:, NEXT], own_nll=own)
    variance = exact.cross_variance(exact.log_likelihood)
    variance = variance[ALL, ALL] + variance[ALL, NEXT]  # (N,)
    yield from each_and_all("two-word sentences", gap, exact.swap_gap(NEXT), variance)

    # a foreign z is N(0, I) in the used dimensions: E||x - mu - Wz||^2 = tr cov + ||W||^2
    model, best, count = gaussian.best_model(), gaussian.optimum(), NUM_INFORMED
    batch = gaussian.batch_of(gaussian.vectors(count))
    noise = row_noise(range(count), 1, gaussian.LATENT_SIZE, seed=7)
    latents = sample_with_noise(model.posterior(batch), noise)
    partners = exchange_partners(count, seed=0)
    own = reconstruction_nll(model, batch, latents)
    gap = swap_gap(model, batch, exchanged=latents[:, partners], own_nll=own)
    foreign = sum(gaussian.EIGENVALUES) + float(best.decoder_weights.square().sum())
    # what reconstruction leaves of each direction: the water level, or all of it
    left = sum(min(best.water_level, value) for value in gaussian.EIGENVALUES)
    mean, error = average(gap)
    expected = 0.5 * (foreign - left) / best.sigma2
    yield sampled("linear VAE", mean, expected, error)
    yield same("partners that are oneself", (partners == torch.arange(count)).sum(), 0)
    yield same(f"different partners of {count}", len(partners.unique()), count)


def positions(full: bool) -> Iterator[Comparison]:
    """What z saves at each token and in the length, by quadrature."""
    model, exact = two_words()
    _, latents = _two_word_latents()
    batch = two_word_batch()
    found = savings(
        model.position_log_likelihood(batch, latents),
        model.position_log_likelihood(batch, latents[:, NEXT]),
        batch["labels"],
    )
    lengths = torch.tensor([len(words) + 1 for words in SENTENCES])
    expected = exact.saved(exact.token_log_prob, NEXT)  # (N, 3)
    profile = position_profile(found.tokens, lengths)
    variance = exact.cross_variance(exact.token_log_prob)
    variance = variance[ALL, ALL] + variance[ALL, NEXT]  # (N, 3)
    for place in range(expected.shape[1]):
        reached = lengths > place
        yield sampled(
            f"saved at token {place + 1}",
            profile.mean[place],
            expected[reached, place].mean(),
            mean_error(variance[reached, place]),
        )
    decided = exact.cross_variance(exact.length_log_prob.sum(1))
    yield sampled(
        "saved in the length",
        found.length.mean(),
        exact.saved(exact.length_log_prob, NEXT).sum(1).mean(),
        mean_error(decided[ALL, ALL] + decided[ALL, NEXT]),
    )
    ratio, _ = first_words_ratio(found.tokens, lengths)
    every = (expected.sum(1) / lengths).mean()
    # a quarter of up to three tokens is the first one
    error = mean_error(variance[:, 0]) / float(every) * 2
    yield sampled(
        "first quarter / all, per token",
        math.nan if ratio is None else ratio,
        expected[:, 0].mean() / every,
        error,
    )


def collapse(full: bool) -> Iterator[Comparison]:
    """The (epsilon, delta)-collapse curve: KL of a Gaussian x is a chi-square variable."""
    best = gaussian.optimum()
    q = gaussian.best_model().posterior(gaussian.batch_of(gaussian.vectors(NUM_INFORMED)))
    epsilons, delta = (0.05, 0.3, 0.7, 1.2), 0.3
    curve = collapse_curve(q.kl(), epsilons, delta=delta)
    v = best.posterior_variance
    for epsilon, found in zip(epsilons, curve, strict=True):
        # KL = (m^2 + v - 1 - ln v) / 2 with m ~ N(0, 1 - v)
        bound = (2 * epsilon - (v - 1 - v.log())) / (1 - v).clamp(min=1e-12)
        below = torch.erf((bound.clamp(min=0.0) / 2).sqrt())  # P(chi-square < bound)
        exact = (below >= 1 - delta).double().mean()
        yield same(f"share at epsilon {epsilon:g}", found, exact)


def _far_apart() -> tuple[Tensor, Tensor, Tensor]:
    """Means, log variances and a sample of 64 posteriors that do not overlap."""
    mean = torch.stack([100.0 * torch.arange(64), torch.zeros(64)], dim=1)
    noise = row_noise(range(64), 1, 2, seed=8)[0]
    return mean, torch.zeros(64, 2), mean + noise
