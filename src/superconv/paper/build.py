"""From a setting to what the runner takes: a task whose validation data are the test images, and an arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data import NAMES, Samples, Splits
from ..data.shuffling import choose
from ..experiments.config import Arm
from ..models.registry import build_model
from ..task import Task, named_task
from .setting import CLASSES, ScaleName, Setting

_GREY = {"mnist": (1, 28)}  # channels and side of a picture of noise; else
_COLOUR = (3, 32)


def task_of(
    setting: Setting, scale: ScaleName, data_dir: str | Path | None = None, held_out: float | None = None, seed: int = 0
) -> Task:
    """The setting's task.

    The accuracies along a run are on test images, as in the paper: they stand where the validation data are, and
    nothing is chosen by them. A test takes `test_images` of them, from the first on and over again where there are
    fewer (the paper's 25,000 are two and a half passes); of a folder, as many of each class, and each once at most. At
    scale "smoke" the images are noise with a bright spot for the class, so that no data set is needed to see that
    everything runs.

    What is read once at the end are the test images likewise, or the training images of `gap_images`.

    Args:
        held_out: share of the training images that is tested in place of the test images, for tuning.
        seed: that draws a reduced training set.

    Raises: DataError, a ValueError: the data set is not there; the message names the command that fetches it.
    """
    if scale == "smoke":
        task = _noise_task(setting)
    else:
        options: dict[str, Any] = {"data_options": setting.data_options, "model_options": setting.model_options}
        task = named_task(setting.data, setting.model, data_dir=data_dir, **options)
    # before the set is reduced: the originals kept the mean image of all training images (notes of tab1-n10k-pclr)
    data = task.data.prepared(setting.preparation, mirror=setting.mirror, crop_padding=setting.crop_padding)
    if setting.train_samples is not None:
        data = data.subset(min(setting.train_samples, len(data.train)), seed)
    if held_out is not None:
        data = data.with_validation(held_out)
    if held_out is not None:
        return replace(task, data=data)
    assert data.test is not None
    tested = data.test.take(_tested(setting, data.test))
    last = data.test if setting.gap_images is None else _spread(data.train, setting.gap_images)
    splits = Splits(
        data.train, tested, last, data.num_classes, name=data.name, note=data.note, preparation=data.preparation
    )
    return replace(task, data=splits)


def _tested(setting: Setting, test: Samples) -> NDArray[np.int64]:
    if NAMES[setting.data].is_folder:
        return choose(min(setting.test_images, len(test)), len(test), test.class_labels(), 0)
    return np.arange(setting.test_images) % len(test)


def _spread(samples: Samples, count: int) -> Samples:
    """So many of them, at equal distances; all, where there are fewer."""
    count = min(count, len(samples))
    return samples.take(np.arange(count) * len(samples) // count)


def _noise_task(setting: Setting) -> Task:
    channels, side = _GREY.get(setting.data, _COLOUR)
    classes = CLASSES[setting.data]
    draw = torch.Generator().manual_seed(0)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        targets = torch.arange(count) % classes
        images = torch.randint(0, 128, (count, channels, side, side), generator=draw, dtype=torch.uint8)
        places = 2 * targets % (side * side)
        images.view(count, channels, -1)[torch.arange(count), :, places] = 255
        return images, targets

    data = Splits(part(256), None, part(64), classes, name=f"{setting.data} (noise)")

    def make() -> torch.nn.Module:
        size = {"in_channels": channels, "image_size": side}
        return build_model(setting.model, classes, **size, **setting.model_options)

    return Task(f"{setting.data}/{setting.model} on noise", make, data)


def arm_of(setting: Setting) -> Arm:
    """The setting as an arm; two experiments with the same setting share their runs."""
    options: dict[str, Any] = {
        "weight_decay": setting.weight_decay, "bias_lr_scale": setting.bias_lr_scale, "bias_weight_decay": 0.0,
        **setting.optimizer_options,
    }  # fmt: skip
    if setting.momentum is not None:
        options["momentum"] = setting.momentum
    schedule = setting.make_schedule()
    if setting.multipliers:
        options["overrides"] = {
            name: {"lr_scale": lr, "weight_decay": decay * setting.weight_decay}
            for name, (lr, decay) in setting.multipliers.items()
        }
    policy = setting.schedule.partition(":")[0] if isinstance(setting.schedule, str) else "own schedule"
    return Arm(
        f"{setting.data} {setting.model} {policy} {setting.steps} updates", schedule, setting.optimizer, options,
        setting.batch_size, averaging_fraction=setting.averaging_fraction, clip_grad_norm=setting.clip_grad_norm,
        evaluate_every=setting.evaluate_every, evaluate_with=setting.evaluate_with,
        statistics_of=setting.statistics_of, precision=setting.precision, compile=setting.compile,
        channels_last=setting.channels_last,
        evaluation_batch_size=setting.statistics_of if setting.evaluate_with == "batch" else None,
    )  # fmt: skip
