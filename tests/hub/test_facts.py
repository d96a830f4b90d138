"""The facts of a run: measured, drawn by a rule, or said to be unknown; and its card's code."""

import io
import json
import logging
import random
import re
import shutil
import sys
from contextlib import redirect_stdout

import pytest
import torch
import yaml
from card_standins import trained_run
from cli_standins import call, refused, terminal
from hub_standins import language_model_folder, model_folder
from huggingface_hub import ModelCard
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY

from hf_seqvae import LatentSpace, SeqVAEModel
from hf_seqvae import recipe as recipes
from hf_seqvae.data import load_splits
from hf_seqvae.diagnosis import VERDICTS
from hf_seqvae.hub import make_bundle
from hf_seqvae.hub.card import read_facts, render_card
from hf_seqvae.hub.facts import collect_facts, public_name


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a full evaluation beside it, all by the commands that a user calls."""
    with pytest.MonkeyPatch.context() as patch, terminal(patch):
        folder = trained_run(tmp_path_factory.mktemp("facts"))
        options = ("--num-texts", 24, "--iw-samples", 4, "--num-generated", 8)
        call("evaluate", folder, "everyday", *options, "--output-dir", folder / "evaluation")
        return folder


@pytest.fixture(scope="module")
def facts(run):
    return collect_facts(run)


@pytest.fixture
def copy(run, tmp_path):
    """The run's folder, to be changed."""
    return shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))


@pytest.fixture(scope="module")
def held_out():
    sizes = {"num_train": 1, "num_validation": 1, "num_test": 24}
    return load_splits(dataset="everyday", **sizes)["test"]["text"][:]


# -- measured


def test_figures_are_those_of_the_report_with_the_split_that_they_are_of(run, facts):
    report = json.loads((run / "evaluation" / "report.json").read_text())
    assert facts["evaluation"]["figures"] == report["figures"]
    assert facts["evaluation"]["num_sentences"] == 24
    assert facts["evaluation"]["settings"]["iw_samples"] == 4
    # the command knows the name of the data alone; the run knows these very tokens as its test
    assert facts["evaluation"]["split"] == "test"
    assert facts["evaluation"]["data"]["name"] == "everyday"
    assert facts["evaluation"]["headlines"][:2] == ["negative_elbo", "iw_nll"]


def test_without_an_evaluation_the_figures_are_those_of_training(copy):
    shutil.rmtree(copy / "evaluation")
    found = collect_facts(copy)["evaluation"]
    assert found["figures"] == json.loads((copy / "report.json").read_text())["test"]["figures"]
    assert found["split"] == "test" and "iw_nll" not in found["figures"]


def test_without_a_report_there_is_no_figure(copy):
    shutil.rmtree(copy / "evaluation")
    (copy / "report.json").unlink()
    found = collect_facts(copy)
    assert found["evaluation"] is None and found["diagnosis"] is None
    assert "Nothing was measured" in render_card(found)


def test_an_evaluation_of_another_text_has_no_split(copy):
    path = copy / "evaluation" / "report.json"
    values = json.loads(path.read_text())
    values["data"] |= {"tokens_sha256": "0" * 64, "name": "/home/someone/secret/other.txt"}
    path.write_text(json.dumps(values))
    found = collect_facts(copy)["evaluation"]
    assert found["split"] is None and found["data"]["name"] == "other.txt"


def test_figures_of_other_weights_are_refused(copy):
    path = copy / "evaluation" / "report.json"
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "f'))
    with pytest.raises(ValueError, match="the figures in .*evaluation are of the weights f"):
        collect_facts(copy)
    path.write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        collect_facts(copy)
    with pytest.raises(ValueError, match="holds no report.json"):
        collect_facts(copy, evaluation=copy / "nowhere")


def test_figures_of_the_same_weights_under_another_config_are_refused(copy):
    path = copy / "best" / "config.json"
    text = path.read_text()
    assert text.count('"pooling": "max"') == 1
    path.write_text(text.replace('"pooling": "max"', '"pooling": "mean"'))
    with pytest.raises(ValueError, match="these weights under another config"):
        collect_facts(copy)


def test_cost_and_machine_are_those_of_the_training(run, facts):
    step, wall, cpu = json.loads((run / "cost.jsonl").read_text().splitlines()[-1])
    training = facts["training"]
    assert (training["wall_seconds"], training["cpu_seconds"]) == (wall, cpu)
    assert training["steps"] == step == 5
    assert training["environment"] == json.loads((run / "environment.json").read_text())
    assert training["environment"]["device"] == "cpu"


@pytest.mark.parametrize("kept", [None, "[4, 0.5, 0.5]\n"])
def test_a_cost_that_nobody_measured_from_the_start_is_unknown(copy, kept):
    (copy / "cost.jsonl").unlink()
    if kept is not None:  # the log begins at step 2
        (copy / "cost.jsonl").write_text(kept)
    assert collect_facts(copy)["training"]["cpu_seconds"] is None


