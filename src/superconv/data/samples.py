"""What batches are drawn from: tensors held whole (`Data`), or a map-style Dataset read sample by sample."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from ..double import has_double
from ..error_lines import kind_and_line_of
from ..full_memory import is_out_of_memory
from .errors import DataError
from .read_ahead import Reading


class Samples(ABC):
    """A fixed number of numbered samples."""

    name: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor) -> Any:
        """The samples at `indices` (B,) int64 as one batch, on the device where they are stored."""

    @abstractmethod
    def take(self, indices: Iterable[int], name: str | None = None) -> Samples:
        """Those samples alone, in the order given."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Samples:
        """The same samples stored on `device`, where they are stored in tensors at all."""

    @abstractmethod
    def class_labels(self) -> NDArray[np.int64] | None:
        """Class of every sample (N,), or None where the targets are not class labels or not known beforehand."""

    @property
    def checksum(self) -> str | None:
        """SHA-256 of the content, or None where it is not held."""
        return None

    @property
    def read_ahead(self) -> int:
        """Samples that are worth reading before they are drawn: 0 where a batch is at hand at once."""
        return 0

    def draw_parts(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Random numbers, one row a sample, that decide which part of it a training sees; None: always the same."""
        return None

    def begin(self, indices: Tensor, parts: Tensor | None = None, *, keep_full: bool = False) -> Reading:
        """Begin to read a batch.

        Args:
            indices: (B,) int64.
            parts: rows of `draw_parts`; None: what an evaluation sees.
            keep_full: whether others take the place of samples that cannot be read and are skipped.
        """
        raise DataError(f"{self.name}: its batches are not read ahead; use batch(indices)")

    def mean_image(self) -> Tensor:
        """Mean of the inputs, (C, H, W) float32 in their units.

        Raises: DataError: they are not known to be pictures of one size.
        """
        raise DataError(f"mean_image: {self.name} is not held in tensors; compute the image and pass that")


@dataclass(frozen=True, eq=False)
class Data(Samples):
    """Inputs and targets as two tensors, on one device.

    Args:
        inputs: (N, C, H, W) uint8 for pictures as stored; any tensor whose first dimension counts samples.
        targets: (N,) class labels (stored as int64), or any tensor with the same first dimension.
        name: for messages and records.
    Raises: DataError: lengths that differ.
    """

    inputs: Tensor
    targets: Tensor
    name: str = "data"

    def __post_init__(self) -> None:
        if self.inputs.ndim == 0 or self.targets.ndim == 0 or len(self.inputs) != len(self.targets):
            shapes = f"inputs {tuple(self.inputs.shape)}, targets {tuple(self.targets.shape)}"
            raise DataError(f"{self.name}: {shapes}; both need the same number of samples in their first dimension")
        if not (self.targets.is_floating_point() or self.targets.is_complex() or self.targets.dtype == torch.int64):
            object.__setattr__(self, "targets", self.targets.to(torch.int64))

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def images(self) -> Tensor:
        """The inputs, by the name they have where they are pictures."""
        return self.inputs

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over types, shapes and bytes of inputs and targets, as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{array.dtype} {tuple(array.shape)} ".encode())
            # bytes, since numpy has no bfloat16
            digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets at `indices` (B,), copied."""
        return self.inputs.index_select(0, indices), self.targets.index_select(0, indices)

    def take(self, indices: Iterable[int], name: str | None = None) -> Data:
        """Those samples alone, copied."""
        chosen = torch.as_tensor(np.asarray(indices, dtype=np.int64), device=self.inputs.device)
        return Data(*self.batch(chosen), name=self.name if name is None else name)

    def to(self, device: torch.device | str) -> Data:
        """The same data on `device`; this very object where it is there already."""
        inputs, targets = self.inputs.to(device), self.targets.to(device)
        if inputs is self.inputs and targets is self.targets:
            return self
        moved = Data(inputs, targets, name=self.name)
        if "checksum" in self.__dict__:
            moved.__dict__["checksum"] = self.checksum
        return moved

    def class_labels(self) -> NDArray[np.int64] | None:
        """The targets, where they are one integer per sample."""
        if self.targets.dtype != torch.int64 or self.targets.ndim != 1:
            return None
        return self.targets.cpu().numpy()

    def mean_image(self) -> Tensor:
        """Mean over all samples, (C, H, W) float32 in the units of the inputs, accumulated in float64."""
        place = self.inputs.device if has_double(self.inputs.device) else torch.device("cpu")
        total = torch.zeros(self.inputs.shape[1:], dtype=torch.float64, device=place)
        for chunk in self.inputs.split(4096):
            total += chunk.to(place).sum(0, dtype=torch.float64)
        return (total / max(len(self), 1)).to(torch.float32)


class DatasetSamples(Samples):
    """A map-style Dataset, read and collated when a batch is drawn.

    It stays where it is (`to` moves nothing) and has no checksum. Random transforms inside it draw from the global
    random states, which no seed of ours reaches: such a run resumes in the same order, not with the same pixels.

    Args:
        dataset: has a length and an indexing.
        name: for messages and records.
        collate_fn: list of samples -> batch, as a DataLoader takes it; None: torch's `default_collate`.
    Raises: DataError: no such dataset; from `batch`: samples that torch cannot stack.
    """

    def __init__(
        self, dataset: Dataset[Any], name: str = "dataset", collate_fn: Callable[[list[Any]], Any] | None = None
    ) -> None:
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise DataError(
                f"{name}: a {type(dataset).__name__} has no length or no indexing; pass a map-style Dataset, or read "
                "an iterable one through a DataLoader"
            )
        self.dataset = dataset
        self.name = name
        self.collate_fn = collate_fn

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Tensor) -> Any:
        """The collated samples; a pair as a tuple."""
        samples = [self.dataset[i] for i in indices.tolist()]
        if self.collate_fn is not None:
            collated = self.collate_fn(samples)
        else:
            try:
                collated = default_collate(samples)
            except (RuntimeError, TypeError, KeyError) as error:  # unequal sizes, None, strange types, other keys
                if is_out_of_memory(error):
                    raise
                raise DataError(
                    f"{self.name}: its samples do not make a batch ({kind_and_line_of(error)}); "
                    "pass Splits(..., collate_fn=...), a function list of samples -> batch that pads them, say"
                ) from error
        return tuple(collated) if isinstance(collated, list) else collated

    def take(self, indices: Iterable[int], name: str | None = None) -> DatasetSamples:
        """Those samples alone, as a torch Subset."""
        chosen = [int(i) for i in indices]
        return DatasetSamples(Subset(self.dataset, chosen), self.name if name is None else name, self.collate_fn)

    def to(self, device: torch.device | str) -> DatasetSamples:
        """Itself: batches are moved when they are drawn."""
        return self

    def class_labels(self) -> NDArray[np.int64] | None:
        """The Dataset's `targets` (torchvision's convention; of a Subset: of what it was taken from), or None."""
        labels = _declared_labels(self.dataset)
        return labels if labels is not None and len(labels) == len(self) else None


