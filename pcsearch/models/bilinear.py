"""Bilinear CNN: second-order pooling of a convolutional backbone's last feature maps.

Lin, RoyChowdhury, Maji, "Bilinear CNN Models for Fine-Grained Visual Recognition", ICCV 2015. This
is the symmetric form: both streams are one network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcsearch.errors import UserError
from pcsearch.models.torchvision_import import feature_extraction

_MAPS = "maps"
_PROBE_SIZE = 160
"""Side in pixels of the image that finds the maps. It gives Inception last maps of 3x3, not 1x1."""

_NOT_MAPS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d)


class FeatureMaps(nn.Module):
    """`network` up to its last spatial features: after their activation, before any last pooling.

    For VGG-16 that is conv5_3 after its ReLU. Parameters keep their names in `network`; later
    layers are left out. Images `[B, 3, H, W]` give maps `[B, channels, h, w]`.

    Raises:
        UserError: `network` is not convolutional, or cannot be traced.
    """

    def __init__(self, name: str, network: nn.Module, head: str) -> None:
        super().__init__()
        if any("Attention" in type(layer).__name__ for layer in network.modules()):
            raise UserError(f"features: {name} is not a convolutional backbone; try vgg16")
        node, self.channels = _last_maps(name, network, head)
        self.layers = feature_extraction.create_feature_extractor(
            network, {node: _MAPS}, suppress_diff_warning=True
        )

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layers(images)[_MAPS]
        return maps


def _last_maps(name: str, network: nn.Module, head: str) -> tuple[str, int]:
    """Name of the graph node that makes the last maps, and their number of channels."""
    _, nodes = feature_extraction.get_graph_node_names(network, suppress_diff_warning=True)
    before_head = nodes[: nodes.index(head)]
    probe = feature_extraction.create_feature_extractor(
        network, {node: node for node in before_head}, suppress_diff_warning=True
    ).eval()
    with torch.no_grad():
        values = probe(torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE))
    modules = dict(network.named_modules())
    for node in reversed(before_head):
        value = values[node]
        spatial = isinstance(value, Tensor) and value.ndim == 4 and min(value.shape[2:]) > 1
        if spatial and not isinstance(modules.get(node), _NOT_MAPS):
            return node, value.shape[1]
    raise UserError(
        f"features: {name} has no spatial feature maps before its classifier; try vgg16"
    )


_SQRT_FLOOR = 1e-10
"""Added under the signed square root: without it, the slope at zero would be infinite."""


def bilinear_pool(maps: Tensor) -> Tensor:
    """Outer product of the features with themselves, averaged over positions.

    `maps` `[B, C, H, W]` gives `[B, C * C]`. The result is at least float32, also under autocast:
    squares of activations soon leave the range of half precision.
    """
    with torch.autocast(device_type=maps.device.type, enabled=False):
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32)).flatten(2)
        return (wide @ wide.transpose(1, 2) / wide.shape[2]).flatten(1)


def signed_sqrt(values: Tensor) -> Tensor:
    """sign(x) * sqrt(|x|), with a finite slope everywhere and slope 0 at 0."""
    return values.sign() * (values.abs() + _SQRT_FLOOR).sqrt()


class BilinearCNN(nn.Module):
    """Feature maps, outer product, signed square root, L2 normalisation, linear.

    The classifier has `channels ** 2 * num_classes` weights. So a 1x1 convolution first reduces
    maps with more than `channels` channels. VGG-16's 512 channels need none by default.
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
