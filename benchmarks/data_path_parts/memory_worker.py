"""A process as a worker is one: an open store, a network, a few steps, then many batches."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcsearch.data.cache import ImageStore, ensure_store

STEPS = 6
BATCH = 32
CLASSES = 10


@dataclass(frozen=True)
class NoiseImages:
    """Images of noise, each another one; nothing is kept in memory."""

    count: int
    side: int

    @property
    def key(self) -> str:
        return hashlib.sha256(f"noise {self.count} {self.side}".encode()).hexdigest()

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"noise {index}"

    def image(self, index: int) -> Image.Image:
        noise = np.random.default_rng(index).integers(0, 256, (self.side, self.side, 3), np.uint8)
        return Image.fromarray(noise)


def noise_store(rows: int, side: int, cache: Path) -> ImageStore:
    """The store of so many rows, built if it is not there yet."""
    return ensure_store(NoiseImages(rows, side), side, folder=cache)


def main(rows: int, side: int, cache: Path, seed: int, images: int) -> None:
    """Train a few steps, then draw batches of at least `images` images in whole epochs."""
    import torch

    from pcsearch.data.loaders import TrainBatches
    from pcsearch.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
    from pcsearch.models.registry import build_backbone
    from pcsearch.training.config import TrainConfig
    from pcsearch.training.trainer import fit

    torch.set_num_threads(1)
    store = noise_store(rows, side, cache)
    preprocessing = Preprocessing(
        crop=side * 7 // 8, flip=True, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    labels = np.arange(rows) % CLASSES

    def batches(indices: np.ndarray) -> TrainBatches:
        return TrainBatches(
            store.images,
            labels,
            indices,
            preprocessing,
            batch_size=BATCH,
            pairing="split_batch",
            seed=seed,
            device="cpu",
            channels_last=True,
        )

    settings = TrainConfig(epochs=1, seed=seed, lr=0.001, batch_size=BATCH, channels_last=True)
    backbone = build_backbone("squeezenet1_1", CLASSES, seed=seed)
    few = np.linspace(0, rows - 1, STEPS * BATCH).astype(np.int64)
    for _ in fit(backbone, batches(few), settings, device="cpu", evaluate=None):
        pass
    whole = batches(np.arange(rows))
    for epoch in range(1, -(-images // rows) + 1):
        for _ in whole.epoch(epoch):
            pass
    _give_back_freed_memory()
    print("ready", flush=True)
    sys.stdin.read()  # until the parent has looked; store, network and batches stay alive
    del whole, backbone


def _give_back_freed_memory() -> None:
    """What the allocator keeps of freed memory differs by 100 MB from run to run, by chance."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
