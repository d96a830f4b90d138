"""hf-seqvae evaluate: its table and JSON, comparisons, folders, and how it refuses."""

import json
import re
import shutil

import pytest
from cli_standins import call, refused, terminal
from datasets import Dataset
from evaluation_standins import strict_json, tiny_language_model, tiny_vae
from evaluation_worker import counted

from hf_seqvae import everyday
from hf_seqvae.cli.figures import figures_table
from hf_seqvae.cli.screen import stdout
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.evaluation import read_report

A, C = "the farmer sells the cheese .", "my cat hides in the garden ."
QUICK = ("--num-texts", 20, "--bound-only")


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    """A folder to be in, since results go to runs/evaluate/ of it by default."""
    monkeypatch.chdir(tmp_path)
    with terminal(monkeypatch):
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two untrained models of everyday words, and one without latents."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = tokenizer_from_words(everyday.vocabulary(), max_length=32)
    sizes = {"vocab_size": len(tokenizer), "embedding_size": 8, "hidden_size": 8}
    made = {
        "a": tiny_vae(2, encoder=sizes, decoder=dict(sizes)),
        "b": tiny_vae(4, encoder=sizes, decoder=dict(sizes)),
        "lm": tiny_language_model(vocab_size=len(tokenizer)),
    }
    for name, model in made.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


def figures_of(*arguments):
    return json.loads(call("evaluate", *arguments, "--json").stdout)["figures"]


# -- one model


def test_the_table_groups_figures_says_what_they_are_and_where_the_rest_is(models, tmp_path):
    arguments = ("--iw-samples", 3, "--num-generated", 5, "--num-texts", 20)
    text = call("evaluate", models / "a", "everyday", *arguments).stdout
    for group in ("likelihood", "use of the latents", "dispersion", "generated text"):
        assert f"\n  {group} " in text, group
    labels = ["-ELBO", "IW-NLL", "-log p(x)", "entropy", "bound gap", "IW gap", "word PPL"]
    labels += ["reconstruction", "KL", "MI", "used", "active units", "swap gap", "zero gap"]
    assert [label for label in labels if f"\n  {label} " not in text] == []
    assert f"{everyday.entropy():.2f}" in text
    flowing = " ".join(text.split())
    assert "K = 3" in flowing and "at most ln 20 = 3.00" in flowing
    folder = re.search(r"every figure and its definition  (\S+)", text)[1]
    for name in ("negative_elbo", "iw_nll", "kl", "exact_nll"):
        figure = read_report(tmp_path / folder)[name]
        assert f"{figure.value:.2f} ± {figure.standard_error:.2f}" in text
    tables = text.split("every figure")[0].splitlines()
    assert max(len(line) for line in tables if str(models) not in line) <= 100


def test_a_table_of_two_data_sets_has_a_column_for_each(models, capsys):
    reports = {}
    for split in ("validation", "test"):
        out = f"out-{split}"
        call("evaluate", models / "a", "everyday", *QUICK, "--split", split, "--output-dir", out)
        reports[split] = read_report(out)
    stdout().print(figures_table(reports, "both"))
    text = capsys.readouterr().out
    assert re.search(r"\n +validation +test +what it says", text)
    assert re.search(r"\n  sentences +20 +20 ", text)
    (line,) = (line for line in text.splitlines() if line.startswith("  -ELBO "))
    for report in reports.values():
        assert f"{report['negative_elbo'].value:.2f} ± " in line


def test_the_json_is_the_report_and_alone_on_stdout(models):
    result = call("evaluate", models / "a", "everyday", *QUICK, "--json", "--output-dir", "out")
    values = json.loads(result.stdout)
    assert values.pop("output_dir") == "out"
    assert values == read_report("out").to_dict()
    assert values["model"]["name"] == str(models / "a") and values["data"]["name"] == "everyday"


def test_one_sentence_gives_reasons_in_the_table_and_strict_json(models):
    arguments = ("evaluate", models / "a", "everyday", "--num-texts", 1, "--iw-samples", 2)
    text = call(*arguments).stdout
    assert re.search(r"\n  MI +- .*", text) and re.search(r"\n  swap gap +- ", text)
    assert "undefined: one sentence" in " ".join(text.split())
    assert "nan" not in text.lower()
    values = strict_json(call(*arguments, "--json").stdout)
    assert values["figures"]["swap_gap"]["value"] is None


