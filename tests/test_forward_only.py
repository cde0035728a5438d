"""Models and losses that differentiate in their forward pass are evaluated, measured and watched like others."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import superconv as sc
from superconv.experiments.config import Arm
from superconv.experiments.range_tests import RangeTestPlan, run_range_test
from superconv.experiments.runner import run_arm
from superconv.training.forward_only import ForwardOnly


class Forces(nn.Module):
    """An energy and the forces that follow from it; with BatchNorm, and noise that it draws in every mode."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
        self.noise = noise
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> Any:
        self.calls += 1
        x = (x + self.noise * torch.randn_like(x)).requires_grad_()
        energy = self.energy(x)
        (gradient,) = torch.autograd.grad(energy.sum(), x, create_graph=True)
        return energy, -gradient


def of_both(outputs: Any, targets: Any) -> torch.Tensor:
    return F.mse_loss(outputs[0], targets[0]) + F.mse_loss(outputs[1], targets[1])


INPUTS = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
BATCHES = [(x, ((x**2).sum(1, keepdim=True), -2 * x)) for x in INPUTS.split(4)]


def detached_error(outputs: Any, targets: Any) -> torch.Tensor:
    assert not any(part.requires_grad for part in outputs)
    return (outputs[0] - targets[0]).abs().flatten()


@pytest.mark.parametrize("how", ["running", "batch", "reestimated"])
def test_an_evaluation_is_that_of_the_slow_form(how: Any) -> None:
    model = Forces()
    model.energy[1].running_mean += 0.1
    found = sc.evaluate(
        model, BATCHES, of_both, metric=detached_error, evaluate_with=how,
        training_batches=BATCHES if how == "reestimated" else (),
    )  # fmt: skip
    norm = model.energy[1]
    if how == "reestimated":  # the plain average over the batches, each once
        seen = [model.energy[0](x) for x, _ in BATCHES]
        norm.running_mean = torch.stack([s.mean(0) for s in seen]).mean(0).detach()
        norm.running_var = torch.stack([s.var(0) for s in seen]).mean(0).detach()
    model.eval()
    norm.train(how == "batch")
    losses = [float(of_both(model(x), y).detach()) for x, y in BATCHES]
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_the_first_pass_is_repeated_from_the_same_random_states_and_buffers() -> None:
    model = Forces(noise=0.1).eval()
    torch.manual_seed(3)
    with torch.enable_grad():
        expected = [model(x)[0].detach() for x, _ in BATCHES[:2]]
    calls = model.calls.clone()
    torch.manual_seed(3)
    forward = ForwardOnly(model)
    found = [forward(lambda x=x: model(x))[0] for x, _ in BATCHES[:2]]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert model.calls - calls == 2


def test_other_errors_are_raised_as_they_are_and_nothing_is_tried_again() -> None:
    calls = []

    def fails() -> None:
        calls.append(torch.is_grad_enabled())
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        ForwardOnly()(fails)
    assert calls == [False]


def test_a_plain_model_is_passed_through_without_a_graph_once() -> None:
    calls = []
    forward = ForwardOnly()
    for _ in range(2):
        forward(lambda: calls.append(torch.is_grad_enabled()))
    assert calls == [False, False]


class Named(dict):
    """A mapping with attributes, as transformers' outputs are."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        setattr(self, key, value)


def test_nests_keep_their_classes_and_lose_their_graphs() -> None:
    leaf = torch.ones(2, requires_grad=True)
    inner = Named()
    inner["logits"] = leaf * 2

    def run() -> Any:
        torch.autograd.grad((leaf * 3).sum(), leaf)
        return [inner, (leaf * 2, None)]

    found = ForwardOnly()(run)
    assert type(found[0]) is Named
    assert not any(part.requires_grad for part in (found[0].logits, found[0]["logits"], found[1][0]))
    assert inner.logits.requires_grad


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = Forces()
    return model, torch.optim.SGD(model.parameters(), 0.01)


def weights(watched: bool = False, **options: Any) -> list[torch.Tensor]:
    model, optimizer = made()
    if watched:
        monitor = sc.LRMonitor(model, optimizer, of_both, BATCHES, every=1, eigenvalues_every=2)
    for _ in sc.train_steps(model, optimizer, of_both, BATCHES, sc.constant(4, lr=0.01), metric="loss", **options):
        pass
    if watched:
        assert monitor.latest is not None
        assert monitor.latest.largest_eigenvalue is not None
    return [*model.parameters(), *model.buffers()]


@pytest.mark.parametrize("options", [{"eval_batches": BATCHES[:2], "evaluate_every": 2}, {"watched": True}])
def test_evaluating_or_watching_the_training_changes_nothing(options: dict[str, Any]) -> None:
    assert all(torch.equal(a, b) for a, b in zip(weights(), weights(**options), strict=True))


def test_a_range_test_has_its_evaluations() -> None:
    model, optimizer = made()
    ramp = sc.lr_range_test(
        model, optimizer, of_both, BATCHES, start_lr=1e-4, end_lr=0.1, total_steps=6, eval_batches=BATCHES[:2],
        metric="loss", evaluate_with="running",
    )  # fmt: skip
    assert ramp.eval_loss[-1] > 0


def test_the_runner_and_the_programs_range_test_train_it(tmp_path: Path) -> None:
    energies = INPUTS.square().sum(1, keepdim=True)
    part = INPUTS, energies
    task = sc.Task(
        "forces", Forces, sc.Splits(part, part, part), loss=lambda o, t: F.mse_loss(o[0], t) + o[1].square().mean(),
        metric="loss",
    )  # fmt: skip
    summary = run_arm(task, Arm("a", sc.constant(3, lr=0.01), batch_size=16), 0, root=tmp_path).summary
    assert summary is not None
    assert summary["test"]["loss"] > 0
    plan = RangeTestPlan(start_lr=1e-4, end_lr=0.1, total_steps=4, batch_size=16, forks=0)
    assert len(run_range_test(task, plan, 0, root=tmp_path)[0].lr) == 4


class Stubborn(nn.Module):
    """Fails after some passes, as only a measurement makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fails and len(x) == 4:
            raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn\nmore")
        return self.line(x)


def test_what_fails_in_the_monitor_warns_once_and_the_training_goes_on() -> None:
    torch.manual_seed(0)
    model = Stubborn()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    pairs = [(x, x.sum(1, keepdim=True)) for x, _ in BATCHES]
    monitor = sc.LRMonitor(model, optimizer, F.mse_loss, pairs, every=1, eigenvalues_every=1)
    model.fails = True
    joined = [(INPUTS, INPUTS.sum(1, keepdim=True))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = list(sc.train_steps(model, optimizer, F.mse_loss, joined, sc.constant(5, lr=0.01)))
    said = [str(warning.message) for warning in caught]
    assert len(records) == len(monitor.rows) == 5
    assert len(said) == 2
    assert all(what in text for what, text in zip(("probes", "eigenvalues"), said, strict=True))
    assert all("after update 1 (RuntimeError: element 0" in text for text in said)
    assert monitor.latest is not None
    assert monitor.latest.probes is None
