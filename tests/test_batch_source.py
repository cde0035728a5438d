import io
import random
from collections import UserDict, deque, namedtuple
from collections.abc import Iterator
from itertools import chain, cycle, islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, IterableDataset, Sampler

import superconv as sc
from superconv.data import Batches
from superconv.data.moving import move
from superconv.experiments.config import Arm
from superconv.experiments.runner import run_arm
from superconv.restore.random_states import get_random_states, plain, set_random_states
from superconv.training.batch_source import (
    BatchesExhausted,
    BatchSource,
    call_model,
    pair,
    sample_count,
)


class Noisy(Dataset):
    """Items that draw from every global random state."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, float(torch.rand(())), np.random.rand()])


def loaders() -> dict[str, object]:
    return {
        "list": [torch.tensor([i]) for i in range(5)],
        "shuffled": DataLoader(Noisy(), batch_size=2, shuffle=True),
        "own generator": DataLoader(Noisy(), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(1)),
        "workers": DataLoader(Noisy(), batch_size=3, shuffle=True, num_workers=1),
        "with a state of its own": Batches((torch.arange(10.0), torch.zeros(10)), 2),
    }


@pytest.mark.parametrize("kind", loaders())
@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 9, 10])
def test_resumes_with_the_batches_that_were_still_to_come(kind: str, stop: int) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    source = BatchSource(loaders()[kind])
    for _ in range(stop):
        source.draw()
    state, rng = source.state_dict(), plain(get_random_states())
    expected = [source.draw() for _ in range(6)]
    torch.manual_seed(99)
    again = BatchSource(loaders()[kind])
    again.load_state_dict(state)
    if kind != "own generator" or stop:  # at step 0 the order is not drawn yet: TrainState restores the generator
        set_random_states(rng)
        for a in expected:
            for x, y in zip(a, b, strict=True) if isinstance(b := again.draw(), (tuple, list)) else ((a, b),):
                assert torch.equal(x, y)
        assert (again.epoch, again.drawn_in_epoch) == (source.epoch, source.drawn_in_epoch)


def test_one_shot_iterators_end_and_empty_ones_are_named() -> None:
    with pytest.warns(UserWarning, match="iterator, which cannot be restarted"):
        source = BatchSource(iter([1, 2]))
    assert [source.draw(), source.draw()] == [1, 2]
    with pytest.raises(BatchesExhausted):
        source.draw()
    with pytest.raises(ValueError, match="yielded nothing"):
        BatchSource([]).draw()
    with pytest.raises(ValueError, match="iterable of batches, got int"):
        BatchSource(3)  # type: ignore[arg-type]


def test_a_fork_does_not_move_its_source() -> None:
    source = BatchSource([1, 2, 3])
    source.draw()
    twin = source.fork()
    assert [twin.draw() for _ in range(4)] == [1, 2, 3, 1]
    assert [source.draw() for _ in range(3)] == [2, 3, 1]


def test_what_a_batch_may_be() -> None:
    assert pair([1, 2]) == (1, 2)
    for batch, got in [((1, 2, 3), "tuple of 3"), ({"x": 1, "y": 2}, r"keys \['x', 'y'\]"), (7, "a int")]:
        with pytest.raises(ValueError, match=got):
            pair(batch)
    x = torch.ones(3, 2)
    assert sample_count(x) == 3
    assert sample_count({"a": x}) == 3
    assert sample_count(["a", "b"]) == 2
    assert sample_count(None, (x, x)) == 3
    assert sample_count(torch.tensor(1.0)) == 1
    with pytest.raises(ValueError, match="cannot count the samples"):
        sample_count(None)
    point = namedtuple("point", "a b")
    moved = move({"a": point(x, "s"), "b": [x, 1]}, torch.device("meta"))
    assert moved["a"].a.is_meta
    assert moved["a"].b == "s"
    assert moved["b"][0].is_meta
    assert call_model(lambda a, b: a + b, (1, 2)) == 3  # type: ignore[arg-type]
    assert call_model(lambda *, a, b: a - b, {"a": 1, "b": 2}) == -1  # type: ignore[arg-type]
    assert call_model(lambda a: a, 4) == 4  # type: ignore[arg-type]


class Graph:
    """Moves itself in place, as graph data does."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x

    def to(self, device: torch.device) -> "Graph":
        self.x = self.x.to(device)
        return self


