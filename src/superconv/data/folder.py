"""Reads a folder of pictures, one sub-folder per class, into arrays of one size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_VALIDATION, _TEST = ("validation", "val", "valid"), ("test",)
Corrupt = Literal["refuse", "skip"]


@dataclass(frozen=True)
class Pictures:
    """The decoded pictures of one split.

    Args:
        images: (N, 3, S, S) uint8.
        labels: (N,) number of the class, classes in alphabetical order.
        skipped: files that could not be decoded.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    skipped: tuple[Path, ...]


def read_folder(root: Path, image_size: int, corrupt: Corrupt) -> tuple[dict[str, Pictures], tuple[str, ...]]:
    """The pictures of every split under `root`, and the names of the classes.

    `root/train/CLASS/*` with any of `root/validation` (`val`, `valid`) and `root/test` beside it; or plain
    `root/CLASS/*`, which is returned as "train" alone. Files without the suffix of a picture are passed over.

    Args:
        root: the folder.
        image_size: every picture's shorter side is resized to it, then the middle square is cut out.
        corrupt: "refuse" names the files that cannot be decoded in an error; "skip" leaves them out and lists them.
    Returns: pictures by split ("train", "validation", "test"), classes in alphabetical order.
    Raises: DataError: no such folder, no classes, a class without pictures, a class unknown to train, corrupt files.
    """
    if image_size < 1:
        raise DataError(f"image_size {image_size}; give the side of the decoded pictures in pixels, from 1 on")
    if corrupt not in ("refuse", "skip"):
        raise DataError(f"corrupt {corrupt!r}; allowed are 'refuse' and 'skip'")
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give folder:PATH with one sub-folder per class")
    parts = _split_folders(root)
    classes = tuple(sorted(path.name for path in _sub_folders(parts["train"])))
    if len(classes) < 2:
        raise DataError(
            f"{parts['train']} holds {len(classes)} class folders; a folder per class is needed, at least two"
        )
    listed = {split: _list(folder, classes) for split, folder in parts.items()}
    return {split: _decode_all(files, image_size, corrupt) for split, files in listed.items()}, classes


def _split_folders(root: Path) -> dict[str, Path]:
    if not (root / "train").is_dir():
        return {"train": root}
    parts = {"train": root / "train"}
    for split, names in (("validation", _VALIDATION), ("test", _TEST)):
        present = [root / name for name in names if (root / name).is_dir()]
        if len(present) > 1:
            raise DataError(f"{root} has {' and '.join(p.name for p in present)}, which mean the same; keep one")
        if present:
            parts[split] = present[0]
    return parts


def _sub_folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _list(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every picture below a split's folder with the number of its class, in alphabetical order."""
    unknown = sorted({path.name for path in _sub_folders(folder)} - set(classes))
    if unknown:
        raise DataError(
            f"{folder} has classes that train has not: {', '.join(unknown[:5])}; use the same class folders"
        )
    files = []
    for number, name in enumerate(classes):
        pictures = sorted(_pictures_below(folder / name))
        if not pictures:
            raise DataError(f"{folder / name} holds no picture ({', '.join(sorted(SUFFIXES))}); fill or remove it")
        files += [(path, number) for path in pictures]
    return files


def _pictures_below(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _decode_all(files: list[tuple[Path, int]], image_size: int, corrupt: Corrupt) -> Pictures:
    try:
        images = np.empty((len(files), 3, image_size, image_size), dtype=np.uint8)
    except MemoryError as error:
        gigabytes = 3 * image_size**2 * len(files) / 1e9
        raise DataError(
            f"{len(files):,} pictures of {image_size} x {image_size} need {gigabytes:,.1f} GB; use a smaller image_size"
        ) from error

    def decode(index: int) -> str | None:
        try:
            images[index] = _decode(files[index][0], image_size)
        except DataError as error:
            return str(error)
        return None

    _require_pillow()
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow decodes outside the interpreter lock
        problems = list(threads.map(decode, range(len(files))))
    good = [index for index, problem in enumerate(problems) if problem is None]
    bad = [index for index, problem in enumerate(problems) if problem is not None]
    if bad and (corrupt == "refuse" or not good):
        shown = "; ".join(f"{files[i][0]} ({problems[i]})" for i in bad[:5]) + ("; ..." if len(bad) > 5 else "")
        raise DataError(
            f"{len(bad)} of {len(files)} pictures cannot be decoded: {shown}; remove them, or use corrupt='skip'"
        )
    labels = np.array([number for _, number in files], dtype=np.int64)
    return Pictures(images[good] if bad else images, labels[good], tuple(files[i][0] for i in bad))


def _decode(path: Path, image_size: int) -> NDArray[np.uint8]:
    """One picture as (3, S, S).

    Raises: DataError: it cannot be decoded, for the reason given.
    """
    from PIL import Image, ImageOps

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # the latter where warnings are errors
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (image_size, image_size))  # a JPEG decodes at the nearest larger scale, much faster
            square = ImageOps.fit(picture.convert("RGB"), (image_size, image_size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, EOFError, *bombs) as error:
        raise DataError(str(error) or type(error).__name__) from error
    return np.asarray(square).transpose(2, 0, 1)


def _require_pillow() -> None:
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("reading pictures needs Pillow; run: pip install 'superconv[cli]'") from error
    Image.init()  # registers the formats once, before threads do
