"""`superconv train`: one training under a schedule, in a run directory."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .measured import is_loss, metric_text
from .options import (
    Accumulation,
    AsJson,
    BatchSize,
    ChannelsLast,
    ClipGradNorm,
    EigenvaluesEvery,
    EvaluateWith,
    Momentum,
    MonitorEvery,
    NormWeightDecay,
    OptimizerName,
    Precision,
    Quiet,
    RunsDir,
    WeightDecay,
    check_momentum,
    optimizer_options,
)
from .stopped import command_again
from .task_options import TaskOptions, with_task_options

if TYPE_CHECKING:
    from ..experiments.runner import RunResult

DEFAULT_EPOCHS = 30


@with_task_options
def train(
    context: typer.Context,
    what: TaskOptions,
    schedule: Annotated[
        str | None, typer.Option(help="POLICY:KEY=VALUE,... for example one_cycle:max_lr=3,initial_lr=.1")
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe of superconv find; options that are given explicitly win.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Length in epochs; 30 where no length is given.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length in optimizer updates.")] = None,
    optimizer: OptimizerName = "sgd",
    momentum: Momentum = None,
    weight_decay: WeightDecay = 1e-4,
    norm_weight_decay: NormWeightDecay = None,
    batch_size: BatchSize = 128,
    accumulation_steps: Accumulation = 1,
    precision: Precision = "fp32",
    clip_grad_norm: ClipGradNorm = None,
    label_smoothing: Annotated[float, typer.Option(help="Of the cross entropy, in [0, 1).")] = 0.0,
    averaging_fraction: Annotated[
        float | None, typer.Option(help="Of BatchNorm's running statistics; default: one that suits the run's length.")
    ] = None,
    statistics_of: Annotated[
        int | None, typer.Option(help="Samples of a batch that share BatchNorm statistics; default: all.")
    ] = None,
    train_samples: Annotated[int | None, typer.Option(help="Train on this many samples, drawn by class.")] = None,
    augment: Annotated[bool, typer.Option(help="Use the data set's training augmentation.")] = True,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between validations; default: ten a run.")] = None,
    evaluate_with: EvaluateWith = "running",
    compile_model: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    channels_last: ChannelsLast = None,
    monitor_lr: Annotated[
        bool, typer.Option("--monitor-lr", help="Show what curvature says about the learning rate, along the run.")
    ] = False,
    monitor_every: MonitorEvery = None,
    eigenvalues_every: EigenvaluesEvery = None,
    seed: Annotated[int, typer.Option(min=0, help="Of initialisation and order.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop with a checkpoint after this time.")] = None,
    runs_dir: RunsDir = Path("runs"),
    experiment: Annotated[str, typer.Option(help="Folder below the runs.")] = "train",
    arm: Annotated[str | None, typer.Option(help="The run's name; default: the schedule's policy.")] = None,
    lr: Annotated[float | None, typer.Option(hidden=True)] = None,  # none of ours, and what many would try
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a network under a schedule. The same command again resumes, or shows what it reached.

    The run directory keeps every step (rows.jsonl), the summary, and the trained weights (weights.pt).
    """
    from ..experiments.arm_parts import VALIDATION_SAMPLES
    from ..experiments.config import Arm
    from ..experiments.monitoring import Monitoring
    from ..experiments.runner import run_arm
    from ..experiments.stopping import StopSignal
    from ..models import averaging_fraction_for, has_batch_norm
    from ..schedules import parse_schedule, total_steps
    from ..task import metric_name
    from .progress import bar
    from .recipe_options import arm_by_recipe, given_options, load_recipe, tell_task

    if lr is not None:
        raise ValueError(f"there is no --lr; a constant learning rate is --schedule constant:lr={lr:g}")
    given = given_options(context)
    plan = None if recipe is None else load_recipe(recipe, given)
    if plan is not None:
        schedule, batch_size = schedule or plan.schedule, given.get("batch_size", plan.batch_size)
        steps = plan.steps if steps is None and epochs is None else steps
    if schedule is None:
        raise ValueError("say how to train: --schedule one_cycle:max_lr=3,initial_lr=.1 for instance, or --recipe FILE")
    if epochs is not None and steps is not None:
        raise ValueError("give the length as --epochs or as --steps, not both")
    if (monitor_every or eigenvalues_every) and not monitor_lr:
        raise ValueError("--monitor-every and --eigenvalues-every are for --monitor-lr; give that too, or none")
    what.check_augmentation(augment)
    _check_schedule(schedule, steps)  # before the data are loaded, which may take minutes
    made = what.make()
    if plan is not None:
        tell_task(plan, made.name)
        made = plan.applied(made)
    if averaging_fraction is not None and not has_batch_norm(made.build_model(seed)):
        raise ValueError("--averaging-fraction: the model has no BatchNorm; leave it out")
    if steps is None:
        samples = train_samples or len(made.data.with_validation(VALIDATION_SAMPLES).train)
        length = DEFAULT_EPOCHS if epochs is None else epochs
        batches = total_steps(length, samples, batch_size, drop_last=True)  # as Batches does
        steps = max(1, round(batches / accumulation_steps))  # the loop carries micro-batches over an epoch's end
    chosen = Arm(
        name=arm or ("recipe" if plan is not None else schedule.partition(":")[0]),
        schedule=parse_schedule(schedule, steps),
        optimizer=optimizer,
        optimizer_options=optimizer_options(momentum, weight_decay, norm_weight_decay),
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        precision=precision,
        clip_grad_norm=clip_grad_norm,
        averaging_fraction=averaging_fraction_for(steps) if averaging_fraction is None else averaging_fraction,
        label_smoothing=label_smoothing,
        statistics_of=statistics_of,
        augment=augment,
        evaluate_every=evaluate_every,
        evaluate_with=evaluate_with,  # type: ignore[arg-type]
        compile=compile_model,
        channels_last=channels_last,
        train_samples=train_samples,
    )
    if plan is not None:
        chosen = arm_by_recipe(plan, steps, given, chosen)
    check_momentum(momentum, chosen.schedule)
    stop, metric = StopSignal(max_minutes), metric_name(made.metric)
    with stop.listening(), bar(quiet) as display:
        result = run_arm(
            made,
            chosen,
            seed,
            root=runs_dir,
            experiment=experiment,
            device=device,
            keep_weights=True,
            monitoring=Monitoring.of_run(steps, monitor_every, eigenvalues_every) if monitor_lr else None,
            stop=stop,
            progress=display.training(chosen.name, metric),
        )
    if as_json:
        print(json.dumps({"path": str(result.path), "stop": result.stop.value, "summary": result.summary}))
        if result.summary is None:
            print(_sentences(result, steps, metric), file=sys.stderr)
    else:
        print(_sentences(result, steps, metric))
    if result.stop.value != "completed":
        raise typer.Exit(130 if result.stop.value == "interrupted" else 1)


