"""Curves: one hyper-parameter over steps, as frozen values.

A curve is evaluated at one step, `curve(step) -> float`, or at many, `curve.values(steps) -> array`. Steps may be
fractional, so that a schedule can be stretched. Linear and constant pieces give the same bits either way;
cosine and exponential ones agree to the last digit or two (numpy and `math` have their own functions).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks

Interpolation = Literal["linear", "cosine", "exponential", "constant"]
Mode = Literal["triangular", "triangular2", "exp_range"]
Floats = NDArray[np.float64]


def _linear(a: float, b: float, u: float) -> float:
    return a + (b - a) * u


def _cosine(a: float, b: float, u: float) -> float:
    value = a + (b - a) * (0.5 - 0.5 * math.cos(math.pi * u))
    return min(max(value, min(a, b)), max(a, b))  # rounding must not leave the bounds


def _exponential(a: float, b: float, u: float) -> float:
    value = a * (b / a) ** u
    return min(max(value, min(a, b)), max(a, b))


def _constant(a: float, b: float, u: float) -> float:
    return a


_BETWEEN: dict[str, Callable[[float, float, float], float]] = {
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
    "constant": _constant,
}


def _between_arrays(kind: str, a: Floats, b: Floats, u: Floats) -> Floats:
    if kind == "constant":
        return a
    if kind == "linear":
        return a + (b - a) * u
    if kind == "cosine":
        value = a + (b - a) * (0.5 - 0.5 * np.cos(np.pi * u))
    else:
        value = a * (b / a) ** u
    return np.clip(value, np.minimum(a, b), np.maximum(a, b))


@dataclass(frozen=True)
class Piecewise:
    """Values at knots and a rule between them; knot values are met exactly.

        between knots (s, a) and (e, b), u = (t - s) / (e - s):
        linear       a + (b - a) u
        cosine       a + (b - a) (1 - cos(pi u)) / 2
        exponential  a (b / a)^u
        constant     a

    The first value holds before the first knot, the last one for ever after the last. Two knots on one step are a
    jump: the left one is approached, the right one holds from that step on. One knot is a constant.

    Args:
        steps: knots, never decreasing, at most two on one step.
        heights: the values there, one a knot, in the hyper-parameter's own unit.
        interpolation: one name for all pieces, or one a piece (`len(steps) - 1`).
    Raises: ValueError: lengths that do not fit, steps that decrease, an unknown rule, or an exponential piece
        whose ends are not both positive.
    Example:
        >>> curve = Piecewise([0, 10, 20], [0.0, 1.0, 0.1], ["linear", "constant"])
        >>> curve(5), curve(19), curve(20), curve(99)
        (0.5, 1.0, 0.1, 0.1)
    """

    steps: Sequence[float]
    heights: Sequence[float]
    interpolation: str | Sequence[str] = "linear"
    _pieces: tuple[tuple[Any, ...], ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        steps = tuple(_knot(s) for s in checks.several("a curve's steps", self.steps))
        heights = checks.several("a curve's values", self.heights)
        values = tuple(checks.number("a curve's value", v, low=-math.inf) for v in heights)
        if not steps or len(steps) != len(values):
            raise ValueError(f"a curve needs one value a knot, and a knot at least: {len(steps)} and {len(values)}")
        rules = self.interpolation
        rules = (rules,) * (len(steps) - 1) if isinstance(rules, str) else checks.several("interpolation", rules)
        if len(rules) != len(steps) - 1:
            raise ValueError(f"{len(steps)} knots have {len(steps) - 1} pieces, got {len(rules)} interpolations")
        for rule in (*rules, *([self.interpolation] if isinstance(self.interpolation, str) else [])):
            if not isinstance(rule, str) or rule not in _BETWEEN:
                raise checks.unknown("interpolation", rule, get_args(Interpolation))
        if any(a > b for a, b in pairwise(steps)):
            raise ValueError(f"a curve's steps must not decrease, got {list(steps)}")
        if any(a == b for a, b in zip(steps, steps[2:], strict=False)):
            raise ValueError(f"more than two of a curve's knots lie on one step: {list(steps)}")
        ends = zip(rules, values, values[1:], strict=False)
        if any(rule == "exponential" and min(a, b) <= 0 for rule, a, b in ends):
            raise ValueError(f"an exponential piece needs values above 0 at both ends, got {list(values)}")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "heights", values)
        object.__setattr__(self, "interpolation", rules)
        lengths = (e - s for s, e in pairwise(steps))
        functions = (_BETWEEN[rule] for rule in rules)
        pieces = tuple(zip(functions, steps, lengths, values, values[1:], strict=False))
        object.__setattr__(self, "_pieces", pieces)

    def __call__(self, step: float) -> float:
        """The value at one step."""
        step = float(step)  # numpy's scalars have a power function of their own, which differs in the last digit
        piece = bisect_right(self.steps, step) - 1
        if piece >= len(self._pieces):
            return self.heights[-1]
        if piece < 0:
            return self.heights[0]
        between, start, length, a, b = self._pieces[piece]
        return between(a, b, (step - start) / length)

    def values(self, steps: ArrayLike) -> Floats:
        """The values at many steps: an array (n,) float64."""
        t = np.asarray(steps, dtype=np.float64)
        knots, at = np.asarray(self.steps, dtype=np.float64), np.asarray(self.heights)
        piece = np.searchsorted(knots, t, side="right") - 1
        result = np.where(piece < 0, at[0], at[-1])
        for index, rule in enumerate(self.interpolation):
            here = piece == index
            if here.any():
                u = (t[here] - knots[index]) / (knots[index + 1] - knots[index])
                a, b = np.full_like(u, at[index]), np.full_like(u, at[index + 1])
                result[here] = _between_arrays(rule, a, b, u)
        return result

    def knots(self, until: float) -> tuple[float, ...]:
        """Steps below or at `until` where the slope may change."""
        return tuple(dict.fromkeys(s for s in self.steps if s <= until))

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return min(self.heights), max(self.heights)

    def levels(self) -> tuple[Any, ...]:
        """All but the timing: two curves with equal levels differ in when, not in how high."""
        return ("piecewise", self.heights, self.interpolation)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        rules = list(self.interpolation)
        return {"kind": "piecewise", "steps": list(self.steps), "values": list(self.heights), "interpolation": rules}


def _knot(step: Any) -> float:
    value = checks.number("a curve's step", step)
    return int(value) if value.is_integer() else value


@dataclass(frozen=True)
class Triangular:
    """Cyclical learning rate: straight up for `step_size` steps, straight down for as many, and again.

        cycle = floor(1 + t / (2 S)),  x = |t / S - 2 cycle + 1|
        value = base + (max - base) max(0, 1 - x) g
        g = 1 (triangular), 2^(1 - cycle) (triangular2), gamma^t (exp_range)

    Args:
        base, max: bounds of a cycle.
        step_size: S, half a cycle in steps.
        mode: "triangular", "triangular2" (the height halves every cycle) or "exp_range".
        gamma: decay of the height per step in "exp_range"; 1 in the other modes.
    Raises: ValueError: base above max, an unknown mode, gamma outside (0, 1] or given to another mode.
    Reference: Smith, arXiv 1506.01186v6, Sec. 3.
    """

    base: float
    max: float
    step_size: int
    mode: str = "triangular"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        base, top = checks.number("base_lr", self.base), checks.number("max_lr", self.max)
        if base > top:
            raise ValueError(f"base_lr must not be above max_lr, got {base:g} and {top:g}; swap them")
        if self.mode not in get_args(Mode):
            raise checks.unknown("mode", self.mode, get_args(Mode))
        gamma = checks.number("gamma", self.gamma, high=1.0, above=True)
        if gamma != 1.0 and self.mode != "exp_range":
            raise ValueError(f"gamma belongs to mode 'exp_range', got {gamma:g} with mode {self.mode!r}; drop one")
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "max", top)
        object.__setattr__(self, "gamma", gamma)
        size = checks.whole("step_size", self.step_size, at_least=1)
        checks.number("step_size", size)  # finite as a float too
        object.__setattr__(self, "step_size", size)

    def __call__(self, step: float) -> float:
        """The value at one step."""
        step = float(step)  # as in `Piecewise`
        cycle = math.floor(1 + step / (2 * self.step_size))
        height = max(0.0, 1 - abs(step / self.step_size - 2 * cycle + 1))
        if self.mode == "triangular2":
            height *= 0.5 ** (cycle - 1)
        elif self.mode == "exp_range":
            height *= self.gamma**step
        return self.base + (self.max - self.base) * height if height < 1 else self.max

    def values(self, steps: ArrayLike) -> Floats:
        """The values at many steps: an array (n,) float64."""
        t = np.asarray(steps, dtype=np.float64)
        cycle = np.floor(1 + t / (2 * self.step_size))
        height = np.maximum(0.0, 1 - np.abs(t / self.step_size - 2 * cycle + 1))
        if self.mode == "triangular2":
            height = height * 0.5 ** (cycle - 1)
        elif self.mode == "exp_range":
            height = height * self.gamma**t
        return np.where(height < 1, self.base + (self.max - self.base) * height, self.max)

    def knots(self, until: float) -> Sequence[float]:
        """Steps below or at `until` where the slope changes: a range, for there may be a great many."""
        return range(0, math.floor(until) + 1, self.step_size)

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return self.base, self.max

    def levels(self) -> tuple[Any, ...]:
        """All but the timing."""
        return ("triangular", self.base, self.max, self.mode, self.gamma)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        shape = {"step_size": self.step_size, "mode": self.mode, "gamma": self.gamma}
        return {"kind": "triangular", "base": self.base, "max": self.max, **shape}


@dataclass(frozen=True)
class Stretched:
    """Another curve, run through faster or slower: the value at `new[i]` is the curve's at `old[i]`.

    Time is linear between those steps, untouched before the first, and stands still after the last.

    Args:
        curve: what is stretched.
        new: steps of this curve, increasing.
        old: the steps of `curve` they stand for, never decreasing; `old[0] == new[0]`.
    Raises: ValueError: lengths or orders that do not fit.
    """

    curve: Curve
    new: Sequence[float]
    old: Sequence[float]

    def __post_init__(self) -> None:
        new, old = (
            tuple(_knot(s) for s in checks.several(f"{name} steps", steps))
            for name, steps in (("new", self.new), ("old", self.old))
        )
        if len(new) != len(old) or not new or new[0] != old[0]:
            raise ValueError(f"stretching needs as many old steps as new ones, equal at the first: {old}, {new}")
        if any(a >= b for a, b in pairwise(new)) or list(old) != sorted(old):
            raise ValueError(f"stretching needs steps that grow, got old {old} and new {new}")
        object.__setattr__(self, "new", new)
        object.__setattr__(self, "old", old)

    def __call__(self, step: float) -> float:
        """The value at one step."""
        i = bisect_right(self.new, step) - 1
        if i < 0:
            return self.curve(step)
        if i + 1 >= len(self.new):
            return self.curve(self.old[-1])
        start, stop = self.old[i], self.old[i + 1]
        return self.curve(start + (stop - start) * ((step - self.new[i]) / (self.new[i + 1] - self.new[i])))

    def values(self, steps: ArrayLike) -> Floats:
        """The values at many steps: an array (n,) float64."""
        t = np.asarray(steps, dtype=np.float64)
        new, old = (np.asarray(s, dtype=np.float64) for s in (self.new, self.old))
        if len(new) == 1:
            return self.curve.values(np.minimum(t, new[0]))
        i = np.clip(np.searchsorted(new, t, side="right") - 1, 0, len(new) - 2)
        moved = old[i] + (old[i + 1] - old[i]) * ((t - new[i]) / (new[i + 1] - new[i]))
        return self.curve.values(np.where(t < new[0], t, np.where(t >= new[-1], old[-1], moved)))

    def knots(self, until: float) -> tuple[float, ...]:
        """Steps below or at `until` where the slope may change."""
        before = (s for s in self.curve.knots(self.new[0]) if s < self.new[0])
        return tuple(s for s in (*before, *self.new) if s <= until)

    def bounds(self) -> tuple[float, float]:
        """Bounds of the curve that is stretched."""
        return self.curve.bounds()

    def levels(self) -> tuple[Any, ...]:
        """All but the timing."""
        return self.curve.levels()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"kind": "stretched", "curve": self.curve.to_dict(), "new": list(self.new), "old": list(self.old)}


Curve = Piecewise | Triangular | Stretched

_FIELDS: dict[str, tuple[type[Any], tuple[str, ...]]] = {
    "piecewise": (Piecewise, ("steps", "values", "interpolation")),
    "triangular": (Triangular, ("base", "max", "step_size", "mode", "gamma")),
    "stretched": (Stretched, ("curve", "new", "old")),
}


def curve_from_dict(data: Any) -> Curve:
    """The curve that `to_dict` wrote down.

    Raises: ValueError: an unknown kind, an unknown or missing key, or values that make no curve.
    """
    if not isinstance(data, dict):
        raise ValueError(f"a curve must be a dict as written by to_dict(), got {type(data).__name__}")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise checks.unknown("curve kind", kind, _FIELDS)
    cls, names = _FIELDS[kind]
    for key in data:
        if key not in ("kind", *names):
            raise checks.unknown(f"key of a {kind} curve", key, names)
    missing = [name for name in names if name not in data]
    if missing:
        raise ValueError(f"a {kind} curve lacks {', '.join(missing)}; it needs {', '.join(names)}")
    arguments = [curve_from_dict(data[n]) if n == "curve" else data[n] for n in names]
    return cls(*arguments)
