"""What must hold between the keys of a recipe, beyond the type of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pcsearch.errors import did_you_mean
from pcsearch.recipe.fields import BACKBONE, expanded
from pcsearch.recipe.finding import Check, Finding
from pcsearch.recipe.problems import KeyPath, suggest
from pcsearch.recipe.schema import NO_IMAGENET, Recipe
from pcsearch.recipe.search_checks import check_arms, check_grid, check_prior, check_trials
from pcsearch.recipe.show import show
from pcsearch.recipe.training_checks import check_stages, check_training

OWN_DATA = ("images", "manifest")
"""Datasets of the user's own, each with a key of its name under `data` that says where it is."""


def dataset_ids() -> tuple[str, ...]:
    """The ids of the datasets that the package can read."""
    from pcsearch.data.catalog import DATASETS

    return tuple(DATASETS)


def check_datasets(recipe: Recipe) -> Iterator[Finding]:
    """Every dataset is known; `data.images` and `data.manifest` go with theirs."""
    known = dataset_ids()
    for index, dataset in enumerate(recipe.datasets):
        if dataset not in known:
            hint = suggest(dataset, known) or " (pcsearch data ls lists them)"
            message = f"unknown dataset {show(dataset)}{hint}"
            yield Finding(("datasets", index), message)
    for own in OWN_DATA:
        if getattr(recipe.data, own) is not None and own not in recipe.datasets:
            message = f"is given, but datasets does not name {own}: add it, as in datasets=[{own}]"
            yield Finding(("data", own), message, (("datasets",),))
    for name in recipe.image.per_dataset:
        if name not in known:  # one that exists, but is not in use, may come from what is extended
            message = f"unknown dataset {show(name)}{suggest(name, known)}"
            yield Finding(("image", "per_dataset", name), message)


def check_levels(recipe: Recipe) -> Iterator[Finding]:
    """Every chosen level is one of its dataset's."""
    from pcsearch.data.catalog import DATASETS

    for name, level in recipe.data.levels.items():
        entry = DATASETS.get(name)
        if entry is None:
            message = f"unknown dataset {show(name)}{suggest(name, tuple(DATASETS))}"
            yield Finding(("data", "levels", name), message)
        elif not entry.levels:
            message = f"is given, but {name} has no class hierarchy: take it out"
            yield Finding(("data", "levels", name), message)
        elif level not in entry.levels:
            message = f"is {show(level)}, but must be one of {', '.join(entry.levels)}"
            yield Finding(("data", "levels", name), message)


def check_images_given(recipe: Recipe) -> Iterator[Finding]:
    """The datasets `images` and `manifest` need a folder and a file."""
    if "images" in recipe.datasets and recipe.data.images is None:
        message = "dataset images needs a folder: give --images FOLDER, or data.images=FOLDER"
        yield Finding(("datasets",), message, (("data", "images"),))
    if "manifest" in recipe.datasets and recipe.data.manifest is None:
        message = "dataset manifest needs a CSV or Parquet file: give data.manifest=FILE"
        yield Finding(("datasets",), message, (("data", "manifest"),))


def check_backbones(recipe: Recipe) -> Iterator[Finding]:
    """Backbones are well-formed names, and what is said of one is said of a listed one."""
    for index, name in enumerate(recipe.backbones):
        if not BACKBONE.fullmatch(name):
            message = f"{show(name)} must be the name of a backbone or module:function"
            yield Finding(("backbones", index), message)
        elif name in NO_IMAGENET and recipe.weights_for(name) == "imagenet":
            message = f'there are no imagenet weights for {name}: use "none" or a path'
            yield Finding(("weights",), message, (("backbones",),))
    named: dict[KeyPath, Iterable[str]] = {
        ("weights",): recipe.weights if isinstance(recipe.weights, dict) else (),
        ("backbone_options",): recipe.backbone_options,
        ("search", "per_backbone"): recipe.search.per_backbone,
        ("train", "per_backbone"): recipe.train.per_backbone,
    }
    for path, names in named.items():
        for name in names:
            if name not in recipe.backbones:
                yield _stranger((*path, name), name, recipe.backbones, "backbones")


