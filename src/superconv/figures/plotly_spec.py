"""A Figure as the plain values that plotly's JavaScript draws: traces, and a layout for wide and narrow rooms."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from .palette import FEW_POINTS, SHADE, Ink, index_of_names, ink, rgba
from .spec import Figure, Line, Panel, Span

_DASH = {"solid": "solid", "dashed": "dash", "dotted": "dot"}
_PANEL = 300  # pixels a row of panels
_TITLE, _FOOT = 36, 52  # room above a panel for its title, below it for its axis label
_LEGEND_LINE = 22
_LABEL = 15  # of a line of text within a panel
_LETTERS = 44  # of a panel's title on one line
_UNIFIED = 8  # with more lines a box with all of them hides the panel


def build(figure: Figure) -> dict[str, Any]:
    """Traces (`data`), `layout`, and what changes in a `wide` (figure.columns) and a `narrow` (one column) room.

    Coordinates are rounded to six significant digits; what is not finite becomes a gap.
    """
    indices = index_of_names(figure)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = _frame(figure)
    shown: set[str] = set()
    rights = _right_axes(figure)
    for number, panel in enumerate(figure.panels, start=1):
        for line in panel.lines:
            axis = rights[number] if line.right else number
            data.extend(_traces(panel, line, ink(line, indices), number, axis, shown))
        if not panel.lines:
            data.append(_nothing(number))
        layout.update(_axes(panel, number, rights.get(number)))
        layout["annotations"] += list(_annotations(panel, number))
        layout["shapes"] += list(_shapes(panel, number))
    return {
        "data": data,
        "layout": layout,
        "wide": _arrangement(figure, min(figure.columns, len(figure.panels)) or 1),
        "narrow": _arrangement(figure, 1),
        "axes": [key for key in layout if key.startswith(("xaxis", "yaxis"))],
        "config": {"displaylogo": False, "responsive": False, "displayModeBar": "hover", "modeBarButtonsToRemove":
                   ["select2d", "lasso2d", "autoScale2d"]},
    }  # fmt: skip


def height(figure: Figure, columns: int) -> int:
    """Pixels that the figure needs with its panels in so many columns."""
    rows = math.ceil(len(figure.panels) / max(1, columns)) or 1
    return rows * (_PANEL + _TITLE + _FOOT) + _legend_height(figure, columns)


def _names(figure: Figure) -> list[str]:
    return list(dict.fromkeys(line.name for panel in figure.panels for line in panel.lines if line.name))


def _legend_height(figure: Figure, columns: int) -> int:
    """Room for the legend above the panels: an estimate by letters, since plotly gives none before it draws."""
    names = _names(figure)
    if not names:
        return 0
    width = 340 if columns == 1 else 900
    letters = max(len(name) for name in names)
    a_line = max(1, width // (letters * 7 + 55))
    return math.ceil(len(names) / a_line) * _LEGEND_LINE + 10


def _key(kind: str, number: int) -> str:
    return kind if number == 1 else f"{kind}{number}"


def _right_axes(figure: Figure) -> dict[int, int]:
    """Number of the right-hand axis of each panel that has one: after those of the panels."""
    with_right = [n for n, panel in enumerate(figure.panels, 1) if any(line.right for line in panel.lines)]
    return {panel: len(figure.panels) + place for place, panel in enumerate(with_right, 1)}


def _frame(figure: Figure) -> dict[str, Any]:
    most = max((len(panel.lines) for panel in figure.panels), default=0)
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12.5},
        "margin": {"l": 8, "r": 8, "t": 0, "b": 0, "autoexpand": False},
        "hovermode": "x unified" if most <= _UNIFIED else "closest",
        "hoverlabel": {"bgcolor": "rgba(255,255,255,0.96)", "font": {"color": "#1b1b1b", "size": 12}, "namelength": 40},
        "showlegend": bool(_names(figure)),
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top",
                   "bgcolor": "rgba(0,0,0,0)", "itemsizing": "constant"},
        "annotations": [],
        "shapes": [],
    }  # fmt: skip


def _arrangement(figure: Figure, columns: int) -> dict[str, Any]:
    """Flat layout keys that place the panels in a grid of so many columns."""
    total = height(figure, columns)
    left, right, gap = 58, 14, 66
    if _right_axes(figure):
        right, gap = 56, 118
    width = 360 if columns == 1 else 980
    change: dict[str, Any] = {"height": total, "margin.l": 0, "margin.r": 0, "margin.t": 0, "margin.b": 0}
    top = _legend_height(figure, columns)
    panel_width = (width - left - right - gap * (columns - 1)) / columns
    for place in range(len(figure.panels)):
        row, column = divmod(place, columns)
        start = left + column * (panel_width + gap)
        upper = top + row * (_PANEL + _TITLE + _FOOT) + _TITLE
        x, y = _key("xaxis", place + 1), _key("yaxis", place + 1)
        change[f"{x}.domain"] = [round(start / width, 4), round((start + panel_width) / width, 4)]
        change[f"{y}.domain"] = [round(max(0.0, 1 - (upper + _PANEL) / total), 4), round(1 - upper / total, 4)]
    return change


def _axes(panel: Panel, number: int, right: int | None) -> dict[str, Any]:
    """The axes of one panel; the right-hand one lies over the left."""
    common = {"showline": True, "ticks": "outside", "ticklen": 4, "zeroline": False, "automargin": False}
    x, y = _key("x", number), _key("y", number)
    xs = [v for line in panel.lines for v in line.x]
    ys = [v for line in panel.lines if not line.right for v in line.y]
    axes: dict[str, Any] = {
        _key("xaxis", number): {
            **common, **_scale(panel.x_scale, xs), "anchor": y, "hoverformat": ".4~g",
            "title": {"text": _text(panel.x_label), "standoff": 6}, "showspikes": True, "spikethickness": 1,
            "unifiedhovertitle": {"text": f"{_text(panel.x_label) or 'x'} %{{x}}"},
        },
        _key("yaxis", number): {
            **common, **_scale(panel.y_scale, ys), "anchor": x, "hoverformat": ".4~g",
            "title": {"text": _text(panel.y_label), "standoff": 4},
        },
    }  # fmt: skip
    if panel.y_range is not None:
        low, high = panel.y_range
        if panel.y_scale == "log":
            low, high = math.log10(low), math.log10(high)
        axes[_key("yaxis", number)]["range"] = [low, high]
    else:
        axes[_key("yaxis", number)] |= _range(panel)
    for key, ticks in (("xaxis", panel.x_ticks), ("yaxis", panel.y_ticks)):
        if ticks is not None:
            axes[_key(key, number)] |= {"tickmode": "array", "tickvals": list(ticks)}
    if right is not None:
        axes[_key("yaxis", right)] = {
            **common, "overlaying": y, "side": "right", "anchor": x, "showgrid": False, "hoverformat": ".4~g",
            "title": {"text": _text(panel.right_label), "standoff": 4}, "tickmode": "auto", "nticks": 8,
        }  # fmt: skip
    return axes


def _scale(scale: str, values: Sequence[float]) -> dict[str, Any]:
    """Kind of axis and its labels: plain numbers, at 1, 2 and 5 where a log axis shows less than two decades."""
    if scale == "linear":
        return {"type": "linear"}
    shown = [v for v in values if math.isfinite(v) and v > 0]
    short = bool(shown) and max(shown) < 100 * min(shown)
    return {"type": "log", "tickformat": "~g", "dtick": "D2" if short else 1}


def _range(panel: Panel) -> dict[str, Any]:
    """Of the left-hand linear axis where plotly's own would be worse; else nothing.

    Flat curves lie in the middle of a tenth of their value (plotly: of 1, whatever they are), and the labels at the top
    have room of their own.
    """
    lines = [line for line in panel.lines if not line.right]
    if panel.y_scale == "log" or any(line.style == "bars" for line in lines):
        return {}
    values = [v for line in lines for v in (*line.y, *(line.lower or ()), *(line.upper or ()))]
    values = [v for v in (*values, *(m.y for m in panel.marks if m.y is not None)) if math.isfinite(v)]
    if not values:
        return {}
    low, high = min(values), max(values)
    flat = high - low <= 1e-9 * max(abs(low), abs(high))
    if flat:
        half = 0.1 * max(abs(low), abs(high)) or 0.1
        low, high = low - half, high + half
    if not flat and not panel.labels_at_top:
        return {}
    room = 0.0 if flat else 0.06 * (high - low)
    above = _LABEL * panel.labels_at_top / _PANEL * (high - low)
    return {"range": [low - room, high + room + 1.2 * above]}


def _traces(panel: Panel, line: Line, look: Ink, number: int, axis: int, shown: set[str]) -> Iterator[dict[str, Any]]:
    """A band where the line has one, then the line; the legend lists a name once."""
    place = {"xaxis": _key("x", number), "yaxis": _key("y", axis), "legendgroup": line.name or None}
    if line.lower is not None and line.upper is not None:
        x, y = _outline(line, panel)
        yield {**place, "type": "scatter", "mode": "lines", "x": x, "y": y, "fill": "toself", "hoverinfo": "skip",
               "fillcolor": rgba(look.color, 0.18), "line": {"width": 0, "color": look.color},
               "showlegend": False}  # fmt: skip
    trace = {
        **place, "name": _text(line.name), "x": _numbers(line.x), "y": _numbers(line.y), "opacity": line.opacity,
        "showlegend": bool(line.name) and line.name not in shown, **_marking(line, look), **_hover(panel, line),
    }  # fmt: skip
    shown.add(line.name)
    yield trace


def _nothing(number: int) -> dict[str, Any]:
    """An unseen point: plotly draws no axes without one, and then puts the panel's title somewhere else."""
    place = {"xaxis": _key("x", number), "yaxis": _key("y", number)}
    return {**place, "type": "scatter", "x": [None], "y": [None], "showlegend": False, "hoverinfo": "skip"}


