"""Published weights: found in a cache, or fetched resumably and checked by their sha256.

Files of torchvision, and a few of timm, lie in `torch.hub`'s cache (`TORCH_HOME`). Their names hold
the first digits of their sha256. Other files of timm are on the Hugging Face Hub, which states the
sha256 in its answer. They lie in its library's cache (`HF_HOME`), as that library puts them there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlparse, urlsplit

import torch
from filelock import FileLock

from pcsearch.errors import UserError
from pcsearch.fetch import FetchStep, fetch_checked
from pcsearch.http import DownloadPatience, Partial, SourceError, network_reason
from pcsearch.io import replacing

PATIENCE = DownloadPatience()

_CONNECT_SECONDS = 10.0
"""Without a network, a first request fails within seconds; a download would be tried for longer."""

_DIGITS_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")
_SHA256 = re.compile(r'"?([a-f0-9]{64})"?')
_COMMIT = re.compile(r"[a-f0-9]{40}")
_MOST_REDIRECTIONS = 5
_LONGEST_REASON = 200


class NotFetchedError(Exception):
    """A weights file that is in no cache and cannot be downloaded; the text is the reason."""


@dataclass(frozen=True)
class _Weights:
    file: str
    size_bytes: int | None
    checksum: str


class _Silent:
    """A download that shows nothing."""

    def moved(self, step: FetchStep, file: str, done_bytes: int, total_bytes: int | None) -> None:
        pass

    def noted(self, line: str) -> None:
        pass


def cache_path(url: str) -> Path:
    """Path at which `torch.hub` caches a file; it may not exist."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name


def url_file(url: str) -> Path:
    """Path of a file whose name holds digits of its sha256, downloaded if it is not in the cache.

    Raises:
        NotFetchedError: it cannot be downloaded, or its name holds no digits.
    """
    target = cache_path(url)
    if target.is_file():
        return target
    digits = _DIGITS_IN_NAME.search(target.name)
    if digits is None:
        raise NotFetchedError("no checksum is published for it, so it could not be checked")
    _head(url, "")
    return _fetched(url, target, _Weights(target.name, None, f"sha256:{digits[1]}"), "")


def not_cached(name: str, url: str, error: NotFetchedError) -> str:
    """What to do if `url_file` fails."""
    return (
        f"weights: imagenet: the file of {name} is not in the cache and cannot be downloaded "
        f"({error}).\n"
        f"  Looked for: {cache_path(url)}\n"
        f"  Source:     {url}\n"
        "Download it on a machine with a network and copy it there; TORCH_HOME names another "
        "folder. Or give `weights: PATH` "
        "for your own state dict, or `weights: none` to train from scratch."
    )


def hub_file(repository: str, file: str) -> Path:
    """Path of a file of the Hugging Face Hub, downloaded if it is not in the cache.

    `HF_ENDPOINT` names another server, `HF_TOKEN` the user, `HF_HUB_OFFLINE` allows the cache only.

    Raises:
        UserError: there is no such file, it needs the user's consent, or it cannot be downloaded.
    """
    from huggingface_hub import constants, get_token, try_to_load_from_cache

    cache = Path(constants.HF_HUB_CACHE)
    found = try_to_load_from_cache(repository, file, cache_dir=cache)
    if isinstance(found, str):
        return Path(found)
    page = f"{constants.ENDPOINT.rstrip('/')}/{repository}"
    try:
        if constants.HF_HUB_OFFLINE:
            raise NotFetchedError("HF_HUB_OFFLINE is set")
        token = get_token() or ""
        url = f"{page}/resolve/main/{file}"
        status, headers = _head(url, token)
        if status >= 400:
            raise UserError(_refused(page, file, status, headers))
        sha256 = _SHA256.fullmatch(headers.get("X-Linked-ETag", ""))
        commit = headers.get("X-Repo-Commit", "")
        if sha256 is None or not _COMMIT.fullmatch(commit):
            raise NotFetchedError(
                f"{urlsplit(page).netloc} states no sha256 of it, so it could not be checked"
            )
        size = headers.get("X-Linked-Size", "")
        wanted = _Weights(file, int(size) if size.isdecimal() else None, f"sha256:{sha256[1]}")
        folder = cache / f"models--{repository.replace('/', '--')}"
        blob = _fetched(url, folder / "blobs" / sha256[1], wanted, token)
        return _placed(folder, commit, file, blob)
    except NotFetchedError as error:
        raise UserError(
            f"weights: imagenet: {file} of {page} is not in the cache and cannot be downloaded "
            f"({error}).\n"
            f"  Looked in: {cache}\n"
            "Download the file on a machine with a network, and give `weights: PATH`; or "
            "`weights: none` to train from scratch"
        ) from error


