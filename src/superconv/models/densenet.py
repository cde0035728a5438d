"""The companion's DenseNet-40 with growth 12 and dropout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images


class DenseLayer(nn.Module):
    """y = dropout(C(k,1,o) ReLU S BN (x)): of a dense block, appended to its input, or of a transition.

    Args:
        inputs, outputs: channels of the convolution.
        kernel: 3 in dense blocks, 1 in transitions.
        dropout: probability of a zero.
        append: whether the input stays in front of the output.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dropout: float, *, append: bool) -> None:
        super().__init__()
        self.norm = NormalisedBatchNorm2d(inputs)
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.append = append

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W), or (N, inputs + outputs, H, W)."""
        y = self.dropout(self.convolution(F.relu(self.norm(x), inplace=True)))
        return torch.cat((x, y), dim=1) if self.append else y


class DenseNet(nn.Module):
    """Pre-convolution C(3,1,16), three dense blocks with transitions between them, BN S ReLU, average pool, classifier.

    Twelve layers of growth 12 a block: 16 -> 160 -> 304 -> 448 channels; 1,019,722 parameters at 10 classes.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        layers: per dense block.
        growth: channels that a layer adds.
        dropout: after every convolution of blocks and transitions; .2 in the file for all runs.
    Raises: ValueError: layers or growth below 1.
    Reference: genDensenet40 of the companion repository (arXiv 1803.09820); no convolution has a bias, averaging
        fraction .999.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        layers: int = 12,
        growth: int = 12,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if layers < 1 or growth < 1:
            raise ValueError(f"layers, growth: got {layers} and {growth}, allowed are integers from 1")
        self.in_channels = in_channels
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        body: list[nn.Module] = []
        channels = 16
        for block in range(3):
            if block:
                body += [
                    DenseLayer(channels, channels, 1, dropout, append=False),
                    nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
                ]
            for _ in range(layers):
                body.append(DenseLayer(channels, growth, 3, dropout, append=True))
                channels += growth
        self.body = nn.Sequential(*body)
        self.norm = NormalisedBatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self, convolutions="msra", linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) -> logits (N, num_classes)."""
        check_images(images, self.in_channels)
        return self.classifier(F.relu(self.norm(self.body(self.stem(images))), inplace=True).mean((2, 3)))
