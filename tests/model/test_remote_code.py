"""Folders that carry their own code, loaded in a process where the package cannot be imported."""

import json
import re
from pathlib import Path

import pytest
import torch
from alone import run
from tiny import batch, latents, lstm_encoder, model
from transformers import AutoModel

import hf_seqvae
from hf_seqvae.model import modeling_seqvae
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

CODE = Path(modeling_seqvae.__file__).parent
FILES = {path.name for path in CODE.glob("*.py")} - {"__init__.py"}


@pytest.fixture
def publish(monkeypatch):
    """Saves a model with its code, as a publishing step does; then the classes are as before."""

    def save(made: SeqVAEModel, folder: Path) -> Path:
        monkeypatch.setattr(SeqVAEConfig, "_auto_class", None)
        monkeypatch.setattr(SeqVAEModel, "_auto_class", None)
        SeqVAEConfig.register_for_auto_class()
        SeqVAEModel.register_for_auto_class("AutoModel")
        made.save_pretrained(folder)
        return folder

    return save


LOAD = """
import importlib, types
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING

folder, inputs, code = sys.argv[1:]
inputs = torch.load(inputs)
# first every file of the folder, imported alone
sys.modules["alone"] = types.ModuleType("alone")
sys.modules["alone"].__path__ = [code]
for path in sorted(pathlib.Path(code).glob("*.py")):
    if path.stem != "__init__":
        importlib.import_module("alone." + path.stem)
alone = sys.modules["alone.configuration_seqvae"].SeqVAEConfig()
answers = {"alone": {
    "part": type(alone.encoder).__module__,
    "configs": list(CONFIG_MAPPING._extra_content),
    "models": [kind.__name__ for kind in MODEL_MAPPING._extra_content],
}}
for name in json.load(open(folder + "/names.json")):
    model = AutoModel.from_pretrained(folder + "/" + name, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    with torch.no_grad():
        logits = model(**inputs["batch"]).logits
    settings = {"max_new_tokens": 6, "num_beams": 2}
    answers[name] = {
        "same": torch.equal(logits, inputs["logits"][name]),
        "latents": model.generate(latents=inputs["latents"], **settings).tolist(),
        "text": model.generate(
            input_ids=inputs["batch"]["input_ids"],
            attention_mask=inputs["batch"]["attention_mask"],
            max_new_tokens=6,
        ).tolist(),
        "modules": sorted({type(m).__module__.rpartition(".")[2] for m in model.modules()
                           if type(m).__module__.startswith("transformers_modules.")}),
        "package": sys.modules["hf_seqvae"] is None,
    }
    model.save_pretrained(folder + "/again")
    copied = pathlib.Path(folder, "again").glob("*.py")
    answers[name]["copied"] = sorted(path.name for path in copied)
print(json.dumps(answers))
"""


def test_a_saved_folder_runs_alone_with_the_same_logits_and_generates(publish, tmp_path):
    models = {
        "lstm": model(lstm_encoder(bidirectional=True), pooling="last"),
        "bert-gpt2": model("bert", "gpt2"),
    }
    texts, z = batch(3), latents(2)
    logits = {}
    for name, made in models.items():
        folder = publish(made, tmp_path / name)
        assert {path.name for path in folder.glob("*.py")} == FILES
        with torch.no_grad():
            logits[name] = made(**texts).logits
    torch.save({"batch": texts, "latents": z, "logits": logits}, tmp_path / "inputs.pt")
    (tmp_path / "names.json").write_text(json.dumps(list(models)))
    answers = run(LOAD, tmp_path, tmp_path / "inputs.pt", CODE, cwd=tmp_path)
    # importing the files registers nothing, and native parts are the sibling file's all the same
    assert answers["alone"] == {"part": "alone.configuration_lstm", "configs": [], "models": []}
    for name, made in models.items():
        answer = answers[name]
        assert answer["same"] and answer["package"]
        beams = made.generate(latents=z, max_new_tokens=6, num_beams=2)
        assert answer["latents"] == beams.tolist()
        texts_only = {key: texts[key] for key in ("input_ids", "attention_mask")}
        assert answer["text"] == made.generate(**texts_only, max_new_tokens=6).tolist()
        assert set(answer["copied"]) == FILES  # and can be saved again from there
        assert "modeling_seqvae" in answer["modules"]


