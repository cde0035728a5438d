"""What the later experiments vary: step decay and 1cycle as the companion's solver files have them (batch 512)."""

from __future__ import annotations

from typing import Any

from ...schedules import Piecewise, Schedule
from ..setting import Setting

CHOSEN = (
    "biases learn at the weights' rate and decay with them: the files are only known to have no exceptions for "
    "convolutions",
    "test images are not mirrored, in the files they are",
)
_COMMON: dict[str, Any] = {
    "model": "resnet56-companion", "optimizer": "caffe-nesterov", "bias_lr_scale": 1.0, "batch_size": 512,
    "optimizer_options": {"bias_weight_decay": None}, "statistics_of": 128, "averaging_fraction": 0.9,
    "test_images": 6400, "evaluate_every": 200,
}  # fmt: skip


def step_decay(epochs: int, lr: float = 0.1, **changes: Any) -> Setting:
    """Times 0.316 at 50, 75, 87.5 and 93.75% of the run; a fifth drop, out of order in the files, coincides."""
    schedule = f"piecewise_constant:lr={lr:g},milestones=50%+75%+87.5%+93.75%,factor=0.316"
    return Setting(schedule, int(epochs * 50_000 / 512), **_COMMON).replace(**changes)


def one_cycle(
    epochs: int, step_size: int, low: float, high: float, momenta: tuple[float, float] | None = (0.95, 0.85),
    **changes: Any,
) -> Setting:  # fmt: skip
    """1cycle in the shape of the authors' logs; `step_size` in updates, as in the solver files."""
    steps = changes.pop("steps", int(epochs * 50_000 / 512))
    cycled = "max_momentum=none" if momenta is None else f"max_momentum={momenta[0]:g},min_momentum={momenta[1]:g}"
    fraction = round(2 * step_size / (steps - 1), 6)
    schedule = f"one_cycle:initial_lr={low:g},max_lr={high:g},cycle_fraction={fraction},shape=caffe,{cycled}"
    setting = Setting(schedule, steps, **_COMMON).replace(**changes)
    return setting if momenta is None else setting.replace(momentum=None)


def momentum_cycle(lr: Schedule, ends: float, middle: float, share: float) -> Schedule:
    """A learning-rate schedule with a momentum that goes from `ends` to `middle` and back over a share of the run."""
    peak = share * (lr.total_steps - 1) / 2
    return lr.replace(momentum=Piecewise([0, peak, 2 * peak], [ends, middle, ends]))
