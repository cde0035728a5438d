import dataclasses
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.analysis.fork_rules import Fork
from superconv.analysis.reference import grid_edge, stored_grid_edge
from superconv.analysis.repeats import joint_verdict
from superconv.measure.reference import (
    EXTENSION,
    GRID_FACTOR,
    GRID_POINTS,
    MOST_TRAININGS,
    WARMUP,
    Reference,
    _warmed_up,
    find_reference,
)
from superconv.records import Evaluation


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
    return list(zip(inputs.split(16), targets.split(16), strict=True))


def ramp(**options: object) -> sc.RangeTest:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    given = {"eval_batches": batches(), "end_lr": 10.0, "total_steps": 40, "seed": 0, **options}
    return sc.lr_range_test(model, optimizer, F.cross_entropy, batches(), **given)


def test_a_grid_finds_the_best_constant_rate_and_changes_nothing_else() -> None:
    plain, measured = ramp(), ramp(reference_lr="grid")
    assert plain.reference_lr is None
    assert plain.train_loss.tolist() == measured.train_loss.tolist()
    grid = measured.settings["reference_grid"]
    assert len(grid["lr"]) == GRID_POINTS + 2
    assert grid["lr"] == sorted(grid["lr"])
    assert grid["lr"][-1] == pytest.approx(10.0)
    assert grid["lr"][0] == pytest.approx(10.0 / GRID_FACTOR ** (GRID_POINTS - 1))
    stable = [lr for lr, metric in zip(grid["lr"], grid["metric"], strict=True) if metric is not None]
    assert measured.reference_lr is not None
    assert stable[0] <= measured.reference_lr <= stable[-1]
    assert 0.01 < measured.reference_lr < 2.0  # a rate that this network learns at


def test_a_branch_of_the_grid_is_a_training_at_that_rate() -> None:
    grid = ramp(reference_lr="grid").settings["reference_grid"]
    lr = grid["lr"][2]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    history = sc.train(
        model, optimizer, F.cross_entropy, batches(), _warmed_up(40, lr), eval_batches=batches(), evaluate_with="batch"
    )
    assert history.final is not None
    assert history.final.metric == grid["metric"][2]


def test_the_warm_up_is_a_fifth_and_ends_at_the_rate() -> None:
    lrs = _warmed_up(50, 2.0).values()["lr"]
    assert lrs[round(WARMUP * 50) :].tolist() == [2.0] * 40
    assert (lrs[:10] < 2.0).all()
    assert (lrs > 0).all()
    for steps in (1, 2, 3):
        assert _warmed_up(steps, 2.0)(steps - 1) == {"lr": 2.0}


def test_given_rates_are_taken_and_a_grid_without_data_is_refused() -> None:
    assert ramp(reference_lr=0.3).reference_lr == 0.3
    with pytest.raises(ValueError, match="pass eval_batches and a metric"):
        ramp(reference_lr="grid", eval_batches=None)


def test_where_every_rate_diverges_there_is_no_reference() -> None:
    found = ramp(reference_lr="grid", end_lr=1e30, start_lr=1e-3, evaluate_every=1, total_steps=80)
    assert found.reference_lr is None
    grid = found.settings["reference_grid"]
    assert grid["metric"] == [None] * (GRID_POINTS + EXTENSION)  # no best one to refine around
    assert found.reference_edge == "nothing"
    assert found.verdict().tolerance == "inconclusive"
    assert "no constant LR of the grid ended better than a guess" in found.verdict().reasons[0]


class MadeUp:
    """Stands in for a probe: a training's metric is a function of its rate; rates in the order tried."""

    def __init__(self, value: Any, name: str = "accuracy", chance: float | None = 0.1) -> None:
        self.value, self.tried = value, []
        self.metric = SimpleNamespace(name=name, level=lambda: chance)

    def branch(self, source: Any, schedule: sc.Schedule, *, at_start: bool) -> tuple[Evaluation, list[float]]:
        lr = schedule(schedule.total_steps - 1)["lr"]
        self.tried.append(lr)
        metric = self.value(lr)
        return Evaluation(1.0, metric, 1000, ""), [metric]


def peaked(best: float, breaks: float = math.inf) -> Any:
    """An accuracy that falls by .03 with every squared decade from `best`; a rate above `breaks` diverges."""
    return lambda lr: 0.9 - 0.03 * math.log10(lr / best) ** 2 if lr <= breaks else math.nan


def search(value: Any, *, end_lr: float = 100.0, **options: Any) -> tuple[Reference, list[float]]:
    own = {key: options.pop(key) for key in ("name", "chance") if key in options}
    probe = MadeUp(value, **own)
    return find_reference(probe, None, end_lr=end_lr, steps=20, **options), probe.tried  # type: ignore[arg-type]


@pytest.mark.parametrize("best", [0.25, 0.32, 1.0, 8.0, 100.0])
def test_where_the_best_is_enclosed_the_grid_is_what_it_was(best: float) -> None:
    found, tried = search(peaked(best))
    coarse = [100.0 / GRID_FACTOR**k for k in range(GRID_POINTS)]
    centre = max(coarse, key=peaked(best))
    assert tried == [*coarse, centre / GRID_FACTOR**0.5, centre * GRID_FACTOR**0.5]
    assert search(peaked(best), extend=False)[0] == found


