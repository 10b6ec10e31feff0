"""Rules between the keys of a recipe, beyond the type of each key."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

from pcsearch.arms import CONTROL, search_keys
from pcsearch.errors import did_you_mean
from pcsearch.recipe.arm_checks import check_arms, check_match, check_own_arms, wrong_arm
from pcsearch.recipe.fields import BACKBONE, expanded
from pcsearch.recipe.problems import KeyPath, RecipeFinding, show, suggest
from pcsearch.recipe.schema import NO_IMAGENET, Recipe
from pcsearch.recipe.search_space import SHARED, dimensions
from pcsearch.recipe.training_checks import check_frozen, check_stages, check_training

Check = Callable[[Recipe], Iterator[RecipeFinding]]


def _check_grid(recipe: Recipe) -> Iterator[RecipeFinding]:
    """The grid sampler has values for everything searched; no other sampler has a grid."""
    grid, sampler = recipe.search.grid, recipe.search.sampler
    path: KeyPath = ("search", "grid")
    if grid is None:
        if sampler == "grid":
            message = (
                "is grid, but search.grid states no values to try: give some, as in "
                "grid: {lambda_over_n: [0.05, 0.1, 0.15], lr: [0.01, 0.1]}"
            )
            yield RecipeFinding(("search", "sampler"), message, (path,))
        return
    if sampler != "grid":
        message = f"is given, but search.sampler is {show(sampler)}: set it to grid, or leave out"
        yield RecipeFinding(path, f"{message} search.grid", (("search", "sampler"),))
    known = tuple(dimensions())
    for key in grid:
        if key not in known:
            yield RecipeFinding((*path, key), f"is not a key to search{suggest(key, known)}")
    if sampler == "grid":
        keys = sorted({key for b in recipe.backbones for key in _ranges(recipe, b)})
        for key in keys:
            message = (
                f"has no values for {key}, but search.{key} is a range: list its values here, or "
                "give it one value"
            )
            if key == "lr" and recipe.measures_lr:
                message = (
                    f"has no values for {key}: search.{key} is auto, a measured range, and "
                    "sampler grid needs values, as in grid: {lr: [0.01, 0.1]}"
                )
            needs: tuple[KeyPath, ...] = (("search", key), ("search", "sampler"), ("backbones",))
            yield RecipeFinding(path, message, (*needs, ("search", "arms")))


def _check_trials(recipe: Recipe) -> Iterator[RecipeFinding]:
    """The number of trials covers the random start, and every point of the grid."""
    search, trials = recipe.search, recipe.search.trials
    startup = search.startup_trials
    if startup is not None and startup > trials:
        message = f"is {startup}, but must be at most search.trials ({trials})"
        yield RecipeFinding(("search", "startup_trials"), message, (("search", "trials"),))
    if search.sampler != "grid" or not search.grid or not set(search.grid) <= set(dimensions()):
        return
    sizes = [
        (_points(recipe, backbone, name), name)
        for backbone in recipe.backbones
        for name in _searching(recipe)
    ]
    points, name = max(sizes, default=(0, ""), key=lambda size: size[0])
    if points > trials:
        message = f"is {trials}, but the grid has {points} points for {name}"
        needs: tuple[KeyPath, ...] = (("search", "grid"), ("search", "sampler"), ("search", "arms"))
        advice = f"give search.trials={points}, or fewer values in search.grid"
        yield RecipeFinding(("search", "trials"), f"{message}: {advice}", needs)


def _check_prior(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Start points of earlier runs need a sampler that takes them, and further trials."""
    path: KeyPath = ("search", "prior")
    if not recipe.search.prior:
        return
    if recipe.search.sampler == "grid":
        message = "is given, but search.sampler is grid, which tries its own values: leave one out"
        yield RecipeFinding(path, message, (("search", "sampler"),))
    elif recipe.search.trials < 2:
        message = "is given, but search.trials is 1, and at most half of them are start points"
        yield RecipeFinding(
            path, f"{message}: give search.trials=2 or more", (("search", "trials"),)
        )


def _searching(recipe: Recipe) -> list[str]:
    """The arms that have search trials of their own."""
    control = [CONTROL] if recipe.search.control == "matched" else []
    return [*control, *(name for name in recipe.search.arms if _exists(recipe, name))]


