"""`pipeline("sequence-vae")` from a repository: both tokenizers by its revision and its token."""

import json
import subprocess
import sys

import pytest
from hub.wire import OWNER
from huggingface_hub import HfApi, constants, snapshot_download
from pipeline_standins import TEXTS, WRITTEN, save_two_tokenizers
from transformers import AutoModel, pipeline

from hf_seqvae import LatentSpace
from hf_seqvae.model.decoder_tokenizer import load_decoder_tokenizer

REPO = "owner/two-tokenizers"
UPPER = [word.upper() for word in WRITTEN]


@pytest.fixture
def repo(hub, transport, tmp_path, monkeypatch):
    """A private repository; its tag `upper` writes in capitals. The client is logged in no more."""
    api = HfApi()
    api.create_repo(REPO, private=True)
    for words in (UPPER, WRITTEN):
        folder = save_two_tokenizers(tmp_path / words[0], words)
        pipeline("sequence-vae", model=str(folder)).save_pretrained(folder)
        api.upload_folder(repo_id=REPO, folder_path=folder)
        if words is UPPER:
            api.create_tag(REPO, tag="upper")
    monkeypatch.delenv("HF_TOKEN")
    return folder


def test_token_and_revision_reach_the_decoders_tokenizer(hub, repo, monkeypatch):
    with pytest.raises(OSError, match="private repository"):
        pipeline("sequence-vae", model=REPO)
    expected = LatentSpace.from_pretrained(repo).reconstruct(TEXTS)
    assert pipeline("sequence-vae", model=REPO, token=OWNER)(TEXTS) == expected
    upper = pipeline("sequence-vae", model=REPO, token=OWNER, revision="upper")
    assert upper(TEXTS) == [text.upper().replace("<UNK>", "<unk>") for text in expected]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert pipeline("sequence-vae", model=REPO)(TEXTS) == expected


def test_a_pushed_model_takes_its_decoders_tokenizer_along(hub, tmp_path):
    folder = save_two_tokenizers(tmp_path / "made")
    model = AutoModel.from_pretrained(folder)
    model.push_to_hub("owner/pushed")
    model.save_pretrained(folder, push_to_hub=True, repo_id="owner/saved")
    for repo in ("owner/pushed", "owner/saved"):
        own = load_decoder_tokenizer(repo)
        assert own is not None and own.get_vocab() == model.decoder_tokenizer.get_vocab()


@pytest.fixture
def one(hub, tmp_path):
    """A repository whose model has one tokenizer."""
    HfApi().create_repo("owner/one")
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="owner/one")
    return "owner/one"


def test_one_tokenizer_is_enough_where_the_hub_or_the_cache_says_so(hub, one, waits):
    assert load_decoder_tokenizer(one) is None
    hub.faults.append({"match": "tokenizer_config", "status": 500, "times": None})
    assert load_decoder_tokenizer(one) is None  # as the cache has noted


def test_a_hub_that_does_not_say_whether_there_is_a_second_tokenizer_is_an_error(
    hub, one, waits, monkeypatch
):
    hub.faults.append({"match": "tokenizer_config", "status": 500, "times": None})
    snapshot_download(one)
    with pytest.raises(OSError, match="did not say whether owner/one .* Try again"):
        load_decoder_tokenizer(one)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_decoder_tokenizer(one) is None  # offline the cache is the whole of it


ALONE = """
import json, sys
sys.modules["hf_seqvae"] = None
from transformers import pipeline
repo, token, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
answers = []
for revision in (None, "upper"):
    pipe = pipeline(
        "sequence-vae", model=repo, token=token, revision=revision, trust_remote_code=True
    )
    assert type(pipe).__module__.startswith("transformers_modules.owner."), type(pipe)
    answers.append(pipe(texts))
print(json.dumps(answers))
"""


@pytest.mark.slow  # test_pipeline.py runs a folder's code alone, the test above asks for a token
def test_without_the_package_token_and_revision_reach_it_too(hub, repo, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ALONE, REPO, OWNER, json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=tmp_path,
        env=hub.environment(tmp_path / "home", token=None),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    expected = LatentSpace.from_pretrained(repo).reconstruct(TEXTS)
    upper = [text.upper().replace("<UNK>", "<unk>") for text in expected]
    assert json.loads(done.stdout.splitlines()[-1]) == [expected, upper]