def edited(folder: Path, *edits: tuple[str, str, str]) -> Path:
    for name, old, new in edits:
        path = folder / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, (name, old)
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


RELEASES = """
folder, inputs = sys.argv[1:3]
inputs = torch.load(inputs)
answers, held = [], []
for name in ("a", "b", "a"):
    model = AutoModel.from_pretrained(folder + "/" + name, trust_remote_code=True)
    config = AutoConfig.from_pretrained(folder + "/" + name, trust_remote_code=True)
    with torch.no_grad():
        logits = model(latents=inputs["latents"], decoder_input_ids=inputs["words"]).logits
    held.append(model)
    answers.append({
        "logits": logits.sum().item(),
        "encoder": [getattr(c.encoder, "release", "none") for c in (model.config, config)],
        "decoder": [getattr(c.decoder, "release", "none") for c in (model.config, config)],
        "whole": [getattr(c, "release", "none") for c in (model.config, config)],
        "classes": {type(part).__module__.partition(".configuration")[0]
                    for part in (config, config.encoder, config.decoder)}.__len__(),
    })
# all three are alive now, and each goes on by its own code and its own cache
for model, answer in zip(held, answers):
    answer["tokens"] = model.generate(latents=inputs["latents"], max_new_tokens=5).tolist()
    cache = model(latents=inputs["latents"], decoder_input_ids=inputs["words"],
                  use_cache=True).past_key_values
    answer["reads"] = [layer.reads for layer in cache.layers if hasattr(layer, "reads")]
print(json.dumps(answers))
"""

FIELD = "    use_cache: bool = True\n"
SIGN = "        return self.decoder.lm_head(decoded.features)"


def test_two_releases_in_one_process_each_run_their_own_code(publish, tmp_path):
    made = model(lstm_encoder())
    edited(
        publish(made, tmp_path / "a"),
        (
            "lstm_cache.py",
            "        self.cumulative_length = 0\n",
            "        self.cumulative_length = 0\n        self.reads = 'a'\n",
        ),
    )
    b = edited(
        publish(made, tmp_path / "b"),
        ("modeling_seqvae.py", SIGN, SIGN.replace("return ", "return -2 * ")),
        ("configuration_lstm.py", FIELD, FIELD + '    release: str = "old"\n'),
        (
            "configuration_seqvae.py",
            "    num_prefix_tokens: int = 1\n",
            '    num_prefix_tokens: int = 1\n    release: str = "old"\n',
        ),
        (
            "lstm_cache.py",
            "        self.cumulative_length = 0\n",
            "        self.cumulative_length = 0\n        self.reads = 'b'\n",
        ),
    )
    saved = json.loads((b / "config.json").read_text())
    for part in (saved, saved["encoder"], saved["decoder"]):
        part["release"] = "new"
    (b / "config.json").write_text(json.dumps(saved))
    z, words = latents(2), torch.tensor([[1, 4, 5], [1, 6, 7]])
    torch.save({"latents": z, "words": words}, tmp_path / "inputs.pt")
    first, second, third = run(RELEASES, tmp_path, tmp_path / "inputs.pt", cwd=tmp_path)
    with torch.no_grad():
        total = made(latents=z, decoder_input_ids=words).logits.sum().item()
    assert first["logits"] == pytest.approx(total, rel=1e-5)
    assert second["logits"] == pytest.approx(-2 * total, rel=1e-5)
    assert third == first
    for part in ("encoder", "decoder", "whole"):
        assert first[part] == ["none", "none"], part
        assert second[part] == ["new", "new"], part
    assert first["reads"] == ["a", "a"]
    assert second["reads"] == ["b", "b"]
    assert first["tokens"] == made.generate(latents=z, max_new_tokens=5).tolist()
    assert second["tokens"] != first["tokens"]


def test_no_file_of_the_model_folder_names_a_registration():
    for path in CODE.glob("*.py"):
        assert not re.search(r"Auto\w+\.register", path.read_text(encoding="utf-8")), path.name


def test_without_trust_a_folder_with_code_is_loaded_by_the_installed_package(publish, tmp_path):
    folder = publish(model(), tmp_path)
    loaded = AutoModel.from_pretrained(folder, trust_remote_code=False)
    assert type(loaded) is hf_seqvae.SeqVAEModel
