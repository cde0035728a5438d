"""Options that several verbs share: the task, the optimizer, numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..task import Task

DataName = Annotated[str | None, typer.Option("--data", help="mnist5k, mnist, cifar10, ... or folder:PATH.")]
ModelName = Annotated[str | None, typer.Option("--model", help="lenet, mlp, resnet20, ... or timm/NAME.")]
TaskName = Annotated[
    str | None,
    typer.Option("--task", help="Your own: package.module:function or file.py:function, returning a Task."),
]
DataDir = Annotated[Path | None, typer.Option(help="Where data sets lie; default: SUPERCONV_DATA, then your cache.")]
PreparationName = Annotated[
    str | None,
    typer.Option(
        "--preparation",
        help="mean-image (subtracted, range 0-255, as in the paper), scaled (1/256) or identity; default: the data's "
        "own, mean and deviation per channel.",
    ),
]
Mirror = Annotated[bool | None, typer.Option(help="Mirror training pictures at random; default: the data's own.")]
CropPadding = Annotated[
    int | None, typer.Option(help="Random crops of pictures padded by this many pixels; default: the data's own.")
]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Side of a folder's pictures; default: 64 (imagenette 128, imagenet 224)."),
]
Streaming = Annotated[
    bool | None,
    typer.Option(
        "--streaming/--in-memory",
        help="Decode a folder's pictures as they are drawn, randomly cropped, or once; default: once, up to 4 GB.",
    ),
]
CropScale = Annotated[
    float | None,
    typer.Option(help="Smallest share of a picture that a random-resized crop keeps; streams; default: 0.08."),
]
CorruptName = Annotated[
    str | None,
    typer.Option("--corrupt", help="refuse or skip a folder's pictures that cannot be decoded; default: refuse."),
]
DecodingThreads = Annotated[
    int | None, typer.Option(min=1, help="Threads that decode streamed pictures; default: one a core.")
]
OptimizerName = Annotated[
    str, typer.Option("--optimizer", help="sgd, nesterov, adam, adamw, ... or package.module:Class.")
]
Momentum = Annotated[float | None, typer.Option(help="Momentum (beta1 of Adam); default: the optimizer's usual one.")]
WeightDecay = Annotated[float, typer.Option(help="Weight decay of weights.")]
NormWeightDecay = Annotated[
    float | None, typer.Option(help="Weight decay of biases and normalisation parameters; default: as the weights.")
]
BatchSize = Annotated[int, typer.Option(help="Samples per micro-batch.")]
Accumulation = Annotated[int, typer.Option("--accumulation-steps", help="Micro-batches per update.")]
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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")]


def make_task(
    data: str | None,
    model: str | None,
    task: str | None,
    data_dir: Path | None,
    *,
    preparation: str | None = None,
    mirror: bool | None = None,
    crop_padding: int | None = None,
    pictures: Mapping[str, Any] | None = None,
) -> Task:
    """The task that the options name, its pictures prepared as they say.

    Args:
        pictures: what `picture_options` returned.
    Raises: ValueError: both ways to name it, or neither; a preparation that does not fit.
    """
    from ..experiments.runner import VALIDATION_SAMPLES

    found = _find_task(data, model, task, data_dir, pictures)
    if preparation is None and mirror is None and crop_padding is None:
        return found
    splits = found.data.with_validation(VALIDATION_SAMPLES)  # so that a mean image knows the training part alone
    return replace(found, data=splits.prepared(preparation, mirror=mirror, crop_padding=crop_padding))


def picture_options(
    image_size: int | None, streaming: bool | None, crop_scale: float | None, corrupt: str | None, threads: int | None
) -> dict[str, Any]:
    """Arguments of `superconv.data.load` for a folder of pictures; what was not given is left to it."""
    given = {
        "image_size": image_size,
        "streaming": streaming,
        "crop_scale": None if crop_scale is None else (crop_scale, 1.0),
        "corrupt": corrupt,
        "workers": threads,
    }
    return {name: value for name, value in given.items() if value is not None}


def _find_task(
    data: str | None,
    model: str | None,
    task: str | None,
    data_dir: Path | None,
    pictures: Mapping[str, Any] | None = None,
) -> Task:
    from ..task import load_task, named_task

    if task is not None:
        if data is not None or model is not None:
            raise ValueError("give either --task, or --data and --model, not both")
        if pictures:
            raise ValueError(f"{', '.join(pictures)}: of --data alone; a --task has its pictures already")
        return load_task(task)
    if data is None or model is None:
        raise ValueError(
            "say what to train: --data NAME --model NAME (for example --data mnist5k --model lenet-bn), or --task "
            "package.module:function"
        )
    return named_task(data, model, data_dir=data_dir, data_options=pictures)


def optimizer_options(momentum: float | None, weight_decay: float, norm_weight_decay: float | None) -> dict[str, Any]:
    """Keyword arguments for `build_optimizer`; what was not given is left to it."""
    options: dict[str, Any] = {"weight_decay": weight_decay}
    if momentum is not None:
        options["momentum"] = momentum
    if norm_weight_decay is not None:
        options |= {"norm_weight_decay": norm_weight_decay, "bias_weight_decay": norm_weight_decay}
    return options


def task_maker(data: str | None, model: str | None, task: str | None, data_dir: Path | None) -> Callable[[], Task]:
    """A function that makes the task, here and in every worker."""
    from ..task import load_task, named_task

    make_task(data, model, task, data_dir)  # what is wrong with it is said now
    if task is not None:
        return partial(load_task, task)
    assert data is not None
    assert model is not None
    return partial(named_task, data, model, data_dir=data_dir)
