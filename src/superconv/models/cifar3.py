"""The companion's 3-layer CIFAR network: Caffe's "cifar10_full" with local response normalisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..near_names import near
from .initialisation import gaussian, initialise
from .inputs import check_images, image_shape, size_text

FILLERS = ("msra", "xavier", "gaussian")
FILE_STDS = (1e-4, 0.01, 0.01, 0.01)  # of conv1, conv2, conv3 and the classifier


def _pooled(side: int) -> int:
    return max(-(-(side - 3) // 2) + 1, 0)


class WithinChannelNorm(nn.Module):
    """Local response normalisation over a square of pixels of one channel.

        y = x / (1 + alpha mean(x^2 over size x size pixels, zeros outside the map)) ** beta

    Args:
        size: side of the square, odd.
        alpha, beta: as in the formula.
    Reference: Caffe's LRN layer with norm_region WITHIN_CHANNEL; size 3, alpha 5e-5, beta .75 in cifar10_full.
    Differs: torch's LocalResponseNorm runs across channels.
    """

    def __init__(self, size: int = 3, alpha: float = 5e-5, beta: float = 0.75) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        energy = F.avg_pool2d(x * x, self.size, stride=1, padding=self.size // 2)
        return x * (1.0 + self.alpha * energy).pow(-self.beta)


class Cifar3(nn.Module):
    """Three 5x5 convolutions (32, 32, 64) with 3x3 stride-2 pooling (max, average, average), linear classifier.

        C32 max-pool ReLU LRN C32 ReLU avg-pool LRN C64 ReLU avg-pool FC              no BatchNorm

    In the file the classifier's weight has 250 times the common weight decay: `build_optimizer(...,
    overrides={"classifier.weight": {"weight_decay": 250 * weight_decay}})`.

    Args:
        num_classes: outputs.
        in_channels: of the images.
        image_size: side, or (height, width), of the images.
        filler: "msra" or "xavier" of the convolutions, with an "xavier" classifier; "gaussian": the file's widths of
            1e-4, .01, .01, and .01 for the classifier, which are made for pixels up to 255 (standardised images hardly
            come through them).
    Reference: cifar3.prototxt of the companion repository, github.com/lnsmith54/hyperParam1 (arXiv 1803.09820); layer
        order and LRN settings from BVLC/caffe, examples/cifar10/cifar10_full_train_test.prototxt.
    Differs: the default filler is not the file's.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        image_size: int | tuple[int, int] | None = None,
        filler: str = "msra",
    ) -> None:
        super().__init__()
        if filler not in FILLERS:
            raise ValueError(f"filler: got {filler!r}; {near(filler, FILLERS)}")
        self.in_channels, self.image_size = in_channels, image_shape(image_size, 32)
        height, width = (_pooled(_pooled(_pooled(side))) for side in self.image_size)
        if height < 1 or width < 1:
            raise ValueError(
                f"pictures of {size_text(self.image_size)} pixels: cifar3 needs at least 8x8; enlarge the images"
            )
        self.conv1 = nn.Conv2d(in_channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.norm = WithinChannelNorm()
        self.classifier = nn.Linear(64 * height * width, num_classes)
        if filler == "gaussian":
            layers: tuple[nn.Conv2d | nn.Linear, ...] = (self.conv1, self.conv2, self.conv3, self.classifier)
            for layer, std in zip(layers, FILE_STDS, strict=True):
                gaussian(layer, std)
        else:
            initialise(self, convolutions=filler, linear="xavier")

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, in_channels, height, width) -> logits (N, num_classes)."""
        check_images(images, self.in_channels, self.image_size)
        x = self.norm(F.relu(F.max_pool2d(self.conv1(images), 3, 2, ceil_mode=True), inplace=True))
        x = self.norm(F.avg_pool2d(F.relu(self.conv2(x), inplace=True), 3, 2, ceil_mode=True, count_include_pad=False))
        x = F.avg_pool2d(F.relu(self.conv3(x), inplace=True), 3, 2, ceil_mode=True, count_include_pad=False)
        return self.classifier(x.flatten(1))
