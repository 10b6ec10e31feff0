"""What must hold between the lengths of a training, its stages and its optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.recipe.finding import Finding
from pcsearch.recipe.origins import largest, trained_at
from pcsearch.recipe.problems import KeyPath, dotted
from pcsearch.recipe.schema import Recipe


def check_stages(recipe: Recipe) -> Iterator[Finding]:
    """No trial is judged, and no training ends, within its head-only stage or its warm-up."""
    grace, most = recipe.asha.grace_epochs, recipe.asha.max_epochs
    if grace > most:
        message = f"is {grace}, but must be at most asha.max_epochs ({most})"
        yield Finding(("asha", "grace_epochs"), message, (("asha", "max_epochs"),))
    lengths = {("asha", "grace_epochs"): grace, ("confirm", "epochs"): recipe.confirm.epochs}
    for opening in dict.fromkeys(_opening(recipe, backbone) for backbone in recipe.backbones):
        total = sum(epochs for _, epochs in opening)
        stages = " + ".join(dotted(stage) for stage, _ in opening)
        parts = " + ".join(f"{epochs:g}" for _, epochs in opening)
        for path, epochs in lengths.items():
            if epochs is not None and epochs <= total:
                message = f"is {epochs}, but must exceed {stages} ({parts})"
                yield Finding(path, message, tuple(stage for stage, _ in opening))


def check_training(recipe: Recipe) -> Iterator[Finding]:
    """Finalists are trained at least once, and Nesterov's momentum is one of SGD's."""
    if recipe.finalists.configs > 0 and recipe.finalists.repeats == 0:
        message = f"is 0, but must be at least 1 for {recipe.finalists.configs} finalists an arm"
        yield Finding(
            ("finalists", "repeats"), f"{message} (finalists.configs)", (("finalists", "configs"),)
        )
    for prefix, values in _settings(recipe):
        if not values["nesterov"]:
            continue
        path = (*prefix, "nesterov")
        if values["optimizer"] != "sgd":
            message = f"is true, but needs optimizer sgd, not {values['optimizer']}"
            yield Finding(path, message, ((*prefix, "optimizer"),))
        elif values["momentum"] == 0:
            message = "is true, but needs a momentum greater than 0"
            yield Finding(path, message, ((*prefix, "momentum"),))


def _opening(recipe: Recipe, backbone: str) -> tuple[tuple[KeyPath, float], ...]:
    """Epochs before a training of the backbone runs in full, each with the key that states them.

    The warm-up begins after the longest classifier-only stage that the search may choose.
    """
    key, epochs = largest(recipe, backbone, "head_only_epochs")
    warmup = trained_at(recipe, backbone, "warmup_epochs")
    stages = ((key, float(epochs)), (warmup, float(recipe.train_for(backbone)["warmup_epochs"])))
    return tuple(stage for stage in stages if stage[1] > 0)


def _settings(recipe: Recipe) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    """The `train` settings in force, each with the place that states them."""
    yield ("train",), recipe.train.for_backbone("")
    for name in recipe.train.per_backbone:
        yield ("train", "per_backbone", name), recipe.train_for(name)
