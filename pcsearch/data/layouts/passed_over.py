"""What is passed over in a folder of images: files of other endings, folders of the system."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pcsearch.data.decode import RARE_RAWS
from pcsearch.io import open_regular

_SYSTEM_FOLDERS = re.compile(
    r"@eadir|@tmp|@sharebin|@sharesnap|@recycle|@recently-snapshot|@__thumb|#recycle|#snapshot"
    r"|\$recycle\.bin|\$av_.*|(?-i:RECYCLER)|system volume information|found\.\d{3}|lost\+found"
    r"|network trash folder|temporary items|thevolumesettingsfolder|thefindbycontentfolder"
    r"|__macosx.*|__pycache__",
    re.IGNORECASE,
)
"""Folders that a NAS, Windows, Linux or a Mac puts beside and into the user's own."""

_SIGNATURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0|II\*\0|MM\0\*"
    rb"|FOVb|\0MRM|II\x1a\0\0\0HEAPCCDR|IIU\0"
    rb"|P[1-6]\s|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|....ftyp(?:avif|avis|heic|heix|mif1)",
    re.DOTALL,
)
_FIRST_BYTES = 32
_SAMPLE = 5
"""Files of each ending whose first bytes are read at the start of every campaign."""
_MOST_ENDINGS = 40
_NAMED_AT_MOST = 6


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name holds nothing of the user's."""
    return name.startswith(".") or _SYSTEM_FOLDERS.fullmatch(name) is not None


@dataclass
class PassedOver:
    """Collects what is passed over while folders are listed.

    Attributes:
        root: the folder to which paths are relative.
        files: ending → files; see `ending_of`.
        folders: paths of folders of the system. Those that begin with a dot are not collected.
        loose: image files beside the class folders.
    """

    root: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)

    def add_file(self, path: str) -> None:
        """A file whose ending is none of `EXTENSIONS`."""
        self.files.setdefault(ending_of(path), []).append(path)

    def notes(self, *, all_files: bool) -> list[str]:
        """Sentences on images and folders that are passed over.

        Args:
            all_files: read the first bytes of all files, not of some of each ending.
        """
        found = []
        images = self._images("", None if all_files else _SAMPLE)
        if images:
            found += _passed_over(images)
        if self.loose:
            number = len(self.loose)
            verb = "image lies" if number == 1 else "images lie"
            found.append(
                f"{number:,} {verb} beside the class folders ({min(self.loose)}), in no class: "
                "move images into the folder of their class."
            )
        if self.folders:
            names = Counter(Path(folder).name for folder in self.folders)
            named = ", ".join(f"{number:,} {name}" for name, number in sorted(names.items()))
            found.append(f"folders of the system are passed over: {named}.")
        return found

    def hint(self, folder: str) -> str:
        """What a folder without images holds instead, in a sentence that begins with a space."""
        if images := self._images(folder, _SAMPLE):
            return f" {' '.join(_passed_over(images))}"
        inside = {
            ending: number
            for ending, files in self.files.items()
            if (number := len(_in(files, folder)))
        }
        return f" Other files: {_named(inside)}." if inside else ""

    def _images(self, folder: str, at_most: int | None) -> dict[str, int]:
        """Ending → number of images, estimated for an ending if only some of its files are read."""
        counts: dict[str, int] = {}
        endings = sorted(self.files, key=lambda ending: -len(self.files[ending]))
        for ending in endings if at_most is None else endings[:_MOST_ENDINGS]:
            files = _in(self.files[ending], folder)
            read = files[:at_most]
            images = sum(_looks_like_image(self.root / file) for file in read)
            if images:
                counts[ending] = round(images * len(files) / len(read))
        return counts


_REMEDY = (
    "Rename them to end in .jpg or .png, whatever their content; or list them in a manifest, which "
    "takes any ending."
)
_RAW_REMEDY = "They are camera raws, which are not decoded: export them as JPEG or PNG."


def ending_of(path: str) -> str:
    """The ending in lower case, `?...` for the rest of an address, or "" without an ending."""
    name, question, _ = path.rpartition("/")[2].partition("?")
    return Path(name).suffix.lower() + ("?..." if question else "")


def _in(files: list[str], folder: str) -> list[str]:
    return [file for file in files if not folder or file.startswith(f"{folder}/")]


def _passed_over(images: dict[str, int]) -> list[str]:
    """A sentence on images that another name lets in, and one on cameras' raw files."""
    kinds = [
        ({one: images[one] for one in images if one not in RARE_RAWS}, _REMEDY),
        ({one: images[one] for one in images if one in RARE_RAWS}, _RAW_REMEDY),
    ]
    return [f"{_counted(some)} {remedy}" for some, remedy in kinds if some]


def _counted(images: dict[str, int]) -> str:
    total = sum(images.values())
    verb = "image is" if total == 1 else "images are"
    return f"{total:,} {verb} passed over because of their names' endings: {_named(images)}."


def _named(counts: dict[str, int]) -> str:
    order = sorted(counts, key=lambda ending: (-counts[ending], ending))
    named = [f"{counts[ending]:,} {ending or 'without ending'}" for ending in order]
    if len(named) > _NAMED_AT_MOST:
        rest = sum(counts[ending] for ending in order[_NAMED_AT_MOST:])
        named = [*named[:_NAMED_AT_MOST], f"{rest:,} of other endings"]
    return ", ".join(named)


def _looks_like_image(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return _SIGNATURES.match(file.read(_FIRST_BYTES)) is not None
    except OSError:
        return False
