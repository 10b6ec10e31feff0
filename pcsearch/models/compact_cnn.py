"""`compact_cnn`: a small residual network for images of 32 to 64 pixels, made for one CPU core."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut (He et al., 2016).

    With a stride, the shortcut averages before its 1x1 convolution, so no pixel is skipped
    (He et al., 2019, ResNet-D).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(channels_in, channels_out, 1, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, maps: Tensor) -> Tensor:
        """`[B, channels_in, H, W]` to `[B, channels_out, ceil(H/stride), ceil(W/stride)]`."""
        residual = F.relu(self.norm1(self.conv1(maps)), inplace=True)
        return F.relu(self.norm2(self.conv2(residual)) + self.shortcut(maps), inplace=True)


class CompactCNN(nn.Module):
    """Stem at half resolution, three residual blocks of 1x, 2x and 4x `width`, mean, linear.

    `width` 16 has about 80,000 parameters; the time of a step grows with its square.
    Images `[B, 3, H, W]` of any size from 8 pixels; logits `[B, num_classes]`.
    """

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"`width` is {width}, but must be at least 1")
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.stages = nn.Sequential(
            ResidualBlock(width, width, stride=1),
            ResidualBlock(width, 2 * width, stride=2),
            ResidualBlock(2 * width, 4 * width, stride=2),
        )
        self.head = nn.Linear(4 * width, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.stages(self.stem(images))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits
