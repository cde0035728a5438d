"""LeNet on MNIST: cheap enough to be run as it was, on any machine."""

from __future__ import annotations

from typing import Any

from ...schedules import Piecewise, Schedule
from ..claim import Claim, Effect, Experiment
from ..setting import Setting

BATCH = 512
_DEFAULTS = "the optimizer: SGD with Caffe's momentum, as in the Caffe example; the paper gives none"
_INVERSE = "gamma 1e-4 and power 0.75, the defaults of the Caffe example"
_DROPS = "where the rate drops: by ten at 50 and 75% of the run"
_KNOTS, _UPDATES = 200, 9_960  # 85 epochs
_CYCLES = {12: (5, 0.1), 25: (12, 0.1), 50: (23, 0.1), 85: (40, 0.2)}  # epochs -> step size in epochs, max_lr


def inverse(steps: int) -> Schedule:
    """Caffe's "inv": lr (1 + gamma t)^-power, linear between 200 knots (within 1e-6 of it); t runs to 9,960 always."""
    count = min(_KNOTS, steps)
    knots = [round(k * (steps - 1) / max(1, count - 1)) for k in range(count)]
    return Schedule(steps, {"lr": Piecewise(knots, [0.01 * (1 + 1e-4 * _UPDATES * t / steps) ** -0.75 for t in knots])})


def _lenet(schedule: Any, epochs: int, **changes: Any) -> Setting:
    return Setting(
        schedule, int(epochs * 60_000 / BATCH), data="mnist", model="lenet", weight_decay=5e-4, batch_size=BATCH,
        statistics_of=None, averaging_fraction=None, preparation="scaled", mirror=False, test_images=10_000,
        optimizer_options={"bias_weight_decay": None}, multipliers={},
    ).replace(**changes)  # fmt: skip


def _cycle(epochs: int) -> Setting:
    size, high = _CYCLES[epochs]
    fraction = round(2 * size / epochs, 6)
    return _lenet(
        f"one_cycle:initial_lr={high / 10:g},max_lr={high:g},cycle_fraction={fraction},shape=caffe,"
        "max_momentum=0.95,min_momentum=0.8",
        epochs, momentum=None,
    )  # fmt: skip


_STEP = "piecewise_constant:lr=0.01,milestones=50%+75%"

CLAIM = Claim(
    "mnist",
    "1cycle over 12 epochs (99.25%) beats the example's own schedule over 85 (99.03%).",
    "arXiv 1708.07120v3, Table 2 (its number inferred)",
    (
        Experiment("mnist/inv-85", "v3tab2-mnist-inv-ep85", _lenet(inverse, 85), (_DEFAULTS, _INVERSE)),
        Experiment("mnist/step-85", "v3tab2-mnist-step-ep85", _lenet(_STEP, 85), (_DEFAULTS, _DROPS)),
        *(Experiment(f"mnist/1cycle-{e}", f"v3tab2-mnist-1cycle-ep{e}", _cycle(e), (_DEFAULTS,)) for e in _CYCLES),
    ),
    (
        Effect("1cycle-12", "inv-85", size=0.0022, tolerance=0.002),
        Effect("1cycle-85", "step-85", size=0.0035, tolerance=0.002),
    ),
)