def _marking(line: Line, look: Ink) -> dict[str, Any]:
    if line.style == "bars":
        return {"type": "bar", "marker": {"color": look.color}}
    if line.style == "points":
        size = max(5.0, 3.5 * line.width)
        return {"type": "scatter", "mode": "markers", "marker": {"color": look.color, "size": size}}
    return {
        "type": "scatter", "mode": "lines+markers" if len(line.x) <= FEW_POINTS else "lines", "connectgaps": False,
        "line": {"color": look.color, "width": line.width, "dash": _DASH[look.dash]},
        "marker": {"color": look.color, "size": 5},
    }  # fmt: skip


def _hover(panel: Panel, line: Line) -> dict[str, Any]:
    """Where the pointer is: x by its label (a learning rate, say), y, and the point's own text."""
    hover: dict[str, Any] = {
        "hovertemplate": f"%{{y:.4~g}}{'  %{text}' if line.hover else ''}<extra>{_text(line.name)}</extra>"
    }
    if line.hover is not None:
        hover["text"] = [_text(text) for text in line.hover]
        if line.style == "bars":
            hover["textposition"] = "none"
    if len(panel.lines) > _UNIFIED:
        hover["hovertemplate"] = f"{_text(panel.x_label) or 'x'} %{{x:.4~g}}<br>" + hover["hovertemplate"]
    return hover


