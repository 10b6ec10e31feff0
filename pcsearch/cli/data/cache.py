"""`pcsearch data cache`: list and clear the decoded images that runs share."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcsearch.cli.options import Json, examples, register
from pcsearch.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from pcsearch.data.cache import StoreInfo

_DAY_SECONDS = 86400

app = typer.Typer(
    no_args_is_help=True,
    help="List and clear the cache of decoded images; PCSEARCH_CACHE sets its folder.",
)


def _list_cache(as_json: Json = False) -> None:
    """List the decoded images: source, number, size and last use."""
    from pcsearch.cli.console import console, write_json
    from pcsearch.data.cache import default_cache_folder, list_stores, size_limit_bytes
    from pcsearch.io import human_bytes

    folder = default_cache_folder()
    stores, limit = list_stores(folder), size_limit_bytes(folder)
    if as_json:
        rows = [_json(store) for store in stores]
        write_json({"folder": str(folder), "limit_bytes": limit, "stores": rows}, indent=2)
        return
    if not stores:
        typer.echo(f"there are no decoded images in {folder}")
        return
    console().print(_table(stores, time.time()))
    total = human_bytes(sum(store.bytes for store in stores))
    at_most = "no limit" if limit is None else f"limit {human_bytes(limit)}"
    typer.echo(f"{total} in {folder} ({at_most}; PCSEARCH_CACHE_LIMIT sets it)")


def clear(
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            help="Remove only images that were not used for so many days.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, without removing it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Remove decoded images, except those that a process is using.

    A run that needs them decodes them again. On a terminal, the command asks first.
    """
    from pcsearch.cli.console import write_json
    from pcsearch.cli.views.text import count
    from pcsearch.data.cache import clear_stores, default_cache_folder
    from pcsearch.io import human_bytes

    folder = default_cache_folder()
    keep = None if older_than is None else older_than * _DAY_SECONDS
    cleared = clear_stores(folder, keep_used_within_seconds=keep, dry_run=True)
    if not dry_run and cleared.stores:
        what = f"{count(cleared.stores, 'store')} of decoded images ({human_bytes(cleared.bytes)})"
        if not yes:
            if not sys.stdin.isatty():
                raise UserError(f"{what} in {folder} would be removed: confirm with --yes")
            if not typer.confirm(f"Remove {what} from {folder}?", err=True):
                typer.echo("nothing was removed", err=True)
                return
        cleared = clear_stores(folder, keep_used_within_seconds=keep)
    if as_json:
        write_json(
            {
                "folder": str(folder),
                "removed": not dry_run,
                "stores": cleared.stores,
                "bytes": cleared.bytes,
                "in_use": cleared.in_use,
            }
        )
        return
    removed = f"{count(cleared.stores, 'store')}, {human_bytes(cleared.bytes)}"
    typer.echo(f"{'would remove' if dry_run else 'removed'} {removed} from {folder}")
    if cleared.in_use:
        typer.echo(f"kept {count(cleared.in_use, 'store')} that a process is using")


def _json(store: StoreInfo) -> dict[str, Any]:
    return {
        "title": store.title,
        "images": store.images,
        "resize": store.resize,
        "aspect": store.aspect,
        "bytes": store.bytes,
        "last_used": store.last_used,
        "in_use": store.in_use,
        "whole": store.whole,
        "path": str(store.path),
    }


def _table(stores: list[StoreInfo], now: float) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from pcsearch.cli.views.text import age
    from pcsearch.io import human_bytes

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("of", overflow="fold", ratio=1)
    for heading in ("images", "side", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("aspect", "used"):
        table.add_column(heading, no_wrap=True)
    for store in stores:
        used = "now" if store.in_use else f"{age(now - store.last_used)} ago"
        if store.whole:
            numbers = (
                f"{store.images:,}",
                str(store.resize),
                human_bytes(store.bytes),
                store.aspect,
            )
            table.add_row(Text(store.title), *numbers, used)
        else:
            remains = "being built" if store.in_use else "remains of a killed or older build"
            table.add_row(Text(remains, "dim"), "", "", human_bytes(store.bytes), "", used)
    return table


register(app, "ls", _list_cache, examples("pcsearch data cache ls"))
register(
    app,
    "clear",
    clear,
    examples(
        "pcsearch data cache clear --dry-run",
        "pcsearch data cache clear --older-than 30 --yes",
    ),
)
