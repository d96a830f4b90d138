"""Reports built by hand for the tests of the doctor."""

import math

from hf_seqvae.evaluation import Figure, Report


def report(
    *,
    kl=4.8,
    mutual_information=4.2,
    swap_gap=11.3,
    swap_error=0.1,
    active_units=4,
    latent_size=4,
    num_sentences=2000,
    own=12.7,
    **more,
) -> Report:
    """A report as `evaluate` gives it, of a healthy model unless told otherwise."""
    figures = {
        "kl": Figure(kl, "nats", 0.01),
        "kl_per_dimension": Figure([kl / latent_size] * latent_size, "nats"),
        "mutual_information": Figure(mutual_information, "nats", 0.04, math.log(num_sentences)),
        "active_units": Figure(active_units, "units", cap=latent_size),
        "reconstruction_nll": Figure(own, "nats", 0.07),
        "exchanged_nll": Figure(own + swap_gap, "nats", 0.12),
        "zero_latent_nll": Figure(own + 5.0, "nats", 0.1),
        "swap_gap": Figure(swap_gap, "nats", swap_error),
        "zero_gap": Figure(5.0, "nats", 0.1),
    }
    for prefix, value in (("features", 0.3), ("pooled", 0.6), ("posterior_mean", 0.9)):
        figures[f"{prefix}_variance"] = Figure(10 * value, "")
        figures[f"{prefix}_relative_variance"] = Figure(value, "", 0.01)
        figures[f"{prefix}_mean_cosine"] = Figure(1 - value, "")
    figures |= more
    return Report(figures, num_sentences, 9 * num_sentences, None, {}, 1.0)