@pytest.mark.parametrize("breaks", [math.inf, 0.5, 0.02])  # 0.02: every rate of the first grid diverges
@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_best_rate_below_the_grid_is_gone_after(breaks: float, metric: str) -> None:
    value, options = peaked(0.01, breaks), {}
    if metric == "loss":
        options = {"name": "loss", "chance": None, "higher_is_better": False}
        value = lambda lr: 1.0 - peaked(0.01, breaks)(lr)  # noqa: E731
    found, tried = search(value, **options)
    assert found.lr == pytest.approx(0.01, rel=0.4)
    assert 10 <= len(tried) <= MOST_TRAININGS == 14
    assert len(set(tried)) == len(tried)
    inside = [lr for lr in found.lrs if 0.005 < lr < 0.02]
    assert len(inside) >= 2  # half-way beside the best, too
    before = search(value, extend=False, **options)[0]
    assert before.lr is None or before.lr > 0.15
    assert len(before.lrs) <= GRID_POINTS + 2


def test_the_search_downwards_has_an_end() -> None:
    found, tried = search(peaked(1e-5))
    assert len(tried) == MOST_TRAININGS
    assert min(tried) == pytest.approx(100.0 / 10**5)
    assert grid_edge(found.lrs, found.metrics, chance=0.1) == "lowest"
    guess, tried = search(lambda lr: 0.1)  # one class for every sample
    assert len(tried) == GRID_POINTS + 2 + EXTENSION
    assert guess.lrs[0] == pytest.approx(100.0 / 10**4.5)
    assert grid_edge(guess.lrs, guess.metrics, chance=0.1) == "nothing"


def forked(found: Reference, reaches: float) -> sc.RangeTest:
    """A range test to LR 100 with that grid, of a network whose forks end well up to `reaches`."""
    lrs = np.geomspace(0.01, 100.0, 40)
    kept = np.where(lrs <= reaches, 0.85, 0.1)
    forks = tuple(Fork(i, lr, m, 1.0, 30, False) for i, (lr, m) in enumerate(zip(lrs, kept, strict=True)))
    return sc.RangeTest(
        lr=lrs, train_loss=np.ones(40), metric=kept, forks=forks[::2], chance=0.1, eval_samples=1000,
        reference_lr=found.lr, settings={"reference_grid": found.to_dict()},
    )  # fmt: skip


def test_a_reference_from_the_edge_of_its_grid_decides_nothing() -> None:
    """Forks are good up to .17 and the best constant rate is .01: wide, and not narrow as beside the lowest tried."""
    short, full = search(peaked(0.01), extend=False)[0], search(peaked(0.01))[0]
    cut, whole = forked(short, 0.22), forked(full, 0.22)
    assert short.lr is not None
    assert cut.reference_edge == "lowest"
    assert cut.verdict().tolerance == "inconclusive"
    assert "the best constant LR of the grid is its lowest" in cut.verdict().reasons[0]
    assert cut.verdict().evidence["reference_edge"] == "lowest"
    assert dataclasses.replace(cut, settings={}).verdict().tolerance == "narrow"  # what it would have said
    assert whole.reference_edge is None
    assert whole.verdict().tolerance == "wide"
    assert "reference_edge" not in whole.verdict().evidence
    assert cut.verdict(reference_lr=0.01).tolerance == "wide"  # a rate that is given is no grid's
    assert joint_verdict([whole, whole]).tolerance == "wide"
    together = joint_verdict([whole, cut])
    assert together.tolerance == "inconclusive"
    assert together.evidence["reference_lr"] == pytest.approx(full.lr)  # a bound is not pooled
    assert any("its lowest" in reason for reason in together.reasons)


def test_the_highest_rate_of_a_grid_is_an_edge_as_well() -> None:
    found, tried = search(peaked(1e4))
    assert len(tried) == GRID_POINTS + 2  # what lies beyond, no ramp shows
    ramp = forked(found, 10.0)
    assert ramp.reference_edge == "highest"
    assert "raise end_lr" in ramp.verdict().reasons[0]


def test_edges_of_grids() -> None:
    assert grid_edge([1.0, 2.0, 3.0], [0.2, 0.5, 0.3]) is None
    assert grid_edge([1.0, 2.0, 3.0], [0.5, 0.5, 0.3]) is None  # another is as good
    assert grid_edge([3.0, 2.0, 1.0], [0.3, 0.4, 0.5]) == "lowest"
    assert grid_edge([1.0, 2.0, 3.0], [0.3, None, 0.5]) == "highest"
    assert grid_edge([1.0, 2.0, 3.0], [0.3, None, 0.5], higher_is_better=False) == "lowest"
    assert grid_edge([1.0, 2.0], [0.1, 0.08], chance=0.1) == "nothing"
    assert grid_edge([1.0, 2.0], [2.3, 2.4], chance=2.3, higher_is_better=False) == "nothing"
    assert grid_edge([1.0, 2.0], [None, math.nan]) == "nothing"
    for damaged in (None, 7, {}, {"lr": [], "metric": []}, {"lr": [1.0], "metric": ["x"]}, {"lr": [1.0], "metric": []}):
        assert stored_grid_edge(damaged) is None


def test_a_fixed_grid_keeps_its_eight_trainings() -> None:
    steps = {"end_lr": 1e4, "start_lr": 1e-2, "total_steps": 20}
    whole, fixed = ramp(reference_lr="grid", **steps), ramp(reference_lr="fixed-grid", **steps)
    first, more = fixed.settings["reference_grid"], whole.settings["reference_grid"]
    assert GRID_POINTS <= len(first["lr"]) <= GRID_POINTS + 2 < len(more["lr"])
    assert set(first["lr"]) <= set(more["lr"])
    assert fixed.reference_edge in ("lowest", "nothing")
    assert whole.train_loss.tolist() == fixed.train_loss.tolist()
    assert whole.settings["updates"] - fixed.settings["updates"] == 20 * (len(more["lr"]) - len(first["lr"]))
