"""Evaluating leaves every buffer of a model, and a loss that is a module, as they were."""

import functools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import superconv as sc
from superconv.training.evaluate import check_metric
from superconv.training.evaluation_mode import evaluation_mode, outputs_of

INPUTS = torch.randn(96, 10, generator=torch.Generator().manual_seed(0))
TARGETS = (INPUTS[:, 0] > 0).long()
BATCHES = [(INPUTS[i : i + 8], TARGETS[i : i + 8]) for i in range(0, 64, 8)]
HELD_OUT = [(3 * INPUTS[i : i + 2] + 1, TARGETS[i : i + 2]) for i in range(64, 96, 2)]


class Carrying(nn.Module):
    """Buffers that a pass changes in evaluation mode, too: exchanged, in place, through an alias, resized."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(10, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("state", torch.zeros(2), persistent=False)
        self.register_buffer("largest", torch.zeros(()))
        self.register_buffer("seen", torch.zeros(0))
        self.register_buffer("absent", None)
        self.alias = self.largest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.norm(self.line(x)) + self.state + self.largest
        self.state = 0.9 * self.state + 0.1 * out.detach().mean(0)  # another tensor
        self.alias.copy_(torch.maximum(self.alias, x.abs().max()))
        self.seen.resize_(len(x)).copy_(x[:, 0])
        self.absent = torch.ones(1)
        return out


class Flags:
    """What a module was at each pass; a list of its own would be put back behind an evaluation."""

    def __init__(self) -> None:
        self.seen: list[bool] = []


class Centred(nn.Module):
    """A running mean of the outputs, moved by what it sees in training (as DINO's centre is)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(2))
        self.flags = Flags()

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.flags.seen.append(self.training)
        loss = F.cross_entropy(outputs - self.centre, targets)
        if self.training:
            self.centre.lerp_(outputs.detach().mean(0), 0.1)
        return loss


def buffers(module: nn.Module) -> list[Any]:
    return [(name, id(b), None if b is None else b.clone()) for p in module.modules() for name, b in p._buffers.items()]


def same(first: list[Any], second: list[Any]) -> bool:
    return all(
        a[:2] == b[:2] and (a[2] is b[2] is None or torch.equal(a[2], b[2])) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("how", ["running", "batch", "reestimated"])
def test_buffers_that_a_pass_changes_are_as_they_were(how: Any) -> None:
    model = Carrying()
    model(INPUTS)
    before = buffers(model)
    options: dict[str, Any] = {"evaluate_with": how, "training_batches": BATCHES[:2] if how == "reestimated" else ()}
    first = sc.evaluate(model, HELD_OUT, F.cross_entropy, **options)
    assert same(before, buffers(model))
    assert model.alias is model.largest
    assert first == sc.evaluate(model, HELD_OUT, F.cross_entropy, **options)
    check_metric(model, HELD_OUT, metric="accuracy", loss_fn=F.cross_entropy)
    outputs_of(model, INPUTS)
    assert same(before, buffers(model))


def test_buffers_are_as_they_were_after_an_error() -> None:
    model, before = (model := Carrying()), buffers(model)
    with pytest.raises(RuntimeError, match="mat1"):
        sc.evaluate(model, [*HELD_OUT, (torch.zeros(2, 3), TARGETS[:2])], F.cross_entropy)
    assert same(before, buffers(model))
    assert all(part.training for part in model.modules())


def test_a_lazy_layer_may_be_filled_by_an_evaluation() -> None:
    model = nn.Sequential(nn.LazyBatchNorm1d(), nn.Linear(10, 2))
    with evaluation_mode(model):
        model(INPUTS)
    assert model[0].running_mean.shape == (10,)


def training(kind: str, **options: Any) -> list[torch.Tensor]:
    """Weights and the loss's buffer after a training, evaluated or watched along the way."""
    torch.manual_seed(0)
    model, loss = nn.Linear(10, 2), Centred()
    loss_fn = {"module": loss, "method": loss.forward, "partial": functools.partial(loss)}[kind]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    if options.pop("monitor", False):
        sc.LRMonitor(model, optimizer, loss_fn, HELD_OUT, every=2, eigenvalues_every=4)
    for _ in sc.train_steps(model, optimizer, loss_fn, BATCHES, sc.constant(12, lr=0.1), **options):
        assert loss.training
    assert any(loss.flags.seen)
    return [model.weight.detach(), loss.centre]


@pytest.mark.parametrize("kind", ["module", "method", "partial"])
@pytest.mark.parametrize("options", [{"eval_batches": HELD_OUT, "evaluate_every": 3}, {"monitor": True}])
def test_the_buffers_of_a_loss_are_the_trainings_alone(kind: str, options: dict[str, Any]) -> None:
    for plain, other in zip(training(kind), training(kind, **options), strict=True):
        assert torch.equal(plain, other)


@pytest.mark.parametrize("training", [True, False])
def test_a_loss_is_in_evaluation_mode_and_gets_its_flag_back(training: bool) -> None:
    model, loss = nn.Linear(10, 2), Centred().train(training)
    sc.evaluate(model, HELD_OUT, loss)
    assert loss.flags.seen == [False] * len(HELD_OUT)
    assert loss.training is training


def test_a_loss_that_holds_the_model_leaves_batch_statistics_to_the_choice() -> None:
    model = nn.Sequential(nn.Linear(10, 2), nn.BatchNorm1d(2))

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(outputs, targets)

    with_it = sc.evaluate(model, HELD_OUT, Around(), evaluate_with="batch")
    assert with_it == sc.evaluate(model, HELD_OUT, F.cross_entropy, evaluate_with="batch")
    assert all(part.training for part in model.modules())


def test_a_central_difference_sees_the_same_buffers_at_both_points() -> None:
    torch.manual_seed(0)
    model, loss = nn.Linear(10, 2).double(), Centred().double()
    objective = sc.measure.curvature.objective.BatchObjective(model, loss, [(x.double(), y) for x, y in BATCHES[:3]])
    v = [torch.randn_like(p) for p in objective.parameters]
    exact = torch.cat([p.flatten() for p in objective.product(v, "exact")])
    central = torch.cat([p.flatten() for p in objective.product(v, "finite_difference")])
    torch.testing.assert_close(central, exact, rtol=1e-5, atol=1e-7)
