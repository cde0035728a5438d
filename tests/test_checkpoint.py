import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, Sampler, TensorDataset

import superconv as sc
from superconv.training import checkpoint

SCHEDULE = sc.one_cycle(12, max_lr=0.05)


def setup(own_generator: bool = False) -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.ReLU(), nn.Linear(8, 3))
    model.register_buffer("hidden", torch.zeros(1), persistent=False)
    model.register_forward_pre_hook(lambda module, inputs: module.hidden.add_(1) and None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    data = TensorDataset(torch.randn(21, 5), torch.randint(3, (21,)))
    generator = torch.Generator().manual_seed(2) if own_generator else None
    return model, optimizer, DataLoader(data, batch_size=6, shuffle=True, generator=generator)


def everything(model: nn.Module) -> torch.Tensor:
    return torch.cat([t.detach().flatten().float() for t in (*model.parameters(), *model.buffers())])


@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("stop_after", [1, 3, 4, 5, 11])
def test_resumed_training_is_bit_equal(tmp_path: Path, stop_after: int, own_generator: bool) -> None:  # pitfall 39
    path = tmp_path / "checkpoint.pt"
    model, optimizer, loader = setup(own_generator)
    torch.manual_seed(7)
    state = sc.TrainState(model, optimizer, loader)
    losses = []
    for record in sc.train_steps(model, optimizer, F.cross_entropy, loader, SCHEDULE, state=state):
        losses.append(record.loss.item())
        if record.step + 1 == stop_after:
            state.save(path)
    expected = everything(model)

    model, optimizer, loader = setup(own_generator)
    state = sc.TrainState(model, optimizer, loader)
    torch.manual_seed(12345)
    state.load(path)
    assert state.step == stop_after
    resumed = [
        record.loss.item()
        for record in sc.train_steps(model, optimizer, F.cross_entropy, loader, SCHEDULE, state=state)
    ]
    assert resumed == losses[stop_after:]
    assert torch.equal(everything(model), expected)


def test_a_checkpoint_holds_plain_data_only(tmp_path: Path) -> None:
    model, optimizer, loader = setup()
    state = sc.TrainState(model, optimizer, loader, scaler=torch.amp.GradScaler("cpu"))
    list(sc.train_steps(model, optimizer, F.cross_entropy, loader, sc.constant(2, lr=0.1), state=state))
    state.save(tmp_path / "c.pt")
    assert torch.load(tmp_path / "c.pt", weights_only=True)["step"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_the_gradient_scaler_goes_on_where_it_was(tmp_path: Path) -> None:
    saved = sc.TrainState(*setup(), scaler=torch.amp.GradScaler("cpu", init_scale=8.0))
    saved.save(tmp_path / "c.pt")
    resumed = sc.TrainState(*setup(), scaler=torch.amp.GradScaler("cpu"))
    resumed.load(tmp_path / "c.pt")
    assert resumed.scaler.state_dict() == saved.scaler.state_dict()
    with pytest.raises(ValueError, match="this training none"):
        sc.TrainState(*setup()).load(tmp_path / "c.pt")
    sc.TrainState(*setup()).save(tmp_path / "none.pt")
    resumed.load(tmp_path / "none.pt")  # of a training in another precision: the scale stays
    assert resumed.scaler.state_dict() == saved.scaler.state_dict()


def test_a_state_is_of_a_module_and_an_optimizer() -> None:
    model, optimizer, loader = setup()
    for wrong in ((model, model), (optimizer, optimizer), (None, None)):
        with pytest.raises(TypeError, match="a TrainState is of"):
            sc.TrainState(*wrong, loader)


def test_damaged_foreign_and_newer_checkpoints_are_refused(tmp_path: Path) -> None:
    model, optimizer, loader = setup()
    state = sc.TrainState(model, optimizer, loader)
    state.save(tmp_path / "c.pt")
    whole = (tmp_path / "c.pt").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 5):
        (tmp_path / "cut.pt").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            state.load(tmp_path / "cut.pt")
    with pytest.raises(ValueError, match="format 99"):
        state.load_state_dict({"format": 99})
    other = nn.Linear(5, 2)
    with pytest.raises(ValueError, match="another model"):
        sc.TrainState(other, torch.optim.SGD(other.parameters(), lr=1.0), loader).load(tmp_path / "c.pt")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), UserWarning("of torch's own"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)  # fmt: skip