def _outline(line: Line, panel: Panel) -> tuple[list[float | None], list[float | None]]:
    """The band as closed shapes, one per stretch without gaps, cut where a log axis has no room."""
    x: list[float | None] = []
    y: list[float | None] = []
    if line.lower is None or line.upper is None:
        return x, y
    floor = min((v for v in line.y if v > 0), default=1.0) / 10 if panel.y_scale == "log" else -math.inf
    stretch: list[tuple[float, float, float]] = []
    for point in [*zip(line.x, line.lower, line.upper, strict=True), (math.nan,) * 3]:
        if all(math.isfinite(v) for v in point):
            stretch.append((point[0], max(point[1], floor), max(point[2], floor)))
        elif stretch:
            x += [*_numbers([p[0] for p in stretch]), *_numbers([p[0] for p in reversed(stretch)]), None]
            y += [*_numbers([p[2] for p in stretch]), *_numbers([p[1] for p in reversed(stretch)]), None]
            stretch = []
    return x[:-1], y[:-1]


def _annotations(panel: Panel, number: int) -> Iterator[dict[str, Any]]:
    """The panel's title above it; labels of spans and marks inside."""
    x, y = _key("x", number), _key("y", number)
    quiet = {"showarrow": False, "font": {"size": 11.5}}
    if panel.title:
        yield {"text": f"<b>{_two_lines(panel.title)}</b>", "showarrow": False, "font": {"size": 13}, "align": "left",
               "xref": f"{x} domain", "yref": f"{y} domain", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom",
               "yshift": 8}  # fmt: skip
    if not panel.lines:
        yield {**quiet, "text": "nothing to show", "xref": f"{x} domain", "yref": f"{y} domain", "x": 0.5, "y": 0.5}
    labels = [(s, s.label) for s in panel.spans] + [(m, m.label) for m in panel.marks if m.x is not None]
    for place, (item, label) in enumerate((i, label) for i, label in labels if label):
        at = _middle(item, panel) if isinstance(item, Span) else item.x
        assert at is not None
        yield {**quiet, "text": _text(label), "xref": x, "yref": f"{y} domain", "x": _position(at, panel.x_scale),
               "y": 1, "yanchor": "top", "yshift": -2 - _LABEL * (place % 3),
               "xanchor": "center" if isinstance(item, Span) else "left"}  # fmt: skip
    for mark in panel.marks:
        if mark.y is not None and mark.label:
            yield {**quiet, "text": _text(mark.label), "xref": f"{x} domain", "yref": y, "x": 1, "xanchor": "right",
                   "y": _position(mark.y, panel.y_scale), "yanchor": "bottom"}  # fmt: skip


