"""Checks of what is said about log p(x): scores, bound, importance weighting, perplexity."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hf_seqvae import everyday
from hf_seqvae.metrics import (
    exact_nll,
    importance_estimate,
    iw_nll,
    perplexity_and_standard_error,
    row_noise,
    sampled_elbo_terms,
    token_perplexity,
    word_perplexity,
)
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.oracles import (
    SENTENCES,
    Enumeration,
    GrammarModel,
    enumerate_sentences,
    ppca_log_likelihood,
    two_word_batch,
    two_word_model,
)
from hf_seqvae.selfcheck import gaussian
from hf_seqvae.selfcheck.comparison import Comparison, average, ranged, same, sampled

# a posterior this much too wide is 1.14 nats from the true one, whatever x is
WIDENED = 1.75
NUM_VECTORS, BATCH, CHUNK = 20_000, 1000, 50
COUNTS = (1, 10, 100, 1000)  # K
NUM_SAMPLES = 5000  # posterior samples of each of the seven sentences


def two_words() -> tuple[SeqVAEModel, Enumeration]:
    """The two-word model and its exact densities."""
    model = two_word_model()
    return model, enumerate_sentences(model)


def scoring(full: bool) -> Iterator[Comparison]:
    """A batch of padded sentences is scored as its words one by one."""
    model, exact = two_words()
    places = torch.arange(0, len(exact.log_prior), 100)
    latents = exact.grid[places][:, None, None].expand(-1, len(SENTENCES), 1)
    batch = two_word_batch()
    expected = exact.log_likelihood[:, places].T  # (S, 7)
    yield _largest("log p(x|z) of padded sentences", model.log_likelihood(batch, latents), expected)
    tokens, ends = model.position_log_likelihood(batch, latents)
    yield _largest(
        "log p of each of their tokens", tokens, exact.token_log_prob[..., places].permute(2, 0, 1)
    )
    yield _largest(
        "log p(end) at each token", ends, exact.end_log_prob[..., places].permute(2, 0, 1)
    )
    own = torch.arange(len(SENTENCES))
    nodes = 1000 + 60 * own
    output = model(latents=exact.grid[nodes][:, None], labels=batch["labels"])
    yield _largest(
        "reconstruction_nll of the output",
        output.reconstruction_nll,
        -exact.log_likelihood[own, nodes],
    )
    yield same("tokens counted, ends included", output.num_tokens.sum(), 17)


def elbo(full: bool) -> Iterator[Comparison]:
    """The sampled bound against closed form and quadrature."""
    rows, samples = 1000, 64
    model = gaussian.best_model(widened=WIDENED)
    batch = gaussian.batch_of(gaussian.vectors(rows))
    noise = row_noise(range(rows), samples, gaussian.LATENT_SIZE, seed=0)
    nll, kl = sampled_elbo_terms(model, batch, noise=noise)
    closed = model.expected_reconstruction_nll(batch) + model.posterior(batch).kl().sum(1)
    # vectors are the same on both sides: the noise of sampling z alone is left
    _, error = average(nll + kl - closed)
    yield sampled("-ELBO, linear VAE", (nll + kl).mean(), closed.mean(), error)

    model, exact = two_words()
    noise = row_noise(range(len(SENTENCES)), NUM_SAMPLES, 1, seed=1)
    nll, kl = sampled_elbo_terms(model, two_word_batch(), noise=noise)
    variance = exact.variance(exact.log_likelihood)
    yield from each_and_all("-ELBO, two-word sentences", nll + kl, exact.negative_elbo(), variance)
    expected = exact.reconstruction_nll().mean()
    yield sampled("E -log p(x|z) of them", nll.mean(), expected, mean_error(variance))


def importance_gap(full: bool) -> Iterator[Comparison]:
    """IW-NLL with a wrong q, against the exact likelihood of 20,000 vectors."""
    model = gaussian.best_model(widened=WIDENED)
    rows = gaussian.vectors(NUM_VECTORS)
    log_prob = ppca_log_likelihood(rows, model.decoder.weight, gaussian.SIGMA2, model.mean)
    model = model.float()
    # of q = N(m, c v) from the true N(m, v), in each dimension: (c - 1 - ln c) / 2
    first_gap = 0.5 * gaussian.LATENT_SIZE * (WIDENED - 1 - math.log(WIDENED))
    before, most = math.inf, {100: 0.02, 1000: 0.003}
    for count in COUNTS:
        nll = torch.cat(
            [
                iw_nll(
                    model,
                    gaussian.batch_of(rows[start : start + BATCH].float()),
                    count,
                    CHUNK,
                    rows=range(start, start + BATCH),
                )
                for start in range(0, NUM_VECTORS, BATCH)
            ]
        )
        gap, error = average(nll + log_prob)
        exact = -log_prob.mean()
        if count == 1:
            yield sampled(
                f"IW-NLL, K=1, a gap of {first_gap:.2f}", nll.mean(), exact + first_gap, error
            )
        else:
            room = min(before, most.get(count, math.inf) + 3 * error)
            yield ranged(
                f"IW-NLL, K={count}",
                nll.mean(),
                exact,
                low=exact - 3 * error,
                high=exact + room,
                rule=f"-{3 * error:.1g} to +{room:.2g}",
            )
        before = float(gap)
        ratio, error = average(torch.exp(-log_prob - nll))
        yield sampled(f"estimated / exact p(x), K={count}", ratio, 1.0, error, sigmas=3)


def importance(full: bool) -> Iterator[Comparison]:
    """IW-NLL of sentences, whatever the chunk and the batch."""
    model, exact = two_words()
    batch, count = two_word_batch(), NUM_SAMPLES
    nll = iw_nll(model, batch, count, 2000, seed=2)
    variance = exact.importance_weight_variance() / count
    yield sampled(
        f"two-word sentences, K={count:,}",
        nll.mean(),
        -exact.log_prob().mean(),
        mean_error(variance * count, count),
        bias=0.5 * variance.mean(),
    )
    whole = iw_nll(model, batch, 50, seed=3)
    for chunk in (1, 7, 49):
        yield _largest(
            f"K=50 in chunks of {chunk}",
            iw_nll(model, batch, 50, chunk, seed=3),
            whole,
        )
    alone = [
        iw_nll(model, {name: value[[row]] for name, value in batch.items()}, 50, rows=[row], seed=3)
        for row in range(len(SENTENCES))
    ]
    yield _largest("K=50, sentence by sentence", torch.cat(alone), whole)


def effective_samples(full: bool) -> Iterator[Comparison]:
    """The share of samples that count, 1 / (1 + Var w) in the limit."""
    count, rows = 2000, 80
    model = gaussian.best_model(widened=WIDENED)
    batch = gaussian.batch_of(gaussian.vectors(rows))
    found = importance_estimate(model, batch, count, 100).effective_sample_size / count
    mean, error = average(found)
    # E_q w^2 of N(m, v) from N(m, c v), in each dimension: c / sqrt(2 c - 1)
    expected = (math.sqrt(2 * WIDENED - 1) / WIDENED) ** gaussian.LATENT_SIZE
    yield sampled("effective samples / K, linear VAE", mean, expected, error, bias=0.01 * expected)
    model, exact = two_words()
    found = importance_estimate(model, two_word_batch(), NUM_SAMPLES, seed=4).effective_sample_size
    variance = exact.importance_weight_variance()
    n = int(variance.argmin())
    yield ranged(
        "effective samples / K, two words",
        found[n] / NUM_SAMPLES,
        1 / (1 + variance[n]),
        low=0.98 / (1 + variance[n]),
        high=1.02 / (1 + variance[n]),
        rule="within 2 %",
    )
    batch = gaussian.batch_of(gaussian.vectors(20))
    found = importance_estimate(gaussian.best_model(), batch, 30).effective_sample_size
    yield same("effective of 30 at q = p(z|x)", found.min(), 30, tolerance=1e-6)


def perplexity(full: bool) -> Iterator[Comparison]:
    """Per word + end and per token: a geometric mean of probabilities that are known."""
    _, exact = two_words()
    nll = -exact.log_prob()
    words = torch.tensor([len(sentence) for sentence in SENTENCES])
    total = int(words.sum()) + len(SENTENCES)
    expected = math.prod(nll.neg().exp().tolist()) ** (-1 / total)
    yield same(
        "word PPL of seven sentences",
        word_perplexity(float(nll.sum()), total),
        expected,
        tolerance=1e-9,
    )
    yield same(
        "token PPL of seven sentences",
        token_perplexity(float(nll.sum()), total),
        expected,
        tolerance=1e-9,
    )
    generator = torch.Generator().manual_seed(0)
    draws = torch.multinomial(nll.neg().exp(), 400_000, True, generator=generator).view(400, 1000)
    found = [perplexity_and_standard_error(nll[row], words[row] + 1) for row in draws]
    values = torch.tensor([value for value, _ in found], dtype=torch.float64)
    claimed = sum(error or 0.0 for _, error in found) / len(found)
    spread = float(values.std())
    yield ranged(
        "standard error of a word PPL",
        claimed,
        spread,
        low=0.8 * spread,
        high=1.2 * spread,
        rule="within 20 %",
    )


def grammar(full: bool) -> Iterator[Comparison]:
    """The everyday grammar: the mean of exact scores is its entropy."""
    count = 20_000 if full else 4000
    texts, _ = everyday.generate(count, seed=0)
    nll = exact_nll(GrammarModel(), {"text": texts})  # pyright: ignore[reportArgumentType]
    mean, error = average(nll)
    yield sampled("-log p(x), everyday sentences", mean, everyday.entropy(), error)


def mean_error(variances: Tensor, num_samples: int = NUM_SAMPLES) -> float:
    """Standard error of the mean over sentences of means over samples; variances are (N,)."""
    return float((variances / num_samples).sum().sqrt()) / len(variances)


def each_and_all(
    quantity: str, found: Tensor, expected: Tensor, variances: Tensor
) -> Iterator[Comparison]:
    """The mean over sentences (N,), and the sentence that is farthest off for its noise."""
    yield sampled(quantity, found.mean(), expected.mean(), mean_error(variances))
    errors = (variances / NUM_SAMPLES).sqrt()
    n = int(((found - expected).abs() / errors).argmax())
    yield sampled(f"the worst of them, sentence {n + 1}", found[n], expected[n], errors[n])


def _largest(quantity: str, found: Tensor, expected: Tensor) -> Comparison:
    """The number that is farthest off, of many."""
    if found.shape != expected.shape:
        raise ValueError(f"{quantity}: {tuple(found.shape)} is not {tuple(expected.shape)}.")
    worst = (found - expected).abs().flatten().argmax()
    return same(quantity, found.flatten()[worst], expected.flatten()[worst], tolerance=1e-9)
