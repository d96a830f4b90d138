"""The measuring scripts in training/: what they print is what the library measures."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from cli_standins import call
from hub_standins import language_model_folder

from hf_seqvae import recipe as recipes
from hf_seqvae.data import Collator
from hf_seqvae.engine.parts import prepare_text
from hf_seqvae.metrics import relative_variance, total_variance

TRAINING = Path(__file__).resolve().parent.parent / "training"
TINY = [
    "data.num_train=30",
    "data.num_validation=4",
    "data.num_test=40",
    "model={latent_size: 3, encoder: {hidden_size: 8, embedding_size: 6},"
    " decoder: {hidden_size: 8, embedding_size: 6}}",
]


def run_script(name: str, monkeypatch, *arguments: str) -> None:
    path = TRAINING / name
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    monkeypatch.syspath_prepend(str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


def options() -> list[str]:
    return [word for override in TINY for word in ("--set", override)]


def test_dispersion_at_init_is_that_of_each_operator_on_the_states_of_the_recipes_model(
    tmp_path, monkeypatch, capsys
):
    output = tmp_path / "found"
    arguments = [*options(), "--seeds", "0,5", "--output", str(output)]
    run_script("dispersion_at_init.py", monkeypatch, "quickstart", *arguments)
    found = json.loads(output.with_suffix(".json").read_text())
    recipe = recipes.load("quickstart", [*TINY, "seed=5"])
    text = prepare_text(recipe)
    rows = list(text.held_out["test"].select_columns(["input_ids", "labels"]))
    batch = Collator.from_tokenizer(text.tokenizer)(rows)
    model = recipes.build_model(recipe, text.tokenizer).eval()
    with torch.no_grad():
        states = model.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state
    hidden = states.masked_fill(batch["attention_mask"][..., None] == 0, -torch.inf).amax(1)
    by_group = found["dispersion"]["torch"]["max"]
    assert by_group["all"]["variance"][1] == pytest.approx(float(total_variance(hidden)), rel=1e-4)
    lengths = torch.tensor([len(row["labels"]) - 1 for row in rows])
    long = lengths >= found["words"]["long"][0]
    assert found["sentences"]["long"] == int(long.sum()) < len(rows)
    assert by_group["long"]["relative_variance"][1] == pytest.approx(
        float(relative_variance(hidden[long])), rel=1e-4
    )
    table = output.with_suffix(".md").read_text()
    assert table.count("\n") == 2 + 2 * 5 and table in capsys.readouterr().out
    assert output.with_suffix(".png").stat().st_size > 1000


def test_the_cost_of_aggressive_updates_counts_their_inner_loop(tmp_path, monkeypatch, capsys):
    settings = ["training.inner_window=2", "training.max_inner_updates=4"]
    monkeypatch.setattr(sys, "argv", ["aggressive.py"])
    monkeypatch.syspath_prepend(str(TRAINING / "benchmarks"))
    script = runpy.run_path(str(TRAINING / "benchmarks" / "aggressive.py"))
    threads = torch.get_num_threads()
    joint = script["trained"]("quickstart", TINY, "joint", 1, str(tmp_path))
    lagging = script["trained"]("quickstart", [*TINY, *settings], "aggressive", 1, str(tmp_path))
    torch.set_num_threads(threads)
    assert joint["inner_updates"] == 0 and 2 <= lagging["inner_updates"] <= 4


def test_what_a_pooling_adds_is_its_own_pass_over_the_last_states_step(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING / "benchmarks"))
    script = runpy.run_path(str(TRAINING / "benchmarks" / "poolings.py"))
    seconds = {"max": 5.0, "last": 3.0, "last_again": 3.0}
    namespace = script["over_last"].__globals__
    built = []
    fakes = {
        "POOLINGS": ("last", "max"),
        "build_step": lambda *_, **__: None,
        "turns": lambda runs, repeats: {"step": {"cpu_s": 20.0}},
        "build_pass": lambda size, name, bf16: built.append((name, bf16)),
        "in_turns": lambda runs, repeats: {name: [(seconds[name], 0.0)] * 3 for name in runs},
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(namespace, name, fake)
    assert script["over_last"]("ptb", 3, bf16=True) == pytest.approx(
        {"last": 1.0, "max": 1.1, "last_again": 1.0, "encoder_share_of_step": 0.15}
    )
    assert built == [("last", True), ("max", True), ("last", True)]


@pytest.mark.parametrize("bf16", [False, True])
def test_a_pass_of_the_encoder_leaves_no_gradient_behind(monkeypatch, bf16):
    monkeypatch.syspath_prepend(str(TRAINING / "benchmarks"))
    script = runpy.run_path(str(TRAINING / "benchmarks" / "poolings.py"))
    made = []
    namespace = script["build_pass"].__globals__
    build = namespace["build_model"]
    monkeypatch.setitem(
        namespace, "build_model", lambda *args, **kw: made.append(build(*args, **kw)) or made[-1]
    )
    run = script["build_pass"]("tatoeba", "mean_max", bf16=bf16)
    (model,) = made
    seen = []
    clear = model.encoder.zero_grad
    monkeypatch.setattr(
        model.encoder,
        "zero_grad",
        lambda: (
            seen.extend(weight.grad is not None for weight in model.encoder.parameters()),
            clear(),
        ),
    )
    run()
    assert model.config.pooling == "mean_max"
    assert seen and all(seen)  # the pass went back through the whole encoder
    assert all(weight.grad is None for weight in model.parameters())


def test_the_lstm_in_numpy_gives_the_exact_nll_of_the_librarys(tmp_path, monkeypatch, capsys):
    folder, text = language_model_folder(tmp_path / "lm"), tmp_path / "text.txt"
    sentences = ["the girl reads a book .", "a zebra sleeps .", "dog", "the zebra sees the zebra ."]
    text.write_text("\n\n".join(sentences) + "\n")
    run_script("lm_in_numpy.py", monkeypatch, str(folder), str(text))
    said = capsys.readouterr().out.replace(",", "").split()
    monkeypatch.chdir(tmp_path)
    figures = json.loads(call("evaluate", folder, text, "--json").stdout)["figures"]
    nll, perplexity = (figures[name]["value"] for name in ("exact_model_nll", "token_perplexity"))
    assert (said[4], said[6]) == ("4", "21")  # 17 words and four ends
    assert float(said[0]) == pytest.approx(nll, abs=2e-4)
    assert float(said[-1]) == pytest.approx(perplexity, abs=2e-4)
    text.write_text("\n \n")
    with pytest.raises(SystemExit, match="holds no sentence"):
        run_script("lm_in_numpy.py", monkeypatch, str(folder), str(text))
