"""RangeTest: the frozen value that an LR range test leaves behind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..records import StopReason
from .fork_rules import Fork
from .judge import judge
from .reference import GridEdge, stored_grid_edge
from .suggestion import Suggestion, suggest_all
from .thresholds import Thresholds
from .verdict import Verdict

if TYPE_CHECKING:
    from ..figures.spec import Figure

Floats = NDArray[np.float64]

__all__ = ["Fork", "RangeTest", "suggest"]

_ARRAYS = ("lr", "train_loss", "metric", "eval_loss", "weight_norm")


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """Training under an LR ramp, as measured: one entry an update, NaN where nothing was measured.

    Args:
        lr: (n,) the LR used in update i (of the optimizer's default where groups differ).
        train_loss: (n,) loss of the forward pass of update i, before lr[i] acted.
        metric: (n,) evaluation metric measured after update i; NaN: not measured.
        eval_loss: (n,) evaluation loss after update i.
        forks: annealed branches.
        metric_name: what `metric` is; "accuracy" lies in [0, 1].
        higher_is_better: direction of the metric.
        chance: metric of a network that learned nothing (for an accuracy the share of the largest class).
        eval_samples: samples behind each metric.
        reference_lr: best constant LR at the same number of steps; the verdict needs it. See `reference_edge`.
        evaluate_with: where BatchNorm took its statistics: "batch", "reestimated" or "running".
        shape: "linear" or "exponential"; None: unknown.
        stop: why the ramp ended.
        seconds: what it cost, scout and forks included.
        group_lrs: (n, k) LR of every param group.
        weight_norm: (n,) norm of the scale-invariant weights along the ramp.
        settings: plain JSON data about the run (optimizer, batch size, momentum, seed, ...).
        scout: the short ramp that chose the range, where one was run.
    Raises: ValueError: arrays of different lengths, LRs that are negative or not finite, a shape that is neither.
    """

    lr: Floats
    train_loss: Floats
    metric: Floats = None  # type: ignore[assignment]  # None becomes NaNs of lr's length
    eval_loss: Floats = None  # type: ignore[assignment]
    forks: tuple[Fork, ...] = ()
    metric_name: str = "accuracy"
    higher_is_better: bool = True
    chance: float | None = None
    eval_samples: int | None = None
    reference_lr: float | None = None
    evaluate_with: str | None = None
    shape: str | None = None
    stop: StopReason = StopReason.completed
    seconds: float = 0.0
    group_lrs: Floats | None = None
    weight_norm: Floats | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    scout: RangeTest | None = None

    def __post_init__(self) -> None:
        n = len(np.atleast_1d(np.asarray(self.lr, dtype=np.float64)))
        for name in _ARRAYS:
            value = getattr(self, name)
            if value is None and name in ("metric", "eval_loss"):
                value = np.full(n, np.nan)
            if value is not None:
                object.__setattr__(self, name, _frozen(name, value, (n,)))
        if self.group_lrs is not None:
            groups = np.asarray(self.group_lrs, dtype=np.float64)
            shape = (n, groups.shape[1]) if groups.ndim == 2 else (n, -1)
            object.__setattr__(self, "group_lrs", _frozen("group_lrs", groups, shape))
        object.__setattr__(self, "forks", tuple(self.forks))
        self._check()

    def _check(self) -> None:
        bad = np.flatnonzero(~(np.isfinite(self.lr) & (self.lr >= 0.0)))
        if len(bad):
            raise ValueError(f"lr must be finite and >= 0, got {self.lr[bad[0]]} at point {bad[0]}: drop such points")
        if self.shape not in (None, "linear", "exponential"):
            raise ValueError(f"shape must be 'linear', 'exponential' or None, got {self.shape!r}")
        reference = self.reference_lr
        if reference is not None and not (math.isfinite(reference) and reference > 0.0):
            raise ValueError(f"reference_lr must be a positive number, got {reference}; None where it is unknown")
        if self.eval_samples is not None and self.eval_samples < 1:
            raise ValueError(f"eval_samples must be at least 1, got {self.eval_samples}; None where it is unknown")
        if self.chance is not None and not math.isfinite(self.chance):
            raise ValueError(f"chance must be finite, got {self.chance}; None where it is unknown")
        per_row = self.settings.get("updates_per_row")
        number = isinstance(per_row, (int, float, np.number)) and not isinstance(per_row, bool)
        if per_row is not None and not (number and per_row >= 1):
            raise ValueError(f"updates_per_row must be at least 1, got {per_row!r}; None where it is unknown")

    @classmethod
    def from_arrays(
        cls, *, lr: ArrayLike, train_loss: ArrayLike, eval_accuracy: ArrayLike | None = None,
        chance: float | None = None, eval_samples: int | None = None, reference_lr: float | None = None,
        evaluate_with: str | None = None, eval_loss: ArrayLike | None = None, shape: str | None = None,
        updates_per_row: int | None = None, settings: dict[str, Any] | None = None,
    ) -> RangeTest:  # fmt: skip
        """A curve measured elsewhere; NaN: not measured, but for `train_loss`, whose first NaN ends the curve.

        Rows without an LR (NaN; Caffe's logs end with one) are left out, and counted in settings["rows_without_lr"].

        Args:
            lr, train_loss, eval_accuracy, eval_loss: (n,), one entry a logged step.
            chance, eval_samples, reference_lr, evaluate_with, shape, settings: as in `RangeTest`.
            updates_per_row: optimizer updates between two entries. None: unknown, taken for the log of a long
                training; pass 1 where every update is an entry: the verdict asks more of a short ramp.
        Raises: ValueError: arrays of different lengths, a negative or infinite LR, an accuracy outside [0, 1].
        """
        rates = np.asarray(lr, dtype=np.float64)
        accuracy = None if eval_accuracy is None else np.asarray(eval_accuracy, dtype=np.float64)
        if accuracy is not None and (np.nanmin(accuracy, initial=0.0) < 0.0 or np.nanmax(accuracy, initial=0.0) > 1.0):
            raise ValueError(
                f"eval_accuracy must be in [0, 1], got values up to {np.nanmax(accuracy):g}: divide percent by 100"
            )
        columns = {"lr": rates, "train_loss": train_loss, "metric": accuracy, "eval_loss": eval_loss}
        kept: dict[str, Any] = {
            k: _frozen(k, v, rates.shape)[~np.isnan(rates)] for k, v in columns.items() if v is not None
        }
        about = {"updates_per_row": updates_per_row} | dict(settings or {})
        if np.isnan(rates).any():
            about["rows_without_lr"] = int(np.isnan(rates).sum())
        return cls(
            **kept, chance=chance, eval_samples=eval_samples, reference_lr=reference_lr,
            evaluate_with=evaluate_with, shape=shape, settings=about,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.lr)

    def __repr__(self) -> str:
        span = f", LR {self.lr[0]:.3g} to {self.lr[-1]:.3g}" if len(self) else ""
        measured = f", {self.metric_name} at {int(np.isfinite(self.metric).sum())}, {len(self.forks)} forks"
        return f"<RangeTest: {len(self)} updates{span}{measured}; {self.stop.value}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeTest):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]  # arrays inside

    @property
    def diverged(self) -> bool:
        """True where the ramp ended because the loss diverged."""
        return self.stop is StopReason.diverged

    @property
    def short(self) -> bool:
        """True for a ramp of fewer than 1,000 updates; a log whose updates a row are unknown counts as long."""
        per_row = self.settings.get("updates_per_row", 1)
        return per_row is not None and len(self) * per_row < Thresholds().short_updates

    @property
    def reference_edge(self) -> GridEdge | None:
        """Why the grid behind `reference_lr` does not show the best constant LR (`reference.grid_edge`).

        None: it does, or there was no grid. With an edge `reference_lr` is a bound at most, and the verdict is
        inconclusive.
        """
        grid = self.settings.get("reference_grid")
        return stored_grid_edge(grid, chance=self.chance, higher_is_better=self.higher_is_better)

    @property
    def total_updates(self) -> int:
        """Optimizer updates that were spent: as counted while measuring, else ramp, forks and scout."""
        counted = self.settings.get("updates")
        if isinstance(counted, int):
            return counted
        own = len(self) * (self.settings.get("updates_per_row", 1) or 1) + sum(f.steps for f in self.forks)
        return own + (self.scout.total_updates if self.scout is not None else 0)

    def suggest(self, rule: str | None = None) -> Suggestion:
        """What to use as max_lr (`suggestion.RULES`; None: the first of `suggestion.BY_TRUST` that says one).

        Raises: ValueError: no rule of that name.
        """
        return suggest([self], rule)

    def verdict(self, *, reference_lr: float | None = None, thresholds: Thresholds | None = None) -> Verdict:
        """What the ramp shows about large LRs (`judge.judge`).

        Args:
            reference_lr: best constant LR at the same number of steps; None: the one in the value.
            thresholds: None: the fitted ones.
        Raises: ValueError: a reference LR that is not a positive number.
        """
        reference = self.reference_lr if reference_lr is None else replace(self, reference_lr=reference_lr).reference_lr
        return judge(
            self.lr, self.metric, reference_lr=reference, chance=self.chance,
            reference_edge=self.reference_edge if reference_lr is None else None,
            higher_is_better=self.higher_is_better, eval_samples=self.eval_samples, diverged=self.diverged,
            forks=self.forks, updates_per_row=self.settings.get("updates_per_row", 1), metric_name=self.metric_name,
            thresholds=thresholds,
        )  # fmt: skip

    def summary(self) -> str:
        """What to do in the first line, the line to paste in the second, then the reason and the verdict."""
        from .range_test_text import summary

        return summary([self])

    def plot(self) -> Figure:
        """Losses and metric over LR, smoothing, forks, and the suggested range."""
        from .range_test_figure import figure

        return figure(self)

    def save(self, path: str | Path) -> Path:
        """Write it as strict JSON (NaN becomes null), atomically; see `range_test_file.save`."""
        from .range_test_file import save

        return save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> RangeTest:
        """Read what `save` wrote.

        Raises: ValueError: not such a file, a broken one, or one of another format version.
        """
        from .range_test_file import load

        return load(Path(path))


def suggest(ramps: Sequence[RangeTest], rule: str | None = None) -> Suggestion:
    """One suggestion from repeats of a range test over seeds, with an interval (`suggestion.combine`).

    Args:
        ramps: repeats of one range test.
        rule: None: the most trustworthy one that all repeats allow, and the next one where it says nothing.
    Raises:
        ValueError: no ramp, or no rule of that name.
        TypeError: something else than a list of range tests.
    """
    if isinstance(ramps, RangeTest):
        raise TypeError("suggest() takes a list of range tests, got one RangeTest; pass [ramp], or use ramp.suggest()")
    ramps = list(ramps)
    if not ramps:
        raise ValueError("suggest() needs at least one range test, got none")
    if other := [ramp for ramp in ramps if not isinstance(ramp, RangeTest)]:
        raise TypeError(f"suggest() takes range tests, got a {type(other[0]).__name__} among them")
    seeds = [ramp.settings["seed"] for ramp in ramps if isinstance(ramp.settings.get("seed"), int)]
    return suggest_all(ramps, rule, seeds if len(seeds) == len(ramps) else ())


def _frozen(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape} as lr has, got {array.shape}: NaN where nothing was measured")
    array.setflags(write=False)
    return array


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Fork) and isinstance(b, Fork):
        return all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or bool(a == b)
