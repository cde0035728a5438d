"""Warnings where the learning rates that a schedule's is measured by may not be those that someone means."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from ..callers_level import callers_level
from .group_scales import own_lrs, own_scales
from .inner_optimizer import updating_optimizer


def warn_of_unclear_scales(optimizer: Optimizer, group_scales: Sequence[float] | None) -> None:
    """Say, at the first caller outside this package, which group a schedule's learning rate belongs to.

    `AdamW([{"params": a, "lr": 1e-3}, {"params": b, "lr": 1e-2}])` has a default of 1e-3 that nobody typed. It is the
    first group's by coincidence, so that the second gets ten times the schedule's learning rate; with 1.1e-3 it would
    get the schedule's, and the first a ninth of it. What `build_optimizer` made from a model was given its default.

    Another warning is of learning rates that were written into groups after a scheduler had remembered their
    `initial_lr`, by which they are measured. It is due where the ratios changed; a schedule alone changes none.

    To be called before the groups are scheduled.

    Args:
        group_scales: as given by the user; None: the factors are taken from the groups.
    """
    if group_scales is not None:
        return
    _warn_of_stale_ratios(optimizer)
    groups, default = optimizer.param_groups, _default_that_nobody_typed(optimizer)
    if default is None or all("kind" in group for group in groups):
        return
    own = [lr for lr in own_lrs(optimizer) if lr is not None]
    same = [index for index, lr in enumerate(own) if math.isclose(lr, default)]
    if not same or len(own) < len(groups) or max(own) <= default or math.isclose(max(own), default):
        return
    scales = own_scales(optimizer)
    over_largest = _listed([scale / max(scales) for scale in scales])
    warnings.warn(
        f"the schedule's learning rate is taken for that of param group {same[0]}, whose {default:g} is the default of "
        f"{type(optimizer).__name__}; the groups use {_listed(scales)} times as much. Pass "
        f"group_scales={_listed(scales)} if that is meant, or group_scales={over_largest} if the schedule's is that of "
        "the group with the largest",
        UserWarning,
        stacklevel=callers_level(),
    )


def _warn_of_stale_ratios(optimizer: Optimizer) -> None:
    groups = optimizer.param_groups
    if any(group["lr"] is None for group in groups):
        return
    present = [float(group["lr"]) for group in groups]
    made = [float(group.get("initial_lr") or 0.0) for group in groups]
    changes = [now / then for now, then in zip(present, made, strict=True) if then]
    # LRs that are float32 tensors are not exactly what was written.
    if not changes or max(changes) - min(changes) <= 1e-5 * max(changes):
        return
    warnings.warn(
        f"the param groups were scheduled before, and their learning rates {_listed(present)} are not in the ratios of "
        f"those that they were made with ('initial_lr': {_listed(made)}), which are kept. Pass "
        f"group_scales={_listed([lr / max(present) for lr in present])} to have the present ones, or delete "
        "'initial_lr' from the groups",
        UserWarning,
        stacklevel=callers_level(),
    )


def _listed(scales: Sequence[float]) -> str:
    """ "[1, 10]": factors as they may be pasted, three figures each."""
    return f"[{', '.join(f'{scale:.3g}' for scale in scales)}]"


def _default_that_nobody_typed(optimizer: Any) -> float | None:
    """The optimizer's default LR where it is also that of its class, so that it may not have been given."""
    optimizer = updating_optimizer(optimizer)
    try:
        of_class = inspect.signature(type(optimizer)).parameters["lr"].default
    except (KeyError, TypeError, ValueError):
        return None
    default = optimizer.defaults.get("lr")
    if not isinstance(of_class, int | float) or default is None or not math.isclose(float(default), of_class):
        return None
    return float(default)
