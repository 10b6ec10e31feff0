"""Decodes images for `pcsearch data prepare`, and shows the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.cli.data.progress import ProgressDisplay
from pcsearch.cli.views.text import count
from pcsearch.data.cache import Aspect, BadImagesError, ImageStore, OnBadImage, default_cache_folder
from pcsearch.data.catalog import open_dataset
from pcsearch.data.dataset import CatalogEntry, DataOptions
from pcsearch.data.prepared import (
    ELSEWHERE,
    THUMBNAILS,
    TestImages,
    TrainingImages,
    bad_in_both,
    prepare_test,
    prepare_training,
)
from pcsearch.io import human_bytes


@dataclass(frozen=True)
class Prepared:
    """A part of a dataset in the cache.

    Attributes:
        dataset: Its id.
        part: `training` or `test`.
        images: Number of decoded images.
        skipped: Unreadable images, each with the reason.
        resize: Side in pixels.
        bytes: Size of the file.
        path: The file.
        built: Whether it was decoded now; otherwise it already existed.
    """

    dataset: str
    part: str
    images: int
    skipped: tuple[str, ...]
    resize: int
    bytes: int
    path: Path
    built: bool


class _Building:
    """Forwards progress and records which parts had any: the others already existed."""

    def __init__(self, progress: ProgressDisplay) -> None:
        self._progress = progress
        self.built: set[str] = set()

    def counted(self, what: str, done: int, total: int) -> None:
        self.built.add(what)
        self._progress.counted(f"decoding {what}", done, total)

    def of(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.counted(what, done, total)


def dataset_images(
    entry: CatalogEntry,
    options: DataOptions,
    resize: int,
    aspect: Aspect,
    on_bad_image: OnBadImage,
    progress: ProgressDisplay,
) -> list[Prepared]:
    """Decode the training and the test images of a dataset."""
    watched, cache = _Building(progress), default_cache_folder()
    looking = partial(progress.counted, f"{entry.id} {THUMBNAILS}")
    dataset = open_dataset(entry.id, replace(options, progress=looking))
    names = [f"{entry.id} {part} images" for part in ("training", "test")]

    def store(prepare: Callable[..., TrainingImages | TestImages], name: str) -> ImageStore:
        return prepare(
            dataset,
            resize,
            cache,
            on_bad_image,
            watched.of(name),
            aspect=aspect,
            waiting=watched.of(f"{name} {ELSEWHERE}"),
        ).store

    test = partial(store, prepare_test, names[1])
    try:
        stores = [store(prepare_training, names[0])]
    except BadImagesError as error:
        raise bad_in_both(error, test) if dataset.test is not None else error from None
    if dataset.test is not None:
        stores.append(test())
    return [
        _prepared(name, store, name in watched.built)
        for name, store in zip(names, stores, strict=False)
    ]


def recipe_images(
    recipe: str, overrides: Sequence[str], images: Path | None, progress: ProgressDisplay
) -> list[Prepared]:
    """Decode the images of a recipe, at its sizes."""
    from pcsearch.cli.console import note
    from pcsearch.execution.preflight.datasets import open_datasets, prepare_datasets
    from pcsearch.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides, images=images, noted=note)
    watched = _Building(progress)
    prepared = prepare_datasets(
        loaded,
        open_datasets(loaded),
        default_cache_folder(),
        watched.counted,
        loaded.confirm.seeds > 0,
    )
    rows = []
    for dataset in prepared:
        stores = {"training": dataset.training.store}
        if dataset.test is not None:
            stores["test"] = dataset.test.store
        for part, store in stores.items():
            name = f"{dataset.facts.dataset} {part} images"
            rows.append(_prepared(name, store, name in watched.built))
    return rows


def _prepared(name: str, store: ImageStore, built: bool) -> Prepared:
    dataset, part, _ = name.split(" ")
    count_images, resize = store.images.shape[:2]
    size = store.path.stat().st_size
    return Prepared(dataset, part, count_images, store.bad, resize, size, store.path, built)


def prepared_json(row: Prepared) -> dict[str, Any]:
    return {
        "dataset": row.dataset,
        "part": row.part,
        "images": row.images,
        "skipped": list(row.skipped),
        "resize": row.resize,
        "bytes": row.bytes,
        "path": str(row.path),
        "decoded_now": row.built,
    }


def prepared_view(rows: Sequence[Prepared]) -> RenderableType:
    """A line per part, and the folder."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("dataset", overflow="fold")
    table.add_column("part", no_wrap=True)
    for heading in ("images", "side", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in rows:
        state = "decoded now" if row.built else "already there"
        if row.skipped:
            state += f", {count(len(row.skipped), 'image')} skipped"
        numbers = (f"{row.images:,}", str(row.resize), human_bytes(row.bytes))
        table.add_row(Text(row.dataset), row.part, *numbers, state)
    folders = sorted({str(row.path.parent) for row in rows})
    skipped = [Text(f"skipped: {image}") for row in rows for image in row.skipped[:3]]
    where = f"In {', '.join(folders)}, where runs on this machine find them."
    return Group(table, *skipped, Text(where))
