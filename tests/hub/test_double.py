"""The double of the Hub does what its client expects of the Hub."""

import os
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download


def test_upload_and_download(hub, transport):
    api = HfApi()
    api.create_repo("owner/model")
    data = os.urandom(200_000)
    api.upload_file(path_or_fileobj=data, path_in_repo="model.safetensors", repo_id="owner/model")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="owner/model")
    assert Path(hf_hub_download("owner/model", "model.safetensors")).read_bytes() == data
    for e in hub.log:
        print(e, e.status, e.role, e.received, e.sent, e.range)
