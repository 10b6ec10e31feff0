"""Published weights from a server on the loopback: resumed, checked, cached, and refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from pcsearch.errors import UserError
from pcsearch.http import DownloadPatience
from pcsearch.models import build_backbone, download
from pcsearch.models.download import NotFetchedError, hub_file, url_file
from tests.data.download.server import Habits, Server, running

REPOSITORY, FILE = "timm/test_resnet.r160_in1k", "model.safetensors"
PATH = f"/{REPOSITORY}/resolve/main/{FILE}"
COMMIT = "0123456789abcdef" * 2 + "01234567"
BODY = bytes(range(256)) * 400


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Hub:
    """A Hugging Face Hub, and the server of the bytes to which it redirects."""

    server: Server
    bytes_server: Server
    cache: Path

    def publish(self, body: bytes, *bodies: Habits, stated: str | None = None) -> None:
        """Offer `body`: the Hub states its sha256; another host sends it by `bodies`."""
        address = self.bytes_server.serve("/signed", *(bodies or (Habits(body),)))
        digest = sha256(body) if stated is None else stated
        headers = (
            ("Location", address),
            ("X-Linked-ETag", f'"{digest}"'),
            ("X-Linked-Size", str(len(body))),
            ("X-Repo-Commit", COMMIT),
        )
        self.server.serve(PATH, Habits(status=302, headers=headers))

    def refuse(self, status: int, code: str = "", message: str = "") -> None:
        headers = (("X-Error-Code", code), ("X-Error-Message", message))
        self.server.serve(PATH, Habits(status=status, headers=headers))

    @property
    def folder(self) -> Path:
        return self.cache / "models--timm--test_resnet.r160_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    quick = DownloadPatience(attempts=3, first_wait_seconds=0.01, read_seconds=5)
    monkeypatch.setattr(download, "PATIENCE", quick)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with running() as server, running() as bytes_server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        yield Hub(server, bytes_server, tmp_path / "hub")


def test_a_file_of_the_hub_lies_where_its_library_looks(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    hub.publish(BODY)
    path = hub_file(REPOSITORY, FILE)
    assert path.read_bytes() == BODY
    assert path == hub.folder / "snapshots" / COMMIT / FILE
    theirs = hf_hub_download(REPOSITORY, FILE, cache_dir=hub.cache, local_files_only=True)
    assert Path(theirs) == path
    asked = len(hub.server.log)
    assert hub_file(REPOSITORY, FILE) == path
    assert len(hub.server.log) == asked, "what is in the cache needs no network"
    assert not list(hub.cache.rglob("*.part*"))


def test_the_token_is_for_the_hub_alone(hub: Hub) -> None:
    hub.publish(BODY)
    hub_file(REPOSITORY, FILE)
    sent = {request.headers.get("authorization") for request in hub.server.log}
    assert sent == {"Bearer hf_secret"}
    assert [request.headers.get("authorization") for request in hub.bytes_server.log] == [None]


def test_a_broken_download_is_resumed_at_once(hub: Hub) -> None:
    hub.publish(BODY, Habits(BODY, drop_after=60_000), Habits(BODY))
    assert hub_file(REPOSITORY, FILE).read_bytes() == BODY
    assert hub.bytes_server.ranges("/signed") == [None, "bytes=60000-"]


def test_a_download_that_ended_is_resumed_by_the_next_command(hub: Hub) -> None:
    hub.publish(BODY, Habits(BODY, drop_after=60_000), Habits(status=403))
    with pytest.raises(UserError, match="60,000 bytes are kept and will be resumed"):
        hub_file(REPOSITORY, FILE)
    hub.publish(BODY, *[Habits(BODY)] * 3)
    asked = len(hub.bytes_server.log)
    assert hub_file(REPOSITORY, FILE).read_bytes() == BODY
    assert hub.bytes_server.ranges("/signed")[asked:] == ["bytes=60000-"]


def test_a_wrong_hash_is_refused(hub: Hub) -> None:
    hub.publish(BODY, Habits(BODY[:-1] + b"?"))
    with pytest.raises(UserError, match=f"wrong content, removed: sha256 {sha256(BODY)} is expect"):
        hub_file(REPOSITORY, FILE)
    assert not [path for path in hub.folder.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize("stated", ["", "d" * 40, "../../../../tmp/x"])
def test_a_server_that_states_no_sha256_is_refused(hub: Hub, stated: str) -> None:
    hub.publish(BODY, stated=stated)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:\d+ states no sha256 of it"):
        hub_file(REPOSITORY, FILE)
    assert hub.bytes_server.log == []


@pytest.mark.parametrize(
    ("status", "code", "message", "said"),
    [
        (401, "GatedRepo", "Access is restricted", "given to those who agree to their licence"),
        (403, "GatedRepo", "", "given to those who agree to their licence"),
        (403, "", "", "given to those who agree to their licence"),
        (401, "", "Invalid credentials in Authorization header", "refuses your token"),
        (401, "RepoNotFound", "", "there is no model.safetensors"),
        (404, "EntryNotFound", "", "there is no model.safetensors"),
        (404, "", "", "there is no model.safetensors"),
        (503, "", "", "answers 503 for model.safetensors: try again later"),
    ],
)
def test_refusals(hub: Hub, status: int, code: str, message: str, said: str) -> None:
    hub.refuse(status, code, message)
    with pytest.raises(UserError) as caught:
        build_backbone(REPOSITORY, 3, weights="imagenet")
    text = str(caught.value)
    assert said in text
    assert str(status) in text
    assert message in text
    assert f"{hub.server.url}/{REPOSITORY}" in text, "the page is named"
    assert "`weights: PATH`" in text


def test_a_renamed_repository_is_followed(hub: Hub) -> None:
    hub.publish(BODY)
    hub.server.paths["/new"] = hub.server.paths[PATH]
    hub.server.serve(PATH, Habits(status=307, headers=(("Location", "/new"),)))
    assert hub_file(REPOSITORY, FILE).read_bytes() == BODY


def test_no_network_and_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be downloaded \(127\.0\.0\.1 refuses the conn"):
        hub_file(REPOSITORY, FILE)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot be downloaded \(HF_HUB_OFFLINE is set\)"):
        hub_file(REPOSITORY, FILE)


def test_a_network_with_such_weights(hub: Hub) -> None:
    published = build_backbone("timm/test_resnet", 1000, seed=3).module.state_dict()
    hub.publish(save({key: value.contiguous() for key, value in published.items()}))
    backbone = build_backbone(REPOSITORY, 5, weights="imagenet")
    assert backbone.loading.source == f"imagenet: {REPOSITORY}"
    ours = backbone.module.state_dict()
    assert torch.equal(ours["conv1.0.weight"], published["conv1.0.weight"])


def test_a_file_with_digits_in_its_name(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchvision publishes them: resumed, and compared with the digits."""
    monkeypatch.setenv("TORCH_HOME", str(hub.cache))
    path = f"/net-{sha256(BODY)[:8]}.pth"
    url = hub.server.serve(path, Habits(BODY), Habits(BODY, drop_after=50_000), Habits(BODY))
    assert url_file(url).read_bytes() == BODY
    assert hub.server.ranges(path) == [None, None, "bytes=50000-"]  # the first is a HEAD
    assert url_file(url) == hub.cache / "hub" / "checkpoints" / path[1:]
    wrong = hub.server.serve("/net-00000000.pth", replace(Habits(BODY)))
    with pytest.raises(NotFetchedError, match="wrong content, removed: sha256 00000000 is expect"):
        url_file(wrong)
    with pytest.raises(NotFetchedError, match="no checksum is published for it"):
        url_file(hub.server.serve("/net.pth", Habits(BODY)))
