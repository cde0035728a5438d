"""Batches: every sample once, the order a pure function of (seed, epoch), resumption bit for bit."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from superconv.data import Batches, Data, DataError, Preparation

PREPARATION = Preparation.per_channel([0.5], [0.2], mirror=True, crop_padding=1)


def numbered(count):
    """Pictures whose target is their number."""
    generator = torch.Generator().manual_seed(0)
    return Data(torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=generator), torch.arange(count))


def drawn(batches):
    return [targets.tolist() for _, targets in batches]


def forever(batches):
    while True:
        yield from batches


def same(one, other):
    return len(one) == len(other) and all(
        torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in zip(one, other, strict=True)
    )


@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.booleans(), st.integers(1, 4))
@settings(max_examples=60)
def test_every_sample_once_an_epoch_over_all_ranks(count, batch_size, shuffle, drop_last, world_size):
    if drop_last and batch_size * world_size > count:
        return
    options = {"shuffle": shuffle, "drop_last": drop_last, "world_size": world_size}
    ranks = [Batches(numbered(count), batch_size, rank=rank, **options) for rank in range(world_size)]
    for _ in range(2):
        parts = [drawn(rank) for rank in ranks]
        assert [len(part) for part in parts] == [len(rank) for rank in ranks]
        seen = [number for part in parts for batch in part for number in batch]
        assert len(seen) == len(set(seen))
        step = batch_size * world_size
        assert len(seen) == (count - count % step if drop_last else count)
        assert all(len(batch) <= batch_size for part in parts for batch in part)
    assert {tuple(rank.state_dict().items()) for rank in ranks} == {tuple(ranks[0].state_dict().items())}


def test_the_order_is_a_function_of_seed_and_epoch():
    batches = Batches(numbered(20), 5, seed=3)
    first, second = drawn(batches), drawn(batches)
    assert first != second
    assert batches.epoch == 2
    again = Batches(numbered(20), 5, seed=3)
    again.restart(1)
    assert drawn(again) == second
    assert drawn(Batches(numbered(20), 5, seed=4)) != first


def test_global_random_states_are_neither_read_nor_moved():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = list(Batches(numbered(20), 5, preparation=PREPARATION))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(one, list(Batches(numbered(20), 5, preparation=PREPARATION)))


@pytest.mark.parametrize("steps", range(9))
@pytest.mark.parametrize("drop_last", [True, False])
def test_resumption_at_every_step_is_bit_for_bit(steps, drop_last):
    def make():
        return Batches(numbered(14), 4, seed=7, drop_last=drop_last, preparation=PREPARATION)

    whole = list(itertools.islice(forever(make()), 12))
    before = make()
    head = list(itertools.islice(forever(before), steps))
    state = json.loads(json.dumps(before.state_dict()))
    assert all(type(value) is int for value in state.values())
    after = Batches(numbered(14), 4, seed=99, drop_last=drop_last, preparation=PREPARATION)
    after.load_state_dict(state)
    after.load_state_dict(state)  # twice from one dict
    assert same(head + list(itertools.islice(forever(after), 12 - steps)), whole)


def test_position_counts_batches_drawn():
    batches = Batches(numbered(12), 4)
    iterator = iter(batches)
    assert (batches.epoch, batches.position) == (0, 0)
    next(iterator)
    assert (batches.epoch, batches.position) == (0, 1)
    next(iterator)
    next(iterator)
    assert (batches.epoch, batches.position) == (1, 0)  # the next epoch begins with the last batch
    with pytest.raises(StopIteration):
        next(iterator)


def test_an_abandoned_loop_goes_on_and_restart_begins_again():
    batches = Batches(numbered(12), 4)
    whole = drawn(Batches(numbered(12), 4))
    next(iter(batches))
    assert drawn(batches) == whole[1:]
    batches.restart(0)
    next(iter(batches))
    batches.restart()
    assert drawn(batches) == whole


def test_a_copy_draws_on_by_itself():
    batches = Batches(numbered(12), 4, preparation=PREPARATION)
    next(iter(batches))
    twin = copy.copy(batches)
    rest = list(twin)
    assert (batches.epoch, batches.position) == (0, 1)
    assert same(list(batches), rest)


def test_evaluation_is_a_whole_pass_each_time():
    batches = Batches.for_evaluation(numbered(9), batch_size=4, preparation=PREPARATION)
    next(iter(batches))
    assert drawn(batches) == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]  # a last batch of one
    assert len(batches) == 3
    assert batches.state_dict()["position"] == 0
    inputs = torch.cat([x for x, _ in batches])
    assert torch.equal(inputs, PREPARATION(numbered(9).inputs))  # not augmented


def test_more_ranks_than_samples_left():
    parts = [Batches.for_evaluation(numbered(5), batch_size=1, rank=rank, world_size=4) for rank in range(4)]
    assert sorted(number for part in parts for batch in drawn(part) for number in batch) == [0, 1, 2, 3, 4]
    assert [len(part) for part in parts] == [1, 1, 1, 2]


def test_ranks_together_see_the_pixels_of_one():
    one = Batches(numbered(24), 8, preparation=PREPARATION)
    two = [Batches(numbered(24), 4, preparation=PREPARATION, rank=rank, world_size=2) for rank in range(2)]
    for (inputs, targets), (left, low), (right, high) in zip(one, *two, strict=True):
        assert torch.equal(inputs, torch.cat([left, right]))
        assert torch.equal(targets, torch.cat([low, high]))


def test_another_world_size_goes_on_in_the_same_order():
    whole = [number for batch in drawn(Batches(numbered(24), 4)) for number in batch]
    alone = Batches(numbered(24), 4)
    head = [number for _ in range(2) for number in next(iter(alone))[1].tolist()]
    ranks = [Batches(numbered(24), 2, rank=rank, world_size=4) for rank in range(4)]
    for rank in ranks:
        rank.load_state_dict(alone.state_dict())
    rest = [number for step in zip(*map(drawn, ranks), strict=True) for part in step for number in part]
    assert head + rest == whole


def test_augmentation_differs_between_epochs_and_can_be_switched_off():
    plain = Batches(numbered(8), 8, shuffle=False, augment=False, preparation=PREPARATION)
    assert same(list(plain), list(plain))
    moving = Batches(numbered(8), 8, shuffle=False, preparation=PREPARATION)
    assert not same(list(moving), list(moving))


def test_what_comes_without_a_preparation():
    data = numbered(4)
    inputs, _ = next(iter(Batches(data, 4, shuffle=False)))
    torch.testing.assert_close(inputs, data.inputs.float() / 255)
    tokens = torch.arange(8).view(4, 2)
    inputs, _ = next(iter(Batches((tokens, torch.zeros(4)), 4, shuffle=False)))
    assert torch.equal(inputs, tokens)
    assert inputs.dtype == torch.int64


def test_channels_last():
    data = Data(torch.zeros(4, 3, 5, 5, dtype=torch.uint8), torch.zeros(4))
    for preparation in (None, Preparation.scaled(mirror=True)):
        inputs, _ = next(iter(Batches(data, 4, channels_last=True, preparation=preparation)))
        assert inputs.is_contiguous(memory_format=torch.channels_last)


class Lazy(Dataset):
    def __init__(self, form):
        self.form = form

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.form(index)


def test_a_dataset_is_collated_on_the_fly():
    pairs = Lazy(lambda i: (torch.full((1, 2, 2), i, dtype=torch.uint8), i))
    batches = Batches(pairs, 4, seed=1, drop_last=False, preparation=Preparation.identity())
    seen = [(x.dtype, x[:, 0, 0, 0].tolist(), y.tolist()) for x, y in batches]
    assert all(dtype == torch.float32 and pixels == numbers for dtype, pixels, numbers in seen)
    assert sorted(n for *_, numbers in seen for n in numbers) == list(range(6))
    dicts = Batches(Lazy(lambda i: {"ids": torch.tensor([i]), "label": i}), 3, shuffle=False, device="cpu")
    assert next(iter(dicts))["ids"].tolist() == [[0], [1], [2]]
    with pytest.raises(DataError, match="needs pairs"):
        next(iter(Batches(Lazy(lambda i: {"ids": i}), 3, preparation=PREPARATION)))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Batches(numbered(4), 5), r"use at most 4 \(in Python also: drop_last=False"),
        (lambda: Batches(numbered(9), 5, world_size=2), "on each of 2 ranks .* use at most 4"),
        (lambda: Batches(numbered(0), 5), "is empty"),
        (lambda: Batches(numbered(4), 0), "batch_size 0"),
        (lambda: Batches(numbered(4), 1.5), "batch_size 1.5"),
        (lambda: Batches(numbered(4), 2, seed=-1), "seed -1"),
        (lambda: Batches(numbered(4), 2, rank=2, world_size=2), "allowed are ranks 0 to 1"),
        (lambda: Batches(numbered(4), 2).restart(-1), "epoch -1"),
        (lambda: Batches([1, 2, 3], 2), "pass a map-style Dataset"),
    ],
)
def test_errors_say_what_to_do(make, says):
    with pytest.raises(DataError, match=says):
        make()


def test_a_state_of_other_data_is_refused():
    batches = Batches(numbered(8), 4)
    state = Batches(numbered(12), 4).state_dict()
    with pytest.raises(DataError, match="saved with 12 samples, this data has 8"):
        batches.load_state_dict(state)
    with pytest.raises(DataError, match="load one as saved"):
        batches.load_state_dict({"epoch": 1})
    with pytest.raises(DataError, match="non-negative"):
        batches.load_state_dict({**batches.state_dict(), "epoch": -1})
    assert batches.state_dict()["epoch"] == 0
