import random
import signal
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from superconv.restore.copies import Copies
from superconv.restore.loader_order import LoaderOrder
from superconv.restore.preserve import _interrupts_deferred, preserved


def make_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Sequential(nn.ReLU(), nn.Linear(8, 3))
    )
    model.register_buffer("hidden", torch.ones(3), persistent=False)
    return model


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3, history_size=2),
}


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        inputs, targets = torch.randn(16, 6), torch.randint(3, (16,))

        def closure(inputs: torch.Tensor = inputs, targets: torch.Tensor = targets) -> torch.Tensor:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            return loss

        optimizer.step(closure)


def flatten(value: object) -> list[object]:
    if isinstance(value, dict):
        return [x for key, entry in value.items() for x in (str(key), *flatten(entry))]
    if isinstance(value, (list, tuple)):
        return [x for entry in value for x in flatten(entry)]
    return [value.tolist() if isinstance(value, torch.Tensor) else value]


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[object]:
    return flatten(
        [
            dict(model.named_parameters()),
            dict(model.named_buffers()),
            [None if p.grad is None else p.grad.clone() for p in model.parameters()],
            [p.requires_grad for p in model.parameters()],
            [m.training for m in model.modules()],
            optimizer.state_dict(),
            [list(group) for group in optimizer.param_groups],
        ]
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("warm", [0, 3])
def test_training_after_a_restored_block_is_training_alone(name: str, warm: int) -> None:
    finals = []
    for measured in (False, True):
        model = make_model()
        optimizer = OPTIMIZERS[name](model.parameters())
        torch.manual_seed(1)
        train(model, optimizer, warm)
        before = everything(model, optimizer)
        if measured:
            for _ in range(2):  # pitfall 2: the second restore must not see the first one's buffers
                with preserved(model, optimizer):
                    train(model, optimizer, 4)
                assert everything(model, optimizer) == before
        train(model, optimizer, 3)
        finals.append(everything(model, optimizer))
    assert finals[0] == finals[1]


def test_same_objects_and_no_new_keys() -> None:  # pitfall 6
    model = make_model()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer, 2)
    parameters, buffers = list(model.parameters()), list(model.buffers())
    states = {id(p): {k: id(v) for k, v in s.items()} for p, s in optimizer.state.items()}
    group, keys, lr = optimizer.param_groups[0], list(optimizer.param_groups[0]), optimizer.param_groups[0]["lr"]
    with preserved(model, optimizer):
        torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
        optimizer.param_groups[0]["lr"] = 3.0
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
        train(model, optimizer, 1)
        model[1].running_mean = torch.full((8,), 9.0)
        model[0].weight.data = torch.zeros(8, 6)
        model[0].weight.requires_grad_(False)
        model.eval()
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(a is b for a, b in zip(buffers, model.buffers(), strict=True))
    assert {id(p): {k: id(v) for k, v in s.items()} for p, s in optimizer.state.items()} == states
    assert optimizer.param_groups == [group]
    assert list(group) == keys
    assert group["lr"] is lr
    assert float(lr) == pytest.approx(0.01)
    assert model.training
    assert model[0].weight.requires_grad
    assert bool((model[0].weight != 0).any())


def test_modes_gradients_and_flags_come_back() -> None:  # pitfall 5
    model = make_model()
    model[1].eval()
    model[3][1].bias.requires_grad_(False)
    model[0].weight.grad = torch.full_like(model[0].weight, 2.0)
    gradient = model[0].weight.grad
    with preserved(model):
        model.train()
        model.requires_grad_(True)
        model(torch.randn(4, 6)).sum().backward()
        model.hidden.add_(1)
    assert not model[1].training
    assert model[0].training
    assert not model[3][1].bias.requires_grad
    assert model[0].weight.grad is gradient
    assert gradient.unique().tolist() == [2.0]
    assert model[0].bias.grad is None
    assert model.hidden.tolist() == [1, 1, 1]


def test_a_gradient_that_is_a_view_gets_its_content_back() -> None:  # as DistributedDataParallel's buckets are
    model = nn.Linear(3, 2, bias=False)
    bucket = torch.arange(6.0)
    model.weight.grad = view = bucket.view(2, 3)
    with preserved(model):
        bucket.zero_()
        model.weight.grad = None
    assert model.weight.grad is view
    assert bucket.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_refused_thing_leaves_the_others_as_they_were() -> None:
    model = nn.Linear(3, 2)
    model.weight.grad = gradient = torch.ones(2, 3)
    with pytest.raises(TypeError, match="cannot restore"), preserved(model, "no"):
        pass
    assert model.weight.grad is gradient


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError, GeneratorExit])
def test_restores_after_any_exception(error: type[BaseException]) -> None:  # pitfall 3
    model = make_model()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    train(model, optimizer, 1)
    before = everything(model, optimizer)

    def broken() -> None:
        with preserved(model, optimizer):
            train(model, optimizer, 2)
            raise error

    with pytest.raises(error):
        broken()
    assert everything(model, optimizer) == before