def test_a_file_of_ones_own_has_no_floor(models, tmp_path):
    (tmp_path / "mine.txt").write_text("\n".join(everyday.generate(30, 1)[0]))
    text = call("evaluate", models / "a", tmp_path / "mine.txt", "--bound-only").stdout
    assert "mine.txt" in text
    assert "exp(-ELBO / (words + one end a sentence))" in " ".join(text.split())
    assert "entropy" not in text and "IW-NLL" not in text and "generated text" not in text


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_evaluate_reads_a_column_of_a_file(models, tmp_path, kind):
    rows = Dataset.from_dict({"review": everyday.generate(9, 1)[0], "stars": [1] * 9})
    path = tmp_path / f"reviews.{kind}"
    writers = {"csv": rows.to_csv, "jsonl": rows.to_json, "parquet": rows.to_parquet}
    writers[kind](str(path))
    arguments = ("--text-column", "review", "--json", "--num-texts", 7, "--bound-only")
    result = call("evaluate", models / "a", path, *arguments)
    assert json.loads(result.stdout)["num_sentences"] == 7


def test_options_change_what_they_name_and_sizes_change_nothing(models):
    def bound(*more):
        return figures_of(models / "a", "everyday", *QUICK, *more)["negative_elbo"]["value"]

    assert bound("--num-samples", 3) != bound()
    assert bound("--seed", 1) != bound()
    assert bound("--split", "validation") != bound()
    sizes = ("--batch-size", 7, "--decode-size", 3, "--output-dir", "other")
    assert bound(*sizes) == pytest.approx(bound(), rel=1e-5)


def test_the_same_command_reads_what_it_measured_and_fresh_measures(models):
    arguments = ("evaluate", models / "a", "everyday", *QUICK, "--json")
    first = call(*arguments)
    with counted() as rows:
        assert call(*arguments).stdout == first.stdout
    assert rows == {"encoded": 0, "decoded": 0}
    with counted() as rows:
        again = json.loads(call(*arguments, "--fresh").stdout)
    assert rows["encoded"] == 20
    assert again["figures"] == json.loads(first.stdout)["figures"]


def test_each_question_has_a_default_folder_of_its_own(models):
    def folder(*more):
        text = call("evaluate", models / "a", "everyday", *QUICK, "--json", *more).stdout
        return json.loads(text)["output_dir"]

    named = {folder(), folder("--seed", 1), folder("--num-samples", 2), folder("--max-length", 30)}
    assert len(named) == 4
    assert all(name.startswith("runs/evaluate/a-everyday-") for name in named)


def test_a_floor_is_left_out_where_the_model_does_not_know_every_word(models, tmp_path):
    folder = shutil.copytree(models / "a", tmp_path / "model")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["no-such-word"] = vocabulary.pop("the")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    result = call("evaluate", folder, "everyday", *QUICK)
    assert "words unknown to the model" in result.stderr
    assert "entropy" not in result.stdout


def test_too_long_texts_are_refused_unless_truncated(models, tmp_path):
    (tmp_path / "long.txt").write_text("\n".join([A, " ".join([A] * 5), C]))
    arguments = ("evaluate", models / "a", tmp_path / "long.txt", "--bound-only")
    line = refused(*arguments, "--max-length", 8)
    assert "1 of 3 texts have more than max_length=8" in line
    cut = call(*arguments, "--max-length", 8, "--truncate", "--json")
    assert json.loads(cut.stdout)["num_tokens"] == 7 + 9 + 8
    assert "1 of 3 texts were cut" in cut.stderr
    # 32 words are what the model's tokenizer allows
    (tmp_path / "long.txt").write_text(" ".join([A] * 6))
    assert "1 of 1 texts have more than max_length=32" in refused(*arguments)


def test_square_brackets_in_a_name_are_no_markup(models, tmp_path, capsys):
    folder = shutil.copytree(models / "a", tmp_path / "model[b]")
    call("evaluate", folder, "everyday", *QUICK, "--output-dir", "out[/]")
    stdout().print(figures_table({"[i].txt": read_report("out[/]")}, "[b] on [/]"))
    text = capsys.readouterr().out
    assert "[b] on [/]" in text and re.search(r"\n +\[i\]\.txt +what it says", text)
    assert "side by side" in call("evaluate", "--compare", "out[/]", "out[/]").stdout


# -- a model without latents


