"""Tasks from the name of a data set and the name of a network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..models.registry import build_model, check_name
from .definition import Task


def cross_entropy(label_smoothing: float = 0.0) -> Callable[..., Tensor]:
    """Torch's cross entropy, with its label smoothing.

    Args:
        label_smoothing: share of the target that is spread over all classes, 0 <= share < 1.
    Raises: ValueError: out of range.
    Reference: Szegedy et al., arXiv 1512.00567v3, Sec. 7.
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(f"label_smoothing: got {label_smoothing!r}, allowed is 0 <= share < 1")
    return functools.partial(F.cross_entropy, label_smoothing=label_smoothing) if label_smoothing else F.cross_entropy


def _image_shape(data: Any, data_name: str) -> tuple[int, int, int]:
    inputs = getattr(data.train, "inputs", None)
    shape = inputs.shape[1:] if isinstance(inputs, Tensor) else data.train.batch(_first())[0].shape[1:]
    if len(shape) != 3:
        raise ValueError(
            f"data {data_name!r}: one sample has shape {tuple(shape)}, the named models take images (channels, height, "
            "width); write a Task with a model of its own"
        )
    return int(shape[0]), int(shape[1]), int(shape[2])


def _first() -> Tensor:
    import torch

    return torch.zeros(1, dtype=torch.int64)


def named_task(
    data_name: str,
    model_name: str,
    *,
    data_dir: str | Path | None = None,
    label_smoothing: float = 0.0,
    metric: str | None = "accuracy",
    data_options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> Task:
    """A task whose network fits the data: its channels, image size and number of classes.

    Args:
        data_name: as for `superconv.data.load`.
        model_name: as for `superconv.models.build_model`; checked before any data is read.
        data_dir: where data sets lie.
        label_smoothing: of the cross entropy, in evaluations too.
        metric: a name of `METRICS`, or None.
        data_options: further arguments of `load`.
        model_options: further arguments of `build_model`. "timm/NAME" is not told the image size: only some take it.
    Returns: a task named "DATA/MODEL".
    Raises: ValueError: an unknown name or option, missing data, images that the network cannot take.
    """
    from .. import data

    check_name(model_name)
    loss = cross_entropy(label_smoothing)
    splits = data.load(data_name, data_dir, **(data_options or {}))
    channels, height, width = _image_shape(splits, data_name)
    options: dict[str, Any] = {"in_channels": channels}
    if not model_name.startswith("timm/"):
        options["image_size"] = (height, width)
    options.update(model_options or {})
    assert splits.num_classes is not None  # every named data set has classes
    make = functools.partial(build_model, model_name, splits.num_classes, **options)
    make(seed=0)  # what the network refuses is said now, not in the first of many runs
    name = f"{splits.name or data_name}/{model_name}"
    return Task(name, make, splits, loss=loss, metric=metric, higher_is_better=metric != "loss")
