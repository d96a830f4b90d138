"""What was published loads again: with the package and without, by every name, online and off."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub.wire import OTHER, OWNER
from hub_standins import (
    REPO,
    SENTENCES,
    language_model_folder,
    model_folder,
    run_folder,
    use_card,
)
from huggingface_hub import HfApi, ModelCard, constants, snapshot_download
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

import hf_seqvae
from hf_seqvae.hub import publish
from hf_seqvae.latent_space import LatentSpace, load_model

SETTINGS = {"max_new_tokens": 6, "num_beams": 2}


@pytest.fixture(autouse=True)
def card(monkeypatch):
    use_card(monkeypatch)


def answers(model, tokenizer):
    """Logits and generations, as plain values."""
    texts = tokenizer(SENTENCES, return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**texts, labels=texts["input_ids"]).logits
    tokens = model.generate(**texts, **SETTINGS)
    return {"logits": logits.flatten().tolist(), "tokens": tokens.tolist()}


def local(folder):
    return answers(
        hf_seqvae.SeqVAEModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    )


def test_with_the_package_it_loads_by_branch_tag_and_commit_and_from_the_cache(
    hub, transport, tmp_path, monkeypatch
):
    first, second = run_folder(tmp_path / "1"), run_folder(tmp_path / "2")
    old = publish(first, REPO, tag="v1")
    publish(second, REPO, revision="next", max_shard_size="4KB")
    wanted = {"v1": local(first / "best"), "next": local(second / "best")}
    wanted |= {"main": wanted["v1"], old.commit: wanted["v1"]}
    for _ in range(2):  # online, then offline from the cache
        for revision, expected in wanted.items():
            tokenizer = AutoTokenizer.from_pretrained(REPO, revision=revision)
            config = AutoConfig.from_pretrained(REPO, revision=revision)
            assert type(config) is hf_seqvae.SeqVAEConfig
            for auto in (AutoModel, AutoModelForSeq2SeqLM):
                model = auto.from_pretrained(REPO, revision=revision)
                assert type(model) is hf_seqvae.SeqVAEModel
                assert answers(model, tokenizer) == expected
        before = len(hub.log)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(hub.log) == before


def test_our_own_loading_takes_a_hub_id_with_both_tokenizers(hub, transport, tmp_path):
    folder = model_folder(tmp_path / "two", two_tokenizers=True)
    publish(folder, REPO)
    model, tokenizer, decoder_tokenizer = load_model(REPO)
    assert len(decoder_tokenizer) == len(tokenizer) + 2
    assert decoder_tokenizer.convert_tokens_to_ids("tree") != decoder_tokenizer.unk_token_id
    space = LatentSpace.from_pretrained(REPO)
    assert space.reconstruct(SENTENCES) == LatentSpace.from_pretrained(folder).reconstruct(
        SENTENCES
    )


def test_a_private_repository_opens_for_its_owner_alone(hub, transport, tmp_path, monkeypatch):
    folder = model_folder(tmp_path / "m")
    publish(folder, REPO, private=True)
    assert local(snapshot_download(REPO)) == local(folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another"))
    monkeypatch.setenv("HF_TOKEN", OTHER)
    with pytest.raises(OSError, match="If this is a private repository"):
        AutoModel.from_pretrained(REPO)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match="If this is a private repository"):
        AutoModel.from_pretrained(REPO)
    assert type(AutoModel.from_pretrained(REPO, token=OWNER)) is hf_seqvae.SeqVAEModel


def test_a_snapshot_is_a_model_folder(hub, transport, tmp_path):
    folder = model_folder(tmp_path / "m")
    publish(folder, REPO)
    down = Path(snapshot_download(REPO))
    assert local(down) == local(folder)
    command = [str(Path(sys.executable).with_name("hf")), "download", REPO, "--local-dir"]
    environment = hub.environment(tmp_path / "home")
    subprocess.run(
        [*command, str(tmp_path / "cli")], env=environment, check=True, capture_output=True
    )
    assert local(tmp_path / "cli") == local(folder)


# In a fresh process that cannot import the package, whose only source is the Hub.
CHILD = """
import json, sys
sys.modules["hf_seqvae"] = None
import torch
from huggingface_hub import constants
from transformers import (AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM,
                          AutoTokenizer, pipeline)
torch.set_num_threads(1)
trust = {"trust_remote_code": True}
asked = json.loads(sys.argv[1])

def load(repo, auto=AutoModel, revision="main"):
    model = auto.from_pretrained(repo, revision=revision, **trust)
    tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision, **trust)
    config = AutoConfig.from_pretrained(repo, revision=revision, **trust)
    assert type(config) is type(model.config), (type(config), type(model.config))
    texts = tokenizer(asked["sentences"], return_tensors="pt", padding=True)
    with torch.no_grad():
        logits = model(**texts, labels=texts["input_ids"]).logits
    tokens = model.generate(**texts, max_new_tokens=6, num_beams=2)
    return model, {"logits": logits.flatten().tolist(), "tokens": tokens.tolist(),
                   "module": type(model).__module__, "config": type(config).__module__}

found = {}
for revision in asked["revisions"]:
    found[revision] = load(asked["repo"], revision=revision)[1]
