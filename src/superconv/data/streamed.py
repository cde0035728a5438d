"""Pictures that stay on the disk: a batch of them is decoded when it is drawn, or shortly before."""

from __future__ import annotations

import functools
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decoding import CHUNK, Corrupt, Decoding, Problem, View, decoding_threads
from .samples import Samples
from .shuffling import choose

_UNDER_WAY = 4  # chunks a worker that are read ahead
_AVERAGED = 2_000  # pictures of a mean image, and of a mean and deviation per channel
_SAMPLING_SEED = 0


@dataclass(frozen=True, eq=False)
class StreamedPictures(Samples):
    """Pictures in files, decoded by threads of this process: Pillow decodes outside the interpreter lock.

    Training batches are random-resized crops where the view has them, all others the middle square. The batch is
    uint8, in memory that a GPU copies from directly where it is for one; normalising and mirroring are left to the
    `Preparation`, on the device.

    A picture that cannot be decoded is met only when it is drawn. "refuse" raises there and names it. "skip" warns once
    with its name; in training the next picture of its class, in the stored order, stands in its place, so that batches
    stay full and the order depends on the files alone; in evaluation it is left out.

    Args:
        root: folder that `names` are relative to.
        names: files, one a sample.
        targets: (N,) number of the class.
        sizes: (N,) bytes of each file.
        view: how a picture becomes a square.
        corrupt: "refuse" or "skip".
        workers: decoding threads; None: one a core that this process may use, shared among the processes of a machine
            that `torchrun` started. It changes no pixel.
        name: for messages and records.
        pinned: whether batches lie in page-locked memory.
    """

    root: Path
    names: Sequence[str]
    targets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    view: View
    corrupt: Corrupt = "refuse"
    workers: int | None = None
    name: str = "pictures"
    pinned: bool = False
    _warned: set[tuple[Path, bool]] = field(default_factory=set, repr=False)

    def __post_init__(self) -> None:
        decoding_threads(self.workers)  # refuses none

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def checksum(self) -> str:
        """SHA-256 over names, sizes and classes of the files and the view, not over their content.

        Reading ImageNet to know its content would take as long as an epoch. A file that changed but not its length
        goes unnoticed.
        """
        digest = hashlib.sha256(repr(self.view).encode())
        for name in self.names:
            digest.update(f"{name}\n".encode(errors="backslashreplace"))  # bytes that are no UTF-8 too
        digest.update(self.sizes.astype("<i8").tobytes() + self.targets.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def read_ahead(self) -> int:
        """Samples that are read before they are drawn, so that no worker waits for work."""
        return CHUNK * _UNDER_WAY * self._workers

    def draw_parts(self, count: int, generator: torch.Generator) -> Tensor | None:
        """The random numbers of `count` crops, or None where the view has none."""
        return None if self.view.crop is None else self.view.crop.draw(count, generator)

    def begin(self, indices: Tensor, parts: Tensor | None = None, *, keep_full: bool = False) -> Decoding:
        """Begin to decode the pictures at `indices`.

        Args:
            indices: (B,) int64.
            parts: a `draw_parts`, one entry a picture; None: the middle squares.
            keep_full: whether another picture takes the place of one that is skipped.
        """
        return Decoding(
            [self.root / self.names[i] for i in indices.tolist()],
            torch.from_numpy(self.targets)[indices],
            self.view,
            None if parts is None else parts.tolist(),
            workers=self._workers,
            pinned=self.pinned,
            corrupt=self.corrupt,
            stand_ins=functools.partial(self._others_of_class, indices.tolist()) if keep_full else None,
            warn=self._warn,
        )

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """The middle squares at `indices`, (B, 3, S, S) uint8, and the classes."""
        return self.begin(indices).wait()

    def take(self, indices: Iterable[int], name: str | None = None) -> StreamedPictures:
        """Those pictures alone."""
        chosen = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            names=[self.names[i] for i in chosen.tolist()],
            targets=self.targets[chosen],
            sizes=self.sizes[chosen],
            name=self.name if name is None else name,
        )

    def to(self, device: torch.device | str) -> StreamedPictures:
        """The same pictures, still on the disk; for a GPU their batches are page-locked."""
        pinned = torch.device(device).type == "cuda"
        if pinned == self.pinned:
            return self
        moved = replace(self, pinned=pinned)
        if "checksum" in self.__dict__:
            moved.__dict__["checksum"] = self.checksum
        return moved

    def class_labels(self) -> NDArray[np.int64]:
        """The classes."""
        return self.targets

    def some(self) -> Iterator[Tensor]:
        """2,000 of the pictures by a fixed seed, or all where there are fewer, in batches of middle squares."""
        count = min(_AVERAGED, len(self))
        chosen = torch.from_numpy(choose(count, len(self), self.targets, _SAMPLING_SEED))
        for indices in chosen.split(CHUNK * _UNDER_WAY * self._workers):
            yield self.batch(indices)[0]

    def mean_image(self) -> Tensor:
        """Mean of the middle squares of `some`, (3, S, S) float32, accumulated in float64."""
        size = self.view.image_size
        total, count = torch.zeros(3, size, size, dtype=torch.float64, device="cpu"), 0
        for images in self.some():
            total += images.sum(0, dtype=torch.float64)
            count += len(images)
        return (total / count).to(torch.float32)

    @property
    def _workers(self) -> int:
        return decoding_threads(self.workers)

    def _others_of_class(self, indices: Sequence[int], place: int) -> Iterator[Path]:
        """The pictures of the class that is at `place` in a batch, in the stored order from the next one on."""
        index = indices[place]
        same = np.flatnonzero(self.targets == self.targets[index])
        for other in np.roll(same, -int(np.searchsorted(same, index)))[1:].tolist():
            yield self.root / self.names[other]

    def _warn(self, problem: Problem) -> None:
        if problem.key not in self._warned:
            self._warned.add(problem.key)
            warnings.warn(f"{self.name}: {problem.skipped}", stacklevel=2)
