"""What a search tries: the plan of it, and which of its values are refused before anything is trained."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from ..analysis.recipe.companion import MOMENTA as COMPANION_MOMENTA
from ..analysis.recipe.knowledge import Candidate, Plan
from ..analysis.recipe.search import STRATEGIES
from ..near_names import near
from ..schedules import constant
from ..task import Task
from ..training.optimizers import build_optimizer, default_lr, has_momentum
from .config import Arm
from .probing import SHORTEST_TIMING, Fixed

_MOMENTA = ((0.95, 0.85), (0.9, 0.9))
_DROPOUTS = (0.0, 0.1, 0.2)
# optimizer -> weight decays to try, and the one to start from; the SGD family and unknown ones have the first line
_DECAYS = {"": ((1e-5, 1e-4, 1e-3, 1e-2), 1e-4), "adamw": ((1e-3, 1e-2, 1e-1, 1.0), 1e-2)}


def check_search(task: Task, steps: int, strategy: str, batch_size: int) -> None:
    """Raises: ValueError: an unknown strategy, a length or batch size that is none, a task without a metric."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is unknown; {near(strategy, STRATEGIES)}")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, the length of the training that is planned; got {steps}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if task.metric is None:
        raise ValueError(f"task {task.name!r} has no metric to choose by; give it one, metric='loss' with "
                         "higher_is_better=False for instance")  # fmt: skip


def search_plan(
    task: Task, steps: int, strategy: str, optimizer: str, batch_size: int, samples: int,
    weight_decays: Sequence[float] | None, momenta: Sequence[tuple[float, float]] | None,
    batch_sizes: Sequence[int] | None, dropouts: Sequence[float] | None,
) -> Plan:  # fmt: skip
    """What is tried, and from where; arguments as in `find`. Its budget is 0, for `find` to fill in.

    Args:
        samples: training samples; no batch is tried unasked that is larger than half of them.
    Raises: ValueError: an unknown optimizer, a dropout for a network without one, values that the strategy does not
        search.
    """
    takes_decay = _takes_decay(optimizer)  # first: a name that is none is said here
    decays, usual = _DECAYS.get(optimizer.lower(), _DECAYS[""])
    tried = tuple(weight_decays) if weight_decays is not None else decays if takes_decay else ()
    momentum = has_momentum(optimizer)
    usual_cycles = (COMPANION_MOMENTA if strategy == "companion" else _MOMENTA) if momentum else ()
    cycles = usual_cycles if momenta is None else tuple((float(a), float(b)) for a, b in momenta)
    sizes = (batch_size // 2, 2 * batch_size) if batch_sizes is None else tuple(batch_sizes)
    if batch_sizes is None:
        sizes = tuple(size for size in sizes if 1 < size <= samples // 2)
    rates = tuple(dropouts) if dropouts is not None else _DROPOUTS if takes_dropout(task) else ()
    if dropouts and not takes_dropout(task):
        raise ValueError(f"dropouts were given, but the model function of task {task.name!r} takes no dropout argument")
    if strategy == "companion":
        _check_companion(batch_size, batch_sizes, dropouts)
    base = Candidate(
        default_lr(optimizer), _start(tried, usual), cycles[0] if cycles else None, batch_size,
        rates[0] if rates else None,
    )  # fmt: skip
    return Plan(0, steps, base, tried, cycles, sizes, rates, strategy, higher_is_better=task.higher_is_better)


def check_options(options: Mapping[str, Any]) -> None:
    """Raises: ValueError: an option of the optimizer that the search would write over."""
    for key, instead in (
        ("weight_decay", "give what to try as weight_decays, {0!r} alone as weight_decays=({0!r},)"),
        ("momentum", "give what to try as momenta, {0!r} alone as momenta=(({0!r}, {0!r}),)"),
        ("lr", "max_lr is what is looked for: leave lr out"),
    ):
        if key in options:
            value = options[key]
            raise ValueError(f"optimizer_options: {key}={value!r} would be written over; {instead.format(value)}")


def _check_companion(batch_size: int, batch_sizes: Sequence[int] | None, dropouts: Sequence[float] | None) -> None:
    """Raises: ValueError: values that were given and that the strategy would not try."""
    if not {batch_size}.issuperset(batch_sizes or ()):
        raise ValueError(f"strategy 'companion' searches no batch sizes, got batch_sizes={tuple(batch_sizes or ())}; "
                         "give the largest that fits as batch_size, or use strategy 'balance'")  # fmt: skip
    if len(set(dropouts or ())) > 1:
        raise ValueError(f"strategy 'companion' searches no dropout, got dropouts={tuple(dropouts or ())}; give one "
                         "value, or use strategy 'balance'")  # fmt: skip


def _start(tried: Sequence[float], usual: float) -> float | None:
    """The one to start from: the nearest to the usual one."""
    return min(tried, key=lambda value: abs(math.log(max(value, 1e-9) / usual)), default=None)


def _takes_decay(optimizer: str) -> bool:
    try:
        build_optimizer(optimizer, nn.Linear(1, 1), lr=0.1, weight_decay=1e-4)
    except ValueError:
        build_optimizer(optimizer, nn.Linear(1, 1), lr=0.1)  # raises where it is not the decay
        return False
    return True


def takes_dropout(task: Task) -> bool:
    """Whether the task's model function has an argument `dropout`, or hands on to a network that does."""
    model: Callable[..., Any] = task.model
    try:
        parameters = inspect.signature(model).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(p.name == "dropout" for p in parameters):
        return True
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        return False
    try:
        replace(task, model=partial(model, dropout=0.1)).build_model(0)
    except (TypeError, ValueError):
        return False
    return True


def check_values(plan: Plan, fixed: Fixed) -> None:
    """Every value is tried on the optimizer, the schedule and the arm before anything is trained."""
    base = plan.base
    candidates = [base, *(replace(base, weight_decay=value) for value in plan.weight_decays)]
    candidates += [replace(base, momentum=value) for value in plan.momenta]
    candidates += [replace(base, batch_size=value) for value in plan.batch_sizes]
    for rate in plan.dropouts:
        if not 0 <= rate < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {rate}")
    for candidate in candidates:
        settings = fixed.settings(candidate)
        Arm("check", constant(2, lr=candidate.max_lr), settings.optimizer, settings.optimizer_options,
            settings.batch_size, precision=settings.precision, clip_grad_norm=settings.clip_grad_norm)  # fmt: skip
        settings.arm_of("check", max(plan.steps, SHORTEST_TIMING))
        build_optimizer(settings.optimizer, nn.Linear(1, 1), lr=candidate.max_lr, **settings.optimizer_options)