def _exists(recipe: Recipe, name: str) -> bool:
    return name in recipe.arms or wrong_arm(name, ()) is None


def _points(recipe: Recipe, backbone: str, arm: str) -> int:
    """Grid points of an arm; 0 where a range has no points."""
    spaces = recipe.space_for(backbone, arm).values()
    if any(space.kind in ("range", "auto") for space in spaces):
        return 0
    return math.prod(len(space.choices or (space.value,)) for space in spaces)


def _ranges(recipe: Recipe, backbone: str) -> Iterator[str]:
    """Keys of the dimensions that are still ranges under a grid."""
    for arm in [CONTROL, *recipe.search.arms]:
        keys = {parameter.name: key for key, parameter in search_keys(arm).items()}
        for name, space in recipe.space_for(backbone, arm).items():
            if space.kind in ("range", "auto") and (name in SHARED or name in keys):
                yield keys.get(name, name)


_OWN_DATA = ("images", "manifest")
"""Datasets of the user's own; the key of the same name under `data` says where each is."""


def _dataset_ids() -> tuple[str, ...]:
    """The ids of the datasets that the package can read."""
    from pcsearch.data.catalog import DATASETS

    return tuple(DATASETS)


def _check_datasets(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Every dataset is known; `data.images` and `data.manifest` need their datasets."""
    known = _dataset_ids()
    for index, dataset in enumerate(recipe.datasets):
        if dataset not in known:
            hint = suggest(dataset, known) or " (pcsearch data ls lists them)"
            message = f"unknown dataset {show(dataset)}{hint}"
            yield RecipeFinding(("datasets", index), message)
    for own in _OWN_DATA:
        if getattr(recipe.data, own) is not None and own not in recipe.datasets:
            message = f"is given, but datasets does not name {own}: add it, as in datasets=[{own}]"
            yield RecipeFinding(("data", own), message, (("datasets",),))
    for name in recipe.image.per_dataset:
        if name not in known:  # a known one that is not in use may come from the extended recipe
            message = f"unknown dataset {show(name)}{suggest(name, known)}"
            yield RecipeFinding(("image", "per_dataset", name), message)


def _check_levels(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Every chosen level exists in its dataset."""
    from pcsearch.data.catalog import DATASETS

    for name, level in recipe.data.levels.items():
        entry = DATASETS.get(name)
        if entry is None:
            message = f"unknown dataset {show(name)}{suggest(name, tuple(DATASETS))}"
            yield RecipeFinding(("data", "levels", name), message)
        elif not entry.levels:
            message = f"is given, but {name} has no class hierarchy: remove it"
            yield RecipeFinding(("data", "levels", name), message)
        elif level not in entry.levels:
            message = f"is {show(level)}, but must be one of {', '.join(entry.levels)}"
            yield RecipeFinding(("data", "levels", name), message)


def check_images_given(recipe: Recipe) -> Iterator[RecipeFinding]:
    """The datasets `images` and `manifest` need a folder and a file."""
    if "images" in recipe.datasets and recipe.data.images is None:
        message = "dataset images needs a folder: give --images FOLDER, or data.images=FOLDER"
        yield RecipeFinding(("datasets",), message, (("data", "images"),))
    if "manifest" in recipe.datasets and recipe.data.manifest is None:
        message = "dataset manifest needs a CSV or Parquet file: give data.manifest=FILE"
        yield RecipeFinding(("datasets",), message, (("data", "manifest"),))


def check_networks_known(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Every backbone is known, with its options. Code of the user's own is not looked at."""
    from pcsearch.models.names import wrong_name, wrong_options

    for index, name in enumerate(recipe.backbones):
        if not BACKBONE.fullmatch(name):
            message = f"{show(name)} must be the name of a backbone or module:function"
            yield RecipeFinding(("backbones", index), message)
        elif wrong := wrong_name(name):
            yield RecipeFinding(("backbones", index), wrong)
        for key, wrong in wrong_options(name, recipe.options_for(name)).items():
            yield RecipeFinding(("backbone_options", name, key), wrong)


def _check_backbones(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Weights exist for the backbones; settings per backbone name listed backbones."""
    for name in recipe.backbones:
        if name in NO_IMAGENET and recipe.weights_for(name) == "imagenet":
            message = f'there are no imagenet weights for {name}: use "none" or a path'
            yield RecipeFinding(("weights",), message, (("backbones",),))
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


def check_weights(recipe: Recipe) -> Iterator[RecipeFinding]:
    """A word close to `imagenet` or `none` is a typo, not a path."""
    single = isinstance(recipe.weights, str)
    named = {"": recipe.weights} if isinstance(recipe.weights, str) else recipe.weights
    for name, weights in named.items():
        is_path = "/" in weights or "\\" in weights
        slip = "" if is_path else did_you_mean(weights, ("imagenet", "none"))
        if slip and weights not in ("imagenet", "none") and not expanded(weights).exists():
            path: KeyPath = ("weights",) if single else ("weights", name)
            yield RecipeFinding(path, f"is {show(weights)}, which is not a file{slip}")


def check_overlap(recipe: Recipe) -> Iterator[RecipeFinding]:
    """ImageNet images do not validate networks trained on them, unless the recipe allows it."""
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
        yield RecipeFinding(("weights",), message, needs)


def _check_sizes(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Crops fit into the images."""
    if recipe.image.crop > recipe.image.resize:
        message = f"is {recipe.image.crop}, but must be at most image.resize"
        yield RecipeFinding(
            ("image", "crop"), f"{message} ({recipe.image.resize})", (("image", "resize"),)
        )
        return
    for name, exceptions in recipe.image.per_dataset.items():
        image = recipe.image_for(name)
        if image.crop > image.resize:
            message = f"has crop {image.crop}, but it must be at most resize ({image.resize})"
            shared = [key for key in ("crop", "resize") if key not in exceptions.given()]
            needs: tuple[KeyPath, ...] = tuple(("image", key) for key in shared)
            yield RecipeFinding(("image", "per_dataset", name), message, needs)


def _check_augmentations(recipe: Recipe) -> Iterator[RecipeFinding]:
    """RandAugment and TrivialAugment choose among the same operations."""
    both = ("trivial_augment", "rand_augment")
    for name in ("", *recipe.image.per_dataset):
        image = recipe.image_for(name)
        given = recipe.image.per_dataset[name].given() if name else both
        own = [key for key in both if key in given]
        if image.trivial_augment and image.rand_augment.magnitude and own:
            place: KeyPath = ("image", "per_dataset", name) if name else ("image",)
            (other,) = {*both} - {own[0]}
            message = (
                f"does not go with image.{other}: both draw from the same operations, so choose "
                "one of them"
            )
            needs: tuple[KeyPath, ...] = tuple(("image", key) for key in both if key not in given)
            yield RecipeFinding((*place, own[0]), message, needs)


def _check_budget(recipe: Recipe) -> Iterator[RecipeFinding]:
    """A cost needs a price."""
    if recipe.budget.cost is not None and recipe.budget.price_per_node_hour is None:
        message = "is given without the price of a node: give budget.price_per_node_hour too"
        yield RecipeFinding(("budget", "cost"), message, (("budget", "price_per_node_hour"),))


def _check_confirm(recipe: Recipe) -> Iterator[RecipeFinding]:
    """`until: decided` starts with enough seeds to estimate their scatter."""
    seeds, most = recipe.confirm.seeds, recipe.confirm.max_seeds
    if recipe.confirm.until != "decided":
        return
    path, until = ("confirm", "seeds"), ("confirm", "until")
    if seeds < 2:
        message = f"is {seeds}, but must be at least 2 with confirm.until decided"
        yield RecipeFinding(path, f"{message}: one pair of trainings shows no scatter", (until,))
    elif seeds > most:
        message = f"is {seeds}, but must be at most confirm.max_seeds ({most})"
        yield RecipeFinding(path, message, (until, ("confirm", "max_seeds")))


CHECKS: tuple[Check, ...] = (
    _check_datasets,
    _check_levels,
    check_images_given,
    check_networks_known,
    _check_backbones,
    check_weights,
    check_overlap,
    check_arms,
    check_own_arms,
    check_match,
    _check_grid,
    check_stages,
    _check_sizes,
    _check_augmentations,
    _check_trials,
    _check_prior,
    check_training,
    check_frozen,
    _check_budget,
    _check_confirm,
)


def _stranger(path: KeyPath, name: str, known: tuple[str, ...], where: str) -> RecipeFinding:
    message = f"{show(name)} is not among {where}{suggest(name, known)}"
    return RecipeFinding(path, message, ((where,),))
