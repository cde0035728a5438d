"""Figures in characters: one glyph a line on a plain grid, so that a pipe or a log shows them too.

plotext was tried and left: between 5.3 and 6.1 all of its interface changed, it draws on one figure shared by the whole
process (a copy of it crashes the interpreter), and it cuts a picture to the terminal of the moment.
"""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .palette import index_of_names, ink
from .spec import Figure, Line, Panel

_SHADE, _MARK_X, _MARK_Y = "░", "┊", "┈"
_LEAST_WIDTH, _LEAST_HEIGHT = 30, 5


def render(figure: Figure, width: int = 80, height: int = 18) -> str:
    """The figure as text: panels below each other, no escape codes, every line at most `width` columns.

    Args:
        figure: what to draw; bands are left out.
        width: columns, at least 30.
        height: rows of each panel's drawing area, at least 5.
    Raises: ValueError: less room than that.
    """
    if width < _LEAST_WIDTH or height < _LEAST_HEIGHT:
        raise ValueError(
            f"a figure in text needs width >= {_LEAST_WIDTH} and height >= {_LEAST_HEIGHT}, got {width} x {height}"
        )
    indices = index_of_names(figure)
    parts = textwrap.wrap(figure.title, width)
    for panel in figure.panels:
        parts += ["", *_panel(panel, indices, width, height)]
    if figure.caption:
        parts += ["", *textwrap.wrap(figure.caption, width)]
    return "\n".join(line.rstrip() for line in parts).strip("\n") + "\n"


def columns(limit: int = 100) -> int:
    """Columns of the terminal that is there (80 without one), at most `limit` and never too few to draw."""
    return max(_LEAST_WIDTH, min(limit, shutil.get_terminal_size((80, 24)).columns))


@dataclass(frozen=True)
class _Axis:
    """Maps values to cells 0 .. cells - 1 along one axis."""

    low: float
    high: float
    log: bool
    cells: int

    def cell(self, value: float) -> float | None:
        """Position in cells (not rounded), or None where the axis cannot show the value."""
        if not _shown(value, self.log):
            return None
        return (_forward(value, self.log) - self.low) / (self.high - self.low) * (self.cells - 1)

    def value(self, cell: float) -> float:
        """The value that stands at a cell."""
        position = self.low + (self.high - self.low) * cell / max(1, self.cells - 1)
        return 10.0**position if self.log else position


def _shown(value: float, log: bool) -> bool:
    """Whether an axis can hold the value: a number, positive on a log axis, of less than 100 digits."""
    return 1e-100 < value < 1e100 if log else abs(value) < 1e100  # false for NaN


def _forward(value: float, log: bool) -> float:
    return math.log10(value) if log else value


def _axis(values: Sequence[float], log: bool, cells: int, span: tuple[float, float] | None = None) -> _Axis:
    """An axis that shows all values; a single value gets room on both sides."""
    shown = [_forward(v, log) for v in (span or values) if _shown(v, log)]
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    least = 1.0 if log else 1e-280  # exponents are of the order of one; losses may have any magnitude
    if high - low <= 1e-12 * max(least, abs(low), abs(high)):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return _Axis(low, high, log, cells)


def _panel(panel: Panel, indices: dict[str, int], width: int, height: int) -> list[str]:
    """Title, axes with the drawing, labels and legend of one panel."""
    left = [line for line in panel.lines if not line.right]
    right = [line for line in panel.lines if line.right]
    ground = [0.0] if any(line.style == "bars" for line in left) else []  # bars stand on zero
    y = _axis([*ground, *(v for line in left for v in line.y)], panel.y_scale == "log", height, panel.y_range)
    y_right = _axis([v for line in right for v in line.y], False, height) if right else None
    labels, right_labels = _tick_labels(y, panel.y_ticks), _tick_labels(y_right) if y_right else {}
    gutter = max((len(text) for text in labels.values()), default=0)
    right_gutter = max((len(text) for text in right_labels.values()), default=-1) + 1
    cells = width - gutter - right_gutter - 2
    x = _axis([v for line in panel.lines for v in line.x], panel.x_scale == "log", cells)
    grid = _draw(panel, indices, x, y, y_right)
    rows = textwrap.wrap(panel.title, width)
    rows += _wrapped_sides(panel.y_label, panel.right_label if right else "", width)
    for row in range(height):
        tail = f"│{right_labels.get(row, '')}" if right else ""
        rows.append(f"{labels.get(row, ''):>{gutter}}{'┤' if row in labels else '│'}{''.join(grid[row])}{tail}")
    rows.append(" " * gutter + "└" + "─" * cells + ("┘" if right else ""))
    rows.append(_x_labels(x, gutter + 1, width, panel.x_ticks))
    if panel.x_label:
        rows.append(panel.x_label[:width].center(gutter + 1 + cells)[:width])
    return rows + _joined(_legend(panel, indices), width)


def _joined(entries: Sequence[str], width: int) -> list[str]:
    """Entries side by side, as many as fit a line; one that is too long is cut."""
    rows: list[str] = []
    for entry in (entry if len(entry) <= width else entry[: width - 1] + "…" for entry in entries):
        if rows and len(rows[-1]) + 3 + len(entry) <= width:
            rows[-1] += "   " + entry
        else:
            rows.append(entry)
    return rows


