"""All stores of a folder: list them, remove them, make room for another."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pcsearch.data.cache.files import (
    StoreFiles,
    hold_unused,
    in_use,
    no_room,
    readable_bytes,
    stores_in,
)
from pcsearch.data.cache.metadata import Aspect, StoreMeta, read_meta
from pcsearch.data.dataset import ImageSource
from pcsearch.errors import UserError
from pcsearch.io import expanded, home_folder

_AT_MOST = 200


def title_of(images: ImageSource) -> str:
    """The images' common folder or name, for people to read.

    Never raises: a failure here must not prevent a store.
    """
    try:
        name = _common_name(images)[:_AT_MOST].encode("utf-8", "replace").decode()
    except Exception:
        name = ""
    return name or type(images).__name__


def _common_name(images: ImageSource) -> str:
    last = len(images) - 1
    names = [images.name(index) for index in sorted({0, last // 3, 2 * last // 3, last})]
    if all(Path(name).is_file() for name in names):
        names = [str(Path(name).absolute()) for name in names]
    if all(Path(name).is_absolute() for name in names):
        return os.path.commonpath([Path(name).parent for name in names])
    unnumbered = {re.split(r"\W*\d", name, maxsplit=1)[0] for name in names}
    return unnumbered.pop() if len(unnumbered) == 1 else ""


_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(i?)b\s*", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}
_DEFAULT_AT_MOST_BYTES = 200 * 10**9


@dataclass(frozen=True)
class SizeLimit:
    """The largest size of all stores together.

    Attributes:
        bytes: the limit, None for no limit.
        chosen: whether the user set it. A build that exceeds a chosen limit is refused; the default
            limit only decides what is evicted.
    """

    bytes: int | None
    chosen: bool


def default_cache_folder() -> Path:
    """$PCSEARCH_CACHE, or ~/.cache/pcsearch."""
    named = os.environ.get("PCSEARCH_CACHE")
    return expanded(named) if named else home_folder() / ".cache" / "pcsearch"


def size_limit_bytes(folder: Path | None = None) -> int | None:
    """The limit on all stores of `folder` (default: this machine's cache); None for no limit.

    $PCSEARCH_CACHE_LIMIT is a size with its unit (`50GB`, `500 MB`, `1.5TiB`) or `none`. Without
    it, the limit is half of the folder's disk, at most 200 GB. (CUB-200-2011 at 256 pixels takes
    2.3 GB.)

    Raises:
        UserError: $PCSEARCH_CACHE_LIMIT is anything else.
    """
    return _size_limit(folder).bytes


def _size_limit(folder: Path | None = None) -> SizeLimit:
    """`size_limit_bytes`, and whether the user chose it."""
    text = os.environ.get("PCSEARCH_CACHE_LIMIT", "").strip()
    if not text:
        disk_bytes = shutil.disk_usage(_existing(folder or default_cache_folder())).total
        return SizeLimit(min(disk_bytes // 2, _DEFAULT_AT_MOST_BYTES), chosen=False)
    if text.lower() == "none":
        return SizeLimit(None, chosen=True)
    match = _SIZE.fullmatch(text)
    if match is None or not float(match[1]):
        raise UserError(
            f"PCSEARCH_CACHE_LIMIT is {text!r}, but must be a size with its unit, such as 50GB or "
            "500MB, or none."
        )
    base = 1024 if match[3] else 1000
    return SizeLimit(int(float(match[1]) * base ** _POWERS[match[2].lower()]), chosen=True)


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


@dataclass(frozen=True)
class StoreInfo:
    """A store in the cache folder.

    Attributes:
        path: the .npy file.
        bytes: size of its files.
        images: number of images.
        resize: side of the images in pixels.
        aspect: how images were made square.
        title: where its images come from.
        last_used: when a process last opened it, Unix time in seconds.
        in_use: whether a process has it mapped, or builds it, now.
        whole: False for a store of another version, a damaged one, or the remains of a killed
            build. Then `images`, `resize` and `title` are 0 or empty.
    """

    path: Path
    bytes: int
    images: int
    resize: int
    aspect: Aspect
    title: str
    last_used: float
    in_use: bool
    whole: bool


@dataclass(frozen=True)
class Evicted:
    """What `clear_stores` removed (or would remove), and how many stores in use it kept."""

    stores: int
    bytes: int
    in_use: int


def list_stores(folder: Path) -> list[StoreInfo]:
    """The stores of a folder, the most recently used first; empty if there is no folder."""
    infos = [_info(files) for files in stores_in(folder)]
    return sorted((info for info in infos if info is not None), key=lambda info: -info.last_used)


def clear_stores(
    folder: Path, *, keep_used_within_seconds: float | None = None, dry_run: bool = False
) -> Evicted:
    """Remove every store that no process uses, whole or not.

    Args:
        folder: the folder of the stores. Other files in it are kept.
        keep_used_within_seconds: keep whole stores that were used this recently.
        dry_run: remove nothing, only count.

    Raises:
        UserError: the folder is not writable.
    """
    stores = bytes_removed = used = 0
    now = time.time()
    for files in stores_in(folder):
        info = _info(files)
        if info is None:
            continue
        age = now - info.last_used
        if info.whole and keep_used_within_seconds is not None and age < keep_used_within_seconds:
            continue
        try:
            removed = not info.in_use and (dry_run or _remove_if_unused(files))
        except OSError as error:
            raise UserError(
                f"{info.path} cannot be removed: {error.strerror or error}. Make its folder "
                "writable."
            ) from error
        if not removed:
            used += 1
            continue
        stores += 1
        bytes_removed += info.bytes
    return Evicted(stores, bytes_removed, used)


def make_room(files: StoreFiles, needed_bytes: int) -> None:
    """Make room for a new store, or for features of one, within free space and size limit.

    Remains of killed builds are removed first, then the least recently used stores. If removing all
    of these stores would not suffice, the error is raised before any is removed.

    Raises:
        UserError: not enough room. The text states needed and free space, or the user's limit.
    """
    _sweep(files)
    others = list_stores(files.folder)
    removable = [info for info in reversed(others) if not info.in_use and info.path != files.pixels]
    removable_bytes = sum(info.bytes for info in removable)
    taken_bytes = sum(info.bytes for info in others)
    free_bytes = shutil.disk_usage(files.folder).free
    if free_bytes + removable_bytes < needed_bytes:
        raise no_room(files.folder, needed_bytes)
    limit = _size_limit(files.folder)
    excess_bytes = needed_bytes - free_bytes
    if limit.bytes is not None:
        fixed_bytes = taken_bytes - removable_bytes
        if limit.chosen and needed_bytes + fixed_bytes > limit.bytes:
            raise _over_limit(files.folder, needed_bytes, fixed_bytes, limit.bytes)
        excess_bytes = max(excess_bytes, taken_bytes + needed_bytes - limit.bytes)
    for info in removable:
        if excess_bytes <= 0:
            break
        if _evicted(StoreFiles(files.folder, info.path.stem)):
            excess_bytes -= info.bytes
    if shutil.disk_usage(files.folder).free < needed_bytes:
        raise no_room(files.folder, needed_bytes)


def remove_files(files: StoreFiles) -> None:
    """Remove a store and a builder's unfinished files. The caller holds the store's lock."""
    for path in (*files.whole, *files.unfinished, *files.features):
        path.unlink(missing_ok=True)


def _sweep(building: StoreFiles) -> None:
    """Remove the files that killed builders left."""
    for files in stores_in(building.folder):
        if files.key == building.key:
            continue
        if not files.meta.exists():
            _evicted(files)
        elif any(path.exists() for path in files.unfinished):
            with _builder_lock(files) as held, contextlib.suppress(PermissionError):
                for path in files.unfinished if held else ():
                    path.unlink(missing_ok=True)


def _evicted(files: StoreFiles) -> bool:
    try:
        return _remove_if_unused(files)
    except PermissionError:  # another user's store
        return False


def _info(files: StoreFiles) -> StoreInfo | None:
    sizes, times = [], []
    for path in (*files.whole, *files.unfinished, *files.features):
        with contextlib.suppress(OSError):
            status = path.stat()
            sizes.append(status.st_size)
            times.append(status.st_mtime)
    if not sizes:  # removed meanwhile
        return None
    meta = read_meta(files.meta)
    if meta is not None and _sizes_differ(files, meta):
        meta = None
    try:
        last_used = files.meta.stat().st_mtime
    except OSError:
        last_used = max(times)
    return StoreInfo(
        path=files.pixels,
        bytes=sum(sizes),
        images=meta.images if meta else 0,
        resize=meta.resize if meta else 0,
        aspect=meta.aspect if meta else "warp",
        title=meta.title if meta else "",
        last_used=last_used,
        in_use=in_use(files.pixels) or _locked(files.lock),
        whole=meta is not None,
    )


def _sizes_differ(files: StoreFiles, meta: StoreMeta) -> bool:
    try:
        there = files.prints.is_file() and files.twins.is_file()
        return files.pixels.stat().st_size != meta.file_bytes or not there
    except OSError:
        return True


def _locked(lock: Path) -> bool:
    """Whether a process builds or removes this store."""
    if not lock.is_file():
        return False
    held = hold_unused(lock)
    if held is None:
        return lock.exists()
    os.close(held)
    return False


def _remove_if_unused(files: StoreFiles) -> bool:
    """Remove a store unless a process has it mapped or builds it; whether it was removed.

    A process that opens the store meanwhile either maps it before the lock here, or finds its file
    unlinked and builds it again.
    """
    with _builder_lock(files) as held:
        if not held:
            return False
        pixels = hold_unused(files.pixels)
        try:
            if pixels is None and files.pixels.is_file():
                return False
            remove_files(files)
        finally:
            if pixels is not None:
                os.close(pixels)
    return True


@contextlib.contextmanager
def _builder_lock(files: StoreFiles) -> Iterator[bool]:
    lock = FileLock(files.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _over_limit(folder: Path, needed_bytes: int, fixed_bytes: int, limit_bytes: int) -> UserError:
    taken = f", and {readable_bytes(fixed_bytes)} there are in use" if fixed_bytes else ""
    return UserError(
        f"the image cache in {folder} needs {readable_bytes(needed_bytes)} more{taken}, but "
        f"PCSEARCH_CACHE_LIMIT allows {readable_bytes(limit_bytes)} in total. Raise it (none: "
        "no limit) or lower image.resize."
    )