def test_random_states_generators_and_loaders() -> None:  # pitfall 1
    generator = torch.Generator().manual_seed(3)
    loader = torch.utils.data.DataLoader(list(range(10)), shuffle=True, generator=generator)

    def draw() -> list[object]:
        return [random.random(), float(np.random.rand()), float(torch.rand(())), [int(x) for x in loader]]

    with preserved(loader):
        first = draw()
    assert draw() == first
    own = torch.Generator().manual_seed(4)
    with preserved(own):
        value = torch.rand(3, generator=own).tolist()
    assert torch.rand(3, generator=own).tolist() == value


def test_scaler_comes_back() -> None:  # pitfall 4
    model = make_model()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)

    def step(factor: float) -> None:
        optimizer.zero_grad()
        scaler.scale(model(torch.randn(4, 6)).sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()

    step(1.0)
    before = scaler.state_dict()
    with preserved(model, optimizer, scaler):
        step(float("inf"))
        step(1.0)
        assert scaler.state_dict() != before
    assert scaler.state_dict() == before
    fresh = torch.amp.GradScaler("cpu", init_scale=8.0)
    with preserved(fresh):
        fresh.scale(torch.ones(()))
    assert fresh._scale is None


def test_a_scheduler_comes_back_and_anything_else_is_refused() -> None:
    model = make_model()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    with preserved(optimizer, scheduler):
        for _ in range(5):
            optimizer.step()
            scheduler.step()
    assert scheduler.last_epoch == 0
    assert optimizer.param_groups[0]["lr"] == 0.1
    with pytest.raises(TypeError, match="cannot restore a int"), preserved(3):
        pass


def test_persistent_workers_are_warned_about() -> None:
    loader = torch.utils.data.DataLoader(list(range(4)), num_workers=1, persistent_workers=True)
    with pytest.warns(UserWarning, match="persistent workers") as caught, preserved(loader):
        pass
    assert caught[0].filename == __file__


def test_copies_can_live_elsewhere() -> None:
    model = make_model()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    train(model, optimizer, 1)
    before = everything(model, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with preserved(model, optimizer, keep_copy_on="cpu"):
            train(model, optimizer, 2)
    assert everything(model, optimizer) == before


def sparse_model(buffer: torch.Tensor) -> nn.Module:
    model = make_model()
    model.register_buffer("adjacency", buffer)
    return model


BUFFERS = {
    "coo": lambda: torch.eye(4).to_sparse(),
    "csr": lambda: torch.eye(4).to_sparse_csr(),
    "expanded": lambda: torch.arange(3.0)[:, None].expand(3, 4),
    "overlapping": lambda: torch.arange(6.0).unfold(0, 3, 1),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta", "ignore:Validating sparse tensor invariants")
@pytest.mark.parametrize("keep_copy_on", [None, "cpu", "disk"])
@pytest.mark.parametrize("kind", BUFFERS)
def test_sparse_and_expanded_buffers_come_back(kind: str, keep_copy_on: str | None) -> None:
    model = sparse_model(BUFFERS[kind]()).eval()
    buffer = model.adjacency
    strided = buffer.layout is torch.strided
    before, strides = buffer.clone().to_dense(), buffer.stride() if strided else ()
    states = torch.get_rng_state()
    with preserved(model, keep_copy_on=keep_copy_on) as rewind:
        for again in (True, False):
            model.train()
            torch.rand(3)
            if strided:
                buffer.untyped_storage().fill_(1)
            else:
                full = torch.ones(4, 4).to_sparse(layout=buffer.layout)
                buffer.resize_as_sparse_(full).copy_(full)
            assert not torch.equal(buffer.to_dense(), before)
            if again:
                rewind()
                assert torch.equal(buffer.to_dense(), before)
    assert model.adjacency is buffer
    assert torch.equal(buffer.to_dense(), before)
    assert not strided or buffer.stride() == strides
    assert not model.training
    assert torch.equal(torch.get_rng_state(), states)


def test_what_cannot_be_brought_back_leaves_nothing_else_undone() -> None:
    class Broken:
        def state_dict(self) -> dict:
            return {}

        def load_state_dict(self, state: dict) -> None:
            raise RuntimeError("no")

    model = make_model().eval()
    optimizer = OPTIMIZERS["sgd"](model.parameters())
    before, states = everything(model, optimizer), torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"), preserved(model, Broken(), optimizer):
        train(model.train(), optimizer, 2)
    assert everything(model, optimizer) == before
    assert torch.equal(torch.get_rng_state(), states)


@pytest.mark.parametrize("optimizer_first", [False, True])
def test_parameters_that_the_optimizer_alone_holds_come_back(optimizer_first: bool) -> None:
    model, head = make_model(), nn.Linear(3, 2)
    head.bias.requires_grad_(False)
    with_gradient = nn.Parameter(torch.ones(2))
    with_gradient.grad = gradient = torch.full((2,), 5.0)
    groups = [{"params": model.parameters()}, {"params": [*head.parameters(), with_gradient], "lr": 1.0}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    held = [*head.parameters(), with_gradient]
    before = [each.detach().clone() for each in held]
    things = (optimizer, model) if optimizer_first else (model, optimizer)
    with preserved(*things) as rewind:
        for _ in range(2):
            assert torch.equal(with_gradient.grad, gradient)
            assert with_gradient.grad is not gradient
            head.bias.requires_grad_(True)
            (head(model(torch.randn(4, 6))).sum() + with_gradient.sum()).backward()
            optimizer.step()
            assert not torch.equal(head.weight, before[0])
            rewind()
            assert all(map(torch.equal, held, before))
    assert all(map(torch.equal, held, before))
    assert (head.weight.grad, head.bias.grad) == (None, None)
    assert with_gradient.grad is gradient
    assert gradient.tolist() == [5.0, 5.0]
    assert [each.requires_grad for each in held] == [True, False, True]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_exchanged_data_comes_back_in_the_old_storage():
    model = nn.Linear(3, 4)
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()
    places = [parameter.data_ptr() for parameter in model.parameters()]
    for exchange in (torch.zeros_like, lambda p: torch.zeros(7), lambda p: p.data[:2]):
        with preserved(model):
            for parameter in model.parameters():
                parameter.data = exchange(parameter)
        assert [parameter.data_ptr() for parameter in model.parameters()] == places
        assert torch.equal(model.weight, weight)
        assert torch.equal(model.bias, bias)


class Slow:
    """One parameter's slow copy, as an object of its own."""

    def __init__(self, parameter: torch.Tensor) -> None:
        self.weight = parameter.detach().clone()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and torch.equal(self.weight, other.weight)


class Lookahead(torch.optim.Optimizer):
    """Slow weights that wait in several places: the wrapped optimizer's state, a list, a dict and an object."""

    def __init__(self, base: torch.optim.Optimizer, every: int = 3) -> None:
        self._base, self.every, self.done, self.seen = base, every, 0, {"norms": [], "last": np.zeros(1)}
        self.param_groups, self.defaults, self.state = base.param_groups, base.defaults, base.state
        self.itself = self.other = {"self": self}  # a cycle
        self.slow = [[parameter.detach().clone() for parameter in group["params"]] for group in self.param_groups]
        self.noise = np.random.default_rng(0), random.Random(0), torch.Generator().manual_seed(0)

    def add_param_group(self, group: dict) -> None:
        self._base.add_param_group(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._base.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: object = None) -> object:
        loss = self._base.step(closure)
        self.done += 1
        self.param_groups[0]["lookahead_step"] = self.done
        drawn = self.noise[0].random() + self.noise[1].random() + float(torch.rand((), generator=self.noise[2]))
        self.seen["norms"].append(drawn)
        self.seen["last"][:] = drawn
        if self.done % self.every == 0:
            self.lookup = {}  # rebound
            for group, slow in zip(self.param_groups, self.slow, strict=True):
                for parameter, weight in zip(group["params"], slow, strict=True):
                    weight.lerp_(parameter, 0.5 + 0.01 * drawn)
                    third = self._base.state[parameter].setdefault("third", Slow(parameter))
                    third.weight.lerp_(weight, 0.5)
                    parameter.copy_(third.weight)
        return loss

    def state_dict(self) -> dict:
        return {**self._base.state_dict(), "done": self.done, "sum": sum(each.sum() for each in self.slow[0])}


class Sharpness(torch.optim.Optimizer):
    """As SAM is written: a base optimizer over the same groups, here one that is itself wrapped, beside a second."""

    def __init__(self, params: object) -> None:
        super().__init__(params, {"lr": 0.1, "rho": 0.05})
        self.all = [Lookahead(torch.optim.SGD(self.param_groups, lr=0.1, momentum=0.9))]
        self.param_groups = self.all[0].param_groups

    def step(self, closure: object = None) -> object:
        return self.all[0].step(closure)


WRAPPERS = {
    "lookahead": lambda p: Lookahead(torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "lookahead of adam": lambda p: Lookahead(torch.optim.Adam(p, lr=0.1)),
    "of a wrapper": lambda p: Sharpness(p),
}


@pytest.mark.parametrize("keep_copy_on", [None, "cpu", "disk"])
@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("warm", [0, 4])
def test_a_wrapped_optimizer_comes_back_as_a_whole(name: str, warm: int, keep_copy_on: str | None) -> None:
    finals = []
    for measured in (False, True):
        model = make_model()
        optimizer = WRAPPERS[name](model.parameters())
        torch.manual_seed(1)
        train(model, optimizer, warm)
        if measured:
            attributes, groups = dict(vars(optimizer)), [*optimizer.param_groups]
            with preserved(model, optimizer, keep_copy_on=keep_copy_on) as rewind:
                train(model, optimizer, 5)
                rewind()
                train(model, optimizer, 4)
                optimizer.state = {}
            assert list(vars(optimizer)) == list(attributes)
            assert all(value is attributes[key] for key, value in vars(optimizer).items())
            assert all(map(lambda a, b: a is b, optimizer.param_groups, groups))
        train(model, optimizer, 7)
        finals.append(everything(model, optimizer))
    assert finals[0] == finals[1]


class Hidden(torch.optim.SGD):
    """Counts where nobody can see it, and tells it in its state."""

    def __init__(self, params: object) -> None:
        super().__init__(params, lr=0.1)
        done = 0

        def step(closure: object = None) -> object:
            nonlocal done
            done += 1
            return torch.optim.SGD.step(self, closure)

        self.step, self.told = step, lambda: {"done": torch.tensor(done), "large": torch.zeros(10**5)}  # type: ignore

    def state_dict(self) -> dict:
        return {**super().state_dict(), **self.told()}


def test_what_an_optimizer_keeps_elsewhere_is_named() -> None:
    model = make_model()
    optimizer = Hidden(model.parameters())
    with preserved(model, optimizer):
        pass  # unchanged: no warning
    with pytest.warns(UserWarning, match="optimizer Hidden was not restored as a whole") as caught:  # noqa: SIM117
        with preserved(model, optimizer):
            train(model, optimizer, 1)
    assert [each.filename for each in caught] == [__file__]
    optimizer.told = lambda: 1 / 0  # it cannot tell its state
    with preserved(model, optimizer):
        train(model, optimizer, 1)


def test_a_wrapper_doubles_no_copy() -> None:
    model = nn.Linear(50, 50, bias=False)
    optimizer = Sharpness(model.parameters())
    model(torch.randn(4, 50)).sum().backward()
    optimizer.step()
    kept: list[int] = []
    keep = Copies.keep

    def counted(self: Copies, tensor: torch.Tensor) -> object:
        kept.append(tensor.numel())
        return keep(self, tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copies, "keep", counted)
        with preserved(model, optimizer):
            pass
    assert kept.count(2500) == 3  # weight, momentum, slow weight


def test_the_data_of_a_loader_is_not_copied() -> None:
    data = [torch.zeros(50) for _ in range(4)]
    loaders = [
        torch.utils.data.DataLoader(data, batch_size=2),  # its sampler refers to the list
        torch.utils.data.DataLoader(data, sampler=torch.utils.data.WeightedRandomSampler(torch.ones(4), 4)),
    ]
    kept: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Copies, "keep", lambda self, tensor: kept.append(tensor.numel()) or tensor.clone)
        with preserved(*loaders):
            pass
    assert kept == [4]
    orders = [LoaderOrder(loader) for loader in loaders]
    data[0].add_(1)
    loaders[1].sampler.weights[0] = 2
    changed = [order.get_state()["changed"] for order in orders]
    assert changed[0] == {"sampler": {}, "batch_sampler": {}, "": {}}  # no copy of the data beside it
    assert list(changed[1]["sampler"]) == ["weights"]


def test_an_interrupt_in_a_block_that_fails_is_not_lost() -> None:
    def fail() -> None:
        with _interrupts_deferred():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("the block's own")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            fail()
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(caught.value.__context__, ValueError)


class Damping:
    def __init__(self) -> None:
        self.value = 1e-3


class Preconditioner:
    """An object that the optimizer calls, as K-FAC's and Shampoo's are."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.squares, self.calls, self.damping = optimizer, {}, 0, Damping()
        self.noise, self.rng = np.zeros(1), np.random.default_rng(0)

    def __call__(self, parameter: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.damping.value *= 1.01
        self.noise[:] = self.rng.random()
        square = self.squares.setdefault(id(parameter), torch.zeros_like(parameter))
        square.mul_(0.9).add_(parameter.grad**2, alpha=0.1)
        self.last = square.mean()
        return parameter.grad / (square.sqrt() + self.damping.value) * (1 + self.noise[0] + self.calls / 1000)


class Preconditioned(torch.optim.Optimizer):
    """Its parts stand in a list as well, and part of them is made late."""

    def __init__(self, params: object) -> None:
        super().__init__(params, {"lr": 0.01})
        self.parts = [Preconditioner(self)]
        self.same = self.parts[0]

    @torch.no_grad()
    def step(self, closure: object = None) -> None:
        with torch.enable_grad():
            closure()
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(self.parts[0](parameter), alpha=-0.01)


@pytest.mark.parametrize("keep_copy_on", [None, "cpu", "disk"])
@pytest.mark.parametrize("warm", [0, 3])
@pytest.mark.parametrize("wrapped", [False, True])
def test_objects_that_keep_tensors_for_an_optimizer_come_back(
    wrapped: bool, warm: int, keep_copy_on: str | None
) -> None:
    finals = []
    for measured in (False, True):
        model = make_model()
        inner = Preconditioned(model.parameters())
        optimizer = Lookahead(inner) if wrapped else inner
        torch.manual_seed(1)
        train(model, optimizer, warm)
        part, squares = inner.same, inner.same.squares
        if measured:
            with preserved(model, optimizer, keep_copy_on=keep_copy_on) as rewind:
                train(model, optimizer, 2)
                rewind()
                train(model, optimizer, 3)
                inner.same = None
            assert inner.same is inner.parts[0] is part
            assert part.squares is squares
            assert (part.calls, len(squares), hasattr(part, "last")) == (warm * 6, 6 * bool(warm), bool(warm))
        train(model, optimizer, 3)
        finals.append((everything(model, optimizer), part.damping.value, float(part.last)))
    assert finals[0] == finals[1]


class Trainer:
    """Someone's own, which an optimizer refers to."""

    def __init__(self, data: object, average: torch.Tensor | None = None) -> None:
        self.data, self.average, self.results = data, average, []


def test_objects_that_are_no_part_of_an_optimizer_are_left_alone() -> None:
    loader = torch.utils.data.DataLoader([1, 2])
    for trainer in (Trainer(None), Trainer(loader), Trainer(loader, torch.zeros(3))):
        model = make_model()
        optimizer = OPTIMIZERS["sgd"](model.parameters())
        optimizer.trainer = trainer
        with preserved(model, optimizer):
            train(model, optimizer, 1)
            trainer.results.append(0.5)
            trainer.best = 0.5
        assert trainer.results == [0.5]
        assert trainer.best == 0.5


def held_elsewhere(optimizer: torch.optim.Optimizer) -> dict:
    """Ways to keep tensors that are not restored, each with the attribute and something that changes them."""
    average, module, trainer = (
        torch.zeros(3),
        nn.BatchNorm1d(6),
        Trainer(torch.utils.data.DataLoader([1]), torch.ones(2)),
    )
    return {
        "closure": ("update", lambda: average.add_(1), lambda: average.add_(1)),
        "module": ("module", module, lambda: module(torch.randn(4, 6))),
        "trainer": ("trainer", [trainer], lambda: trainer.average.add_(1)),
    }


@pytest.mark.parametrize("kind", ["closure", "module", "trainer"])
def test_tensors_behind_an_optimizers_attributes_that_stay_changed_are_named(kind: str) -> None:
    model = make_model()
    optimizer = OPTIMIZERS["adam"](model.parameters())
    name, value, change = held_elsewhere(optimizer)[kind]
    optimizer.model, optimizer.__dict__[name] = model, value
    with preserved(model, optimizer):
        train(model, optimizer, 1)  # the model comes back, whoever refers to it
    said = f"optimizer Adam keeps tensors behind its attribute '{name}'"
    with pytest.warns(UserWarning, match=said) as caught, preserved(optimizer, model):
        change()
    assert [each.filename for each in caught] == [__file__]
    if kind == "module":
        with preserved(optimizer, model, value):
            change()
