"""Splits and what they are made of: tensors, arrays, Datasets; carving, subsets, errors."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import superconv as sc
import superconv.data.batches as batches_module
import superconv.data.splits as splits_module
from superconv.data import Data, DataError, Preparation, Splits
from superconv.data.samples import DatasetSamples


def pictures(count=60, classes=3):
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=generator), torch.arange(
        count
    ) % classes


class Lazy(Dataset):
    """Map-style, with torchvision's `targets`."""

    def __init__(self, count=12):
        self.targets = [i % 3 for i in range(count)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return torch.full((2,), float(index)), self.targets[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize("module", [splits_module, batches_module])
def test_the_examples_of_the_documentation(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_public_name_is_this_class():
    assert sc.Splits is Splits


def test_pairs_arrays_and_tensor_datasets_become_data():
    x, y = pictures()
    for given in ((x, y), [x, y], (x.numpy(), y.numpy()), TensorDataset(x, y), Data(x, y)):
        splits = Splits(given, None, given, 3, name="mine")
        assert isinstance(splits.train, Data)
        assert torch.equal(splits.train.images, x)
        assert splits.train.targets.dtype == torch.int64
    assert Splits((x, y), None, None, 3, name="mine").train.name == "mine/train"


def test_small_integer_labels_become_int64_and_floats_stay():
    x, y = pictures()
    assert Data(x, y.to(torch.uint8)).targets.dtype == torch.int64
    assert Data(x, torch.rand(60)).targets.dtype == torch.float32
    assert Splits((x, torch.rand(60)), None, None, 1).train.class_labels() is None


def test_other_datasets_are_kept_and_their_labels_known():
    splits = Splits(Lazy(), Subset(Lazy(), [0, 1, 2, 3]), None, 3)
    assert splits.train.class_labels().tolist() == [0, 1, 2] * 4
    assert splits.validation.class_labels().tolist() == [0, 1, 2, 0]
    inputs, targets = splits.train.batch(torch.tensor([4, 2]))
    assert (inputs.tolist(), targets.tolist()) == ([[4.0, 4.0], [2.0, 2.0]], [1, 2])
    assert splits.checksums == {"train": None, "validation": None}


class Sentences(Dataset):
    """Word numbers, sample n with n % 5 + 1 of them."""

    def __len__(self):
        return 20

    def __getitem__(self, index):
        return torch.full((index % 5 + 1,), index), index % 2


def padded(samples):
    words = [words for words, _ in samples]
    lengths = torch.tensor([len(each) for each in words])
    inputs = {"words": torch.nn.utils.rnn.pad_sequence(words, batch_first=True), "lengths": lengths}
    return inputs, torch.tensor([label for _, label in samples])


def test_a_collate_fn_makes_the_batches_of_every_part():
    splits = Splits(Sentences(), None, Sentences(), name="text", collate_fn=padded).with_validation(5).subset(9)
    for samples in (splits.train, splits.validation, splits.test):
        inputs, targets = samples.batch(torch.tensor([0, 3, 1]))
        assert inputs["words"].shape == (3, int(inputs["lengths"].max()))
        assert torch.equal((inputs["words"][:, 0] % 2), targets)
    loader = sc.data.Batches(splits.train, 3, seed=0)
    assert sum(len(targets) for _, targets in loader) == 9
    x, y = pictures()
    kept = Splits(TensorDataset(x, y), None, None, collate_fn=len)
    assert kept.train.batch(torch.tensor([1, 2, 3])) == 3


@pytest.mark.parametrize("targets", [[[1, 2], [3]] * 4, [torch.zeros(2), torch.zeros(3)] * 4, [{"box": [1]}, {}] * 4])
def test_targets_that_are_no_class_labels_are_none(targets):
    """Of a detector's or a language model's data set: what torchvision calls `targets` may be of any length."""

    class Boxes(list):
        pass

    boxes = Boxes(range(8))
    boxes.targets = targets
    assert DatasetSamples(boxes).class_labels() is None


def test_a_full_memory_is_not_said_to_be_samples_that_make_no_batch() -> None:
    samples = DatasetSamples([(torch.zeros(1).expand(10**14), 0)] * 2)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        samples.batch(torch.arange(2))


def test_samples_that_make_no_batch_are_told_with_the_remedy():
    splits = Splits(Sentences(), None, None, name="text")
    with pytest.raises(DataError, match=r"text/train: its samples do not make a batch .*; pass Splits\(.*collate_fn"):
        splits.train.batch(torch.tensor([0, 3]))
    x, y = pictures()
    with pytest.raises(DataError, match="mine: collate_fn would be ignored, since no part is a Dataset"):
        Splits((x, y), None, None, 3, name="mine", collate_fn=padded)
    with pytest.raises(DataError, match="collate_fn must be a function or None, got 3"):
        Splits(Sentences(), None, None, collate_fn=3)


@pytest.mark.parametrize("data", [pictures(), Lazy(60)])
@pytest.mark.parametrize("amount", [0.2, 12])
def test_validation_is_carved_balanced_disjoint_and_by_seed(data, amount):
    splits = Splits(data, None, None, 3)
    carved = splits.with_validation(amount, seed=1)
    assert (len(carved.train), len(carved.validation)) == (48, 12)
    assert np.bincount(carved.validation.class_labels()).tolist() == [4, 4, 4]
    assert splits.validation is None
    assert "validation: 12 of 60 training samples, by seed 1" in carved.note
    if isinstance(data, tuple):
        both = torch.cat([carved.train.inputs, carved.validation.inputs]).flatten(1)
        assert len(torch.unique(both, dim=0)) == 60
        assert carved.validation.checksum == splits.with_validation(amount, seed=1).validation.checksum
        assert carved.validation.checksum != splits.with_validation(amount, seed=2).validation.checksum


def test_a_validation_part_that_is_there_stays():
    splits = Splits(pictures(), pictures(6), None, 3)
    assert splits.with_validation(0.5) is splits


def test_a_subset_is_balanced_and_leaves_the_rest_alone():
    splits = Splits(pictures(), None, pictures(9), 3, preparation=Preparation.scaled()).with_validation(6)
    small = splits.subset(9, seed=4)
    assert small.train.targets.bincount().tolist() == [3, 3, 3]
    assert small.train.checksum != splits.subset(9, seed=5).train.checksum
    assert small.validation is splits.validation
    assert (small.test is splits.test, small.preparation is splits.preparation) == (True, True)
    assert len(splits.subset(54).train) == 54


def test_checksums_name_the_content():
    x, y = pictures()
    data = Data(x, y)
    assert len(data.checksum) == 64
    assert data.checksum == Data(x.clone(), y.clone(), name="other").checksum
    other = x.clone()
    other[0, 0, 0, 0] += 1
    assert data.checksum != Data(other, y).checksum
    assert data.checksum != Data(x.view(60, 1, 2, 8), y).checksum
    assert data.take(range(60)).checksum == data.checksum


def test_to_moves_tensors_and_keeps_the_rest():
    splits = Splits(pictures(), None, Lazy(), 3, name="a", note="b")
    assert splits.to("cpu").train is splits.train  # already there
    away = splits.to("meta")
    assert away.train.inputs.device.type == "meta"
    assert (away.name, away.note, away.validation) == ("a", "b", None)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Splits((pictures()[0], torch.arange(60)), None, None, 10), r"50 of 60 labels .* from 0 to 59"),
        (lambda: Splits((pictures()[0], torch.arange(60) - 1), None, None, 60), r"from -1 to 58"),
        (lambda: Splits(Lazy(), None, None, 2), r"num_classes=3"),
        (lambda: Splits(None, None, None, 2), "train is None"),
        (lambda: Splits((torch.zeros(0, 1), torch.zeros(0)), None, None, 2), "is empty"),
        (lambda: Splits((torch.zeros(3, 1), torch.zeros(4)), None, None, 2), "same number of samples"),
        (lambda: Splits("cifar10", None, None, 2), "pass a map-style Dataset or a pair"),
        (lambda: Splits([1, 2, 3], None, None, 2), "got a list"),
        (lambda: Splits(Stream(), None, None, 2), "has no length"),
        (lambda: Splits(pictures(), None, None, 3).with_validation(60), "allowed are 1 to 59"),
        (lambda: Splits(pictures(), None, None, 3).with_validation(0.001), "leaves nothing"),
        (lambda: Splits(pictures(), None, None, 3).with_validation(2.5), "whole number"),
        (lambda: Splits(pictures(), None, None, 3).subset(61), "allowed are 1 to 60"),
        (lambda: Splits(pictures(), None, None, 3).subset(0), "allowed are 1 to 60"),
        (lambda: Splits(pictures(), None, None, 3).subset(6, seed=-1), "seed -1 is negative"),
    ],
)
def test_errors_say_what_to_do(make, says):
    with pytest.raises(DataError, match=says):
        make()


