"""What the later experiments vary: step decay and 1cycle as the companion's solver files have them (batch 512)."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

from ...schedules import Piecewise, Schedule
from ..setting import Setting

CHOSEN = (
    "test images are not mirrored, in the files they are",
    "one filler and batch size; the table's entries are four runs each, of the residual and dense networks with xavier "
    "and msra in turn, with batches of 524, 520, 516 and 512",
)
# the three-layer network, from cifar3.prototxt of github.com/lnsmith54/hyperParam1, as the others here
CIFAR3: dict[str, Any] = {
    "model": "cifar3", "model_options": {"filler": "gaussian"},
    "statistics_of": None, "averaging_fraction": None, "mirror": False,
    "multipliers": {
        "conv1.bias": (2.0, 1.0), "conv2.bias": (2.0, 1.0), "classifier.bias": (2.0, 0.0),
        "classifier.weight": (1.0, 250.0),
    },
}  # fmt: skip
_COMMON: dict[str, Any] = {
    "model": "resnet56-companion", "optimizer": "caffe-nesterov", "bias_lr_scale": 1.0, "batch_size": 512,
    "optimizer_options": {"bias_weight_decay": None}, "multipliers": {"classifier.bias": (2.0, 0.0)},
    "statistics_of": 128, "averaging_fraction": 0.9,
    "test_images": 6400, "evaluate_every": 200,
}  # fmt: skip


def step_decay(epochs: int, lr: float = 0.1, **changes: Any) -> Setting:
    """Times 0.316 after a half, a quarter, an eighth and a sixteenth more of the run, and at once again."""
    return Setting(partial(_drops, lr), int(epochs * 50_000 / 512), **_COMMON).replace(**changes)


def _drops(lr: float, steps: int) -> Schedule:
    """Of the files' five steps the last comes before the fourth, so that Caffe drops the rate one update after it.

    The log of DenseNet over 400 epochs shows it: 0.00316, and 100 updates later 0.000315.
    """
    knots = [0, *accumulate(steps // 2**k for k in (1, 2, 3, 4))]
    knots.append(knots[-1] + 1)
    heights = {knot: lr * 0.316**k for k, knot in enumerate(knots) if knot < steps}  # in few updates some coincide
    return Schedule(steps, {"lr": Piecewise(list(heights), list(heights.values()), "constant")})


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
    """A learning-rate schedule with a momentum that goes from `ends` to `middle` and back over a share of the run.

    Then it goes there again at half the speed, as it does in the authors' logs of other runs.
    """
    last = lr.total_steps - 1
    peak = share * last / 2
    rest = (last - 2 * peak) / (2 * peak)  # of that descent
    return lr.replace(
        momentum=Piecewise([0, peak, 2 * peak, last], [ends, middle, ends, ends + rest * (middle - ends)])
    )
