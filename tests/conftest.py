"""What every test stands on: no network, one thread, its own caches, the optional data folder."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hub.address import ENDPOINT

# Before any import of torch or of the Hugging Face libraries: they read these once.
_home = tempfile.mkdtemp(prefix="hf_seqvae_tests_")
atexit.register(shutil.rmtree, _home, ignore_errors=True)
for name in ("HF_TOKEN", "HF_HUB_DISABLE_XET"):
    os.environ.pop(name, None)
os.environ.update(
    HF_HOME=_home,
    HF_DATASETS_CACHE=os.path.join(_home, "datasets"),
    HF_MODULES_CACHE=os.path.join(_home, "modules"),
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_EVALUATE_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DOWNLOAD_TIMEOUT="2",
    HF_HUB_ETAG_TIMEOUT="2",
    HF_ENDPOINT=ENDPOINT,  # tests/hub's double of the Hub, which starts in the first test that asks
    HF_XET_CLIENT_RETRY_BASE_DELAY="20ms",
    HF_DATASETS_DISABLE_PROGRESS_BARS="1",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)

import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs CUDA, which this machine does not have")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real corpora (ptb/, yelp_short/, tatoeba_en/), where there is one."""
    named = os.environ.get("HF_SEQVAE_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no corpora at {folder}: set HF_SEQVAE_DATA to a folder that holds ptb/")
    return folder