class Encoding(UserDict):
    """Like what tokenizers return: a mapping that moves itself in place."""

    def to(self, device: torch.device) -> "Encoding":
        self.data = {key: value.to(device) for key, value in self.data.items()}
        return self


def test_what_moves_itself_is_one_value() -> None:
    device = torch.device("meta")
    x = torch.ones(3, 2)
    packed = pack_sequence([torch.ones(3, 2), torch.ones(1, 2)])
    assert move(packed, device).data.is_meta
    assert call_model(lambda a: a, packed) is packed  # type: ignore[arg-type]
    assert [sample_count(packed), sample_count((packed, x)), sample_count(None, packed)] == [2, 2, 2]
    graph = Graph(x)
    assert move([graph], device)[0].x.is_meta
    assert not graph.x.is_meta  # the caller's batch stays where it is
    assert call_model(lambda a: a, graph) is graph  # type: ignore[arg-type]
    assert sample_count(torch.ones(5), graph) == 5
    with pytest.raises(ValueError, match="cannot count the samples of a batch whose targets are Graph"):
        sample_count(graph, graph)
    encoding = Encoding(a=x)
    assert move(encoding, device)["a"].is_meta
    assert isinstance(move(encoding, device), Encoding)
    assert not encoding["a"].is_meta
    assert call_model(lambda *, a: a, encoding) is x  # type: ignore[arg-type]
    point = namedtuple("point", "a b")
    assert call_model(lambda a, b: a + b, point(1, 2)) == 3  # type: ignore[arg-type]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(2, 8), nn.Linear(8, 2)

    def forward(self, packed: PackedSequence) -> torch.Tensor:
        return self.head(self.rnn(packed)[1][-1])


@pytest.mark.parametrize("evaluate_with", ["running", "batch"])
def test_packed_sequences_in_evaluation_range_test_and_monitor(evaluate_with: str) -> None:
    """They were taken apart: forward() takes 2 positional arguments but 5 were given."""
    torch.manual_seed(0)
    sequences = [torch.randn(length, 2) for length in (6, 5, 3, 1)]
    y = torch.tensor([0, 1, 1, 0])
    batches = [(pack_sequence(sequences[:3]), y[:3]), (pack_sequence(sequences[3:]), y[3:])] * 4
    model = Recurrent()
    found = sc.evaluate(model, batches, F.cross_entropy, evaluate_with=evaluate_with)  # type: ignore[arg-type]
    expected = F.cross_entropy(model(pack_sequence(sequences)), y).item()
    assert found.loss == pytest.approx(expected, rel=1e-5)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    options = {"end_lr": 1.0, "total_steps": 6, "eval_batches": batches, "evaluate_with": evaluate_with}
    assert len(sc.lr_range_test(model, optimizer, F.cross_entropy, batches, **options)) == 6
    with sc.LRMonitor(model, optimizer, F.cross_entropy, batches * 2, every=1) as monitor:
        sc.train(model, optimizer, F.cross_entropy, batches, sc.constant(4, lr=0.1))
        assert monitor.latest is not None


class ShuffleBuffer(IterableDataset):
    """Settles its order on the way, from the global state or from a generator seeded when the epoch begins."""

    def __init__(self, own: bool) -> None:
        self.own = own

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ()))) if self.own else None
        held: list[int] = []
        for index in range(64):
            held.append(index)
            if len(held) > 8:
                yield held.pop(int(torch.randint(len(held), (), generator=generator)))
        yield from held


