"""Check backbones, weights and losses of the user's own before a campaign starts."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pcsearch.errors import UserError
from pcsearch.recipe.problems import show
from pcsearch.recipe.schema import Recipe
from pcsearch.recipe.sections import OwnArm
from pcsearch.search.checkpoint_size import KNOWN, NetworkSize

if TYPE_CHECKING:
    from pcsearch.models import Backbone, PublishedWeights

ENOUGH_PIXELS = {
    "compact_cnn": 1,
    "vgg16": 32,
    "googlenet": 32,
    "resnet50": 32,
    "densenet161": 32,
    "bilinear_cnn": 32,
}
"""Smallest crops, in pixels, at which these networks are known to work from random weights."""

_SAME_CHANNEL = 0.002  # of pixels from 0 to 1: published values are rounded to three digits

_TRIED_CLASSES = 3  # differs from the two images of a try, so that swapped axes show


@dataclass(frozen=True)
class NetworkReport:
    """Where the tensors of one backbone come from.

    Attributes:
        backbone: As the recipe names it.
        weights: `none`, `imagenet: FILE` or the path.
        dropped: Tensors of the file that are not used.
        missing: Tensors of the network that the file lacks; they start at random.
        head: Tensors of the network that make the logits.
        size: The number of parameters.
        normalisation: A sentence if `image.mean` or `image.std` does not fit the weights; empty if
            they agree or nothing is known.
    """

    backbone: str
    weights: str
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    size: NetworkSize | None = None
    normalisation: str = ""

    def sentences(self) -> tuple[str, ...]:
        """What the file fills, what is re-initialised, and what images the weights expect."""
        return (*self._loaded(), *self.warnings())

    def warnings(self) -> tuple[str, ...]:
        """What to change before a campaign starts."""
        return (f"{self.backbone}: {self.normalisation}",) if self.normalisation else ()

    def _loaded(self) -> tuple[str, ...]:
        if self.weights == "none":
            return ()
        head = f"{self.backbone}: the head ({_tensors(self.head)})"
        body = [name for name in self.missing if name not in self.head]
        rest = "everything else comes" if not body else "the rest of the body comes"
        if any(name in self.head for name in self.missing):
            start = f"{head} is re-initialised"
        elif any(name in self.head for name in self.dropped):
            start = f"{head} is re-initialised unless the file has the dataset's number of classes"
        else:
            start = f"{head} comes from the file if the numbers of classes agree"
        lines = [f"{start}; {rest} from {self.weights}"]
        if body:
            lines.append(
                f"{self.backbone}: {_tensors(body)} of the body {_verb(body, 'is', 'are')} not in "
                f"{self.weights} and {_verb(body, 'is', 'are')} re-initialised: {_first(body)}"
            )
        unused = [name for name in self.dropped if name not in self.head]
        if unused:
            lines.append(
                f"{self.backbone}: {_tensors(unused)} of {self.weights} "
                f"{_verb(unused, 'has', 'have')} no place in this network and "
                f"{_verb(unused, 'is', 'are')} not used: {_first(unused)}"
            )
        return tuple(lines)


def check_networks(
    recipe: Recipe, *, download: bool = True, leave: Collection[str] = ()
) -> tuple[NetworkReport, ...]:
    """Build every network once, with its weights and options, and try it on images of each crop.

    Losses of the user's own are tried on random logits, too.

    Our own networks without weights and options are skipped if the images are large enough: they
    work, so they get no report and do not import torch.

    Args:
        recipe: The recipe whose backbones are checked.
        download: Whether to load ImageNet weights, and download missing ones. If not, such a
            network is checked without weights.
        leave: Backbones and losses to skip.

    Raises:
        UserError: a backbone or option is unknown, weights are missing or do not fit, a network
            does not take the recipe's images, or a loss returns no finite scalar with a gradient.
    """
    crops: dict[int, list[str]] = {}
    for dataset in recipe.datasets:
        crops.setdefault(recipe.image_for(dataset).crop, []).append(dataset)
    reports = tuple(
        _checked(recipe, backbone, crops, download)
        for backbone in recipe.backbones
        if backbone not in leave and not _is_plain(recipe, backbone, min(crops))
    )
    for name, own in recipe.arms.items():
        if own.loss not in leave:
            _try_loss(name, own)
    return reports


def _try_loss(arm: str, own: OwnArm) -> None:
    """Call a loss of the user's own with values in the middle of its spaces."""
    import torch

    from pcsearch.errors import TrialError
    from pcsearch.search.trial_config import middle
    from pcsearch.training.config import OwnLoss, TrainConfig
    from pcsearch.training.objective import Objective

    values = tuple((name, middle(space)) for name, space in own.space.items())
    settings = TrainConfig(epochs=1, seed=0, own_loss=OwnLoss(own.loss, values))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2 * _TRIED_CLASSES, _TRIED_CLASSES, generator=generator)
    logits.requires_grad_()
    labels = torch.arange(2 * _TRIED_CLASSES) % _TRIED_CLASSES
    try:
        loss, _ = Objective(settings)(logits * 1, labels)  # not a leaf, as a network's logits
    except TrialError as error:
        raise UserError(f"arms.{arm}: {error}") from error
    if not torch.isfinite(loss):
        raise UserError(f'arms.{arm}: the loss "{own.loss}" is {loss.item()} for ordinary logits')
    loss.backward()  # type: ignore[no-untyped-call]
    if logits.grad is None or not logits.grad.any():
        raise UserError(
            f'arms.{arm}: the loss "{own.loss}" does not depend on the logits, so nothing would be '
            "learned"
        )


