"""Which param group a schedule's learning rate belongs to, where nobody may have typed the optimizer's own."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.training.optimizers import build_optimizer

SCHEDULE = sc.constant(10, lr=0.01)
BATCHES = [(torch.randn(8, 4), torch.arange(8) % 2)]


def made(*lrs: float | None, kind: Any = torch.optim.AdamW, **options: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in lrs))
    groups = [
        {"params": layer.parameters(), **({} if lr is None else {"lr": lr})}
        for layer, lr in zip(model, lrs, strict=True)
    ]
    return model, kind(groups, **options)


def lrs(optimizer: Any) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def test_a_default_that_nobody_typed_is_named_at_the_callers_line() -> None:
    _, optimizer = made(1e-3, 1e-2)
    words = (
        r"taken for that of param group 0, whose 0.001 is the default of AdamW; the groups use \[1, 10\] times as "
        r"much. Pass group_scales=\[1, 10\] .* or group_scales=\[0.1, 1\]"
    )
    with pytest.warns(UserWarning, match=words) as caught:
        sc.ScheduleLR(optimizer, SCHEDULE)
    assert [Path(each.filename).name for each in caught] == ["test_unclear_scales.py"]
    assert lrs(optimizer) == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize("scales", [[1, 10], [0.1, 1]])
def test_scales_that_are_given_settle_it(scales: list[float]) -> None:
    model, optimizer = made(1e-3, 1e-2)
    sc.ScheduleLR(optimizer, SCHEDULE, group_scales=scales)
    assert lrs(optimizer) == pytest.approx([0.01 * scale for scale in scales])
    sc.train(model, optimizer, F.cross_entropy, BATCHES, SCHEDULE, group_scales=scales)
    ramp = sc.lr_range_test(
        model, optimizer, F.cross_entropy, BATCHES, start_lr=1e-3, end_lr=0.1, total_steps=4, group_scales=scales
    )
    assert ramp.group_lrs is not None
    assert ramp.group_lrs[-1] == pytest.approx([0.1 * scale for scale in scales])
    with pytest.raises(ValueError, match="one factor a param group"):
        sc.lr_range_test(model, optimizer, F.cross_entropy, BATCHES, end_lr=0.1, group_scales=0.1)


@pytest.mark.parametrize(
    ("own", "options"),
    [
        ((1.1e-3, 1e-2), {}),  # no group has the default: over the largest
        ((1e-3, 1e-4), {}),  # the default is the largest as well
        ((None, None), {}),
        ((1e-3,), {}),
        ((None, 1e-2), {"lr": 2e-3}),  # typed
        ((None, 1.0), {"lr": 0.1, "kind": torch.optim.SGD}),
    ],
)
def test_nothing_is_said_where_it_is_clear(own: tuple[float, ...], options: dict[str, Any]) -> None:
    _, optimizer = made(*own, **options)
    sc.ScheduleLR(optimizer, SCHEDULE)


def test_nothing_is_said_of_groups_that_were_made_from_a_typed_default() -> None:
    optimizer = build_optimizer("adamw", nn.Linear(4, 2), lr=1e-3, bias_lr_scale=2.0)
    sc.ScheduleLR(optimizer, SCHEDULE)
    assert lrs(optimizer) == pytest.approx([0.01, 0.02])


CALLS = {
    "ScheduleLR": lambda model, optimizer: sc.ScheduleLR(optimizer, SCHEDULE),
    "train": lambda model, optimizer: sc.train(model, optimizer, F.cross_entropy, BATCHES, SCHEDULE),
    "range test": lambda model, optimizer: sc.lr_range_test(model, optimizer, F.cross_entropy, BATCHES, total_steps=6),
}


@pytest.mark.parametrize("call", CALLS)
def test_ratios_that_were_written_after_an_earlier_scheduler_are_said_to_be_ignored(call: str) -> None:
    model, optimizer = made(0.1, 0.1, lr=0.1)
    torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    optimizer.param_groups[0]["lr"] = 0.001
    words = r"rates \[0.001, 0.1\] .*'initial_lr': \[0.1, 0.1\].* kept. Pass group_scales=\[0.01, 1\]"
    with pytest.warns(UserWarning, match=words) as caught:
        CALLS[call](model, optimizer)
    assert [Path(each.filename).name for each in caught] == ["test_unclear_scales.py"]
    optimizer.param_groups[0]["lr"] = 0.001
    sc.ScheduleLR(optimizer, SCHEDULE, group_scales=[0.01, 1])
    for group in optimizer.param_groups:  # the other remedy
        del group["initial_lr"]
    sc.ScheduleLR(optimizer, SCHEDULE)
    assert lrs(optimizer) == pytest.approx([1e-4, 0.01])


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
@pytest.mark.parametrize("schedule", [sc.one_cycle(11, max_lr=0.3), sc.cosine(9, max_lr=0.3), SCHEDULE])
def test_ratios_that_only_a_schedule_went_over_are_not(schedule: sc.Schedule, lr: Any) -> None:
    _, optimizer = made(0.1, 0.03, lr=lr, foreach=False)
    for start_step in range(12):  # a cosine ends at 0
        sc.ScheduleLR(optimizer, schedule, start_step=start_step)
        if start_step == 5:  # what comes in between was never scheduled
            optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 1.0})
    assert len({float(rate) for rate in lrs(optimizer)}) == (1 if schedule(12)["lr"] == 0 else 3)
    optimizer.param_groups[0]["lr"] = 7.0
    with pytest.warns(UserWarning, match="ratios"):
        sc.ScheduleLR(optimizer, schedule)


@pytest.mark.parametrize("steps", ["train", "train_steps", "lr_range_test"])
def test_it_is_said_once_and_at_the_line_of_who_called(steps: str) -> None:
    model, optimizer = made(1e-3, 1e-2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if steps == "train":
            sc.train(model, optimizer, F.cross_entropy, BATCHES, SCHEDULE)
        elif steps == "train_steps":
            for _ in sc.train_steps(model, optimizer, F.cross_entropy, BATCHES, SCHEDULE):
                pass
        else:
            sc.lr_range_test(model, optimizer, F.cross_entropy, BATCHES, total_steps=6, forks=2)
    assert [(Path(each.filename).name, each.category) for each in caught] == [("test_unclear_scales.py", UserWarning)]
    assert "param group 0" in str(caught[0].message)


def test_a_range_test_says_which_group_its_learning_rates_belong_to() -> None:
    options = {"start_lr": 1e-3, "end_lr": 0.1, "total_steps": 6}
    for own, line in (
        ((0.1, 0.01), "the learning rates are those of param group 0: group_scales=[1, 0.1]"),
        ((0.01, 0.1), "the learning rates are those of param group 1: group_scales=[0.1, 1]"),
        ((0.1, 0.1), None),
    ):
        model, optimizer = made(*own, lr=0.1)
        text = sc.lr_range_test(model, optimizer, F.cross_entropy, BATCHES, **options).summary()
        assert (line or "the learning rates are") in text.splitlines() or (line is None and "group_scales" not in text)
    model, optimizer = made(0.1, 0.1)
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, BATCHES, **options, group_scales=[0.5, 0.25])
    assert "the learning rates are the schedule's, of no param group: group_scales=[0.5, 0.25]" in ramp.summary()
