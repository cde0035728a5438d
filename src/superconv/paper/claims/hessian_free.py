"""The LR that the simplified Hessian-free method estimates along a training."""

from __future__ import annotations

from ...schedules import Schedule, lr_ramp
from ..claim import Claim, Effect, Experiment
from .base import cycle

LR, BASE, MAX, HALF_CYCLE = 0.1, 0.1, 3.0, 5_000
_RATE = "the constant rate: 0.1 as the text has it; a script has 0.35"
_MOMENTUM = "momentum 0.9, weight decay 1e-4 and averaging fraction 0.95, as in the other runs"
_SUMS = "sums over weights and biases; the scripts' are over BatchNorm's accumulated statistics and their count as well"
_FIRST = 300


def beginning(steps: int) -> Schedule:
    """The first 300 updates of the cycle from 0.1 to 3 in 5,000."""
    return lr_ramp(steps, start_lr=BASE, end_lr=BASE + (MAX - BASE) * _FIRST / HALF_CYCLE)


_CONSTANT = f"constant:lr={LR:g}"
_PANELS = (
    ("300", "a", _FIRST, 1, {"constant": _CONSTANT, "clr": beginning}),
    ("10000", "b", 10_000, 10, {"constant": _CONSTANT, "clr": cycle().schedule}),
)

CLAIM = Claim(
    "hessian-free",
    "The estimated learning rate lies above the one in use.",
    "arXiv 1708.07120v1, Fig. 5; v3, Fig. 3",
    tuple(
        Experiment(
            f"hessian-free/{part}-{kind}", f"fig5{letter}-hf-{kind}",
            cycle(schedule=schedule, steps=steps, estimate_spacing=spacing, least_steps=_FIRST),
            chosen=(_MOMENTUM, _SUMS, *((_RATE,) if kind == "constant" else ())),
        )
        for part, letter, steps, spacing, kinds in _PANELS
        for kind, schedule in kinds.items()
    ),
    (
        *(
            Effect(f"{part}-{kind}", threshold=1.0, measure="estimate over learning rate")
            for part in ("300", "10000") for kind in ("constant", "clr")
        ),
        # ours: what lies on the line of gradient noise alone is an echo of the learning rate, and no curvature
        *(
            Effect(f"{part}-{kind}", threshold=1.0, sign=0, measure="estimate over noise alone")
            for part in ("300", "10000") for kind in ("constant", "clr")
        ),
    ),
)  # fmt: skip
