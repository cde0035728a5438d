"""The companion's residual networks: projection shortcuts, and no ReLU behind the sum."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2 if kernel != 2 else 0)
    return nn.Sequential(convolution, NormalisedBatchNorm2d(outputs))


class ProjectionBlock(nn.Module):
    """out = C(3,s,o) BN S ReLU C(3,1,o) BN S (x) + shortcut; where s = 2 the shortcut is C(2,2,o) BN S, else x.

    Args:
        inputs, outputs: channels; they differ in stride-2 blocks alone.
        stride: 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.second = _convolution(outputs, outputs, 3, 1)
        self.shortcut = _convolution(inputs, outputs, 2, 2) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return self.second(F.relu(self.first(x), inplace=True)) + self.shortcut(x)


class CompanionResNet(nn.Module):
    """Stem C(3,1,16) BN S ReLU, three groups of `ProjectionBlock`, global average pool, linear classifier.

    Parameters: 860,874 with widths 16, 32, 64 and 8, 9, 9 blocks (866,724 at 100 classes); 5,903,626 with widths
    16, 64, 256 and 5 blocks each, the "wide ResNet" of the paper (which is not the usual WRN-32-4).

    Args:
        num_classes: outputs.
        in_channels: of the images.
        widths: of the three groups; the first is the stem's, too.
        blocks: of the three groups; groups 2 and 3 begin with a stride-2 block.
    Reference: gResnet56, c100Resnet56 and wide32cifar of the companion repository (arXiv 1803.09820); msra filler
        everywhere, averaging fraction .9.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        widths: Sequence[int] = (16, 32, 64),
        blocks: Sequence[int] = (8, 9, 9),
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks) or not widths or min(*widths, *blocks) < 1:
            raise ValueError(
                f"widths, blocks: got {widths} and {blocks}, allowed are positive numbers, one pair a group"
            )
        self.in_channels, self.multiple = in_channels, 2 ** (len(widths) - 1)
        self.stem = _convolution(in_channels, widths[0], 3, 1)
        body: list[nn.Module] = []
        inputs = widths[0]
        for group, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for index in range(count):
                body.append(ProjectionBlock(inputs, width, 2 if group > 0 and index == 0 else 1))
                inputs = width
        self.body = nn.Sequential(*body)
        self.classifier = nn.Linear(inputs, num_classes)
        initialise(self, convolutions="msra", linear="msra")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W), H and W multiples of 4 -> logits (N, num_classes)."""
        check_images(images, self.in_channels, multiple=self.multiple)
        return self.classifier(self.body(F.relu(self.stem(images), inplace=True)).mean((2, 3)))
