"""The two networks that do not tolerate large learning rates in the paper: bottleneck ResNet-56 and ResNeXt-56."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images


def _norm(channels: int) -> NormalisedBatchNorm2d:
    return NormalisedBatchNorm2d(channels, affine=False)  # these files have no Scale layers


class BottleneckBlock(nn.Module):
    """BN ReLU C(1,s,w) BN ReLU C(3,1,w) BN ReLU C(1,1,out), added to the shortcut.

    The first block of a stage projects its un-normalised input: shortcut = C(1,s,out).

    Args:
        inputs, inner, outputs: channels.
        stride: of the first convolution and of the projection.
        groups: of the 3x3 convolution.
        project: whether it is the first block of its stage.
    """

    def __init__(self, inputs: int, inner: int, outputs: int, *, stride: int, groups: int, project: bool) -> None:
        super().__init__()
        self.norm1 = _norm(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, stride=stride)
        self.norm2 = _norm(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, padding=1, groups=groups)
        self.norm3 = _norm(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = self.conv1(F.relu(self.norm1(x), inplace=True))
        y = self.conv2(F.relu(self.norm2(y), inplace=True))
        y = self.conv3(F.relu(self.norm3(y), inplace=True))
        return y + self.shortcut(x)


class BottleneckResNet(nn.Module):
    """Stem C(3,1,16), three stages of pre-activation bottleneck blocks, BN ReLU, average pool, linear classifier.

    Outer widths 64, 128, 256; BatchNorm without learned scale and shift. Parameters at 10 classes: 586,826 with inner
    widths 16, 32, 64 (bottleneckResnet56), 581,194 with 32, 64, 128 in 32 groups (ResNeXt56).

    Args:
        num_classes: outputs.
        in_channels: of the images.
        inner: inner width of the first stage; it doubles from stage to stage.
        groups: of every 3x3 convolution.
        blocks: in every stage; 6 in the paper's networks of 56 layers.
    Reference: bottleneckResnet56 and ResNeXt56 of the repository of arXiv 1708.07120v1 (Appendix A.2): the same
        fillers as the ResNets. Both files test with the statistics of the test batch.
    Differs: the last pooling takes the whole map at any image size; at 32 pixels it is the paper's 8x8.
    """

    def __init__(
        self, num_classes: int = 10, *, in_channels: int = 3, inner: int = 16, groups: int = 1, blocks: int = 6
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"blocks: got {blocks!r}, allowed are integers from 1")
        if inner % groups:
            raise ValueError(f"groups: got {groups}, allowed are divisors of the inner width {inner}")
        self.in_channels = in_channels
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1)
        body: list[nn.Module] = []
        inputs = 16
        for stage in range(3):
            outputs = 64 * 2**stage
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                body.append(
                    BottleneckBlock(inputs, inner * 2**stage, outputs, stride=stride, groups=groups, project=index == 0)
                )
                inputs = outputs
        self.body = nn.Sequential(*body)
        self.norm = _norm(inputs)
        self.classifier = nn.Linear(inputs, num_classes)
        initialise(self, convolutions="msra", linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) -> logits (N, num_classes)."""
        check_images(images, self.in_channels)
        return self.classifier(F.relu(self.norm(self.body(self.stem(images))), inplace=True).mean((2, 3)))
