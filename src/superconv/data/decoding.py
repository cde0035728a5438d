"""One batch of pictures that is being decoded, by the threads that all batches share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..cores import usable_cores
from .errors import DataError
from .picture import Box, centre_box, decode
from .random_crop import RandomCrop

Corrupt = Literal["refuse", "skip"]
CORRUPT: tuple[Corrupt, ...] = ("refuse", "skip")

CHUNK = 8  # pictures a task: large enough that handing it over costs nothing, small enough to share a batch evenly


@dataclass(frozen=True)
class View:
    """How a picture becomes the square that a network sees.

    Args:
        image_size: its side in pixels.
        resize: in evaluation the shorter side is scaled to this, then the middle square of `image_size` is cut out.
        crop: in training; None: the same middle square.
    Raises: DataError: sizes that do not fit together.
    """

    image_size: int
    resize: int
    crop: RandomCrop | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.image_size <= self.resize:
            raise DataError(
                f"resize {self.resize} with image_size {self.image_size}; the shorter side is scaled to `resize` "
                "before the middle is cut out, so give at least image_size"
            )

    def middle(self, width: int, height: int) -> Box:
        """The part that an evaluation sees."""
        return centre_box(width, height, self.image_size / self.resize)


@dataclass(frozen=True)
class Problem:
    """A picture of a batch that could not be decoded.

    Args:
        place: in the batch.
        path: the file.
        reason: why.
        stand_in: the picture in its place, if any.
    """

    place: int
    path: Path
    reason: str
    stand_in: Path | None

    @property
    def key(self) -> tuple[Path, bool]:
        """Two problems with the same key need be told once."""
        return self.path, self.stand_in is None

    @property
    def refused(self) -> str:
        """What to say where it is refused."""
        return f"{self.path} cannot be decoded ({self.reason}); remove it, or use corrupt='skip'"

    @property
    def skipped(self) -> str:
        """What to say where it is skipped."""
        what = "it is left out" if self.stand_in is None else f"{self.stand_in.name} stands in its place"
        return f"{self.path} cannot be decoded ({self.reason}); {what}"


class Decoding:
    """A batch of pictures on its way; it begins when it is made.

    Args:
        paths: the files.
        targets: (B,) int64.
        view: how a picture becomes a square.
        parts: random numbers of the crops, (B, 10, 4) as lists; None: the middle squares.
        workers: decoding threads of this process.
        pinned: whether the pixels lie in page-locked memory.
        corrupt: whether a picture that cannot be decoded is refused or skipped.
        stand_ins: place in the batch -> pictures that may take the place of one that is skipped, in this order; None:
            it is left out, and the batch is smaller.
        warn: called with every picture that was skipped.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        targets: Tensor,
        view: View,
        parts: Sequence[Sequence[Sequence[float]]] | None,
        *,
        workers: int,
        pinned: bool,
        corrupt: Corrupt,
        stand_ins: Callable[[int], Iterable[Path]] | None,
        warn: Callable[[Problem], None],
    ) -> None:
        self._paths, self._targets, self._view, self._parts = paths, targets, view, parts
        self._corrupt, self._stand_ins, self._warn = corrupt, stand_ins, warn
        size = (len(paths), view.image_size, view.image_size, 3)
        try:
            self._pixels = torch.empty(size, dtype=torch.uint8, device="cpu", pin_memory=pinned)
        except RuntimeError as error:
            raise DataError(
                f"a batch of {len(paths)} pictures of {view.image_size} x {view.image_size} needs more memory "
                "than there is; use a smaller batch or image_size"
            ) from error
        self._memory = self._pixels.numpy()
        submit, starts = _pool(workers).submit, range(0, len(paths), CHUNK)
        self._tasks: list[Future[list[Problem]]] = [submit(self._decode_chunk, start) for start in starts]

    def wait(self) -> tuple[Tensor, Tensor]:
        """The pixels, (B, 3, S, S) uint8 with the channels last in memory, and the classes (B,) int64.

        Raises: DataError: a picture cannot be decoded and is refused, or nothing is left to stand in its place.
        """
        problems = [problem for task in self._tasks for problem in task.result()]
        left_out = [problem.place for problem in problems if problem.stand_in is None]
        for problem in problems:
            if self._corrupt == "refuse" or (problem.stand_in is None and self._stand_ins is not None):
                raise DataError(problem.refused)
            self._warn(problem)
        pixels, targets = self._pixels, self._targets
        if left_out:
            kept = torch.from_numpy(np.setdiff1d(np.arange(len(targets)), left_out))
            pixels, targets = pixels[kept], targets[kept]
        return pixels.permute(0, 3, 1, 2), targets

    def cancel(self) -> None:
        """Decode no more than is being decoded already."""
        for task in self._tasks:
            task.cancel()

    def _decode_chunk(self, start: int) -> list[Problem]:
        places = range(start, min(start + CHUNK, len(self._paths)))
        return [problem for place in places if (problem := self._decode_into(place)) is not None]

    def _decode_into(self, place: int) -> Problem | None:
        path = self._paths[place]
        try:
            self._memory[place] = self._decoded(path, place)
        except DataError as error:
            return Problem(place, path, str(error), self._replaced(place))
        return None

    def _replaced(self, place: int) -> Path | None:
        """Decode the first good stand-in into a bad picture's place; which one that is."""
        if self._stand_ins is None or self._corrupt == "refuse":
            return None
        for path in self._stand_ins(place):
            try:
                self._memory[place] = self._decoded(path, place)
            except DataError:
                continue
            return path
        return None

    def _decoded(self, path: Path, place: int) -> NDArray[np.uint8]:
        box_of: Callable[[int, int], Box] = self._view.middle
        if self._parts is not None and self._view.crop is not None:
            box_of = functools.partial(self._view.crop.box, draws=self._parts[place])
        return decode(path, self._view.image_size, box_of)


def decoding_threads(chosen: int | None) -> int:
    """How many threads decode: those chosen, else one a core that this process may use.

    The processes of a machine that `torchrun` started share its cores.
    Raises: DataError: fewer than one.
    """
    if chosen is not None:
        if chosen < 1:
            raise DataError(f"workers={chosen}; give the number of decoding threads, from 1 on")
        return chosen
    return max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """The decoding threads of this process, which all its batches share."""
    return ThreadPoolExecutor(workers, thread_name_prefix="superconv-decode")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork: the child makes its own
