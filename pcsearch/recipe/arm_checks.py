"""Rules for the arms of a recipe: those of `search.arms`, and the user's own."""

from __future__ import annotations

from collections.abc import Iterator

from pcsearch.arms import ARMS, CONTROL, arm_named, competitors
from pcsearch.recipe.extend import trained_at
from pcsearch.recipe.fields import ARM
from pcsearch.recipe.problems import KeyPath, RecipeFinding, show, suggest
from pcsearch.recipe.schema import Recipe


def check_arms(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Arms are known competitors, and there is something to compare."""
    path: KeyPath = ("search", "arms")
    known = (*competitors(), *recipe.arms)
    for index, name in enumerate(recipe.search.arms):
        if name == CONTROL:
            message = "holds control: search.control says whether the control runs; leave it out"
            yield RecipeFinding((*path, index), message)
        elif name in recipe.arms:
            continue
        elif any(part in recipe.arms for part in name.split("+")):
            message = f"{show(name)} joins an arm of your own, which + cannot: list it alone"
            yield RecipeFinding((*path, index), message)
        elif wrong := wrong_arm(name, known):
            yield RecipeFinding((*path, index), wrong)
    parts = [frozenset(name.split("+")) for name in recipe.search.arms]
    for index, (name, same) in enumerate(zip(recipe.search.arms, parts, strict=True)):
        if same in parts[:index]:
            first = recipe.search.arms[parts.index(same)]
            yield RecipeFinding((*path, index), f"{show(name)} is the same arm as {show(first)}")
    if not recipe.search.arms and recipe.search.control != "matched":
        control = show(recipe.search.control)
        message = f"is empty, but search.control {control} needs at least one arm, as in [pc]"
        yield RecipeFinding(path, message, (("search", "control"),))


def check_match(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Arms with epochs of their own compete; equal images or seconds need a control to equal."""
    path: KeyPath = ("asha", "arm_epochs")
    listed = (CONTROL, *recipe.search.arms)
    for name, epochs in recipe.asha.arm_epochs.items():
        if name not in listed:
            message = f"is no arm of this recipe{suggest(name, listed)}"
            yield RecipeFinding((*path, name), message, (("search", "arms"),))
        elif name == CONTROL:
            message = "is the control: asha.max_epochs states its epochs"
            yield RecipeFinding((*path, name), message)
        elif epochs < recipe.asha.grace_epochs:
            grace = recipe.asha.grace_epochs
            message = f"is {epochs}, but must be at least asha.grace_epochs ({grace})"
            yield RecipeFinding((*path, name), message, (("asha", "grace_epochs"),))
    match = recipe.search.match
    if match == "trials":
        return
    if recipe.search.control != "matched":
        message = f"is {match}, but needs search.control matched, whose search the others equal"
        yield RecipeFinding(("search", "match"), message, (("search", "control"),))
    if recipe.search.sampler == "grid":
        message = f"is {match}, but search.sampler is grid, which tries every point in each arm"
        yield RecipeFinding(("search", "match"), message, (("search", "sampler"),))


_NO_NAMES = ("none", "null", "true", "false", "auto")


def check_own_arms(recipe: Recipe) -> Iterator[RecipeFinding]:
    """Arms of the user's own have names of their own, compete, and share what all arms share."""
    taken = {name.lower() for name in ARMS} | {*_NO_NAMES}
    for name in recipe.arms:
        own = ("arms", name)
        if not ARM.fullmatch(name):
            message = "is no name for an arm: a letter, then letters, digits, _ or -, at most 40"
            yield RecipeFinding(own, message)
        elif name.lower() in taken:
            yield RecipeFinding(own, "has the name of an arm that exists: choose another one")
        elif not any(name in listed.split("+") for listed in recipe.search.arms):
            message = f"is defined, but search.arms does not name it: add {name} there"
            yield RecipeFinding(own, message, (("search", "arms"),))
        taken.add(name.lower())
        for key, space in recipe.arms[name].space.items():
            if recipe.search.sampler == "grid" and space.kind == "range":
                message = "is a range, but search.sampler is grid: write {choices: [...]}"
                yield RecipeFinding((*own, "space", key), message, (("search", "sampler"),))
    for backbone in recipe.backbones if recipe.arms else ():
        for key, off in _CLASSIFICATION.items():
            if (value := recipe.train_for(backbone)[key]) != off:
                message = (
                    f"is {show(value)}, but a loss of your own ({', '.join(recipe.arms)}) does not "
                    "take it, so that arms would differ in more than their loss: leave it out"
                )
                yield RecipeFinding(trained_at(recipe, backbone, key), message, (("arms",),))


_CLASSIFICATION = dict.fromkeys(
    ("label_smoothing", "focal_gamma", "logit_norm", "mixup", "cutmix"), 0.0
) | {"class_weights": "none"}
"""Settings for all arms that act through the classification loss or its labels, when off."""


def wrong_arm(name: str, known: tuple[str, ...]) -> str | None:
    """What is wrong with the name of an arm; None for one that exists."""
    try:
        arm_named(name)
    except ValueError as error:
        if str(error) == "is unknown":
            return f"unknown arm {show(name)}{suggest(name, known)}"
        return f"{show(name)} {error}"
    return None
