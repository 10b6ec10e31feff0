"""Loads recipes: from files, shipped names and overrides to validated recipes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pcsearch.errors import UserError, did_you_mean
from pcsearch.io import read_regular
from pcsearch.printable import printable
from pcsearch.recipe import yaml_core
from pcsearch.recipe.checks import (
    Check,
    check_images_given,
    check_networks_known,
    check_overlap,
    check_weights,
)
from pcsearch.recipe.fields import NAME, NAME_LENGTH, expanded
from pcsearch.recipe.overrides import apply_overrides, split_arguments
from pcsearch.recipe.problems import Problem, RecipeError, Where, in_order, show
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.source_tree import Tree, from_plain, from_yaml, merge
from pcsearch.recipe.validate import KEYS, validate

PACKAGE = Path(__file__).resolve().parents[1]


def shipped_recipes() -> dict[str, Path]:
    """Name → file: inside an installed package, or beside the package in a checkout."""
    for folder in (PACKAGE / "recipes", PACKAGE.parent / "recipes"):
        files = sorted(folder.glob("*.yaml"), key=lambda file: file.stem)
        if files:
            return {file.stem: file for file in files}
    return {}


def description(file: Path) -> str:
    """The first comment line of a recipe: what it is for."""
    with file.open(encoding="utf-8") as lines:
        first = next(lines, "")
    return first.lstrip("#").strip() if first.startswith("#") else ""


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths, for processes with another current folder."""

    def absolute(path: str) -> str:
        return str(expanded(path).absolute())

    def weights(value: str) -> str:
        return value if value in ("imagenet", "none") else absolute(value)

    content = recipe.to_mapping()
    stated = recipe.weights
    content["weights"] = (
        weights(stated)
        if isinstance(stated, str)
        else {backbone: weights(value) for backbone, value in stated.items()}
    )
    for key in ("root", "images", "manifest"):
        if content["data"][key] is not None:
            content["data"][key] = absolute(content["data"][key])
    return load_recipe(content)


DATA_VARIABLE = "PCSEARCH_DATA"
"""Folder of the datasets' folders, for all recipes of this machine that state none."""

_SUFFIXES = (".yaml", ".yml")
_LONGEST_CHAIN = 20
RESOLVED_LIMIT = 10 * yaml_core.BYTES_LIMIT
"""Most characters of a recipe with every key, escapes included."""

_OWN_IMAGES, _OWN_IMAGES_CPU = "my-images", "my-images-cpu"
"""The shipped recipes for a folder of images, with and without a GPU."""


