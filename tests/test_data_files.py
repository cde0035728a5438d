"""The readers of IDX, CIFAR and archives, on tiny files in the publishers' formats and on damaged ones."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from superconv.data.archive import read_members
from superconv.data.cifar import PIXELS, decode_binary, decode_python
from superconv.data.errors import DataError
from superconv.data.idx import read_idx
from superconv.data.safe_pickle import load_arrays

REMEDY = "fetch it again"


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_is_read_plain_and_gzipped(tmp_path, images, suffix):
    path = tmp_path / f"images{suffix}"
    content = idx_bytes(images)
    path.write_bytes(gzip.compress(content) if suffix else content)
    np.testing.assert_array_equal(read_idx(path, 3, REMEDY), images)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b"", "is empty"),
        (lambda b: b"PK" + b[2:], "not an IDX file"),
        (lambda b: b[:2] + b"\x0d" + b[3:], "not an IDX file"),  # floats
        (lambda b: b[:9], "truncated inside its header"),
        (lambda b: b[:-1], "truncated"),
        (lambda b: b + b"x", "too long"),
    ],
)
def test_idx_damage_is_one_clear_sentence(tmp_path, images, damage, says):
    path = tmp_path / "images"
    path.write_bytes(damage(idx_bytes(images)))
    with pytest.raises(DataError, match=says) as caught:
        read_idx(path, 3, REMEDY)
    assert str(caught.value).endswith(REMEDY)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"nonsense", lambda b: b[:-6] + b"\0" * 6])
def test_damaged_gzip_is_one_clear_sentence(tmp_path, images, damage):
    path = tmp_path / "images.gz"
    path.write_bytes(damage(gzip.compress(idx_bytes(images))))
    with pytest.raises(DataError, match="truncated or corrupted"):
        read_idx(path, 3, REMEDY)


def cifar_records(count, label_bytes):
    rng = np.random.default_rng(count)
    labels = rng.integers(0, 10, (count, label_bytes)).astype(np.uint8)
    pixels = rng.integers(0, 256, (count, PIXELS)).astype(np.uint8)
    return labels, pixels, np.concatenate([labels, pixels], axis=1).tobytes()


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_cifar_binary_planes_and_the_fine_label(label_bytes):
    labels, pixels, content = cifar_records(4, label_bytes)
    images, decoded = decode_binary(content, label_bytes, "file", REMEDY)
    np.testing.assert_array_equal(decoded, labels[:, -1])
    assert images[2, 1, 3, 5] == pixels[2, 1024 + 3 * 32 + 5]  # green plane, row 3, column 5


@pytest.mark.parametrize(("damage", "says"), [(lambda b: b"", "is empty"), (lambda b: b[:-1], "truncated")])
def test_cifar_binary_damage(damage, says):
    with pytest.raises(DataError, match=says):
        decode_binary(damage(cifar_records(2, 1)[2]), 1, "file", REMEDY)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("key", ["labels", "fine_labels"])
def test_cifar_python_every_protocol(protocol, key):
    labels, pixels, _ = cifar_records(3, 1)
    batch = {b"data": pixels, key: labels[:, 0].tolist(), "filenames": ["a", "b", "c"]}
    images, decoded = decode_python(pickle.dumps(batch, protocol), "file", REMEDY)
    np.testing.assert_array_equal(images.reshape(3, -1), pixels)
    np.testing.assert_array_equal(decoded, labels[:, 0])


def python2_batch(pixels, labels):
    """A batch as Python 2 pickled it: protocol 2, byte strings, numpy's old module names."""

    def text(value):
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<I", len(value)) + value

    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    shape = b"K" + bytes([len(pixels)]) + b"M" + struct.pack("<H", PIXELS) + b"\x86"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R(K\x01" + shape
    array += dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + b"u."


def test_cifar_python_as_published_by_python_2():
    labels, pixels, _ = cifar_records(3, 1)
    content = python2_batch(pixels, labels[:, 0].tolist())
    images, decoded = decode_python(content, "file", REMEDY)
    np.testing.assert_array_equal(images.reshape(3, -1), pixels)
    np.testing.assert_array_equal(decoded, labels[:, 0])


class Evil:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_runs_no_code(tmp_path, protocol):
    marker = tmp_path / "ran"
    for evil in (Evil(os.mkdir, str(marker)), Evil(eval, f"__import__('os').mkdir({str(marker)!r})")):
        with pytest.raises(DataError, match="refused: it names"):
            decode_python(pickle.dumps({"data": evil, "labels": []}, protocol), "file", REMEDY)
    assert not marker.exists()


def test_a_pickle_calls_no_numpy_function_either():
    with pytest.raises(DataError, match="refused"):
        load_arrays(pickle.dumps(Evil(np.load, "file")))
    with pytest.raises(DataError, match="plain numbers"):
        load_arrays(pickle.dumps(np.array([object()])[:0].astype(object), 2))


@pytest.mark.parametrize("content", [b"\x80\x02}", b"garbage", pickle.dumps([1, 2]), pickle.dumps({"data": 3})])
def test_damaged_and_foreign_pickles(content):
    with pytest.raises(DataError, match=REMEDY):
        decode_python(content, "file", REMEDY)


def test_truncated_pickle_and_counts_that_differ():
    labels, pixels, _ = cifar_records(3, 1)
    whole = pickle.dumps({"data": pixels, "labels": labels[:2, 0].tolist()})
    with pytest.raises(DataError, match="3 images and 2 labels"):
        decode_python(whole, "file", REMEDY)
    with pytest.raises(DataError, match="not a readable pickle"):
        decode_python(whole[:-100], "file", REMEDY)
    with pytest.raises(DataError, match="is empty"):
        decode_python(b"", "file", REMEDY)


def test_arrays_keep_order_type_and_containers():
    value = {"a": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)), "b": [1, (2.5, None)], "c": b"x"}
    for protocol in (2, 5):
        back = load_arrays(pickle.dumps(value, protocol))
        np.testing.assert_array_equal(back["a"], value["a"])
        assert (back["b"], back["c"]) == (value["b"], value["c"])


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def test_members_are_read_and_nothing_is_written(tmp_path):
    path = tmp_path / "set.tar.gz"
    write_tar(path, {"set/a.bin": b"a" * 5000, "../../b.bin": b"b", "set/readme": b"no"})
    before = sorted(tmp_path.parent.rglob("*"))
    assert read_members(path, ["a.bin", "b.bin"], REMEDY) == {"a.bin": b"a" * 5000, "b.bin": b"b"}
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_links_in_an_archive_are_not_followed(tmp_path):
    path = tmp_path / "set.tar.gz"
    write_tar(path, {"set/a.bin": None})
    with pytest.raises(DataError, match=r"holds no a\.bin"):
        read_members(path, ["a.bin"], REMEDY)


def test_every_cut_and_a_flipped_byte_of_an_archive_are_noticed(tmp_path):
    path = tmp_path / "set.tar.gz"
    noise = np.random.default_rng(0).bytes(20_000)
    write_tar(path, {"set/a.bin": noise})
    whole = path.read_bytes()
    for cut in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match="truncated or corrupted"):
            read_members(path, ["a.bin"], REMEDY)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(DataError, match="truncated or corrupted"):
        read_members(path, ["a.bin"], REMEDY)


def test_unreadable_files_say_why(tmp_path):
    for read in (lambda: read_members(tmp_path, ["a"], REMEDY), lambda: read_idx(tmp_path / "none", 3, REMEDY)):
        with pytest.raises(DataError, match="cannot be read"):
            read()
