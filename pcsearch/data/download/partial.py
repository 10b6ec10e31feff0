"""A partial file and what is known about the whole: the basis of going on later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pcsearch.regular_files import create_anew, read_regular

_ORIGIN_BYTES = 10**5


@dataclass(frozen=True)
class Origin:
    """Which version of which file a partial one is the beginning of.

    Attributes:
        url: where it came from, before redirections.
        etag: the server's entity tag, empty if it sent none.
        last_modified: the server's date of change, empty if it sent none.
        total_bytes: the size of the whole, None where the server did not say.
    """

    url: str
    etag: str = ""
    last_modified: str = ""
    total_bytes: int | None = None

    @property
    def validator(self) -> str:
        """What If-Range may carry: a strong entity tag, else the date, else nothing."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def same_version(self, other: Origin) -> bool:
        """Whether nothing that both of them state differs."""
        stated = (
            (self.etag, other.etag),
            (self.last_modified, other.last_modified),
            (self.total_bytes, other.total_bytes),
        )
        return all(not mine or not theirs or mine == theirs for mine, theirs in stated)


@dataclass(frozen=True)
class Partial:
    """`FILE.part`, and `FILE.part.json` with its origin."""

    path: Path

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def _origin_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def origin(self) -> Origin | None:
        """Where its bytes are from; None, too, if that cannot be read."""
        try:
            return Origin(**json.loads(read_regular(self._origin_file, _ORIGIN_BYTES)))
        except (OSError, ValueError, TypeError):
            return None

    def restart(self, origin: Origin) -> None:
        """Begin anew: the old bytes go before the new origin is written, never the other way."""
        self.path.unlink(missing_ok=True)
        with create_anew(self._origin_file) as file:
            file.write(json.dumps(asdict(origin)).encode())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._origin_file.unlink(missing_ok=True)

    def become(self, target: Path) -> None:
        """Put the whole file in place."""
        self.path.replace(target)
        self._origin_file.unlink(missing_ok=True)
