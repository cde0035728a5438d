"""Settings of the paper's experiments in tables: what was used, and what differs from what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..paper.claim import Claim
from ..paper.results import plain_setting
from ..paper.setting import Setting
from .tables import Table, cell_text

Settings = Mapping[str, Mapping[str, Any]]  # condition -> setting -> value
Difference = tuple[str, str, str, str]  # setting, conditions, before, after


def papers_settings(claim: Claim) -> dict[str, dict[str, Any]]:
    """The paper's own, of every condition that can be built."""
    return {e.condition: plain_setting(e.setting) for e in claim.experiments if e.setting is not None}


def differences(before: Settings, after: Settings) -> list[Difference]:
    """What differs in the conditions that both have, the conditions of one difference together.

    A setting that one of them does not know had its default there: it is younger than the file.
    """
    both = [condition for condition in after if condition in before]
    defaults = plain_setting(Setting("", 0))
    found: dict[tuple[str, str, str], list[str]] = {}
    for condition in both:
        old, new = {**defaults, **before[condition]}, {**defaults, **after[condition]}
        for key in new:
            if old.get(key) != new[key]:
                found.setdefault((key, _text(old.get(key)), _text(new[key])), []).append(condition)
    return [
        (key, "all" if len(conditions) == len(both) else ", ".join(conditions), old, new)
        for (key, old, new), conditions in sorted(found.items())
    ]


def difference_text(found: list[Difference]) -> str:
    """ "steps 10000 -> 300 (all); ..." """
    return "; ".join(f"{key} {old} -> {new} ({conditions})" for key, conditions, old, new in found)


def used_settings(settings: Settings) -> tuple[Table | None, Table | None]:
    """What all conditions share, and what differs between them."""
    if not settings:
        return None, None
    texts = {condition: {key: _text(value) for key, value in mine.items()} for condition, mine in settings.items()}
    keys = dict.fromkeys(key for mine in texts.values() for key in mine)
    values = {key: {mine.get(key, _text(None)) for mine in texts.values()} for key in keys}
    shared = tuple((key, *values[key]) for key in keys if len(values[key]) == 1)
    differing = [key for key in keys if len(values[key]) > 1]
    rows = tuple((condition, *(mine.get(key) for key in differing)) for condition, mine in texts.items())
    return (
        Table("Shared by all conditions", ("setting", "value"), shared),
        Table("Different between conditions", ("condition", *differing), rows) if differing else None,
    )


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items()) or cell_text(None)
    return cell_text(value)
