"""Every setting and version of an experiment's runs: what they share once, what differs by arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .read import Run
from .tables import Table, cell_text

_LEFT_OUT = ("format", "arm", "seed", "hash", "experiment")
_OF_A_RUN = ("started", "command")  # differ between calls without changing a number


def settings_of(runs: Sequence[Run]) -> tuple[Table | None, Table | None]:
    """(shared settings, settings that differ: a row an arm); None where there is nothing.

    A setting that differs between the seeds of one arm shows its values joined; one that only some arms have, all
    with the same value, counts as shared.
    """
    flat = [(run.arm, flat_settings(run.record)) for run in runs if run.record]
    if not flat:
        return None, None
    keys = list(dict.fromkeys(key for _, settings in flat for key in settings))
    values = {key: list(dict.fromkeys(settings[key] for _, settings in flat if key in settings)) for key in keys}
    calls = {key for key in keys if key.split(".")[-1] in _OF_A_RUN}
    shared = []
    for key in keys:
        if len(values[key]) == 1:
            arms = {arm for arm, settings in flat if key in settings}
            some = "" if len(arms) == len({arm for arm, _ in flat}) else f" (of {len(arms)} arms that set it)"
            shared.append((key, values[key][0] + some))
        elif key in calls:
            shared.append((key, f"{values[key][0]} … ({len(values[key])} different)"))
    differing = [key for key in keys if len(values[key]) > 1 and key not in calls]
    rows = []
    for arm in dict.fromkeys(arm for arm, _ in flat):
        mine = [settings for name, settings in flat if name == arm]
        cells = [" | ".join(dict.fromkeys(settings.get(key, "–") for settings in mine)) for key in differing]
        rows.append((arm, *cells))
    return (
        Table("Shared by all runs", ("setting", "value"), tuple(shared)) if shared else None,
        Table("Different between arms", ("arm", *differing), tuple(rows)) if differing else None,
    )


def flat_settings(record: dict[str, Any]) -> dict[str, str]:
    """Dotted keys and texts; a schedule in one text, since its curves are drawn."""
    found: dict[str, str] = {}
    for key, value in record.items():
        if key not in _LEFT_OUT:
            _flatten(key, value, found)
    return found


def _flatten(key: str, value: Any, found: dict[str, str]) -> None:
    name = key.removeprefix("config.").removeprefix("info.")
    if key.endswith("schedule") and isinstance(value, dict):
        found[f"{name}.total_steps"] = cell_text(value.get("total_steps"))
        courses = value.get("curves")
        for curve, course in courses.items() if isinstance(courses, dict) else ():
            found[f"{name}.{curve}"] = _course(course)
    elif isinstance(value, dict):
        for inner, content in value.items():
            _flatten(f"{key}.{inner}", content, found)
    elif isinstance(value, (list, tuple)):
        found[name] = ", ".join(cell_text(item) for item in value)
    else:
        found[name] = cell_text(value)


def _course(course: Any) -> str:
    """A stored curve in a line."""
    if not isinstance(course, dict):
        return cell_text(course)
    return ", ".join(f"{key} {_short(value)}" for key, value in course.items())


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    return cell_text(value)
