"""Finds the pictures of a folder that has one sub-folder per class."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .shuffling import permutation

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_MIXING = 0  # seed of the stored order
VALIDATION, TEST = ("validation", "val", "valid"), ("test",)
_PART = re.compile(r"(train|test|val|valid|eval)(ing|idation|uation)?([ _-]?(set|data|images))?", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """The picture files of one split, in a random order that their number alone decides.

    Class after class, as they lie on the disk, a batch of evaluation data would hold one class or two, and evaluating
    with the batch's own BatchNorm statistics would measure nothing.

    Args:
        root: folder that `names` are relative to.
        names: of the files.
        labels: (N,) number of the class, classes in alphabetical order.
        sizes: (N,) bytes of each file, -1 where it cannot be asked for.
    """

    root: Path
    names: Sequence[str]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def list_folder(root: Path) -> tuple[dict[str, Listing], tuple[str, ...]]:
    """The pictures of every split under `root`, and the names of the classes.

    `root/train/CLASS/*` with any of `root/validation` (`val`, `valid`) and `root/test` beside it; or plain
    `root/CLASS/*`, which is returned as "train" alone. Files without the suffix of a picture are passed over.

    Returns: listings by split ("train", "validation", "test"), classes in alphabetical order.
    Raises: DataError: no such folder, no classes, parts of other names in their place, a class without pictures, a
        class unknown to train.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give folder:PATH with one sub-folder per class")
    parts = _split_folders(root)
    classes = tuple(sorted(path.name for path in _sub_folders(parts["train"])))
    if len(classes) < 2:
        raise DataError(
            f"{parts['train']} holds {len(classes)} class folders; a folder per class is needed, at least two"
        )
    if len(parts) == 1 and all(map(_PART.fullmatch, classes)):  # "Training" and "Testing": which is which can be learnt
        raise DataError(
            f"{parts['train']} holds {', '.join(classes)}, which are parts of a data set and no classes; call them "
            "train, val and test, with a folder per class in each"
        )
    return {split: _list(folder, classes) for split, folder in parts.items()}, classes


def _split_folders(root: Path) -> dict[str, Path]:
    if not (root / "train").is_dir():
        return {"train": root}
    parts = {"train": root / "train"}
    for split, names in (("validation", VALIDATION), ("test", TEST)):
        present = [root / name for name in names if (root / name).is_dir()]
        if len(present) > 1:
            raise DataError(f"{root} has {' and '.join(p.name for p in present)}, which mean the same; keep one")
        if present:
            parts[split] = present[0]
    return parts


def _sub_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _list(folder: Path, classes: tuple[str, ...]) -> Listing:
    """Every picture below a split's folder with the number of its class."""
    unknown = sorted({path.name for path in _sub_folders(folder)} - set(classes))
    if unknown:
        raise DataError(
            f"{folder} has classes that train has not: {', '.join(unknown[:5])}; use the same class folders"
        )
    names: list[str] = []
    labels: list[int] = []
    sizes: list[int] = []
    for number, name in enumerate(classes):
        pictures = sorted(_pictures_below(folder, name), key=lambda entry: entry[0].split(os.sep))
        if not pictures:
            raise DataError(f"{folder / name} holds no picture ({', '.join(sorted(SUFFIXES))}); fill or remove it")
        names += [path for path, _ in pictures]
        sizes += [size for _, size in pictures]
        labels += [number] * len(pictures)
    order = permutation(len(names), _MIXING)
    in_order = (np.array(values, dtype=np.int64)[order] for values in (labels, sizes))
    return Listing(folder, [names[i] for i in order.tolist()], *in_order)


def _pictures_below(root: Path, below: str) -> Iterable[tuple[str, int]]:
    """Path relative to `root`, and size, of every picture below one of its folders."""
    path = root / below
    if not path.is_dir():
        return
    with os.scandir(path) as entries:
        for entry in entries:
            relative = os.path.join(below, entry.name)
            if entry.is_dir(follow_symlinks=False):
                yield from _pictures_below(root, relative)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.name.startswith("."):
                yield relative, _size(entry)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a link to nothing: the picture is one that cannot be decoded
        return -1
