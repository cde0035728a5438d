"""Data sets that draw from generators of their own, wherever these stand."""

import io
import random
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, default_collate

import superconv as sc
from superconv.data import Batches
from superconv.training.batch_source import BatchSource

DRAWS: dict[str, Callable[[], Callable[[], float]]] = {
    "numpy": lambda: np.random.default_rng(0).random,
    "legacy": lambda: np.random.RandomState(0).rand,
    "python": lambda: random.Random(0).random,
}


class Noise(nn.Module):
    """A transform, as torchvision's are modules."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.rng.random()


class Compose:
    def __init__(self, *transforms: Callable) -> None:
        self.transforms = list(transforms)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        for transform in self.transforms:
            x = transform(x)
        return x


def enclosing() -> Callable:
    rng = random.Random(1)
    return lambda x: x * rng.random()


def by_torch() -> Callable:
    generator = torch.Generator().manual_seed(0)
    return lambda x: x + torch.rand((), generator=generator)


class Late:
    """Makes its generator at the first draw."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name == "rng":
            self.rng = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if getattr(self, self.name, None) is None:
            setattr(self, self.name, np.random.default_rng(4))
        return x + getattr(self, self.name).random()


class Rebinding:
    """Takes a new one now and then."""

    def __init__(self) -> None:
        self.rng = random.Random(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.rng.random() < 0.1:
            self.rng = random.Random(self.rng.randrange(1000))
        return x + self.rng.random()


TRANSFORMS: dict[str, Callable[[], Callable]] = {
    "module": Noise,
    "nested": lambda: Compose(Compose(Noise()), nn.Sequential(Noise(), Noise()), enclosing()),
    "encloses": enclosing,
    "torch": by_torch,
    "late": lambda: Compose(Late("rng")),
    "later": lambda: Compose(Late("other")),
    "rebound": Rebinding,
}


class Augmented(Dataset):
    def __init__(self, transform: Callable | None = None, kind: str = "numpy") -> None:
        self.x = torch.randn(48, 4, generator=torch.Generator().manual_seed(0))
        self.transform = transform
        self.draw = None if transform else DRAWS[kind]()
        self.rng = None if self.draw is None else self.draw.__self__

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.x[index]
        return (self.transform(x) if self.transform else x + self.draw()), (x[0] > 0).long()


class Stream(IterableDataset):
    def __init__(self) -> None:
        self.inner = Augmented(Noise())

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return (self.inner[i] for i in range(48))


class Collate:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(2)

    def __call__(self, samples: list) -> list[torch.Tensor]:
        x, y = default_collate(samples)
        return [x * self.rng.random(), y]


class Indexed:
    """Batches of one's own, of a data set, without a DataLoader."""

    def __init__(self) -> None:
        self.samples = Augmented()

    def __iter__(self) -> Iterator[list[torch.Tensor]]:
        for i in range(0, 48, 8):
            yield default_collate([self.samples[j] for j in range(i, i + 8)])


def batches(kind: str, **options: object) -> object:
    if kind == "indexed":
        return Indexed()
    if kind == "of this package":
        return Batches(Augmented(Compose(Noise())), 8)
    if kind == "stream":
        return DataLoader(Stream(), 8)
    if kind == "collate":
        return DataLoader(Augmented(Noise()), 8, shuffle=True, collate_fn=Collate())
    data: Dataset = Augmented(TRANSFORMS[kind]()) if kind in TRANSFORMS else Augmented(kind=kind.split()[0])
    if kind.endswith("subset"):
        data = Subset(ConcatDataset([Subset(data, range(48)), Augmented(Noise())]), range(0, 96, 2))
    return DataLoader(data, 8, shuffle=True, **options)


KINDS = [*DRAWS, *TRANSFORMS, "numpy in a subset", "stream", "collate", "indexed", "of this package"]


def setup(kind: str, **options: object) -> tuple[nn.Module, torch.optim.Optimizer, object]:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    return model, torch.optim.SGD(model.parameters(), 0.1), batches(kind, **options)


def train(state: sc.TrainState, until: int) -> list[float]:
    model, optimizer, source = state.model, state.optimizer, state.source
    records = sc.train_steps(model, optimizer, F.cross_entropy, source, sc.constant(20, lr=0.1), state=state)
    found = []
    for record in records:
        found.append(float(record.loss))
        if record.step + 1 == until:
            records.close()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_data_sets_generator_comes_back_and_resumes(kind: str) -> None:
    whole = train(sc.TrainState(*setup(kind)), 20)
    for stop in (1, 6, 9, 14):
        parts = setup(kind)
        given = {"end_lr": 1.0, "total_steps": 7, "forks": 1}
        sc.lr_range_test(parts[0], parts[1], F.cross_entropy, parts[2], **given)
        state = sc.TrainState(*parts)
        assert train(state, stop) == whole[:stop]
        sc.lr_range_test(parts[0], parts[1], F.cross_entropy, parts[2], **given)
        file = io.BytesIO()
        state.write(file)
        resumed = sc.TrainState(*setup(kind))
        resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
        assert train(resumed, 20) == whole[stop:]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_workers_begin_with_copies_of_the_same_state_after_a_resume() -> None:
    first = sc.TrainState(*setup("numpy", num_workers=1))
    whole = train(first, 14)
    state = sc.TrainState(*setup("numpy", num_workers=1))
    assert train(state, 8) == whole[:8]
    saved = state.state_dict()
    resumed = sc.TrainState(*setup("numpy", num_workers=1))
    resumed.source.batches.dataset.rng.random()  # moved since
    resumed.load_state_dict(saved)
    assert train(resumed, 14) == whole[8:]


def test_a_generator_in_persistent_workers_is_named() -> None:
    said = "data set Augmented of these batches draws from a generator of its own.*'transform.rng'.*persistent workers"
    model, optimizer, loader = setup("module", num_workers=1, persistent_workers=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "a DataLoader with persistent workers")
        with pytest.warns(UserWarning, match=said) as kept, sc.preserved(loader):
            pass
        with pytest.warns(UserWarning, match=said) as saved:
            sc.TrainState(model, optimizer, loader).state_dict()
        named = [each for each in (*kept, *saved) if "data set Augmented" in str(each.message)]
        assert [each.filename for each in named] == [__file__] * 2
        sc.TrainState(model, optimizer, batches("module", num_workers=1)).state_dict()  # no warning


def test_an_evaluation_moves_no_generator_of_its_data_set() -> None:
    model, _, loader = setup("nested")
    torch.manual_seed(1)
    assert sc.evaluate(model, loader, F.cross_entropy) == sc.evaluate(model, loader, F.cross_entropy)


def test_samples_beside_the_order_move_no_generator_of_the_data_set() -> None:
    whole = [batch[0] for source in [BatchSource(batches("stream"))] for batch in (source.draw() for _ in range(8))]
    source = BatchSource(batches("stream"))
    for index, expected in enumerate(whole):
        assert torch.equal(source.draw()[0], expected)
        if index % 3 == 0:
            source.sample(2)
