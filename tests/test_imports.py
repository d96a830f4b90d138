"""`import hf_seqvae` is light, and it makes the models known to the Auto classes."""

import json
import subprocess
import sys

import pytest
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

import hf_seqvae

HEAVY = [
    "accelerate",
    "datasets",
    "evaluate",
    "matplotlib",
    "pandas",
    "pyarrow",
    "rich",
    "sacrebleu",
    "scipy",
    "sklearn",
    "tensorboard",
    "typer",
]

# One process imports transformers once: what it loads by itself, then what we add to it.
PROBE = """
import json, sys
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers import GenerationMixin, PreTrainedModel
theirs = set(sys.modules)
import hf_seqvae
print(json.dumps({"theirs": sorted(theirs), "added": sorted(set(sys.modules) - theirs)}))
hf_seqvae.SeqVAETrainer
print(json.dumps("hf_seqvae.trainer" in sys.modules))
"""


@pytest.fixture(scope="module")
def probe() -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def modules(probe) -> dict[str, list[str]]:
    lines = probe.stdout.splitlines()
    assert lines, probe.stderr
    return json.loads(lines[0])


@pytest.mark.parametrize("name", HEAVY)
def test_importing_the_package_adds_no_heavy_package_to_what_transformers_imports(modules, name):
    assert "hf_seqvae.model.modeling_seqvae" in modules["added"]  # the probe saw our import
    added = [module for module in modules["added"] if module.split(".")[0] == name]
    assert not added, f"import hf_seqvae imports {added[0]} and {len(added) - 1} more of {name}"


@pytest.mark.parametrize("name", ["datasets", "evaluate", "matplotlib", "pandas", "rich", "typer"])
def test_transformers_alone_does_not_hide_a_heavy_import_of_ours(modules, name):
    assert name not in modules["theirs"]


def test_the_trainer_is_imported_at_its_first_use(probe, modules):
    assert "hf_seqvae.trainer" not in modules["added"]
    assert probe.returncode == 0, probe.stderr
    assert json.loads(probe.stdout.splitlines()[1]) is True


@pytest.mark.parametrize(
    ("auto", "config", "model"),
    [
        (AutoModel, "SeqVAEConfig", "SeqVAEModel"),
        (AutoModelForSeq2SeqLM, "SeqVAEConfig", "SeqVAEModel"),
        (AutoModel, "SeqVAELSTMEncoderConfig", "SeqVAELSTMEncoderModel"),
        (AutoModel, "SeqVAELSTMConfig", "SeqVAELSTMModel"),
        (AutoModelForCausalLM, "SeqVAELSTMConfig", "SeqVAELSTMForCausalLM"),
    ],
)
def test_each_config_is_registered_with_its_model(auto, config, model):
    assert auto._model_mapping[getattr(hf_seqvae, config)] is getattr(hf_seqvae, model)


@pytest.mark.parametrize(
    ("model_type", "config"),
    [
        ("seqvae", "SeqVAEConfig"),
        ("seqvae_lstm", "SeqVAELSTMConfig"),
        ("seqvae_lstm_encoder", "SeqVAELSTMEncoderConfig"),
    ],
)
def test_each_model_type_gives_its_config(model_type, config):
    assert type(AutoConfig.for_model(model_type)) is getattr(hf_seqvae, config)


def test_every_public_name_is_there_and_listed():
    for name in hf_seqvae.__all__:
        assert getattr(hf_seqvae, name) is not None
    assert set(hf_seqvae.__all__) <= set(dir(hf_seqvae))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'SeqVAETrianer'"):
        hf_seqvae.SeqVAETrianer  # noqa: B018
