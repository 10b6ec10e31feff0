"""`pcsearch recipes`: list, show, copy and check recipes, and describe them to editors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pcsearch.cli import completion
from pcsearch.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pcsearch.recipe.schema import Recipe

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, copy and check recipes: the YAML files that say what to search.",
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Overrides, such as search.trials=20.",
        autocompletion=completion.keys_only,
    ),
]


@app.command("ls")
def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """List the shipped recipes.

    Example: pcsearch recipes ls
    """
    from pcsearch.recipe.load import description, load_recipe, shipped_recipes

    rows = []
    for name, file in shipped_recipes().items():
        recipe = load_recipe(file, images_needed=False)
        rows.append(
            {
                "name": name,
                "description": description(file),
                "datasets": list(recipe.datasets),
                "backbones": list(recipe.backbones),
                "path": str(file),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo("Recipes that compare Pairwise Confusion (PC) with plain cross-entropy:\n")
    for row in rows:
        typer.echo(f"{row['name']}: {row['description']}")
        typer.echo(f"    {', '.join(row['datasets'])} × {', '.join(row['backbones'])}")
    typer.echo("\nShow one: pcsearch recipes show NAME   Run one: pcsearch tune NAME")


@app.command("show")
def show_recipe(
    name: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE",
            help="Name or file of a recipe.",
            autocompletion=completion.recipe_files,
        ),
    ],
    overrides: Overrides = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the file unchanged, with comments.")
    ] = False,
) -> None:
    """Print a recipe with every key and default filled in, as YAML.

    Examples: pcsearch recipes show quickstart search.trials=4
    pcsearch recipes show cub200 --raw
    """
    from pcsearch.cli.console import note
    from pcsearch.io import read_text
    from pcsearch.recipe.load import find_recipe, load_recipe
    from pcsearch.recipe.yaml_core import BYTES_LIMIT

    if raw:
        if overrides:
            raise UserError("--raw shows the unchanged file: remove the overrides or --raw")
        try:
            typer.echo(
                read_text(find_recipe(name), "utf-8-sig", at_most_bytes=BYTES_LIMIT), nl=False
            )
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{name}: cannot be read as text: {error}") from None
        return
    recipe = load_recipe(name, overrides or (), images_needed=False, noted=note)
    typer.echo(recipe.dump_yaml(), nl=False)


@app.command("copy")
def copy_recipe(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of a shipped recipe.",
            autocompletion=completion.recipe_names,
        ),
    ],
    destination: Annotated[
        Path, typer.Argument(metavar="DEST", help="New file, or a folder for it.")
    ],
) -> None:
    """Copy a recipe to a file of your own; an existing file is never overwritten.

    Example: pcsearch recipes copy quickstart my.yaml
    """
    from pcsearch.recipe.load import shipped_recipes

    shipped = shipped_recipes()
    if name not in shipped:
        near = did_you_mean(name, shipped) or f" (known: {', '.join(shipped)})"
        raise UserError(f"{name}: no such recipe{near}")
    target = destination / f"{name}.yaml" if destination.is_dir() else destination
    try:
        _copy(shipped[name].read_bytes(), target)
    except FileExistsError:
        raise UserError(f"{target}: already exists; choose another name or remove it") from None
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    typer.echo(f"{target}: edit it, then run: pcsearch tune {target}")


def _copy(content: bytes, target: Path) -> None:
    """Write a new file. A half-written one is removed, or it would block the next try."""
    file = target.open("xb")
    try:
        with file:
            file.write(content)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and explain keys.

    Write it to a file, and begin a recipe with this line for the YAML language server:
    # yaml-language-server: $schema=recipe.schema.json

    Example: pcsearch recipes schema > recipe.schema.json
    """
    from pcsearch.recipe.json_schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))


@app.command("validate")
def validate_recipes(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE... [KEY=VALUE]...",
            help="Recipe files or names, and overrides.",
            autocompletion=completion.recipes_and_keys,
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Folder of your own images, one sub-folder a class."
        ),
    ] = None,
) -> None:
    """Check recipes; print all problems, one a line, and exit with 2 if there are any.

    No code that a recipe names is run, so your own networks (module:function) are not checked.

    Example: pcsearch recipes validate my.yaml quickstart search.trials=20
    """
    from pcsearch.cli.console import note
    from pcsearch.code_consent import is_reference
    from pcsearch.execution.preflight.model_check import check_networks
    from pcsearch.recipe.load import load_recipe
    from pcsearch.recipe.overrides import split_arguments

    sources, overrides = split_arguments(arguments)
    if not sources:
        raise UserError("no recipe is given: name a file or a recipe from pcsearch recipes ls")
    problems: list[str] = []
    for source in sources:
        try:
            recipe = load_recipe(source, overrides, images=images, images_needed=False, noted=note)
            own = [name for name in recipe.code if is_reference(name)]
            check_networks(recipe, download=False, leave=own)
        except UserError as error:
            problems += str(error).splitlines()
        else:
            typer.echo(f"{source}: ok ({_summary(recipe)})")
            for name in own:
                typer.echo(f"{source}: {name} is code and was not checked; pcsearch plan checks it")
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))


def _summary(recipe: Recipe) -> str:
    studies = len(recipe.datasets) * len(recipe.backbones)
    text = f"{recipe.name}: {studies} {'study' if studies == 1 else 'studies'}"
    if "images" in recipe.datasets and recipe.data.images is None:
        text += ", needs --images FOLDER"
    if "manifest" in recipe.datasets and recipe.data.manifest is None:
        text += ", needs data.manifest=FILE"
    return text
