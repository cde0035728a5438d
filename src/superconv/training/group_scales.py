"""What a schedule's values are multiplied by in each param group: ratios of the groups' own values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from .inner_optimizer import updating_optimizer

Group = dict[str, Any]


def check_takes_lr(optimizer: Optimizer) -> None:
    """Raise ValueError for one that is asked to find its step sizes itself, and passes a learning rate by."""
    if any(group.get("relative_step") for group in optimizer.param_groups):
        raise ValueError(
            f"optimizer: got {type(optimizer).__name__} with relative_step=True, which sets its step sizes by itself "
            "and passes any learning rate by; make it with relative_step=False, warmup_init=False and a learning rate"
        )


def own_scales(optimizer: Optimizer) -> list[float]:
    """LR of every group (`initial_lr` where it is set) over the optimizer's default LR.

    A single group has no ratio to keep, whatever was written into it since: its factor is 1. Where no group has the
    default LR (each was given its own, or all were changed) the factors are over the largest, which the schedule then
    says.

    Raises: ValueError: the default is 0 and a group's is not.
    """
    groups = optimizer.param_groups
    if len(groups) == 1:
        return [1.0]
    own = own_lrs(optimizer)
    over = common_base(own, plain(default_of(optimizer, "lr")))
    return [ratio(lr, over, index) for index, lr in enumerate(own)]


def given_scales(scales: Sequence[float], optimizer: Optimizer) -> list[float]:
    """A user's factors as floats.

    Raises: ValueError: not one finite number a param group, or a negative one.
    """
    try:
        result = [float(s) for s in scales]
    except (TypeError, ValueError):
        raise ValueError(f"group_scales needs one factor a param group, got {scales!r}") from None
    if len(result) != len(optimizer.param_groups):
        raise ValueError(
            f"group_scales needs one factor a param group: {len(optimizer.param_groups)} groups, got {len(result)}"
        )
    if not all(math.isfinite(s) and s >= 0 for s in result):
        raise ValueError(f"group_scales must be finite and not negative, got {result}")
    return result


def own_lrs(optimizer: Optimizer) -> list[float | None]:
    """LR of every group, `initial_lr` where it is set."""
    return [plain(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def ratio(own: float | None, default: float | None, index: int) -> float:
    """A group's learning rate over the one that all are measured by; 1 where one of them is not known.

    Raises: ValueError: that is 0, and the group's is not.
    """
    if own is None or default is None or own == default:
        return 1.0
    if default == 0:
        raise ValueError(
            f"param group {index} has learning rate {own:g} and the optimizer's default is 0, so their ratio is not "
            "defined; pass group_scales, or make the optimizer with lr above 0"
        )
    return own / default


def base_of_scales(scales: Sequence[float], optimizer: Optimizer) -> float | None:
    """What these scales of its groups are over: the LR of a group whose scale is 1, else the default."""
    own = (lr for lr, scale in zip(own_lrs(optimizer), scales, strict=True) if scale == 1)
    return next(own, None) or plain(default_of(optimizer, "lr"))


def common_base(own: Sequence[float | None], default: float | None) -> float | None:
    """What the factors of groups with these values are over: the default where a group has it, else the largest."""
    if any(value is None or (default is not None and math.isclose(value, default)) for value in own):
        return default
    return max((value for value in own if value is not None), default=default) or default


def default_of(optimizer: Optimizer, key: str) -> Any:
    """What a group gets that has no value of its own; a wrapper may leave that to the optimizer that it holds."""
    made = (getattr(each, "defaults", {}) for each in (optimizer, updating_optimizer(optimizer)))
    return next((defaults[key] for defaults in made if key in defaults), None)


def own_decay(group: Group) -> float:
    """Weight decay that a group was made with; 0 where it has none."""
    return plain(group.get("initial_weight_decay", group.get("weight_decay"))) or 0.0


def plain(value: Any) -> float | None:
    """A number that may be a tensor, as a float."""
    return None if value is None else float(value)
