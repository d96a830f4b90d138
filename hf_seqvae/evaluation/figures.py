"""From values per sentence to figures: each with its definition, standard error and cap."""

import math
from collections.abc import Mapping

from torch import Tensor

from hf_seqvae.evaluation.report import Figure
from hf_seqvae.metrics import (
    active_units,
    collapse_curve,
    first_words_ratio,
    kl_per_dimension,
    mean_and_standard_error,
    minibatch_cap,
    perplexity_and_standard_error,
    position_profile,
    used_fraction,
)
from hf_seqvae.model.posterior import kl_to_standard_normal

ACTIVE = 0.01  # the literature's threshold on the variance of a posterior mean
MINIBATCH = 32  # He et al., arXiv 1901.05534
# thresholds in nats of the collapse curve, and the share of sentences that may exceed them
EPSILONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
DELTA = 0.01
ONE_SENTENCE = "one sentence: there is no other to compare it with"

Columns = Mapping[str, Tensor]


def mean_figure(values: Tensor, definition: str, *, cap: float | None = None) -> Figure:
    """The mean over sentences (N,) with its standard error."""
    mean, error = mean_and_standard_error(values)
    return Figure(float(mean), definition, None if error is None else float(error), cap)


def samples_in_words(num_samples: int) -> str:
    """1 posterior sample, 2 posterior samples, ..."""
    return "1 posterior sample" if num_samples == 1 else f"{num_samples} posterior samples"


def likelihood_figures(
    columns: Columns, lengths: Tensor, words: Tensor | None, num_samples: int, iw: int | None
) -> dict[str, Figure]:
    """Bound, its terms, the importance-weighted estimate and the perplexities.

    Args:
        columns: negative_elbo, reconstruction_nll, kl (N,), posterior_mean, posterior_logvar
            (N, Z); iw_nll, effective_sample_size (N,) where `iw` samples were weighted; exact_nll
            (N,) where it is known.
        lengths: predicted tokens a sentence, EOS included, (N,).
        words: words a sentence, without EOS, (N,), or None where nobody counted them.
        num_samples: posterior samples a sentence.
        iw: K, or None.
    """
    samples = samples_in_words(num_samples)
    bound = columns["negative_elbo"]
    figures = {
        "elbo": mean_figure(-bound, f"nats a sentence, {samples}, beta 1"),
        "negative_elbo": mean_figure(
            bound, f"upper bound on -log p(x), nats a sentence, {samples}, beta 1"
        ),
    }
    figures |= _importance(columns, iw)
    figures |= floor_figures(columns)
    mean, logvar = columns["posterior_mean"], columns["posterior_logvar"]
    kl = kl_to_standard_normal(mean.double(), logvar.double())
    _, kl_errors = mean_and_standard_error(kl)
    figures |= {
        "reconstruction_nll": mean_figure(
            columns["reconstruction_nll"],
            f"-log p(x|z), nats a sentence, EOS included, {samples}",
        ),
        "kl": mean_figure(
            columns["kl"], "KL(q(z|x) || p(z)), nats a sentence, closed form, no free bits"
        ),
        "kl_per_dimension": Figure(
            kl_per_dimension(mean, logvar).tolist(),
            "KL(q(z_j|x) || p(z_j)) of each latent dimension, nats a sentence, closed form",
            None if kl_errors is None else kl_errors.tolist(),
        ),
    }
    figures |= perplexity_figures("_bound", bound, lengths, words, "negative_elbo, upper bound")
    if iw is not None:
        what = f"iw_nll of {iw} samples, upper bound"
        figures |= perplexity_figures("", columns["iw_nll"], lengths, words, what)
    return figures


def perplexity_figures(
    suffix: str, nll: Tensor, lengths: Tensor, words: Tensor | None, what: str
) -> dict[str, Figure]:
    """Perplexity by word and by token of nats a sentence (N,), each named by its denominator."""
    per_word = f"exp(sum of nats / (words + one EOS a sentence)), of {what}"
    per_token = f"exp(sum of nats / tokens of this tokenizer, EOS included), of {what}"
    if words is None:
        by_word = Figure(None, per_word, reason="the data set has no column num_words")
    else:
        by_word = perplexity_figure(nll, words + 1, per_word)
    return {
        f"word_perplexity{suffix}": by_word,
        f"token_perplexity{suffix}": perplexity_figure(nll, lengths, per_token),
    }


def perplexity_figure(nll: Tensor, counts: Tensor, definition: str) -> Figure:
    """exp(sum of nats / sum of counts), undefined where no float holds it."""
    value, error = perplexity_and_standard_error(nll, counts)
    if math.isinf(value):
        return Figure(None, definition, reason="greater than the largest float")
    return Figure(value, definition, error)


