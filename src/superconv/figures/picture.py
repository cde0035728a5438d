"""Figures as still pictures by matplotlib, which is asked for no window and left as it was found."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from .palette import FEW_POINTS, SHADE, index_of_names, ink
from .spec import Figure, Line, Panel

_DASH = {"solid": "-", "dashed": "--", "dotted": ":"}
_TEXT = "#262626"
_WIDTHS = {1: 7.4, 2: 10.6, 3: 13.6}  # inches, by columns of panels
_PANEL_HEIGHT = 3.1
_LABEL = 0.065  # height of a line of text within a panel, of the panel's
_STYLE: dict[Any, Any] = {
    "font.size": 10.0,
    "font.family": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": _TEXT,
    "text.color": _TEXT,
    "text.usetex": False,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": _TEXT,
    "ytick.labelcolor": _TEXT,
    "svg.hashsalt": "superconv",  # the same figure gives the same bytes
    "svg.fonttype": "path",
}


def check_installed() -> None:
    """Say what is lacking. Raises: ModuleNotFoundError: matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pictures need matplotlib, which is not installed: pip install 'superconv[demo]'"
        ) from error


def draw(figure: Figure, file_format: str, dpi: int = 150) -> bytes:
    """The figure as the bytes of a "png", "svg" or "pdf" file.

    Neither `matplotlib.pyplot` nor a window is used; settings are changed for the time of this call only.

    Raises: ModuleNotFoundError: matplotlib is not installed.
    """
    check_installed()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    columns = max(1, min(figure.columns, len(figure.panels)))
    rows = max(1, math.ceil(len(figure.panels) / columns))
    width = _WIDTHS.get(columns, 4.4 * columns)
    with matplotlib.rc_context(_STYLE):
        canvas = Canvas(figsize=(width, rows * _PANEL_HEIGHT))
        FigureCanvasAgg(canvas)
        _fill(canvas, figure, rows, columns)
        buffer = io.BytesIO()
        dates: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        canvas.savefig(buffer, format=file_format, dpi=dpi, facecolor="white", metadata=dates.get(file_format))
    return buffer.getvalue()


def _fill(canvas: Any, figure: Figure, rows: int, columns: int) -> None:
    """All panels; above them title and legend of the whole, below them the caption, each in room of its own."""
    indices = index_of_names(figure)
    entries: dict[str, Any] = {}
    for place, panel in enumerate(figure.panels):
        _panel(canvas.add_subplot(rows, columns, place + 1), panel, indices, entries)
    width, panels = canvas.get_size_inches()
    title = textwrap.wrap(figure.title, int(width * 10))
    caption = textwrap.wrap(figure.caption, int(width * 15))
    across = _entries_across(entries, width)
    above = 0.08 + 0.24 * len(title)
    legend = 0.21 * math.ceil(len(entries) / across)
    below = 0.06 + 0.17 * len(caption)
    height = panels + above + legend + below
    canvas.set_size_inches(width, height)
    rect = (0.0, below / height, 1.0, panels / height)
    canvas.set_layout_engine("constrained", rect=rect, w_pad=0.08, h_pad=0.06, wspace=0.03, hspace=0.03)
    left = 0.1 / width
    texts = [
        canvas.text(left, 1 - 0.1 / height, "\n".join(title), va="top", fontsize=12, weight="bold"),
        canvas.text(left, 0.06 / height, "\n".join(caption), va="bottom", fontsize=8.5, color="#555555"),
    ]
    if entries:
        anchor = {"loc": "upper left", "bbox_to_anchor": (left, 1 - above / height), "borderaxespad": 0.0}
        look = {"frameon": False, "fontsize": 9, "ncols": across, "borderpad": 0.2, "columnspacing": 1.4}
        texts.append(canvas.legend(entries.values(), entries.keys(), **anchor, **look))
    for text in texts:
        text.set_in_layout(False)


def _entries_across(entries: dict[str, Any], width: float) -> int:
    """How many legend entries fit beside each other, by their letters."""
    letters = max((len(name) for name in entries), default=1)
    return max(1, min(len(entries), int(width / (0.075 * letters + 0.62))))


