"""A schedule's values, written into an optimizer's param groups."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from ..callers_level import callers_level
from ..schedules import Schedule
from .group_scales import (
    Group,
    base_of_scales,
    check_takes_lr,
    common_base,
    default_of,
    given_scales,
    own_decay,
    own_scales,
    plain,
    ratio,
)
from .inner_optimizer import torch_optimizer

T = TypeVar("T")


class ScheduledGroups:
    """Writes learning rate, momentum and weight decay of a schedule into all param groups of an optimizer.

    A group gets `schedule(step)["lr"] * scale`, with scale = the group's LR (`initial_lr` where it is set) over the
    optimizer's default LR, or over the largest where no group has the default; a single group gets what the schedule
    says. Scheduled weight decay scales likewise, and 0 stays 0. Momentum is the same in all
    groups: SGD's and RMSprop's `momentum`, or the first of `betas` (the others are untouched). Learning rates that
    are tensors are filled in place.

    Groups that are added or put in the place of others later are picked up at the next write. Their scale is their LR
    over that of a group whose own scale is 1, so that the ratio of both is kept: 1e-2, and 1e-4 for what is unfrozen
    later, stay 100:1. (Where no group's scale is 1, as `group_scales` may have it, it is over the default.) A group is
    known again, wherever it stands, by its dict or by its list of parameters, which a loaded state leaves in place.

    Args:
        optimizer: any torch optimizer, or a wrapper of another class that holds one. Its groups get `initial_lr` (as
            from torch's own schedulers), so that a later schedule finds the scales again.
        schedule: what to write.
        cycle_momentum: None: groups made without momentum are left alone, with one warning; True: momentum is
            written there too; False: momentum is never written.
        group_scales: one factor a group, instead of the ratios above.
        saved: what `state` gave in a run that goes on here; LR scales that are given win.
    Raises: ValueError: a ratio that is not defined (default LR 0), scales that do not fit, momentum forced on an
        optimizer that has none or on a schedule that sets none, an optimizer that sets its own steps, or a schedule-
        free optimizer whose momentum would be cycled (its averaging takes the place of the schedule).
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        *,
        cycle_momentum: bool | None = None,
        group_scales: Sequence[float] | None = None,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self.optimizer, self._kind = torch_optimizer(optimizer), type(optimizer)
        if not isinstance(schedule, Schedule):
            raise TypeError(f"a superconv.Schedule is needed, got {type(schedule).__name__}; see superconv.one_cycle")
        if cycle_momentum not in (None, True, False):
            raise ValueError(f"cycle_momentum must be None, True or False, got {cycle_momentum!r}")
        check_takes_lr(self.optimizer)
        self.cycle_momentum = cycle_momentum
        self.lr_scales = (
            own_scales(self.optimizer) if group_scales is None else given_scales(group_scales, self.optimizer)
        )
        self.decay_scales: list[float] = []
        self.cycled: list[bool] = []  # per group: is its momentum written?
        # What the scales are over; a group that is added later is measured by the same.
        self.lr_base = base_of_scales(self.lr_scales, self.optimizer)
        self.decay_base = 0.0  # chosen with the first group that decays
        self.values: dict[str, float] = {}  # as last written, before any scale
        self._warned: set[str] = set()
        self._groups: list[Group] = []  # whose scales the lists above begin with; further ones are of groups to come
        self._given_scales = group_scales is not None
        self.schedule = schedule
        if saved is not None:
            self._take_over(saved)
        self._bind()

    @property
    def schedule(self) -> Schedule:
        """What is written."""
        return self._schedule

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        _check_momentum(self.optimizer, schedule, self.cycle_momentum, self._kind)
        self._schedule = schedule
        self._curves = tuple(schedule.curves.items())
        self._last = schedule.total_steps - 1
        self._sorted = False  # another schedule may set other keys

    @property
    def stale(self) -> bool:
        """Whether groups were added, replaced or moved since the last write."""
        groups, known = self.optimizer.param_groups, self._groups
        return not self._sorted or len(groups) != len(known) or not all(map(is_, groups, known))

    def changed(self, turn: int) -> tuple[float, float] | None:
        """A learning rate that is not as it was last written, and what was; None where it is as it was.

        Of one group a turn, in order, since other schedulers write all of them; LRs that are tensors are not looked at.
        """
        if not self._lr_groups:
            return None
        group, scale = self._lr_groups[turn % len(self._lr_groups)]
        written = self.values["lr"] * scale
        return None if group["lr"] == written else (group["lr"], written)

    def write(self, step: int) -> dict[str, float]:
        """Write the values of update `step` and return them, unscaled; the last ones from `total_steps` on."""
        step = min(int(step), self._last)  # a numpy integer would put numpy scalars into the groups
        self.set({key: curve(step) for key, curve in self._curves})
        return self.values

    def set(self, values: dict[str, float]) -> None:
        """Write the given values ("lr", perhaps "momentum" and "weight_decay"), scaled by group."""
        if self.stale:
            self._bind()
        self.values = values
        lr = values["lr"]
        for group, scale in self._lr_groups:
            group["lr"] = lr * scale
        for group, scale in self._lr_tensors:
            group["lr"].fill_(lr * scale)
        momentum = values.get("momentum")
        if momentum is not None:
            for group in self._momentum_groups:
                group["momentum"] = momentum
            for group, rest in self._betas_groups:
                group["betas"] = (momentum, *rest)
            for group in self._momentum_tensors:
                _fill_momentum(group, momentum)
        decay = values.get("weight_decay")
        if decay is not None:
            for group, scale in self._decay_groups:
                group["weight_decay"] = decay * scale

    def take_up(self) -> None:
        """Find the scales of groups that were added, replaced or moved; nothing is written yet."""
        if self.stale:
            self._bind()

    def state(self) -> dict[str, Any]:
        """Plain copied data: the scales of the groups in their present order, and what they are over."""
        self.take_up()
        return {
            "lr_scales": list(self.lr_scales),
            "decay_scales": list(self.decay_scales),
            "lr_base": self.lr_base,
            "decay_base": self.decay_base,
            "cycled": list(self.cycled),
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take over what `state` gave, in the order of the groups; what is beyond them waits for groups to come."""
        self.take_up()
        self._take_over(saved)

    def _take_over(self, saved: Mapping[str, Any]) -> None:
        decay_scales = [float(scale) for scale in saved["decay_scales"]]
        lr_scales = [float(scale) for scale in saved["lr_scales"]]
        cycled = [bool(on) for on in saved["cycled"]]
        if not self._given_scales:
            self.lr_scales, self.lr_base = lr_scales, saved.get("lr_base", self.lr_base)  # older states have no bases
        if self.cycle_momentum is None:
            self.cycled = cycled
        self.decay_scales, self.decay_base = decay_scales, saved.get("decay_base", self.decay_base)
        self._groups, self._sorted = [], False  # none is known by itself: each takes the next of these

    @property
    def lrs(self) -> tuple[float, ...]:
        """The learning rate of every group, as last written; nothing is read from the device."""
        return self.scaled(self.values["lr"])

    @property
    def present_lrs(self) -> list[float]:
        """The learning rate that every group has now; of a tensor, what was last written, if anything was."""
        written = {id(group): lr for group, lr in zip(self._groups, self.lrs, strict=False)}
        return [
            float(written.get(id(group), group["lr"]) if isinstance(group["lr"], Tensor) else group["lr"])
            for group in self.optimizer.param_groups
        ]

    def scaled(self, lr: float) -> tuple[float, ...]:
        """The learning rate of every group where the schedule says `lr`."""
        return tuple([lr * scale for scale in self.lr_scales[: len(self._groups)]])

    def _bind(self) -> None:
        """Sort the groups by what is written into them and how, once, so that a write is a few plain loops."""
        groups = self.optimizer.param_groups
        keys = self._schedule.curves
        self._describe(groups, keys)
        _own_lr_tensors(groups, default_of(self.optimizer, "lr"))
        scaled = list(zip(groups, self.lr_scales, strict=False))
        self._lr_groups = [(g, s) for g, s in scaled if not isinstance(g["lr"], Tensor)]
        self._lr_tensors = [(g, s) for g, s in scaled if isinstance(g["lr"], Tensor)]
        written = [g for g, on in zip(groups, self.cycled, strict=False) if on] if "momentum" in keys else []
        self._momentum_tensors = [g for g in written if isinstance(_momentum(g), Tensor)]
        plain = [g for g in written if not isinstance(_momentum(g), Tensor)]
        self._betas_groups = [(g, tuple(g["betas"])[1:]) for g in plain if "betas" in g]
        self._momentum_groups = [g for g in plain if "betas" not in g]
        self._decay_groups = []
        if "weight_decay" in keys:
            scaled = list(zip(groups, self.decay_scales, strict=False))
            self._decay_groups = [(g, s) for g, s in scaled if "weight_decay" in g]
        self._sorted = True
        self._warn_of_silence(keys)

    def _describe(self, groups: Sequence[Group], keys: Mapping[str, Any]) -> None:
        """Remember initial values and scales; what is known of a group already (or was restored) goes with it."""
        places = {id(key): place for place, known in enumerate(self._groups) for key in (known, known["params"])}
        known = [places.get(id(group), places.get(id(group["params"]))) for group in groups]

        def moved(values: list[T], new: Callable[[int, Group], T]) -> list[T]:
            restored = values[len(self._groups) :]
            return [
                values[place] if place is not None else restored.pop(0) if restored else new(index, group)
                for index, (place, group) in enumerate(zip(known, groups, strict=True))
            ] + restored

        for group in groups:
            group.setdefault("initial_lr", plain(group["lr"]))
            if "weight_decay" in keys and "weight_decay" in group:
                group.setdefault("initial_weight_decay", plain(group["weight_decay"]))
        self.lr_scales = moved(self.lr_scales, lambda i, group: ratio(plain(group["initial_lr"]), self.lr_base, i))
        self.decay_scales = moved(self.decay_scales, lambda _, group: self._decay_scale(group))
        self.cycled = moved(self.cycled, lambda _, group: self._is_cycled(group))
        self._groups = [*groups]

    def _is_cycled(self, group: Group) -> bool:
        momentum = plain(_momentum(group))
        forced = self.cycle_momentum is True and momentum is not None
        return forced or (self.cycle_momentum is not False and bool(momentum))

    def _decay_scale(self, group: Group) -> float:
        """Group's weight decay over the optimizer's default, or over the largest where no group has that or it is 0."""
        if not self.decay_base:
            decays = [own_decay(g) for g in self.optimizer.param_groups]
            self.decay_base = common_base(decays, plain(default_of(self.optimizer, "weight_decay"))) or max(decays)
        return own_decay(group) / self.decay_base if self.decay_base else 0.0

    def _warn_of_silence(self, keys: Mapping[str, Any]) -> None:
        """One warning where a scheduled value reaches no group."""
        name = type(self.optimizer).__name__
        if "momentum" in keys and self.cycle_momentum is None and not all(self.cycled[: len(self._groups)]):
            where = "a param group of" if any(self.cycled[: len(self._groups)]) else "the optimizer"
            self._warn(
                "momentum",
                f"the schedule sets momentum, but {where} {name} was made without it and is left alone; make the "
                "optimizer with momentum, pass cycle_momentum=True to force it, or False (or a schedule with "
                "max_momentum=None) to agree",
            )
        if "weight_decay" in keys and not any(s for _, s in self._decay_groups):
            self._warn(
                "weight_decay",
                f"the schedule sets weight decay, but every param group of the optimizer {name} was made without it, "
                "and 0 stays 0; make the optimizer with a weight_decay above 0",
            )

    def _warn(self, key: str, message: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(message, UserWarning, stacklevel=callers_level())


def _momentum(group: Group) -> Any:
    """SGD's momentum or Adam's beta1; None where the group has neither."""
    return group["betas"][0] if "betas" in group else group.get("momentum")


def _fill_momentum(group: Group, momentum: float) -> None:
    _momentum(group).fill_(momentum)


def _own_lr_tensors(groups: Sequence[Group], default: Any) -> None:
    """Groups that share one LR tensor (it came from the defaults) get their own, since each is filled by its scale."""
    seen = {id(default)} if isinstance(default, Tensor) else set()
    for group in groups:
        lr = group["lr"]
        if isinstance(lr, Tensor):
            if id(lr) in seen:
                group["lr"] = lr = lr.clone()
            seen.add(id(lr))


def _check_momentum(optimizer: Optimizer, schedule: Schedule, cycle_momentum: bool | None, kind: type) -> None:
    scheduled = "momentum" in schedule.curves
    if cycle_momentum and not scheduled:
        raise ValueError("cycle_momentum=True, but the schedule sets no momentum; give it a max_momentum, or drop it")
    if not scheduled or cycle_momentum is False:
        return
    name = kind.__name__
    if cycle_momentum and any(_momentum(group) is None for group in optimizer.param_groups):
        raise ValueError(f"cycle_momentum=True, but {name} has no momentum and no betas; use False or None")
    kinds = " ".join(f"{c.__module__}.{c.__name__}" for c in kind.__mro__).lower()
    if "schedulefree" in kinds.replace("_", ""):
        raise ValueError(
            f"{name} is schedule-free: its averaging depends on a constant momentum, which must not be cycled; use "
            "a schedule with max_momentum=None, or cycle_momentum=False"
        )
