"""Cycling momentum against the learning rate, or good constants: a table of the companion."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...schedules import Schedule, parse_schedule
from ..claim import Claim, Effect, Experiment
from ..setting import Setting
from .companion_base import CHOSEN, CIFAR3, momentum_cycle, one_cycle

CONDITIONS = ("0.95-0.85", "0.90-1.00", "0.85", "0.90", "0.95")
_LARGEST = 0.999  # the optimizers take momentum below 1
_ONE = f"momentum 1 at the middle of the cycle is taken as {_LARGEST}"
_NETWORK = "batch statistics, decay and test images as in the companion's other runs"
_STEPS = {"3layer": int(25 * 50_000 / 128), "resnet56": int(95 * 50_000 / 512)}
_SHARES = {"3layer": 22 / 25, "resnet56": 82 / 95}
_FIXED = {"3layer": 0.0005, "resnet56": 0.1}
_CYCLED = {"3layer": (0.0005, 0.005), "resnet56": (0.08, 0.8)}


def _schedule(network: str, cycled: bool, condition: str, steps: int) -> Schedule:
    if cycled:
        low, high = _CYCLED[network]
        line = f"one_cycle:initial_lr={low:g},max_lr={high:g},cycle_fraction={_SHARES[network]:.6f},shape=caffe"
        lr = parse_schedule(f"{line},max_momentum=none", steps)
    else:
        lr = parse_schedule(f"constant:lr={_FIXED[network]:g}", steps)
    if "-" not in condition:
        return lr
    ends, middle = (min(float(part), _LARGEST) for part in condition.split("-"))
    return momentum_cycle(lr, ends, middle, _SHARES[network])


def _setting(network: str, cycled: bool, condition: str) -> Setting:
    own: dict[str, Any] = {} if "-" in condition else {"momentum": float(condition)}
    if network == "3layer":
        own |= {**CIFAR3, "batch_size": 128, "weight_decay": 0.003, "test_images": 10_000}
    base = one_cycle(95, 4003, 0.08, 0.8, None, steps=_STEPS[network], momentum=None)
    return base.replace(schedule=partial(_schedule, network, cycled, condition), **own)


def _experiments(network: str, cycled: bool) -> list[Experiment]:
    lr = {"3layer": "0.0005-0.005", "resnet56": "0.08-0.80"}[network] if cycled else f"{_FIXED[network]:g}"
    found = []
    for condition in CONDITIONS:
        odd = condition == "0.95-0.85" and network == "resnet56" and cycled  # the table prints .95-.8 there
        printed = "0.95-0.8" if odd else condition
        chosen = (*CHOSEN, _NETWORK, *((_ONE,) if condition == "0.90-1.00" else ()))
        found.append(
            Experiment(
                f"cyclical-momentum/{network}-lr-{lr}-{printed}", f"companion-cm-{network}-lr{lr}-mom{printed}",
                _setting(network, cycled, printed), chosen,
            )
        )  # fmt: skip
    return found


CLAIM = Claim(
    "cyclical-momentum",
    "Momentum cycled from .95 to .85 and back is as good as the best constant, and better than momentum that grows.",
    "arXiv 1803.09820, table of cyclical momentum",
    tuple(e for network in ("3layer", "resnet56") for cycled in (True, False) for e in _experiments(network, cycled)),
    (
        Effect("3layer-lr-0.0005-0.005-0.95-0.85", "3layer-lr-0.0005-0.005-0.90-1.00", size=0.011),
        Effect("resnet56-lr-0.08-0.80-0.95-0.8", "resnet56-lr-0.08-0.80-0.90-1.00", size=0.006),
        Effect("3layer-lr-0.0005-0.005-0.95-0.85", "3layer-lr-0.0005-0.005-0.95", sign=0, equal=True),
        Effect("resnet56-lr-0.08-0.80-0.95-0.8", "resnet56-lr-0.08-0.80-0.95", sign=0, equal=True),
    ),
)
