"""images/s of building the image cache, and of verifying a dataset ÷ of Pillow alone.

Pillow alone opens each file, decodes it, makes it RGB and resizes it, and keeps nothing. Building
is `ensure_store` with one thread into an empty folder: it writes, fingerprints and syncs besides.
Verifying is `pcsearch.data.verify.verify_dataset` with one thread, in an empty cache of its own.
All see the same files, which are in the system's file cache, on one and the same core; in turns,
every other round backwards. What was built is removed between the turns.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from data_path_parts.figures import Figure, figure_of
from data_path_parts.photos import Photos, enlarged, find_photos
from data_path_parts.timing import Times, in_turns, median, on_cores, ratios
from pcsearch.data.cache import ensure_store
from pcsearch.data.dataset import DataOptions
from pcsearch.data.sources import FileImages

WANTED = 0.9
_BUILT, _VERIFIED = "built", "verified"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--resize", type=int, default=128)
    parser.add_argument("--size", help="enlarge the photographs first, as in 500x375")


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    photos = find_photos(options.data, scratch, options.seed)
    if options.size:
        width, height = map(int, options.size.split("x"))
        photos = enlarged(photos, width, height, scratch / "enlarged")
    names, _ = photos.files()
    runs: dict[str, Callable[[], object]] = {
        "Pillow": lambda: _pillow([photos.folder / name for name in names], options.resize),
        "building the cache": lambda: _build(photos, names, options.resize, scratch),
    }
    verify_dataset, why = _verify(photos, scratch)
    if verify_dataset is not None:
        runs["verify"] = verify_dataset
    with on_cores(1):
        times = in_turns(runs, options.rounds, tidy=lambda: _removed(scratch))
    for name, spent in times.items():
        print(f"  {name:18} {len(names) / median(spent.wall):8.1f} images/s a core")
    figures = [_figure(name, times, len(names), photos) for name in list(runs)[1:]]
    if verify_dataset is None:
        figures.append(Figure("verify ÷ Pillow", None, wanted=WANTED, note=why))
    return figures


def _figure(name: str, times: dict[str, Times], images: int, photos: Photos) -> Figure:
    cpu = median(ratios(times["Pillow"].cpu, times[name].cpu))
    return figure_of(
        f"{name} ÷ Pillow",
        ratios(times["Pillow"].wall, times[name].wall),
        wanted=WANTED,
        note=f"by CPU time {cpu:.3f}; {images} images",
        details={
            "photos": photos.title,
            "wall_seconds": {key: times[key].wall for key in ("Pillow", name)},
            "cpu_seconds": {key: times[key].cpu for key in ("Pillow", name)},
        },
    )


def _pillow(files: list[Path], resize: int) -> None:
    for file in files:
        with Image.open(file) as image:
            small = image.convert("RGB").resize((resize, resize), Image.Resampling.BILINEAR)
        np.asarray(small)


def _build(photos: Photos, names: list[str], resize: int, scratch: Path) -> None:
    images = FileImages.of(photos.folder, names)
    ensure_store(images, resize, folder=scratch / _BUILT, workers=1)


def _verify(photos: Photos, scratch: Path) -> tuple[Callable[[], object] | None, str]:
    try:
        from pcsearch.data.verify import verify_dataset
    except ImportError as error:
        return None, f"not measured: {error}"
    options = DataOptions(root=photos.root, classes=photos.classes)

    def run() -> None:
        before = os.environ.get("PCSEARCH_CACHE")
        os.environ["PCSEARCH_CACHE"] = str(scratch / _VERIFIED)
        try:
            verify_dataset("cub200", options, workers=1)
        finally:
            if before is None:
                del os.environ["PCSEARCH_CACHE"]
            else:
                os.environ["PCSEARCH_CACHE"] = before

    return run, ""


def _removed(scratch: Path) -> None:
    for name in (_BUILT, _VERIFIED):
        shutil.rmtree(scratch / name, ignore_errors=True)