def test_full_memory_and_warnings_do_not_make_a_checkpoint_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whoever is told that it is damaged removes it, and so does the runner."""
    model, optimizer, loader = setup()
    state = sc.TrainState(model, optimizer, loader)
    state.save(tmp_path / "c.pt")

    def fail(*_: object, **__: object) -> None:
        raise error

    for owner, name in ((torch, "load"), (model, "load_state_dict"), (optimizer, "load_state_dict")):
        with monkeypatch.context() as context:
            context.setattr(owner, name, fail)
            with pytest.raises(type(error)) as caught:
                state.load(tmp_path / "c.pt")
        assert caught.value is error, name
    state.load(tmp_path / "c.pt")


def test_what_would_be_ignored_is_refused(tmp_path: Path) -> None:
    model, optimizer, loader = setup()
    sc.TrainState(model, optimizer, loader, scaler=torch.amp.GradScaler("cpu")).save(tmp_path / "c.pt")
    with pytest.raises(ValueError, match="pass scaler= to TrainState"):
        sc.TrainState(model, optimizer, loader).load(tmp_path / "c.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="format None"):
        sc.TrainState(model, optimizer, loader).load(tmp_path / "list.pt")


@pytest.mark.parametrize("persistent", [True, False])
def test_an_expanded_buffer_is_loaded(tmp_path: Path, persistent: bool) -> None:
    """One number in memory stands for many: torch's own copy_ refuses to write there."""

    def state_of(model: nn.Module) -> sc.TrainState:
        return sc.TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1), [])

    def make(value: float) -> nn.Module:
        model = nn.Sequential(nn.Linear(2, 2))
        model[0].register_buffer("x", torch.full((1, 3), value).expand(4, 3), persistent=persistent)
        model.frozen = nn.Parameter(torch.full((1,), value).expand(4), requires_grad=False)
        return model

    state_of(make(3.0)).save(tmp_path / "c.pt")
    model = make(9.0)
    own = {name: (id(tensor), tensor.data_ptr(), tensor.stride()) for name, tensor in tensors(model).items()}
    state_of(model).load(tmp_path / "c.pt")
    assert model[0].x.tolist() == [[3.0] * 3] * 4
    assert model.frozen.tolist() == [3.0] * 4
    assert own == {name: (id(tensor), tensor.data_ptr(), tensor.stride()) for name, tensor in tensors(model).items()}


@pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support", "ignore:Validating sparse tensor invariants", "ignore:Sparse invariant checks"
)
def test_sparse_and_nan_buffers_are_loaded(tmp_path: Path) -> None:
    def make(value: float) -> nn.Module:
        model = nn.Linear(2, 2)
        model.register_buffer("coo", (value * torch.eye(3)).to_sparse(), persistent=False)
        model.register_buffer("csr", (value * torch.eye(3)).to_sparse_csr(), persistent=False)
        model.register_buffer("unset", torch.full((1,), float("nan")).expand(4))
        return model

    saved, model = make(3.0), make(9.0)
    sc.TrainState(saved, torch.optim.SGD(saved.parameters(), lr=0.1), []).save(tmp_path / "c.pt")
    sc.TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1), []).load(tmp_path / "c.pt")
    assert torch.equal(model.coo.to_dense(), 3 * torch.eye(3))
    assert torch.equal(model.csr.to_dense(), 3 * torch.eye(3))
    assert model.unset.isnan().all()


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def test_numbers_that_differ_do_not_go_into_an_expanded_buffer(tmp_path: Path) -> None:
    plain, expanded = nn.Linear(2, 2), nn.Linear(2, 2)
    plain.register_buffer("x", torch.arange(4.0))
    expanded.register_buffer("x", torch.zeros(1).expand(4))
    buffer = expanded.x
    sc.TrainState(plain, torch.optim.SGD(plain.parameters(), lr=0.1), []).save(tmp_path / "c.pt")
    state = sc.TrainState(expanded, torch.optim.SGD(expanded.parameters(), lr=0.1), [])
    with pytest.raises(ValueError, match=r"x: expanded in this model.*differ; give the model a tensor of its own"):
        state.load(tmp_path / "c.pt")
    assert expanded.x is buffer


