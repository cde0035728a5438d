"""Schedule: a frozen value that maps a step to the hyper-parameters of that optimizer update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from . import checks
from .curve import Curve, Floats, Piecewise, Stretched, Triangular, curve_from_dict

if TYPE_CHECKING:
    from ..figures import Figure

FORMAT = 1
KEYS = ("lr", "momentum", "weight_decay")


@dataclass(frozen=True, init=False)
class Schedule:
    """What the optimizer must use in update `step`, for 0 <= step < total_steps; the last value for ever after.

    Args:
        total_steps: length in optimizer updates.
        curves: "lr", "momentum" or "weight_decay" -> curve or number; "lr" must be there. "momentum" is SGD's
            momentum and Adam's beta1; "weight_decay" is as the optimizer takes it.
    Raises: ValueError: an unknown key, no "lr", a negative rate or weight decay, a momentum outside [0, 1).
    Example:
        >>> schedule = Schedule(5, {"lr": Piecewise([0, 4], [0.0, 1.0]), "weight_decay": 1e-4})
        >>> schedule(2)
        {'lr': 0.5, 'weight_decay': 0.0001}
        >>> schedule(99)["lr"]
        1.0
    """

    total_steps: int
    _curves: tuple[tuple[str, Curve], ...]

    def __init__(self, total_steps: int, curves: Mapping[str, Curve | float]) -> None:
        _check_keys(curves)
        if "lr" not in curves:
            raise ValueError(f"a schedule needs a curve for 'lr', got only {sorted(curves)}")
        object.__setattr__(self, "total_steps", checks.whole("total_steps", total_steps, at_least=1))
        object.__setattr__(self, "_curves", tuple((key, _checked(key, curves[key])) for key in KEYS if key in curves))

    @property
    def curves(self) -> dict[str, Curve]:
        """The curves by key; a fresh dict, since a schedule does not change."""
        return dict(self._curves)

    def __call__(self, step: int) -> dict[str, float]:
        """The values of update `step`: only the keys that the schedule sets.

        Raises: ValueError: a step below 0, or not a whole number.
        """
        if step.__class__ is not int:
            step = checks.whole("step", step, at_least=0)
        if step < 0:
            raise ValueError(f"step must be at least 0, got {step}; updates are counted from 0")
        if step >= self.total_steps:
            step = self.total_steps - 1
        return {key: curve(step) for key, curve in self._curves}

    def values(self, steps: ArrayLike | None = None) -> dict[str, Floats]:
        """The values at many steps, by default all of them: key -> array (n,) float64.

        Raises: ValueError: a step below 0, or not a whole number.
        """
        at = np.arange(self.total_steps) if steps is None else checks.wholes("steps", steps)
        if at.size and at.min() < 0:
            raise ValueError(f"steps must be at least 0, got {at.min()}; updates are counted from 0")
        at = np.minimum(at, self.total_steps - 1)
        return {key: curve.values(at) for key, curve in self._curves}

    def replace(self, **curves: Curve | float | None) -> Schedule:
        """A schedule with other curves under the given keys; a number is a constant, None drops the key.

        Raises: ValueError: as the constructor. Another length is what `stretch` is for.
        Example:
            >>> Schedule(9, {"lr": 0.1}).replace(weight_decay=1e-4)(0)
            {'lr': 0.1, 'weight_decay': 0.0001}
        """
        if "total_steps" in curves:
            raise ValueError("replace() changes curves; for another length use stretch(total_steps)")
        merged = {**self.curves, **curves}
        return Schedule(self.total_steps, {key: c for key, c in merged.items() if c is not None})

    def stretch(self, total_steps: int, *, from_step: int = 0) -> Schedule:
        """The same course in another length: unchanged up to `from_step`, continuous there, same final values.

        What lay after `from_step` is run through faster or slower; knots (peaks, milestones) are moved to whole
        steps, so that they are still met exactly.

        Args:
            total_steps: the new length.
            from_step: where the new pace begins, 0 <= from_step < the old length.
        Raises: ValueError: `from_step` outside; nothing left of the new length after it; or too few steps left to
            keep every phase at least one step long.
        """
        total = checks.whole("total_steps", total_steps, at_least=1)
        start = checks.whole("from_step", from_step, at_least=0)
        last = self.total_steps - 1
        if start > last:
            raise ValueError(f"from_step must be below the schedule's {self.total_steps} steps, got {start}")
        if total == self.total_steps:
            return self
        if total <= start + 1 and start < last:
            raise ValueError(f"total_steps must be above from_step + 1 = {start + 1}, got {total}")
        old: list[float] = [start]
        new = [start]
        if start < last:
            inner = {s for _, curve in self._curves for s in curve.knots(last) if start < s < last}
            old = [start, *sorted(inner), last]
            pace = (total - 1 - start) / (last - start)
            new = [start + round((s - start) * pace) for s in old]
        if len(set(new)) < len(new):
            raise ValueError(
                f"{total} steps are too few to hold the phases that begin at steps {old[1:-1]} of {self.total_steps} "
                f"apart after step {start}; use more steps, or make a new schedule"
            )
        return Schedule(total, {key: _stretched(curve, new, old) for key, curve in self._curves})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` gives an equal schedule back."""
        curves = {key: curve.to_dict() for key, curve in self._curves}
        return {"format": FORMAT, "total_steps": self.total_steps, "curves": curves}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schedule:
        """The schedule that `to_dict` wrote down.

        Raises: ValueError: another format number, an unknown or missing key, or curves that make no schedule.
        """
        known = ("format", "total_steps", "curves")
        for key in data:
            if key not in known:
                raise checks.unknown("key of a stored schedule", key, known)
        if data.get("format") != FORMAT:
            raise ValueError(
                f"this version reads schedules of format {FORMAT}, got {data.get('format')!r}; "
                "make the schedule anew, or use the version of superconv that wrote it"
            )
        if missing := [key for key in known if key not in data]:
            raise ValueError(f"a stored schedule lacks {', '.join(missing)}; it needs {', '.join(known)}")
        if not isinstance(data["curves"], Mapping):
            raise ValueError(f"curves must map keys to curves, got {type(data['curves']).__name__}")
        _check_keys(data["curves"])
        return cls(data["total_steps"], {key: curve_from_dict(curve) for key, curve in data["curves"].items()})

    def plot(self) -> Figure:
        """The learning rate over steps, momentum on the right-hand axis, weight decay below, phases shaded."""
        from . import preview

        return preview.figure(self)

    def __repr__(self) -> str:
        curves = ", ".join(f"{key}={curve!r}" for key, curve in self._curves)
        return f"Schedule({self.total_steps}, {curves})"


def _check_keys(curves: Mapping[str, Any]) -> None:
    for key in curves:
        if key not in KEYS:
            raise checks.unknown("hyper-parameter", key, KEYS)


def _checked(key: str, curve: Any) -> Curve:
    if not isinstance(curve, Piecewise | Triangular | Stretched):
        curve = Piecewise([0], [checks.number(key, curve)])
    low, high = curve.bounds()
    if low < 0:
        raise ValueError(f"{key} must not be negative, its curve goes down to {low:g}")
    if key == "momentum" and high >= 1:
        raise ValueError(f"momentum must stay below 1, its curve goes up to {high:g}")
    return curve


def _stretched(curve: Curve, new: list[int], old: list[float]) -> Curve:
    constant = isinstance(curve, Piecewise) and len(curve.steps) == 1
    return curve if constant else Stretched(curve, new, old)