def test_the_verdict_is_the_doctors(facts):
    assert facts["diagnosis"]["verdict"] in VERDICTS
    kl = facts["evaluation"]["figures"]["kl"]["value"]
    assert facts["diagnosis"]["evidence"][0]["value"] == kl


# -- drawn, not picked


def test_samples_are_the_first_draws_of_the_seed(run, facts):
    space = LatentSpace.from_pretrained(run)
    assert facts["samples"]["sentences"] == space.sample(8, seed=0)
    assert facts["samples"]["seed"] == 0
    again = collect_facts(run, seed=5, num_samples=2)["samples"]
    assert again["sentences"] == space.sample(2, seed=5) and again["seed"] == 5


def test_walks_go_between_the_first_sentences_of_the_shuffled_test_text(run, facts, held_out):
    rows = list(range(24))
    random.Random(0).shuffle(rows)
    ends = list(dict.fromkeys(held_out[row] for row in rows))[:6]
    walks = facts["interpolations"]["walks"]
    assert [text for walk in walks for text in (walk["a"], walk["b"])] == ends
    space = LatentSpace.from_pretrained(run)
    for walk in walks:
        assert walk["sentences"] == space.interpolate(walk["a"], walk["b"], 7)
    assert facts["examples"] == ends[:2]


def test_hidden_data_is_in_no_fact(run, held_out):
    found = collect_facts(run, show_data=False)
    assert found["interpolations"] is None
    text = json.dumps(found)
    ours = [text for text in held_out if text not in found["samples"]["sentences"]]
    assert len(ours) > 10 and not any(sentence in text for sentence in ours)
    assert len(found["examples"]) == 2


def test_text_that_is_gone_leaves_the_walks_out_and_is_said(copy, caplog):
    kept = copy / "recipe.yaml"
    values = yaml.safe_load(kept.read_text())
    values["data"] = {"train_file": "/gone/t.txt", "validation_file": "/gone/v.txt"}
    kept.write_text(yaml.safe_dump(values))
    with caplog.at_level(logging.WARNING):
        found = collect_facts(copy)
    assert "the text is not there" in caplog.text
    assert found["interpolations"] is None and len(found["examples"]) == 2
    assert found["data"]["name"] == "t.txt, v.txt" and "/gone" not in json.dumps(found)
    assert recipes.Recipe.from_dict(found["recipe"]).data.train_file == "t.txt"


# -- known or unknown


def test_everyday_is_ours_and_another_text_is_not(copy, facts, caplog):
    assert (facts["license"], facts["language"]) == ("apache-2.0", ["en"])
    assert facts["data"]["num_texts"] == {"train": 160, "validation": 30, "test": 24}
    values = yaml.safe_load((copy / "recipe.yaml").read_text())
    files = {name: copy / f"{name}.txt" for name in ("train", "validation")}
    for file in files.values():
        file.write_text("did they sleep ?\nthe girl reads a book .\n")
    values["data"] = {f"{name}_file": str(file) for name, file in files.items()}
    (copy / "recipe.yaml").write_text(yaml.safe_dump(values))
    with caplog.at_level(logging.WARNING):
        found = collect_facts(copy)
    assert "names no license" in caplog.text
    assert "the card shows 2 sentences of the validation text" in caplog.text
    assert found["license"] is None and found["language"] == []
    assert found["data"]["origin"] is None and found["data"]["license"] is None
    assert found["data"]["num_texts"] == {"validation": 2}
    told = collect_facts(
        copy, license="mit", language=["en"], data_origin="my diary", data_license="mine alone"
    )
    assert (told["license"], told["language"]) == ("mit", ["en"])
    assert (told["data"]["origin"], told["data"]["license"]) == ("my diary", "mine alone")


def test_a_model_folder_alone_gives_what_its_files_say(tmp_path):
    found = collect_facts(model_folder(tmp_path / "model", two_tokenizers=True))
    assert found["name"] == "model" and found["recipe"] is None and found["license"] is None
    assert found["data"]["name"] is None and found["interpolations"] is None
    assert found["model"]["decoder"]["tokens"] == found["model"]["encoder"]["tokens"] + 2
    assert found["model"]["decoder_tokenizer"] == "decoder_tokenizer"
    assert 'subfolder="decoder_tokenizer"' in render_card(found)


