"""images/s of a real trial ÷ images/s of the bare step on batches in memory.

`bare` is forward, backward and update on the very batches of a trial's first epoch, already
cropped, normalised and on the device in its memory format, and a forward pass over the validation
batches, in memory too. `fit` is `pcsearch.training.fit` over the decoded images with everything on:
crop, flip, normalisation, metrics, Pairwise Confusion, validation with all its measures, and
checkpoints as often as a campaign writes them. `trial` is `pcsearch.execution.trial_run.run_trial`,
which adds the report of each epoch; its recipe, data and network are opened before the first
epochs, which warm up and do not count (what trials cost between each other is the figure `gap`).

`fit` needs neither Ray nor Optuna; `trial` is left out where the recipe's libraries are missing.
One epoch of each in turns, every other round backwards. On a CPU all keep to as many cores as the
trial has threads: a campaign's other trials have the rest.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from data_path_parts.figures import Figure, figure_of
from data_path_parts.photos import Photos, find_photos
from data_path_parts.timing import Times, in_turns, median, on_cores, ratios, synchroniser
from pcsearch.data.cache import ensure_store
from pcsearch.data.loaders import EvalBatches, TrainBatches
from pcsearch.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from pcsearch.data.sources import FileImages
from pcsearch.models.registry import Backbone, build_backbone
from pcsearch.training.checkpoints import Checkpoints
from pcsearch.training.config import TrainConfig
from pcsearch.training.evaluate import Evaluation, evaluate
from pcsearch.training.memory import tune_malloc
from pcsearch.training.trainer import fit

EVAL_BATCH = {"cpu": 32, "cuda": 256}  # as run_trial has it
LR = 0.001


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--resize", type=int, help="by default crop × 8 / 7")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10, help="epochs that are timed, of each")
    parser.add_argument("--images", type=int, help="images an epoch, repeated if there are fewer")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="trials in bfloat16; the bare step in float32",
    )


@dataclass(frozen=True)
class _Data:
    train: TrainBatches
    val: EvalBatches
    classes: int

    @property
    def images(self) -> int:
        return self.train.num_images + self.val.num_images


def measure(options: argparse.Namespace, scratch: Path) -> list[Figure]:
    torch.set_num_threads(options.threads)
    if options.device == "cpu":
        tune_malloc()  # as in a campaign's workers, and for the bare step, too
    photos = find_photos(options.data, scratch, options.seed).of_all_classes()
    data = _open(options, photos, scratch)
    settings = TrainConfig(
        epochs=options.epochs + 2,
        seed=options.seed,
        lr=LR,
        batch_size=options.batch,
        lambda_=0.1 * data.classes,
        channels_last=True,
        amp="cpu" if options.bfloat16 else True,
    )
    with contextlib.ExitStack() as stack:
        if options.device == "cpu":
            stack.enter_context(on_cores(options.threads))
        runs = {"bare": _bare(options, data), "fit": _fit(options, data, settings, scratch)}
        searched = _searched(options, photos, scratch, stack)
        if searched is not None:
            runs["trial"] = searched
        times = in_turns(runs, options.epochs, warmups=2, synchronise=synchroniser(options.device))
    precision = " bfloat16" if options.bfloat16 else ""
    title = f"{options.backbone} {options.crop} {options.device}{precision}"
    for name, spent in times.items():
        print(f"  {title} {name:6} {data.images / median(spent.wall):9.1f} images/s")
    return _figures(title, times, data, photos, 1.6 if options.bfloat16 else 0.95)


def _figures(
    title: str, times: dict[str, Times], data: _Data, photos: Photos, wanted: float
) -> list[Figure]:
    figures = []
    for name in [name for name in times if name != "bare"]:
        headline = name == "trial" or "trial" not in times
        cpu = ratios(times["bare"].cpu, times[name].cpu)
        figures.append(
            figure_of(
                f"{name} ÷ bare step, {title}",
                ratios(times["bare"].wall, times[name].wall),
                wanted=wanted if headline else None,
                note=f"by CPU time {median(cpu):.3f}",
                details={
                    "images_per_epoch": [data.train.num_images, data.val.num_images],
                    "photos": photos.title,
                    "wall_seconds": {key: spent.wall for key, spent in times.items()},
                    "cpu_seconds": {key: spent.cpu for key, spent in times.items()},
                },
            )
        )
    return figures


def resize_for(options: argparse.Namespace) -> int:
    return options.resize or options.crop * 8 // 7


def _open(options: argparse.Namespace, photos: Photos, scratch: Path) -> _Data:
    names, labels = photos.files(train_only=True)
    source = FileImages.of(photos.folder, names)
    store = ensure_store(source, resize_for(options), folder=scratch / "cache")
    rows = np.arange(len(labels))
    in_val = rows % 5 == 4  # files are listed class by class: a fifth of each
    fit_rows, val_rows = rows[~in_val], rows[in_val]
    if options.images:
        fit_rows = np.resize(fit_rows, options.images * 4 // 5)
        val_rows = np.resize(val_rows, options.images // 5)
    preprocessing = Preprocessing(
        crop=options.crop, flip=True, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    device = torch.device(options.device)
    train = TrainBatches(
        store.images,
        labels,
        fit_rows,
        preprocessing,
        batch_size=options.batch,
        pairing="split_batch",
        seed=options.seed,
        device=device,
        channels_last=True,
    )
    val = EvalBatches(
        store.images,
        labels,
        val_rows,
        preprocessing,
        batch_size=EVAL_BATCH[options.device],
        device=device,
        channels_last=True,
    )
    return _Data(train, val, len(photos.classes))


def _backbone(options: argparse.Namespace, classes: int) -> Backbone:
    return build_backbone(options.backbone, classes, seed=options.seed)


def _bare(options: argparse.Namespace, data: _Data) -> Callable[[], None]:
    module = _backbone(options, data.classes).module.to(options.device)
    module = module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9, weight_decay=1e-4)
    train = [(images.clone(), labels.clone()) for images, labels in data.train.epoch(1)]
    val = [(images.clone(), labels.clone()) for images, labels in data.val]
    amp = {"device_type": "cuda", "dtype": torch.bfloat16, "enabled": options.device == "cuda"}

    def epoch() -> None:
        module.train()
        for images, labels in train:
            with torch.autocast(**amp):
                output = module(images)
            loss = F.cross_entropy(output.float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        module.eval()
        with torch.no_grad(), torch.autocast(**amp):
            for images, _ in val:
                module(images)

    return epoch


def _fit(
    options: argparse.Namespace, data: _Data, settings: TrainConfig, scratch: Path
) -> Callable[[], object]:
    device = torch.device(options.device)

    def validate(module: torch.nn.Module) -> Evaluation:
        return evaluate(module, data.val, data.classes, device=device, amp=settings.amp)

    records = fit(
        _backbone(options, data.classes),
        data.train,
        settings,
        device=device,
        evaluate=validate,
        checkpoints=Checkpoints(scratch / "fit"),
    )
    return lambda: next(records)


def _searched(
    options: argparse.Namespace, photos: Photos, scratch: Path, stack: contextlib.ExitStack
) -> Callable[[], object] | None:
    if options.images:
        print("  run_trial is left out: --images repeats images, which no recipe does")
        return None
    try:
        from data_path_parts.trial_of_search import reports
    except ImportError as error:
        print(f"  run_trial is left out: {error}")
        return None
    opened: Iterator[object] = stack.enter_context(reports(options, photos, scratch))
    return lambda: next(opened)
