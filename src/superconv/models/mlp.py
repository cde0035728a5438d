"""A multi-layer perceptron on flattened images, with or without BatchNorm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm1d
from .initialisation import initialise
from .inputs import check_images, image_shape


class MLP(nn.Module):
    """Linear (BatchNorm) ReLU for every hidden width, then a linear classifier.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        image_size: side, or (height, width), of the images.
        widths: hidden units per layer.
        batch_norm: BatchNorm before every ReLU.
    Reference: none in the paper; a family of its own for the verdict's thresholds.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        image_size: int | tuple[int, int] | None = None,
        widths: Sequence[int] = (256, 128),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_shape(image_size, 28)
        layers: list[nn.Module] = []
        inputs = in_channels * self.image_size[0] * self.image_size[1]
        for width in widths:
            layers.append(nn.Linear(inputs, width))
            if batch_norm:
                layers.append(NormalisedBatchNorm1d(width))
            layers.append(nn.ReLU(inplace=True))
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, num_classes)
        initialise(self, linear="msra")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, height, width) -> logits (N, num_classes)."""
        check_images(images, self.in_channels, self.image_size)
        return self.classifier(self.layers(images.flatten(1)))