@pytest.mark.parametrize("own", [False, True])
def test_a_shuffle_buffer_resumes_where_its_generator_is_its_own(own: bool) -> None:
    """The limit that `BatchSource` states: the training draws from the global state in between, as dropout does."""

    def drawn(source: BatchSource, count: int) -> list[int]:
        return [x for _ in range(count) for x in (*source.draw().tolist(), float(torch.rand(())))]

    torch.manual_seed(0)
    source = BatchSource(DataLoader(ShuffleBuffer(own), batch_size=4))
    drawn(source, 5)
    state, random_state = source.state_dict(), torch.get_rng_state()
    rest = drawn(source, 8)
    resumed = BatchSource(DataLoader(ShuffleBuffer(own), batch_size=4))
    resumed.load_state_dict(state)
    torch.set_rng_state(random_state)
    assert (drawn(resumed, 8) == rest) is own


class Shuffler:
    """Of another class than a sampler's."""

    def __init__(self) -> None:
        self.rng, self.times = np.random.default_rng(3), 0

    def shuffle(self, order: list[int]) -> None:
        self.times += 1
        for _ in range(self.times):
            self.rng.shuffle(order)


class Ordered(Sampler):
    """Every pass permutes a list of its own, in place, by what one of the kinds of state below gives."""

    def __init__(self, kind: str) -> None:
        self.kind, self.indices, self.passes, self.made = kind, list(range(10)), 0, None
        self.array, self.recent = np.arange(10), deque([0], maxlen=3)
        self.held = {"numpy": np.random.default_rng(0), "philox": np.random.Generator(np.random.Philox(0))}
        self.held |= {"python": random.Random(0), "torch": torch.Generator().manual_seed(0)}
        self.held |= {"object": Shuffler()}
        self.held |= {"legacy": np.random.RandomState(0), "all": [random.Random(1), {"deep": np.random.default_rng(1)}]}

    def __len__(self) -> int:
        return 10

    def __iter__(self) -> Iterator[int]:
        kind, held, order = self.kind, self.held, self.indices
        self.passes += 1
        if kind in ("numpy", "philox", "legacy", "python", "object"):
            held[kind].shuffle(order)
        elif kind == "torch":
            order[:] = [order[i] for i in torch.randperm(10, generator=held[kind]).tolist()]
        elif kind == "all":
            held[kind][0].shuffle(order)
            held[kind][1]["deep"].shuffle(order)
        elif kind == "count":
            random.Random(self.passes).shuffle(order)
        elif kind == "array":
            np.random.default_rng(len(order)).shuffle(self.array)
            order[:] = self.array.tolist()
        elif kind == "late":  # a generator that is made at the first pass
            self.made = self.made or random.Random(7)
            self.made.shuffle(order)
        elif kind == "deque":
            self.recent.append(self.recent[-1] + 1)
            random.Random(sum(self.recent)).shuffle(order)
        return iter(order)


class Groups:
    """A batch sampler of no base class, around another one."""

    def __init__(self, inner: object) -> None:
        self.batch_sampler = inner

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batch_sampler)

    def __len__(self) -> int:
        return len(self.batch_sampler)


KINDS = ["numpy", "philox", "legacy", "python", "torch", "all", "count", "array", "late", "deque", "object"]


def with_sampler(kind: str, *, nested: bool) -> DataLoader:
    data = [torch.tensor([float(i)]) for i in range(10)]
    if nested:
        return DataLoader(data, batch_sampler=Groups(Groups(BatchSampler(Ordered(kind), 3, drop_last=False))))
    return DataLoader(data, batch_size=3, sampler=Ordered(kind))


