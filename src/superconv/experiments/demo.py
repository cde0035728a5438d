"""The demo: range tests, verdicts and an honest comparison on 5,000 real MNIST images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..analysis.range_test import RangeTest, suggest
from ..analysis.repeats import joint_verdict
from ..analysis.suggestion import Suggestion
from ..task import Task, named_task
from .conclusion_file import store_conclusion
from .config import Arm
from .demo_arms import (
    DEFAULT,
    DEFAULT_PIECEWISE,
    MOMENTUM,
    ONE_CYCLE,
    TUNED_ONE_CYCLE,
    TUNED_PIECEWISE,
    WEIGHT_DECAY,
    make_arm,
    suggested,
)
from .demo_findings import Finding, conclude, tables
from .demo_tuning import Report, Tuned, load_tuned
from .range_tests import RangeTestPlan, run_range_test
from .runner import run_arm
from .stopping import StopSignal
from .workers import Workers, run_jobs, stop_requested

DATA = "mnist5k"
CLASSES = 10
EXPERIMENT = "demo"
TOLERANT, DELICATE = "lenet-slim-bn", "lenet-slim"
TITLE = "Can these networks be trained faster with large learning rates?"


@dataclass(frozen=True)
class Plan:
    """How much the demo does.

    Args:
        networks: models of the data set that are compared.
        lengths: planned lengths of the trainings, in steps.
        seeds: of the trainings.
        range_seeds: of the range tests.
        ramp_steps, forks: of the range tests.
    """

    networks: tuple[str, ...] = (TOLERANT, DELICATE)
    lengths: tuple[int, ...] = (40, 80, 160, 320)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7)
    range_seeds: tuple[int, ...] = (0, 1)
    ramp_steps: int = 100
    forks: int = 10


FULL = Plan()
QUICK = Plan(lengths=(40, 80), seeds=(0, 1), range_seeds=(0,), ramp_steps=60, forks=6)


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Args:
        findings: one a network.
        path: the experiment's folder.
        seconds: wall time of this call.
        stopped: True where it was stopped before its end; the same call goes on there.
    """

    findings: tuple[Finding, ...]
    path: Path
    seconds: float
    stopped: bool = False


def run_demo(
    plan: Plan = FULL,
    *,
    root: str | Path = "runs",
    data_dir: str | Path | None = None,
    device: str | None = None,
    report: Report | None = None,
    stop: StopSignal | None = None,
    tuned: Tuned | None = None,
    workers: Workers = None,
) -> DemoResult:
    """Range tests, verdicts, then 1cycle against ordinary training at several lengths over seeds.

    Arms: "one-cycle", whose max_lr comes from the range tests alone and nothing else is tuned; "default", piecewise
    constant from LR 0.01; "tuned-piecewise" and "tuned-one-cycle", both tuned with the same number of trials on
    validation data beforehand (`superconv demo --tune`). Range tests and trainings run in local processes, one thread
    each; what is finished is not done again.

    Args:
        report: called with (what, done, total, text) when a job is finished.
        workers: processes; None: one a core.
    """
    started = time.perf_counter()
    stop, tuned, path = stop or StopSignal(), load_tuned() if tuned is None else tuned, Path(root) / EXPERIMENT

    def all_of(function: Callable[..., Any], jobs: dict[Any, tuple[Any, ...]], what: str) -> dict[Any, Any] | None:
        keys, results = list(jobs), {}
        for index, result in run_jobs(function, list(jobs.values()), workers=workers, stop=stop):
            results[keys[index]] = result
            if report is not None:
                report(what, len(results), len(jobs), " ".join(map(str, keys[index])))
        return results if len(results) == len(jobs) and None not in results.values() else None

    where = (data_dir, root, device)
    tests = {
        (n, seed): (n, _range_test_plan(n, plan), seed, *where) for n in plan.networks for seed in plan.range_seeds
    }
    ramps = all_of(_measure, tests, "range tests")
    if ramps is None:
        return DemoResult((), path, time.perf_counter() - started, stopped=True)
    suggestions = {n: suggest([ramps[n, seed] for seed in plan.range_seeds]) for n in plan.networks}
    trainings = {
        (n, kind, steps, seed): (n, arm, seed, *where)
        for seed in plan.seeds
        for n in plan.networks
        for (kind, steps), arm in _arms(n, plan, suggestions[n], tuned).items()
    }
    summaries = all_of(_train, trainings, "trainings")
    if summaries is None:
        return DemoResult((), path, time.perf_counter() - started, stopped=True)
    findings = []
    for network in plan.networks:
        own = [ramps[network, seed] for seed in plan.range_seeds]
        runs_of = {key[1:]: summary for key, summary in summaries.items() if key[0] == network}
        findings.append(conclude(network, CLASSES, own, joint_verdict(own), suggestions[network], runs_of))
    seconds = time.perf_counter() - started
    _store(path, findings, named_task(DATA, plan.networks[0], data_dir=data_dir), seconds)
    return DemoResult(tuple(findings), path, seconds)


