"""What a range test can be asked for: every argument that is no part of a training is checked before the first step."""

from __future__ import annotations

import math
import operator
import warnings
from typing import Any

import numpy as np
from torch.optim import Adafactor, Optimizer, Rprop

from ..near_names import near
from ..schedules import checks
from ..training.group_scales import check_takes_lr


def check_reference(given: Any) -> None:
    """A learning rate, "grid", "fixed-grid" or None. Raises: ValueError."""
    grids = ("grid", "fixed-grid")
    if given is None or (isinstance(given, str) and given in grids):
        return
    if isinstance(given, str):
        raise ValueError(f"reference_lr={given!r} is unknown; {near(given, grids)}, a learning rate or None")
    checks.number("reference_lr", given, above=True)


def check_uses_lr(optimizer: Optimizer) -> None:
    """Raise ValueError for one that passes its learning rate by, or takes it at the first update alone."""
    if isinstance(optimizer, Rprop):
        raise ValueError(
            "optimizer: got Rprop, whose step sizes follow the signs of the gradients: its learning rate is the first "
            "one and acts no more, so a ramp of it measures nothing"
        )
    check_takes_lr(optimizer)


def warn_of_capped_lr(optimizer: Optimizer, end_lr: float, total_steps: int) -> None:
    """Warn where torch's Adafactor makes a smaller step than a ramp asks for: it takes min(lr, 1 / sqrt(step))."""
    cap = 1.0 / math.sqrt(max(1, total_steps))
    if isinstance(optimizer, Adafactor) and end_lr > cap:
        warnings.warn(
            f"torch's Adafactor takes no learning rate above 1 / sqrt(step), {cap:.2g} in step {total_steps}: the ramp "
            f"goes to {end_lr:.2g}, and tells nothing beyond; pass end_lr={cap:.2g}, or a shorter ramp",
            UserWarning,
            stacklevel=3,
        )


def check_seed(seed: Any) -> int | None:
    """A whole number, as Python's own, or None. Raises: ValueError."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise ValueError(f"seed must be a whole number or None, got {seed!r}")
    return operator.index(seed)


def _check_number(name: str, value: Any) -> None:
    try:
        if isinstance(value, str | bytes | bool):
            raise TypeError
        float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or None, got {value!r}") from None


def check_ramp(start_lr: float | None, end_lr: float | None, total_steps: int, shape: str) -> None:
    """Its ends, length and shape. Raises: ValueError."""
    if shape not in ("linear", "exponential"):
        raise ValueError(f"shape={shape!r} is unknown; use 'linear' or 'exponential'")
    if total_steps < 2:
        raise ValueError(f"a ramp needs at least 2 steps, got total_steps={total_steps}")
    for name, lr in (("start_lr", start_lr), ("end_lr", end_lr)):
        if lr is not None:
            _check_number(name, lr)
    if end_lr is not None and not (np.isfinite(end_lr) and end_lr > 0):
        raise ValueError(f"end_lr must be positive and finite, got {end_lr}")
    if start_lr is not None and not (start_lr >= 0 if shape == "linear" else start_lr > 0):
        raise ValueError(
            f"start_lr={start_lr:g} is not possible on a ramp of shape {shape!r}: "
            + ("it must not be negative" if shape == "linear" else "it must be positive; shape='linear' may start at 0")
        )
    if start_lr is not None and end_lr is not None and start_lr >= end_lr:
        raise ValueError(f"start_lr={start_lr:g} must be below end_lr={end_lr:g}")


def check_measured(evaluate_every: int | None, reference_lr: Any, eval_batches: Any, metric: Any) -> None:
    """What only a metric on evaluation data has a use for. Raises: ValueError: it would be ignored."""
    if evaluate_every is not None and eval_batches is None:
        raise ValueError(f"evaluate_every={evaluate_every} would be ignored without eval_batches; pass both or none")
    if isinstance(reference_lr, str) and (eval_batches is None or metric is None):
        raise ValueError(
            f"reference_lr={reference_lr!r} compares metrics, and none is measured; pass eval_batches and a "
            "metric, or the learning rate itself"
        )


def check_forks(forks: Any, fork_steps: int | None, total_steps: int, end_lr: float | None) -> None:
    """Their number or learning rates, and their length: each ends at a learning rate of 0. Raises: ValueError."""
    if fork_steps is not None:
        checks.whole("fork_steps", fork_steps, at_least=2)
        if isinstance(forks, (int, np.integer, list, tuple)) and not forks:
            raise ValueError(f"fork_steps={fork_steps} without forks would be ignored; give forks, or leave it out")
    if isinstance(forks, (int, np.integer)) and not 0 <= forks <= total_steps:
        raise ValueError(f"forks must lie between 0 and total_steps={total_steps}, got {forks}")
    if isinstance(forks, (int, np.integer)):
        return
    try:
        if isinstance(forks, str | bytes | bytearray):
            raise TypeError
        possible = all(0 < lr < math.inf for lr in forks) and len(forks) >= 0
    except TypeError:
        raise ValueError(
            f"forks must be how many (a whole number) or a sequence of positive learning rates, got {forks!r}"
        ) from None
    if not possible:
        raise ValueError(f"forks must be positive, finite learning rates or their number, got {list(forks)}")
    beyond = [lr for lr in forks if end_lr is not None and lr > end_lr]
    if beyond:
        raise ValueError(
            f"forks at {', '.join(f'{lr:.3g}' for lr in beyond)} lie beyond the ramp's end_lr={end_lr:.3g}; "
            "leave them out, or pass a larger end_lr"
        )
