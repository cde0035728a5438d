"""The demo's arms: 1cycle and piecewise constant, by settings."""

from __future__ import annotations

from dataclasses import dataclass

from ..analysis.suggestion import Suggestion
from ..schedules import one_cycle, piecewise_constant
from .config import Arm

BATCH_SIZE = 128
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
DROPS = (0.6, 0.85)  # of the run: where piecewise constant divides its learning rate by ten


@dataclass(frozen=True)
class Settings:
    """What is tuned about an arm: peak learning rate and weight decay."""

    lr: float
    weight_decay: float


DEFAULT = Settings(lr=0.01, weight_decay=WEIGHT_DECAY)  # what SGD with momentum is usually started with

ONE_CYCLE, DEFAULT_PIECEWISE = "one-cycle", "default"
TUNED_PIECEWISE, TUNED_ONE_CYCLE = "tuned-piecewise", "tuned-one-cycle"


def make_arm(network: str, kind: str, steps: int, settings: Settings) -> Arm:
    """One condition; the kind's name ends in "one-cycle" or it is piecewise constant."""
    if kind.endswith(ONE_CYCLE):
        schedule = one_cycle(steps, max_lr=settings.lr)
    else:
        milestones = [round(share * steps) for share in DROPS]
        schedule = piecewise_constant(steps, lr=settings.lr, milestones=milestones)
    options = {"weight_decay": settings.weight_decay}
    return Arm(
        name=f"{network} {kind} {steps} steps",
        schedule=schedule,
        optimizer_options=options if "momentum" in schedule(0) else {**options, "momentum": MOMENTUM},
        batch_size=BATCH_SIZE,
        evaluate_every=max(1, steps // 5),
    )


def suggested(suggestion: Suggestion) -> Settings | None:
    """What the range tests alone recommend; None where they recommend nothing."""
    return None if suggestion.max_lr is None else Settings(suggestion.max_lr, WEIGHT_DECAY)
