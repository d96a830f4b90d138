"""The double of the Hub where something goes wrong: faults, and content that is refused."""

import hashlib

import httpx2
import lz4.frame
import pytest
from hub.client import REPO, WEIGHTS, fresh, get, put, status
from hub.faults import Fault
from hub.wire import OWNER
from hub.xet import unpack
from huggingface_hub import CommitOperationAdd, constants, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

LARGE_DOWN = "^GET /_cdn/"  # the bytes of a large file, over Xet or LFS
LARGE_UP = "^PUT /_lfs/|^POST /_cas/v1/xorbs/"


# The requests that a fault strikes


def test_a_fault_strikes_what_it_matches_after_its_skips_and_for_its_times():
    fault = Fault("^GET /a", status=500, skip=1, times=2)
    lines = ["GET /b", "GET /a", "GET /a?x=1", "POST /a", "GET /a", "GET /a"]
    assert [fault.strikes(line) for line in lines] == [False, False, True, False, True, False]
    assert fault.hits == 2


def test_a_fault_without_end_strikes_every_time():
    fault = Fault("GET", drop=True, times=None)
    assert all(fault.strikes("GET /") for _ in range(50))


def test_a_word_that_no_fault_knows_is_refused(hub):
    with pytest.raises(TypeError, match="stauts"):
        hub.faults.append({"match": "GET", "stauts": 500})


def test_a_fault_that_met_no_request_fails_the_test(hub):
    hub.faults.append({"match": "GET /nowhere", "status": 500})
    with pytest.raises(AssertionError, match="no request came"):
        hub.check()
    hub.faults.clear()


@pytest.mark.parametrize("wanted", ["xet", "lfs"])
def test_files_that_went_the_other_way_fail_the_test(api, hub, monkeypatch, wanted):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", wanted == "xet")
    put(api, WEIGHTS, fresh())
    hub.transport = wanted
    with pytest.raises(AssertionError, match=f"{wanted} was wanted"):
        hub.check_transport()


# What the client makes of them


def test_the_client_waits_as_long_as_the_hub_says(api, hub, waits):
    fault = {"match": "GET .*/tree/", "status": 429, "headers": {"Retry-After": "7"}, "times": 2}
    hub.faults.append(fault)
    assert api.list_repo_files(REPO) == [".gitattributes"]
    assert waits == [8.0, 8.0]  # the client adds a second
    assert [entry.status for entry in hub.requests("/tree/")] == [429, 429, 200]


def test_a_head_that_fails_twice_is_asked_again(api, hub, waits):
    put(api, "a.txt", b"x")
    hub.faults.append({"match": "^HEAD", "status": 500, "times": 2})
    assert get("a.txt") == b"x"
    assert [entry.status for entry in hub.requests("^HEAD")] == [500, 500, 200]


def test_a_head_that_always_fails_leaves_nothing_or_the_cache(api, hub, waits):
    put(api, "a.txt", b"x")
    put(api, "b.txt", b"x")
    get("a.txt")
    hub.faults.append({"match": "^HEAD", "status": 503, "times": None})
    assert get("a.txt") == b"x"
    with pytest.raises(LocalEntryNotFoundError):
        get("b.txt")


def test_a_slow_hub_is_given_up(api, hub, monkeypatch, waits):
    put(api, "a.txt", b"x")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.3)
    hub.faults.append({"match": "^HEAD", "delay": 30.0})
    assert get("a.txt") == b"x"
    first, *others = hub.requests("^HEAD")
    assert first.status is None and others[-1].status == 200


def test_a_401_means_no_repository_unless_the_token_is_blamed(api, hub):
    hub.faults.append({"match": "GET /api/models", "status": 401})
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)
    blame = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.faults.append({"match": "GET /api/models", "status": 401, "headers": blame})
    with pytest.raises(HfHubHTTPError) as raised:
        api.model_info(REPO)
    assert type(raised.value) is HfHubHTTPError and status(raised) == 401


@pytest.mark.parametrize("fault", [{"truncate": 50_000}, {"drop": True}], ids=str)
def test_a_body_that_breaks_off_is_fetched_again(api, hub, transport, waits, fault):
    put(api, WEIGHTS, body := fresh(200_000))
    hub.faults.append({"match": LARGE_DOWN} | fault)
    assert get(WEIGHTS) == body
    first, *others = hub.requests(LARGE_DOWN)
    assert first.sent == fault.get("truncate", 0) and others


def test_a_body_that_breaks_off_goes_on_where_it_was(api, hub, monkeypatch, waits):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**14)
    put(api, WEIGHTS, body := fresh(200_000))
    hub.faults.append({"match": LARGE_DOWN, "truncate": 50_000})
    assert get(WEIGHTS) == body
    assert [entry.range for entry in hub.requests(LARGE_DOWN)] == ["", f"bytes={3 * 2**14}-"]


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}], ids=str)
def test_an_upload_that_fails_once_is_sent_again(api, hub, transport, waits, fault):
    hub.faults.append({"match": LARGE_UP} | fault)
    put(api, WEIGHTS, body := fresh())
    assert get(WEIGHTS) == body and len(hub.requests(LARGE_UP)) == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}], ids=str)
