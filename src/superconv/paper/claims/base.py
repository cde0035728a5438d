"""The three trainings that most of the first version's experiments vary: PC-LR, one cycle of CLR, the LR range test."""

from __future__ import annotations

from typing import Any

from ..setting import Setting

STEPS = 10_000


def piecewise(**changes: Any) -> Setting:
    """The ordinary training: 0.35, divided by ten after 50,000 and 70,000 of 80,000 updates."""
    schedule = "piecewise_constant:lr=0.35,milestones=62.5%+87.5%"
    return _setting(schedule, 80_000, {"averaging_fraction": 0.999, **changes})


def cycle(max_lr: float = 3.0, **changes: Any) -> Setting:
    """One triangular cycle from 0.1 and back in 10,000 updates."""
    return _setting(f"triangular:base_lr=0.1,max_lr={max_lr:g},step_size=50%", STEPS, changes)


def ramp(end_lr: float, steps: int, **changes: Any) -> Setting:
    """An LR range test: linear from 0, every row of it tested."""
    return _setting(f"lr_ramp:start_lr=0,end_lr={end_lr:g}", steps, changes)


def _setting(schedule: str, steps: int, changes: dict[str, Any]) -> Setting:
    """A test is 200 batches of one GPU's size."""
    setting = Setting(schedule, steps).replace(**changes)
    return setting if setting.statistics_of is None else setting.replace(test_images=200 * setting.statistics_of)
