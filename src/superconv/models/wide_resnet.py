"""The usual wide ResNet, WRN-depth-k: pre-activation blocks, widths 16k, 32k and 64k."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images


class WideBlock(nn.Module):
    """y = BN ReLU C(3,s,o) BN ReLU dropout C(3,1,o) (x), added to the shortcut.

    Where channels or size change the shortcut is C(1,s,o) of the activated input, and both paths share that activation.

    Args:
        inputs, outputs: channels.
        stride: of the first convolution.
        dropout: between the convolutions.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = NormalisedBatchNorm2d(inputs), NormalisedBatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        changes = inputs != outputs or stride != 1
        self.project = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        activated = F.relu(self.norm1(x))
        y = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(activated)), inplace=True)))
        return y + (x if self.project is None else self.project(activated))


class WideResNet(nn.Module):
    """Stem C(3,1,16), three groups of n blocks at 16k, 32k and 64k channels, BN ReLU, average pool, linear classifier.

    Depth 6n + 4 in the authors' count, 6n + 2 with the convolutions outside the shortcuts and the classifier: WRN-28-10
    has n = 4; WRN-32-4, as the paper is often read, n = 5 and k = 4. Parameters at 10 classes: 36,479,194
    (WRN-28-10), 7,399,130 (n = 5, k = 4). The network that the paper calls "wide ResNet" is another: `wide32`.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        blocks: n, in a group.
        widen: k.
        dropout: in every block.
    Reference: Zagoruyko and Komodakis, arXiv 1605.07146v4, Table 1 and Sec. 2.
    """

    def __init__(
        self, num_classes: int = 10, *, in_channels: int = 3, blocks: int = 5, widen: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if blocks < 1 or widen < 1:
            raise ValueError(f"blocks, widen: got {blocks} and {widen}, allowed are integers from 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout: got {dropout!r}, allowed is 0 <= dropout < 1")
        self.in_channels = in_channels
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        body: list[nn.Module] = []
        inputs = 16
        for group in range(3):
            outputs = 16 * widen * 2**group
            for index in range(blocks):
                body.append(WideBlock(inputs, outputs, 2 if group > 0 and index == 0 else 1, dropout))
                inputs = outputs
        self.body = nn.Sequential(*body)
        self.norm = NormalisedBatchNorm2d(inputs)
        self.classifier = nn.Linear(inputs, num_classes)
        initialise(self, convolutions="msra", linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) -> logits (N, num_classes)."""
        check_images(images, self.in_channels)
        return self.classifier(F.relu(self.norm(self.body(self.stem(images))), inplace=True).mean((2, 3)))
