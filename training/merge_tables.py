"""One table of a study whose seeds were run apart, where results.jsonl of one of them is lost.

    python training/merge_tables.py first/table.json second/table.json --output merged.json

Prints the rows as Markdown. Means and deviations are over all seeds. A difference from the baseline
is the mean over the seeds of both; its interval the mean of their intervals, weighted by seeds: as
wide as if both erred alike, so no narrower than one made of all sentences together. A seed of the
baseline that was run again for a later table's differences counts once, as the first table has it.
What --set changed for all runs of a table is not in it: say so beside.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_seqvae.study import Spread, difference_text, mean_text, rank_correlation_interval
from hf_seqvae.study.hypothesis import OUTCOMES
from hf_seqvae.study.initial import STATISTICS
from hf_seqvae.study.statistics import Interval, spread
from hf_seqvae.study.table import COLUMNS
from hf_seqvae.study.wording import grid


def merge(paths: Sequence[Path], folder: Path) -> dict[str, Any]:
    """The tables as one; links lead from `folder`.

    Raises:
        ValueError: they differ in recipes, baseline, evaluation or sentences, or share a seed of
            another run than the baseline, or one is no table.
    """
    tables = [_read(path) for path in paths]
    for key in ("recipe", "set", "baseline", "evaluation", "hypothesis"):
        found = [table["study"][key] for table in tables]
        if any(value != found[0] for value in found):
            raise ValueError(f"the tables must have one {key}, got {found}.")
    baseline = tables[0]["study"]["baseline"]
    rows: dict[str, list[dict]] = {}
    for table, path in zip(tables, paths, strict=True):
        own = {run["name"]: run for run in table["runs"]}
        with_baseline = {seed["seed"] for seed in _finished(own[baseline])}
        for name, run in own.items():
            seeds = [dict(seed, table=os.path.relpath(path, folder)) for seed in _finished(run)]
            for seed in seeds:
                seed["recipe"] = os.path.relpath(path.parent / seed["recipe"], folder)
            pairs = sum(seed["seed"] in with_baseline for seed in seeds)
            parts = rows.setdefault(name, [])
            if name == baseline:
                before = {seed["seed"] for part in parts for seed in part["seeds"]}
                seeds = [seed for seed in seeds if seed["seed"] not in before]
            parts.append(dict(run, seeds=seeds, pairs=pairs))
    merged = [_merge_rows(name, parts) for name, parts in rows.items()]
    names = tables[0]["study"]["hypothesis"]
    return {
        "tables": [os.path.relpath(path, folder) for path in paths],
        "baseline": baseline,
        "evaluation": tables[0]["study"]["evaluation"],
        "runs": [row for row in merged if row["seeds"]],
        "hypothesis": _predictions([row for row in merged if not names or row["name"] in names]),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict) or not {"study", "runs"} <= values.keys():
        raise ValueError(f"{path} is no table.json of a study.")
    return values


def _finished(run: Mapping[str, Any]) -> list[dict]:
    return [seed for seed in run["seeds"] if seed["state"] == "finished"]


def _merge_rows(name: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seeds = sorted((seed for part in parts for seed in part["seeds"]), key=lambda one: one["seed"])
    numbers = [seed["seed"] for seed in seeds]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} has a seed in two tables: {numbers}.")
    if any(part["differs"] != parts[0]["differs"] for part in parts):
        found = [part["differs"] for part in parts]
        raise ValueError(f"{name} has another recipe in each table: {found}.")
    if len({(seed["num_iw_sentences"], seed["num_sentences"]) for seed in seeds}) > 1:
        raise ValueError(f"{name} was measured on other sentences in each table.")
    return {
        "name": name,
        "figures": {
            key: spread([seed["figures"][key] for seed in seeds])._asdict()
            for key in (seeds[0]["figures"] if seeds else ())
            if all(seed["figures"][key] is not None for seed in seeds)
        },
        "difference": _mean_interval(parts),
        "seeds": seeds,
    }


def _mean_interval(parts: Sequence[Mapping[str, Any]]) -> dict[str, float | None] | None:
    """The mean of the differences and of the ends of their intervals, weighted by paired seeds."""
    known = [(part["pairs"], part["difference"]) for part in parts if part["difference"]]
    total = sum(pairs for pairs, _ in known)
    if not total:
        return None
    found = {}
    for key in ("value", "low", "high"):
        values = [difference[key] for _, difference in known]
        weighted = [
            pairs * value
            for (pairs, _), value in zip(known, values, strict=True)
            if value is not None
        ]
        found[key] = sum(weighted) / total if len(weighted) == len(values) else None
    return found


def _predictions(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rank correlations of dispersion before training and after it with KL and MI at the end."""
    figures = [seed["figures"] for row in rows for seed in row["seeds"]]
    points = [point for point in figures if point["kl"] is not None]  # those with latents
    found = []
    for statistic in STATISTICS:
        for when, prefix in (("init", "initial_"), ("end", "")):
            for outcome in OUTCOMES:
                pairs = [(point[prefix + statistic], point[outcome]) for point in points]
                pairs = [pair for pair in pairs if None not in pair]
                interval = rank_correlation_interval([x for x, _ in pairs], [y for _, y in pairs])
                found.append(
                    {
                        "statistic": statistic,
                        "when": when,
                        "outcome": outcome,
                        "n": len(pairs),
                        "spearman": None if interval is None else interval._asdict(),
                    }
                )
    return found


def markdown(merged: Mapping[str, Any]) -> str:
    """The runs, a line each, and the correlations."""
    header = ["run", "seeds", "IW-NLL", f"against {merged['baseline']}"]
    header += [title for title, _, _ in COLUMNS]
    lines = []
    for row in merged["runs"]:
        difference, seeds = row["difference"], row["seeds"]
        against = "baseline" if row["name"] == merged["baseline"] else "-"
        if difference is not None:
            against = difference_text(Interval(**difference))
        lines.append(
            [
                f"[{row['name']}]({seeds[0]['recipe']})",
                ", ".join(str(seed["seed"]) for seed in seeds),
                _cell(row, "nll", 2) + " exact" * seeds[0]["exact"],
                against,
                *(_cell(row, key, decimals) for _, key, decimals in COLUMNS),
            ]
        )
    correlations = [
        [one["statistic"], one["when"], one["outcome"], str(one["n"]), _correlation(one)]
        for one in merged["hypothesis"]
    ]
    words = ["statistic", "when", "with, at the end", "n", "Spearman"]
    return f"{grid(header, lines)}\n\n{grid(words, correlations)}\n"


def _cell(row: Mapping[str, Any], key: str, decimals: int) -> str:
    values = row["figures"].get(key)
    return mean_text(None if values is None else Spread(**values), decimals)


def _correlation(one: Mapping[str, Any]) -> str:
    spearman = one["spearman"]
    return "undefined" if spearman is None else difference_text(Interval(**spearman))


def main() -> None:
    """Print the merged table, and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", type=Path, help="table.json of studies")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args()
    if options.output.resolve() in [path.resolve() for path in options.tables]:
        parser.error(f"--output {options.output} is one of the tables. Choose another.")
    try:
        merged = merge(options.tables, options.output.parent)
        options.output.write_text(json.dumps(merged, indent=2) + "\n", encoding="utf-8")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(markdown(merged), end="")


if __name__ == "__main__":
    main()