def _head(url: str, token: str) -> tuple[int, Mapping[str, str]]:
    """Status and headers of a file's own host, which may redirect to a host that has the bytes."""
    import requests

    headers = {"Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        for _ in range(_MOST_REDIRECTIONS):
            answer = requests.head(
                url, headers=headers, timeout=_CONNECT_SECONDS, allow_redirects=False
            )
            following = urljoin(url, answer.headers.get("Location", url))
            if not answer.is_redirect or urlsplit(following).netloc != urlsplit(url).netloc:
                break
            if "X-Linked-ETag" in answer.headers:
                break
            url = following  # a repository that was renamed
    except (requests.exceptions.RequestException, ValueError) as error:
        raise NotFetchedError(network_reason(error, url)) from error
    return answer.status_code, answer.headers


def _fetched(url: str, target: Path, wanted: _Weights, token: str) -> Path:
    """Fetch and check a file; other processes wait. What a killed one has fetched is kept."""
    part = Partial(target.with_name(f"{target.name}.part"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.is_file():
                fetch_checked(url, wanted, part, _Silent(), PATIENCE, token)
                part.become(target)
    except SourceError as error:
        kept = (
            f"; {part.size_bytes:,} bytes are kept and will be resumed" if part.size_bytes else ""
        )
        raise NotFetchedError(f"{error}{kept}") from error
    except OSError as error:
        raise NotFetchedError(f"{target.parent} cannot be written: {error.strerror}") from error
    return target


def _placed(folder: Path, commit: str, file: str, blob: Path) -> Path:
    """Name the file as the Hub's library does: a link in a snapshot, and the branch's commit."""
    path = folder / "snapshots" / commit / file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            path.symlink_to(os.path.relpath(blob, path.parent))
        except OSError:  # a file system without links
            shutil.copyfile(blob, path)
        with replacing(folder / "refs" / "main") as written:
            written.write_text(commit)
    except OSError as error:
        raise NotFetchedError(f"{folder} cannot be written: {error.strerror}") from error
    return path


def _refused(page: str, file: str, status: int, headers: Mapping[str, str]) -> str:
    """What to do about an answer that is an error."""
    code = headers.get("X-Error-Code", "")
    stated = headers.get("X-Error-Message", "")[:_LONGEST_REASON]
    reason = f"{status}, {stated}" if stated else str(status)
    instead = f"Or download {file} elsewhere, and give `weights: PATH`"
    if status == 404 or code in ("RepoNotFound", "EntryNotFound", "RevisionNotFound"):
        return (
            f"weights: imagenet: there is no {file} at {page} ({reason}): look at the page for "
            f"the model's new name, or update timm (pip install -U timm). {instead}"
        )
    if status in (401, 403) and "Invalid" in stated:
        return (
            f"weights: imagenet: {page} refuses your token ({reason}): log in again by `hf auth "
            f"login`, or correct or unset HF_TOKEN. {instead}"
        )
    if status in (401, 403):
        return (
            f"weights: imagenet: the weights of {page} are given to those who agree to their "
            f"licence ({reason}): open that page, log in and agree. Then run `hf auth login` here, "
            f"or set HF_TOKEN, and repeat the command. {instead}"
        )
    return f"weights: imagenet: {page} answers {reason} for {file}: try again later. {instead}"
