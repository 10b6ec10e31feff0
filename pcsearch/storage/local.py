"""A folder of a local or shared file system as a storage."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pcsearch.errors import UserError
from pcsearch.io import open_regular, read_regular
from pcsearch.storage.base import Storage, StorageError, check_name, is_name


class LocalStorage:
    """Files below a folder, which is created with the first of them.

    Names that begin with "." and symbolic links are ignored, so no write leaves the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def url(self) -> str:
        return str(self._root)

    def set_deadline(self, seconds: float) -> None:
        """Does nothing: a file system answers or fails at once."""

    def read(self, name: str) -> bytes:
        with self._explained(name):
            return read_regular(self._existing(name))

    def download(self, name: str, path: Path) -> None:
        with self._explained(name):
            source = self._existing(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_regular(source) as content, _written_beside(path, content) as temporary:
                temporary.replace(path)

    def write(self, name: str, data: bytes) -> None:
        self._place(name, io.BytesIO(data))

    def upload(self, name: str, path: Path) -> None:
        with open_regular(path) as content:
            self._place(name, content)

    def create(self, name: str, data: bytes) -> bool:
        path = self._path(name)
        with self._explained(name):
            _make_folder(path.parent)
            with _written_beside(path, io.BytesIO(data)) as temporary:
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    # over a network, the answer to a successful link may have been lost
                    return path.samefile(temporary)
            _sync(path.parent)
        return True

    def list(self, folder: str = "") -> Sequence[str]:
        top = self._path(folder) if folder else self._root
        names = []
        with self._explained(folder):
            for where, folders, files in os.walk(top, onerror=_raise):
                folders[:] = [name for name in folders if not name.startswith(".")]
                paths = [Path(where, file) for file in files]
                names += [
                    path.relative_to(self._root).as_posix()
                    for path in paths
                    if path.is_file() and not path.is_symlink()
                ]
        return sorted(filter(is_name, names))

    def folders(self) -> Sequence[str]:
        with self._explained(""):
            if not self._root.is_dir():
                return []
            found = [path for path in self._root.iterdir() if path.is_dir()]
        return sorted(path.name for path in found if is_name(path.name) and not path.is_symlink())

    def below(self, folder: str) -> Storage:
        return LocalStorage(self._root / check_name(folder))

    def modified(self, folder: str) -> float | None:
        times = []
        for name in self.list(folder):
            with self._explained(name), suppress(FileNotFoundError):
                times.append((self._root / name).stat().st_mtime)
        return max(times, default=None)

    def remove(self, *names: str) -> None:
        paths = [self._path(name) for name in names]
        for name, path in zip(names, paths, strict=True):
            with self._explained(name), suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()

    def remove_all(self, folder: str) -> None:
        path = self._path(folder)
        with self._explained(folder):
            if path.is_dir():
                shutil.rmtree(path)

    def exists(self, name: str) -> bool:
        with self._explained(name):
            return self._path(name).is_file()

    def _path(self, name: str) -> Path:
        path = self._root / check_name(name)
        try:
            real = path.resolve() == self._root.resolve() / name
        except (OSError, RuntimeError):  # circular links
            real = False
        if not real:
            raise UserError(f"{path} is reached by a symbolic link inside the run; remove the link")
        return path

    def _existing(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():  # nor is a folder, a pipe or a device a stored file
            raise FileNotFoundError(f"there is no file {path}")
        return path

    def _place(self, name: str, content: BinaryIO) -> None:
        path = self._path(name)
        with self._explained(name):
            _make_folder(path.parent)
            with _written_beside(path, content) as temporary:
                temporary.replace(path)
            _sync(path.parent)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            where = self._root / name
            raise StorageError(f"{where} cannot be used: {error.strerror or error}") from error


@contextmanager
def _written_beside(path: Path, content: BinaryIO) -> Iterator[Path]:
    """A synced temporary file beside `path` with the content; removed at the end."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, each synced before it is used."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # a folder may be removed meanwhile
        raise error
