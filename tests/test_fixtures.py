"""Checkpoints of every release load for ever, with the package and by their own code."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from alone import run
from fixtures.asking import ask, digest
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

from hf_seqvae import SeqVAEConfig, SeqVAEModel

FIXTURES = Path(__file__).parent / "fixtures"
RELEASES = {
    "0.1.0": "cfdb10c4f0938b70cd701748eeec077060e320b9aa746bfc8cdf7f66a780afef",
}
CHECKPOINTS = [f"{release}/{name}" for release in RELEASES for name in ("lstm", "two_tokenizers")]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Each checkpoint with the code of its release beside it, as in a repository."""
    top = tmp_path_factory.mktemp("releases")
    for name in CHECKPOINTS:
        shutil.copytree(FIXTURES / name, top / name)
        shutil.copytree((FIXTURES / name).parent / "code", top / name, dirs_exist_ok=True)
    return top


@pytest.mark.parametrize("release", RELEASES)
def test_the_files_of_a_release_are_never_made_again_for_a_later_one(release):
    assert digest(FIXTURES / release) == RELEASES[release]


def check(answer: dict, expected: dict) -> None:
    for name in ("posterior_mean", "reconstruction_nll", "logits_of_the_first_text"):
        came, wanted = torch.tensor(answer[name]), torch.tensor(expected[name])
        assert_close(came, wanted, atol=2e-5, rtol=1e-5, msg=lambda text, name=name: name + text)
    for name in ("greedy", "reconstructed", "between"):
        assert answer[name] == expected[name], name


def expected(name: str) -> dict:
    return json.loads((FIXTURES / name / "expected.json").read_text(encoding="utf-8"))


ALONE = """
sys.path.append(sys.argv[1])
from asking import ask
from transformers import pipeline
answers = {}
for name in sys.argv[3:]:
    folder = sys.argv[2] + "/" + name
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, trust_remote_code=True)
    pipe = pipeline("sequence-vae", model=folder, device="cpu", trust_remote_code=True)
    answers[name] = ask(model, pipe, json.load(open(folder + "/expected.json")))
    for made in (model, pipe, AutoConfig.from_pretrained(folder, trust_remote_code=True),
                 AutoModel.from_pretrained(folder, trust_remote_code=True)):
        assert type(made).__module__.startswith("transformers_modules."), type(made)
print(json.dumps(answers))
"""


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_release_says_the_same_through_the_package_for_ever(repositories, name):
    folder = str(repositories / name)
    assert type(AutoConfig.from_pretrained(folder)) is SeqVAEConfig
    assert type(AutoModel.from_pretrained(folder)) is SeqVAEModel
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert type(model) is SeqVAEModel
    given = AutoTokenizer.from_pretrained(folder)(expected(name)["texts"], padding=True)
    assert given["input_ids"] == expected(name)["input_ids"]
    pipe = pipeline("sequence-vae", model=folder, device="cpu")
    check(ask(model, pipe, expected(name)), expected(name))


def test_every_release_says_the_same_by_its_own_code_for_ever(repositories, tmp_path):
    answers = run(ALONE, FIXTURES, repositories, *map(Path, CHECKPOINTS), cwd=tmp_path)
    assert list(answers) == CHECKPOINTS
    for name, answer in answers.items():
        check(answer, expected(name))
