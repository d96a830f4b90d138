"""What goes up with a model, and what never does."""

import json
import shutil
from pathlib import Path

import pytest
import transformers
import yaml
from hub_standins import language_model_folder, model_folder, run_folder, use_card
from safetensors.torch import load_file
from transformers import AutoTokenizer

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.engine.lock import locked
from hf_seqvae.hub import make_bundle
from hf_seqvae.hub.bundle import MANIFEST
from hf_seqvae.model import modeling_seqvae

CODE = {path.name for path in Path(modeling_seqvae.__file__).parent.glob("[!_]*.py")}
MODEL = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
CARD = {"README.md", "facts.json", "assets/map.png", MANIFEST}
RUN = {"recipe.yaml", "report.json", "curves.png"}
WEIGHTS = {"model.safetensors"}
SECRET = "hf_" + "SecretOfTheUser0123456789abcdefgh"


@pytest.fixture(autouse=True)
def card(monkeypatch):
    use_card(monkeypatch)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def bundle(source, folder, **kwargs):
    folder.mkdir()
    files = make_bundle(source, folder, repo_id="owner/tiny", **kwargs)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(files) == there
    return there


def refusal(source, folder, **kwargs):
    with pytest.raises(ValueError) as raised:
        bundle(source, folder, **kwargs)
    return str(raised.value)


def test_a_run_gives_its_best_model_with_code_card_and_figures_and_nothing_else(run, tmp_path):
    (run / ".env").write_text("HF_TOKEN=secret")
    (run / "best" / "notes.txt").write_text("for me alone")
    files = bundle(run, tmp_path / "b")
    assert files == MODEL | CODE | CARD | RUN | WEIGHTS
    assert json.loads((tmp_path / "b" / MANIFEST).read_text())["files"] == sorted(files)


def test_a_model_folder_gives_the_same_without_recipe_and_figures(run, tmp_path):
    assert bundle(run / "best", tmp_path / "b") == MODEL | CODE | CARD | WEIGHTS


def test_a_published_folder_gives_the_same_files_again(run, tmp_path):
    files = bundle(run, tmp_path / "b")
    (tmp_path / "b" / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    assert bundle(tmp_path / "b", tmp_path / "c") == files
    for file in RUN:
        assert (tmp_path / "c" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_config_names_the_code_for_each_auto_class(run, tmp_path):
    bundle(run, tmp_path / "b")
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "configuration_seqvae.SeqVAEConfig",
        "AutoModel": "modeling_seqvae.SeqVAEModel",
        "AutoModelForSeq2SeqLM": "modeling_seqvae.SeqVAEModel",
    }
    assert {task: entry["impl"] for task, entry in config["custom_pipelines"].items()} == {
        "sequence-vae": "pipeline_seqvae.SeqVAEPipeline"
    }
    before = json.loads((run / "best" / "config.json").read_text())
    assert {k: v for k, v in config.items() if k not in ("auto_map", "custom_pipelines")} == before


def test_bundling_leaves_the_classes_and_the_run_as_they_were(run, tmp_path):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    bundle(run, tmp_path / "b")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert SeqVAEModel._auto_class is None and SeqVAEConfig._auto_class is None
    SeqVAEModel.from_pretrained(run / "best").save_pretrained(tmp_path / "later")
    assert not list((tmp_path / "later").glob("*.py"))


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    files = bundle(run, tmp_path / "b")
    assert bundle(run, tmp_path / "c") == files
    for file in files:
        assert (tmp_path / "b" / file).read_bytes() == (tmp_path / "c" / file).read_bytes(), file


def test_large_weights_are_cut_into_shards_that_hold_the_same_tensors(run, tmp_path):
    whole = load_file(run / "best" / "model.safetensors")
    files = bundle(run, tmp_path / "b", max_shard_size="4KB")
    shards = sorted(file for file in files if file.endswith(".safetensors"))
    assert len(shards) > 2 and "model.safetensors" not in files
    assert all((tmp_path / "b" / shard).stat().st_size < 6_000 for shard in shards)
    parts = [load_file(tmp_path / "b" / shard) for shard in shards]
    assert sum(len(part) for part in parts) == len(whole)
    for name, value in (item for part in parts for item in part.items()):
        assert value.equal(whole[name])
    # shards that fit go up as they are
    again = bundle(tmp_path / "b", tmp_path / "c", max_shard_size="5GB")
    assert {file for file in again if file.endswith(".safetensors")} == set(shards)
    assert SeqVAEModel.from_pretrained(tmp_path / "c").num_parameters() > 0


def test_both_tokenizers_go_along(tmp_path):
    source = model_folder(tmp_path / "two", two_tokenizers=True)
    files = bundle(source, tmp_path / "b")
    assert {f"decoder_tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json")} < (
        files
    )
    loaded = AutoTokenizer.from_pretrained(tmp_path / "b", subfolder="decoder_tokenizer")
    assert len(loaded) == len(AutoTokenizer.from_pretrained(tmp_path / "b")) + 2


@pytest.mark.parametrize("name", ["Bertweet", "DebertaV2", "Luke", "MyT5", "ProphetNet", "RemBert"])
def test_the_files_of_a_rarer_tokenizer_go_along_too(run, tmp_path, name):
    names = set(getattr(transformers, f"{name}Tokenizer").vocab_files_names.values())
    for file in names:
        (run / "best" / file).write_text((run / "best" / "tokenizer.json").read_text())
    assert names <= bundle(run, tmp_path / "b")


