"""Random-resized crops: which part of a picture a training sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import DataError
from .picture import Box

TRIES = 10


@dataclass(frozen=True)
class RandomCrop:
    """A part of random area, aspect ratio and place, which is then scaled to the input of the network.

        area ~ U(scale) width height,  log ratio ~ U(log ratio),  place ~ U(where it fits)

    Of ten such boxes the first that fits into the picture is taken; where none does (a panorama), the middle of the
    picture with the nearest ratio allowed. All random numbers are drawn beforehand, the same amount for every
    picture, so that one picture's size moves no other's draws.

    Args:
        scale: smallest and largest share of the picture's area.
        ratio: smallest and largest width over height.
    Raises: DataError: out of range.
    Reference: Szegedy et al., arXiv 1409.4842v1, Sec. 6; these ranges are those of most of today's trainings.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        for name in ("scale", "ratio"):
            given = getattr(self, name)
            if not isinstance(given, Sequence) or len(given) != 2 or not 0 < given[0] <= given[1] < math.inf:
                raise DataError(f"crop_{name} {given!r}; give (smallest, largest), both above 0")
            object.__setattr__(self, name, (float(given[0]), float(given[1])))
        if self.scale[1] > 1:
            raise DataError(f"crop_scale {self.scale}; a part of a picture has at most share 1 of its area")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """What decides `count` boxes: (count, 10, 4) float64 in [0, 1)."""
        return torch.rand(count, TRIES, 4, generator=generator, dtype=torch.float64, device=generator.device)

    def box(self, width: int, height: int, draws: Sequence[Sequence[float]]) -> Box:
        """The part of a picture that its draws, (10, 4), decide; in whole pixels."""
        low, high = self.scale
        log_low, log_high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for for_area, for_ratio, across, down in draws:
            area = (low + for_area * (high - low)) * width * height
            ratio = math.exp(log_low + for_ratio * (log_high - log_low))
            own_width, own_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < own_width <= width and 0 < own_height <= height:
                left = int(across * (width - own_width + 1))
                upper = int(down * (height - own_height + 1))
                return left, upper, left + own_width, upper + own_height
        return self._middle(width, height)

    def _middle(self, width: int, height: int) -> Box:
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        own_width = max(1, min(width, round(height * ratio)))
        own_height = max(1, min(height, round(width / ratio)))
        left, upper = (width - own_width) // 2, (height - own_height) // 2
        return left, upper, left + own_width, upper + own_height
