"""What lies beside a store's pixels: a few facts, with a checksum over themselves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class StoreMeta:
    """Facts of a store.

    Attributes:
        resize: side of the stored images in pixels.
        source_images: images in the source, readable or not.
        file_bytes: size of the pixel file.
        bad_indices: the source's images that could not be read.
        bad: the same, as messages name them.
    """

    resize: int
    source_images: int
    file_bytes: int
    bad_indices: tuple[int, ...]
    bad: tuple[str, ...]

    def dump(self) -> str:
        """As JSON, with a checksum."""
        facts = asdict(self)
        return json.dumps(facts | {"checksum": _checksum(facts)})


def read_meta(path: Path) -> StoreMeta | None:
    """The facts in a file, None if it is missing, damaged or from another program."""
    try:
        facts = json.loads(path.read_text())
        checksum = facts.pop("checksum")
        if checksum != _checksum(facts):
            return None
        facts |= {name: tuple(facts[name]) for name in ("bad_indices", "bad")}
        return StoreMeta(**facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _checksum(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