def has_gpu() -> bool:
    """Whether this machine shows an NVIDIA GPU to this process; PyTorch is not asked."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def load_recipes(
    sources: Sequence[str],
    overrides: Sequence[str] = (),
    images: Path | None = None,
    noted: Callable[[str], None] = lambda line: None,
    here: bool = True,
    gpus: bool = False,
) -> list[Recipe]:
    """The recipes of several sources, each with all the overrides.

    Args:
        sources: Files or shipped names; overrides may be among them.
        overrides: Further overrides.
        images: The folder of the dataset `images`. Without a source it selects `my-images`, or
            `my-images-cpu` if there is no GPU.
        noted: As for `load_recipe`.
        here: As for `load_recipe`.
        gpus: Whether trials run elsewhere, where there may be GPUs.

    Raises:
        UserError: lists every problem of every recipe, one a line.
    """
    names, more = split_arguments(sources)
    if not names and images is not None:
        names = [_OWN_IMAGES if gpus or not here or has_gpu() else _OWN_IMAGES_CPU]
        if names == [_OWN_IMAGES_CPU]:
            noted(
                f"No GPU here, so --images uses the recipe {_OWN_IMAGES_CPU}: a light network and "
                "small images. To use a ResNet-50 at 224 pixels nevertheless: pcsearch tune "
                f"{_OWN_IMAGES} --images DIR"
            )
    if not names:
        raise UserError(
            "no recipe is given: name a file or one of "
            f"{', '.join(shipped_recipes())}, or give --images FOLDER"
        )
    recipes: list[Recipe] = []
    problems: list[str] = []
    for name in names:
        try:
            recipes.append(
                load_recipe(name, [*overrides, *more], images=images, noted=noted, here=here)
            )
        except UserError as error:
            problems += str(error).splitlines()
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return recipes


def load_recipe(
    source: str | Path | Mapping[str, object],
    overrides: Sequence[str] = (),
    *,
    images: Path | None = None,
    images_needed: bool = True,
    noted: Callable[[str], None] = lambda line: None,
    here: bool = True,
) -> Recipe:
    """The recipe of a file, a shipped name or plain data, with the overrides.

    `images_needed=False` accepts a recipe without its image folder. `noted` receives a line for
    each key that has no effect on some datasets or backbones. `here` says that it runs on this
    machine: then $PCSEARCH_DATA is the default of `data.root`.
    """
    if isinstance(source, Mapping):
        tree, files = _extended(from_plain(source, Where("recipe")), Path(), ())
        name = "recipe"
    else:
        file = find_recipe(str(source))
        tree, files = _read(file, ())
        name = file.stem
    if isinstance(tree.value, dict) and "name" not in tree.value:
        tree = merge(Tree({"name": Tree(_folder_name(name), tree.where)}, tree.where), tree)
    if here:
        tree = _with_root(tree)
    tree, problems = apply_overrides(tree, overrides)
    if images is not None:
        where = Where(f"--images {images}")
        folder = Tree({"images": Tree(str(images), where)}, where)
        tree = merge(tree, Tree({"data": folder}, tree.where))
    skip: tuple[Check, ...] = () if images_needed else (check_images_given,)
    try:
        recipe, notes = validate(tree, skip, files)
    except RecipeError as error:
        raise RecipeError(in_order([*problems, *error.problems])) from None
    if problems:
        raise RecipeError(problems)
    for note in notes:
        noted(str(note))
    return recipe


def _with_root(tree: Tree) -> Tree:
    """The tree with `data.root` from $PCSEARCH_DATA where it states none."""
    root = os.environ.get(DATA_VARIABLE)
    if not root or not isinstance(tree.value, dict):
        return tree
    data = tree.value.get("data", Tree({}, tree.where))
    stated = {} if data.value is None else data.value
    if not isinstance(stated, dict):
        return tree
    below = Tree({"root": Tree(root, Where(f"${DATA_VARIABLE}")), **stated}, data.where)
    return Tree({**tree.value, "data": below}, tree.where)


def parse_recipe(text: str) -> Recipe:
    """The recipe that `Recipe.dump_yaml` wrote, on this or another machine.

    Its files and networks need not exist here, and `check_overlap` is skipped.

    Raises:
        RecipeError: the text is no such recipe.
    """
    if len(text) > RESOLVED_LIMIT:
        message = f"has {len(text)} characters, too many for a recipe"
        raise RecipeError([Problem(Where("recipe"), "", message)])
    tree = from_yaml(text, Where("recipe")) or Tree(None, Where("recipe"))
    skip = (check_images_given, check_networks_known, check_weights, check_overlap)
    recipe, _ = validate(tree, skip)
    return recipe


def read_resolved(file: Path) -> Recipe:
    """The recipe in a file that `Recipe.dump_yaml` wrote.

    Raises:
        UserError: it cannot be read, is not a regular file, or is no such recipe.
    """
    try:
        return parse_recipe(read_regular(file, RESOLVED_LIMIT).decode())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not UTF-8 text, so it is not a recipe") from None


def find_recipe(source: str) -> Path:
    """The file that `source` names: a path, or the name of a shipped recipe."""
    shipped = shipped_recipes()
    path = Path(source)
    try:
        if path.is_file():
            return path
        if source in shipped:
            return shipped[source]
        exists, folder = path.exists(), path.is_dir()
    except (OSError, ValueError):
        raise UserError(f"no recipe {show(source)}: it is not a valid file name") from None
    named = printable(source)
    if folder:
        inside = sorted(file.name for s in _SUFFIXES for file in path.glob(f"*{s}"))
        hint = f", such as {printable(str(path / inside[0]))}" if inside else ""
        raise UserError(
            f"{named}: is a folder: name the recipe file in it{hint}; for a folder of images, "
            f"write --images {named}"
        )
    if exists:
        raise UserError(f"{named}: is not a regular file")
    near = did_you_mean(path.stem if path.suffix in _SUFFIXES else path.name, shipped)
    what = "no such recipe file" if path.suffix or path.name != source else "no such recipe"
    raise UserError(f"{named}: {what}{near or ' (pcsearch recipes ls lists the shipped ones)'}")


def _read(file: Path, chain: tuple[Path, ...]) -> tuple[Tree, tuple[str, ...]]:
    """The tree of a file with all that it extends, and the sources of both, nearest first.

    `chain` holds the files that led to it.
    """
    where = Where(shown_source(file), 1)
    try:
        size = file.stat().st_size
        if size > yaml_core.BYTES_LIMIT:
            raise UserError(
                f"{where.source}: is {size / 1e6:.1f} MB, too large for a recipe "
                f"(at most {yaml_core.BYTES_LIMIT / 1e6:g} MB)"
            )
        text = read_regular(file, yaml_core.BYTES_LIMIT).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{where.source}: is not UTF-8 text, so it is not a recipe") from None
    except OSError as error:
        raise UserError(f"{where.source}: cannot be read: {error.strerror}") from None
    try:
        tree = from_yaml(text, where)
    except RecipeError as error:
        raise (_no_recipe(error.problems[0].where) if chain else error) from None
    if tree is None:
        raise UserError(
            f"{where.source}: is empty: a recipe needs at least datasets, backbones and asha "
            "(start from a shipped one: pcsearch recipes copy quickstart my.yaml)"
        )
    if chain and not (isinstance(tree.value, dict) and set(tree.value) <= {*KEYS[()], "extends"}):
        raise _no_recipe(where)
    return _extended(tree, file.parent, (*chain, file.resolve()))


def _no_recipe(where: Where) -> RecipeError:
    """The error for a file that the user did not name; it shows no content of that file."""
    message = (
        "is not a recipe that another one can extend, or has a mistake here; run pcsearch "
        f"recipes validate {where.source} to see it"
    )
    return RecipeError([Problem(where, "", message)])


def _extended(tree: Tree, folder: Path, chain: tuple[Path, ...]) -> tuple[Tree, tuple[str, ...]]:
    """The tree on top of the recipe that its `extends` names, without that key."""
    own = (tree.where.source,)
    if not isinstance(tree.value, dict):
        message = f"is {show(tree.plain())}, but a recipe is a mapping of keys"
        raise RecipeError([Problem(tree.where, "", message)])
    if "extends" not in tree.value:
        return tree, own
    named = tree.value["extends"]
    rest = {key: child for key, child in tree.value.items() if key != "extends"}
    base, farther = _read(_base_file(named, folder, chain), chain)
    if isinstance(base.value, dict):
        base = Tree({key: c for key, c in base.value.items() if key != "name"}, base.where)
    return merge(base, Tree(rest, tree.where)), (*own, *farther)


def _base_file(named: Tree, folder: Path, chain: tuple[Path, ...]) -> Path:
    def refuse(message: str) -> RecipeError:
        return RecipeError([Problem(named.where, "extends", message)])

    if not isinstance(named.value, str) or not named.value:
        raise refuse(f"is {show(named.plain())}, but must be a recipe's path or name")
    if len(chain) > _LONGEST_CHAIN:
        raise refuse(f"is one too many: a chain of recipes has at most {_LONGEST_CHAIN} files")
    try:
        beside = folder / expanded(named.value)
        file = beside if beside.is_file() else shipped_recipes().get(named.value)
    except (OSError, ValueError):
        file = None
    if file is None:
        near = did_you_mean(named.value, shipped_recipes())
        raise refuse(f"is {show(named.value)}, but there is no such file or shipped recipe{near}")
    if file.resolve() in chain:
        circle = " → ".join(path.name for path in (*chain, file))
        raise refuse(f"is {show(named.value)}, which extends itself in a circle: {circle}")
    return file


def shown_source(file: Path) -> str:
    """A path for messages: relative to the current folder if it is inside."""
    try:
        return printable(str(file.relative_to(Path.cwd())))
    except ValueError:
        return printable(str(file))


def _folder_name(stem: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("._-")[:NAME_LENGTH].rstrip("-")
    return name if NAME.fullmatch(name) else "recipe"
