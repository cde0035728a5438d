"""What a network accepts as images: one clear sentence where a batch does not fit."""

from __future__ import annotations

from torch import Tensor


def image_shape(image_size: int | tuple[int, int] | None, default: int) -> tuple[int, int]:
    """Height and width from one number, a pair or None (square of side `default`).

    Raises: ValueError: not one or two positive integers.
    """
    size = default if image_size is None else image_size
    try:
        height, width = (size, size) if not isinstance(size, (tuple, list)) else size
        ok = int(height) == height and int(width) == width and height > 0 and width > 0
    except (TypeError, ValueError, OverflowError):
        ok = False
    if not ok:
        raise ValueError(f"image_size: got {image_size!r}, allowed are a positive integer or a pair (height, width)")
    return int(height), int(width)


def size_text(size: tuple[int, int]) -> str:
    """ "28x32", height first."""
    return "x".join(map(str, size))


def check_images(images: Tensor, channels: int, size: tuple[int, int] | None = None, multiple: int = 1) -> None:
    """Complain about a batch that the network cannot take.

    Args:
        images: (N, channels, height, width), floating point.
        channels: what the network was built for.
        size: the only height and width it takes, or None.
        multiple: what height and width must be divisible by.
    Raises: ValueError: what came, what is allowed, what to do.
    """
    if images.dim() != 4:
        raise ValueError(f"images: got shape {tuple(images.shape)}, allowed is (batch, {channels}, height, width)")
    if not images.is_floating_point():
        raise ValueError(
            f"images: got {images.dtype}, allowed are floating-point tensors; convert, and scale if need be"
        )
    _, got_channels, height, width = images.shape
    if got_channels != channels:
        raise ValueError(
            f"images: got {got_channels} channels, the network was built for {channels}; "
            f"build it with in_channels={got_channels}"
        )
    if size is not None and (height, width) != size:
        raise ValueError(
            f"images: got {height}x{width} pixels, the network was built for {size[0]}x{size[1]}; "
            f"build it with image_size=({height}, {width})"
        )
    if height % multiple or width % multiple:
        raise ValueError(
            f"images: got {height}x{width} pixels, height and width must be multiples of {multiple}; resize or pad them"
        )