def order_of(source: BatchSource, count: int) -> list[list[float]]:
    return [source.draw().flatten().tolist() for _ in range(count)]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sampler_with_a_state_of_its_own_resumes(kind: str, nested: bool) -> None:
    whole = order_of(BatchSource(with_sampler(kind, nested=nested)), 16)
    assert sorted(chain(*whole[4:8])) == list(range(10))
    assert whole[:4] != whole[4:8] != whole[8:12]
    for stop in (0, 1, 4, 6, 8, 11):
        model = nn.Linear(1, 1)
        state = sc.TrainState(model, torch.optim.SGD(model.parameters(), 0.1), with_sampler(kind, nested=nested))
        assert order_of(state.source, stop) == whole[:stop]
        file = io.BytesIO()
        state.write(file)
        saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        moved = order_of(state.source, 5)  # the same program goes back
        assert moved == whole[stop : stop + 5]
        state.load_state_dict(saved)
        assert order_of(state.source, 5) == moved
        fresh = sc.TrainState(model, torch.optim.SGD(model.parameters(), 0.1), with_sampler(kind, nested=nested))
        fresh.load_state_dict(saved)
        assert order_of(fresh.source, 16 - stop) == whole[stop:]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sampler_with_a_state_of_its_own_comes_back(kind: str, nested: bool) -> None:
    expected = order_of(BatchSource(with_sampler(kind, nested=nested)), 12)
    loader = with_sampler(kind, nested=nested)
    source = BatchSource(loader)
    assert order_of(source, 4) == expected[:4]
    with sc.preserved(loader) as rewind:
        assert order_of(BatchSource(loader), 8) == expected[4:]
        rewind()
        assert order_of(BatchSource(loader), 8) == expected[4:]
    assert source.sample(3) and order_of(source, 1) == expected[4:5]  # noqa: PT018
    sc.evaluate(nn.Linear(1, 1), loader, nn.MSELoss(), metric=None, split=lambda x: (x, x))
    assert order_of(source, 7) == expected[5:]


def test_settings_of_a_sampler_are_those_of_the_program_that_resumes() -> None:
    def made(passes: int, rank: int) -> BatchSource:
        source = BatchSource(with_sampler("count", nested=False))
        source.batches.sampler.rank = rank  # type: ignore[attr-defined]
        source = BatchSource(source.batches)
        order_of(source, passes)
        return source

    resumed = made(0, rank=3)
    resumed.load_state_dict(made(5, rank=0).state_dict())
    assert (resumed.batches.sampler.rank, resumed.batches.sampler.passes) == (3, 2)  # type: ignore[attr-defined]


class Endless(Ordered):
    """Goes on in an iterator that it keeps."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.endless = cycle(range(11))

    def __iter__(self) -> Iterator[int]:
        return islice(self.endless, 10)


def test_a_sampler_that_keeps_an_iterator_is_named() -> None:
    loader = DataLoader([(torch.ones(1), torch.ones(1))] * 11, batch_size=5, sampler=Endless("count"))
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    said = "the sampler Endless of these batches keeps an iterator in its attribute 'endless'.*order cannot"
    with pytest.warns(UserWarning, match=said) as caught, sc.preserved(loader):
        pass
    with pytest.warns(UserWarning, match=said) as also:
        sc.lr_range_test(model, optimizer, nn.MSELoss(), loader, end_lr=0.1, total_steps=3)
    state = sc.TrainState(model, optimizer, loader)
    with pytest.warns(UserWarning, match=said) as saved:
        state.state_dict()
    assert [each.filename for each in (*caught, *also, *saved)] == [__file__] * 3


class Epochs(IterableDataset):
    """As Hugging Face's streamed data: its order is by the number of the epoch."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = torch.randperm(10, generator=torch.Generator().manual_seed(self.epoch)).tolist()
        return iter([torch.tensor([float(i)]) for i in order])


class ByEpoch(BatchSampler):
    """A batch sampler that is told the number of the epoch and does not show it."""

    def __init__(self) -> None:
        super().__init__(range(10), 3, drop_last=False)
        self.told: list[int] = []

    def set_epoch(self, number: int) -> None:
        self.told.append(number)
        order = torch.randperm(10, generator=torch.Generator().manual_seed(number)).tolist()
        self.sampler = order