def test_prepared_replaces_what_is_asked_and_nothing_else():
    own = Splits(pictures(), None, pictures(9), 3, preparation=Preparation.scaled(mirror=True, crop_padding=2))
    cropped = own.prepared(crop_padding=4).preparation
    assert (cropped.kind, cropped.mirror, cropped.crop_padding) == ("scaled", True, 4)
    still = own.prepared("identity", mirror=False).preparation
    assert (still.kind, still.mirror, still.crop_padding) == ("identity", False, 2)
    mean = own.prepared("mean-image").preparation
    assert torch.equal(mean.offset, own.train.inputs.double().mean(0).float())  # of the training part alone
    assert torch.equal(mean.factor, torch.ones(1, 1, 1))  # the range 0 to 255 is kept
    bare = Splits(pictures(), None, pictures(9), 3).prepared(mirror=True).preparation
    assert (bare.kind, float(bare.factor), bare.mirror) == ("scaled", pytest.approx(1 / 255), True)
    with pytest.raises(DataError, match=r"mean-imge.*mean-image"):
        own.prepared("mean-imge")


def test_a_regression_has_no_classes() -> None:
    part = torch.zeros(8, 4), torch.zeros(8, 1)
    splits = Splits(part, None, part)
    assert splits.num_classes is None
    assert splits.with_validation(2).num_classes is None
    labelled = torch.zeros(8, 4), torch.arange(8) % 3
    with pytest.raises(DataError, match=r"class labels \(0 to 2\); pass num_classes=3"):
        Splits(labelled, None, labelled)
