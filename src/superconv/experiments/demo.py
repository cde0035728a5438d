"""The demo: range tests, verdicts and an honest comparison on 5,000 real MNIST images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import runs
from ..analysis.range_test import RangeTest, suggest
from ..analysis.repeats import joint_verdict
from ..analysis.suggestion import Suggestion
from ..task import Task, named_task
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
from .demo_tuning import Tuned, load_tuned
from .range_tests import RangeTestPlan, run_range_test
from .runner import run_arm
from .stopping import StopSignal

DATA = "mnist5k"
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
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    range_seeds: tuple[int, ...] = (0, 1)
    ramp_steps: int = 100
    forks: int = 10


FULL = Plan()
QUICK = Plan(lengths=(40, 80), seeds=(0, 1), range_seeds=(0,), ramp_steps=60, forks=6)


class Display(Protocol):
    """What the demo needs of a progress display."""

    def measuring(self, prefix: str = "") -> Any:
        """A `progress` function for a range test."""

    def show(self, description: str, done: int, total: int, text: str) -> None:
        """Set a bar."""


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
    display: Display | None = None,
    stop: StopSignal | None = None,
    tuned: Tuned | None = None,
) -> DemoResult:
    """Range tests, verdicts, then 1cycle against ordinary training at several lengths over seeds.

    Arms: "one-cycle", whose max_lr comes from the range tests alone and nothing else is tuned; "default", piecewise
    constant from LR 0.01; "tuned-piecewise" and "tuned-one-cycle", both tuned with the same number of trials on
    validation data beforehand (`superconv demo --tune`). What is finished is not done again.
    """
    started = time.perf_counter()
    stop, tuned = stop or StopSignal(), load_tuned() if tuned is None else tuned
    path, findings = Path(root) / EXPERIMENT, []
    for network in plan.networks:
        task = named_task(DATA, network, data_dir=data_dir)
        ramps = _range_tests(task, network, plan, root, device, display)
        suggestion = suggest(ramps)
        arms = _arms(network, plan, suggestion, tuned)
        summaries: dict[tuple[str, int, int], Mapping[str, Any]] = {}
        for seed in plan.seeds:
            for (kind, steps), arm in arms.items():
                result = run_arm(task, arm, seed, root=root, experiment=EXPERIMENT, device=device, stop=stop)
                if result.summary is None:
                    return DemoResult((), path, time.perf_counter() - started, stopped=True)
                summaries[kind, steps, seed] = result.summary
                if display is not None:
                    text = f"{kind}, {steps} steps, seed {seed}"
                    display.show(f"{network} trainings", len(summaries), len(arms) * len(plan.seeds), text)
        verdict = joint_verdict(ramps)
        findings.append(conclude(network, task.data.num_classes, ramps, verdict, suggestion, summaries))
    seconds = time.perf_counter() - started
    _store(path, findings, task, seconds)
    return DemoResult(tuple(findings), path, seconds)


def _range_tests(
    task: Task, network: str, plan: Plan, root: str | Path, device: str | None, display: Display | None
) -> list[RangeTest]:
    test = RangeTestPlan(
        name=f"{network} range test",
        optimizer_options={"momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
        total_steps=plan.ramp_steps,
        forks=plan.forks,
    )
    ramps = []
    for seed in plan.range_seeds:
        progress = False if display is None else display.measuring(f"{network} seed {seed} ")
        ramps.append(
            run_range_test(task, test, seed, root=root, experiment=EXPERIMENT, device=device, progress=progress)[0]
        )
    return ramps


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
    """experiment.json: what the report shows above the runs."""
    sentences = [finding.sentence for finding in findings]
    record = {
        "format": 1,
        "name": EXPERIMENT,
        "kind": "demo",
        "title": TITLE,
        "sentence": sentences[0] if sentences else "",
        "findings": [*sentences[1:], *(line for finding in findings for line in finding.verdict.reasons)],
        "tables": tables(findings),
        "note": task.data.note,
        "command": "superconv demo",
        "seconds": round(seconds, 1),
    }
    runs.atomic_write(path / "experiment.json", runs.dumps(record, indent=1) + "\n")