def usage_figures(columns: Columns, lengths: Tensor, num_samples: int) -> dict[str, Figure]:
    """What the latents carry, and what the decoder makes of it.

    Args:
        columns: as of `likelihood_figures`, with zero_gap (N,); exchanged_nll, swap_gap,
            mutual_information, minibatch_mutual_information (N,) where N > 1; saved_tokens,
            saved_words (N, L), saved_length (N,) where the model tells positions.
        lengths: predicted tokens a sentence, (N,).
        num_samples: posterior samples a sentence.
    """
    mean, logvar = columns["posterior_mean"], columns["posterior_logvar"]
    count, latent_size = mean.shape
    samples = samples_in_words(num_samples)
    kl = kl_to_standard_normal(mean.double(), logvar.double())
    figures = {
        "collapse_curve": Figure(
            collapse_curve(kl, EPSILONS, delta=DELTA).tolist(),
            f"share of {latent_size} dimensions whose KL is below {list(EPSILONS)} nats on at "
            f"least {1 - DELTA:.0%} of the sentences",
        ),
        "zero_latent_nll": mean_figure(
            columns["zero_nll"], "-log p(x|z) at z = 0, the mean of the prior, nats a sentence"
        ),
        "zero_gap": mean_figure(
            columns["zero_gap"], f"nats a sentence lost at z = 0 against its own z, {samples}"
        ),
    }
    information = f"I(x; z) under q, nats, aggregate over all {count} sentences, {samples}"
    minibatch = f"I(x; z) within batches of {MINIBATCH} sentences, nats, {samples}"
    used = "min(1, mutual_information / kl): the share of the rate that tells sentences apart"
    units = f"dimensions of {latent_size} whose posterior mean has variance >= {ACTIVE}"
    exchange = (
        f"nats a sentence lost at the latents of another of the {count} sentences, {samples}; the "
        "standard error takes sentences for independent, though each lends its latents to one other"
    )
    foreign = f"-log p(x|z) at the latents of another sentence, nats a sentence, {samples}"
    if count == 1:
        caps = {"mutual_information": 0.0, "minibatch_mutual_information": 0.0}
        caps["active_units"] = float(latent_size)
        texts = {
            "mutual_information": information,
            "minibatch_mutual_information": minibatch,
            "used_fraction": used,
            "active_units": units,
            "exchanged_nll": foreign,
            "swap_gap": exchange,
        }
        return figures | {
            name: Figure(None, text, cap=caps.get(name), reason=ONE_SENTENCE)
            for name, text in texts.items()
        }
    figures |= {
        "mutual_information": mean_figure(
            columns["mutual_information"], information, cap=math.log(count)
        ),
        "minibatch_mutual_information": mean_figure(
            columns["minibatch_mutual_information"],
            minibatch,
            cap=minibatch_cap(count, MINIBATCH),
        ),
    }
    rate = float(columns["kl"].mean())
    share, reason = used_fraction(float(columns["mutual_information"].mean()), rate, count)
    figures |= {
        "used_fraction": Figure(share, used, cap=1.0, reason=reason),
        "active_units": Figure(active_units(mean, threshold=ACTIVE), units, cap=latent_size),
        "exchanged_nll": mean_figure(columns["exchanged_nll"], foreign),
        "swap_gap": mean_figure(columns["swap_gap"], exchange),
    }
    if "saved_tokens" in columns:
        figures |= _profile(columns, lengths)
    return figures


def _importance(columns: Columns, iw: int | None) -> dict[str, Figure]:
    if iw is None:
        return {}
    return {
        "iw_nll": mean_figure(
            columns["iw_nll"],
            f"-log of the mean of {iw} importance weights p(x, z) / q(z|x), nats a sentence; in "
            f"expectation an upper bound on -log p(x) that falls with K = {iw}",
        ),
        "iw_effective_sample_size": mean_figure(
            columns["effective_sample_size"],
            f"(sum w)^2 / sum w^2 of the {iw} importance weights of a sentence; near 1 a single "
            "sample decides and the estimate is loose",
            cap=float(iw),
        ),
    }


def floor_figures(columns: Columns) -> dict[str, Figure]:
    """What is above the exact -log p(x) of the source of the text; none where that is not known."""
    if "exact_nll" not in columns:
        return {}
    exact = columns["exact_nll"]
    known = {
        "bound_gap": ("negative_elbo", "negative_elbo"),
        "iw_gap": ("iw_nll", "iw_nll"),
        "model_gap": ("nll", "exact_model_nll"),
    }
    gaps = {name: pair for name, pair in known.items() if pair[0] in columns}
    return {
        "exact_nll": mean_figure(
            exact, "exact -log p(x) under the source of the text, nats a sentence"
        ),
        **{
            name: mean_figure(
                columns[column] - exact,
                f"{what} less exact_nll, sentence by sentence, nats; "
                "no model and no bound is below -3 standard errors",
            )
            for name, (column, what) in gaps.items()
        },
    }


def _profile(columns: Columns, lengths: Tensor) -> dict[str, Figure]:
    """What z saves at each place, and in the length."""
    profile = position_profile(columns["saved_tokens"], lengths)
    ratio, error = first_words_ratio(columns["saved_tokens"], lengths)
    saved, doubt = mean_and_standard_error(columns["saved_tokens"].double().sum(1) / lengths)
    if doubt is None or float(saved) < 2 * float(doubt):  # a quotient of two noises
        ratio = error = None
    return {
        "position_savings": Figure(
            profile.mean.tolist(),
            "nats that a sentence's own z saves against another's at each token, EOS included, "
            "over the sentences that reach so far",
            [None if math.isnan(error) else error for error in profile.standard_error.tolist()],
        ),
        "length_saving": mean_figure(
            columns["saved_length"],
            "the part of swap_gap that lies in where the text ends, nats a sentence",
        ),
        "first_words_ratio": Figure(
            ratio,
            "nats a token that z saves in the first quarter of a sentence, over those in all of "
            "it: 1 where all words profit alike, 4 where the first quarter alone does",
            error,
            reason=None if ratio is not None else "z saves less than two standard errors",
        ),
    }