def by_epoch(kind: str, epoch: int = 0) -> DataLoader:
    data = [torch.tensor([float(i)]) for i in range(10)]
    if kind == "data set":
        loader = DataLoader(Epochs(), batch_size=3)
        loader.dataset.set_epoch(epoch)
        return loader
    if kind == "batch sampler":
        return DataLoader(data, batch_sampler=ByEpoch())
    sampler = DistributedSampler(data, num_replicas=1, rank=0, seed=0)
    sampler.set_epoch(epoch)
    if kind == "sampler within":
        return DataLoader(data, batch_sampler=Groups(BatchSampler(sampler, 3, drop_last=False)))
    return DataLoader(data, batch_size=3, sampler=sampler, num_workers=int(kind == "workers"))


@pytest.mark.parametrize("kind", ["sampler", "workers", "sampler within", "batch sampler", "data set"])
def test_the_number_of_the_epoch_is_told_to_whatever_orders_by_it(kind: str) -> None:
    epochs = [torch.randperm(10, generator=torch.Generator().manual_seed(epoch)).tolist() for epoch in range(4)]
    source = BatchSource(by_epoch(kind))
    whole = order_of(source, 16)
    assert [list(chain(*whole[i : i + 4])) for i in range(0, 16, 4)] == epochs
    for stop in (1, 4, 6, 8):
        first = BatchSource(by_epoch(kind))
        order_of(first, stop)
        resumed = BatchSource(by_epoch(kind, epoch=0))
        resumed.load_state_dict(first.state_dict())
        assert order_of(resumed, 16 - stop) == whole[stop:]
        again = BatchSource(first.batches)  # whose sampler has moved
        again.load_state_dict(first.state_dict())
        assert order_of(again, 16 - stop) == whole[stop:]


@pytest.mark.parametrize("kind", ["sampler", "sampler within", "data set"])
def test_epochs_are_counted_on_from_the_callers_and_a_range_test_moves_none(kind: str) -> None:
    """A loop over epochs of one's own that calls set_epoch, and trains each by itself."""
    loader = by_epoch(kind, epoch=2)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    split = {"split": lambda x: (x, x)}
    sc.lr_range_test(model, optimizer, nn.MSELoss(), loader, end_lr=0.01, total_steps=9, forks=1, **split)
    drawn = order_of(BatchSource(loader), 8)
    assert drawn == order_of(BatchSource(by_epoch(kind)), 16)[8:]


class Sequences(Dataset):
    """Sequences of 3, 4 and 5 steps."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((3 + index % 3, 2), float(index % 2)), index % 2


def packed(samples: list[tuple[torch.Tensor, int]]) -> tuple[PackedSequence, torch.Tensor]:
    inputs, targets = zip(*samples, strict=True)
    return pack_sequence(list(inputs), enforce_sorted=False), torch.tensor(targets)


class LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(2, 4), nn.Linear(4, 2)

    def forward(self, input: PackedSequence) -> torch.Tensor:
        assert isinstance(input, PackedSequence)
        return self.head(self.recurrent(input)[1][-1])


def test_a_collate_fns_packed_sequences_are_trained_on_by_the_runner(tmp_path: Path) -> None:
    task = sc.Task("sequences", LastState, sc.Splits(Sequences(), Sequences(), None, 2, collate_fn=packed))
    result = run_arm(task, Arm("a", sc.constant(30, lr=0.3), batch_size=8), 0, root=tmp_path)
    assert result.summary is not None
    assert result.summary["stop"] == "completed"
    assert result.summary["validation"]["metric"] > 0.9


@pytest.mark.parametrize(
    "targets",
    [
        (0.3, torch.zeros(5), torch.ones(5)), (torch.tensor(0.3), torch.zeros(5)), [torch.zeros(5, 2), 7],
        {"share": 0.3, "labels": torch.zeros(5)}, {"share": torch.tensor(0.3), "labels": torch.zeros(5, 3)},
        ({"labels": torch.zeros(5)},) * 5, [{"boxes": torch.zeros(k, 4)} for k in range(5)],
        {"nested": {"labels": torch.zeros(5)}},
    ],
)  # fmt: skip
def test_samples_are_counted_by_what_has_a_value_a_sample(targets: object) -> None:
    assert sample_count(targets) == 5