@pytest.mark.parametrize(
    "longer",
    [
        sc.one_cycle(100, max_lr=1.0),
        sc.one_cycle(200, max_lr=1.0),
        sc.one_cycle(60, max_lr=1.0),
        sc.one_cycle(42, max_lr=1.0),
        sc.one_cycle(200, max_lr=0.5),
        sc.constant(60, lr=0.1),
    ],
    ids=["same", "longer", "shorter", "too short for the phases", "other levels", "another policy"],
)
def test_resuming_in_another_length_is_what_the_scheduler_does(tmp_path: Path, longer: sc.Schedule) -> None:
    def made() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Linear(2, 2)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def rates(optimizer: torch.optim.Optimizer, scheduler: sc.ScheduleLR, steps: int) -> list[float]:
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return found

    first, batches = sc.one_cycle(100, max_lr=1.0), [(torch.randn(4, 2), torch.tensor([0, 1, 0, 1]))]
    _, optimizer = made()
    stopped = sc.ScheduleLR(optimizer, first)
    expected = rates(optimizer, stopped, 40)
    _, optimizer = made()
    resumed = sc.ScheduleLR(optimizer, longer)
    resumed.load_state_dict(stopped.state_dict())
    expected += rates(optimizer, resumed, longer.total_steps - 40)

    found = []
    model, optimizer = made()
    state = sc.TrainState(model, optimizer, batches)
    for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, first, state=state):
        found.append(record.lr[0])
        if record.step == 39:
            state.save(tmp_path / "c.pt")
            break
    model, optimizer = made()
    state = sc.TrainState(model, optimizer, batches)
    state.load(tmp_path / "c.pt")
    for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, longer, state=state):
        found.append(record.lr[0])
    assert found == expected
    assert state.schedule == resumed.schedule

    older = {key: value for key, value in state.state_dict().items() if key != "schedule"}
    state.load_state_dict(older)
    assert state.schedule is None


def test_groups_that_came_on_the_way_keep_their_scales_in_a_resumed_run(tmp_path: Path) -> None:
    """Of present values alone nobody can tell what a group is measured by, nor that a momentum of 0 is cycled."""
    batches = [(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]))]
    schedule = sc.one_cycle(21, max_lr=1.0, min_momentum=0.0).replace(weight_decay=0.01)

    def made() -> tuple[nn.Sequential, torch.optim.Optimizer, sc.TrainState]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        # the class's default learning rate, .001, is by chance that of the group to come
        head = {"params": list(model[1].parameters()), "lr": 0.01, "weight_decay": 1e-4}
        optimizer = torch.optim.SGD([head], momentum=0.9)
        return model, optimizer, sc.TrainState(model, optimizer, batches)

    def unfreeze(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
        optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.001, "weight_decay": 1e-3})

    def used(optimizer: torch.optim.Optimizer) -> list[tuple[float, ...]]:
        return [(group["lr"], group["momentum"], group["weight_decay"]) for group in optimizer.param_groups]

    model, optimizer, state = made()
    found = []
    for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, schedule, state=state):
        found.append(used(optimizer))
        if record.step == 3:
            unfreeze(model, optimizer)
        if record.step == 9:
            assert used(optimizer)[0][1] == 0.0
            state.save(tmp_path / "c.pt")
    expected = everything(model)

    model, optimizer, state = made()
    unfreeze(model, optimizer)
    state.load(tmp_path / "c.pt")
    resumed = []
    for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, schedule, state=state):
        resumed.append(used(optimizer))
        if record.step == 14:
            break  # the same state goes on in another call
    resumed += [
        used(optimizer) for _ in sc.train_steps(model, optimizer, F.cross_entropy, batches, schedule, state=state)
    ]
    assert resumed == found[10:]
    assert torch.equal(everything(model), expected)


