"""Schedules: pure values that map a step to hyper-parameters. No torch, no files."""

from .curve import Piecewise, Stretched, Triangular
from .parse import parse_schedule
from .policies import (
    POLICIES,
    constant,
    cosine,
    lr_ramp,
    one_cycle,
    piecewise_constant,
    triangular,
    warmup_stable_decay,
)
from .schedule import Schedule
from .steps import total_steps

__all__ = [
    "POLICIES",
    "Piecewise",
    "Schedule",
    "Stretched",
    "Triangular",
    "constant",
    "cosine",
    "lr_ramp",
    "one_cycle",
    "parse_schedule",
    "piecewise_constant",
    "total_steps",
    "triangular",
    "warmup_stable_decay",
]
