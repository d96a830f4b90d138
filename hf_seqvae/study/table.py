"""The table of a study as Markdown: every run over its seeds, and every seed."""

import os
from collections.abc import Sequence

from hf_seqvae.study.comparison import Row
from hf_seqvae.study.hypothesis import Prediction
from hf_seqvae.study.plan import DAMAGED, NOT_STARTED, REFUSED
from hf_seqvae.study.result import LIKELIHOOD, Result
from hf_seqvae.study.schema import Study
from hf_seqvae.study.statistics import MIN_POINTS, RESAMPLES
from hf_seqvae.study.wording import UNDEFINED, difference_text, grid, mean_text, number

# title, figure, decimals; dispersion as init -> end
COLUMNS = (
    ("-ELBO", "negative_elbo", 2),
    ("rec. nll", "reconstruction_nll", 2),
    ("KL", "kl", 2),
    ("MI", "mutual_information", 2),
    ("active units", "active_units", 1),
    ("swap gap", "swap_gap", 2),
)
DISPERSIONS = (
    ("tr Cov", "pooled_variance"),
    ("rel. variance", "pooled_relative_variance"),
    ("cosine", "pooled_mean_cosine"),
)
COSTS = (("wall", "wall_seconds"), ("CPU", "cpu_seconds"))


def markdown(study: Study, rows: Sequence[Row], predictions: Sequence[Prediction]) -> str:
    """The whole table.md: what was measured, the table, what is unfinished, the hypothesis."""
    finished = [one for row in rows for one in row.finished]
    parts = [f"# {study.name}", _preface(study, finished)]
    if finished:
        header = ["run", "seed", "IW-NLL", f"against {study.baseline}", "word PPL"]
        header += [title for title, _, _ in COLUMNS] + [title for title, _ in DISPERSIONS]
        header += [f"{title} x" for title, _ in COSTS] + ["differs in"]
        lines = [line for row in rows if row.finished for line in _lines(study, row)]
        parts.append(grid(header, lines))
        reasons = {one.reasons[name]: None for one in finished for name in one.reasons}
        notes = [
            note
            for row in rows
            for note in (row.no_difference, row.no_costs)
            if row.finished and note
        ]
        reasons |= dict.fromkeys(notes)
        if reasons:
            parts.append(f"{UNDEFINED}: {'; '.join(reasons)}.")
    unfinished = unfinished_lines([one for row in rows for one in row.results])
    if unfinished:
        parts.append("## Unfinished\n\n" + "\n".join(f"- {line}" for line in unfinished))
    if any(prediction.correlation for prediction in predictions):
        parts.append(_hypothesis(study, predictions))
    return "\n\n".join(parts) + "\n"


def _preface(study: Study, finished: Sequence[Result]) -> str:
    plan = study.evaluation
    counts = sorted({len(one.likelihoods) for one in finished})
    wholes = sorted({one.num_sentences for one in finished})
    counted = {one.job.recipe.training.num_eval_samples for one in finished if not one.exact}
    samples = ", ".join(map(str, sorted(counted))) or "the recipe's"
    sentences = ", ".join(map(str, counts)) or str(plan.iw_sentences)
    split = ", ".join(map(str, wholes)) or "all"
    return (
        f"Nats a sentence; weights with the best validation bound. IW-NLL: K = {plan.iw_samples} "
        f"importance samples, the first {sentences} sentences of the {plan.split} split "
        f"(*exact*: -log p(x) of a model without latents, same sentences); word PPL: of it, per "
        f"word and EOS. All else: {split} sentences of the {plan.split} split (where these are "
        f"more than those the two do not compare), posterior samples a sentence: {samples}. "
        "MI and active units: of the most their estimator can say. tr Cov, relative variance and "
        "mean pairwise cosine: of the pooled features, before training -> after. wall x, CPU x: "
        f"seconds of training over those of {study.baseline} with the same seed. A run's first "
        "line is the mean ± standard deviation over its n seeds. Against the baseline: own less "
        "baseline, paired by sentence and by the seeds that both have, 95 % bootstrap interval "
        f"over sentences ({RESAMPLES} resamples, seed {plan.seed})."
    )


