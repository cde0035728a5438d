"""Learning rates found before an experiment: the best of a grid, grids that grow, trials that never see the test."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from superconv.experiments import sweep
from superconv.experiments.stopping import StopSignal
from superconv.paper.build import task_of
from superconv.paper.catalogue import select
from superconv.paper.claim import Tuning
from superconv.paper.claims.base import cycle
from superconv.paper.reproduce import reproduce
from superconv.paper.results import known, load, save
from superconv.paper.scale import scaled
from superconv.paper.tuning import Trial, tune
from superconv.runs import find_runs
from superconv.runs.lock import FolderLock

SETTING = cycle()


def peaked(best: float, asked: list[Trial], missing: float | None = None) -> Any:
    """Trials whose accuracy falls off with the distance of the logarithms."""

    def measure(trials: Sequence[Trial]) -> Iterable[tuple[Trial, float]]:
        asked.extend(trials)
        for trial in trials:
            if trial.factor != missing:
                yield trial, 0.9 - 0.1 * abs(math.log2(trial.factor / best)) + 1e-3 * (trial.seed % 2)

    return measure


@pytest.mark.parametrize(("best", "asked"), [(1.0, 5), (3.5, 6), (8.0, 7), (0.03, 8)])
def test_the_best_of_a_grid_that_grows_where_it_must(best: float, asked: int) -> None:
    trials: list[Trial] = []
    found = tune({"a": (SETTING, Tuning())}, peaked(best, trials))["a"]
    tried = sorted(found.trials)
    assert found.factor == min(tried, key=lambda factor: abs(math.log2(factor / best)))
    assert len(tried) == asked
    assert len(trials) == 2 * asked, "nothing is tried twice"
    assert all(trial.setting.lr_factor == trial.factor for trial in trials)
    assert all(b / a == pytest.approx(2.0) for a, b in pairwise(tried))


def test_ties_go_to_the_smaller_and_searches_do_not_mix() -> None:
    def flat(trials: Sequence[Trial]) -> Iterable[tuple[Trial, float]]:
        for trial in trials:
            yield trial, 0.5 if trial.name == "flat" else float(trial.factor == 2.0)

    found = tune({"flat": (SETTING, Tuning(extensions=0)), "two": (SETTING, Tuning())}, flat)
    assert {name: tuned.factor for name, tuned in found.items()} == {"flat": 0.25, "two": 2.0}


def test_factors_multiply_the_settings_own_and_are_compared_by_their_means() -> None:
    asked: list[Trial] = []

    def lucky(trials: Sequence[Trial]) -> Iterable[tuple[Trial, float]]:
        asked.extend(trials)
        for trial in reversed(trials):  # as processes may finish them
            yield trial, {1.0: 0.7, 2.0: 0.9 - 0.8 * (trial.seed % 2)}.get(trial.factor, 0.1)

    found = tune({"a": (SETTING.replace(lr_factor=3.0), Tuning())}, lucky)
    assert found["a"].factor == 1.0
    assert found["a"].trials[2.0] == pytest.approx((0.9, 0.1)), "one a seed, in their order"
    assert all(trial.setting.lr_factor == 3.0 * trial.factor for trial in asked)


def test_a_search_that_was_stopped_finds_nothing() -> None:
    assert tune({"a": (SETTING, Tuning())}, peaked(1.0, [], missing=0.5)) == {}


def test_a_grid_needs_two_factors() -> None:
    with pytest.raises(ValueError, match="two factors or more"):
        Tuning(factors=(1.0,))
    with pytest.raises(ValueError, match="ascending"):
        Tuning(factors=(2.0, 1.0))


def test_trials_are_tested_on_held_out_training_images() -> None:
    setting = scaled(SETTING, "smoke")
    whole, held = task_of(setting, "smoke").data, task_of(setting, "smoke", held_out=0.25).data
    assert held.validation is not None
    assert len(held.train) + len(held.validation) == len(whole.train)
    every = torch.arange(len(whole.train))
    given = whole.train.batch(every)[0]
    parts = [part.batch(torch.arange(len(part)))[0] for part in (held.train, held.validation)]
    rows = {tuple(row.flatten().tolist()) for row in given}
    assert {tuple(row.flatten().tolist()) for part in parts for row in part} == rows


def test_a_tuned_experiment_keeps_its_trials_and_the_factor_is_used(tmp_path: Path) -> None:
    chosen = select("fair-headline/cosine")
    (found,) = reproduce(chosen, scale="smoke", seeds=[0], root=tmp_path / "runs", workers=1, device="cpu")
    tuned = found.tuned["cosine"]
    setting = scaled(chosen[0][1].setting, "smoke")
    assert found.settings["cosine"].lr_factor == setting.lr_factor * tuned.factor
    assert len(tuned.trials) >= 5
    assert len(find_runs(tmp_path / "runs")) == 2 * len(tuned.trials) + 1
    path = save(found, tmp_path)
    for again in (load(path), load(save(found, tmp_path))):  # the same look twice
        assert again.tuned["cosine"].factor == tuned.factor
        assert list(again.tuned["cosine"].trials) == list(tuned.trials)
        for factor, accuracies in tuned.trials.items():
            assert again.tuned["cosine"].trials[factor] == pytest.approx(accuracies, rel=1e-3)
    there = known(tmp_path, chosen, "smoke")
    (more,) = reproduce(
        chosen, scale="smoke", seeds=[0, 1], root=tmp_path / "again", workers=1, device="cpu", known=there
    )
    assert len(find_runs(tmp_path / "again")) == 1, "neither trials nor the seed that there is"
    assert more.settings["cosine"] == found.settings["cosine"]


def test_a_trial_that_another_process_is_at_comes_last_and_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = select("fair-headline/cosine")
    told: list[str] = []
    where: dict[str, Any] = {"scale": "smoke", "seeds": [0], "root": tmp_path, "workers": 1, "device": "cpu"}
    where["report"] = lambda what, done, total, text: told.append(what)
    (alone,) = reproduce(chosen, **where)
    searched, grid = told.count("tuning"), len(Tuning().factors) * len(Tuning().seeds)
    held = next(run for run in find_runs(tmp_path) if run.seed == Tuning().seeds[0])
    (held.path / "summary.json").unlink()
    lock = FolderLock(held.path)

    looks: list[float] = []
    stopped = Event()
    at_second_look: list[Callable[[], None]] = [stopped.set, lock.release]

    def nap(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            at_second_look[0]()

    monkeypatch.setattr(sweep, "time", SimpleNamespace(sleep=nap))  # others sleep too
    told.clear()
    lock.acquire()
    try:
        (without,) = reproduce(chosen, stop=StopSignal(event=stopped), **where)
        assert (without.tuned, len(looks), told) == ({}, 2, ["tuning"] * (grid - 1))
        looks.clear()
        told.clear()
        at_second_look.pop(0)
        (found,) = reproduce(chosen, **where)
    finally:
        lock.release()
    assert found.tuned == alone.tuned
    assert (told.count("tuning"), told[grid - 1]) == (searched - 1, "tuning, with another process")


def test_the_curvature_estimate_becomes_part_of_the_run(tmp_path: Path) -> None:
    (found,) = reproduce(
        select("hessian-free/300-constant"), scale="smoke", seeds=[0], root=tmp_path / "runs", workers=1, device="cpu"
    )
    run = found.runs["300-constant"][0]
    assert run.estimates is not None
    steps = run.estimates["step"]
    assert steps[-1] == run.step[-1]
    assert len(set(run.estimates["lr"])) == 1
    ratio = run.measure("estimate over learning rate")
    middle = [e / lr for e, lr in zip(run.estimates["estimate"], run.estimates["lr"], strict=True)][len(steps) // 2 :]
    assert min(middle) <= ratio <= max(middle)
    assert run.measure("estimate over noise alone") > 0
    again = load(save(found, tmp_path)).runs["300-constant"][0]
    assert again.estimates is not None
    assert again.estimates["estimate"] == pytest.approx(run.estimates["estimate"], rel=1e-3, nan_ok=True)