def check_weights(recipe: Recipe) -> Iterator[Finding]:
    """A word close to `imagenet` or `none` is a slip, not a path."""
    single = isinstance(recipe.weights, str)
    named = {"": recipe.weights} if isinstance(recipe.weights, str) else recipe.weights
    for name, weights in named.items():
        is_path = "/" in weights or "\\" in weights
        slip = "" if is_path else did_you_mean(weights, ("imagenet", "none"))
        if slip and weights not in ("imagenet", "none") and not expanded(weights).exists():
            path: KeyPath = ("weights",) if single else ("weights", name)
            yield Finding(path, f"is {show(weights)}, which is no file{slip}")


def check_overlap(recipe: Recipe) -> Iterator[Finding]:
    """ImageNet's images do not judge networks that were trained on them, unless that is meant."""
    from pcsearch.data.catalog import DATASETS

    if recipe.data.allow_pretraining_overlap:
        return
    pretrained = [name for name in recipe.backbones if recipe.weights_for(name) == "imagenet"]
    pretrained = [name for name in pretrained if name not in NO_IMAGENET]
    seen = [name for name in recipe.datasets if name in DATASETS and DATASETS[name].is_imagenet]
    if pretrained and seen:
        message = (
            f"is imagenet for {', '.join(pretrained)}, but these weights were trained on the "
            f"images that validate {', '.join(seen)}: give weights=none, or "
            "data.allow_pretraining_overlap=true if that is meant"
        )
        needs: tuple[KeyPath, ...] = (
            ("datasets",),
            ("backbones",),
            ("data", "allow_pretraining_overlap"),
        )
        yield Finding(("weights",), message, needs)


def check_sizes(recipe: Recipe) -> Iterator[Finding]:
    """Crops fit into the images."""
    if recipe.image.crop > recipe.image.resize:
        message = f"is {recipe.image.crop}, but must be at most image.resize"
        yield Finding(
            ("image", "crop"), f"{message} ({recipe.image.resize})", (("image", "resize"),)
        )
        return
    for name in recipe.image.per_dataset:
        image = recipe.image_for(name)
        if image.crop > image.resize:
            message = f"has crop {image.crop}, but it must be at most resize ({image.resize})"
            needs: tuple[KeyPath, ...] = (("image", "crop"), ("image", "resize"))
            yield Finding(("image", "per_dataset", name), message, needs)


def check_budget(recipe: Recipe) -> Iterator[Finding]:
    """A cost needs a price."""
    if recipe.budget.cost is not None and recipe.budget.price_per_node_hour is None:
        message = "is given, but not what a node costs: give budget.price_per_node_hour, too"
        yield Finding(("budget", "cost"), message)


def check_confirm(recipe: Recipe) -> Iterator[Finding]:
    """Seeds that are added until a verdict is clear begin with enough to see them scatter."""
    seeds, most = recipe.confirm.seeds, recipe.confirm.max_seeds
    if recipe.confirm.until != "decided":
        return
    path, until = ("confirm", "seeds"), ("confirm", "until")
    if seeds < 2:
        message = f"is {seeds}, but must be at least 2 with confirm.until decided"
        yield Finding(path, f"{message}: one pair of trainings shows no scatter", (until,))
    elif seeds > most:
        message = f"is {seeds}, but must be at most confirm.max_seeds ({most})"
        yield Finding(path, message, (until, ("confirm", "max_seeds")))


CHECKS: tuple[Check, ...] = (
    check_datasets,
    check_levels,
    check_images_given,
    check_backbones,
    check_weights,
    check_overlap,
    check_arms,
    check_grid,
    check_stages,
    check_sizes,
    check_trials,
    check_prior,
    check_training,
    check_budget,
    check_confirm,
)


def _stranger(path: KeyPath, name: str, known: tuple[str, ...], where: str) -> Finding:
    message = f"{show(name)} is not among {where}{suggest(name, known)}"
    return Finding(path, message, ((where,),))
