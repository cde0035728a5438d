"""Finding an experiment's learning rates before it is run: a grid of factors, compared on held-out training images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from .claim import Tuning
from .setting import Setting


class Trial(NamedTuple):
    """One training of a search: the setting with its learning rates times the factor."""

    name: str
    setting: Setting
    held_out: float
    factor: float
    seed: int


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Args:
        factor: of the schedule's learning rates.
        trials: factor -> accuracy on the held-out images, one a seed, in their order; chance where a trial diverged.
    """

    factor: float
    trials: Mapping[float, tuple[float, ...]]


Measure = Callable[[Sequence[Trial]], Iterable[tuple[Trial, float]]]


def tune(wanted: Mapping[str, tuple[Setting, Tuning]], measure: Measure) -> dict[str, Tuned]:
    """The best factor of every setting; those whose trials were not all finished are left out.

    Args:
        wanted: name -> (setting, how to search).
        measure: trains trials; yields each that was finished with its accuracy on the held-out images.
    """
    found: dict[str, dict[float, dict[int, float]]] = {name: {} for name in wanted}
    open_ = dict(wanted)
    grids = {name: list(tuning.factors) for name, (_, tuning) in wanted.items()}
    while open_:
        trials = [
            Trial(name, setting.replace(lr_factor=setting.lr_factor * factor), tuning.held_out, factor, seed)
            for name, (setting, tuning) in open_.items()
            for factor in grids[name]
            for seed in tuning.seeds
            if seed not in found[name].get(factor, {})
        ]
        for trial, accuracy in measure(trials):
            found[trial.name].setdefault(trial.factor, {})[trial.seed] = accuracy
        open_ = {name: pair for name, pair in open_.items() if _extended(grids[name], found[name], pair[1])}
    complete = {
        name: {factor: tuple(found[name][factor][seed] for seed in tuning.seeds) for factor in sorted(grids[name])}
        for name, (_, tuning) in wanted.items()
        if all(len(found[name].get(factor, {})) == len(tuning.seeds) for factor in grids[name])
    }
    return {name: Tuned(_best(trials), trials) for name, trials in complete.items()}


def _best(trials: Mapping[float, Sequence[float]]) -> float:
    """The factor with the highest mean; the smaller of two that tie."""
    return max(sorted(trials), key=lambda factor: fmean(trials[factor]))


def _extended(grid: list[float], found: Mapping[float, Mapping[int, float]], tuning: Tuning) -> bool:
    """Add a factor to a grid whose first or last is the best; whether there is one more to try."""
    if any(len(found.get(factor, {})) < len(tuning.seeds) for factor in grid):
        return False  # stopped
    if len(grid) >= len(tuning.factors) + tuning.extensions:
        return False
    best = _best({factor: list(found[factor].values()) for factor in grid})
    ratio = tuning.factors[1] / tuning.factors[0]
    if best == max(grid):
        grid.append(best * ratio)
    elif best == min(grid):
        grid.append(best / ratio)
    else:
        return False
    return True
