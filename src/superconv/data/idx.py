"""Reads IDX files, the format of MNIST, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

_UNSIGNED_BYTES = 0x08


def read_idx(path: Path, dimensions: int, remedy: str) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes.

    The file is: two zero bytes, the type code (8: unsigned byte), the number of dimensions, each size as a
    big-endian 32-bit integer, then the values in row-major order.

    Args:
        path: the file; a name that ends in `.gz` is inflated.
        dimensions: how many the file must have: 3 for images, 1 for labels.
        remedy: what to do about a damaged file; ends every message.
    Raises: DataError: unreadable, empty, truncated or too long, or another magic number.
    Reference: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
    """
    content = read_bytes(path, remedy)
    if not content:
        raise DataError(f"{path} is empty; {remedy}")
    expected_magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    header = 4 + 4 * dimensions
    if content[:4] != expected_magic:
        raise DataError(
            f"{path} is not an IDX file of {dimensions} dimensions: it starts with {content[:4].hex()}, "
            f"not {expected_magic.hex()}; {remedy}"
        )
    if len(content) < header:
        raise DataError(f"{path} is truncated inside its header; {remedy}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if 0 in shape:
        raise DataError(f"{path} holds nothing: its header gives the sizes {', '.join(map(str, shape))}; {remedy}")
    held, promised = len(content) - header, math.prod(shape)
    if held != promised:
        what = "truncated" if held < promised else "too long"
        raise DataError(f"{path} is {what}: its header promises {promised:,} bytes, it holds {held:,}; {remedy}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def read_bytes(path: Path, remedy: str) -> bytes:
    """The content of a file, inflated where its name ends in `.gz`.

    Raises: DataError: unreadable, or damaged compression.
    """
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            content: bytes = file.read()
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is truncated or corrupted ({error}); {remedy}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    return content
