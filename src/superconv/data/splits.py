"""Splits: the training, validation and test part of a data set, which belong together."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..near_names import near
from .errors import DataError
from .preparation import Preparation
from .samples import Data, DatasetSamples, Samples, as_samples
from .shuffling import choose

PREPARATIONS = ("mean-image", "scaled", "identity")


@dataclass(frozen=True, init=False, eq=False)
class Splits:
    """The parts of a data set: train to learn from, validation to choose by, test to be read once.

    Args:
        train, validation, test: each `Data`, a pair (inputs, targets) of tensors or arrays, or a map-style torch
            Dataset. validation None: `with_validation` carves it from train when it is needed.
        num_classes: number of classes; None where the targets are no class labels (a regression).
        name: of the data set.
        note: what a reader of results must know (which images are the test set, which files were skipped).
        preparation: what turns a stored batch into the input of a network; None leaves it to `Batches`.
        collate_fn: of the parts that are Datasets: list of samples -> batch, as a DataLoader takes it (padding
            sequences, say); None: torch's `default_collate`.
    Raises: DataError: an empty part, a class label outside [0, num_classes), class labels without their number, or a
        collate_fn without a Dataset.
    Example:
        >>> pixels = torch.zeros(8, 1, 28, 28, dtype=torch.uint8)
        >>> splits = Splits((pixels, torch.arange(8) % 2), None, (pixels, torch.arange(8) % 2), 2)
        >>> len(splits.with_validation(2).train)
        6
    """

    train: Samples
    validation: Samples | None
    test: Samples | None
    num_classes: int | None
    name: str
    note: str
    preparation: Preparation | None

    def __init__(
        self,
        train: Any,
        validation: Any,
        test: Any,
        num_classes: int | None = None,
        name: str = "",
        note: str = "",
        preparation: Preparation | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if collate_fn is not None and not callable(collate_fn):
            raise DataError(f"{name or 'splits'}: collate_fn must be a function or None, got {collate_fn!r}")
        parts = {"train": train, "validation": validation, "test": test}
        if train is None:
            raise DataError(f"{name or 'splits'}: train is None; pass the training samples")
        for part, given in parts.items():
            samples = None if given is None else as_samples(given, f"{name}/{part}" if name else part, collate_fn)
            if samples is not None:
                _check(samples, num_classes)
            object.__setattr__(self, part, samples)
        if collate_fn is not None and not any(isinstance(getattr(self, part), DatasetSamples) for part in parts):
            raise DataError(f"{name or 'splits'}: collate_fn would be ignored, since no part is a Dataset; drop it")
        rest = {"num_classes": num_classes, "name": name, "note": note, "preparation": preparation}
        for field, value in rest.items():
            object.__setattr__(self, field, value)

    @property
    def checksums(self) -> dict[str, str | None]:
        """SHA-256 of every part that there is; None for a part that is a Dataset."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: samples.checksum for part, samples in parts.items() if samples is not None}

    def with_validation(self, fraction_or_count: float = 0.1, seed: int = 0) -> Splits:
        """These splits with a validation part carved from train; themselves where they have one.

        Args:
            fraction_or_count: below 1: the fraction of train; else how many samples (a whole number).
            seed: same seed, same choice. Classes keep their shares where the targets are class labels.
        Raises: DataError: nothing would be left on one of the sides.
        """
        if self.validation is not None:
            return self
        total = len(self.train)
        if fraction_or_count >= 1 and fraction_or_count % 1 != 0:
            raise DataError(f"validation of {fraction_or_count} samples: give a fraction below 1 or a whole number")
        count = int(fraction_or_count) if fraction_or_count >= 1 else round(fraction_or_count * total)
        if not 0 < count < total:
            raise DataError(
                f"a validation part of {count} out of {total} training samples (from {fraction_or_count}) leaves "
                f"nothing on one side; allowed are 1 to {total - 1} samples"
            )
        held_out = choose(count, total, self.train.class_labels(), _seed(seed))
        keep = np.setdiff1d(np.arange(total), held_out)
        return self._replace(
            train=self.train.take(keep),
            validation=self.train.take(held_out, f"{self.name}/validation" if self.name else "validation"),
            note=_joined(self.note, f"validation: {count:,} of {total:,} training samples, by seed {seed}"),
        )

    def subset(self, n: int, seed: int = 0) -> Splits:
        """These splits with `n` training samples, chosen by seed; validation and test stay whole.

        Classes keep their shares where the targets are class labels (equal counts where they are equally
        frequent). Call `with_validation` first where it is to be carved from the whole training part.

        Raises: DataError: n outside [1, len(train)].
        """
        total = len(self.train)
        if not 0 < n <= total:
            raise DataError(f"a subset of {n} training samples out of {total}; allowed are 1 to {total}")
        chosen = choose(n, total, self.train.class_labels(), _seed(seed))
        note = _joined(self.note, f"train: {n:,} of {total:,} samples, by seed {seed}")
        return self._replace(train=self.train.take(chosen), note=note)

    def prepared(
        self, kind: str | None = None, *, mirror: bool | None = None, crop_padding: int | None = None
    ) -> Splits:
        """These splits with another preparation of their pictures.

        Args:
            kind: "mean-image" (the training part's mean per pixel, range 0 to 255 kept, as in the paper), "scaled"
                (1/256, as in Caffe's LeNet) or "identity"; None: the data's own.
            mirror, crop_padding: the training augmentation; None: as it is.
        Raises: DataError: an unknown kind, or samples that are not held in tensors.
        """
        own = self.preparation or _by_default(self.train)
        augmentation: dict[str, Any] = {
            "mirror": own.mirror if mirror is None else mirror,
            "crop_padding": own.crop_padding if crop_padding is None else crop_padding,
        }
        if kind is None:
            return self._replace(preparation=own.replace(**augmentation))
        if kind == "mean-image":
            return self._replace(preparation=Preparation.mean_image(self.train, **augmentation))
        if kind not in PREPARATIONS:
            raise DataError(f"preparation {kind!r} is unknown; {near(kind, PREPARATIONS)}")
        make = {"scaled": Preparation.scaled, "identity": Preparation.identity}[kind]
        return self._replace(preparation=make(**augmentation))

    def to(self, device: torch.device | str) -> Splits:
        """The same splits with every tensor on `device`."""
        moved = {
            part: None if samples is None else samples.to(device)
            for part, samples in (("train", self.train), ("validation", self.validation), ("test", self.test))
        }
        return self._replace(**moved)

    def _replace(self, **changes: Any) -> Splits:
        """A copy with other fields; not checked again, since its parts come out of checked ones."""
        changed = copy.copy(self)
        for field, value in changes.items():
            object.__setattr__(changed, field, value)
        return changed


