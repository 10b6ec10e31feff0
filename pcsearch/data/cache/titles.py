"""What a list of stores calls the images that one was made from."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pcsearch.data.dataset import ImageSource

_AT_MOST = 200


def title_of(images: ImageSource) -> str:
    """The folder that the images have in common, or what they are called, for people to read.

    Never fails: a store is not worth less for a source whose names cannot be had.
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
