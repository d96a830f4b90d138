"""Finished runs side by side, as a Markdown table.

    python training/compare_runs.py runs/a runs/b > table.md

Figures are those of report.json on the test split (or the validation split where there is no test);
tokens a second is the median over the lines of log.jsonl, in wall time of that run.
"""

import argparse
import json
import statistics
from pathlib import Path

ROWS = {
    "-ELBO, nats a sentence (upper bound)": "negative_elbo",
    "-log p(x), nats a sentence (exact, no latents)": "exact_model_nll",
    "above the exact -log p(x)": "bound_gap",
    "reconstruction nll, nats": "reconstruction_nll",
    "KL, nats": "kl",
    "MI, nats": "mutual_information",
    "active units (variance >= 0.01)": "active_units",
    "swap gap, nats": "swap_gap",
    "word PPL bound (words + EOS)": "word_perplexity_bound",
    "word PPL (words + EOS)": "word_perplexity",
    "pooled features: tr Cov": "pooled_variance",
    "pooled features: tr Cov / E norm^2": "pooled_relative_variance",
    "pooled features: mean pairwise cosine": "pooled_mean_cosine",
    "posterior means: tr Cov": "posterior_mean_variance",
    "posterior means: mean pairwise cosine": "posterior_mean_mean_cosine",
}


def cell(figure: dict | None) -> str:
    """A figure with its standard error and its cap, where it has them."""
    if figure is None or figure["value"] is None:
        return "-"
    value, error, cap = figure["value"], figure["standard_error"], figure["cap"]
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    if isinstance(value, float) and abs(value) < 0.1:
        text = f"{value:.4f}"
    if error is not None:
        text += f" ± {error:.2f}" if error >= 0.005 else f" ± {error:.4f}"
    return text + ("" if cap is None else f" of {cap:.2f}".removesuffix(".00"))


def column(folder: Path, split: str | None) -> dict[str, str]:
    """One run's cells by row title."""
    report = json.loads((folder / "report.json").read_text())
    split = split or ("test" if "test" in report else "validation")
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    speeds = [line["train/tokens_per_second"] for line in lines if "train/beta" in line]
    figures = report[split]["figures"]
    cells = {title: cell(figures.get(name)) for title, name in ROWS.items()}
    cells["best step of all"] = f"{report['best_step']} of {report['steps']}"
    cells["tokens a second in training"] = f"{statistics.median(speeds):.0f}"
    cells["sentences evaluated"] = f"{report[split]['num_sentences']} ({split})"
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--split", choices=("validation", "test"), help="default: test")
    options = parser.parse_args()
    columns = [column(folder, options.split) for folder in options.runs]
    print("| | " + " | ".join(folder.name for folder in options.runs) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for title in columns[0]:
        if any(cells[title] != "-" for cells in columns):
            print(f"| {title} | " + " | ".join(cells[title] for cells in columns) + " |")


if __name__ == "__main__":
    main()
