"""The last feature maps of a convolutional network, as a network of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from pcsearch.errors import UserError

MAPS = "maps"
PROBE_SIZE = 160
"""Pixels of the image that finds the maps: Inception's last ones are then 3x3, not yet 1x1."""

_NOT_MAPS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout, nn.Dropout2d)


class FeatureMaps(nn.Module):
    """`network` up to its last spatial features: after their activation, before any last pooling.

    For VGG-16 that is conv5_3 after its ReLU. Parameters keep their names in `network`; what is
    not needed for the maps is left out. Images `[B, 3, H, W]` give maps `[B, channels, h, w]`.

    Raises:
        UserError: `network` is not convolutional, or cannot be traced.
    """

    def __init__(self, name: str, network: nn.Module, head: str) -> None:
        super().__init__()
        if any("Attention" in type(layer).__name__ for layer in network.modules()):
            raise UserError(f"features: {name} is not a convolutional backbone; try vgg16")
        node, self.channels = _last_maps(name, network, head)
        self.layers = create_feature_extractor(network, {node: MAPS}, suppress_diff_warning=True)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.layers(images)[MAPS]
        return maps


def _last_maps(name: str, network: nn.Module, head: str) -> tuple[str, int]:
    """Name of the graph node that makes the last maps, and their channels."""
    _, nodes = get_graph_node_names(network, suppress_diff_warning=True)
    before_head = nodes[: nodes.index(head)]
    probe = create_feature_extractor(
        network, {node: node for node in before_head}, suppress_diff_warning=True
    ).eval()
    with torch.no_grad():
        values = probe(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))
    modules = dict(network.named_modules())
    for node in reversed(before_head):
        value = values[node]
        spatial = isinstance(value, Tensor) and value.ndim == 4 and min(value.shape[2:]) > 1
        if spatial and not isinstance(modules.get(node), _NOT_MAPS):
            return node, value.shape[1]
    raise UserError(f"features: {name} has no spatial feature maps before its classifier")
