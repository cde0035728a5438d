"""Folders of pictures: splits, sizes, corrupt files."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

import superconv.data as data
from superconv.data import DataError, decoded
from superconv.task import named_task, source_hash

Image = pytest.importorskip("PIL.Image")


def write(path, color, size=(20, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def fill(root, count=5, splits=("train",)):
    for split in splits:
        for number, name in enumerate(("cat", "dog")):
            for i in range(count):
                write(root / split / name / f"{i}.png", (100 * number, i, 7))


def test_published_splits(tmp_path):
    fill(tmp_path, splits=("train", "val", "test"))
    splits = data.load(f"folder:{tmp_path}", image_size=8)
    assert splits.train.inputs.shape == (10, 3, 8, 8)
    assert (len(splits.validation), len(splits.test), splits.num_classes) == (10, 10, 2)
    assert splits.train.targets.bincount().tolist() == [5, 5]
    for picture, label in zip(splits.train.inputs, splits.train.targets.tolist(), strict=True):
        assert picture[0].unique().tolist() == [100 * label]  # the class
        assert picture[2].unique().tolist() == [7]
    assert sorted(int(picture[1, 0, 0]) for picture in splits.train.inputs) == sorted(2 * [0, 1, 2, 3, 4])


@pytest.mark.parametrize("parts", [("Training", "Testing"), ("training_set", "test_set"), ("val", "test")])
def test_parts_of_other_names_are_no_classes(tmp_path, parts):
    """Else a network would learn which part a picture is from, and the accuracy be that of a guess."""
    fill(tmp_path, splits=parts)
    with pytest.raises(DataError, match="which are parts of a data set and no classes; call them train, val and test"):
        data.load(f"folder:{tmp_path}", image_size=8)


def test_classes_may_be_called_like_parts(tmp_path):
    for name in ("valid", "invalid"):
        write(tmp_path / name / "0.png", (0, 0, 0))
        write(tmp_path / name / "1.png", (0, 0, 0))
    assert data.load(f"folder:{tmp_path}", image_size=8).num_classes == 2


def test_a_folder_is_one_task_however_its_path_is_written(tmp_path, monkeypatch):
    """A shell completes a folder's name with a slash, and the same command is to find what it finished."""
    fill(tmp_path / "px")
    monkeypatch.chdir(tmp_path)
    tasks = [named_task(f"folder:{path}", "mlp", data_options={"image_size": 8}) for path in ("px", "px/", "./px")]
    assert [task.name for task in tasks] == ["folder:px/mlp"] * 3
    assert len(set(map(source_hash, tasks))) == 1


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_one_held_out_part_is_the_test_part(tmp_path, name):
    fill(tmp_path, splits=("train", name))
    splits = data.load(f"folder:{tmp_path}", image_size=8)
    assert splits.validation is None
    assert len(splits.test) == 10
    assert ("test is the folder's validation pictures" in splits.note) == (name != "test")