@cache
def _task(network: str, data_dir: str | Path | None) -> Task:
    return named_task(DATA, network, data_dir=data_dir)


def _measure(
    network: str, plan: RangeTestPlan, seed: int, data_dir: str | Path | None, root: str | Path, device: str | None
) -> RangeTest | None:
    """In a worker: one range test; None where it was told to stop."""

    def give_way(*_: object) -> None:
        if stop_requested().reason() is not None:
            raise _Stopped

    try:
        task = _task(network, data_dir)
        return run_range_test(task, plan, seed, root=root, experiment=EXPERIMENT, device=device, progress=give_way).ramp
    except _Stopped:
        return None


class _Stopped(Exception):
    """Leaves a range test between two steps."""


def _train(
    network: str, arm: Arm, seed: int, data_dir: str | Path | None, root: str | Path, device: str | None
) -> dict[str, Any] | None:
    """In a worker: one training's summary; None where it was told to stop."""
    stop, task = stop_requested(), _task(network, data_dir)
    return run_arm(task, arm, seed, root=root, experiment=EXPERIMENT, device=device, stop=stop).summary


def _range_test_plan(network: str, plan: Plan) -> RangeTestPlan:
    return RangeTestPlan(
        name=f"{network} range test",
        optimizer_options={"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
        total_steps=plan.ramp_steps,
        forks=plan.forks,
    )


def _arms(network: str, plan: Plan, suggestion: Suggestion, tuned: Tuned) -> dict[tuple[str, int], Arm]:
    """Kind and length -> arm. 1cycle without a suggestion has no learning rate, so that arm is left out."""
    arms = {}
    for steps in plan.lengths:
        settings = {
            ONE_CYCLE: suggested(suggestion),
            DEFAULT_PIECEWISE: DEFAULT,
            TUNED_PIECEWISE: tuned.get(network, {}).get(TUNED_PIECEWISE, {}).get(steps),
            TUNED_ONE_CYCLE: tuned.get(network, {}).get(TUNED_ONE_CYCLE, {}).get(steps),
        }
        for kind, chosen in settings.items():
            if chosen is not None:
                arms[kind, steps] = make_arm(network, kind, steps, chosen)
    return arms


def _store(path: Path, findings: Sequence[Finding], task: Task, seconds: float) -> None:
    """What the report shows above the runs."""
    sentences = [finding.sentence for finding in findings]
    reasons = [f"{finding.network}: {reason}" for finding in findings for reason in finding.verdict.reasons]
    conclusion = {
        "kind": "demo",
        "title": TITLE,
        "sentence": sentences[0] if sentences else "",
        "findings": [*sentences[1:], *reasons],
        "tables": tables(findings),
        "note": task.data.note,
    }
    store_conclusion(path, conclusion, seconds)