def test_a_language_model_carries_its_own_classes_alone(tmp_path):
    files = bundle(language_model_folder(tmp_path / "lm"), tmp_path / "b")
    assert "modeling_lstm.py" in files and "modeling_seqvae.py" not in files
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_lstm.SeqVAELSTMForCausalLM"
    assert "custom_pipelines" not in config


def test_a_folder_with_code_of_its_own_keeps_it(run, tmp_path):
    bundle(run, tmp_path / "b")
    changed = tmp_path / "b" / "pooling.py"
    changed.write_text(changed.read_text() + "\nRELEASE = 'mine'\n")
    (tmp_path / "b" / "stranger.py").write_text("import this\n")
    files = bundle(tmp_path / "b", tmp_path / "c")
    assert (tmp_path / "c" / "pooling.py").read_text().endswith("RELEASE = 'mine'\n")
    assert "stranger.py" not in files  # nothing imports it
    (tmp_path / "b" / "scoring.py").unlink()
    assert "needs scoring.py" in refusal(tmp_path / "b", tmp_path / "d")


def test_a_folder_that_names_code_and_holds_none_gets_the_packages(run, tmp_path):
    bundle(run, tmp_path / "b")
    SeqVAEModel.from_pretrained(tmp_path / "b").save_pretrained(run / "best")
    assert "auto_map" in json.loads((run / "best" / "config.json").read_text())
    assert bundle(run, tmp_path / "c") >= CODE


def test_paths_of_this_machine_become_names(run, tmp_path):
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["train_file"] = "/home/lovelace42/secret/train.csv"
    recipe["data"]["test_file"] = "../lovelace42/t.csv"
    recipe["tokenizer"]["name"] = "~/lovelace42/tokenizer"
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (run / "report.json").write_text(json.dumps({"data": ["C:\\Users\\lovelace42\\x.csv"], "n": 1}))
    config = json.loads((run / "best" / "config.json").read_text())
    config["encoder"]["_name_or_path"] = "/home/lovelace42/models/bert"
    (run / "best" / "config.json").write_text(json.dumps(config))
    files = bundle(run, tmp_path / "b")
    for file in files - {"assets/map.png", "curves.png"}:
        text = (tmp_path / "b" / file).read_bytes()
        assert b"lovelace42" not in text and str(tmp_path).encode() not in text, file
    published = yaml.safe_load((tmp_path / "b" / "recipe.yaml").read_text())
    assert published["data"]["train_file"] == "train.csv"
    assert published["data"]["test_file"] == "t.csv"
    assert published["output_dir"] == "run"
    assert published["model"] == recipe["model"]
    assert json.loads((tmp_path / "b" / "report.json").read_text())["data"] == ["x.csv"]


@pytest.mark.parametrize("secret", [SECRET, "sk-proj-0123456789abcdefghij", "AKIAABCDEFGHIJKLMNOP"])
def test_a_recipe_that_holds_a_token_is_refused_without_showing_it(run, tmp_path, secret):
    text = (run / "recipe.yaml").read_text().replace("name: quickstart", f"name: {secret}")
    (run / "recipe.yaml").write_text(text)
    message = refusal(run, tmp_path / "b")
    assert "recipe.yaml would be published with" in message and "line" in message
    assert secret not in message


def test_a_card_with_the_token_in_use_or_with_a_home_folder_is_refused(run, tmp_path):
    message = refusal(run, tmp_path / "b", token="short-one", words="short-one")
    assert "README.md would be published with the token in use in line 10" in message
    message = refusal(run, tmp_path / "c", words=f"see {Path.home()}/notes")
    assert "README.md would be published with a path of this machine" in message


def test_a_run_that_has_not_finished_is_refused(run, tmp_path):
    with locked(run):
        assert "is in use by process" in refusal(run, tmp_path / "a")
    (run / "report.json").unlink()
    message = refusal(run, tmp_path / "b")
    assert "has not finished" in message and str(run / "best") in message
    shutil.rmtree(run / "best")
    assert "neither config.json nor best/config.json" in refusal(run, tmp_path / "c")
    assert "there is no folder" in refusal(run / "nothing", tmp_path / "d")


def test_damaged_or_missing_weights_are_refused(run, tmp_path):
    weights = run / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "are damaged (model.safetensors: " in refusal(run, tmp_path / "a")
    weights.rename(run / "best" / "pytorch_model.bin")
    assert "only pytorch_model.bin, a pickle" in refusal(run, tmp_path / "b")
    (run / "best" / "pytorch_model.bin").unlink()
    assert "holds no weights" in refusal(run, tmp_path / "c")
    index = {"weight_map": {"a": "../../secret.safetensors"}}
    (run / "best" / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "must name safetensors files beside it" in refusal(run, tmp_path / "d")
    (run / "best" / "config.json").write_text("{")
    assert "config.json is damaged" in refusal(run, tmp_path / "e")


def test_another_kind_of_model_is_refused(run, tmp_path):
    path = run / "best" / "config.json"
    path.write_text(json.dumps({"model_type": "bert"}))
    assert "'bert'" in refusal(run, tmp_path / "a")


@pytest.mark.parametrize("size", ["large", "5", -3, "0KB"])
def test_a_shard_size_that_is_none_is_refused(run, tmp_path, size):
    assert "max_shard_size must be" in refusal(run, tmp_path / "a", max_shard_size=size)