class WithCentres(nn.Module):
    """A loss that learns: the distance to one centre a class."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 3))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, targets) + (outputs - self.centres[targets]).square().mean()


def with_centres() -> tuple[nn.Module, WithCentres, torch.optim.Optimizer, DataLoader]:
    model, _, loader = setup()
    loss_fn = WithCentres()
    groups = [{"params": model.parameters()}, {"params": loss_fn.parameters(), "lr": 0.05}]
    return model, loss_fn, torch.optim.AdamW(groups, lr=0.01), loader


def test_parameters_beside_the_model_are_resumed_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    model, loss_fn, optimizer, loader = with_centres()
    state = sc.TrainState(model, optimizer, loader)
    losses = []
    for record in sc.train_steps(model, optimizer, loss_fn, loader, SCHEDULE, state=state):
        losses.append(record.loss.item())
        if record.step + 1 == 5:
            state.save(path)
    expected = everything(model), loss_fn.centres.detach().clone()

    model, loss_fn, optimizer, loader = with_centres()
    state = sc.TrainState(model, optimizer, loader)
    torch.manual_seed(12345)
    state.load(path)
    resumed = sc.train_steps(model, optimizer, loss_fn, loader, SCHEDULE, state=state)
    assert [record.loss.item() for record in resumed] == losses[5:]
    assert torch.equal(everything(model), expected[0])
    assert torch.equal(loss_fn.centres, expected[1])


def test_parameters_beside_the_model_that_do_not_fit_are_refused_and_older_checkpoints_have_none() -> None:
    model, loss_fn, optimizer, loader = with_centres()
    state = sc.TrainState(model, optimizer, loader)
    saved = state.state_dict()
    older = {key: value for key, value in saved.items() if key != "other_parameters"}
    before = loss_fn.centres.detach().clone()
    state.load_state_dict(older)
    assert torch.equal(loss_fn.centres, before)
    for others, shapes in (([], r"\[\]"), ([torch.zeros(1, 3)], r"\[\(1, 3\)\]")):
        with pytest.raises(ValueError, match=rf"another optimizer: .* had shapes {shapes}, now they have \[\(3, 3\)\]"):
            state.load_state_dict({**saved, "other_parameters": others})
    with pytest.raises(ValueError, match="damaged"):
        state.load_state_dict({**saved, "other_parameters": 7})


class Buckets(Sampler):
    """A batch sampler with a numpy generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.rng.permutation(20).reshape(5, 4).tolist())

    def __len__(self) -> int:
        return 5


def ordered(kind: str) -> DataLoader:
    torch.manual_seed(1)
    data = TensorDataset(torch.randn(20, 5), torch.randint(3, (20,)))
    if kind == "generator":
        return DataLoader(data, batch_sampler=Buckets())
    return DataLoader(data, batch_size=4, sampler=DistributedSampler(data, num_replicas=1, rank=0))


@pytest.mark.parametrize("range_tests", [0, 1])
@pytest.mark.parametrize("kind", ["generator", "epoch"])
def test_training_in_an_order_of_a_samplers_own_is_resumed_bit_for_bit(kind: str, range_tests: int) -> None:
    finals, orders = [], []
    for stop in (None, 3, 5, 7):
        model, optimizer, _ = setup()
        loader = ordered(kind)
        state = sc.TrainState(model, optimizer, loader)
        orders.append([])

        def split(batch: list[torch.Tensor], drawn: list = orders[-1]) -> tuple[torch.Tensor, torch.Tensor]:
            drawn.append(batch[0].flatten().tolist())
            return batch[0], batch[1]

        for record in sc.train_steps(model, optimizer, F.cross_entropy, loader, SCHEDULE, state=state, split=split):
            if record.step + 1 == stop:
                file = io.BytesIO()
                state.write(file)
                break
        if stop is not None:
            model, optimizer, _ = setup()
            loader = ordered(kind)
            state = sc.TrainState(model, optimizer, loader)
            for _ in range(range_tests):
                sc.lr_range_test(model, optimizer, F.cross_entropy, loader, end_lr=0.1, total_steps=7)
            state.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
            list(sc.train_steps(model, optimizer, F.cross_entropy, loader, SCHEDULE, state=state, split=split))
        finals.append(everything(model))
    assert all(torch.equal(final, finals[0]) for final in finals)
    assert orders[0] == orders[1] == orders[2] == orders[3]
    assert len({str(orders[0][i : i + 5]) for i in (0, 5)}) == 2


def test_every_rank_goes_on_in_the_order_of_its_own_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(seed: int) -> sc.TrainState:
        model, optimizer, _ = setup()
        loader = ordered("generator")
        loader.batch_sampler.rng = np.random.default_rng(seed)
        return sc.TrainState(model, optimizer, loader)

    def drawn(state: sc.TrainState, count: int) -> list:
        return [state.source.draw()[0].tolist() for _ in range(count)]

    ranks = [made(0), made(1)]
    for state in ranks:
        drawn(state, 7)
    other = ranks[1].state_dict()
    monkeypatch.setattr(checkpoint, "gather_from_ranks", lambda own: [own, (other["random"], other["source"])])
    saved = ranks[0].state_dict_of_ranks()
    rest = [drawn(state, 9) for state in ranks]
    assert rest[0] != rest[1]
    for rank, expected in ((0, rest[0]), (1, rest[1])):
        monkeypatch.setattr(checkpoint, "rank", lambda rank=rank: rank)
        resumed = made(rank)
        resumed.load_state_dict(saved)
        assert drawn(resumed, 9) == expected
    older = {key: value for key, value in saved.items() if key != "source_of_other_ranks"}
    made(1).load_state_dict(older)
