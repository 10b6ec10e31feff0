"""Arguments that several `pcsearch data` commands share, and their dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.errors import UserError
from pcsearch.io import expanded

if TYPE_CHECKING:
    from pcsearch.data.dataset import CatalogEntry, DataOptions

ROOT = Path("data")
Root = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        file_okay=False,
        callback=expanded,  # shells do not expand the ~ of --root=~/data
        help="Folder of the datasets.",
        envvar="PCSEARCH_DATA",
    ),
]
OwnImages = Annotated[
    Path | None,
    typer.Option(
        "--images", metavar="DIR", help="Folder of your own images, one sub-folder a class."
    ),
]
Manifest = Annotated[
    Path | None,
    typer.Option("--manifest", metavar="FILE", help="CSV or Parquet file that lists images."),
]
Level = Annotated[
    str | None,
    typer.Option(
        "--level",
        help="Level of the class hierarchy, from data info; by default the finest.",
    ),
]
Instance = Annotated[
    int | None,
    typer.Option(
        "--instance",
        metavar="N",
        min=0,
        help="Number of the random draw of imagenet_random's classes; default 0.",
    ),
]


def find_entry(dataset: str) -> CatalogEntry:
    """The catalogue's entry; UserError with a near miss for an unknown id."""
    from pcsearch.data.catalog import DATASETS
    from pcsearch.errors import did_you_mean

    entry = DATASETS.get(dataset)
    if entry is None:
        raise UserError(
            f'unknown dataset "{dataset}"{did_you_mean(dataset, DATASETS)} '
            f"(known: {', '.join(DATASETS)})"
        )
    return entry


def chosen_dataset(
    dataset: str | None,
    root: Path,
    images: Path | None,
    manifest: Path | None,
    level: str | None = None,
    instance: int | None = None,
) -> tuple[CatalogEntry, DataOptions]:
    """The dataset of a command; --images or --manifest alone also select one."""
    from pcsearch.data.dataset import DataOptions

    own = {"images": images, "manifest": manifest}
    given = [name for name, path in own.items() if path is not None]
    if len(given) == 2:
        raise UserError("--images and --manifest are two datasets: give one of them")
    if dataset is None:
        if not given:
            raise UserError(
                "no dataset is given: name one from pcsearch data ls, or give --images DIR "
                "or --manifest FILE"
            )
        dataset = given[0]
    entry = find_entry(dataset)
    if not given and entry.id in own:
        kind = "DIR" if entry.id == "images" else "FILE"
        raise UserError(f"dataset {entry.id} needs --{entry.id} {kind}")
    if given and given[0] != entry.id:
        raise UserError(f"--{given[0]} belongs to the dataset {given[0]}, not to {entry.id}")
    if level is not None and level not in entry.levels:
        levels = ", ".join(entry.levels) or "it has none"
        raise UserError(f"--level {level}: no such level of {entry.id} (levels: {levels})")
    if instance is not None and entry.id != "imagenet_random":
        raise UserError(f"--instance belongs to the dataset imagenet_random, not to {entry.id}")
    return entry, DataOptions(
        root=root,
        images=images,
        manifest=manifest,
        levels={} if level is None else {entry.id: level},
        instance=instance or 0,
    )
