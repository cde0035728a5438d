"""A task's loss that is a module: every run has one of its own, trains its parameters and carries its buffers on."""

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import superconv as sc
from superconv.experiments import arm_parts
from superconv.experiments.config import Arm
from superconv.experiments.range_tests import RangeTestPlan, run_range_test
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.records import StopReason
from superconv.training.checkpoint import TrainState
from superconv.training.optimizers import build_optimizer

INPUTS = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
PART = INPUTS, (INPUTS[:, 0] > 0).long()
STEPS = 12


class Tempered(nn.Module):
    """A temperature that is learned, beside a centre that follows what the loss has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("centre", torch.zeros(2))
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        if self.training:
            self.centre.lerp_(outputs.detach().mean(0), 0.1)
            self.calls += 1
        logits = (outputs - self.centre) * self.t.exp() * self.frozen
        return F.cross_entropy(logits, targets, label_smoothing=label_smoothing)


def task(loss: Any, **changes: Any) -> sc.Task:
    splits = sc.Splits(PART, PART, PART, 2)
    return sc.Task(**{"name": "tempered", "model": lambda: nn.Linear(6, 2), "data": splits, "loss": loss, **changes})


def arm(**changes: Any) -> Arm:
    return Arm("a", sc.constant(STEPS, lr=0.1), **{"batch_size": 32, "evaluate_every": 5, **changes})


def by_hand(seed: int, loss: Any) -> tuple[nn.Module, torch.Tensor]:
    """The same initial weights, trained on the same batches by a plain loop."""
    model = task(loss).build_model(seed)
    batches = sc.data.Batches(sc.Splits(PART, PART, PART, 2).train, 32, seed=seed)
    optimizer = torch.optim.SGD([*model.parameters(), loss.t], 0.1, momentum=0.9)
    source = sc.training.batch_source.BatchSource(batches)
    for _ in range(STEPS):
        x, y = source.draw()
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
    return model, loss.t.detach()


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path / "weights.pt", weights_only=True)


def test_its_parameters_are_trained_as_in_a_plain_loop(tmp_path: Path) -> None:
    own = Tempered()
    made = task(own)
    result = run_arm(made, arm(), 3, root=tmp_path, device="cpu", keep_weights=True)
    model, t = by_hand(3, Tempered())
    assert abs(float(t)) > 0.01
    for name, value in weights(result.path).items():
        torch.testing.assert_close(value, model.state_dict()[name])
    assert (float(own.t.detach()), own.t.grad, float(own.calls), own.centre.tolist()) == (0.0, None, 0.0, [0.0, 0.0])


def test_a_run_does_not_depend_on_those_before_it(tmp_path: Path) -> None:
    alone = run_arm(task(Tempered()), arm(), 1, root=tmp_path / "alone", device="cpu").summary
    made = task(Tempered())
    run_arm(made, arm(), 0, root=tmp_path / "both", device="cpu")
    after = run_arm(made, arm(), 1, root=tmp_path / "both", device="cpu").summary
    assert alone is not None
    assert after is not None
    assert {**alone, "seconds": 0} == {**after, "seconds": 0}


def test_a_run_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    class After(StopSignal):
        left = 5

        def reason(self) -> StopReason | None:
            self.left -= 1
            return StopReason.interrupted if self.left == 0 else None

    made = task(Tempered())
    whole = run_arm(made, arm(), 2, root=tmp_path / "whole", device="cpu", keep_weights=True)
    stopped = run_arm(made, arm(), 2, root=tmp_path / "parts", device="cpu", stop=After(), keep_weights=True)
    assert stopped.steps == 5
    resumed = run_arm(made, arm(), 2, root=tmp_path / "parts", device="cpu", keep_weights=True)
    assert resumed.steps == STEPS
    assert all(torch.equal(a, weights(resumed.path)[name]) for name, a in weights(whole.path).items())
    assert {**(whole.summary or {}), "seconds": 0} == {**(resumed.summary or {}), "seconds": 0}


@pytest.mark.parametrize(
    "wrap", [lambda m: m, lambda m: m.forward, lambda m: functools.partial(m, label_smoothing=0.1)]
)
def test_every_loss_that_is_built_is_another_module(wrap: Any) -> None:
    own = Tempered()
    made = task(wrap(own))
    first, second = (sc.task.loss_function.loss_module(made.build_loss("cpu")) for _ in range(2))
    assert isinstance(first, Tempered)
    assert len({id(own), id(first), id(second)}) == 3
    assert first.t is not own.t


def test_a_plain_function_is_handed_out_as_it_is_and_what_cannot_be_copied_is_named() -> None:
    assert task(F.cross_entropy).build_loss() is F.cross_entropy
    bad = Tempered()
    bad.made = torch.ones(1, requires_grad=True) * 2  # a result of autograd, which torch does not copy
    with pytest.raises(ValueError, match="task 'tempered': every run needs a loss of its own, and this module cannot"):
        task(bad).build_loss()


def test_label_smoothing_goes_to_forward_or_is_refused(tmp_path: Path) -> None:
    run_arm(task(Tempered()), arm(label_smoothing=0.1), 0, root=tmp_path, device="cpu")
    with pytest.raises(ValueError, match="takes no such argument"):
        run_arm(task(nn.CrossEntropyLoss()), arm(label_smoothing=0.1), 0, root=tmp_path, device="cpu")


def test_its_parameters_have_names_for_overrides() -> None:
    model, loss = nn.Linear(6, 2), Tempered()
    optimizer = build_optimizer("sgd", model, lr=0.1, loss_fn=loss, overrides={"loss.*": {"lr_scale": 0.5}})
    assert [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups] == [[(2, 6), (2,)], [()]]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.05]
    plain = build_optimizer("sgd", model, lr=0.1, loss_fn=nn.CrossEntropyLoss())
    assert plain.param_groups[0]["params"] == list(model.parameters())
    with pytest.raises(ValueError, match="loss_fn: it would be ignored beside a list of parameters"):
        build_optimizer("sgd", model.parameters(), lr=0.1, loss_fn=loss)


def test_a_range_test_trains_a_copy(tmp_path: Path) -> None:
    own = Tempered()
    plan = RangeTestPlan(start_lr=0.01, end_lr=1.0, total_steps=8, batch_size=32, forks=0)
    ramp = run_range_test(task(own), plan, 0, root=tmp_path)[0]
    frozen = Tempered()
    frozen.t.requires_grad_(False)
    without = run_range_test(task(frozen, name="frozen"), plan, 0, root=tmp_path)[0]
    assert ramp.train_loss[0] == without.train_loss[0]
    assert ramp.train_loss[-1] != without.train_loss[-1]
    assert float(own.t.detach()) == float(own.calls) == 0.0


def test_ranks_do_not_train_its_parameters_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_parts, "is_distributed", lambda: True)
    with pytest.raises(ValueError, match="the loss has parameters, whose gradients several ranks do not share"):
        arm_parts.loss_on_ranks(task(Tempered()), torch.device("cpu"))
    arm_parts.loss_on_ranks(task(nn.CrossEntropyLoss(torch.ones(2))), torch.device("cpu"))


# ---- TrainState in a loop of one's own


def parts() -> tuple[nn.Module, Tempered, torch.optim.Optimizer, list[Any]]:
    torch.manual_seed(0)
    model, loss = nn.Linear(6, 2), Tempered()
    batches = list(zip(INPUTS.split(32), PART[1].split(32), strict=True))
    return model, loss, torch.optim.SGD([*model.parameters(), loss.t], 0.1), batches


@pytest.mark.parametrize("told", [True, False], ids=["told", "met in train_steps"])
def test_its_buffers_are_resumed_bit_for_bit(tmp_path: Path, told: bool) -> None:
    def state_of(model: nn.Module, loss: Any, optimizer: Any, batches: Any) -> TrainState:
        return sc.TrainState(model, optimizer, batches, loss_fn=loss if told else None)

    model, loss, optimizer, batches = parts()
    state = state_of(model, loss, optimizer, batches)
    schedule = sc.constant(8, lr=0.1)
    for record in sc.train_steps(model, optimizer, loss, batches, schedule, state=state):
        if record.step == 4:
            state.save(tmp_path / "c.pt")
    expected = [*model.parameters(), *loss.buffers(), loss.t]

    model, loss, optimizer, batches = parts()
    state = state_of(model, loss, optimizer, batches)
    state.load(tmp_path / "c.pt")
    state.save(tmp_path / "again.pt")  # before the loss was met, too
    state.load(tmp_path / "again.pt")
    for _ in sc.train_steps(model, optimizer, loss, batches, schedule, state=state):
        pass
    assert all(torch.equal(a, b) for a, b in zip(expected, [*model.parameters(), *loss.buffers(), loss.t], strict=True))


def test_another_loss_is_refused_and_older_checkpoints_have_no_buffers() -> None:
    model, loss, optimizer, batches = parts()
    saved = sc.TrainState(model, optimizer, batches, loss_fn=loss).state_dict()
    other = nn.CrossEntropyLoss(torch.ones(2))
    state = sc.TrainState(model, optimizer, batches)
    state.load_state_dict(saved)
    words = "another loss: its buffers had shapes {'centre': (2,), 'calls': ()}, now they have {'weight': (2,)}"
    with pytest.raises(ValueError, match=re.escape(words)):
        next(sc.train_steps(model, optimizer, other, batches, sc.constant(2, lr=0.1), state=state))
    loss.centre.fill_(3.0)
    older = {key: value for key, value in saved.items() if key != "loss_buffers"}
    sc.TrainState(model, optimizer, batches, loss_fn=loss).load_state_dict(older)
    assert loss.centre.tolist() == [3.0, 3.0]


def test_buffers_that_a_loss_shares_with_the_model_are_saved_once() -> None:
    model = nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2))

    class Around(Tempered):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

    state = sc.TrainState(model, torch.optim.SGD(model.parameters(), 0.1), [PART], loss_fn=Around())
    assert sorted(state.state_dict()["loss_buffers"]) == ["calls", "centre"]
