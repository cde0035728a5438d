"""LeNet as in Caffe's MNIST example, with or without BatchNorm, in any width."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from .batch_norm import NormalisedBatchNorm1d, NormalisedBatchNorm2d
from .initialisation import initialise
from .inputs import check_images, image_shape, size_text


class LeNet(nn.Module):
    """C(5,1,20) max-pool 2, C(5,1,50) max-pool 2, FC 500 ReLU, FC; there is no ReLU behind the convolutions.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        image_size: side, or (height, width), of the images; the first linear layer fits this size alone.
        widths: channels of the two convolutions and units of the hidden layer.
        batch_norm: BatchNorm after both convolutions and the hidden linear layer (not in the paper).
    Raises: ValueError: images too small for two 5x5 convolutions with pooling.
    Reference: the LeNet of arXiv 1708.07120v3's MNIST experiments is Caffe's example network: xavier filler, biases 0,
        431,080 parameters for 28x28 grey images.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 1,
        image_size: int | tuple[int, int] | None = None,
        widths: tuple[int, int, int] = (20, 50, 500),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_shape(image_size, 28)
        height, width = (((side - 4 + 1) // 2 - 4 + 1) // 2 for side in self.image_size)
        if height < 1 or width < 1:
            raise ValueError(
                f"pictures of {size_text(self.image_size)} pixels: LeNet needs at least 13x13; enlarge the images"
            )
        first, second, hidden = widths

        def norm(layer: type[nn.Module], channels: int) -> nn.Module:
            return layer(channels) if batch_norm else nn.Identity()

        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(in_channels, first, 5),
                norm1=norm(NormalisedBatchNorm2d, first),
                pool1=nn.MaxPool2d(2, ceil_mode=True),
                conv2=nn.Conv2d(first, second, 5),
                norm2=norm(NormalisedBatchNorm2d, second),
                pool2=nn.MaxPool2d(2, ceil_mode=True),
            )
        )
        self.hidden = nn.Linear(second * height * width, hidden)
        self.norm = norm(NormalisedBatchNorm1d, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.classifier = nn.Linear(hidden, num_classes)
        initialise(self, convolutions="xavier", linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, height, width) -> logits (N, num_classes)."""
        check_images(images, self.in_channels, self.image_size)
        return self.classifier(self.relu(self.norm(self.hidden(self.features(images).flatten(1)))))
