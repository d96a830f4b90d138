"""The double for a test: `hub`, fresh and online, and `transport`, both ways that bytes move."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hub.address import listener
from hub.client import REPO
from hub.server import Hub
from hub.wire import OWNER
from huggingface_hub import HfApi, close_session, constants, file_download
from huggingface_hub.utils import _http


@pytest.fixture(scope="session")
def hub_of_the_session() -> Iterator[Hub]:
    double = Hub(listener)
    double.start()
    yield double
    close_session()
    double.stop()


@pytest.fixture
def hub(hub_of_the_session, monkeypatch, tmp_path_factory):
    """A Hub without repositories; the client is online, logged in as the owner, its cache empty."""
    double = hub_of_the_session
    double.reset()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub_cache")))
    monkeypatch.setenv("HF_TOKEN", OWNER)
    yield double
    double.check()


@pytest.fixture(params=["xet", "lfs"])
def transport(request, hub, monkeypatch):
    """The way of large files; the log must show that they went this way and not the other."""
    hub.transport = request.param
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "lfs")
    yield request.param
    hub.check_transport()


@pytest.fixture
def waits(monkeypatch):
    """The client's pauses before it tries again, in seconds: noted, and not waited for."""
    pauses: list[float] = []
    for module in (_http, file_download):
        clock = SimpleNamespace(**vars(module.time) | {"sleep": pauses.append})
        monkeypatch.setattr(module, "time", clock)
    return pauses


@pytest.fixture
def api(hub):
    """The owner's client, and its repository."""
    client = HfApi()
    client.create_repo(REPO)
    return client
