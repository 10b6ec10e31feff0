"""`pcsearch data`: list, get, check and prepare datasets."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pcsearch.cli import completion
from pcsearch.cli.data import cache, prepare, verify
from pcsearch.cli.data.options import ROOT, Root
from pcsearch.cli.options import Json, examples, register
from pcsearch.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    help="List, get, check and prepare datasets; manage the cache of decoded images.",
)

Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="Dataset id from data ls.", autocompletion=completion.dataset_ids
    ),
]


def _list_datasets(root: Root = ROOT, as_json: Json = False) -> None:
    """List the datasets: classes, images, whether they are here, and their terms.

    This only looks for a dataset's folder; data info and data verify check its content.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.views.datasets import datasets_table, entry_json
    from pcsearch.data.catalog import DATASETS
    from pcsearch.data.download.paths import presence

    rows = [(entry, presence(entry, root)) for entry in DATASETS.values()]
    if as_json:
        write_json([entry_json(entry, place) for entry, place in rows], indent=2)
        return
    console().print(datasets_table(rows))
    typer.echo("Details: pcsearch data info ID   Download: pcsearch data get ID")


def info(dataset: Id, root: Root = ROOT, as_json: Json = False) -> None:
    """Show everything about a dataset: images, levels, sources, checksums, terms, citation.

    A dataset that is here is opened, which lists its images without decoding them.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.options import find_entry
    from pcsearch.cli.views.datasets import entry_json, entry_view
    from pcsearch.data.dataset import DataOptions
    from pcsearch.data.download.paths import presence

    entry = find_entry(dataset)
    place = presence(entry, root)
    state = ""
    if entry.folder:
        try:
            found = entry.reader(DataOptions(root=root))
            state = f"here, complete: it opens with {found.num_classes:,} classes"
            if entry.classes is not None and found.num_classes < entry.classes:
                state = f"here, in part: {found.num_classes:,} of {entry.classes:,} classes"
        except UserError as error:
            state = "not here"
            if place.there:
                state = f"not complete: {str(error).partition('. ')[0]}"
    if as_json:
        write_json(entry_json(entry, place) | {"state": state}, indent=2)
        return
    console().print(entry_view(entry, place, state))


def get(
    datasets: Annotated[
        list[str],
        typer.Argument(
            metavar="ID", help="Dataset ids from data ls.", autocompletion=completion.dataset_ids
        ),
    ],
    root: Root = ROOT,
    keep_archives: Annotated[
        bool,
        typer.Option(
            "--keep-archives", help="Keep downloaded archives; by default they are removed."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Download datasets, check and unpack them.

    Existing files are not fetched again, nor are archives that you have put in the root yourself.
    An interrupted download resumes where it ended: repeat the command. If an account or a form is
    needed, the command says what to fetch and where to put it.
    """
    from rich.text import Text

    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.options import find_entry
    from pcsearch.cli.data.progress import show_progress
    from pcsearch.cli.views.datasets import got_json, got_lines
    from pcsearch.data.download import Got
    from pcsearch.data.download import get_dataset as get_one

    terminal = console()
    entries = [find_entry(dataset) for dataset in dict.fromkeys(datasets)]
    done: list[Got] = []
    problems = []
    for entry in entries:
        try:
            with show_progress(
                sys.stderr, "interrupted: repeat the command to continue from here"
            ) as progress:
                got = get_one(entry, root, progress, keep_archives=keep_archives)
        except UserError as error:
            problems.append(str(error))
            continue
        done.append(got)
        if not as_json:
            for line in got_lines(entry, got):
                terminal.print(Text(line), soft_wrap=not terminal.is_terminal)
    if as_json:
        write_json([got_json(got) for got in done], indent=2)
    if problems:
        raise UserError("\n".join(problems))


register(
    app,
    "ls",
    _list_datasets,
    examples("pcsearch data ls", "pcsearch data ls --json | jq -r '.[] | select(.here).id'"),
)
register(
    app,
    "info",
    info,
    examples("pcsearch data info cub200", "pcsearch data info cub200 --root /data --json"),
)
register(
    app,
    "get",
    get,
    examples(
        "pcsearch data get cub200",
        "pcsearch data get aircraft flowers102 --root /data",
        "pcsearch data get dogs --keep-archives",
    ),
)
register(app, "verify", verify.verify, verify.EPILOG)
register(app, "prepare", prepare.prepare, prepare.EPILOG)
app.add_typer(cache.app, name="cache")
