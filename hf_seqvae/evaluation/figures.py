"""From values per sentence to figures: each with its definition, standard error and cap."""

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from hf_seqvae.evaluation.report import Figure
from hf_seqvae.metrics import (
    active_units,
    kl_per_dimension,
    mean_and_standard_error,
    mean_pairwise_cosine,
    relative_variance,
    token_perplexity,
    total_variance,
    word_perplexity,
)

_ACTIVE = 0.01  # the literature's threshold on the variance of a posterior mean
_ONE_SENTENCE = "one sentence: there is no other to compare it with"


def all_figures(
    per_sentence: Mapping[str, Tensor],
    pooled: Tensor,
    lengths: Tensor,
    words: Tensor | None,
    num_samples: int,
) -> dict[str, Figure]:
    """Every figure of a report.

    Args:
        per_sentence: negative_elbo, reconstruction_nll, kl (N,), posterior_mean, posterior_logvar
            (N, Z); swap_gap and mutual_information (N,) where N > 1; exact_nll (N,) where known.
        pooled: encoder features after pooling, (N, H).
        lengths: predicted tokens a sentence, EOS included, (N,).
        words: words a sentence, without EOS, (N,), or None where nobody counted them.
        num_samples: posterior samples a sentence.
    """
    mean, logvar = per_sentence["posterior_mean"], per_sentence["posterior_logvar"]
    samples = "1 posterior sample" if num_samples == 1 else f"{num_samples} posterior samples"
    figures = {
        "elbo": _mean(-per_sentence["negative_elbo"], f"nats a sentence, {samples}, beta 1"),
        "negative_elbo": _mean(
            per_sentence["negative_elbo"],
            f"upper bound on -log p(x), nats a sentence, {samples}, beta 1",
        ),
    }
    figures |= _against_floor(per_sentence)
    figures |= {
        "reconstruction_nll": _mean(
            per_sentence["reconstruction_nll"],
            f"-log p(x|z), nats a sentence, EOS included, {samples}",
        ),
        "kl": _mean(
            per_sentence["kl"], "KL(q(z|x) || p(z)), nats a sentence, closed form, no free bits"
        ),
        "kl_per_dimension": Figure(
            kl_per_dimension(mean, logvar).tolist(),
            "KL(q(z_j|x) || p(z_j)) of each latent dimension, nats a sentence, closed form",
        ),
    }
    figures |= _latent_usage(per_sentence, samples)
    figures |= _perplexities(per_sentence["negative_elbo"], lengths, words)
    figures |= _dispersion("pooled", "pooled encoder features", pooled)
    figures |= _dispersion("posterior_mean", "posterior means", mean)
    return figures


def _mean(values: Tensor, definition: str, *, cap: float | None = None) -> Figure:
    mean, error = mean_and_standard_error(values)
    return Figure(float(mean), definition, None if error is None else float(error), cap)


def _against_floor(per_sentence: Mapping[str, Tensor]) -> dict[str, Figure]:
    if "exact_nll" not in per_sentence:
        return {}
    exact = per_sentence["exact_nll"]
    return {
        "exact_nll": _mean(exact, "exact -log p(x) under the source of the text, nats a sentence"),
        "bound_gap": _mean(
            per_sentence["negative_elbo"] - exact,
            "negative_elbo less exact_nll, sentence by sentence, nats; "
            "a bound is not below -3 standard errors",
        ),
    }


def _latent_usage(per_sentence: Mapping[str, Tensor], samples: str) -> dict[str, Figure]:
    mean = per_sentence["posterior_mean"]
    count, latent_size = mean.shape
    information = f"I(x; z) under q, nats, aggregate over all {count} sentences, {samples}"
    units = f"dimensions of {latent_size} whose posterior mean has variance >= {_ACTIVE}"
    exchange = f"nats a sentence lost at the latents of another of the {count} sentences, {samples}"
    if count == 1:
        return {
            "mutual_information": Figure(None, information, cap=0.0, reason=_ONE_SENTENCE),
            "active_units": Figure(None, units, cap=latent_size, reason=_ONE_SENTENCE),
            "swap_gap": Figure(None, exchange, reason=_ONE_SENTENCE),
        }
    return {
        "mutual_information": _mean(
            per_sentence["mutual_information"], information, cap=math.log(count)
        ),
        "active_units": Figure(active_units(mean, threshold=_ACTIVE), units, cap=latent_size),
        "swap_gap": _mean(per_sentence["swap_gap"], exchange),
    }


def _perplexities(
    negative_elbo: Tensor, lengths: Tensor, words: Tensor | None
) -> dict[str, Figure]:
    total = float(negative_elbo.double().sum())
    per_word = "exp(negative_elbo / (words + one EOS a sentence)), upper bound"
    per_token = "exp(negative_elbo / tokens), EOS included, upper bound, of this tokenizer's tokens"
    if words is None:
        word_figure = Figure(None, per_word, reason="the data set has no column num_words")
    else:
        word_figure = _perplexity(word_perplexity(total, int(words.sum()) + len(words)), per_word)
    return {
        "word_perplexity_bound": word_figure,
        "token_perplexity_bound": _perplexity(
            token_perplexity(total, int(lengths.sum())), per_token
        ),
    }


def _perplexity(value: float, definition: str) -> Figure:
    if math.isinf(value):
        return Figure(None, definition, reason="greater than the largest float")
    return Figure(value, definition)


def _dispersion(name: str, what: str, features: Tensor) -> dict[str, Figure]:
    zero = (features == 0).all(1)  # (N,)
    no_power = "every feature is zero" if zero.all() else None
    no_angle = "a feature is zero" if zero.any() else None

    def figure(measure: Callable[[Tensor], Tensor], definition: str, reason: str | None) -> Figure:
        reason = _ONE_SENTENCE if len(features) == 1 else reason
        if reason is not None:
            return Figure(None, definition, reason=reason)
        return Figure(float(measure(features)), definition)

    return {
        f"{name}_variance": figure(total_variance, f"tr Cov of the {what}, divided by N", None),
        f"{name}_relative_variance": figure(
            relative_variance, f"tr Cov / E||f||^2 of the {what}, 0 to 1", no_power
        ),
        f"{name}_mean_cosine": figure(
            mean_pairwise_cosine, f"mean cosine between the {what} of two sentences", no_angle
        ),
    }
