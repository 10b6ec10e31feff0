"""Bilinear CNN: second-order pooling of a convolutional backbone's last feature maps.

Lin, RoyChowdhury, Maji, "Bilinear CNN Models for Fine-Grained Visual Recognition", ICCV 2015; the
symmetric form, in which both streams are one network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.models.feature_maps import FeatureMaps

SQRT_FLOOR = 1e-10
"""Added under the signed square root, whose slope at zero would be infinite."""


def bilinear_pool(maps: Tensor) -> Tensor:
    """Outer product of the features with themselves, averaged over positions.

    `maps` `[B, C, H, W]` gives `[B, C * C]`; in float32 at least, also under autocast, because
    squares of activations soon leave the range of half precision.
    """
    with torch.autocast(device_type=maps.device.type, enabled=False):
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(2)
        return (wide @ wide.transpose(1, 2) / wide.shape[2]).flatten(1)


def signed_sqrt(values: Tensor) -> Tensor:
    """sign(x) * sqrt(|x|), with a finite slope everywhere and slope 0 at 0."""
    return values.sign() * (values.abs() + SQRT_FLOOR).sqrt()


class BilinearCNN(nn.Module):
    """Feature maps, outer product, signed square root, L2 normalisation, linear.

    Maps of more than `channels` channels first pass a 1x1 convolution to that number: the
    classifier has `channels ** 2 * num_classes` weights. VGG-16's 512 go in as they are.
    Images `[B, 3, H, W]`; logits `[B, num_classes]`.
    """

    def __init__(self, trunk: FeatureMaps, num_classes: int, channels: int = 512) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"`channels` is {channels}, but must be at least 1")
        self.trunk = trunk
        used = min(channels, trunk.channels)
        self.project: nn.Module = nn.Identity()
        if used < trunk.channels:
            self.project = nn.Conv2d(trunk.channels, used, kernel_size=1)
        self.head = nn.Linear(used**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        pooled = bilinear_pool(self.project(self.trunk(images)))
        logits: Tensor = self.head(F.normalize(signed_sqrt(pooled)))
        return logits
