"""Decodes the files of CIFAR-10 and CIFAR-100, binary and Python version."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .safe_pickle import load_arrays

PIXELS = 3 * 32 * 32
Decoded = tuple[NDArray[np.uint8], NDArray[np.int64]]


def decode_binary(content: bytes, label_bytes: int, where: str, remedy: str) -> Decoded:
    """Images (N, 3, 32, 32) and labels (N,) of one binary file.

    A record is the label (CIFAR-10), or the coarse and the fine label (CIFAR-100), one byte each, then 3,072
    pixels: the red plane row by row, then green, then blue. Of CIFAR-100's labels the fine one is taken.

    Args:
        content: the whole file.
        label_bytes: 1 for CIFAR-10, 2 for CIFAR-100.
        where: what to call the file in a message.
        remedy: what to do about a damaged file; ends every message.
    Raises: DataError: empty, or no whole number of records.
    Reference: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    """
    record = label_bytes + PIXELS
    if not content:
        raise DataError(f"{where} is empty; {remedy}")
    if len(content) % record:
        raise DataError(
            f"{where} is truncated: {len(content):,} bytes are no whole number of records of {record:,}; {remedy}"
        )
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)


def decode_python(content: bytes, where: str, remedy: str) -> Decoded:
    """Images (N, 3, 32, 32) and labels (N,) of one file of the Python version; no code of the pickle is run.

    Args:
        content: the whole file: a pickled dict with `data` (N, 3072) uint8, and `labels` or `fine_labels`.
        where: what to call the file in a message.
        remedy: what to do about a damaged file; ends every message.
    Raises: DataError: empty, damaged, holding something else, or counts that differ.
    Reference: https://www.cs.toronto.edu/~kriz/cifar.html, "Python / Matlab versions".
    """
    if not content:
        raise DataError(f"{where} is empty; {remedy}")
    try:
        batch = load_arrays(content)
    except DataError as error:
        raise DataError(f"{where}: {error}; {remedy}") from error
    images, labels = _fields(batch)
    if images is None or labels is None:
        raise DataError(f"{where} holds no `data` with `labels` or `fine_labels` of CIFAR; {remedy}")
    if len(images) != len(labels):
        raise DataError(f"{where} holds {len(images):,} images and {len(labels):,} labels; {remedy}")
    return images.reshape(-1, 3, 32, 32), labels


def _fields(batch: Any) -> tuple[NDArray[np.uint8] | None, NDArray[np.int64] | None]:
    """Pixels and labels of an unpickled batch; None for what is not there or not as published."""
    if not isinstance(batch, dict):
        return None, None
    named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    data, labels = named.get("data"), named.get("fine_labels", named.get("labels"))
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == PIXELS):
        data = None
    if not (isinstance(labels, list) and all(isinstance(label, int) for label in labels)):
        return data, None
    try:
        return data, np.array(labels, dtype=np.int64)
    except OverflowError:
        return data, None
