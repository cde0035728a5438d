"""Schedule-free optimizers: trained at one point, evaluated at another, and neither disturbs the other."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_runner import Acting, make_task, outcome
from torch import nn

import superconv as sc
from superconv.experiments.config import Arm
from superconv.experiments.contenders import CONTENDERS
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.training.evaluation_point import begin_training, evaluation_point

schedulefree = pytest.importorskip("schedulefree", reason="schedulefree is not installed: pip install schedulefree")
pytest.importorskip("prodigyopt", reason="prodigyopt is not installed: pip install prodigyopt")


def setup() -> tuple[nn.Module, Any, list[Any]]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    batches = [(torch.randn(8, 4), torch.randint(3, (8,))) for _ in range(5)]
    return model, schedulefree.SGDScheduleFree(model.parameters(), lr=0.3, momentum=0.9), batches


def test_our_loop_is_the_packages_own_and_evaluations_change_no_bit() -> None:
    weights = []
    for every in (None, 1):
        model, optimizer, batches = setup()
        history = sc.train(
            model,
            optimizer,
            F.cross_entropy,
            batches,
            sc.constant(20, lr=0.3),
            eval_batches=batches,
            evaluate_every=every,
        )
        weights.append(model.weight.detach().clone())
        assert optimizer.param_groups[0]["train_mode"]
    assert torch.equal(*weights)
    model, optimizer, batches = setup()
    optimizer.train()
    for step in range(20):
        inputs, targets = batches[step % 5]
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    assert torch.equal(model.weight, weights[0])
    optimizer.eval()  # the oracle for the last evaluation
    right = torch.stack([(model(x).argmax(1) == y).float().mean() for x, y in batches]).mean()
    assert history.final is not None
    assert history.final.metric == pytest.approx(float(right))
    loss = torch.stack([F.cross_entropy(model(x), y) for x, y in batches]).mean()
    assert history.final.loss == pytest.approx(float(loss.detach()))


def test_the_weights_come_back_bit_for_bit_after_an_exception_too() -> None:
    model, optimizer, batches = setup()
    sc.train(model, optimizer, F.cross_entropy, batches, sc.constant(7, lr=0.3))
    before, state = model.weight.detach().clone(), copy.deepcopy(optimizer.state_dict())

    def broken() -> None:
        with evaluation_point(optimizer):
            assert not torch.equal(model.weight, before)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    assert torch.equal(model.weight, before)
    assert optimizer.state_dict()["param_groups"] == state["param_groups"]


def test_other_optimizers_are_left_alone() -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    begin_training(optimizer)
    weight = model.weight
    with evaluation_point(optimizer):
        assert model.weight is weight


@pytest.mark.parametrize("name", ["schedule-free SGD", "schedule-free AdamW", "Prodigy"])
def test_contenders_train_and_resume_bit_for_bit(tmp_path: Path, name: str) -> None:
    contender = CONTENDERS[name]
    settings = next(iter(contender.candidates(1))) | ({"lr": 0.01} if "lr" in contender.space else {})
    made = contender.arm(40, settings)
    arm = Arm(name, made.schedule, made.optimizer, made.optimizer_options, batch_size=20, evaluate_every=13)
    whole = run_arm(make_task(), arm, 0, root=tmp_path / "whole", device="cpu", keep_weights=True)
    assert whole.summary is not None
    assert math.isfinite(whole.summary["train_loss"])
    stop = StopSignal()
    acting = Acting(20, lambda: setattr(stop, "_deadline", -math.inf))
    acting.reason = lambda: Acting.reason(acting) or stop.reason()  # type: ignore[method-assign]
    assert run_arm(make_task(), arm, 0, root=tmp_path, device="cpu", keep_weights=True, stop=acting).summary is None
    again = run_arm(make_task(), arm, 0, root=tmp_path, device="cpu", keep_weights=True)
    assert outcome(again.path) == outcome(whole.path)
    weights = [torch.load(run.path / "weights.pt", weights_only=True) for run in (again, whole)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
