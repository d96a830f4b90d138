"""What the same sentences would read under the definitions of the literature, for comparison.

He et al., arXiv 1901.05534: MI within batches of at most 32 sentences of equal length; Li et al.,
arXiv 1909.00868: MI over the whole set; both with E log q(z|x) in closed form and perplexity per
word and EOS of the importance-weighted NLL. Li et al. (Optimus), arXiv 2004.04092: perplexity per
token of the decoder's tokenizer. Definitions as read in the authors' code; the estimators of this
library stand beside them in the same report.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hf_seqvae.evaluation.figures import mean_figure, perplexity_figure
from hf_seqvae.evaluation.report import Figure
from hf_seqvae.metrics import pointwise_closed_form_information, row_noise
from hf_seqvae.model.posterior import DiagonalGaussian

_BATCH = 32


def literature_figures(
    columns: Mapping[str, Tensor],
    lengths: Tensor,
    words: Tensor | None,
    iw_samples: int | None,
    *,
    seed: int,
) -> dict[str, Figure]:
    """Figures by the literature's definitions, named after where they come from.

    Args:
        columns: posterior_mean, posterior_logvar (N, Z), negative_elbo (N,); iw_nll (N,) if known.
        lengths: predicted tokens a sentence, (N,).
        words: words a sentence, (N,), or None.
        iw_samples: K, or None.
        seed: of the one posterior sample a sentence that these estimators take.
    """
    mean, logvar = columns["posterior_mean"], columns["posterior_logvar"]
    count, latent_size = mean.shape
    figures: dict[str, Figure] = {}
    if count > 1:
        noise = row_noise(range(count), 1, latent_size, seed=seed)
        latents = DiagonalGaussian(mean, logvar)
        z = latents.mean + torch.exp(0.5 * latents.logvar) * noise[0]
        batches = same_length_batches(lengths)
        cap = sum(len(rows) * math.log(len(rows)) for rows in batches) / count
        figures["he_mutual_information"] = mean_figure(
            pointwise_closed_form_information(mean, logvar, z, batches=batches),
            f"MI as He et al. 2019 compute it: within {len(batches)} batches of at most {_BATCH} "
            "sentences of equal length, weighted by size, its first term in closed form, so that "
            "noise may take it below 0 and above its cap; one sample, nats",
            cap=cap,
        )
        figures["li_mutual_information"] = mean_figure(
            pointwise_closed_form_information(mean, logvar, z),
            "MI as Li et al. 2019 and Optimus compute it: aggregate over the whole set, its first "
            "term in closed form, so that noise may take it below 0 and above its cap; nats",
            cap=math.log(count),
        )
    bound = columns["iw_nll"] if iw_samples is not None else columns["negative_elbo"]
    what = f"IW-NLL of {iw_samples} samples" if iw_samples is not None else "-ELBO"
    if words is not None:
        figures["he_perplexity"] = perplexity_figure(
            bound,
            words + 1,
            f"PPL as He et al. and Li et al. 2019: per word and EOS, of the {what} (they take 500)",
        )
    figures["optimus_perplexity"] = perplexity_figure(
        bound,
        lengths,
        f"PPL as Optimus: per token of the decoder's tokenizer, of the {what} (they take 100)",
    )
    return figures


def same_length_batches(lengths: Tensor, *, batch_size: int = _BATCH) -> list[Tensor]:
    """Rows (n,) of at most `batch_size` sentences of one length each, in the data set's order."""
    batches: list[Tensor] = []
    for length in lengths.unique().tolist():
        batches += (lengths == length).nonzero().squeeze(1).split(batch_size)
    return batches
