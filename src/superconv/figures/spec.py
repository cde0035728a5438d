"""What a picture shows, as plain values: lines with bands, shaded spans, marked positions, panels.

Nothing here draws, and nothing here knows a type of ours: arrays and labels in, a `Figure` out.
The back ends beside this file turn it into an interactive page, a PNG or text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Scale = Literal["linear", "log"]
Style = Literal["solid", "dashed", "dotted", "points", "bars"]


def _floats(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def _encode(thing: object, *names: str) -> None:
    """Make text of attributes such that UTF-8 holds it: what of a path is no UTF-8 becomes "?"."""
    for name in names:
        text = getattr(thing, name)
        if isinstance(text, str):
            object.__setattr__(thing, name, text.encode(errors="replace").decode())


@dataclass(frozen=True)
class Line:
    """One curve. NaN leaves a gap; `lower` and `upper` draw a band around it.

    Args:
        x, y: coordinates, same length.
        name: the legend's entry; lines of one name share colour and entry across panels.
        lower, upper: band edges (a seed interval, say), same length as `x`, or None.
        style: "points" draws markers alone, "bars" vertical bars.
        color: index into the palette, or None to follow the name.
        right: drawn against the panel's right-hand axis.
        hover: one text per point, shown beside its coordinates.
    """

    x: Sequence[float]
    y: Sequence[float]
    name: str = ""
    lower: Sequence[float] | None = None
    upper: Sequence[float] | None = None
    style: Style = "solid"
    color: int | None = None
    right: bool = False
    width: float = 1.8
    opacity: float = 1.0
    hover: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _encode(self, "name")
        for key in ("x", "y", "lower", "upper"):
            values = getattr(self, key)
            if values is not None:
                object.__setattr__(self, key, _floats(values))
                if len(values) != len(self.x):
                    raise ValueError(f"line {self.name!r}: {key} has {len(values)} values, x has {len(self.x)}")
        if self.hover is not None:
            object.__setattr__(self, "hover", tuple(self.hover))
            if len(self.hover) != len(self.x):
                raise ValueError(f"line {self.name!r}: hover has {len(self.hover)} texts, x has {len(self.x)}")


@dataclass(frozen=True)
class Span:
    """A shaded range of x: a suggested LR range, a phase of a schedule."""

    start: float
    stop: float
    label: str = ""

    def __post_init__(self) -> None:
        _encode(self, "label")


@dataclass(frozen=True)
class Mark:
    """A thin labelled line at one x or one y (exactly one of the two)."""

    x: float | None = None
    y: float | None = None
    label: str = ""

    def __post_init__(self) -> None:
        _encode(self, "label")
        if (self.x is None) == (self.y is None):
            raise ValueError(f"mark {self.label!r}: give x or y, got x={self.x}, y={self.y}")


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        x_ticks: where the axis has numbers, such as the lengths that were trained; None: where the back end likes.
        y_ticks: likewise of the left-hand axis; (): nowhere, since y only tells rows apart.
    """

    lines: Sequence[Line]
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    right_label: str = ""
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    y_range: tuple[float, float] | None = None
    spans: Sequence[Span] = ()
    marks: Sequence[Mark] = ()
    y_ticks: Sequence[float] | None = None
    x_ticks: Sequence[float] | None = None

    def __post_init__(self) -> None:
        _encode(self, "title", "x_label", "y_label", "right_label")
        for key in ("lines", "spans", "marks"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        for key in ("x_ticks", "y_ticks"):
            if getattr(self, key) is not None:
                object.__setattr__(self, key, _floats(getattr(self, key)))

    @property
    def labels_at_top(self) -> int:
        """Rows of text that spans and marks write at the top of the panel: it is to be clear of the lines."""
        labels = [*(span.label for span in self.spans), *(mark.label for mark in self.marks if mark.x is not None)]
        return min(3, sum(map(bool, labels)))


@dataclass(frozen=True)
class Figure:
    """Panels under one title, and the ways to look at them.

    Example:
        >>> figure = Figure("loss", [Panel([Line([0, 1, 2], [3.0, 2.0, 1.5], name="train")], x_label="step")])
        >>> figure.panels[0].lines[0].y
        (3.0, 2.0, 1.5)
    """

    title: str
    panels: Sequence[Panel]
    columns: int = 1
    caption: str = field(default="")

    def __post_init__(self) -> None:
        _encode(self, "title", "caption")
        object.__setattr__(self, "panels", tuple(self.panels))

    def show(self) -> None:
        """Open the interactive figure in the browser, or in the notebook that runs this."""
        from . import html

        html.show(self)

    def save(self, path: str | Path) -> Path:
        """Write the figure; the suffix decides: `.html` (opens offline), `.png`, `.svg`, `.pdf` or `.txt`.

        Raises: ValueError: another suffix.
        """
        from . import files

        return files.save(self, Path(path))

    def to_text(self, width: int = 90, height: int = 18) -> str:
        """The figure in characters, for a terminal of `width` columns; `height` rows a panel."""
        from . import terminal

        return terminal.render(self, width, height)

    def _repr_html_(self) -> str:
        from . import html

        return html.fragment(self, with_library=True)