def _lines(study: Study, row: Row) -> list[list[str]]:
    """The mean over the seeds, then each seed."""
    finished = row.finished
    exact = " exact" if finished[0].exact else ""
    first = [f"**{row.run.name}**", f"n = {len(finished)}"]
    first.append(mean_text(row.figures.get(LIKELIHOOD), 2) + exact)
    first.append("baseline" if row.run.name == study.baseline else difference_text(row.difference))
    first.append(mean_text(row.figures.get("word_perplexity"), 2))
    for _, name, decimals in COLUMNS:
        first.append(mean_text(row.figures.get(name), decimals) + _cap(finished, name))
    for _, name in DISPERSIONS:
        start, end = row.figures.get(f"initial_{name}"), row.figures.get(name)
        first.append(f"{mean_text(start, 3)} -> {mean_text(end, 3)}" if start or end else UNDEFINED)
    first += [mean_text(row.costs.get(name), 2) for _, name in COSTS]
    words = [*row.differs, *(text for text in (row.run.remedy, row.run.note) if text)]
    first.append("; ".join(words) or "nothing")
    lines = [first]
    for one in finished:
        link = os.path.relpath(one.job.folder / "recipe.yaml", study.folder)
        line = [f"[recipe]({link})", str(one.job.seed)]
        line += [number(one.figures[LIKELIHOOD], 2) + exact, ""]
        line.append(number(one.figures["word_perplexity"], 2))
        line += [
            number(one.figures[name], 0 if decimals == 1 else 2) for _, name, decimals in COLUMNS
        ]
        for _, name in DISPERSIONS:
            pair = (one.figures[f"initial_{name}"], one.figures[name])
            line.append(" -> ".join(number(value, 3) for value in pair) if any(pair) else UNDEFINED)
        line += [number(one.figures[name], 0) + " s" for _, name in COSTS]
        lines.append([*line, ""])
    return lines


def _cap(finished: Sequence[Result], name: str) -> str:
    caps = {one.caps[name] for one in finished if name in one.caps}
    return f" of {max(caps):.2f}".removesuffix(".00") if caps else ""


def unfinished_lines(results: Sequence[Result]) -> list[str]:
    """What is missing: a line for each run that has begun, one for all that have not."""
    lines, waiting = [], {}
    for one in results:
        if one.finished:
            continue
        if one.state == NOT_STARTED:
            waiting.setdefault(one.job.run, []).append(str(one.job.recipe.seed))
            continue
        if one.state == DAMAGED:
            lines.append(f"{one.job.title}: {DAMAGED}: {one.fault}")
            continue
        if one.state == REFUSED:
            lines.append(f"{one.job.title}: {REFUSED}, --dry-run says why")
            continue
        epochs = one.job.recipe.training.epochs
        elbo = "" if one.elbo is None else f", validation ELBO {one.elbo:.2f}"
        lines.append(f"{one.job.title}: {one.state}, epoch {one.epoch:.1f} of {epochs}{elbo}")
    if waiting:
        rest = "; ".join(f"{run} seed {', '.join(seeds)}" for run, seeds in waiting.items())
        lines.append(f"{NOT_STARTED}: {rest}")
    return lines


def _hypothesis(study: Study, predictions: Sequence[Prediction]) -> str:
    over = ", ".join(study.hypothesis) or "all runs with latents"
    header = ["statistic", "when", "n", "with KL at the end", "with MI at the end"]
    found: dict[tuple[str, str], dict[str, Prediction]] = {}
    for one in predictions:
        found.setdefault((one.statistic, one.when), {})[one.outcome] = one
    lines = []
    for (statistic, when), pair in found.items():
        cells = [_correlation(pair[outcome]) for outcome in ("kl", "mutual_information")]
        lines.append([statistic, when, str(pair["kl"].n), *cells])
    return (
        "## Does dispersion predict KL and MI at the end?\n\n"
        f"Spearman's rank correlation over {over}; a point is a run with a seed; 95 % bootstrap "
        "interval over points, which takes seeds of one run for independent; none below "
        f"{MIN_POINTS} points. Init and end: "
        f"{study.evaluation.split} split; epochs: validation split.\n\n" + grid(header, lines)
    )


def _correlation(one: Prediction) -> str:
    return "undefined" if one.correlation is None else difference_text(one.correlation)