def _panel(axes: Any, panel: Panel, indices: dict[str, int], entries: dict[str, Any]) -> None:
    right = axes.twinx() if any(line.right for line in panel.lines) else None
    _scales(axes, panel)
    axes.grid(True, color="#d9d9d9", linewidth=0.6)
    axes.set_axisbelow(True)
    for line in panel.lines:
        target = right if line.right and right is not None else axes
        artist = _line(target, line, indices, panel)
        if line.name and artist is not None:
            entries.setdefault(line.name, artist)
    axes.set_xlabel(panel.x_label)
    axes.set_ylabel(panel.y_label)
    if panel.title:
        axes.set_title(panel.title, loc="left", fontsize=10.5, weight="bold")
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    elif panel.y_scale == "linear" and panel.lines:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 1.2 * _LABEL * panel.labels_at_top * (high - low))
    if panel.x_ticks is not None:
        axes.set_xticks(list(panel.x_ticks))
        axes.set_xticks([], minor=True)
    if panel.y_ticks is not None:
        axes.set_yticks(list(panel.y_ticks))
    if right is not None:
        right.set_ylabel(panel.right_label)
        right.spines["right"].set_visible(True)
    _notes(axes, panel)


def _scales(axes: Any, panel: Panel) -> None:
    """Linear or log axes; log ones labelled in plain numbers, at 1, 2 and 5 where they span less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale(panel.x_scale)
    axes.set_yscale(panel.y_scale)
    xs = [v for line in panel.lines for v in line.x]
    ys = [v for line in panel.lines if not line.right for v in line.y]
    for axis, scale, values in ((axes.xaxis, panel.x_scale, xs), (axes.yaxis, panel.y_scale, ys)):
        if scale == "log":
            shown = [v for v in values if math.isfinite(v) and v > 0]
            short = bool(shown) and max(shown) < 100 * min(shown)
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def _line(axes: Any, line: Line, indices: dict[str, int], panel: Panel) -> Any:
    """One curve and its band; returns what the legend shows."""
    look = ink(line, indices)
    common = {"color": look.color, "alpha": line.opacity}
    if line.lower is not None and line.upper is not None:
        lower, upper = _clipped(line.lower, line, panel), _clipped(line.upper, line, panel)
        axes.fill_between(line.x, lower, upper, color=look.color, alpha=0.18, linewidth=0)
    if line.style == "bars":
        return axes.bar(line.x, line.y, width=_bar_width(line.x), **common)
    if line.style == "points" or len(line.x) == 1:
        return axes.plot(line.x, line.y, "o", markersize=2 + 1.6 * line.width, markeredgewidth=0, **common)[0]
    marker = {"marker": "o", "markersize": 3.5} if len(line.x) <= FEW_POINTS else {}
    return axes.plot(line.x, line.y, _DASH[look.dash], linewidth=line.width, **marker, **common)[0]


def _bar_width(x: Sequence[float]) -> float:
    places = sorted(set(x))
    return 0.8 * min((b - a for a, b in itertools.pairwise(places)), default=1.0)


def _clipped(edge: Sequence[float], line: Line, panel: Panel) -> list[float]:
    """A band's edge that a log axis can show: not below a tenth of the smallest positive value."""
    if panel.y_scale != "log":
        return list(edge)
    floor = min((v for v in line.y if v > 0), default=1.0) / 10
    return [v if math.isnan(v) else max(v, floor) for v in edge]


def _notes(axes: Any, panel: Panel) -> None:
    """Shaded spans and thin marks, their labels at the top inside of the panel."""
    top = axes.get_xaxis_transform()
    small: dict[str, Any] = {"fontsize": 8.5, "va": "top", "color": "#444444"}
    for span in panel.spans:
        axes.axvspan(span.start, span.stop, color=SHADE, alpha=0.18, linewidth=0)
    for mark in panel.marks:
        style = {"color": SHADE, "linewidth": 1.0, "linestyle": ":"}
        if mark.x is not None:
            axes.axvline(mark.x, **style)
        else:
            axes.axhline(mark.y, **style)
            place = {**small, "va": "bottom", "ha": "right", "transform": axes.get_yaxis_transform()}
            axes.text(0.995, mark.y, mark.label, **place)
    places = [((s.start * s.stop) ** 0.5 if panel.x_scale == "log" and s.start > 0 else (s.start + s.stop) / 2,
               s.label, "center") for s in panel.spans if s.label]  # fmt: skip
    places += [(m.x, " " + m.label, "left") for m in panel.marks if m.x is not None and m.label]
    for row, (x, label, side) in enumerate(places):
        axes.text(x, 0.985 - _LABEL * (row % 3), label, transform=top, ha=side, **small)
