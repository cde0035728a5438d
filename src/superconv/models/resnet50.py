"""The standard ResNet-50 for ImageNet-sized pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, NormalisedBatchNorm2d(outputs))


class Bottleneck(nn.Module):
    """ReLU(C(1,1,w) BN ReLU C(3,s,w) BN ReLU C(1,1,4w) BN (x) + shortcut); a projection where the shape changes.

    Args:
        inputs: channels.
        width: w; the block returns 4w channels.
        stride: of the 3x3 convolution.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.reduce = _convolution(inputs, width, 1)
        self.spatial = _convolution(width, width, 3, stride)
        self.expand = _convolution(width, 4 * width, 1)
        changes = inputs != 4 * width or stride != 1
        self.shortcut = _convolution(inputs, 4 * width, 1, stride) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, 4 width, H / stride, W / stride)."""
        y = F.relu(self.reduce(x), inplace=True)
        y = self.expand(F.relu(self.spatial(y), inplace=True))
        return F.relu(y + self.shortcut(x), inplace=True)


class ResNet50(nn.Module):
    """Stem C(7,2,64) BN ReLU max-pool 3/2, bottleneck stages of 3, 4, 6 and 3 blocks, average pool, linear classifier.

    25,557,032 parameters at 1,000 classes. The stride of a stage is on its first 3x3 convolution, as in most of today's
    implementations; He et al. have it on the 1x1 before.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        blocks: per stage; 3, 4, 6, 3 are ResNet-50.
        width: of the first stage; it doubles from stage to stage.
    Reference: He et al., arXiv 1512.03385v1, Table 1; the network of arXiv 1708.07120v3, Fig. 6a.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        blocks: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
    ) -> None:
        super().__init__()
        if not blocks or min(blocks) < 1 or width < 1:
            raise ValueError(f"blocks, width: got {tuple(blocks)} and {width}, allowed are integers from 1")
        self.in_channels = in_channels
        self.stem = _convolution(in_channels, width, 7, 2)
        body: list[nn.Module] = []
        inputs = width
        for stage, count in enumerate(blocks):
            own = width * 2**stage
            for index in range(count):
                body.append(Bottleneck(inputs, own, 2 if stage > 0 and index == 0 else 1))
                inputs = 4 * own
        self.body = nn.Sequential(*body)
        self.classifier = nn.Linear(inputs, num_classes)
        initialise(self, convolutions="msra", linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) -> logits (N, num_classes)."""
        check_images(images, self.in_channels)
        x = F.max_pool2d(F.relu(self.stem(images), inplace=True), 3, stride=2, padding=1)
        return self.classifier(self.body(x).mean((2, 3)))