def test_a_language_model_has_samples_and_no_latents(tmp_path, monkeypatch):
    found = collect_facts(language_model_folder(tmp_path / "MODEL"))
    assert found["model"]["latent_size"] is None and found["interpolations"] is None
    assert len(found["samples"]["sentences"]) == 8
    card = render_card(found)
    assert "A language model without latents" in card
    monkeypatch.chdir(tmp_path)  # where MODEL is the model
    (block,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    (texts,) = printed(block)[0]
    assert len(texts) == 5 and any(texts)


def test_a_backbone_of_the_hub_is_named_and_its_license_is_not_ours(copy):
    path = copy / "best" / "config.json"
    config = json.loads(path.read_text())
    config["encoder"]["_name_or_path"] = "owner/backbone"
    config["decoder"]["_name_or_path"] = "/home/someone/backbone"
    path.write_text(json.dumps(config))
    found = collect_facts(copy)
    assert found["base_models"] == ["owner/backbone"] and found["license"] is None


def test_no_fact_tells_where_things_lay(run, facts):
    text = json.dumps(facts)
    assert str(run.parent) not in text and "output_dir" not in text
    assert json.loads(text) == facts  # plain values


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/texts/a.txt", "a.txt"),
        (r"C:\me\a.csv", "a.csv"),
        ("texts/a.jsonl", "a.jsonl"),
        ("owner/words", "owner/words"),
        ("everyday", "everyday"),
    ],
)
def test_a_path_goes_by_its_last_part(path, name):
    assert public_name(path) == name


# -- the command, and the code of the card on the very model


@pytest.fixture(scope="module")
def written(run, tmp_path_factory):
    """What the command writes, and what it says about it."""
    folder = tmp_path_factory.mktemp("card")
    with pytest.MonkeyPatch.context() as patch, terminal(patch):
        said = call("card", run, "--repo-id", "me/tiny", "--output-dir", folder, "--json").stdout
    return folder, json.loads(said)


def test_the_command_writes_card_facts_and_small_pictures(written):
    folder, said = written
    assert said["missing"].keys() == {"datasets"}
    text, facts = (folder / "README.md").read_text(), read_facts(folder)
    assert text == render_card(facts)
    assert ModelCard(text).data.to_dict()["model-index"][0]["name"] == "tiny"
    drawn = [picture["file"] for picture in facts["pictures"]]
    assert drawn == [f"assets/{name}.png" for name in ("curves", "kl_per_dimension", "latent_map")]
    for file in drawn:
        assert f"]({file})" in text
        data = (folder / file).read_bytes()
        assert data.startswith(b"\x89PNG") and len(data) < 150_000


def test_the_command_refuses_in_a_line(run, tmp_path, monkeypatch):
    with terminal(monkeypatch):
        assert "owner/name" in refused("card", run, "--repo-id", "a/b/c")
        assert "there is no folder" in refused("card", tmp_path / "nowhere")
        taken = run / "recipe.yaml"
        assert "is a file. Name another place" in refused("card", run, "--output-dir", taken)


def printed(block):
    names: dict = {"__name__": "card"}
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(block, "card", "exec"), names)
    return [yaml.safe_load(line) for line in out.getvalue().splitlines()], names


def test_the_same_run_gives_the_same_card_byte_for_byte(run, written, tmp_path):
    make_bundle(run, tmp_path, repo_id="me/tiny")
    for file in ("README.md", "facts.json", "assets/curves.png", "assets/latent_map.png"):
        assert (tmp_path / file).read_bytes() == (written[0] / file).read_bytes(), file


@pytest.mark.parametrize("two_tokenizers", [False, True])
def test_the_code_of_the_card_does_what_it_says(tmp_path, monkeypatch, two_tokenizers):
    source = model_folder(tmp_path / "source", two_tokenizers=two_tokenizers)
    folder = tmp_path / "me" / "tiny"
    model = SeqVAEModel.from_pretrained(source)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # wide enough that each latent has a sentence of its own
        for parameter in model.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(source)
    folder.mkdir(parents=True)
    make_bundle(source, folder, repo_id="me/tiny")
    monkeypatch.chdir(tmp_path)  # so that me/tiny is the published folder
    card = (folder / "README.md").read_text()
    with_package, without, as_pipeline = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    space, (a, b) = LatentSpace.from_pretrained(source), read_facts(folder)["examples"]
    walk, both, drawn = space.interpolate(a, b, 7), space.reconstruct([a, b]), space.sample(5)
    assert walk[0] != walk[-1]

    lines, names = printed(with_package)
    assert lines == [both, drawn, walk]
    assert torch.equal(names["latents"], space.encode([a, b]))

    # as where the package is not installed: no import of it, and nothing of it is known
    monkeypatch.setitem(sys.modules, "hf_seqvae", None)
    for known in (CONFIG_MAPPING, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING):
        monkeypatch.setattr(known, "_extra_content", {})
    monkeypatch.delitem(PIPELINE_REGISTRY.supported_tasks, "sequence-vae")
    lines, names = printed(without)
    assert type(names["model"]).__module__.startswith("transformers_modules.")
    # batch_decode leaves out every special token, and so unknown words
    known = [[text.replace("<unk>", "").split() for text in texts] for texts in (both, walk)]
    assert [[text.split() for text in texts] for texts in (lines[0], lines[2])] == known
    assert len(lines[1]) == 5

    lines, names = printed(as_pipeline)
    assert type(names["pipe"]).__module__.startswith("transformers_modules.")
    assert lines[:3] == [both, drawn, walk]
    assert lines[3] == pytest.approx(space.encode([a])[0].tolist(), abs=1e-5)