def test_a_language_model_has_exact_figures_and_no_others(models):
    text = call("evaluate", models / "lm", "everyday", "--num-texts", 20).stdout
    assert "exact: the model has no latents" in " ".join(text.split())
    assert "word PPL" in text and "use of the latents" not in text and "IW-NLL" not in text


def test_a_model_with_latents_is_held_against_one_without(models):
    arguments = ("everyday", "--num-texts", 20, "--iw-samples", 3, "--num-generated", 2)
    compare = ("--compare", models / "lm", models / "a")
    result = call("evaluate", *arguments, *compare, "--json")
    (item,) = json.loads(result.stdout)["differences"]
    assert item["name"] == "iw_nll against nll" and item["sign"] == -1
    assert f"{item['difference']:+.3f}" in call("evaluate", *arguments, *compare).stdout


# -- side by side


def test_two_models_stand_side_by_side_with_differences_in_standard_errors(models):
    compare = ("evaluate", "everyday", "--compare", models / "a", models / "b", *QUICK)
    values = json.loads(call(*compare, "--json").stdout)
    differences = {item["name"]: item for item in values["differences"]}
    reports = [values["reports"][str(models / name)] for name in ("a", "b")]
    for name in ("negative_elbo", "kl"):
        first, second = (report["figures"][name]["value"] for report in reports)
        item = differences[name]
        assert item["difference"] == pytest.approx(second - first)
        ratio = item["difference"] / item["standard_error"]
        assert item["in_standard_errors"] == pytest.approx(ratio)
    text = call(*compare).stdout
    assert re.search(r"\n +a +b +second less first ", text)
    (line,) = (line for line in text.splitlines() if line.startswith("  KL "))
    assert f"{differences['kl']['difference']:+.3f}" in line
    assert f"{differences['kl']['in_standard_errors']:+.1f}" in line
    assert "lower is better" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def test_a_narrow_terminal_shows_the_figures_and_not_what_they_mean(models, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = call("evaluate", "everyday", "--compare", models / "a", models / "b", *QUICK).stdout
    assert re.search(r"\n +a +b +second less first +errors *\n", text)
    assert "lower is better" not in text and "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_two_finished_folders_stand_side_by_side_without_data(models):
    for name in ("a", "b"):
        call("evaluate", models / name, "everyday", *QUICK, "--output-dir", f"out-{name}")
    with counted() as rows:
        finished = json.loads(call("evaluate", "--compare", "out-a", "out-b", "--json").stdout)
    assert rows == {"encoded": 0, "decoded": 0}
    measured = ("everyday", "--compare", models / "a", models / "b", *QUICK, "--json")
    assert finished["differences"] == json.loads(call("evaluate", *measured).stdout)["differences"]


def test_each_side_has_a_folder_also_where_the_models_have_one_name(models, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(models / name, tmp_path / name / "best")
    compare = ("--compare", tmp_path / "a/best", tmp_path / "b/best", "--output-dir", "out")
    call("evaluate", "everyday", *compare, *QUICK)
    first, second = (read_report(f"out/best-{place}").model["sha256"] for place in (1, 2))
    assert first != second
    call("evaluate", "everyday", "--compare", models / "a", models / "b", *QUICK, *compare[-2:])
    assert read_report("out/a") and read_report("out/b")


# -- how it refuses


def test_without_a_model_or_data_or_with_fewer_samples_it_says_what_it_needs(models):
    for arguments in ((), (models / "a",)):
        assert "evaluate needs MODEL and DATA, or --compare A B" in refused("evaluate", *arguments)
    few = ("--iw-samples", 2, "--num-samples", 3)
    assert "at least num_samples = 3" in refused("evaluate", models / "a", "everyday", *few)


def test_a_comparison_that_makes_no_sense_is_refused(models, tmp_path):
    both = ("--compare", models / "a", models / "b")
    line = refused("evaluate", models / "a", "everyday", *both, *QUICK)
    assert "names the models already: leave out" in line
    # folders of models without data to measure them on
    line = refused("evaluate", *both)
    assert "holds no report.json: give the folder of a finished evaluation" in line
    assert "name DATA to measure a model on it" in line
    # the folder of a training run has a report.json, of another kind
    shutil.copytree(models / "a", tmp_path / "run/best")
    (tmp_path / "run/report.json").write_text('{"model": "best", "test": {}}')
    line = refused("evaluate", "--compare", tmp_path / "run", tmp_path / "run")
    assert "is not the report of an evaluation: a training run has one" in line
    # and is not written over
    line = refused("evaluate", models / "a", "everyday", *QUICK, "--output-dir", tmp_path / "run")
    assert "another --output-dir" in line


def test_other_texts_cannot_be_compared(models):
    for name, count in (("a", 20), ("b", 19)):
        arguments = ("--num-texts", count, "--bound-only", "--output-dir", f"out-{name}")
        call("evaluate", models / name, "everyday", *arguments)
    line = refused("evaluate", "--compare", "out-a", "out-b")
    assert "over the same texts; got the first: 20 sentences" in line


def test_a_folder_of_another_evaluation_is_refused_with_what_changed(models):
    arguments = ("everyday", *QUICK, "--output-dir", "out")
    call("evaluate", models / "a", *arguments)
    assert "changed: seed: 0 -> 3" in refused("evaluate", models / "a", *arguments, "--seed", 3)
    line = refused("evaluate", models / "b", *arguments)
    assert "changed: model_sha256" in line and "--fresh" in line
    call("evaluate", models / "b", *arguments, "--fresh")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--iw-samples", 0),
        ("--num-samples", 0),
        ("--decode-size", 0),
        ("--batch-size", 0),
        ("--num-texts", 0),
        ("--num-generated", 0),
        ("--seed", -1),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_its_option(models, option, value):
    result = call("evaluate", models / "a", "everyday", option, value, code=2)
    message = re.sub(r"[\s│]+", " ", result.stderr)
    assert f"Invalid value for '{option}': Input should be greater than or equal to" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no text|empty"),
        ("xyzzy\nplugh plugh\n", "every word of all 2 texts is unknown to the tokenizer"),
    ],
)
def test_a_file_without_a_word_the_model_knows_is_refused(models, tmp_path, text, message):
    (tmp_path / "odd.txt").write_text(text)
    assert re.search(message, refused("evaluate", models / "a", tmp_path / "odd.txt"))


