from collections import UserDict, namedtuple
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset

import superconv as sc
from superconv.data import Batches
from superconv.training.batch_source import (
    BatchesExhausted,
    BatchSource,
    call_model,
    move,
    pair,
    sample_count,
)
from superconv.training.random_states import get_random_states, plain, set_random_states


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