def _wrapped_sides(left: str, right: str, width: int) -> list[str]:
    """The labels of the left and the right axis on one line, or on two where they do not fit."""
    if not left and not right:
        return []
    if len(left) + len(right) + 2 <= width:
        return [left + right.rjust(width - len(left))]
    return [left[:width], right[:width].rjust(width)]


def _draw(panel: Panel, indices: dict[str, int], x: _Axis, y: _Axis, y_right: _Axis | None) -> list[list[str]]:
    """Shades, marks and lines, each over the one before."""
    grid = [[" "] * x.cells for _ in range(y.cells)]
    for span in panel.spans:
        for column in range(x.cells):
            if span.start <= x.value(column) <= span.stop:
                for row in grid:
                    row[column] = _SHADE
    for mark in panel.marks:
        _draw_mark(grid, x.cell(mark.x) if mark.x is not None else None, y.cell(mark.y) if mark.y is not None else None)
    for line in panel.lines:
        glyph = ink(line, indices).glyph
        for column, height in _cells(line, x, y_right if line.right and y_right else y):
            if 0 <= column < x.cells and 0 <= height < y.cells:
                grid[y.cells - 1 - height][column] = glyph
    return grid


def _draw_mark(grid: list[list[str]], column: float | None, height: float | None) -> None:
    if column is not None and 0 <= round(column) < len(grid[0]):
        for row in grid:
            row[round(column)] = _MARK_X
    if height is not None and 0 <= round(height) < len(grid):
        grid[len(grid) - 1 - round(height)] = [_MARK_Y] * len(grid[0])


def _cells(line: Line, x: _Axis, y: _Axis) -> Iterator[tuple[int, int]]:
    """Cells that a line passes: its points, and with a connecting style what lies between neighbours."""
    before: tuple[float, float] | None = None
    for at, value in zip(line.x, line.y, strict=True):
        column, height = x.cell(at), y.cell(value)
        if column is None or height is None:
            before = None
            continue
        if line.style == "bars":
            wide = range(round(column) - 1, round(column) + 2)
            yield from ((across, below) for across in wide for below in range(round(height) + 1))
        elif before is None or line.style == "points":
            yield round(column), round(height)
        else:
            pieces = max(1, math.ceil(max(abs(column - before[0]), abs(height - before[1]))))
            pieces = min(pieces, 4 * (x.cells + y.cells))
            for piece in range(1, pieces + 1):
                part = piece / pieces
                yield round(before[0] + part * (column - before[0])), round(before[1] + part * (height - before[1]))
        before = (column, height)


def _tick_labels(axis: _Axis, values: Sequence[float] | None = None) -> dict[int, str]:
    """Row -> label: at the values; else at powers of ten where a log axis has at least two of them, else evenly."""
    return {axis.cells - 1 - cell: text for cell, text in _ticks(axis, max(3, axis.cells // 3), values).items()}


def _ticks(axis: _Axis, most: int, values: Sequence[float] | None = None) -> dict[int, str]:
    digits = ".4g" if values is None else "g"  # a length that was trained is said in full
    values = _nice_values(axis, most) if values is None else values
    cells = {round(cell): f"{value:{digits}}" for value in values if (cell := axis.cell(value)) is not None}
    return {cell: text for cell, text in cells.items() if 0 <= cell < axis.cells}


def _nice_values(axis: _Axis, most: int) -> list[float]:
    """At most about `most` round values within the axis: powers of ten on a log axis, else steps of 1, 2 or 5."""
    if axis.log and math.floor(axis.high) - math.ceil(axis.low) >= 1:
        exponents = range(math.ceil(axis.low - 1e-9), math.floor(axis.high + 1e-9) + 1)
        return [10.0**power for power in exponents[:: max(1, math.ceil(len(exponents) / most))]]
    low, high = axis.value(0), axis.value(axis.cells - 1)
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    digits = 12 - math.floor(math.log10(step))
    return [round(k * step, digits) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _x_labels(axis: _Axis, offset: int, width: int, values: Sequence[float] | None = None) -> str:
    """The labels below the drawing, each centred under its cell, none over another."""
    row = [" "] * width
    free = 0
    for cell, text in sorted(_ticks(axis, max(3, axis.cells // 10), values).items()):
        start = min(max(0, offset + cell - len(text) // 2), width - len(text))
        if start >= free:
            row[start : start + len(text)] = text
            free = start + len(text) + 1
    return "".join(row)


def _legend(panel: Panel, indices: dict[str, int]) -> list[str]:
    entries = {line.name: f"{ink(line, indices).glyph} {line.name}{' (right)' if line.right else ''}"
               for line in panel.lines if line.name}  # fmt: skip
    spans = [f"{_SHADE} {s.label or 'shaded'} {s.start:.3g} to {s.stop:.3g}" for s in panel.spans]
    marks = [f"{_MARK_X} {m.label}" for m in panel.marks if m.x is not None and m.label]
    marks += [f"{_MARK_Y} {m.label}" for m in panel.marks if m.y is not None and m.label]
    return [*entries.values(), *spans, *marks]