def _check_schedule(text: str, steps: int | None) -> None:
    """Complain about a schedule as far as can be told: without the length, about what is written and not its values."""
    from ..schedules import parse_schedule
    from ..schedules.parse import read_line

    if steps is None:
        read_line(text)
    else:
        parse_schedule(text, steps)


def _sentences(result: RunResult, steps: int, metric: str) -> str:
    summary, stop = result.summary, result.stop
    if summary is None:
        return f"stopped at step {result.steps} of {steps}: {stop.message}; {stop.remedy}\n{command_again()}"
    measured = "; ".join(
        f"{split} {_measured(part, metric)}" for split in ("test", "validation") if (part := summary.get(split))
    )
    found = "found finished: " if result.skipped else ""
    remedy = f"\n{stop.message}: {stop.remedy}" if stop.remedy else ""
    took = f"{stop.value} after {summary['steps']} steps, {summary['seconds']:.1f} s"
    return f"{found}{took}: {measured or 'nothing measured'}{remedy}\n{result.path}"


def _measured(part: Mapping[str, Any], metric: str) -> str:
    loss = f"loss {_loss(part['loss'])}"
    if is_loss(metric):
        return f"{loss} ({part['samples']} samples)"
    return f"{metric_text(metric, part['metric'])} ({loss}, {part['samples']} samples)"


def _loss(value: float | None) -> str:
    """In a run's summary a loss that is not finite is null."""
    return "not finite" if value is None else f"{value:.4f}"
