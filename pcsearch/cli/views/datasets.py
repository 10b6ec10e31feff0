"""Shows datasets as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pcsearch.cli.views.text import NOTHING
from pcsearch.io import human_bytes
from pcsearch.reporting.published import published, published_backbones, published_iou

if TYPE_CHECKING:
    from pcsearch.data.dataset import Archive, CatalogEntry
    from pcsearch.data.download import Got, Presence

_PARTS = ("train", "val", "test")
_OWN = ("images", "manifest")


def here(entry: CatalogEntry, place: Presence) -> str:
    """Whether a dataset is here, in a word or two."""
    if not entry.folder:
        return "yours" if entry.id in _OWN else "built in"
    if place.there:
        return "yes"
    return "partly" if place.part_bytes else "no"


def datasets_table(rows: Sequence[tuple[CatalogEntry, Presence]]) -> Table:
    """One line per dataset; the terms are cut at the terminal's width."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("id", no_wrap=True)
    for heading in ("classes", *_PARTS):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("terms")
    for entry, place in rows:
        counts = (entry.classes, *(entry.images.get(part) for part in _PARTS))
        state = here(entry, place)
        style = {"yes": "green", "partly": "yellow"}.get(state, "")
        numbers = (NOTHING if number is None else f"{number:,}" for number in counts)
        table.add_row(Text(entry.id), *numbers, Text(state, style), _short(entry.terms))
    return table


def _short(terms: str) -> Text:
    """The terms up to the first semicolon or colon, on one line."""
    return Text(terms.partition(";")[0].partition(":")[0], no_wrap=True, overflow="ellipsis")


def entry_json(entry: CatalogEntry, place: Presence) -> dict[str, Any]:
    """Everything in the entry."""
    return {
        "id": entry.id,
        "title": entry.title,
        "description": entry.description,
        "classes": entry.classes,
        "images": dict(entry.images),
        "samples_per_class": entry.samples_per_class,
        "in_imagenet": entry.in_imagenet,
        "levels": list(entry.levels),
        "paper": [
            {"backbone": backbone, "measure": measure, "baseline": base, "pc": pc, "source": where}
            for backbone, measure, base, pc, where in _paper(entry)
        ],
        "homepage": entry.homepage,
        "archives": [_archive_json(archive) for archive in entry.archives],
        "by_hand": entry.by_hand,
        "terms": entry.terms,
        "citation": entry.citation,
        "folder": None if place.folder is None else str(place.folder),
        "here": place.there or not entry.folder,
        "part_bytes": place.part_bytes,
    }


def _archive_json(archive: Archive) -> dict[str, Any]:
    return {
        "file": archive.file,
        "urls": list(archive.urls),
        "bytes": archive.size_bytes,
        "checksum": archive.checksum,
    }


def entry_view(entry: CatalogEntry, place: Presence, state: str) -> RenderableType:
    """Everything in the entry, with headings on the left."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for heading, text in _lines(entry, place, state):
        if text:
            grid.add_row(heading, Text(text))
    return Group(Text.assemble((entry.id, "bold"), f": {entry.title}"), grid)


def _lines(entry: CatalogEntry, place: Presence, state: str) -> Iterator[tuple[str, str]]:
    yield "about", entry.description
    classes = "those of your data" if entry.classes is None else f"{entry.classes:,}"
    if entry.samples_per_class is not None:
        classes += f"; {entry.samples_per_class:g} training images each in the paper's Table 1"
    yield "classes", classes
    yield "levels", ", ".join(entry.levels) + (" (the finest first)" if entry.levels else "")
    yield "images", ", ".join(f"{number:,} {part}" for part, number in entry.images.items())
    yield "overlap", entry.in_imagenet
    for number, (backbone, measure, base, pc, where) in enumerate(_paper(entry)):
        line = f"{backbone}: {measure} {base:.2f}, with PC {pc:.2f} ({where.rpartition(', ')[2]})"
        yield "" if number else "paper", line
    yield "homepage", entry.homepage
    for archive in entry.archives:
        size = "size not stated" if archive.size_bytes is None else human_bytes(archive.size_bytes)
        yield "archive", f"{archive.file} ({size}, {archive.checksum or 'no checksum published'})"
        for url in archive.urls:
            yield "", url
    yield "by hand", entry.by_hand
    yield "terms", entry.terms
    yield "cite", entry.citation
    if place.folder is not None:
        yield "folder", str(place.folder)
        yield "state", state
    if place.part_bytes:
        yield (
            "download",
            f"{human_bytes(place.part_bytes)} are there; data get resumes from there",
        )


def _paper(entry: CatalogEntry) -> Iterator[tuple[str, str, float, float, str]]:
    """Backbone, measure, baseline, value with PC, and source."""
    for measure, look_up in (("top-1", published), ("mean IoU", published_iou)):
        for backbone in published_backbones(entry.id):
            pair = look_up(entry.id, backbone, entry.classes or 0)
            if pair is not None:
                yield backbone, measure, pair["baseline"], pair["pc"], pair["source"]


def got_json(got: Got) -> dict[str, Any]:
    """The result of `get`."""
    return {
        "id": got.dataset,
        "state": got.state,
        "folder": None if got.folder is None else str(got.folder),
        "classes": got.classes,
        "images": dict(got.images),
        "archives": [
            {
                "file": archive.file,
                "downloaded_bytes": archive.fetched_bytes,
                "checked": archive.checked,
            }
            for archive in got.archives
        ],
        "kept": [str(path) for path in got.kept],
    }


def got_lines(entry: CatalogEntry, got: Got) -> list[str]:
    """The same in words."""
    if got.state == "nothing needed":
        if entry.id in _OWN:
            option = {"images": "--images DIR", "manifest": "--manifest FILE"}[entry.id]
            return [
                f"{entry.id}: your own images; nothing to get. Check them: pcsearch data "
                f"verify {option}"
            ]
        return [f"{entry.id}: comes with pcsearch; nothing to get"]
    images = ", ".join(f"{number:,} {part}" for part, number in got.images)
    where = f"{got.folder}: {got.classes:,} classes, {images}"
    if got.state == "here already":
        return [f"{entry.id}: already here, in {where}"]
    fetched = sum(archive.fetched_bytes for archive in got.archives)
    how = f"downloaded ({human_bytes(fetched)})" if fetched else "unpacked"
    lines = [f"{entry.id}: {how}, in {where}"]
    lines += [f"    kept: {path}" for path in got.kept]
    return [*lines, f"    terms: {entry.terms}"]
