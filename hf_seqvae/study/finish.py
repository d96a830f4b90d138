"""The end of a study: results -> table.md, table.json and pictures in its folder."""

import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from hf_seqvae import plots
from hf_seqvae.engine.files import write_text
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.recipe import Recipe
from hf_seqvae.study.comparison import Row, compare_runs
from hf_seqvae.study.folder import FIGURES_NAME, TABLE_NAME, require_folder
from hf_seqvae.study.hypothesis import Prediction, predictions
from hf_seqvae.study.kept import write_results
from hf_seqvae.study.plan import REFUSED, Job
from hf_seqvae.study.result import Result
from hf_seqvae.study.results import read_result
from hf_seqvae.study.schema import Study
from hf_seqvae.study.table import markdown
from hf_seqvae.study.values import as_json
from hf_seqvae.study.wording import difference_text


def finish_study(
    study: Study, jobs: Sequence[Job], base: Recipe, *, refused: Container[Job] = ()
) -> list[Row]:
    """Write table, results and pictures of all jobs as they stand; return the rows of the table.

    Args:
        study: whose folder they go to.
        jobs: finished or not.
        base: what the recipes differ from.
        refused: jobs whose folders hold another run, whose figures are not theirs.
    """
    require_folder(study.folder)
    results = [Result(job, REFUSED) if job in refused else read_result(job) for job in jobs]
    rows = compare_runs(study, results, base)
    chosen = [one for one in results if not study.hypothesis or one.job.run in study.hypothesis]
    found = predictions(chosen, seed=study.evaluation.seed)
    text = json.dumps(as_json(study, rows, found), indent=2, allow_nan=False) + "\n"
    write_text(study.folder / FIGURES_NAME, text)
    write_text(study.folder / TABLE_NAME, markdown(study, rows, found))
    draw(study, results, chosen, found)
    write_results(study, results)
    return rows


def read_table(study: Study) -> dict[str, Any]:
    """What `finish_study` wrote as JSON."""
    return json.loads((study.folder / FIGURES_NAME).read_text(encoding="utf-8"))


def draw(
    study: Study,
    results: Sequence[Result],
    chosen: Sequence[Result],
    found: Sequence[Prediction],
) -> list[Path]:
    """The pictures of a study; those that nothing is known for are left out.

    Args:
        study: whose folder they go to.
        results: of all jobs.
        chosen: those that the hypothesis is about.
        found: the correlations over them.
    """
    folder = study.folder
    runs = [point(one) for one in results]
    own = [point(one) for one in chosen]
    finished = [run for run in runs if run["nll"] is not None]
    latent = [run for run in finished if run["kl"] is not None]
    trained = [run for run in runs if run["validations"] and run["pooling"] is not None]
    paths = []
    if finished:
        plan = study.evaluation
        label = f"IW-NLL, K = {plan.iw_samples}, nats a sentence"
        path = folder / "likelihood.png"
        paths.append(plots.likelihood_by_run(finished, path, baseline=study.baseline, unit=label))
    if latent:
        paths.append(plots.rate_distortion(latent, folder / "rate_distortion.png"))
    if trained:
        paths.append(plots.usage_over_training(trained, folder / "usage.png"))
    if any("eval/pooled_variance" in line for run in own for line in run["validations"]):
        paths.append(plots.dispersion_over_training(own, folder / "dispersion.png"))
    usable = [run for run in own if run["kl"] is not None]
    if usable:
        path = folder / "hypothesis.png"
        texts = _correlation_texts(found)
        paths.append(plots.dispersion_against_usage(usable, path, correlations=texts))
    return paths


def point(result: Result) -> dict[str, Any]:
    """What the pictures show of a job: name, seed, pooling, figures by name, validations.

    A model without latents has no pooling: None.
    """
    names = ("nll", "reconstruction_nll", "kl", "mutual_information")
    dispersion = ("pooled_variance", "pooled_relative_variance", "pooled_mean_cosine")
    names += dispersion + tuple(f"initial_{name}" for name in dispersion)
    recipe = result.job.recipe
    pooling = recipe.model.get("pooling", SeqVAEConfig().pooling)
    return {
        "name": result.job.run,
        "seed": result.job.seed,
        "pooling": None if recipe.is_language_model else pooling,
        "validations": result.validations,
        "exact": result.exact,
        **{name: result.figures.get(name) for name in names},
    }


def _correlation_texts(found: Sequence[Prediction]) -> dict[tuple[str, str], str]:
    """What stands over a panel: by statistic (initial_... or not) and outcome."""
    prefixes = {"init": "initial_", "end": ""}
    return {
        (prefixes[one.when] + one.statistic, one.outcome): "Spearman "
        + ("undefined" if one.correlation is None else difference_text(one.correlation))
        + f", n = {one.n}"
        for one in found
        if one.when in prefixes
    }
