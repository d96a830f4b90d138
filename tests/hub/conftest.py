"""The double for a test: `hub`, fresh and online, and `transport`, both ways that bytes move."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hub.address import listener
from huggingface_hub import close_session, constants
from huggingface_hub.utils import _http


@pytest.fixture(scope="session")
def hub_of_the_session() -> Iterator["Hub"]:  # noqa: F821
    from hub.server import Hub

    double = Hub(listener)
    double.start()
    yield double
    close_session()
    double.stop()


@pytest.fixture
def hub(hub_of_the_session, monkeypatch, tmp_path_factory):
    """A Hub without repositories, and a client that is online, logged in as the owner, its cache empty."""
    from hub.server import OWNER

    double = hub_of_the_session
    double.reset()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub_cache")))
    monkeypatch.setenv("HF_TOKEN", OWNER)
    yield double
    assert not double.broken, f"the double itself failed at {double.broken}"
    idle = [fault for fault in double.faults if not fault.hits]
    assert not idle, f"no request came for {idle}: the test did not see its fault"


@pytest.fixture(params=["xet", "lfs"])
def transport(request, hub, monkeypatch):
    """The way of large files; the log must show that they went this way and not the other."""
    hub.transport = request.param
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param == "lfs")
    yield request.param
    ways = {
        "xet": hub.requests(r"^POST /_cas/v2/shards|^GET /_cdn/xorbs/"),
        "lfs": hub.requests(r"^(PUT|POST) /_lfs/|^GET /_cdn/lfs/"),
    }
    other = ways["lfs" if request.param == "xet" else "xet"]
    assert not other, f"large files went over the other way than {request.param}: {other}"
    assert ways[request.param], f"no large file went over {request.param}"


@pytest.fixture
def waits(monkeypatch):
    """The client's pauses before it tries again, in seconds: noted, and not waited for."""
    pauses: list[float] = []
    clock = SimpleNamespace(**vars(_http.time) | {"sleep": pauses.append})
    monkeypatch.setattr(_http, "time", clock)
    return pauses