found["seq2seq"] = load(asked["repo"], AutoModelForSeq2SeqLM)[1]
decoder = AutoTokenizer.from_pretrained(asked["repo"], subfolder="decoder_tokenizer", **trust)
found["decoder_tokenizer"] = len(decoder)
pipe = pipeline("sequence-vae", model=asked["repo"], **trust)
found["pipeline"] = [pipe(asked["sentences"]), type(pipe).__module__]
# two releases of the code, one after the other and again
held = [load(repo) for repo in (asked["repo"], asked["changed"], asked["repo"])]
found["releases"] = [answer for _, answer in held]
# a model of the Hub sent on carries the code that it came with
held[1][0].push_to_hub("owner/again")
AutoTokenizer.from_pretrained(asked["changed"], **trust).push_to_hub("owner/again")
for name in asked["others"]:
    found[name] = load(name)[1]
if asked["language"]:
    found["language"] = load(asked["language"], AutoModelForCausalLM)[1]
constants.HF_HUB_OFFLINE = True
found["offline"] = load(asked["repo"])[1]
print(json.dumps(found))
"""

SIGN = "        return self.decoder.lm_head(decoded.features)"


def changed_code(tmp_path):
    """A model folder with code of its own: its logits are negative and double."""
    folder = Path(snapshot_download(REPO, local_dir=tmp_path / "changed"))
    path = folder / "modeling_seqvae.py"
    text = path.read_text()
    assert text.count(SIGN) == 1
    path.write_text(text.replace(SIGN, SIGN.replace("return ", "return -2 * ")))
    return folder


def child_answers(hub, home, asked):
    child = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps({"sentences": SENTENCES} | asked)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd="/",
        env=hub.environment(home) | {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"},
    )
    assert child.returncode == 0, child.stderr[-4000:]
    return json.loads(child.stdout.splitlines()[-1])


def push(folder, language):
    """Three repositories as transformers' own methods make them."""
    model = hf_seqvae.SeqVAEModel.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.push_to_hub("owner/pushed")
    model.save_pretrained(folder / "saved", push_to_hub=True, repo_id="owner/saved")
    hf_seqvae.SeqVAELSTMForCausalLM.from_pretrained(language).push_to_hub("owner/language")
    for name in ("pushed", "saved", "language"):
        tokenizer.push_to_hub(f"owner/{name}")
    return model


def test_without_the_package_the_repository_is_enough(hub, transport, tmp_path):
    folder = model_folder(tmp_path / "m", two_tokenizers=True)
    done = publish(folder, REPO, tag="v1")
    publish(changed_code(tmp_path), "owner/changed")
    asked = {"repo": REPO, "changed": "owner/changed", "revisions": ["main", "v1", done.commit]}
    asked |= {"others": [], "language": None}
    if transport == "xet":  # each repository costs the child seconds; once is enough
        push(folder, language_model_folder(tmp_path / "lm"))
        asked |= {"others": ["owner/pushed", "owner/saved", "owner/again"]}
        asked |= {"language": "owner/language"}
    found = child_answers(hub, tmp_path / "home", asked)

    expected = local(folder)
    by_name = [found[name] for name in (*asked["revisions"], "seq2seq", "offline")]
    pushed = [found[name] for name in asked["others"][:2]]
    for answer in [*by_name, *pushed]:
        assert answer["logits"] == pytest.approx(expected["logits"], abs=1e-6)
        assert answer["tokens"] == expected["tokens"]
    for answer in by_name:
        assert done.commit in answer["module"] and done.commit in answer["config"]
    assert found["decoder_tokenizer"] == len(AutoTokenizer.from_pretrained(folder)) + 2
    texts, module = found["pipeline"]
    assert texts == LatentSpace.from_pretrained(folder).reconstruct(SENTENCES)
    assert done.commit in module and module.endswith("pipeline_seqvae")
    first, other, third = found["releases"]
    assert first == third == found["main"]
    double = [-2 * value for value in first["logits"]]
    assert other["logits"] == pytest.approx(double, rel=1e-4, abs=1e-5)
    if asked["others"]:
        assert found["owner/again"]["logits"] == other["logits"]
        assert "modeling_lstm" in found["language"]["module"]


def test_push_to_hub_sends_the_code_and_leaves_the_classes_as_they_were(hub, transport, tmp_path):
    folder = model_folder(tmp_path / "m")
    model = push(folder, language_model_folder(tmp_path / "lm"))
    for name in ("owner/pushed", "owner/saved"):
        files = set(HfApi().list_repo_files(name))
        assert {"modeling_seqvae.py", "carried_code.py", "tokenizer.json"} < files
        assert not any(file.startswith("__init__") for file in files)
        card = ModelCard.load(name)
        assert {"seqvae", "vae"} <= set(card.data.tags)
        assert answers(
            AutoModel.from_pretrained(name), AutoTokenizer.from_pretrained(name)
        ) == local(folder)
    assert "modeling_seqvae.py" not in HfApi().list_repo_files("owner/language")
    assert model._auto_class is None and model.config._auto_class is None
    model.save_pretrained(tmp_path / "later")
    assert not list((tmp_path / "later").glob("*.py"))
    assert "auto_map" not in json.loads((tmp_path / "later" / "config.json").read_text())