def _shapes(panel: Panel, number: int) -> Iterator[dict[str, Any]]:
    """Shaded spans below the lines; marks as thin dotted lines."""
    x, y = _key("x", number), _key("y", number)
    for span in panel.spans:
        yield {"type": "rect", "layer": "below", "xref": x, "yref": f"{y} domain", "x0": span.start, "x1": span.stop,
               "y0": 0, "y1": 1, "fillcolor": rgba(SHADE, 0.2), "line": {"width": 0}}  # fmt: skip
    for mark in panel.marks:
        line = {"type": "line", "line": {"color": SHADE, "width": 1.2, "dash": "dot"}}
        if mark.x is not None:
            yield {**line, "xref": x, "yref": f"{y} domain", "x0": mark.x, "x1": mark.x, "y0": 0, "y1": 1}
        else:
            yield {**line, "xref": f"{x} domain", "yref": y, "x0": 0, "x1": 1, "y0": mark.y, "y1": mark.y}


def _middle(span: Span, panel: Panel) -> float:
    if panel.x_scale == "log" and span.start > 0:
        return math.sqrt(span.start * span.stop)
    return (span.start + span.stop) / 2


def _position(value: float, scale: str) -> float:
    """Where an annotation stands: plotly wants the exponent on a log axis (and plain values for shapes)."""
    return math.log10(value) if scale == "log" and value > 0 else value


def _numbers(values: Sequence[float]) -> list[float | None]:
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _two_lines(title: str) -> str:
    """A panel's title in the room that it has: two lines, then an ellipsis."""
    lines = textwrap.wrap(title, _LETTERS, max_lines=2, placeholder=" …")
    return "<br>".join(_text(line) for line in lines)


def _text(text: str) -> str:
    """Plotly reads a little HTML in its texts; names are shown as they are."""
    return html.escape(text, quote=False).replace("$", "&#36;")  # two of them would ask for MathJax
