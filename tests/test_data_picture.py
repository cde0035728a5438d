"""One picture file: whatever its bytes are, pixels or a DataError."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from superconv.data import DataError
from superconv.data.picture import centre_box, decode, decode_fitted

Image = pytest.importorskip("PIL.Image")


def encoded(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 23, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


FORMS = {form: encoded(form) for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "PPM")}


@given(
    st.sampled_from(sorted(FORMS)),
    st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=6),
    st.integers(0, 10**4),
)
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_pictures_or_data_errors(
    tmp_path: Path, form: str, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(FORMS[form])
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path / "picture"
    path.write_bytes(content[: length % (2 * len(content))])  # cut off in half of the cases
    for read, shape in ((lambda: decode(path, 8, centre_box), (8, 8, 3)), (lambda: decode_fitted(path, 8), (3, 8, 8))):
        with suppress(DataError):
            pixels = read()
            assert (pixels.shape, pixels.dtype) == (shape, np.uint8)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"", b"no picture"])
def test_only_pictures_are_read_whatever_the_name_says(tmp_path: Path, content: bytes) -> None:
    """PostScript above all, which Pillow would hand to a program that runs it."""
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot identify image file"):
        decode(path, 8, centre_box)
    with pytest.raises(DataError, match="cannot identify image file"):
        decode_fitted(path, 8)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        decode(tmp_path / "none.png", 8, centre_box)


@pytest.mark.parametrize("read", [lambda path: decode(path, 8, centre_box), lambda path: decode_fitted(path, 8)])
@pytest.mark.parametrize("shortage", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_of_the_machine_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object], shortage: int
) -> None:
    """Else a good picture would be skipped, or called one to remove, where too many files are open."""

    def refuse(path: Path, **_: object) -> None:
        raise OSError(shortage, os.strerror(shortage), str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(OSError, match=os.strerror(shortage)):
        read(tmp_path / "picture.png")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(FORMS["PNG"])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="decompression bomb"):
        decode(path, 8, centre_box)


READ = (lambda path: decode(path, 64, centre_box)[0, :, 0], lambda path: decode_fitted(path, 64)[0, 0])
GREYS = np.tile(np.arange(64, dtype=np.uint16) << 10, (64, 1))  # of 16 bits, from black to nearly white


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("form", ["little.png", "little.tif", "big.tif", "grey.pgm"])
def test_grey_pictures_of_16_bits_keep_their_greys(
    tmp_path: Path, form: str, read: Callable[[Path], np.ndarray]
) -> None:
    """Pillow's own way to RGB makes all of them white but what lies below 256."""
    path = tmp_path / form
    if form.endswith("pgm"):
        path.write_bytes(b"P5 64 64 65535\n" + GREYS.astype(">u2").tobytes())
    else:
        Image.fromarray(GREYS.astype(">u2" if form.startswith("big") else "<u2")).save(path)
    assert read(path).tolist() == (GREYS[0] >> 8).tolist()


@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_pictures_of_32_bits_are_refused(tmp_path: Path, kind: type, read: Callable[[Path], np.ndarray]) -> None:
    path = tmp_path / "depth.tif"
    Image.fromarray(GREYS.astype(kind)).save(path)
    with pytest.raises(DataError, match=r"numbers of 32 bits .* store it with 8 or 16"):
        read(path)
