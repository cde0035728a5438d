"""Wrapped loaders: whatever holds for a DataLoader holds for it in a wrapper."""

import io
import random
import warnings
from collections.abc import Callable, Iterator
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, Sampler, TensorDataset
from tqdm import tqdm

import superconv as sc
from superconv.data import Batches
from superconv.restore.loaders_within import has_persistent_workers, loaders_within, stateful_loaders
from superconv.training.batch_source import BatchSource
from superconv.training.evaluate import check_metric


class DeviceDataLoader:
    """As many tutorials have it."""

    def __init__(self, dl: object) -> None:
        self.dl = dl

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        for batch in self.dl:
            yield [each.to("cpu") for each in batch]


class Forwarding(DeviceDataLoader):
    """Asks the loader for whatever it has not."""

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["dl"], name)


class Combined:
    """Batches of two loaders by turns."""

    def __init__(self, loader: DataLoader) -> None:
        other = DataLoader(loader.dataset, 16, shuffle=True, generator=torch.Generator().manual_seed(9))
        self.parts = {"loaders": [loader, other]}

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        return chain(*zip(*self.parts["loaders"], strict=True))


class Made:
    """Makes its iterator by a function that encloses the loader."""

    def __init__(self, loader: DataLoader) -> None:
        self.make = lambda: iter(loader)

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        return self.make()


WRAPPERS: dict[str, Callable[[DataLoader], object]] = {
    "tqdm": lambda loader: tqdm(loader, disable=True),
    "tutorial": DeviceDataLoader,
    "forwarding": Forwarding,
    "twice": lambda loader: DeviceDataLoader(tqdm(loader, disable=True)),
    "combined": Combined,
    "made": Made,
}


class Passes(Sampler):
    """Shuffles by a generator of its own and a count."""

    def __init__(self, count: int) -> None:
        self.rng, self.passes, self.order = random.Random(0), 0, list(range(count))

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        for _ in range(self.passes):
            self.rng.shuffle(self.order)
        return iter(self.order)


def data() -> TensorDataset:
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, 0] > 0).long())


def loader(kind: str) -> DataLoader:
    if kind == "generator":
        return DataLoader(data(), 16, shuffle=True, generator=torch.Generator().manual_seed(3))
    if kind == "sampler":
        return DataLoader(data(), 16, sampler=Passes(96))
    return DataLoader(data(), 16, sampler=DistributedSampler(data(), num_replicas=1, rank=0, seed=0))


def setup(kind: str, wrapper: str) -> tuple[nn.Module, torch.optim.Optimizer, object]:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    return model, torch.optim.SGD(model.parameters(), 0.1), WRAPPERS[wrapper](loader(kind))


def drawn(source: BatchSource, count: int) -> list[list[float]]:
    return [source.draw()[0][:, 0].tolist() for _ in range(count)]


@pytest.mark.parametrize("kind", ["generator", "sampler", "distributed"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_loader_comes_back_and_resumes(wrapper: str, kind: str) -> None:
    model, optimizer, batches = setup(kind, wrapper)
    whole = drawn(BatchSource(batches), 26)
    assert whole[:6] != whole[12:18]
    model, optimizer, batches = setup(kind, wrapper)
    sc.lr_range_test(model, optimizer, F.cross_entropy, batches, end_lr=1.0, total_steps=15, forks=1)
    sc.evaluate(model, batches, F.cross_entropy)
    state = sc.TrainState(model, optimizer, batches)
    assert drawn(state.source, 5) == whole[:5]
    state.source.sample(14)
    for start, stop in [(5, 12), (12, 19), (19, 20)]:
        assert drawn(state.source, stop - start) == whole[start:stop]
        file = io.BytesIO()
        state.write(file)
        resumed = sc.TrainState(*setup(kind, wrapper))
        resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        assert drawn(resumed.source, 26 - stop) == whole[stop:]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_number_of_the_epoch_reaches_a_sampler_in_a_wrapper(wrapper: str) -> None:
    sampler = DistributedSampler(data(), num_replicas=1, rank=0)
    batches = WRAPPERS[wrapper](DataLoader(data(), 16, sampler=sampler))
    sampler.set_epoch(3)
    source = BatchSource(batches)
    length = len(list(batches))
    told = []
    for _ in range(3):
        drawn(source, length)
        told.append(sampler.epoch)
    assert told == [3, 4, 5]


@pytest.mark.parametrize("wrapper", ["tqdm", "tutorial", "twice", "made"])
def test_batches_that_tell_their_state_do_so_in_a_wrapper(wrapper: str) -> None:
    def wrapped() -> object:
        return WRAPPERS[wrapper](Batches(data().tensors, 16))

    expected = drawn(BatchSource(Batches(data().tensors, 16)), 26)
    batches = wrapped()
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    sc.lr_range_test(model, optimizer, F.cross_entropy, batches, end_lr=1.0, total_steps=15, forks=1)
    source = BatchSource(batches)
    assert drawn(source, 8) == expected[:8]
    source.sample(3)
    state = source.state_dict()
    resumed = BatchSource(wrapped())
    resumed.load_state_dict(state)
    assert drawn(resumed, 18) == drawn(source, 18) == expected[8:]


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_persistent_workers_are_noticed_in_a_wrapper(wrapper: str) -> None:
    batches = WRAPPERS[wrapper](DataLoader(data(), 16, num_workers=1, persistent_workers=True))
    assert has_persistent_workers(batches)
    assert not has_persistent_workers(WRAPPERS[wrapper](loader("generator")))
    source = BatchSource(batches)
    assert source.fork() is source
    with pytest.raises(ValueError, match="persistent workers"):
        source.sample(1)
    assert check_metric(nn.Linear(4, 2), batches, metric=lambda *_: 1 / 0) is batches
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with pytest.raises(ZeroDivisionError):
            sc.lr_range_test(model, optimizer, lambda *_: 1 / 0, batches, end_lr=1.0, total_steps=3)
    said = [each for each in caught if "persistent workers keeps random states" in str(each.message)]
    assert [each.filename for each in said] == [__file__]


def test_a_list_of_batches_and_a_module_are_no_loaders() -> None:
    assert loaders_within([loader("generator")]) == stateful_loaders([Batches(data().tensors, 16)]) == {}
    batches = DeviceDataLoader([data().tensors])
    batches.augment = nn.Sequential(nn.Identity())
    assert stateful_loaders(batches) == {}
    own = Batches(data().tensors, 16)
    assert stateful_loaders(own) == {"": own}


def test_a_state_of_a_loader_is_refused_in_a_wrapper_by_a_sentence() -> None:
    source = BatchSource(loader("generator"))
    drawn(source, 3)
    resumed = BatchSource(DeviceDataLoader(loader("generator")))
    with pytest.raises(ValueError, match=r"with 1 generator\(s\).*these have 0.*wrapped or not"):
        resumed.load_state_dict(source.state_dict())
