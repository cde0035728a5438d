"""`superconv range-test`: what learning rates a network tolerates, and which to use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import (
    Accumulation,
    AsJson,
    BatchSize,
    ClipGradNorm,
    EvaluateWith,
    Momentum,
    NormWeightDecay,
    OptimizerName,
    Precision,
    Quiet,
    RunsDir,
    WeightDecay,
    optimizer_options,
)
from .task_options import TaskOptions, with_task_options
from .wording import in_options

if TYPE_CHECKING:
    from ..experiments.range_tests import Measured


@with_task_options
def range_test(
    what: TaskOptions,
    optimizer: OptimizerName = "sgd",
    momentum: Momentum = None,
    weight_decay: WeightDecay = 1e-4,
    norm_weight_decay: NormWeightDecay = None,
    batch_size: BatchSize = 128,
    accumulation_steps: Accumulation = 1,
    start_lr: Annotated[
        float | None,
        typer.Option(help="Lower end of the ramp; default: four decades below the upper, 0 where the ramp is linear."),
    ] = None,
    end_lr: Annotated[float | None, typer.Option(help="Upper end; default: a scout finds it.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates of the ramp; default 100.")] = None,
    shape: Annotated[str | None, typer.Option(help="exponential (default) or linear, as in the paper.")] = None,
    forks: Annotated[int, typer.Option(help="Annealed branches along the ramp; 0: none.")] = 10,
    fork_steps: Annotated[int | None, typer.Option(help="Length of a branch; default 0.3 of the ramp.")] = None,
    evaluate_every: Annotated[int | None, typer.Option(help="Steps between evaluations; default 25 a ramp.")] = None,
    evaluate_with: EvaluateWith = "batch",
    eval_samples: Annotated[int | None, typer.Option(help="Validation samples that are measured.")] = 1000,
    reference_lr: Annotated[
        str | None,
        typer.Option(
            help="Best constant LR: a number, 'grid' (8 to 14 short trainings), 'fixed-grid' (8) or 'none'; default: "
            "grid, where there is a metric."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many repeats.", min=1)] = 2,
    precision: Precision = "fp32",
    clip_grad_norm: ClipGradNorm = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: a GPU where there is one.")] = None,
    snapshot: Annotated[
        str, typer.Option(help="Where the copy of the network waits meanwhile: device, cpu or disk.")
    ] = "device",
    runs_dir: RunsDir = Path("runs"),
    experiment: Annotated[str, typer.Option(help="Folder below the runs.")] = "range-test",
    plot: Annotated[bool, typer.Option(help="Draw the test in the terminal.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure which learning rates a network stands.

    Prints what to do with them. The same command again shows what was measured.
    """
    from ..analysis.range_test import suggest
    from ..analysis.range_test_text import summary
    from ..experiments.range_tests import RangeTestPlan, run_range_test
    from ..figures.terminal import columns
    from ..runs import folder_name
    from .progress import bar

    made = what.make()
    plan = RangeTestPlan(
        name=folder_name(made.name),
        optimizer=optimizer,
        optimizer_options=optimizer_options(momentum, weight_decay, norm_weight_decay),
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        start_lr=start_lr,
        end_lr=end_lr,
        total_steps=steps,
        shape=shape,
        forks=forks,
        fork_steps=fork_steps,
        evaluate_every=evaluate_every,
        evaluate_with=evaluate_with,  # type: ignore[arg-type]
        eval_samples=eval_samples,
        precision=precision,
        clip_grad_norm=clip_grad_norm,
        reference_lr=_reference(reference_lr or ("none" if made.metric is None else "grid")),
    )
    measured: list[Measured] = []
    with bar(quiet) as display:
        for seed in range(seeds):
            each = run_range_test(
                made,
                plan,
                seed,
                root=runs_dir,
                experiment=experiment,
                device=device,
                keep_copy_on=_place(snapshot),
                progress=display.measuring(f"seed {seed} "),
            )
            measured.append(each)
    ramps = [each.ramp for each in measured]
    if as_json:
        print(json.dumps(_plain(measured)))
    else:
        print(f"{_found(measured)}{in_options(summary(ramps))}")
        if plot:
            print("\nThe first of them:" if seeds > 1 else "")
            print(ramps[0].plot().to_text(columns(90)))
        for each in measured:
            print(each.path)
    if suggest(ramps).lr is None:
        raise typer.Exit(1)


def _reference(text: str) -> Any:
    if text in ("grid", "fixed-grid", "none"):
        return None if text == "none" else text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise ValueError(f"--reference-lr must be a positive number, 'fixed-grid', 'grid' or 'none', got {text!r}")
    return value


def _place(snapshot: str) -> str | None:
    if snapshot not in ("device", "cpu", "disk"):
        raise ValueError(f"--snapshot must be device, cpu or disk, got {snapshot!r}")
    return None if snapshot == "device" else snapshot


def _found(measured: Sequence[Measured]) -> str:
    """How the first line begins where an earlier call had measured some of it."""
    found = sum(each.found for each in measured)
    if found in (0, len(measured)):
        return "found finished: " if found else ""
    return f"found finished ({found} of {len(measured)} seeds): "


def _plain(measured: Sequence[Measured]) -> dict[str, Any]:
    """What machines read: suggestion and verdict of all repeats, a verdict for each alone, where measurements lie."""
    from ..analysis.range_test import suggest
    from ..analysis.repeats import joint_verdict
    from ..runs import plain

    ramps = [each.ramp for each in measured]
    joint, *alone = (
        {"tolerance": v.tolerance, "speed_up": v.speed_up, "reasons": list(v.reasons), "evidence": plain(v.evidence)}
        for v in (joint_verdict(ramps), *(ramp.verdict() for ramp in ramps))
    )
    return {
        "suggestion": plain(asdict(suggest(ramps))),
        "verdict": joint,
        "verdicts": alone,
        "runs": [str(each.path) for each in measured],
        "found_finished": [each.found for each in measured],
    }
