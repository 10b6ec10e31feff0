"""Rules for the trainings of a recipe: their stages, their settings, and a frozen body."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.data.augmentations import AUGMENTATIONS
from pcsearch.recipe.extend import largest_of, trained_at
from pcsearch.recipe.problems import KeyPath, RecipeFinding, dotted, show
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.search_space import SHARED
from pcsearch.training.config import UNFROZEN


def check_stages(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Trials are judged, and trainings end, only after the head-only stage and the warm-up."""
    grace, most = recipe.asha.grace_epochs, recipe.asha.max_epochs
    if grace > most:
        message = f"is {grace}, but must be at most asha.max_epochs ({most})"
        yield RecipeFinding(("asha", "grace_epochs"), message, (("asha", "max_epochs"),))
    lengths = {("asha", "grace_epochs"): grace, ("confirm", "epochs"): recipe.confirm.epochs}
    for opening in dict.fromkeys(_opening(recipe, backbone) for backbone in recipe.backbones):
        total = sum(epochs for _, epochs in opening)
        stages = " + ".join(dotted(stage) for stage, _ in opening)
        parts = " + ".join(f"{epochs:g}" for _, epochs in opening)
        for path, epochs in lengths.items():
            if epochs is not None and epochs <= total:
                message = f"is {epochs}, but must exceed {stages} ({parts})"
                yield RecipeFinding(path, message, tuple(stage for stage, _ in opening))


def check_training(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Finalists train at least once; classes are balanced once; Nesterov momentum needs SGD."""
    if recipe.finalists.configs > 0 and recipe.finalists.repeats == 0:
        message = f"is 0, but must be at least 1 for {recipe.finalists.configs} finalists an arm"
        yield RecipeFinding(
            ("finalists", "repeats"), f"{message} (finalists.configs)", (("finalists", "configs"),)
        )
    for backbone in ("", *recipe.train.per_backbone):
        values = recipe.train_for(backbone)
        if values["sampling"] == values["class_weights"] == "balanced":
            message = (
                "is balanced, but train.sampling is balanced, too, which would count rare classes "
                "twice: choose one of them"
            )
            path = trained_at(recipe, backbone, "class_weights")
            yield RecipeFinding(path, message, (trained_at(recipe, backbone, "sampling"),))
        if not values["nesterov"]:
            continue
        path = trained_at(recipe, backbone, "nesterov")
        if values["optimizer"] != "sgd":
            message = f"is true, but needs optimizer sgd, not {values['optimizer']}"
            yield RecipeFinding(path, message, (trained_at(recipe, backbone, "optimizer"),))
        elif values["momentum"] == 0:
            message = "is true, but needs a momentum greater than 0"
            yield RecipeFinding(path, message, (trained_at(recipe, backbone, "momentum"),))


def check_frozen(recipe: Recipe) -> Iterator[RecipeFinding]:
    """With a frozen body, images have fixed features: nothing mixes or augments them."""
    frozen = [backbone for backbone in recipe.backbones if recipe.freezes_body(backbone)]
    for backbone in frozen:
        freeze = trained_at(recipe, backbone, "freeze")
        for key, (off, reason) in UNFROZEN.items():
            path, value = trained_at(recipe, backbone, key), recipe.train_for(backbone)[key]
            if key in SHARED:
                path, value = largest_of(recipe, backbone, key)
            if value != off:
                message = f"is {show(value)}, but train.freeze is body, and {reason}: give {off}"
                yield RecipeFinding(path, message, (freeze,))
    if not frozen:
        return
    needs: tuple[KeyPath, ...] = (trained_at(recipe, frozen[0], "freeze"),)
    for index, name in enumerate(recipe.search.arms):
        for part in name.split("+"):
            if part in UNFROZEN:
                message = f"holds {name}, but train.freeze is body, and {UNFROZEN[part][1]}"
                yield RecipeFinding(("search", "arms", index), message, needs)
    for dataset in recipe.datasets:
        given = recipe.image.per_dataset.get(dataset)
        for key, settings in recipe.image_for(dataset).augment().items():
            if not AUGMENTATIONS[key].is_off(settings):
                own = given is not None and key in given.given()
                path = ("image", "per_dataset", dataset, key) if own else ("image", key)
                message = (
                    "is on, but train.freeze is body: features of an image are computed once, of "
                    "its centre crop and the mirror image. Set it to 0"
                )
                yield RecipeFinding(path, message, needs)


def _opening(recipe: Recipe, backbone: str) -> tuple[tuple[KeyPath, float], ...]:
    """Epochs before the backbone trains in full, each with the key that states them.

    The warm-up begins after the longest head-only stage that the search may choose.
    """
    key, epochs = largest_of(recipe, backbone, "head_only_epochs")
    warmup = trained_at(recipe, backbone, "warmup_epochs")
    stages = ((key, float(epochs)), (warmup, float(recipe.train_for(backbone)["warmup_epochs"])))
    return tuple(stage for stage in stages if stage[1] > 0)