def as_samples(given: Any, name: str, collate_fn: Callable[[list[Any]], Any] | None = None) -> Samples:
    """`given` as Samples.

    Args:
        given: Samples; a pair (inputs, targets) of tensors, or of arrays, which are copied; a TensorDataset of two
            tensors (these become Data); any other map-style Dataset (kept, since it may read lazily or augment).
        name: for messages and records, where `given` has none.
        collate_fn: of a Dataset that is kept.
    Raises: DataError: anything else.
    """
    if isinstance(given, Samples):
        return given
    if isinstance(given, TensorDataset) and len(given.tensors) == 2 and collate_fn is None:
        return Data(*given.tensors, name=name)
    if isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(x, Tensor | np.ndarray) for x in given):
        inputs, targets = (torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x for x in given)
        return Data(inputs, targets, name=name)
    plain = isinstance(given, tuple | list | Mapping | str | bytes | Tensor | np.ndarray)
    if isinstance(given, Dataset) or (hasattr(given, "__getitem__") and not plain):
        return DatasetSamples(given, name, collate_fn)
    raise DataError(
        f"{name}: got a {type(given).__name__}; pass a map-style Dataset or a pair (inputs, targets) of tensors"
    )


def _declared_labels(dataset: Any) -> NDArray[np.int64] | None:
    if isinstance(dataset, Subset):
        whole = _declared_labels(dataset.dataset)
        return None if whole is None else whole[np.asarray(dataset.indices, dtype=np.int64)]
    targets = getattr(dataset, "targets", ())
    try:
        labels = np.asarray(targets.cpu() if isinstance(targets, Tensor) else targets)
    except ValueError:  # sequences of unequal lengths: words or boxes
        return None
    return labels.astype(np.int64) if labels.ndim == 1 and labels.size and labels.dtype.kind in "iu" else None
