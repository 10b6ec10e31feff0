"""`pcsearch data prepare`: decode images before a run needs them."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from pcsearch.cli import completion
from pcsearch.cli.data.options import ROOT, Instance, Level, Manifest, OwnImages, Root
from pcsearch.cli.options import Json, examples
from pcsearch.errors import UserError

RESIZE = 256
EPILOG = examples(
    "pcsearch data prepare cub200",
    "pcsearch data prepare --images ~/birds --resize 128 --aspect keep",
    "pcsearch data prepare --recipe cub200 image.resize=448",
)


Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID|KEY=VALUE",
        help="Dataset id; with --recipe, overrides of the recipe's keys.",
        show_default=False,
        autocompletion=completion.id_or_keys,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="RECIPE",
        help="Recipe whose images to decode.",
        autocompletion=completion.recipe_files,
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        "--resize",
        metavar="N",
        min=1,
        help=f"Side of the square images in pixels; default {RESIZE}.",
    ),
]
Aspect = Annotated[
    Literal["warp", "keep"] | None,
    typer.Option(
        "--aspect",
        help="How images become square: warp squeezes them (default), keep scales the shorter "
        "side and crops the longer one.",
    ),
]
OnBadImage = Annotated[
    Literal["fail", "skip"] | None,
    typer.Option(
        "--on-bad-image", help="What to do with unreadable images: fail (default) or skip."
    ),
]


def prepare(
    context: typer.Context,
    arguments: Arguments = None,
    recipe: Recipe = None,
    resize: Resize = None,
    aspect: Aspect = None,
    on_bad_image: OnBadImage = None,
    root: Root = ROOT,
    images: OwnImages = None,
    manifest: Manifest = None,
    level: Level = None,
    instance: Instance = None,
    as_json: Json = False,
) -> None:
    """Decode a dataset's images into the cache, where later runs find them.

    A run decodes its images itself. This command does it beforehand, perhaps on a machine without
    a GPU. Give the size and aspect of the recipe, or the recipe.
    """
    from pcsearch.cli.console import console, write_json
    from pcsearch.cli.data.options import chosen_dataset
    from pcsearch.cli.data.prepare_steps import (
        dataset_images,
        prepared_json,
        prepared_view,
        recipe_images,
    )
    from pcsearch.cli.data.progress import show_progress

    given = arguments or []
    options = {
        "--resize": resize,
        "--aspect": aspect,
        "--on-bad-image": on_bad_image,
        "--root": root if _is_given(context, "root") else None,
        "--manifest": manifest,
        "--level": level,
        "--instance": instance,
    }
    _check(recipe, given, [name for name, value in options.items() if value is not None])
    with show_progress(sys.stderr, "interrupted; no half-decoded images are left") as progress:
        if recipe is not None:
            rows = recipe_images(recipe, given, images, progress)
        else:
            entry, chosen = chosen_dataset(
                given[0] if given else None, root, images, manifest, level, instance
            )
            size = (resize or RESIZE, aspect or "warp")
            rows = dataset_images(entry, chosen, *size, on_bad_image or "fail", progress)
    if as_json:
        write_json([prepared_json(row) for row in rows], indent=2)
    else:
        console().print(prepared_view(rows))


def _is_given(context: typer.Context, option: str) -> bool:
    """Whether the command line states the option; a variable of the environment does not count."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def _check(recipe: str | None, arguments: list[str], options: list[str]) -> None:
    """Refuse options beside a recipe, which states them itself."""
    if recipe is not None and options:
        raise UserError(
            f"{', '.join(options)} cannot be given with --recipe: override the recipe's keys "
            "instead, such as image.resize=448"
        )
    if recipe is None and any("=" in argument for argument in arguments):
        raise UserError("overrides (KEY=VALUE) need a recipe: give --recipe RECIPE")
    if recipe is None and len(arguments) > 1:
        raise UserError("one dataset at a time: give one id")
