"""Options that several verbs share: the optimizer, numbers, places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..schedules import Schedule

DataDir = Annotated[Path | None, typer.Option(help="Where data sets lie; default: SUPERCONV_DATA, then your cache.")]
OptimizerName = Annotated[
    str, typer.Option("--optimizer", help="sgd, nesterov, adam, adamw, ... or package.module:Class.")
]
Momentum = Annotated[float | None, typer.Option(help="Momentum (beta1 of Adam); default: the optimizer's usual one.")]
WeightDecay = Annotated[float, typer.Option(help="Weight decay of weights.")]
NormWeightDecay = Annotated[
    float | None, typer.Option(help="Weight decay of biases and normalisation parameters; default: as the weights.")
]
BatchSize = Annotated[int, typer.Option(help="Samples per micro-batch.")]
SamplesPerUpdate = Annotated[int, typer.Option(help="Samples per update.")]  # of verbs that accumulate nothing
Accumulation = Annotated[int, typer.Option("--accumulation-steps", min=1, help="Micro-batches per update.")]
MonitorEvery = Annotated[
    int | None, typer.Option(min=1, help="Updates between curvature readings; default: about 24 a run, at most 50.")
]
EigenvaluesEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Updates between measurements of the Hessian's largest eigenvalue; default: none."),
]
Precision = Annotated[str, typer.Option(help="fp32, bf16 or fp16.")]
ClipGradNorm = Annotated[float | None, typer.Option(help="Clip the gradient norm to this.")]
EvaluateWith = Annotated[str, typer.Option(help="BatchNorm statistics in evaluation: batch, reestimated or running.")]


def workers_of(text: str | int) -> int | str:
    """What `--workers` says. Raises: BadParameter: neither a number nor ray."""
    if text == "ray":
        return "ray"
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise typer.BadParameter(f"{text!r} is neither a number from 1 on nor 'ray'")
    return count


NumberOfWorkers = Annotated[
    Any,
    typer.Option(
        "--workers", parser=workers_of, metavar="<int|ray>",
        help="Processes, or ray for a Ray cluster; default: one a core, or one on a GPU.",
    ),
]  # fmt: skip
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
ChannelsLast = Annotated[bool | None, typer.Option(help="Image memory format; default: the faster one.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")]


def check_momentum(momentum: float | None, schedule: Schedule) -> None:
    """Refuse a momentum that the schedule would write over. Raises: ValueError."""
    if momentum is not None and "momentum" in schedule.curves:
        raise ValueError(
            f"--momentum {momentum:g} would be ignored: the schedule sets the momentum; give it there (max_momentum, "
            "min_momentum), or add max_momentum=none to the schedule"
        )


def optimizer_options(momentum: float | None, weight_decay: float, norm_weight_decay: float | None) -> dict[str, Any]:
    """Keyword arguments for `build_optimizer`; what was not given is left to it."""
    options: dict[str, Any] = {"weight_decay": weight_decay}
    if momentum is not None:
        options["momentum"] = momentum
    if norm_weight_decay is not None:
        options |= {"norm_weight_decay": norm_weight_decay, "bias_weight_decay": norm_weight_decay}
    return options
