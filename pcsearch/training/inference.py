"""Inference: the probabilities that trained networks give image files."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from pcsearch.cpus import usable_cpus
from pcsearch.data.cache.metadata import resized
from pcsearch.data.dataset import UInt8Array
from pcsearch.data.decode import read_image, values_of
from pcsearch.data.loaders.pixels import Normalizer
from pcsearch.data.pixel_range import PixelRange, range_fault
from pcsearch.errors import UserError
from pcsearch.training.export import NetworkFacts

Float64Array = npt.NDArray[np.float64]
_Decoded = tuple[UInt8Array, PixelRange | None] | str

_BATCH = {"cpu": 32, "cuda": 256}


@dataclass(frozen=True)
class Answer:
    """What the networks say of one file.

    Attributes:
        file: The image file.
        probabilities: [K, N] of K networks; None if the file cannot be used.
        error: Why it cannot be used.
        values: The stored values of an image of more than 8 bits.
    """

    file: Path
    probabilities: Float64Array | None
    error: str | None = None
    values: PixelRange | None = None

    def likeliest(self, count: int = 5, network: int = 0) -> list[tuple[int, float]]:
        """The likeliest classes of a network, each with its probability; ties by class number."""
        if self.probabilities is None:
            return []
        own = self.probabilities[network]
        order = np.argsort(-own, kind="stable")[:count]
        return [(int(number), float(own[number])) for number in order]


def usual_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def deep_pixels(answers: Sequence[Answer]) -> str | None:
    """A sentence if the images of more than 8 bits, together, come out nearly black or cut off."""
    found = [(one.file.name, one.values) for one in answers if one.values is not None]
    return range_fault(found, len(answers))


def classify(
    networks: Sequence[nn.Module],
    facts: NetworkFacts,
    files: Sequence[Path],
    device: torch.device | None = None,
) -> Iterator[Answer]:
    """The answers of K networks to image files, in the files' order, a batch at a time.

    Files are decoded as data sets are, with the size, crop and normalisation of `facts`, which all
    networks share. Threads decode the next batch meanwhile. A file that cannot be read is an answer
    with an error.

    Raises:
        UserError: a network gives values that are not finite.
    """
    device = device or usual_device()
    placed = [module.to(device).eval() for module in networks]
    normalize = Normalizer(facts.preprocessing, device, channels_last=False)
    Image.init()  # loading the plugins is not safe in several threads at once
    starts = [*range(0, len(files), _BATCH[device.type]), len(files)]
    batches = [files[start:stop] for start, stop in pairwise(starts)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # broken EXIF data: once a file
        with closing(_decoded(batches, facts)) as decoded:
            for batch, found in zip(batches, decoded, strict=True):
                yield from _answers(placed, normalize, facts, batch, found, device)


def _decoded(batches: Sequence[Sequence[Path]], facts: NetworkFacts) -> Generator[list[_Decoded]]:
    """The pixels of each batch's files, or why there are none; one batch ahead."""
    pool = ThreadPoolExecutor(usable_cpus(), thread_name_prefix="decode")
    try:
        waiting: list[list[Future[_Decoded]]] = []
        for batch in batches:
            waiting.append([pool.submit(_pixels, file, facts) for file in batch])
            if len(waiting) > 1:
                yield [future.result() for future in waiting.pop(0)]
        for futures in waiting:
            yield [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _pixels(file: Path, facts: NetworkFacts) -> _Decoded:
    """The central crop of a file, uint8 [crop, crop, 3], and deep values; or why there is none."""
    try:
        image = resized(read_image(file), facts.resize, facts.aspect)
    except (OSError, ValueError) as error:  # ValueError: a zero byte within the name
        return str(error)
    crop = facts.preprocessing.crop
    margin = round((facts.resize - crop) / 2.0)
    box = (margin, margin, margin + crop, margin + crop)
    return np.asarray(image.crop(box), dtype=np.uint8), values_of(image)


@torch.no_grad()
def _answers(
    networks: Sequence[nn.Module],
    normalize: Normalizer,
    facts: NetworkFacts,
    files: Sequence[Path],
    found: Sequence[_Decoded],
    device: torch.device,
) -> list[Answer]:
    usable = [(at, one) for at, one in enumerate(found) if not isinstance(one, str)]
    given = np.empty((len(networks), len(usable), len(facts.class_names)))
    if usable:
        crops = torch.from_numpy(np.stack([pixels for _, (pixels, _) in usable])).to(device)
        for number, network in enumerate(networks):
            # each network gets its own tensor: a first layer may work in place
            logits = network(normalize(crops)).double()
            given[number] = logits.softmax(dim=1).cpu().numpy()
    if not np.isfinite(given).all():
        raise UserError(
            f"the network {facts.backbone} of {facts.trial or 'this folder'} gives values that are "
            "not finite: its training had diverged; choose another arm with --arm"
        )
    answers = [Answer(file, None, str(one)) for file, one in zip(files, found, strict=True)]
    for number, (at, (_, values)) in enumerate(usable):
        answers[at] = Answer(files[at], given[:, number], None, values)
    return answers
