"""Preparation: turns a stored batch into the input of a network, the whole batch at once on its device."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import DataError
from .samples import Samples

_PIXEL_MAXIMUM = 255.0


class Draws(NamedTuple):
    """The random numbers of a batch's augmentation, one entry a sample, on the CPU.

    Args:
        mirror: (B,) bool: mirror this image left to right.
        top, left: (B,) int64: where the crop begins in the padded image.
    """

    mirror: Tensor
    top: Tensor
    left: Tensor

    def part(self, start: int, stop: int) -> Draws:
        """The entries of samples `start` to `stop`."""
        return Draws(*(values[start:stop] for values in self))


@dataclass(frozen=True, eq=False)
class Preparation:
    """(x - offset) * factor in float32, then, in training only, random crops of the padded batch and mirroring.

    Make one with `per_channel`, `mean_image`, `scaled` or `identity`. Offset is subtracted before an image is moved
    or mirrored, and the padding is zero after it, as in the CIFAR experiments of He et al. (arXiv 1512.03385v1,
    Sec. 4.2) and in Caffe, which the paper's authors used. Differs from transforms that pad the raw picture: there
    the border is black, here it is the mean.

    Args:
        kind: the constructor's name, for records.
        offset, factor: in the units of the stored values; broadcast against one sample, (C, 1, 1) or (C, H, W).
        mirror: mirror each image left to right with probability 1/2.
        crop_padding: pixels of padding on every side before a crop of the original size, 0 for no crop.
    """

    kind: str
    offset: Tensor
    factor: Tensor
    mirror: bool = False
    crop_padding: int = 0

    def __post_init__(self) -> None:
        if self.crop_padding < 0:
            raise DataError(f"crop_padding {self.crop_padding} is negative; give the pixels on each side, or 0")

    @classmethod
    def per_channel(
        cls, mean: Sequence[float], std: Sequence[float], *, mirror: bool = False, crop_padding: int = 0
    ) -> Preparation:
        """(x / 255 - mean) / std with one mean and one standard deviation per channel, of pixels scaled to [0, 1].

        Raises: DataError: lengths that differ, or a standard deviation that is not positive.
        """
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise DataError(
                f"per_channel: mean {tuple(mean)}, std {tuple(std)}; give one mean and one std > 0 a channel"
            )
        offset = _PIXEL_MAXIMUM * torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1)
        factor = 1 / (_PIXEL_MAXIMUM * torch.tensor(std, dtype=torch.float64).view(-1, 1, 1))
        return cls("per_channel", offset.float(), factor.float(), mirror, crop_padding)

    @classmethod
    def mean_image(cls, image: Tensor | Samples, *, mirror: bool = False, crop_padding: int = 0) -> Preparation:
        """x - image with the pixel range 0 to 255 kept: what the paper's CIFAR networks are trained on.

        Args:
            image: (C, H, W), mean of the training images per pixel, 0 to 255; or the training samples.
            mirror: as in the class.
            crop_padding: as in the class.
        Raises: DataError: not three dimensions, or samples that are a Dataset.
        Reference: arXiv 1708.07120v3, the authors' published Caffe files (`mean.binaryproto`, no scale).
        """
        if isinstance(image, Samples):
            image = image.mean_image()
        if image.ndim != 3:
            raise DataError(f"mean_image: got shape {tuple(image.shape)}; give one image (C, H, W)")
        return cls("mean_image", image.detach().float().clone(), torch.ones(1, 1, 1), mirror, crop_padding)

    @classmethod
    def scaled(cls, factor: float = 1 / 256, *, mirror: bool = False, crop_padding: int = 0) -> Preparation:
        """x * factor; by default 1/256, as Caffe's LeNet has it."""
        return cls("scaled", torch.zeros(1, 1, 1), torch.full((1, 1, 1), factor), mirror, crop_padding)

    @classmethod
    def identity(cls, *, mirror: bool = False, crop_padding: int = 0) -> Preparation:
        """x as float32: for inputs that are prepared already."""
        return cls("identity", torch.zeros(1, 1, 1), torch.ones(1, 1, 1), mirror, crop_padding)

    @property
    def augments(self) -> bool:
        """Whether training batches are changed at random."""
        return self.mirror or self.crop_padding > 0

    def replace(self, **changes: Any) -> Preparation:
        """The same with other `mirror` or `crop_padding`."""
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device | str) -> Preparation:
        """The same with its tensors on `device`."""
        return dataclasses.replace(self, offset=self.offset.to(device), factor=self.factor.to(device))

    def to_dict(self) -> dict[str, Any]:
        """Plain values that tell two preparations apart; a mean image is named by its SHA-256."""
        return {
            "kind": self.kind,
            "offset": _plain(self.offset),
            "factor": _plain(self.factor),
            "mirror": self.mirror,
            "crop_padding": self.crop_padding,
        }

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Random numbers for `count` samples. Always the same amount, so that one switch moves no other's draws."""
        sides = 2 * self.crop_padding + 1
        place = generator.device  # torch's default device may be another
        mirror = torch.rand(count, generator=generator, device=place) < 0.5
        corner = torch.rand(2, count, generator=generator, device=place)
        top, left = (corner * sides).to(torch.int64).clamp_(max=sides - 1)
        return Draws(mirror if self.mirror else torch.zeros_like(mirror), top, left)

    def __call__(self, batch: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The prepared batch, float32; augmented where a generator (on the CPU) is given.

        Args:
            batch: (B, C, H, W) as stored; without augmentation any shape against which offset broadcasts.
            generator: source of the random numbers; the result is a pure function of the batch and its state.
        Raises: DataError: a shape that does not fit.
        """
        if generator is None or not self.augments:
            return self.apply(batch)
        return self.apply(batch, self.draw(len(batch), generator))

    def apply(self, batch: Tensor, draws: Draws | None = None) -> Tensor:
        """The prepared batch, augmented by the given draws, one entry a sample."""
        prepared = self._normalised(batch)
        if draws is None or not self.augments:
            return prepared
        if batch.ndim != 4:
            raise DataError(f"mirror and crop_padding need pictures (B, C, H, W), got shape {tuple(batch.shape)}")
        draws = Draws(*(values.to(batch.device, non_blocking=True) for values in draws))
        if self.crop_padding == 0:
            return torch.where(draws.mirror.view(-1, 1, 1, 1), prepared.flip(-1), prepared)
        return self._cropped(prepared, draws)

    def _normalised(self, batch: Tensor) -> Tensor:
        values = batch.to(torch.float32, copy=True)
        if self.kind == "identity":
            return values
        try:
            return values.sub_(self.offset).mul_(self.factor)
        except RuntimeError as error:
            raise DataError(
                f"{self.kind}: a batch of shape {tuple(batch.shape)} does not fit an offset of shape "
                f"{tuple(self.offset.shape)}; make the preparation for this data"
            ) from error

    def _cropped(self, prepared: Tensor, draws: Draws) -> Tensor:
        """Crop and mirror in one gather: 5x the speed of indexing with four index tensors."""
        samples, channels, height, width = prepared.shape
        padded = F.pad(prepared, (self.crop_padding,) * 4)
        across = torch.arange(width, device=prepared.device)
        columns = torch.where(draws.mirror[:, None], across.flip(0), across) + draws.left[:, None]
        rows = torch.arange(height, device=prepared.device) + draws.top[:, None]
        flat = (rows * padded.shape[-1])[:, :, None] + columns[:, None, :]
        index = flat.view(samples, 1, -1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, index).view(prepared.shape)


def _plain(values: Tensor) -> list[float] | dict[str, Any]:
    flat = values.detach().cpu().contiguous()
    if flat.numel() <= 16:
        return [float(v) for v in flat.flatten()]
    return {"shape": list(flat.shape), "sha256": hashlib.sha256(flat.numpy().tobytes()).hexdigest()}
