"""hf-seqvae as a person uses it: what it prints, what JSON it gives, how it refuses."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from cli_standins import call, refused, terminal
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from hf_seqvae import LatentSpace, everyday
from hf_seqvae.cli.closing import shown_sentences
from hf_seqvae.cli.exploring import read_range, read_values
from hf_seqvae.cli.screen import changes
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.engine import TrainingInterrupted

TINY = [
    "data.num_train=300",
    "data.num_validation=40",
    "data.num_test=40",
    "data.batch_size=10",
    "training.epochs=1",
    "training.learning_rate=0.02",
    "objective.beta={schedule: constant, value: 0.5}",
    "model.latent_size=4",
    "model.encoder={hidden_size: 16, embedding_size: 16}",
    "model.decoder={hidden_size: 16, embedding_size: 16}",
]
COMMANDS = [
    "train",
    "recipe",
    "evaluate",
    "compare",
    "diagnose",
    "card",
    "publish",
    "selfcheck",
    "reconstruct",
    "sample",
    "interpolate",
    "analogy",
    "traverse",
    "neighbours",
]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    with terminal(monkeypatch):
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Arguments of a training of a few steps, with every word of the grammar."""
    words = tmp_path_factory.mktemp("words")
    tokenizer_from_words(everyday.vocabulary()).save_pretrained(words)
    overrides = [*TINY, f"tokenizer={{kind: pretrained, name: {words}}}"]
    settings = [part for override in overrides for part in ("--set", override)]
    return ["train", *settings, "--device", "cpu"]


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    """The run folder of such a training, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")
        return folder, call(*tiny, "--output-dir", folder)


@pytest.fixture(scope="session")
def run(trained):
    return trained[0]


@pytest.fixture(scope="session")
def space(run):
    return LatentSpace.from_pretrained(run)


A, B, C = (
    "the farmer sells the cheese .",
    "the farmer does not sell the cheese .",
    "my cat hides in the garden .",
)


# -- help


def test_every_command_explains_itself_with_an_example():
    for command in COMMANDS:
        text = " ".join(call(command, "--help").stdout.split())
        assert f"Example: hf-seqvae {command}" in text


def test_the_overview_names_every_command():
    text = call("--help").stdout
    assert [command for command in COMMANDS if f" {command} " not in text] == []


def test_the_command_line_adds_no_heavy_import_to_that_of_the_package():
    probe = (
        "import sys, hf_seqvae; before = set(sys.modules); import hf_seqvae.cli; "
        "print(*sorted(name.split('.')[0] for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    added = set(done.stdout.split())
    assert "typer" in added
    assert not added & {"datasets", "accelerate", "matplotlib", "evaluate", "pandas", "pyarrow"}


def test_recipe_lists_every_key_that_set_takes():
    from hf_seqvae.recipe import describe

    text = call("recipe").stdout
    assert [key for key, *_ in describe() if key not in text] == []
    assert "quickstart" in text


# -- train


def test_train_ends_with_figures_walks_samples_and_what_to_do_next(trained):
    folder, result = trained
    text = result.stdout
    for label in ("-ELBO", "-log p(x)", "entropy", "bound gap", "reconstruction", "KL", "MI"):
        assert f"\n  {label} " in text, label
    for label in ("active units", "swap gap", "word PPL, -ELBO"):
        assert f"\n  {label} " in text, label
    assert f"{everyday.entropy():.2f}" in text
    assert "exp(-ELBO / (words + one end a sentence))" in text
    assert text.count("  100%  ") == 5
    assert str(folder / "curves.png") in text
    assert f"hf-seqvae sample {folder} -n 10 --temperature 0.8" in text
    assert (
        max(
            len(line)
            for line in text.splitlines()
            if "hf-seqvae" not in line and str(folder) not in line
        )
        <= 100
    )


def test_the_figures_of_train_are_those_of_report_json(trained):
    folder, result = trained
    report = json.loads((folder / "report.json").read_text())
    for split in ("validation", "test"):
        for name in ("negative_elbo", "exact_nll", "bound_gap", "kl"):
            figure = report[split]["figures"][name]
            assert f"{figure['value']:.2f} ± {figure['standard_error']:.2f}" in result.stdout


def test_evaluate_gives_the_figures_that_train_reported(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = json.loads((run / "report.json").read_text())["test"]["figures"]
    result = call("evaluate", run, "everyday", "--num-texts", 40, "--bound-only", "--json")
    figures = json.loads(result.stdout)["figures"]
    for name in ("negative_elbo", "kl", "bound_gap", "mutual_information"):
        assert figures[name]["value"] == pytest.approx(report[name]["value"], rel=1e-4)


def test_train_json_is_alone_on_stdout_and_a_finished_run_is_not_trained_again(tiny, run):
    result = call(*tiny, "--output-dir", run, "--json")
    report = json.loads(result.stdout)
    assert report["model"] == str(run / "best")
    assert report["test"]["figures"]["bound_gap"]["value"] > 0
    assert "epoch 1 " not in result.stderr


def test_train_on_files_has_no_floor_and_walks_between_validation_sentences(tmp_path):
    sentences, _ = everyday.generate(120, 5)
    (tmp_path / "train.txt").write_text("\n".join(sentences))
    (tmp_path / "held_out.txt").write_text("\n".join(sentences[:40]))
    (tmp_path / "recipe.yaml").write_text(
        "data: {dataset: null, train_file: TRAIN, validation_file: HELD, max_length: 12}\n"
        "model: {latent_size: 2, encoder: {hidden_size: 8}, decoder: {hidden_size: 8}}\n"
        "training: {epochs: 1}\n".replace("TRAIN", str(tmp_path / "train.txt")).replace(
            "HELD", str(tmp_path / "held_out.txt")
        )
    )
    text = call("train", tmp_path / "recipe.yaml", "--output-dir", tmp_path / "run").stdout
    assert "entropy" not in text
    assert "bound gap" not in text
    assert "On the way from one validation sentence to another" in text


def test_fresh_trains_anew_and_resume_does_not(tiny, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "copy")
    config = (folder / "recipe.yaml").read_text().replace(str(run), str(folder))
    (folder / "recipe.yaml").write_text(config)
    assert "epoch 1 " not in call(*tiny, "--output-dir", folder).stdout
    assert "epoch 1 " in call(*tiny, "--output-dir", folder, "--fresh").stdout


def test_a_recipe_that_changed_is_refused_with_what_changed(run):
    line = refused("train", "--output-dir", run, "--seed", 7, "--device", "cpu")
    assert "holds a run of another recipe" in line
    assert "seed: 0 -> 7" in line
    assert "--fresh" in line


@pytest.mark.parametrize("name", ["exp #2", "123", "null", "2024-01-01"])
def test_an_output_dir_is_a_path_whatever_it_looks_like(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("no folder")
    line = refused("train", "--output-dir", name, "--device", "cpu")
    assert name in line and "folder" in line
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_unknown_recipe_key_names_the_nearest():
    line = refused("train", "--set", "training.epoch=3")
    assert "Unknown key 'training.epoch'. Did you mean 'training.epochs'?" in line


def test_an_unknown_pooling_names_those_there_are(tmp_path):
    line = refused("train", "--set", "model.pooling=maxx", "--output-dir", tmp_path / "run")
    assert "pooling must be one of" in line
    assert "got 'maxx'" in line


def test_a_loss_that_is_not_finite_ends_the_command_with_code_1(tiny, tmp_path):
    arguments = [*tiny, "--set", "training.learning_rate=1e30", "--output-dir", tmp_path / "run"]
    line = refused(*arguments, code=1)
    assert "The loss became NaN or infinite" in line
    assert "Start again with a lower training.learning_rate" in line


def test_a_signal_ends_the_command_with_its_code_and_says_how_to_go_on(monkeypatch, tmp_path):
    def stopped(*_, **__):
        raise TrainingInterrupted("Ctrl-C", 130, tmp_path / "step-3", "hf-seqvae train that")

    monkeypatch.setattr("hf_seqvae.engine.train", stopped)
    line = refused("train", "--output-dir", tmp_path, code=130)
    assert "Stopped by Ctrl-C" in line
    assert "hf-seqvae train that" in line


def test_a_missing_recipe_names_the_packaged_ones():
    assert "There is no recipe 'quickstrat'" in refused("train", "quickstrat")


def test_an_output_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    line = refused("train", "--output-dir", tmp_path / "file" / "run", "--device", "cpu")
    assert "output_dir must be a folder that can be written to" in line


def test_a_missing_training_file_is_named(tmp_path):
    files = [f"data.{name}_file={tmp_path / 'no.txt'}" for name in ("train", "validation")]
    settings = ["--set", "data.dataset=null", "--set", "data.num_test=null"]
    settings += ["--set", files[0], "--set", files[1], "--output-dir", str(tmp_path / "run")]
    assert "no.txt" in refused("train", *settings)


def test_a_device_that_is_not_there_is_refused():
    assert "--device must be cpu, cuda or cuda:NUMBER, got 'gpu'" in refused(
        "train", "--device", "gpu"
    )
    absent = f"cuda:{torch.cuda.device_count()}"
    assert "is not on this machine" in refused("sample", "x", "--device", absent)
    if not torch.backends.mps.is_available():
        assert "is not on this machine" in refused("sample", "x", "--device", "mps")


def test_weights_that_diverged_are_refused_by_every_command(run, tmp_path):
    folder = shutil.copytree(run / "best", tmp_path / "best")
    weights = load_file(folder / "model.safetensors")
    weights["decoder.lm_head.weight"][3, 2] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    for command in (("sample", folder), ("reconstruct", folder, A)):
        assert "hold NaN or infinity, first in 'decoder.lm_head.weight'" in refused(*command)


def test_a_sentence_that_is_no_utf_8_is_refused(run):
    assert "sentence 0 is no valid text (UTF-8)" in refused("reconstruct", run, "the \udcff girl")


def in_a_shell(command, **environment):
    program = f"{shlex.quote(sys.executable)} -c 'from hf_seqvae.cli import app; app()'"
    return subprocess.run(
        ["bash", "-c", command.replace("hf-seqvae", program)],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize("number", [1, 2000])  # less and more than a buffer holds
def test_a_reader_that_has_enough_is_no_error(run, number):
    """`true` is gone before anything is written."""
    command = f"hf-seqvae sample {shlex.quote(str(run))} -n {number} --max-new-tokens 9 --json"
    ended = in_a_shell(f"{command} | true; echo ${{PIPESTATUS[0]}}")
    assert (ended.stdout, ended.stderr) == (b"141\n", b"")


def test_a_terminal_of_few_letters_shows_a_result_all_the_same():
    ended = in_a_shell("hf-seqvae selfcheck --only kl", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr


# -- walks


def test_reconstruct_is_that_of_the_latent_space(run, space):
    result = call("reconstruct", run, A, C, "--json")
    made = space.reconstruct([A, C])
    assert [row["reconstruction"] for row in json.loads(result.stdout)] == made
    table = call("reconstruct", run, A, C).stdout
    assert A in table
    assert made[0] in table


def test_sample_is_a_function_of_the_seed(run, space):
    first = json.loads(call("sample", run, "-n", 4, "--seed", 3, "--json").stdout)
    assert first["sentences"] == space.sample(4, seed=3)
    drawn = [
        json.loads(call("sample", run, "--do-sample", "--seed", seed, "--json").stdout)["sentences"]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_interpolate_is_that_of_the_latent_space(run, space):
    arguments = ("interpolate", run, A, C, "--steps", 5, "--method", "slerp")
    path = json.loads(call(*arguments, "--json").stdout)["path"]
    assert [step["sentence"] for step in path] == space.interpolate(A, C, 5, "slerp")
    assert [step["weight"] for step in path] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert " 25%  " in call(*arguments).stdout


def test_analogy_is_that_of_the_latent_space(run, space):
    found = json.loads(call("analogy", run, A, B, C, "--json").stdout)
    assert found["sentence"] == space.analogy(A, B, C)
    assert found["sentence"] in call("analogy", run, A, B, C).stdout


def test_traverse_takes_values_and_ranges(run, space):
    for option, values in (("--values=-2,0,2", [-2.0, 0.0, 2.0]), ("--range=-1:1:3", [-1, 0, 1])):
        found = json.loads(call("traverse", run, A, "--dim", 1, option, "--json").stdout)
        assert [step["value"] for step in found["path"]] == values
        assert [step["sentence"] for step in found["path"]] == space.traverse(A, 1, values)
    assert "+1.00" in call("traverse", run, A, "--dim", 1, "--range", "-1:1:3").stdout


def test_neighbours_are_those_of_the_latent_space(run, space):
    found = json.loads(call("neighbours", run, A, "-n", 3, "--scale", 0.4, "--json").stdout)
    assert found["sentences"] == space.neighbours(A, 0.4, 3)
    assert A in call("neighbours", run, A).stdout


def test_square_brackets_in_a_sentence_are_no_markup(run):
    text = "[bold] the cheese [/bold] ."
    assert text in call("reconstruct", run, text).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reconstruct", "MODEL", " "], "sentence 0 is empty"),
        (["reconstruct", "MODEL", A, "xyzzy plugh"], "'xyzzy plugh', holds unknown words only"),
        (["sample", "MODEL", "-n", "0"], "n must be at least 1, got 0"),
        (["sample", "MODEL", "--temperature", "-1"], "temperature must be finite"),
        (["interpolate", "MODEL", A, B, "--steps", "1"], "steps must be at least 2"),
        (["interpolate", "MODEL", A, B, "--method", "line"], "method must be one of"),
        (["traverse", "MODEL", A, "--dim", "4"], "dim must be in 0..3, got 4"),
        (["traverse", "MODEL", A, "--dim", "0", "--values", "1,x"], "--values must be numbers"),
        (["traverse", "MODEL", A, "--dim", "0", "--range", "1:2"], "--range must be START:STOP"),
        (["traverse", "MODEL", A, "--dim", "0", "--range", "1:2:1"], "COUNT of at least 2"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(run, arguments, message):
    arguments = [str(run) if argument == "MODEL" else argument for argument in arguments]
    assert message in refused(*arguments)


# -- MODEL


def test_a_model_folder_is_as_good_as_its_run_folder(run):
    arguments = ("-n", 2, "--json")
    assert call("sample", run, *arguments).stdout == call("sample", run / "best", *arguments).stdout


def test_a_missing_model_folder_is_named(tmp_path):
    assert f"there is no folder '{tmp_path}/none'" in refused("sample", tmp_path / "none")


def test_a_folder_without_a_model_says_what_it_lacks(tmp_path):
    assert "holds no model: neither config.json nor best/config.json" in refused("sample", tmp_path)


def test_a_hub_id_that_cannot_be_had_is_one_line():
    assert "somebody/no-such-model" in refused("sample", "somebody/no-such-model")


def test_a_model_of_another_type_is_named(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(vocab_size=9, intermediate_size=8, **sizes)).save_pretrained(tmp_path)
    assert "holds a model of type 'bert', not 'seqvae'" in refused("sample", tmp_path)


def test_damaged_weights_are_named(run, tmp_path):
    folder = shutil.copytree(run / "best", tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    line = refused("sample", folder)
    assert f"the weights in {folder} are damaged" in line


def test_a_config_that_makes_no_sense_is_refused_by_its_field(run, tmp_path):
    folder = shutil.copytree(run / "best", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"latent_size": 0}))
    assert "latent_size must be at least 1, got 0" in refused("sample", folder)


def test_debug_shows_where_an_error_came_from(tmp_path):
    with pytest.raises(ValueError, match="holds no model"):
        call("--debug", "sample", tmp_path)


# -- parts


def test_words_that_came_in_are_marked_and_no_others():
    text = changes("the dog sleeps here .", "the old dog sleeps there .")
    marked = [text.plain[span.start : span.end] for span in text.spans if span.style]
    assert marked == ["old", "there"]
    assert text.plain == "the old dog sleeps there ."


def test_shown_sentences_are_short_known_different_and_even_in_number(space):
    long = " ".join(["the cheese"] * 10)
    texts = [A, A, long, "the xyzzy sells cheese .", B, C, "the cat ."]
    assert shown_sentences(texts, space) == [A, B]


def test_a_sentence_that_the_model_cannot_read_whole_is_not_shown(space, monkeypatch):
    monkeypatch.setattr(space.tokenizer, "model_max_length", len(A.split()) + 2)
    assert len(B.split()) > len(A.split()) >= len(C.split()) - 1
    assert B not in shown_sentences([A, B, A, C], space)


def test_values_and_ranges_are_read_as_numbers():
    assert read_values("-2, 0,1.5") == [-2.0, 0.0, 1.5]
    assert read_range("-3:3:4") == [-3.0, -1.0, 1.0, 3.0]
