"""Small studies: results made by hand, and jobs that run without a process of their own."""

import dataclasses

import numpy as np

from hf_seqvae.study import Result, Study, plan_jobs

LATENT_FIGURES = {
    "word_perplexity": 50.0,
    "negative_elbo": 30.0,
    "reconstruction_nll": 27.0,
    "kl": 3.0,
    "mutual_information": 2.0,
    "active_units": 4,
    "swap_gap": 1.5,
    "pooled_variance": 5.0,
    "pooled_relative_variance": 0.5,
    "pooled_mean_cosine": 0.25,
    "initial_pooled_variance": 1.0,
    "initial_pooled_relative_variance": 0.125,
    "initial_pooled_mean_cosine": 0.75,
    "wall_seconds": 100.0,
    "cpu_seconds": 80.0,
}


def small_study(folder, *, names=("last", "max"), **values):
    """A study of these runs with seeds 0 and 1; a run of another pooling has its name."""
    rows = [{"name": name, "set": {"model.pooling": name.split("_of_")[0]}} for name in names]
    return Study(name="small", output_dir=str(folder), runs=rows, **{"seeds": [0, 1], **values})


def results_of(study):
    """An unfinished result for each job."""
    return [Result(job, job.state()) for job in plan_jobs(study, "study.yaml")]


def finished(result, likelihoods, *, exact=False, texts="same", validations=(), **figures):
    """The result with these nats a sentence; figures are `LATENT_FIGURES` but for those given."""
    values = np.asarray(likelihoods, dtype=np.float64)
    found = LATENT_FIGURES if not exact else dict.fromkeys(LATENT_FIGURES)
    reasons = dict.fromkeys(("kl",), "a model without latents has none") if exact else {}
    return dataclasses.replace(
        result,
        state="finished",
        epoch=2.0,
        figures={"nll": float(values.mean()), **found, **figures},
        caps={} if exact else {"mutual_information": 6.21, "active_units": 32.0},
        reasons=reasons,
        exact=exact,
        likelihoods=values,
        texts=texts,
        num_sentences=5000,
        validations=validations,
        machine="a machine, threads: 1, processes: 1",
    )
