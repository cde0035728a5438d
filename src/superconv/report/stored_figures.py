"""Figures that an experiment left in its experiment.json, as pictures of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..figures import Figure, Line, Mark, Panel, Span
from .pictures import Picture, slug

SECTION = "Results"


def stored_pictures(info: Mapping[str, Any]) -> list[Picture]:
    """The figures under "figures", each the `dataclasses.asdict` of a Figure; one that is damaged is left out.

    A null number is a gap, as NaN is in a Figure.
    """
    stored = info.get("figures")
    pictures = []
    for entry in stored if isinstance(stored, list) else []:
        try:
            figure = _figure(entry)
        except (TypeError, ValueError, KeyError, AttributeError):
            continue
        if not figure.panels:  # a search that trained nothing, by an earlier version
            continue
        pictures.append(Picture(slug(figure.title), SECTION, figure))
    return pictures


def _figure(entry: Mapping[str, Any]) -> Figure:
    return Figure(**{**entry, "panels": [_panel(panel) for panel in entry["panels"]]})


def _panel(entry: Mapping[str, Any]) -> Panel:
    parts = {
        "lines": [Line(**{key: _values(value) for key, value in line.items()}) for line in entry["lines"]],
        "spans": [Span(**span) for span in entry.get("spans", ())],
        "marks": [Mark(**mark) for mark in entry.get("marks", ())],
    }
    return Panel(**{**entry, **parts})


def _values(value: Any) -> Any:
    return [float("nan") if item is None else item for item in value] if isinstance(value, list) else value
