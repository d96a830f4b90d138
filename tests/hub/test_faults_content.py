"""Repositories and folders that hold something else than a whole model: refused, never built."""

import json
import os
import pickle
import resource
import shutil

import pytest
import torch
from cli_standins import refused, terminal
from hub.fault_page import holds, says
from hub.test_faults_loading import REPO, push
from hub_standins import model_folder
from huggingface_hub import constants
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoModel, BertConfig, BertModel

from hf_seqvae import SeqVAEConfig
from hf_seqvae.hub import HubError, publish
from hf_seqvae.hub.bundle import TOKENIZER_FILES
from hf_seqvae.latent_space import fetching, load_model, load_scorable
from hf_seqvae.model.size_limits import MAX_LAYERS, MAX_WEIGHTS

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "m")


def change_config(folder, **changes):
    """Changes of config.json; a name such as encoder__hidden_size leads into a part."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    for name, value in changes.items():
        *parts, last = name.split("__")
        inner = values
        for part in parts:
            inner = inner[part]
        inner[last] = value
    path.write_text(json.dumps(values))


def refusal(source, load=load_model):
    with pytest.raises(ValueError) as raised:
        load(source)
    return str(raised.value)


# Damage that is the same in a folder and in a repository


def cut(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def half_the_shards(folder):
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(json.dumps(index))


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def another_type(folder):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    BertModel(BertConfig(vocab_size=9, intermediate_size=8, **sizes)).save_pretrained(folder)


DAMAGES = {
    "another type of model": another_type,
    "no weights": no_weights,
    "damaged or half a file of weights": cut,
    "an index names a file that is not there": half_the_shards,
    "config.json is no JSON object": lambda folder: (folder / "config.json").write_text("{"),
    "config.json has values of a wrong type": lambda folder: change_config(folder, dtype=5),
    "config.json has absurd sizes": lambda folder: change_config(
        folder, decoder__vocab_size=10**12
    ),
}


@holds(*DAMAGES)
@pytest.mark.parametrize("row", DAMAGES)
def test_damage_is_named_in_a_folder_and_in_a_repository(hub, folder, row):
    DAMAGES[row](folder)
    assert says(row, refusal(folder)) and says(row, refusal(folder, load_scorable))
    push(folder)
    assert says(row, refusal(REPO))


@holds("the model is half, damaged or a pickle")
def test_damage_is_not_published(hub, folder):
    cut(folder)
    message = refusal(folder, lambda source: publish(source, REPO))
    assert says("the model is half, damaged or a pickle", message)
    assert not hub.requests("^(POST|PUT)")


@holds("no config.json in the repository")
def test_a_repository_without_a_model_is_named_and_not_fetched(hub, folder, monkeypatch):
    (folder / "config.json").unlink()
    push(folder)
    assert says("no config.json in the repository", refusal(REPO))
    assert not hub.requests("/resolve/")
    with terminal(monkeypatch):
        assert says("no config.json in the repository", refused("sample", REPO))


@holds("a card without metadata, or no card")
@pytest.mark.parametrize("card", [None, "", "# no metadata\n"])
def test_a_card_does_not_matter_to_loading(hub, folder, card, monkeypatch):
    monkeypatch.setattr("hub.accounts.problems", lambda card: ([], []))  # as it came by git
    if card is not None:
        (folder / "README.md").write_text(card)
    push(folder)
    load_model(REPO)
    assert not hub.requests("resolve/.*/README.md")


# config.json

WRONG = [
    {"latent_size": "4"},
    {"encoder": []},
    {"decoder": {"model_type": "no such"}},
    {"encoder__hidden_size": 12.5},
    {"auto_map": 5},
    {"id2label": 5},
    {"quantization_config": {"quant_method": "gptq"}},
    {"latent_injection": [5]},
]


@pytest.mark.parametrize("changes", WRONG, ids=lambda changes: next(iter(changes)))
def test_values_of_a_wrong_type_are_named_in_one_short_message(folder, changes):
    change_config(folder, **changes)
    message = refusal(folder)
    assert f"the config in {folder} is damaged or not whole" in message and len(message) < 900


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "5", "\x00"], ids=len)
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_what_is_no_json_object_is_named(folder, name, text):
    (folder / name).write_text(text)
    assert f"{folder / name} " in refusal(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_named(folder, name):
    (folder / name).write_text("{")
    assert f"the tokenizer in {folder} is damaged or not whole" in refusal(folder)


ABSURD = [
    {"encoder__hidden_size": 10**9},
    {"encoder__hidden_size": 100_000},  # 160 GB: not absurd alone, absurd for a file of 12 kB
    {"decoder__embedding_size": 10**9},
    {"decoder__num_hidden_layers": 10**9},
    {"latent_size": 10**12},
    {"num_prefix_tokens": 10**12},
    {"decoder": {"model_type": "gpt2", "n_layer": 10**9}},
    {"encoder": {"model_type": "bert", "vocab_size": 10**12}},
]


@pytest.mark.parametrize("changes", ABSURD, ids=str)
def test_absurd_sizes_are_refused_before_memory_is_asked_for(folder, changes):
    change_config(folder, **changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "config" in refusal(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers"])
def test_transformers_alone_meets_the_rule_in_the_config(folder, name):
    change_config(folder, **{f"decoder__{name}": 10**12})
    with pytest.raises((ValueError, StrictDataclassError), match=f"{name}.*1000000000000"):
        AutoModel.from_pretrained(folder)


def test_the_largest_size_is_no_fault():
    layers = {"model_type": "seqvae_lstm", "num_hidden_layers": MAX_LAYERS}
    assert SeqVAEConfig(decoder=layers).decoder.num_hidden_layers == MAX_LAYERS
    fits = {"model_type": "seqvae_lstm", "vocab_size": 10**8, "embedding_size": 999}
    assert SeqVAEConfig(decoder=fits).decoder.vocab_size * 1000 == MAX_WEIGHTS
    with pytest.raises(ValueError, match="at most 1e\\+11 weights"):
        SeqVAEConfig(decoder=fits | {"embedding_size": 1001})


def test_weights_of_another_shape_are_named(folder):
    change_config(folder, encoder__embedding_size=9)
    message = refusal(folder)
    assert "do not fit its config" in message and "(15, 8) in the file and (15, 9)" in message


# Pickles


class Marks:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "somebody-opened-the-pickle"


def test_the_payload_would_leave_its_mark(mark):
    pickle.loads(pickle.dumps(Marks(mark)))
    assert mark.is_dir()


def put_pickles(folder, mark):
    (folder / "model.safetensors").unlink(missing_ok=True)
    torch.save({"a": Marks(mark)}, folder / "pytorch_model.bin")
    (folder / "training_args.bin").write_bytes(pickle.dumps(Marks(mark)))
    return folder


@holds("a pickle in place of safetensors")
def test_a_pickle_is_neither_fetched_nor_opened(hub, folder, mark):
    put_pickles(folder, mark)
    message = refusal(folder)
    assert says("a pickle in place of safetensors", message)
    assert "only pytorch_model.bin, a pickle" in message
    push(folder)
    assert says("a pickle in place of safetensors", refusal(REPO))
    assert not hub.requests(r"resolve/.*\.bin")
    with pytest.raises(ValueError, match="only pytorch_model.bin, a pickle"):
        publish(folder, "owner/other")
    assert not mark.exists()


@pytest.mark.parametrize("where", ["folder", "repository"])
def test_transformers_alone_opens_no_pickle_either(hub, folder, mark, monkeypatch, where):
    monkeypatch.setenv("DISABLE_SAFETENSORS_CONVERSION", "1")
    push(put_pickles(folder, mark))
    source = folder if where == "folder" else REPO
    with pytest.raises((OSError, pickle.UnpicklingError)) as raised:
        AutoModel.from_pretrained(source)
    assert not isinstance(raised.value, HubError) and not mark.exists()


def test_a_pickle_beside_safetensors_is_left_where_it_is(hub, folder, mark):
    weights = (folder / "model.safetensors").read_bytes()
    put_pickles(folder, mark)
    (folder / "model.safetensors").write_bytes(weights)
    push(folder)
    load_model(REPO)
    assert not mark.exists()
    fetched = {path.name for path in os.scandir(constants.HF_HUB_CACHE)}
    assert fetched and not hub.requests(r"resolve/.*\.bin")


def test_every_file_of_a_tokenizer_that_is_published_is_fetched():
    missing = [name for name in TOKENIZER_FILES if not fetching.NEEDED.fullmatch(name)]
    assert missing == []
