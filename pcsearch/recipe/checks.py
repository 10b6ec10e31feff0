"""What must hold between the keys of a recipe, beyond the type of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pcsearch.errors import did_you_mean
from pcsearch.recipe.arms import ARMS, COMPETITORS, CONTROL
from pcsearch.recipe.fields import BACKBONE
from pcsearch.recipe.problems import KeyPath, dotted, suggest
from pcsearch.recipe.schema import NO_IMAGENET, Recipe
from pcsearch.recipe.show import show
from pcsearch.recipe.space import DIMENSIONS, SHARED


@dataclass(frozen=True)
class Finding:
    """A mistake at `path`; it says nothing when one of `needs` was itself mistaken."""

    path: KeyPath
    message: str
    needs: tuple[KeyPath, ...] = ()


Check = Callable[[Recipe], Iterator[Finding]]


def dataset_ids() -> tuple[str, ...]:
    """The ids of the datasets that the package can read."""
    from pcsearch.data.catalog import DATASETS

    return tuple(DATASETS)


def check_datasets(recipe: Recipe) -> Iterator[Finding]:
    """Every dataset is known, and `data.images` goes with the dataset `images`."""
    known = dataset_ids()
    for index, dataset in enumerate(recipe.datasets):
        if dataset not in known:
            message = f"unknown dataset {show(dataset)}{suggest(dataset, known)}"
            yield Finding(("datasets", index), message)
    if recipe.data.images is not None and "images" not in recipe.datasets:
        message = "is given, but datasets does not name images: add it, as in datasets=[images]"
        yield Finding(("data", "images"), message, (("datasets",),))
    for name in recipe.image.per_dataset:
        if name not in recipe.datasets:
            yield _stranger(("image", "per_dataset", name), name, recipe.datasets, "datasets")


def check_images_given(recipe: Recipe) -> Iterator[Finding]:
    """The dataset `images` needs a folder."""
    if "images" in recipe.datasets and recipe.data.images is None:
        message = "dataset images needs a folder: give --images FOLDER, or data.images=FOLDER"
        yield Finding(("datasets",), message, (("data", "images"),))


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
        slip = did_you_mean(weights, ("imagenet", "none"))
        if slip and weights not in ("imagenet", "none") and not Path(weights).exists():
            path: KeyPath = ("weights",) if single else ("weights", name)
            yield Finding(path, f"is {show(weights)}, which is no file{slip}")


def check_arms(recipe: Recipe) -> Iterator[Finding]:
    """Arms are known competitors, and there is something to compare."""
    path: KeyPath = ("search", "arms")
    for index, name in enumerate(recipe.search.arms):
        if name == CONTROL:
            message = "holds control: search.control says whether the control runs; leave it out"
            yield Finding((*path, index), message)
        elif name not in ARMS:
            message = f"unknown arm {show(name)}{suggest(name, COMPETITORS)}"
            yield Finding((*path, index), message)
    if not recipe.search.arms and recipe.search.control != "matched":
        control = show(recipe.search.control)
        message = f"is empty, but search.control {control} needs at least one arm, as in [pc]"
        yield Finding(path, message, (("search", "control"),))


def check_grid(recipe: Recipe) -> Iterator[Finding]:
    """The grid sampler has values for everything searched; no other sampler has a grid."""
    grid, sampler = recipe.search.grid, recipe.search.sampler
    path: KeyPath = ("search", "grid")
    if grid is None:
        if sampler == "grid":
            message = (
                "is grid, but search.grid does not state the values to try, as in "
                "grid: {lambda_over_n: [0.05, 0.1, 0.15], lr: [0.01, 0.1]}"
            )
            yield Finding(("search", "sampler"), message, (path,))
        return
    if sampler != "grid":
        message = f"is given, but search.sampler is {show(sampler)}: use sampler grid or leave it"
        yield Finding(path, f"{message} out", (("search", "sampler"),))
    for key in grid:
        if key not in DIMENSIONS:
            known = tuple(DIMENSIONS)
            yield Finding((*path, key), f"is not a key to search{suggest(key, known)}")
    if sampler == "grid":
        keys = sorted({key for b in recipe.backbones for key in _ranges(recipe, b)})
        for key in keys:
            message = f"has no values for {key}, which search.{key} states as a range"
            yield Finding(path, message, (("search", key), ("search", "sampler"), ("backbones",)))


def check_stages(recipe: Recipe) -> Iterator[Finding]:
    """No trial is judged, and no training ends, within its warm-up or its head-only stage."""
    grace, most = recipe.asha.grace_epochs, recipe.asha.max_epochs
    if grace > most:
        message = f"is {grace}, but must be at most asha.max_epochs ({most})"
        yield Finding(("asha", "grace_epochs"), message, (("asha", "max_epochs"),))
    for stage, epochs in _stages(recipe):
        if grace <= epochs:
            message = f"is {grace}, but must exceed {dotted(stage)} ({epochs:g})"
            yield Finding(("asha", "grace_epochs"), message, (stage,))
        if recipe.confirm.epochs is not None and recipe.confirm.epochs <= epochs:
            message = f"is {recipe.confirm.epochs}, but must exceed {dotted(stage)} ({epochs:g})"
            yield Finding(("confirm", "epochs"), message, (stage,))


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


def check_rest(recipe: Recipe) -> Iterator[Finding]:
    """Single conditions between two keys."""
    if recipe.finalists.configs > 0 and recipe.finalists.repeats == 0:
        message = f"is 0, but must be at least 1 for {recipe.finalists.configs} finalists an arm"
        yield Finding(
            ("finalists", "repeats"), f"{message} (finalists.configs)", (("finalists", "configs"),)
        )
    startup, trials = recipe.search.startup_trials, recipe.search.trials
    if startup is not None and startup > trials:
        message = f"is {startup}, but must be at most search.trials ({trials})"
        yield Finding(("search", "startup_trials"), message, (("search", "trials"),))
    for prefix, values in _settings(recipe):
        if values["nesterov"] and values["momentum"] == 0:
            message = "is true, but needs a momentum greater than 0"
            yield Finding((*prefix, "nesterov"), message, ((*prefix, "momentum"),))


CHECKS: tuple[Check, ...] = (
    check_datasets,
    check_images_given,
    check_backbones,
    check_weights,
    check_arms,
    check_grid,
    check_stages,
    check_sizes,
    check_rest,
)


def _stranger(path: KeyPath, name: str, known: tuple[str, ...], where: str) -> Finding:
    message = f"{show(name)} is not among {where}{suggest(name, known)}"
    return Finding(path, message, ((where,),))


def _ranges(recipe: Recipe, backbone: str) -> Iterator[str]:
    """Keys of the dimensions that are still ranges under a grid."""
    names = [CONTROL, *recipe.search.arms]
    for arm in (ARMS[name] for name in names if name in ARMS):
        for name, space in recipe.space_for(backbone, arm).items():
            if space.kind == "range":
                yield name if name in SHARED else str(arm.search_key)


def _settings(recipe: Recipe) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    """The `train` settings in force, each with the place that states them."""
    yield ("train",), recipe.train.for_backbone("")
    for name in recipe.train.per_backbone:
        yield ("train", "per_backbone", name), recipe.train_for(name)


def _stages(recipe: Recipe) -> Iterator[tuple[KeyPath, float]]:
    """The places that state a warm-up or a head-only stage, with its longest length in epochs."""
    for key in ("warmup_epochs", "head_only_epochs"):
        yield ("train", key), getattr(recipe.train, key)
        for name, values in recipe.train.per_backbone.items():
            if key in values.given():
                yield ("train", "per_backbone", name, key), getattr(values, key)
    key = "head_only_epochs"
    space = recipe.search.head_only_epochs
    if space is not None:
        yield ("search", key), float(space.highest)
    for name, spaces in recipe.search.per_backbone.items():
        if (exception := spaces.given().get(key)) is not None:
            yield ("search", "per_backbone", name, key), float(exception.highest)
    if recipe.search.grid and key in recipe.search.grid:
        yield ("search", "grid", key), float(max(recipe.search.grid[key]))
