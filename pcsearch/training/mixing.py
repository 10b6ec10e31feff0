"""Mixup and CutMix: each image of a batch is mixed with another one of the same batch.

A batch draws one share and, for CutMix, one box. Zhang, Cisse, Dauphin, Lopez-Paz, "mixup", ICLR
2018. Yun, Han, Oh, Chun, Choe, Yoo, "CutMix", ICCV 2019. With both, each batch takes one of them
with equal probability.

Random numbers come from PyTorch's generator on the CPU, which `fit` seeds for each epoch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Beta

from pcsearch.training.config import TrainConfig


def mixed(images: Tensor, labels: Tensor, settings: TrainConfig) -> tuple[Tensor, Tensor, float]:
    """The batch as `settings` mix it: images [B, 3, H, W], labels, and the share of the first.

    Labels are [B, 2], those of the image and of its partner, with their shares `share` and
    1 − `share`. Without mixing, and for a batch of one image, images and labels [B] come back as
    they are, with a share of 1. The given images never change.
    """
    if len(labels) < 2 or not (settings.mixup or settings.cutmix):
        return images, labels, 1.0
    cuts = settings.cutmix > 0 and (settings.mixup == 0 or bool(torch.rand(()) < 0.5))
    alpha = settings.cutmix if cuts else settings.mixup
    share = float(Beta(alpha, alpha).sample())
    partners = torch.randperm(len(labels)).to(labels.device)
    pairs = torch.stack([labels, labels[partners]], dim=1)
    if not cuts:
        return torch.lerp(images[partners], images, share), pairs, share
    rows, columns, share = _box(images.shape[-2], images.shape[-1], share)
    images = images.clone()
    images[:, :, rows, columns] = images[partners][:, :, rows, columns]
    return images, pairs, share


def _box(height: int, width: int, share: float) -> tuple[slice, slice, float]:
    """A box that covers about 1 − share of an image, and the share that it leaves exactly.

    Its centre is uniform over the image, and what lies outside is cut off.
    """
    side = math.sqrt(1 - share)
    rows = _interval(height, round(height * side))
    columns = _interval(width, round(width * side))
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return rows, columns, 1 - covered / (height * width)


def _interval(length: int, size: int) -> slice:
    centre = int(torch.randint(length, ()))
    return slice(max(0, centre - size // 2), min(length, centre - size // 2 + size))
