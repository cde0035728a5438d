"""Decodes one picture file into a square of pixels."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # by content: no EPS, which a program would run
Box = tuple[float, float, float, float]  # left, upper, right, lower, in pixels of the picture as stored
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # of the machine: whatever the file is, it may be good

_GAP = 2.0  # shrinking by more than this, above what is left to the filter, is done by cheap averages of whole pixels


def centre_box(width: int, height: int, share: float = 1.0) -> Box:
    """The square in the middle whose side is `share` of the shorter side.

    Scaling it to S pixels is "resize the shorter side to S / share, then cut out the middle" in one step, without the
    rounding to whole pixels between the two.
    """
    side = share * min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def decode(path: Path, image_size: int, box_of: Callable[[int, int], Box]) -> NDArray[np.uint8]:
    """A part of a picture, scaled to `image_size` pixels a side with the bilinear filter over all pixels it covers.

    A JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its size that has no fewer pixels than are asked for;
    other formats are shrunk by whole factors first where much is lost anyway.

    Args:
        path: the file.
        image_size: S.
        box_of: (width, height) of the picture as stored -> the part.
    Returns: (S, S, 3) uint8, RGB.
    Raises: DataError: it cannot be decoded, for the reason given. OSError: too many files are open, or memory is full.
    """
    from PIL import Image

    with _named_errors(), Image.open(path, formats=FORMATS) as picture:
        width, height = picture.size
        left, upper, right, lower = box_of(width, height)
        enough = image_size / (right - left), image_size / (lower - upper)
        picture.draft("RGB", (math.ceil(width * enough[0]), math.ceil(height * enough[1])))
        across, down = picture.size[0] / width, picture.size[1] / height
        box = (left * across, upper * down, right * across, lower * down)
        size = (image_size, image_size)
        square = _rgb(picture).resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=_GAP)
    return np.asarray(square)


def decode_fitted(path: Path, image_size: int) -> NDArray[np.uint8]:
    """The middle square of a picture, scaled to `image_size` pixels a side, as (3, S, S) uint8.

    Raises: as `decode`.
    """
    from PIL import Image, ImageOps

    with _named_errors(), Image.open(path, formats=FORMATS) as picture:
        picture.draft("RGB", (image_size, image_size))  # a JPEG decodes at the nearest larger scale, much faster
        square = ImageOps.fit(_rgb(picture), (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1)


def _rgb(picture: Any) -> Any:
    """A picture in RGB of 8 bits; of a grey one of 16 bits the upper 8, as Pillow itself reads coloured ones.

    Its own conversion cuts all such values off at 255: hardly anything of the picture would not be white.

    Raises: ValueError: numbers of 32 bits, of which nobody knows where they are black and white.
    """
    from PIL import Image

    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and picture.format in ("PNG", "PPM")):  # which hold no more
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if mode in ("I", "F"):
        reason = f"its pixels are numbers of 32 bits (mode {mode}), whose range is not known"
        raise ValueError(f"{reason}; store it with 8 or 16")
    return picture.convert("RGB")


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn what Pillow raises about a damaged file into a DataError with the reason.

    A shortage of the machine passes as it is: who hears that a picture is damaged may skip it, or remove it.
    """
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)  # the latter where warnings are errors
    try:
        yield
    except (OSError, ValueError, SyntaxError, EOFError, *bombs) as error:
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            raise
        raise DataError(str(error) or type(error).__name__) from error


def require_pillow() -> None:
    """Raises: DataError: Pillow, which decodes pictures, is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError("reading pictures needs Pillow; run: pip install 'superconv[cli]'") from error
    Image.init()  # registers the formats once, before threads do
