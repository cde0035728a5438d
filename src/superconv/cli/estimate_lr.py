"""`superconv estimate-lr`: what curvature says about the learning rate along a short training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    AsJson,
    EigenvaluesEvery,
    Momentum,
    MonitorEvery,
    OptimizerName,
    Precision,
    Quiet,
    RunsDir,
    SamplesPerUpdate,
    WeightDecay,
    check_momentum,
    optimizer_options,
)
from .task_options import TaskOptions, with_task_options

SHOWN = 12  # rows of the table; the run directory has all
CAUTION = (
    "Every estimate follows the learning rate in use to some degree: its exponent stands beside it (0: curvature "
    "alone, 1: an echo). A range test with forks measures what these infer."
)


@with_task_options
def estimate_lr(
    what: TaskOptions,
    lr: Annotated[
        float | None, typer.Option(help="Constant LR of the training; default: the optimizer's usual.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="POLICY:KEY=VALUE,... instead of a constant LR.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Length in optimizer updates.")] = 400,
    monitor_every: MonitorEvery = None,
    eigenvalues_every: EigenvaluesEvery = None,
    optimizer: OptimizerName = "sgd",
    momentum: Momentum = None,
    weight_decay: WeightDecay = 1e-4,
    batch_size: SamplesPerUpdate = 128,
    precision: Precision = "fp32",
    seed: Annotated[int, typer.Option(min=0, help="Of initialisation and order.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    runs_dir: RunsDir = Path("runs"),
    experiment: Annotated[str, typer.Option(help="Folder below the runs.")] = "estimate-lr",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train for a while, and estimate from curvature which learning rate it allows, and how far to believe that.

    The paper's estimate (arXiv 1708.07120v1, Sec. 5), secants and the expected-loss step from held-out batches, each
    with its standard error, or none where the probes do not support one. The test data is not read.
    """
    from ..experiments.config import Arm
    from ..experiments.monitoring import Monitoring
    from ..experiments.runner import run_arm
    from ..experiments.stopping import StopSignal
    from ..runs import folder_name
    from ..runs.rows import read_rows
    from ..schedules import constant, parse_schedule
    from ..task import metric_name
    from ..training.optimizers import default_lr
    from .progress import bar

    if lr is not None and schedule is not None:
        raise ValueError("give the learning rate as --lr or as --schedule, not both")
    level = default_lr(optimizer) if lr is None else lr
    planned = constant(steps, lr=level) if schedule is None else parse_schedule(schedule, steps)
    check_momentum(momentum, planned)
    made = what.make()
    arm = Arm(
        name=folder_name(f"{made.name} {schedule or f'constant lr {level:g}'}"),
        schedule=planned,
        optimizer=optimizer,
        optimizer_options=optimizer_options(momentum, weight_decay, None),
        batch_size=batch_size,
        precision=precision,
    )
    stop = StopSignal()
    with stop.listening(), bar(quiet) as display:
        result = run_arm(
            made, arm, seed, root=runs_dir, experiment=experiment, device=device, read_test=False,
            monitoring=Monitoring.of_run(steps, monitor_every, eigenvalues_every), stop=stop,
            progress=display.training(arm.name, metric_name(made.metric)),
        )  # fmt: skip
    readings = [row["curvature"] for row in read_rows(result.path) if "curvature" in row]
    if as_json:
        print(json.dumps({"path": str(result.path), "stop": result.stop.value, "readings": readings}))
    else:
        _print(readings, result.path)
        if result.stop.remedy:
            print(f"{result.stop.message}: {result.stop.remedy}")
    if result.stop.value != "completed":
        raise typer.Exit(130 if result.stop.value == "interrupted" else 1)


def _print(readings: Sequence[Mapping[str, Any]], path: Path) -> None:
    from .plain_console import plain_console
    from .tables import print_tables

    stiffness = any(reading["stability_limit"] is not None for reading in readings)
    every = max(1, -(-len(readings) // SHOWN))
    rows = [
        [*_cells(reading), *([_number(reading["stability_limit"])] if stiffness else [])]
        for reading in readings[::-1][::every][::-1]
    ]
    columns = ["step", "LR", "with momentum", "paper's", "noise alone", "secant", "expected-loss step"]
    columns += ["stable below"] if stiffness else []
    print_tables([{"title": "", "columns": columns, "rows": rows, "note": ""}], justify="right")
    console = plain_console()
    if readings:
        for part in str(readings[-1]["text"]).split(" | "):
            console.print(f"  {part}", highlight=False)
    console.print(f"\n{CAUTION}\n{path}", highlight=False, soft_wrap=True)


def _cells(reading: Mapping[str, Any]) -> list[str]:
    probes = reading["probes"]
    estimates = [probes["secant"]["quotient"], probes["expected_step"]]
    plain = [_number(reading[key]) for key in ("lr", "effective_lr", "paper_estimate", "noise_line")]
    return [str(reading["step"]), *plain, *(_with_error(estimate) for estimate in estimates)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _with_error(estimate: Mapping[str, Any]) -> str:
    value, error = estimate["value"], estimate["standard_error"]
    return "-" if value is None else f"{value:.3g}" + ("" if error is None else f"±{error:.1g}")
