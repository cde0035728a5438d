"""Streamed pictures: pixels, order, resumption, corrupt files, and that reading ahead changes nothing."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import torch

import superconv.data as data
from superconv.data import Batches, DataError, RandomCrop, read_ahead
from superconv.data.decoding import View
from superconv.data.picture import centre_box, decode

Image = pytest.importorskip("PIL.Image")
COUNT = 11  # a class


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of noisy pictures of many sizes, a training and a validation split."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, name, number in itertools.product(("train", "val"), ("cat", "dog"), range(COUNT)):
        path = root / split / name / f"{number:02}.{'jpg' if number % 3 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
        size = (20 + 3 * number, 64 - 4 * number)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path)
    return root


def load(folder, **options):
    return data.load(f"folder:{folder}", **{"image_size": 12, "streaming": True, "workers": 2, **options})


def batches(splits, batch_size=4, **options):
    return Batches(splits.train, batch_size, **{"seed": 5, "preparation": splits.preparation, **options})


def forever(source):
    while True:
        yield from source


def drawn(source, count):
    return list(itertools.islice(forever(source), count))


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(one, other, strict=True)
    )


def spoil(folder, tmp_path, *names):
    """A copy of the folder in which those training pictures are cut off in the middle."""
    root = tmp_path / "spoilt"
    shutil.copytree(folder, root)
    for name in names:
        path = root / "train" / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return root


def test_evaluation_scales_the_shorter_side_and_cuts_out_the_middle(folder):
    splits = load(folder, image_size=14, resize=16)
    chosen = [splits.test.names.index(name) for name in ("cat/00.png", "dog/01.jpg")]
    pixels, targets = splits.test.batch(torch.tensor(chosen))
    assert (pixels.shape, pixels.dtype, targets.tolist()) == ((2, 3, 14, 14), torch.uint8, [0, 1])
    for index, got in zip(chosen, pixels, strict=True):
        path = splits.test.root / splits.test.names[index]
        with Image.open(path) as picture:
            factor = 16 / min(picture.size)
            size = tuple(round(side * factor) for side in picture.size)
            small = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        left, upper = ((side - 14) / 2 for side in size)
        expected = small.crop((round(left), round(upper), round(left) + 14, round(upper) + 14))
        difference = np.abs(np.asarray(expected, dtype=float) - got.permute(1, 2, 0).numpy())
        assert difference.mean() < 4  # two roundings less, of up to half a pixel each


def test_without_a_margin_it_is_the_picture_in_memory(folder):
    """PNG alone: of a JPEG another of its reduced sizes may be decoded."""
    held = data.load(f"folder:{folder}", image_size=12)
    streamed = load(folder, resize=12)
    chosen = [i for i, name in enumerate(streamed.test.names) if name.endswith("png")]
    assert torch.equal(streamed.test.batch(torch.tensor(chosen))[0], held.test.inputs[chosen])
    assert streamed.test.class_labels().tolist() == held.test.targets.tolist()


def test_a_jpeg_is_decoded_at_a_reduced_size_that_still_has_all_pixels(tmp_path):
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    coarse.resize((400, 320), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as picture:
        box = (40, 40, 240, 240)
        expected = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR, box=box), dtype=float)
    difference = np.abs(decode(tmp_path / "a.jpg", 32, lambda width, height: box) - expected)
    assert difference.mean() < 1.5
    assert difference.max() < 12


def test_every_sample_once_an_epoch_with_its_label(folder):
    splits = load(folder)
    source = batches(splits, 5, drop_last=False, augment=False, shuffle=True)
    whole = dict(zip(map(tuple, splits.train.batch(torch.arange(22))[0].flatten(1).tolist()), range(22), strict=True))
    source.preparation = data.Preparation.identity()
    seen = [whole[tuple(x.int().flatten().tolist())] for inputs, _ in source for x in inputs]
    assert sorted(seen) == list(range(22))
    source.restart(0)
    labels = [t for _, targets in source for t in targets.tolist()]
    assert labels == [splits.train.targets[i] for i in seen]


@pytest.mark.parametrize("workers", [1, 3])
def test_neither_workers_nor_reading_ahead_change_a_pixel(folder, workers, monkeypatch):
    expected = drawn(batches(load(folder)), 12)
    monkeypatch.setattr(data.StreamedPictures, "read_ahead", property(lambda self: 1 + 8 * (workers - 1)))
    assert same(drawn(batches(load(folder, workers=workers)), 12), expected)


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("drop_last", [True, False])
def test_resumption_at_every_step_is_bit_for_bit(folder, steps, drop_last):
    splits = load(folder)
    whole = drawn(batches(splits, drop_last=drop_last), 11)
    before = batches(splits, drop_last=drop_last)
    head = drawn(before, steps)
    after = batches(load(folder, workers=1), seed=99, drop_last=drop_last)
    next(iter(after))  # something is under way already
    after.load_state_dict(before.state_dict())
    assert same(head + drawn(after, 11 - steps), whole)


def test_crops_differ_between_epochs_pictures_and_seeds(folder):
    splits = load(folder)
    source = batches(splits, 22, shuffle=False, preparation=None)
    (first, _), (second, _) = drawn(source, 2)
    (other, _) = next(iter(batches(splits, 22, shuffle=False, preparation=None, seed=6)))
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)
    plain, _ = next(iter(batches(splits, 22, shuffle=False, preparation=None, augment=False)))
    assert torch.equal(plain, splits.train.batch(torch.arange(22))[0] / 255)


def test_two_ranks_see_together_what_one_sees(folder):
    splits = load(folder)
    one = drawn(batches(splits, 4), 8)
    ranks = [drawn(batches(splits, 2, rank=rank, world_size=2), 8) for rank in range(2)]
    together = [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*ranks, strict=True)]
    assert same(together, one)


def test_global_random_states_are_neither_read_nor_moved(folder):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    drawn(batches(load(folder)), 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_epochs_end_is_read_over(folder, monkeypatch):
    splits = load(folder, workers=1)
    begun = []
    original = data.StreamedPictures.begin
    monkeypatch.setattr(
        data.StreamedPictures, "begin", lambda self, *a, **k: (begun.append(1), original(self, *a, **k))[1]
    )
    source = batches(splits, 16)  # one batch an epoch, two ahead
    list(source)
    assert len(begun) == 3
    list(source)
    assert len(begun) == 4


def test_what_is_abandoned_is_cancelled(folder):
    source = batches(load(folder))
    iterator = iter(source)
    next(iterator)
    assert source._ahead._begun
    iterator.close()
    assert not source._ahead._begun


def test_copies_and_pickles_draw_on_by_themselves(folder):
    source = batches(load(folder))
    iterator = iter(source)
    next(iterator)
    deep, pickled = copy.deepcopy(source), pickle.loads(pickle.dumps(source))
    expected = drawn(source, 4)
    assert same(drawn(deep, 4), expected)
    assert same(drawn(pickled, 4), expected)


def test_layout_in_memory_is_the_one_asked_for(folder):
    splits = load(folder)
    for wanted, form in ((False, torch.contiguous_format), (True, torch.channels_last)):
        inputs, _ = next(iter(batches(splits, channels_last=wanted)))
        assert inputs.is_contiguous(memory_format=form)


def at(root, pictures, **changes):
    """The same files in another folder."""
    return dataclasses.replace(pictures, root=root / "train", _warned=set(), **changes)


def test_a_name_that_is_no_utf8_is_told_apart_too(folder):
    train = load(folder).train
    one, other = (
        dataclasses.replace(train, names=[os.fsdecode(name), *train.names[1:]]) for name in (b"\xe9", b"\xe8")
    )
    assert len({each.checksum for each in (train, one, other)}) == 3


def test_a_corrupt_picture_is_refused_by_name_when_it_is_drawn(folder, tmp_path):
    root = spoil(folder, tmp_path, "cat/03.png")
    says = r"cat.03\.png cannot be decoded \(.*\); remove it, or use corrupt='skip'"
    with pytest.raises(DataError, match=says):
        load(root)  # the mean of the training pixels is measured
    source = Batches(at(root, load(folder).train), 4, shuffle=False, drop_last=False)
    with pytest.raises(DataError, match=says):
        list(source)
    source.restart(0)
    source.data = at(folder, source.data)  # once the file is mended
    assert len(list(source)) == 6


def test_a_skipped_picture_is_replaced_by_the_next_of_its_class(folder, tmp_path):
    clean = load(folder, crop_scale=(0.2, 0.9)).train
    cats = np.flatnonzero(clean.targets == 0).tolist()
    dogs = np.flatnonzero(clean.targets == 1).tolist()
    bad = [clean.names[i] for i in (cats[-1], *dogs[3:5])]
    spoilt = at(spoil(folder, tmp_path, *bad), clean, corrupt="skip")
    parts = clean.draw_parts(22, torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="stands in its place") as caught:
        pixels, targets = spoilt.begin(torch.arange(22), parts, keep_full=True).wait()
    said = sorted(str(warning.message).rpartition("; ")[2].split(" ")[0] for warning in caught)
    assert said == sorted(clean.names[i].rpartition("/")[2] for i in (cats[0], dogs[5], dogs[5]))
    assert targets.tolist() == clean.targets.tolist()
    for place, stand_in in ((cats[-1], cats[0]), (dogs[3], dogs[5]), (dogs[4], dogs[5]), (cats[2], cats[2])):
        expected = clean.begin(torch.tensor([stand_in]), parts[place : place + 1]).wait()[0][0]
        assert torch.equal(pixels[place], expected)
    again = spoilt.begin(torch.arange(22), parts, keep_full=True).wait()[0]  # a warning would be an error
    assert torch.equal(again, pixels)


def test_training_batches_stay_full_and_say_what_stands_in(folder, tmp_path):
    splits = load(folder)
    spoilt = at(spoil(folder, tmp_path, "dog/03.png"), splits.train, corrupt="skip")
    with pytest.warns(UserWarning, match=r"03\.png cannot be decoded \(.*\); \d\d\.\w+ stands in its place"):
        labels = [targets.tolist() for _, targets in drawn(Batches(spoilt, 11, seed=5), 4)]
    assert labels == [targets.tolist() for _, targets in drawn(batches(splits, 11), 4)]


def test_in_evaluation_a_skipped_picture_is_left_out(folder, tmp_path):
    root = spoil(folder, tmp_path, "cat/03.png")
    with pytest.warns(UserWarning, match=r"03\.png cannot be decoded \(.*\); it is left out"):
        train = load(root, corrupt="skip").train
    source = Batches.for_evaluation(train, batch_size=5)
    assert [len(targets) for _, targets in source] == [4, 5, 5, 5, 2]


def test_an_evaluation_batch_of_which_nothing_is_left_is_left_out(folder, tmp_path):
    last = load(folder).train.names[-1]
    with pytest.warns(UserWarning, match="it is left out"):
        train = load(spoil(folder, tmp_path, last), corrupt="skip").train
    source = Batches.for_evaluation(train, batch_size=7)
    assert [len(targets) for _, targets in source] == [7, 7, 7]


def test_a_class_without_a_good_picture_is_an_error(folder, tmp_path):
    names = [f"cat/{number:02}.{'jpg' if number % 3 else 'png'}" for number in range(COUNT)]
    root = spoil(folder, tmp_path, *names)
    with pytest.warns(UserWarning, match="left out"):
        source = batches(load(root, corrupt="skip"), 22)
    with pytest.raises(DataError, match="cannot be decoded"):
        list(source)


def _listed(root):
    with pytest.warns(UserWarning, match="left out"):
        return load(root, corrupt="skip").train


def test_the_checksum_knows_files_and_view(folder, tmp_path):
    splits = load(folder)
    assert splits.checksums == load(folder, workers=1, corrupt="skip").checksums
    others = [
        load(folder, image_size=13),
        load(folder, resize=20),
        load(folder, crop_scale=(0.5, 1)),
        load(folder, crop_ratio=(1, 1)),
    ]
    root = spoil(folder, tmp_path, "cat/03.png")  # of another length
    assert at(folder, splits.train).checksum == splits.train.checksum
    sums = {each.train.checksum for each in (splits, *others)} | {_listed(root).checksum}
    assert len(sums) == 6
    assert splits.subset(9).train.checksum not in sums
    assert splits.train.to("cpu") is splits.train


def test_small_folders_stay_in_memory_and_large_ones_on_the_disk(folder, monkeypatch):
    from superconv.data import folder_loading

    def kind(**options):
        return type(data.load(f"folder:{folder}", image_size=12, **options).train).__name__

    assert kind() == "Data"
    assert kind(crop_scale=(0.3, 1)) == kind(resize=16) == kind(streaming=True) == "StreamedPictures"
    monkeypatch.setattr(folder_loading, "MEMORY_BYTES", 3 * 12**2 * 44)  # all of both splits, to the byte
    assert kind() == "Data"
    monkeypatch.setattr(folder_loading, "MEMORY_BYTES", 3 * 12**2 * 44 - 1)
    assert kind() == "StreamedPictures"
    assert kind(streaming=False) == "Data"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"streaming": False, "resize": 20}, "resize: of streamed pictures alone"),
        ({"resize": 11}, "resize 11 with image_size 12"),
        ({"workers": 0}, "workers=0"),
        ({"crop_scale": (0.5, 2)}, "crop_scale"),
        ({"crop_scal": (0.5, 1)}, "did you mean 'crop_scale'"),
    ],
)
def test_impossible_options_are_refused(folder, options, says):
    with pytest.raises(DataError, match=says):
        load(folder, **options)


def test_the_mean_image_and_normalisation_are_measured_on_middle_squares(folder):
    splits = load(folder)
    pixels = splits.train.batch(torch.arange(22))[0].double()
    torch.testing.assert_close(splits.train.mean_image(), pixels.mean(0).float())
    mean = splits.preparation.offset.flatten()
    torch.testing.assert_close(mean, pixels.mean((0, 2, 3)).float(), rtol=1e-5, atol=1e-4)
    assert splits.prepared("mean-image").preparation.kind == "mean_image"


def test_reading_ahead_by_itself():
    events = []

    class Slow:
        def __init__(self, place):
            self.place = place
            events.append(("begin", place))

        def wait(self):
            return self.place

        def cancel(self):
            events.append(("cancel", self.place))

    ahead = read_ahead.ReadAhead()
    places = [(0, number, 1) for number in range(9)]
    assert ahead.take(places[0], places[1:3], Slow).wait() == places[0]
    assert events == [("begin", place) for place in places[:3]]
    assert ahead.take(places[1], places[2:4], Slow).wait() == places[1]
    assert events[3:] == [("begin", places[3])]
    assert ahead.take(places[7], places[8:], Slow).wait() == places[7]  # a jump
    assert sorted(events[4:]) == [
        ("begin", places[7]),
        ("begin", places[8]),
        ("cancel", places[2]),
        ("cancel", places[3]),
    ]
    ahead.clear()
    assert events[-1] == ("cancel", places[8])


def test_batches_are_decoded_by_the_threads(folder, monkeypatch):
    seen = set()
    from superconv.data import decoding

    original = decoding.decode

    def spy(*arguments):
        seen.add(threading.current_thread().name)
        return original(*arguments)

    monkeypatch.setattr(decoding, "decode", spy)
    next(iter(batches(load(folder))))
    assert all(name.startswith("superconv-decode") for name in seen)
    assert seen


def test_the_view_is_plain_data():
    view = View(10, 20, RandomCrop())
    assert view.middle(40, 60) == centre_box(40, 60, 0.5)
    assert "RandomCrop(scale=(0.08, 1.0), ratio=(0.75, 1.3333333333333333))" in repr(view)