def _by_default(samples: Samples) -> Preparation:
    """What `Batches` does where no preparation is given."""
    pixels = isinstance(samples, Data) and samples.inputs.dtype == torch.uint8
    return Preparation.scaled(1 / 255) if pixels else Preparation.identity()


def _seed(seed: int) -> int:
    if seed < 0:
        raise DataError(f"seed {seed} is negative; give an integer from 0 on")
    return int(seed)


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def _check(samples: Samples, num_classes: int | None) -> None:
    """Refuse what no training could use."""
    if len(samples) == 0:
        raise DataError(f"{samples.name} is empty; pass at least one sample, or None where there is no such part")
    labels = samples.class_labels()
    if labels is None:
        return
    low, high = int(labels.min()), int(labels.max())
    if num_classes is None:
        raise DataError(
            f"{samples.name}: its targets are class labels ({low} to {high}); pass num_classes={high + 1}, or make "
            "them floating point where they are no classes"
        )
    if low < 0 or high >= num_classes:
        wrong = int(((labels < 0) | (labels >= num_classes)).sum())
        raise DataError(
            f"{samples.name}: {wrong:,} of {len(labels):,} labels lie outside [0, {num_classes}): they run from {low} "
            f"to {high}; number the classes from 0, or pass num_classes={high + 1}"
        )
