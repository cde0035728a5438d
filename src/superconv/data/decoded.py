"""Decodes listed pictures into one array of squares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .decoding import Corrupt, decoding_threads
from .errors import DataError
from .folder import Listing
from .picture import decode_fitted


@dataclass(frozen=True)
class Pictures:
    """The decoded pictures of one split.

    Args:
        images: (N, 3, S, S) uint8.
        labels: (N,) number of the class.
        skipped: files that could not be decoded.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    skipped: tuple[Path, ...]


def decode_all(listing: Listing, image_size: int, corrupt: Corrupt, workers: int | None = None) -> Pictures:
    """Every picture of a listing: its shorter side resized to `image_size`, then the middle square cut out.

    Args:
        listing: the files.
        image_size: S.
        corrupt: "refuse" names the files that cannot be decoded in an error; "skip" leaves them out and lists them.
        workers: as of `decoding_threads`. It changes no pixel.
    Raises: DataError: corrupt files, or more pixels than memory.
    """
    count, paths = len(listing), [listing.root / name for name in listing.names]
    try:
        images = np.empty((count, 3, image_size, image_size), dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        gigabytes = 3 * image_size**2 * count / 1e9
        raise DataError(
            f"{count:,} pictures of {image_size} x {image_size} need {gigabytes:,.1f} GB; use a smaller image_size, or "
            "streaming"
        ) from error

    def decode(index: int) -> str | None:
        try:
            images[index] = decode_fitted(paths[index], image_size)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(decoding_threads(workers)) as threads:  # Pillow decodes outside the interpreter lock
        problems = list(threads.map(decode, range(count)))
    good = [index for index, problem in enumerate(problems) if problem is None]
    bad = [index for index, problem in enumerate(problems) if problem is not None]
    if bad and (corrupt == "refuse" or not good):
        shown = "; ".join(f"{paths[i]} ({problems[i]})" for i in bad[:5]) + ("; ..." if len(bad) > 5 else "")
        raise DataError(
            f"{len(bad)} of {count} pictures cannot be decoded: {shown}; remove them, or use corrupt='skip'"
        )
    return Pictures(images[good] if bad else images, listing.labels[good], tuple(paths[i] for i in bad))
