"""Runs that share an arm's name but not its settings: told apart, so that they never pass for seeds of one arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..runs.plain import identity
from ..schedules import Schedule
from .groups import VARIANT
from .read import Run
from .settings import flat_settings

_LONGEST = 40  # characters that a label may add to a name
Settings = dict[str, str]


def told_apart(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs; where one arm's name stands for several settings, the name is followed by what differs.

    What was asked (`Run.config`) decides, as it does for the run directory's hash. Different tasks are no variants:
    they are grouped apart anyway. Runs without settings keep their name.

    Example: "one_cycle · peak LR 0.02" and "one_cycle · peak LR 0.5"
    """
    asked = [(identity(run.config), flat_settings({"config": run.config})) if run.config else None for run in runs]
    variants: dict[tuple[str, str, int], dict[str, tuple[Run, Settings]]] = {}
    for run, own in zip(runs, asked, strict=True):
        same = variants.setdefault(_place(run), {})
        if own is not None:
            same.setdefault(own[0], (run, own[1]))  # not by the texts, which are rounded
    found = []
    for run, own in zip(runs, asked, strict=True):
        same = variants[_place(run)]
        if own is not None and len(same) > 1:
            label = dict(zip(same, _labels(list(same.values())), strict=True))[own[0]]
            run = replace(run, arm=f"{run.arm}{VARIANT}{label}")
        found.append(run)
    return tuple(found)


def _place(run: Run) -> tuple[str, str, int]:
    """What must be equal for two runs to be taken for seeds of one arm; a ramp's length is a setting like others."""
    return run.arm, run.task, 0 if run.ramp is not None else run.steps


def _labels(variants: Sequence[tuple[Run, Settings]]) -> list[str]:
    """A label each: the settings that differ, or the folder's hash where those are too many or too long to say."""
    keys = dict.fromkeys(key for _, settings in variants for key in settings)
    differing = [key for key in keys if len({settings.get(key) for _, settings in variants}) > 1]
    labels = [_label(run, settings, differing) for run, settings in variants]
    if len(set(labels)) == len(labels) and all(0 < len(label) <= _LONGEST for label in labels):
        return labels
    return [run.path.name.partition("-")[2] or run.path.name for run, _ in variants]


def _label(run: Run, settings: Settings, differing: Sequence[str]) -> str:
    parts = [f"{key.split('.')[-1]} {settings.get(key, '–')}" for key in differing if not key.startswith("schedule.")]
    if any(key.startswith("schedule.") for key in differing):
        parts.insert(0, f"peak LR {_peak(run):.3g}")
    return ", ".join(parts)


def _peak(run: Run) -> float:
    try:
        return float(Schedule.from_dict(run.schedule or {}).values()["lr"].max())
    except (ValueError, TypeError, KeyError):  # of another version
        return float("nan")
