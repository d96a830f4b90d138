"""The figures copied into README and training/results are those of the JSON beside them."""

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "training" / "results"
STUDIES = (RESULTS / "studies.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEED = (RESULTS / "speed.md").read_text(encoding="utf-8")
MERGED = json.loads((RESULTS / "tatoeba_merged.json").read_text(encoding="utf-8"))
RUNS = {run["name"]: run for run in MERGED["runs"]}
YELP, PTB = (
    {
        run["name"]: run
        for run in json.loads((RESULTS / folder / "table.json").read_text("utf-8"))["runs"]
    }
    for folder in ("yelp_short", "ptb")
)
TABLES = ((RUNS, "run |"), (YELP, "Yelp run |"), (PTB, "PTB run |"))
IN_README = {
    "last state, annealing (plain VAE)": "last_annealing",
    "max pooling, annealing": "max_annealing",
    "last state, annealing, free bits of a dimension": "last_free_bits",
    "max pooling, annealing, free bits of a dimension": "max_free_bits",
    "last state, z at the output": "last_output_injection",
    "max pooling, held rate": "max_target_rate",
}
FLOORS = {
    "of each dimension, hinge": "free_bits",
    "of each dimension, mask": "dimension_mask",
    "of each dimension, mean of the batch": "batch_hinge",
    "of the whole sentence, mask": "sentence_mask",
    "of the mean of the batch, mask": "batch_mask",
}
CURES = {
    "z at the output": "output_injection",
    "one cycle with a zero phase": "cyclical_zero",
    "a held rate of 3 nats": "target_rate",
    "free bits of the mean of the batch": "batch_mask",
    "capacity of 3 nats": "capacity",
    "free bits of the whole sentence": "sentence_mask",
    "word dropout 0.3": "word_dropout",
    "beta 0.4 throughout": "constant_beta",
    "autoencoder first, masked free bits": "autoencoder_first",
    "batch normalisation": "batch_norm",
    "committed rate of 3 nats": "committed_rate",
    "four cycles": "cyclical",
    "sigmoid in place of linear annealing": "sigmoid",
    "no annealing": "no_annealing",
    "MMD, weight 10": "mmd",
    "denoising, 0.3 of the words": "denoising",
    "decoder dropout 0.5": "decoder_dropout",
}


def finished(name: str, runs: dict = RUNS) -> list[dict]:
    return [seed for seed in runs[name]["seeds"] if seed["state"] == "finished"]


def shown(name: str, key: str, digits: int = 2, runs: dict = RUNS) -> str:
    """Mean and deviation over the finished seeds, as the tables write them."""
    values = [seed["figures"][key] for seed in finished(name, runs)]
    if None in values:
        return "-"
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def means(name: str, key: str) -> str:
    return shown(name, key).partition(" ")[0] if finished(name) else "-"


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the rows below the one table whose header begins so."""
    (table,) = re.findall(rf"^ *\| {re.escape(header)}.*\n((?: *\|.*\n)+)", text, re.MULTILINE)
    lines = table.splitlines()[1:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def test_the_tables_have_every_finished_run_and_no_other():
    for runs, header in TABLES:
        names = [name for name in runs if finished(name, runs)]
        found = rows(STUDIES, header)
        assert [re.findall(r"\[(\w+)\]", cells[0])[0] for cells in found] == names


@pytest.mark.parametrize(
    ("runs", "cells"),
    [(runs, cells) for runs, header in TABLES for cells in rows(STUDIES, header)],
    ids=lambda value: value[0].split("]")[0] if isinstance(value, list) else "",
)
def test_a_row_of_a_study(runs, cells):
    name = re.findall(r"\[(\w+)\]", cells[0])[0]
    difference = runs[name]["difference"]
    against = "baseline"
    if difference is not None:
        against = "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(**difference)
    assert cells[1:] == [
        ", ".join(str(seed["seed"]) for seed in finished(name, runs)),
        shown(name, "nll", runs=runs) + " exact" * (name == "language_model"),
        *([shown(name, "word_perplexity", runs=runs)] if runs is PTB else []),
        against,
        *(shown(name, key, runs=runs) for key in ("negative_elbo", "reconstruction_nll", "kl")),
        shown(name, "mutual_information", runs=runs),
        shown(name, "active_units", 1, runs=runs),
        shown(name, "swap_gap", runs=runs),
    ]


def test_the_rows_in_readme():
    found = {cells[0]: cells[1:] for cells in rows(README, "run | IW-NLL")}
    keys = ("nll", "negative_elbo", "kl", "mutual_information", "swap_gap")
    assert found == {label: [shown(name, key) for key in keys] for label, name in IN_README.items()}


BEST = {
    "z at the output, last state": "last_output_injection",
    "z at the output, max": "max_output_injection",
    "a held rate, max": "max_target_rate",
    "one cycle with a zero phase, last state": "last_cyclical_zero",
}


def differences(name: str) -> list[float]:
    """From the plain VAE of the same seed and machine, nats: seed 0, 1, 2."""
    found = []
    for seed, folder in enumerate(("tatoeba", "tatoeba_bf16", "tatoeba_bf16")):
        own, plain = (figure(folder, one, seed, "nll") for one in (name, "last_annealing"))
        found.append(own - plain)
    return found


def over_seeds(values: list[float]) -> str:
    """The 95 % interval of the mean over three seeds, by t of two degrees of freedom."""
    half = 4.3027 * statistics.stdev(values) / 3**0.5
    return f"[{statistics.mean(values) - half:+.2f}, {statistics.mean(values) + half:+.2f}]"


def test_the_best_rows_seed_by_seed():
    expected = {}
    for label, name in BEST.items():
        apart, joint = differences(name), RUNS[name]["difference"]
        assert statistics.mean(apart) == pytest.approx(joint["value"])
        expected[label] = [
            ", ".join(f"{one:+.2f}" for one in apart),
            "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(**joint),
            over_seeds(apart),
        ]
    table = rows(STUDIES, "better by validation on seed 0")
    assert {cells[0]: cells[1:] for cells in table} == expected


def test_the_differences_in_readme():
    spans = [sorted(differences(name)) for name in ("max_target_rate", "last_output_injection")]
    said = [f"{-span[-1]:.2f} to {-span[0]:.2f}" for span in spans]
    assert f"on each seed (by {said[0]} nats" in README and f"to say ({said[1]})" in README


def dispersion_before_training(monkeypatch) -> dict:
    """By text: the JSON, the table that the script makes of it, and ratios to the last state."""
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import dispersion_at_init

    found = {}
    for text in ("tatoeba", "ptb"):
        values = json.loads((RESULTS / f"dispersion_at_init_{text}.json").read_text("utf-8"))

        def mean(start, operator, group, name, values=values):
            return statistics.mean(values["dispersion"][start][operator][group][name])

        ratios = {
            (start, operator, group): mean(start, operator, group, "variance")
            / mean(start, "last", group, "variance")
            for start in ("torch", "literature")
            for operator in ("max", "abs_max")
            for group in values["sentences"]
        }
        found[text] = dispersion_at_init.markdown(values), ratios
    return found


def test_the_page_of_dispersion_before_training(monkeypatch):
    page = (RESULTS / "dispersion.md").read_text(encoding="utf-8")
    found = dispersion_before_training(monkeypatch)
    assert all(table in page for table, _ in found.values())

    def span(operator, *, whole):
        chosen = [
            ratio
            for _, ratios in found.values()
            for (_, name, group), ratio in ratios.items()
            if name == operator and (group == "all") == whole
        ]
        return f"{min(chosen):.1f} to {max(chosen):.1f}"

    text = " ".join(page.split())
    assert f"{span('abs_max', whole=True)} times the variance of the last state over all" in text
    assert f"all sentences, {span('abs_max', whole=False)} times by length" in text
    assert f"Max pooling has {span('max', whole=True)} times the variance" in text
    long = [found["ptb"][1][start, "max", "long"] for start in ("torch", "literature")]
    assert f"Penn Treebank ({long[0]:.2f} and {long[1]:.2f})" in text


def test_the_reading_of_yelp():
    text = " ".join(STUDIES.split())
    values = {
        (name, key): [seed["figures"][key] for seed in finished(name, YELP)]
        for name in ("max_annealing", "last_annealing")
        for key in ("mutual_information", "nll")
    }

    def listed(numbers):
        first, *rest = (f"{number:.2f}" for number in numbers)
        return f"{', '.join([first, *rest[:-1]])} and {rest[-1]}"

    def gap(key):
        pairs = zip(values["max_annealing", key], values["last_annealing", key], strict=True)
        found = [own - plain for own, plain in pairs]
        return found, f"{statistics.mean(found):+.2f}", over_seeds(found)

    own, plain = (
        values[name, "mutual_information"] for name in ("max_annealing", "last_annealing")
    )
    assert f"MI {listed(own)} nats against {listed(plain)} (over seeds:" in text
    _, mean, interval = gap("mutual_information")
    assert f"(over seeds: {mean} {interval}, t" in text
    apart, _, interval = gap("nll")
    assert f"by {listed([-one for one in apart])} nats" in text and f"is not ({interval})" in text
    words = [
        shown(name, "mutual_information", runs=YELP) for name in ("max_annealing", "last_annealing")
    ]
    assert f"leaves MI {words[0]} in place of {words[1]}." in " ".join(README.split())


def test_how_max_pooling_gets_there_on_yelp_and_what_it_costs():
    lines = (RESULTS / "yelp_short" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [json.loads(line) for line in lines]
    results = {(one["job"]["run"], one["job"]["recipe"]["seed"]): one["result"] for one in runs}
    pairs = [
        [results[name, seed] for name in ("max_annealing", "last_annealing")] for seed in range(3)
    ]
    early = [
        own["validations"][1]["eval/mutual_information"]
        / plain["validations"][1]["eval/mutual_information"]
        for own, plain in pairs
    ]
    costs = [
        own["figures"]["cpu_seconds"] / plain["figures"]["cpu_seconds"] for own, plain in pairs
    ]
    text = " ".join(STUDIES.split())
    assert f"max pooling has {min(early):.1f} to {max(early):.1f} times the MI" in text
    assert f"Training took {min(costs):.2f} to {max(costs):.2f} of the plain VAE's CPU time" in text


def test_the_reading_of_ptb():
    lines = (RESULTS / "ptb" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    results = {one["job"]["run"]: one["result"] for one in map(json.loads, lines)}
    model, plain, pooled = (
        results[name] for name in ("language_model", "last_annealing", "max_free_bits")
    )
    text = " ".join(STUDIES.split())

    def less(own, other):
        """Mean ± standard error over sentences, nats."""
        pairs = zip(own["likelihoods"], other["likelihoods"], strict=True)
        apart = [one - two for one, two in pairs]
        error = statistics.stdev(apart) / len(apart) ** 0.5
        return f"{statistics.mean(apart):+.2f} ± {error:.2f}"

    assert f"from the plain VAE by {less(pooled, plain)} nats, a plus being worse" in text
    assert f"language model by {less(pooled, model)} (the plain VAE: {less(plain, model)};" in text
    kept = pooled["figures"]
    assert f"holds MI {kept['mutual_information']:.2f} nats" in text
    assert f"in all {kept['active_units']} units" in text
    assert f"a foreign latent costs {kept['swap_gap']:.2f} nats" in text
    half = model["figures"]
    assert f"bfloat16 it has {half['nll']:.2f} nats and {half['word_perplexity']:.2f}" in text
    assert f"{half['nll']:.4f} and {half['word_perplexity']:.3f} for the first" in text
    error = statistics.stdev(model["likelihoods"]) / len(model["likelihoods"]) ** 0.5
    cells = rows(STUDIES, "language model |")[0]
    assert cells[1] == f"{half['nll']:.2f} ± {error:.2f}"
    assert cells[2].startswith(f"{half['word_perplexity']:.2f} ± ")
    hours = f"{half['cpu_seconds'] / 3600:.1f} CPU hours"
    assert cells[0].endswith(f"ended after {model['epoch']:.0f} epochs, {hours}")
    perplexities = [f"{one['figures']['word_perplexity']:.2f}" for one in (pooled, plain, model)]
    said = "at perplexity {} against {}; the language model's is {}.".format(*perplexities)
    holds = f"holds MI {kept['mutual_information']:.2f} of KL {kept['kl']:.2f} where"
    assert said in " ".join(README.split()) and holds in " ".join(README.split())
    held = [one for one in plain["validations"] if one["eval/kl"] >= 0.01]
    assert f"in every epoch after the {max(one['epoch'] for one in held):.0f}rd" in text
    for run, words in ((model, "language model"), (plain, "plain VAE"), (pooled, "max pooling")):
        hours = run["figures"]["cpu_seconds"] / 3600
        best = max(run["validations"], key=lambda one: one["eval/elbo"])
        said = f"{words}: {run['epoch']:.0f} epochs, the best {best['epoch']:.0f}, {hours:.1f} h"
        assert said in text


def test_the_run_with_aggressive_updates():
    values = json.loads((RESULTS / "aggressive_run.json").read_text(encoding="utf-8"))
    own, plain = values["last_aggressive"], values["last_annealing"]
    text = " ".join(SPEED.split())
    ratio = own["cpu_seconds"] / plain["cpu_seconds"]
    assert f"taken {ratio:.0f} times the CPU seconds" in text
    assert f"({own['cpu_seconds']:,.0f} and {plain['cpu_seconds']:.0f}," in text
    mine, other = (one["validations"] for one in (own, plain))
    first, second = (one["eval/mutual_information"] for one in mine)
    assert f"MI was {second:.2f} nats ({first:.2f} at the first" in text
    assert f"VAE: {other[1]['eval/mutual_information']:.2f}) and the bound" in text
    assert f"the bound {-mine[1]['eval/elbo']:.2f} ({-other[1]['eval/elbo']:.2f})." in text


def test_the_floors_of_free_bits():
    found = {cells[0]: cells[1:] for cells in rows(STUDIES, "free bits |")}
    expected = {}
    for label, name in FLOORS.items():
        expected[label] = []
        for run in (f"last_{name}", f"max_{name}"):
            information, kl = means(run, "mutual_information"), means(run, "kl")
            expected[label] += [f"{information} of {kl}", means(run, "negative_elbo")]
            if not finished(run):
                expected[label][-2:] = ["", ""]
    assert found == expected


def test_the_cures():
    found = {cells[0]: cells[1:] for cells in rows(STUDIES, "cure |")}
    assert found == {
        label: [
            f"{means(f'last_{name}', key)} / {means(f'max_{name}', key)}"
            for key in ("mutual_information", "negative_elbo")
        ]
        for label, name in CURES.items()
    }


def test_merged_is_what_the_script_makes_of_both_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "training"))
    import merge_tables

    paths = [RESULTS / folder / "table.json" for folder in ("tatoeba", "tatoeba_bf16")]
    made = json.loads(json.dumps(merge_tables.merge(paths, RESULTS)))
    hypothesis = made.pop("hypothesis"), MERGED["hypothesis"]
    assert made == {key: value for key, value in MERGED.items() if key != "hypothesis"}
    for one, other in zip(*hypothesis, strict=True):
        assert one["spearman"] == pytest.approx(other["spearman"])


def test_the_correlations():
    found = {cells[0]: cells[1:] for cells in rows(STUDIES, "dispersion |")}
    labels = {"variance": "pooled_variance", "relative variance": "pooled_relative_variance"}
    labels["cosine"] = "pooled_mean_cosine"
    expected = {}
    for label, statistic in labels.items():
        for when, words in (("init", "before training"), ("end", "at the end")):
            expected[f"{label}, {words}"] = [
                "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(**one["spearman"])
                for one in MERGED["hypothesis"]
                if (one["statistic"], one["when"]) == (statistic, when)
            ]
    assert found == expected


def test_every_link_of_the_pages_leads_to_a_file():
    for page in (STUDIES, SPEED):
        links = re.findall(r"\]\(([^)#]+)\)", page)
        missing = [one for one in links if "://" not in one and not (RESULTS / one).exists()]
        assert missing == []


def figure(folder: str, name: str, seed: int, key: str) -> float:
    runs = json.loads((RESULTS / folder / "table.json").read_text(encoding="utf-8"))["runs"]
    (run,) = [one for one in runs if one["name"] == name]
    (found,) = [one for one in run["seeds"] if one["seed"] == seed and one["figures"]]
    return found["figures"][key]


BOUNDS = {
    ("max_annealing", 0): ("tatoeba", "tatoeba_bf16_seeds_0_1"),
    ("max_annealing", 1): ("tatoeba", "tatoeba_bf16_seeds_0_1"),
    ("max_annealing", 2): ("tatoeba_float32", "tatoeba_bf16"),
    ("last_annealing", 0): ("tatoeba", "tatoeba_bf16"),
    ("last_annealing", 1): ("tatoeba", "tatoeba_bf16"),
    ("last_annealing", 2): ("tatoeba_float32", "tatoeba_bf16"),
}


def test_the_bound_of_bf16_is_that_of_float32():
    expected = []
    for (name, seed), folders in BOUNDS.items():
        whole, half = (figure(folder, name, seed, "negative_elbo") for folder in folders)
        assert abs(half / whole - 1) < 0.003
        expected.append(
            [f"{name}, {seed}", f"{whole:.3f}", f"{half:.3f}", f"{half / whole - 1:+.2%}"]
        )
    assert rows(SPEED, "run, seed |") == [
        [*cells[:3], cells[3].replace("%", " %")] for cells in expected
    ]


def test_the_shares_and_ratios_of_a_step():
    files = ("steps.json", "steps_again.json")
    runs = [json.loads((RESULTS / name).read_text(encoding="utf-8")) for name in files]
    found = {cells[0]: cells[2:4] for cells in rows(SPEED, "| wanted | tatoeba |")}

    def both(words):
        return ["; ".join(words(run[size]) for run in runs) for size in ("tatoeba", "ptb")]

    def pair(values):
        return f"{values['adam']:.2f} / {values['sgd']:.2f}"

    def peaks(values):
        return f"{values['peak_float32_gflops']:.0f} / {values['peak_bfloat16_gflops']:.0f}"

    shares, ratios = "step_share_of_float32_peak", "bf16_sentences_per_cpu_s_over_float32"
    alone = "its_products_alone_share_of_float32_peak"
    for label, expected in {
        "float32 step, Adam / SGD, share of the GEMM peak": both(lambda one: pair(one[shares])),
        "the step's own matrix products with nothing between, share of the peak": both(
            lambda one: f"{one[alone]:.2f}"
        ),
        "GEMM peak, float32 / bfloat16, GFLOP/s": both(peaks),
        "bf16 over float32, sentences per CPU second, Adam / SGD": both(
            lambda one: pair(one[ratios])
        ),
    }.items():
        assert found[label] == expected, label


def test_what_a_pooling_adds_to_a_step():
    values = json.loads((RESULTS / "poolings.json").read_text(encoding="utf-8"))
    found = {cells[0]: cells[1:] for cells in rows(SPEED, "step over the last state's |")}
    kinds = [values[size][kind] for size in ("tatoeba", "ptb") for kind in ("float32", "bf16")]
    labels = {name: name for name in ("first", "mean", "max", "abs_max", "mean_max", "attention")}
    labels["last_again"] = "last, a second time"
    assert found == {
        label: [f"{kind[name]:.3f}" for kind in kinds] for name, label in labels.items()
    }
    (slowest,) = [cells for cells in rows(SPEED, "| wanted | tatoeba |") if "encoder" in cells[0]]
    most = [f"{max(kind[name] for name in labels):.2f}" for kind in kinds]
    assert slowest[2:4] == [" / ".join(most[:2]), " / ".join(most[2:])]