def test_a_commit_that_fails_has_landed_only_after_the_work(api, hub, fault, after):
    hub.faults.append({"match": "^POST .*/commit/", "after": after} | fault)
    with pytest.raises(httpx2.RemoteProtocolError if "drop" in fault else HfHubHTTPError):
        put(api, "a.txt", b"x")
    assert api.file_exists(REPO, "a.txt") == after
    assert [entry.status for entry in hub.requests("/commit/")] == [fault.get("status")]


def test_the_client_takes_corrupt_bytes_of_the_right_number(api, hub, transport):
    put(api, WEIGHTS, body := fresh(5_000))  # one chunk, which cannot be packed
    hub.faults.append({"match": LARGE_DOWN, "corrupt": True})
    assert sum(a != b for a, b in zip(get(WEIGHTS), body, strict=True)) == 1


def test_a_snapshot_that_stopped_fetches_only_what_it_lacks(api, hub, transport, waits):
    put(api, "a.txt", b"x")
    put(api, WEIGHTS, fresh())
    hub.faults.append({"match": LARGE_DOWN, "status": 403, "times": None})
    with pytest.raises((RuntimeError, HfHubHTTPError), match="403|Forbidden"):
        snapshot_download(REPO)
    hub.faults.clear()
    before = len(hub.log)
    snapshot_download(REPO)
    fetched = [entry for entry in hub.log[before:] if entry.method == "GET" and entry.sent > 0]
    assert not [entry for entry in fetched if entry.path.endswith("a.txt")]
    assert [entry for entry in fetched if "/_cdn/" in entry.path]


# Content is checked


def test_a_large_file_that_was_not_uploaded_is_no_part_of_a_commit(api, hub):
    add = CommitOperationAdd("a.bin", body := fresh())
    add._upload_mode, add._is_uploaded = "lfs", True  # as after an upload
    with pytest.raises(BadRequestError, match="not uploaded"):
        api.create_commit(REPO, [add], commit_message="x")
    assert hashlib.sha256(body).hexdigest() not in hub.objects
    assert api.list_repo_files(REPO) == [".gitattributes"]


def test_a_large_file_under_a_wrong_sha256_is_refused(api, hub, transport, waits):
    add = CommitOperationAdd("a.bin", fresh())
    add.upload_info.sha256 = bytes(range(32))
    with pytest.raises((RuntimeError, ConnectionError), match="400|uploading"):
        api.create_commit(REPO, [add], commit_message="x")
    assert not hub.objects and not hub.requests("/commit/")
    refused = [entry.status for entry in hub.requests("^PUT /_lfs|/_cas/v./shards")]
    assert set(refused) == {400}


def test_a_large_file_of_another_size_is_no_part_of_a_commit(api, hub):
    add = CommitOperationAdd("a.bin", fresh())
    api.preupload_lfs_files(REPO, [add], free_memory=False)
    add.upload_info.size += 1
    with pytest.raises(BadRequestError, match="has 100000 bytes, not 100001"):
        api.create_commit(REPO, [add], commit_message="x")


def test_parts_that_are_not_what_was_sent_make_no_large_file(hub):
    place = f"{hub.cdn}/_lfs/{hashlib.sha256(b'whole').hexdigest()}"
    with httpx2.Client() as client:
        etags = [
            client.put(f"{place}/{n}", content=x).headers["etag"]
            for n, x in ((1, b"wh"), (2, b"ole"))
        ]
        parts = [{"partNumber": n, "etag": etag} for n, etag in enumerate(etags, start=1)]
        wrong = client.post(place, json={"parts": [parts[0], parts[1] | {"etag": etags[0]}]})
        assert wrong.status_code == 400 and not hub.objects
        assert client.post(place, json={"parts": parts}).status_code == 200
    assert list(hub.objects.values()) == [b"whole"]


def test_a_range_says_where_it_lies_and_none_lies_past_the_end(hub):
    hub.objects["x"] = b"0123456789"
    with httpx2.Client() as client:
        some, rest, none = (
            client.get(f"{hub.cdn}/_cdn/lfs/x", headers={"Range": f"bytes={span}"})
            for span in ("2-4", "7-", "10-")
        )
    assert (some.content, some.headers["content-range"]) == (b"234", "bytes 2-4/10")
    assert (rest.content, rest.headers["content-range"]) == (b"789", "bytes 7-9/10")
    assert (none.status_code, none.headers["content-range"]) == (416, "bytes */10")


def test_a_token_at_the_cdn_is_refused(hub):
    with httpx2.Client() as client:
        answer = client.get(f"{hub.cdn}/_cdn/lfs/0", headers={"Authorization": f"Bearer {OWNER}"})
    assert answer.status_code == 400 and "token" in answer.json()["error"]


@pytest.mark.parametrize("size", [8, 9, 10, 11])
def test_byte_planes_are_put_together_again(size):
    body = bytes(range(size))
    planes = b"".join(body[plane::4] for plane in range(4))
    assert unpack(lz4.frame.compress(planes), 2, size) == body
