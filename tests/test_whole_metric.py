"""Metrics of the whole evaluation set: update, compute, reset, as in torchmetrics."""

import contextlib
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.experiments.config import Arm
from superconv.experiments.runner import run_arm
from superconv.task import metric_name, source_hash


class R2:
    """1 - squared error / variance, over everything seen."""

    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    def __eq__(self, other: object) -> "R2":  # type: ignore[override]
        return self  # in torchmetrics a comparison is a metric

    __hash__ = None  # type: ignore[assignment]

    def reset(self) -> None:
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, outputs: torch.Tensor, targets: torch.Tensor) -> None:
        self.seen.append((outputs.detach(), targets))

    def compute(self) -> torch.Tensor:
        outputs, targets = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        if len(targets) < 2:
            raise ValueError("needs at least two samples")
        return 1 - ((outputs - targets) ** 2).mean() / targets.var(correction=0)


class RMSE(R2):
    higher_is_better = False

    def compute(self) -> float:
        outputs, targets = (torch.cat(parts) for parts in zip(*self.seen, strict=True))
        return float(((outputs - targets) ** 2).mean().sqrt())


class Several(R2):
    def compute(self) -> dict:  # type: ignore[override]
        return {"a": 1.0}


def make(samples: int = 33) -> tuple[nn.Module, torch.optim.Optimizer, list]:
    torch.manual_seed(0)
    inputs = torch.randn(samples, 4)
    targets = inputs[:, :1] * 2 + 0.1 * torch.randn(samples, 1)
    model = nn.Linear(4, 1)
    batches = list(zip(inputs.split(16), targets.split(16), strict=True))
    return model, torch.optim.SGD(model.parameters(), 0.1), batches


@torch.no_grad()
def oracle(model: nn.Module, batches: list) -> float:
    inputs, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return float(1 - ((model(inputs) - targets) ** 2).mean() / targets.var(correction=0))


def test_it_is_the_metric_of_the_joined_batches_and_the_object_is_left_alone() -> None:
    """As a mean over batches R2 was -.034, where -.014 was true."""
    model, _, batches = make()
    metric = R2()
    metric.update(torch.ones(2, 1), torch.zeros(2, 1))
    result = sc.evaluate(model, batches, F.mse_loss, metric=metric)
    assert result.metric == pytest.approx(oracle(model, batches), rel=1e-5)
    assert result.metric_error is None
    assert len(metric.seen) == 1
    assert sc.evaluate(model, batches, F.mse_loss, metric=metric) == result


def test_in_training_and_in_range_tests_with_its_own_direction() -> None:
    model, optimizer, batches = make()
    history = sc.train(
        model, optimizer, F.mse_loss, batches, sc.constant(5, lr=0.1), eval_batches=batches, metric=R2()
    )  # fmt: skip
    assert history.final is not None
    assert history.final.metric == pytest.approx(oracle(model, batches), rel=1e-5)

    suggested = []
    for metric in (R2(), RMSE()):
        model, optimizer, batches = make()
        ramp = sc.lr_range_test(
            model, optimizer, F.mse_loss, batches, eval_batches=batches, metric=metric, end_lr=1.0, total_steps=30,
            forks=5, reference_lr="fixed-grid",
        )  # fmt: skip
        assert (ramp.metric_name, ramp.higher_is_better) == (type(metric).__name__, metric.higher_is_better)
        assert ramp.chance is None
        suggested.append(ramp.suggest().lr)
    assert suggested[0] == pytest.approx(suggested[1], rel=0.5)
    told = sc.lr_range_test(
        model, optimizer, F.mse_loss, batches, eval_batches=batches, metric=RMSE(), higher_is_better=True, end_lr=1.0,
        total_steps=4,
    )  # fmt: skip
    assert told.higher_is_better


class Silent(RMSE):
    higher_is_better = None  # type: ignore[assignment]  # as torchmetrics has it where it does not know


def test_an_object_that_does_not_say_what_is_better_is_warned_about() -> None:
    for metric, words in ((Silent(), "metric 'Silent' rises and falls with the loss"), (RMSE(), None)):
        model, optimizer, batches = make()
        options = {"eval_batches": batches, "end_lr": 1.0, "total_steps": 30, "forks": 5, "evaluate_every": 2}
        with pytest.warns(UserWarning, match=words) if words else contextlib.nullcontext():
            sc.lr_range_test(model, optimizer, F.mse_loss, batches, metric=metric, **options)


def make_task(metric: object) -> sc.Task:
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :1] * 2
    data = sc.Splits((inputs[:40], targets[:40]), None, (inputs[40:], targets[40:]))
    return sc.Task("regression", model=_linear, data=data, loss=F.mse_loss, metric=metric)  # type: ignore[arg-type]


def _linear() -> nn.Module:
    return nn.Linear(4, 1)


def test_tasks_take_it(tmp_path) -> None:
    task = make_task(RMSE())
    assert task.higher_is_better is False
    assert metric_name(task.metric) == "RMSE"
    used = RMSE()
    used.update(torch.ones(2, 1), torch.zeros(2, 1))
    assert source_hash(make_task(used)) == source_hash(task)
    assert source_hash(make_task(R2())) != source_hash(task)
    assert type(pickle.loads(pickle.dumps(task)).metric) is RMSE
    arm = Arm("sgd", sc.constant(6, lr=0.1), batch_size=8)
    result = run_arm(task, arm, 0, root=tmp_path, device="cpu")
    assert result.summary is not None
    assert 0.0 < result.summary["test"]["metric"] < 2.0


def test_what_does_not_fit_is_said_before_the_training() -> None:
    model, optimizer, batches = make()
    for metric, words in (
        (Several(), r"compute\(\) of Several returned a dict; a metric is one number"),
        (R2, r"metric R2 is a class, an object of it is needed: pass R2\(...\)"),
    ):
        with pytest.raises(ValueError, match=words):
            sc.train(
                model, optimizer, F.mse_loss, batches, sc.constant(2, lr=0.1), eval_batches=batches, metric=metric
            )  # fmt: skip
    with pytest.raises(ValueError, match="returned a dict"):
        sc.evaluate(model, batches, F.mse_loss, metric=Several())
    lone_first = [(x[:1], y[:1]) for x, y in batches[:1]] + batches
    sc.train(model, optimizer, F.mse_loss, batches, sc.constant(2, lr=0.1), eval_batches=lone_first, metric=R2())


def test_ranks_are_refused_unless_it_gathers_them_itself(monkeypatch) -> None:
    from superconv.training import whole_metric

    monkeypatch.setattr(whole_metric, "is_distributed", lambda: True)
    model, _, batches = make()
    with pytest.raises(ValueError, match=r"sees one rank's part .*\(sync_on_compute=True\)"):
        sc.evaluate(model, batches, F.mse_loss, metric=R2())
    gathering = R2()
    gathering.sync_on_compute = True  # type: ignore[attr-defined]
    assert sc.evaluate(model, batches, F.mse_loss, metric=gathering).samples == 33
