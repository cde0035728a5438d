"""Comparing on a toy task: equal budgets, paired seeds, the test split read once, and going on where it stopped."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import superconv as sc
from superconv.experiments.compare import compare
from superconv.experiments.compare_tables import tables
from superconv.experiments.contenders import CONTENDERS, Contender, Interval
from superconv.experiments.stopping import StopSignal
from superconv.experiments.tuning import FIRST_SEED, Budget
from superconv.records import StopReason
from superconv.runs import find_runs

ARMS = [replace(CONTENDERS[name], batch_size=32) for name in ("1cycle", "cosine", "common default")]
SMALL = Budget(trials=3, finalists=2, fresh_seeds=1)
WILD = {"all diverge": (1e29, 1e30), "some diverge": (1e-3, 1e7)}  # learning rates


def make_part(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))


def make_task(**changes: Any) -> sc.Task:
    splits = sc.Splits(make_part(96, 1), make_part(64, 2), make_part(64, 3), 3)
    return sc.Task(**{"name": "toy", "model": make_net, "data": splits, **changes})


def run(root: Path, task: Any = None, **changes: Any) -> Any:
    options = {"steps": 10, "ladder": (1, 2), "seeds": 2, "budget": SMALL, **changes}
    return compare(task or make_task(), ARMS, root=root, device="cpu", **options)


def test_every_arm_has_the_same_budget_and_seeds(tmp_path: Path) -> None:
    result = run(tmp_path)
    counts = {(name, steps): len(tuned.trials) for (name, steps), tuned in result.tuned.items()}
    assert counts == {(c.name, steps): 3 if c.tuned else 0 for c in ARMS for steps in (10, 20)}
    assert {tuned.updates for (name, steps), tuned in result.tuned.items() if steps == 20 and tuned.trials} == {5 * 20}
    assert {name: {steps: sorted(seeds) for steps, seeds in by.items()} for name, by in result.values.items()} == {
        c.name: {10: [0, 1], 20: [0, 1]} for c in ARMS
    }
    assert result.updates == 3 * 2 * (10 + 20)
    assert result.outcome == "too few seeds"
    assert result.contest.rival == "cosine"
    runs = [found for found in find_runs(tmp_path) if found.summary is not None]
    tuning = [found for found in runs if found.seed >= FIRST_SEED]
    assert all(found.summary["test"] is None for found in tuning)  # type: ignore[index]
    assert all(found.summary["test"] is not None for found in runs if found.seed < FIRST_SEED)  # type: ignore[index]


def test_it_goes_on_where_it_was_stopped_and_ends_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")

    class After(StopSignal):
        left = 150

        def reason(self) -> StopReason | None:
            self.left -= 1
            return StopReason.interrupted if self.left < 0 else None

    assert run(tmp_path / "cut", stop=After()) is None
    told: list[Any] = []
    again = run(tmp_path / "cut", report=lambda *what: told.append(what))
    assert again.values == whole.values
    assert again.tuned == whole.tuned
    assert again.contest == whole.contest
    assert {what for what, *_ in told} == {"tuning", "finalists on fresh seeds", "comparing"}
    assert run(tmp_path / "cut").values == whole.values  # everything is found finished


@pytest.mark.slow  # likewise of a sweep in every run of the tests
def test_processes_and_this_process_give_the_same(tmp_path: Path) -> None:
    spread = run(tmp_path / "spread", partial(make_task), workers=2)
    here = run(tmp_path / "here", partial(make_task), workers=1)
    assert spread.values == here.values
    assert spread.tuned == here.tuned


class Counting(Dataset[Any]):
    """A test part that counts its readers."""

    def __init__(self) -> None:
        self.inputs, self.targets = make_part(8, 3)
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.inputs[index], self.targets[index]


def test_the_test_split_is_read_once_for_each_compared_training(tmp_path: Path) -> None:
    test = Counting()
    task = make_task(data=sc.Splits(make_part(96, 1), make_part(64, 2), test, 3))
    run(tmp_path, task, ladder=(1,), seeds=1)
    checked = len(test.read) - len(ARMS) * len(test)  # labels may be looked at when splits are made
    assert checked <= len(test)
    assert sorted(set(test.read)) == list(range(8))


def test_experiment_json_is_what_the_report_shows(tmp_path: Path) -> None:
    from superconv.report import build_report

    result = run(tmp_path)
    stored = json.loads((result.path / "experiment.json").read_text())
    assert stored["outcome"] == result.outcome
    assert stored["tables"][0]["title"] == "1cycle against the others"
    page = build_report(result.path).read_text()
    assert "What tuning chose, and what it cost" in page
    assert "common default" in page


def test_diverged_runs_count_as_chance_or_as_the_worst(tmp_path: Path) -> None:
    wild = Contender(
        "wild", "constant:lr={lr}", {"lr": Interval(1e8, 1e12)}, {"weight_decay": 0.0}, optimizer="adam", batch_size=32
    )
    result = compare(make_task(), [ARMS[0], wild], steps=10, ladder=(1,), seeds=1, budget=SMALL, root=tmp_path)
    assert result is not None
    assert result.values["wild"][10][0] <= 0.6
    task = make_task(metric="loss", higher_is_better=False)
    with pytest.raises(ValueError, match="pass margin="):
        compare(task, ARMS, steps=10, root=tmp_path)


def test_an_arm_whose_trials_diverged_is_told_not_left_out(tmp_path: Path) -> None:
    """Without a chance level: a diverged trial is the worst that any arm reached; where all diverged there is none."""
    task = make_task(metric="loss", higher_is_better=False)
    wild = [replace(ARMS[0], name=name, space={**ARMS[0].space, "lr": Interval(*lrs)}) for name, lrs in WILD.items()]
    result = compare(
        task, [ARMS[0], *wild], steps=10, ladder=(1,), seeds=1, margin=0.1, budget=SMALL, root=tmp_path, device="cpu"
    )
    assert result is not None
    lost = {name: [not math.isfinite(value) for _, value in t.trials] for (name, _), t in result.tuned.items()}
    assert all(lost["all diverge"])
    assert any(lost["some diverge"])
    assert not all(lost["some diverge"])
    table = json.loads((result.path / "experiment.json").read_text())["tables"][-1]
    rows = {name: cells for name, *cells in table["rows"]}
    assert rows["all diverge"] == ["-"] * 3
    finite = [v for t in result.tuned.values() for _, v in t.trials if math.isfinite(v)]
    scored = [v if math.isfinite(v) else max(finite) for _, v in result.tuned["some diverge", 10].trials]
    assert float(rows["some diverge"][0]) == pytest.approx(fmean(scored), rel=1e-3)
    assert "A diverged trial counts as the worst" in table["note"]


def test_of_a_loss_the_note_says_which_way_the_difference_is_taken(tmp_path: Path) -> None:
    shown = tables(run(tmp_path / "accuracy", ladder=(1,)), SMALL)[0]
    assert "test accuracy, 1cycle minus opponent (positive: 1cycle is better)" in shown["note"]
    result = run(tmp_path / "loss", make_task(metric="loss", higher_is_better=False), ladder=(1,), margin=0.1)
    shown = tables(result, SMALL)[0]
    assert "test loss, where lower is better: opponent minus 1cycle (positive: 1cycle is better)" in shown["note"]
    ours, theirs = (fmean(result.values[name][10].values()) for name in ("1cycle", "cosine"))
    assert shown["rows"][0][1].startswith(f"{theirs - ours:+.3g}")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"treatment": "1cyle"}, "needs the treatment '1cyle'"),
        ({"seeds": 0}, "at least 1"),
        ({"ladder": (1, 1)}, "different multiples"),
        ({"steps": 1}, "at least 2"),
        ({"margin": -1.0}, "must be positive"),
    ],
)
def test_bad_input_says_what_is_wrong_before_anything_runs(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_a_budget_has_as_many_trials_as_finalists() -> None:
    with pytest.raises(ValueError, match="no more finalists than trials"):
        Budget(trials=1, finalists=2)
    assert Budget(8, 2, 2).trainings == 12