def all_published_weights(recipe: Recipe) -> dict[str, PublishedWeights]:
    """By backbone: the published weights that it starts from, and their licence."""
    pretrained = [name for name in recipe.backbones if recipe.weights_for(name) == "imagenet"]
    if not pretrained:
        return {}
    from pcsearch.models import published_weights

    every = {
        name: published_weights(name, "imagenet", recipe.options_for(name)) for name in pretrained
    }
    return {name: weights for name, weights in every.items() if weights is not None}


def all_plain(recipe: Recipe) -> bool:
    """Whether no network has to be tried, so that PyTorch need not be imported for that."""
    crop = min(recipe.image_for(dataset).crop for dataset in recipe.datasets)
    plain = all(_is_plain(recipe, backbone, crop) for backbone in recipe.backbones)
    return plain and not recipe.arms


def _is_plain(recipe: Recipe, backbone: str, crop: int) -> bool:
    return (
        backbone in ENOUGH_PIXELS
        and crop >= ENOUGH_PIXELS[backbone]
        and recipe.weights_for(backbone) == "none"
        and not recipe.options_for(backbone)
        and not recipe.freezes_body(backbone)
    )


def _checked(
    recipe: Recipe, name: str, crops: dict[int, list[str]], download: bool
) -> NetworkReport:
    from pcsearch.models import build_backbone

    # The head is replaced anyway, so the number of classes does not matter.
    weights = recipe.weights_for(name)
    backbone = build_backbone(
        name,
        _TRIED_CLASSES,
        weights="none" if weights == "imagenet" and not download else weights,
        options=recipe.options_for(name),
    )
    for crop, datasets in crops.items():
        _try_images(name, backbone, crop, datasets, aux=bool(recipe.options_for(name).get("aux")))
        if recipe.freezes_body(name):
            _try_frozen(name, backbone, crop)
    if recipe.freezes_body(name) and (download or weights != "imagenet"):
        _check_body(recipe, name, backbone)
    loading = backbone.loading
    return NetworkReport(
        name,
        loading.source,
        loading.dropped,
        loading.missing,
        backbone.head_names,
        _size(backbone),
        _normalisation(recipe, name),
    )


def _normalisation(recipe: Recipe, name: str) -> str:
    """A sentence if the weights expect another normalisation than the recipe's; else empty."""
    from pcsearch.models import weights_normalisation

    wanted = weights_normalisation(name, recipe.weights_for(name), recipe.options_for(name))
    have = (*recipe.image.mean, *recipe.image.std)
    if wanted is None or all(
        math.isclose(one, other, abs_tol=_SAME_CHANNEL)
        for one, other in zip(have, (*wanted.mean, *wanted.std), strict=True)
    ):
        return ""
    line = (
        f"its ImageNet weights expect another normalisation: set image.mean={show(wanted.mean)} "
        f"and image.std={show(wanted.std)}, "
        f"not {show(recipe.image.mean)} and {show(recipe.image.std)}"
    )
    if len(recipe.backbones) > 1:
        line += ". Both apply to every backbone of a recipe, so others may need their own recipe"
    return line


def network_sizes(recipe: Recipe, reports: Collection[NetworkReport]) -> dict[str, NetworkSize]:
    """The size of every backbone of a recipe, from the reports or the table of known sizes."""
    found = {report.backbone: report.size for report in reports}
    sizes = {name: found.get(name) or KNOWN.get(name) for name in recipe.backbones}
    return {name: size for name, size in sizes.items() if size is not None}


def _size(backbone: Backbone) -> NetworkSize:
    numbers = {name: value.numel() for name, value in backbone.module.state_dict().items()}
    head = sum(numbers[name] for name in backbone.head_names)
    return NetworkSize(sum(numbers.values()) - head, head / _TRIED_CLASSES)


def _try_images(
    name: str, backbone: Backbone, crop: int, datasets: Collection[str], *, aux: bool
) -> None:
    from pcsearch.models.heads import failed_pass

    # Auxiliary heads run in training only, and some need larger images than the network.
    for training in (False, True) if aux else (False,):
        failure = failed_pass(backbone.module, _TRIED_CLASSES, crop, training=training)
        if failure is not None:
            raise UserError(
                f"{name} fails on images of {crop} x {crop} pixels (image.crop of "
                f"{', '.join(datasets)}){' in training' if training else ''}: {failure}; choose "
                "another image.crop or another backbone"
            )


def _try_frozen(name: str, backbone: Backbone, crop: int) -> None:
    from pcsearch.models.frozen_body import freeze_body

    try:
        freeze_body(backbone, crop)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _check_body(recipe: Recipe, name: str, backbone: Backbone) -> None:
    """Refuse a body that is random, even in a part: it would differ from one trial to the next."""
    from pcsearch.models import build_backbone
    from pcsearch.models.frozen_body import body_hash

    weights, options = recipe.weights_for(name), recipe.options_for(name)
    other = build_backbone(name, _TRIED_CLASSES, weights=weights, options=options, seed=1)
    if body_hash(other) != body_hash(backbone):
        missing = [key for key in backbone.loading.missing if key not in backbone.head_names]
        reason = f"its weights are {weights}"
        if missing:
            are = _verb(missing, "is", "are")
            reason = f"{_tensors(missing)} of it {are} not in {weights} ({_first(missing)})"
        raise UserError(
            f"{name}: train.freeze is body, but the body starts at random, because {reason}: give "
            "weights of the whole body, as in weights=imagenet, or train.freeze=none"
        )


def _tensors(names: Collection[str]) -> str:
    return "1 tensor" if len(names) == 1 else f"{len(names)} tensors"


def _verb(names: Collection[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several


def _first(names: Collection[str], count: int = 3) -> str:
    return ", ".join(list(names)[:count]) + (", ..." if len(names) > count else "")