def test_data_that_is_not_there_is_named(models, tmp_path):
    assert "there is no file" in refused("evaluate", models / "a", tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("review,stars\ngood,5\n")
    line = refused("evaluate", models / "a", tmp_path / "a.csv")
    assert "has no column 'text', only ['review', 'stars']" in line
    line = refused("evaluate", models / "a", "everyday", "--split", "dev")
    assert "must be one of ['train', 'validation', 'test'], got 'dev'" in line


def test_a_model_that_is_not_there_or_does_not_fit_its_tokenizer_is_named(models, tmp_path):
    assert "there is no folder" in refused("evaluate", tmp_path / "none", "everyday")
    for name in ("a", "lm"):
        folder = shutil.copytree(models / name, tmp_path / name)
        tokenizer_from_words([*everyday.vocabulary(), "more"]).save_pretrained(folder)
        line = refused("evaluate", folder, "everyday", *QUICK)
        assert "they do not belong together" in line


def test_an_output_folder_that_cannot_be_made_is_refused(models, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ("everyday", *QUICK, "--output-dir", tmp_path / "file")
    assert "file" in refused("evaluate", models / "a", *arguments)


def test_ctrl_c_says_where_the_results_are_and_how_to_go_on(models, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hf_seqvae.evaluation.measure", interrupted)
    arguments = ("everyday", *QUICK, "--output-dir", tmp_path / "out")
    message = refused("evaluate", models / "a", *arguments, code=130)
    assert str(tmp_path / "out") in message and "the same command goes on" in message


def test_an_output_folder_that_is_a_file_is_refused(models, tmp_path):
    (tmp_path / "out").write_text("mine")
    message = refused(
        "evaluate", models / "a", "everyday", *QUICK, "--output-dir", tmp_path / "out"
    )
    assert "--output-dir must be a folder that can be written to" in message
    assert (tmp_path / "out").read_text() == "mine"


def test_a_comparison_says_where_the_models_know_different_words(models, tmp_path):
    words = [word for word in everyday.vocabulary() if word != "the"]
    tokenizer_from_words(words, max_length=32).save_pretrained(tmp_path / "c")
    for path in (models / "b").glob("*"):
        if not (tmp_path / "c" / path.name).exists():
            shutil.copy(path, tmp_path / "c" / path.name)
    arguments = ("evaluate", "everyday", *QUICK, "--compare", models / "a")
    note = "do not know the same words"
    assert note in " ".join(call(*arguments, tmp_path / "c").stdout.split())
    assert note not in " ".join(call(*arguments, models / "b").stdout.split())
