"""The CIFAR ResNets of the paper: two convolutions a block, an average-pool shortcut, zeros for new channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images


def _convolution(inputs: int, outputs: int, stride: int, batch_norm: bool) -> nn.Sequential:
    norm = NormalisedBatchNorm2d(outputs) if batch_norm else nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), norm)


class Block(nn.Module):
    """Standard block, out = ReLU(y + x), or downsample block, out = concat(ReLU(y + avgpool(x)), zeros).

        y = C(3,s,c) BN S ReLU C(3,1,c) BN S (x)          s = 2 in a downsample block, which still works on c channels

    Args:
        channels: of the input, c; a downsample block returns 2c at half the size.
        downsample: which of the two.
        batch_norm: False leaves all BatchNorm out.
        shortcut: False leaves the shortcut out (a plain network).
        dropout: after the BatchNorm of both convolutions.
    """

    def __init__(
        self, channels: int, *, downsample: bool, batch_norm: bool = True, shortcut: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.channels, self.shortcut = channels, shortcut
        self.first = _convolution(channels, channels, 2 if downsample else 1, batch_norm)
        self.second = _convolution(channels, channels, 1, batch_norm)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        # Caffe rounds pooled sizes up and averages over the pixels that a window really covers
        # (include_pad False: without padding the same, and `training.compiled` says why it has to be there)
        pool = nn.AvgPool2d(3, stride=2, padding=0, ceil_mode=True, count_include_pad=False)
        self.pool = pool if downsample else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, c, H, W) -> the same, or (N, 2c, H/2, W/2)."""
        y = self.dropout(self.second(F.relu(self.dropout(self.first(x)), inplace=True)))
        if self.shortcut:
            y = y + (x if self.pool is None else self.pool(x))
        y = F.relu(y)
        # one padded copy, in the memory format of its input, in place of a concatenation with a tensor of zeros
        return y if self.pool is None else F.pad(y, (0, 0, 0, 0, 0, self.channels))


class ResNet(nn.Module):
    """Stem C(3,1,16) BN S ReLU, three stages of n blocks at 16, 32 and 64 channels, average pool, linear classifier.

    The first block of stages 2 and 3 is a downsample block. Layers: 6n + 2. Parameters at 10 classes: 224,042 (n = 3,
    ResNet-20), 808,682 (n = 9, ResNet-56), 1,685,642 (n = 18, ResNet-110). ResNet-8 (n = 1) is not in the paper; half
    of its last 64 channels are zeros.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        blocks: n, blocks per stage.
        batch_norm: False leaves all BatchNorm out, for the negative case.
        shortcut: False leaves all shortcuts out, for the negative case.
        dropout: probability after the BatchNorm of every block convolution; .2 in the file Resnet56Dropout.
    Reference: Resnet20Cifar, Resnet56Cifar and Resnet110Cifar of the repository of arXiv 1708.07120v1: msra filler for
        convolutions, xavier for the classifier, biases in every convolution (without effect before BatchNorm).
    Differs: the last pooling takes the whole map at any image size; at 32 pixels it is the paper's 8x8. Torch's
        dropout draws another mask than Caffe's.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        blocks: int = 3,
        batch_norm: bool = True,
        shortcut: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.multiple = 4  # two halvings, which shortcut and convolution round alike on even sizes alone
        if blocks < 1:
            raise ValueError(f"blocks: got {blocks}, a stage needs at least one")
        self.in_channels = in_channels
        self.stem = _convolution(in_channels, 16, 1, batch_norm)
        body: list[nn.Module] = []
        for stage, width in enumerate((16, 32, 64)):
            for index in range(blocks):
                down = stage > 0 and index == 0
                channels = width // 2 if down else width
                body.append(Block(channels, downsample=down, batch_norm=batch_norm, shortcut=shortcut, dropout=dropout))
        self.body = nn.Sequential(*body)
        self.classifier = nn.Linear(64, num_classes)
        initialise(self, convolutions="msra", linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W), H and W multiples of 4 -> logits (N, num_classes)."""
        check_images(images, self.in_channels, multiple=self.multiple)
        return self.classifier(self.body(F.relu(self.stem(images), inplace=True)).mean((2, 3)))
