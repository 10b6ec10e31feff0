"""Moving what was unpacked to where readers look, without a moment at which half of it is there."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def move_in_place(staging: Path, root: Path, own: Path, *, leave: Path) -> None:
    """Move everything in `staging`, but for `leave`, to `root`.

    A folder that is not there yet arrives by one rename, whole or not at all. One that is there
    is completed: files of the same name are replaced within the dataset's `own` folder. Elsewhere
    in the root they are someone else's and stay, and the archive's remain in `staging`. Killed
    halfway, it can be called again.
    """
    os.sync()  # a name must not outlive, in a power cut, the bytes it stands for
    for entry in sorted(staging.iterdir()):
        if entry != leave:
            _move(entry, root / entry.name, own)


def _move(source: Path, target: Path, own: Path) -> None:
    if source.is_dir() and target.is_dir():
        for entry in sorted(source.iterdir()):
            _move(entry, target / entry.name, own)
        return
    if target.exists() and not target.is_relative_to(own):
        return
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)  # the target's folder is a link to another disk


def _copy(source: Path, target: Path) -> None:
    aside = target.with_name(f".{target.name}.pcsearch-part")
    if source.is_dir():
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside)
        aside.replace(target)
        shutil.rmtree(source)
    else:
        shutil.copy2(source, aside)
        aside.replace(target)
        source.unlink()