def test_the_stored_order_mixes_the_classes(tmp_path):
    """So that a batch of evaluation data has statistics of all of them."""
    fill(tmp_path, count=40, splits=("train", "test"))
    for options in ({}, {"streaming": True}):
        splits = data.load(f"folder:{tmp_path}", image_size=4, **options)
        for part in (splits.test, splits.with_validation(20).validation):
            labels = part.class_labels()
            assert int((labels[1:] != labels[:-1]).sum()) > 3
            assert 0 < labels[: len(labels) // 2].sum() < len(labels) // 2
        again = data.load(f"folder:{tmp_path}", image_size=4, **options)
        assert splits.checksums == again.checksums


def test_plain_classes_are_divided_by_seed(tmp_path):
    fill(tmp_path, splits=("",))
    splits = data.load(f"folder:{tmp_path}", image_size=8)
    assert sorted(splits.test.targets.tolist()) == [0, 1]
    assert len(splits.train) == 8
    assert "carved by seed 0" in splits.note
    assert splits.checksums == data.load(f"folder:{tmp_path}", image_size=8).checksums


def test_the_middle_square_is_kept(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    for name in ("cat", "dog"):
        for i in range(2):
            path = tmp_path / "train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(wide).save(path)
            write(tmp_path / "test" / name / f"{i}.png", (1, 2, 3))
    assert (data.load(f"folder:{tmp_path}", image_size=8).train.inputs == 200).all()


def test_grey_palette_and_alpha_become_three_channels(tmp_path):
    fill(tmp_path, splits=("train", "test"))
    for mode in ("L", "P", "RGBA", "1", "CMYK"):
        suffix = "tif" if mode == "CMYK" else "png"
        Image.new(mode, (9, 9)).save(tmp_path / "train" / "cat" / f"z{mode}.{suffix}")
    assert data.load(f"folder:{tmp_path}", image_size=4).train.inputs.shape == (15, 3, 4, 4)


def test_normalisation_is_measured_on_the_training_pictures(tmp_path):
    fill(tmp_path, splits=("train", "test"))
    splits = data.load(f"folder:{tmp_path}", image_size=8)
    prepared = splits.preparation(splits.train.inputs)
    torch.testing.assert_close(prepared[:, 0].mean(), torch.tensor(0.0), rtol=0, atol=1e-4)
    torch.testing.assert_close(prepared[:, 0].std(unbiased=False), torch.tensor(1.0), rtol=0, atol=1e-4)
    assert torch.isfinite(prepared).all()  # channel 2 is constant


def corrupt_two(tmp_path):
    fill(tmp_path, splits=("train", "test"))
    whole = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    cut = tmp_path / "train" / "cat" / "9.png"
    Image.fromarray(whole).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    (tmp_path / "train" / "dog" / "8.jpg").write_bytes(b"no picture")


def test_corrupt_pictures_are_refused_by_name(tmp_path):
    corrupt_two(tmp_path)
    with pytest.raises(DataError, match=r"2 of 12 pictures .*corrupt='skip'") as raised:
        data.load(f"folder:{tmp_path}")
    assert all(f"{name} (" in str(raised.value) for name in ("cat/9.png", "dog/8.jpg"))


def test_corrupt_pictures_are_skipped_by_choice_and_named(tmp_path):
    corrupt_two(tmp_path)
    splits = data.load(f"folder:{tmp_path}", image_size=8, corrupt="skip")
    assert splits.train.targets.bincount().tolist() == [5, 5]
    assert "2 corrupt pictures were skipped" in splits.note
    assert "9.png" in splits.note
    pairs = zip(splits.train.inputs[:, :, 0, 0].tolist(), splits.train.targets.tolist(), strict=True)
    assert {(*colour, label) for colour, label in pairs} == {
        (100 * label, number, 7, label) for label in (0, 1) for number in range(5)
    }  # every picture has kept its label


@pytest.mark.parametrize("workers", [1, 3])
def test_as_many_threads_as_asked_for_read_a_folder_into_memory(tmp_path, workers, monkeypatch):
    fill(tmp_path, count=12, splits=("train", "test"))
    together, most, lock = [], [], threading.Lock()
    original = decoded.decode_fitted

    def slowly(*arguments):
        with lock:
            together.append(None)
            most.append(len(together))
        time.sleep(0.01)
        with lock:
            together.pop()
        return original(*arguments)

    monkeypatch.setattr(decoded, "decode_fitted", slowly)
    splits = data.load(f"folder:{tmp_path}", image_size=8, workers=workers)
    assert max(most) == workers
    assert splits.checksums == data.load(f"folder:{tmp_path}", image_size=8).checksums


def test_pictures_that_do_not_fit_into_memory(tmp_path):
    fill(tmp_path, splits=("train", "test"))
    with pytest.raises(DataError, match="use a smaller image_size, or streaming"):
        data.load(f"folder:{tmp_path}", image_size=10**7, streaming=False)
    with pytest.raises(DataError, match="use a smaller batch or image_size"):
        data.load(f"folder:{tmp_path}", image_size=10**7)


def test_other_files_are_passed_over(tmp_path):
    fill(tmp_path, splits=("train", "test"))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("x")
    (tmp_path / "train" / "cat" / "._1.png").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    assert len(data.load(f"folder:{tmp_path}", image_size=4).train) == 10


@pytest.mark.parametrize(
    ("change", "options", "says"),
    [
        (lambda root: (root / "train" / "empty").mkdir(), {}, "empty holds no picture"),
        (lambda root: write(root / "test" / "bird" / "1.png", 0), {}, "classes that train has not: bird"),
        (lambda root: write(root / "val" / "cat" / "1.png", 0) or (root / "valid").mkdir(), {}, "mean the same"),
        (lambda root: None, {"image_size": 0}, "image_size 0"),
        (lambda root: None, {"workers": 0}, "workers=0; give the number of decoding threads"),
        (lambda root: None, {"corrupt": "ignore"}, "allowed are 'refuse' and 'skip'"),
    ],
)
def test_errors_say_what_to_do(tmp_path, change, options, says):
    fill(tmp_path, splits=("train", "test"))
    change(tmp_path)
    with pytest.raises(DataError, match=says):
        data.load(f"folder:{tmp_path}", **options)


def test_no_folder_and_no_classes(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        data.load(f"folder:{tmp_path / 'none'}")
    with pytest.raises(DataError, match="at least two"):
        data.load(f"folder:{tmp_path}")


def test_no_folder_is_not_the_working_directory() -> None:
    with pytest.raises(DataError, match="'folder:' names no folder"):
        data.load("folder:")
