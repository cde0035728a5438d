"""Figures for the browser: plotly's JavaScript, drawn from plain values and without any request."""

from __future__ import annotations

import hashlib
import html
import json
import re
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from . import plotly_spec
from .spec import Figure

# Draws one figure, and draws it again when the room, the colour scheme or the medium (paper) changes.
_DRAW = """
(function () {
  var box = document.getElementById("@ID@"), spec = @SPEC@, narrow = null;
  function ink() { return getComputedStyle(box).color; }
  function tint(color) {
    var change = {"font.color": color}, soft = color.replace(/^rgb\\((.*)\\)$/, "rgba($1, 0.13)");
    spec.axes.forEach(function (axis) {
      change[axis + ".gridcolor"] = soft; change[axis + ".linecolor"] = color; change[axis + ".tickcolor"] = color;
    });
    return change;
  }
  function arrange() {
    var width = box.clientWidth, now = width < 640;
    if (!width) { return; }
    var change = now === narrow ? {} : Object.assign({}, now ? spec.narrow : spec.wide);
    narrow = now;
    Plotly.relayout(box, Object.assign(change, {width: width}));
  }
  function start() {
    var width = box.clientWidth || 700;
    narrow = width < 640;
    Plotly.newPlot(box, spec.data, Object.assign({}, spec.layout, {width: width}), spec.config).then(function () {
      return Plotly.relayout(box, Object.assign({}, narrow ? spec.narrow : spec.wide, tint(ink())));
    }).then(function () {
      box.setAttribute("data-drawn", "yes");
      new ResizeObserver(arrange).observe(box);
    });
    var dark = window.matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", function () { Plotly.relayout(box, tint(ink())); });
    window.addEventListener("beforeprint", function () { Plotly.relayout(box, tint("rgb(30, 30, 30)")); });
    window.addEventListener("afterprint", function () { Plotly.relayout(box, tint(ink())); });
  }
  start();
})();
"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ font: 15px system-ui, sans-serif; margin: 1.5rem auto;
max-width: 70rem; padding: 0 1rem }}</style></head>
<body>{body}</body></html>
"""


def library() -> str:
    """A script element that holds plotly's JavaScript; a page needs it once, before its figures.

    Raises: ModuleNotFoundError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "interactive figures need plotly, which is not installed: pip install 'superconv[cli]'"
        ) from error
    return f"<script>if (!window.Plotly) {{ (function () {{ {get_plotlyjs()}\n}}).call(window); }}</script>"


def fragment(figure: Figure, with_library: bool = True, *, name: str = "", alt: str = "") -> str:
    """One figure as a piece of a page.

    Args:
        figure: what to draw.
        with_library: carry plotly's JavaScript (about 5 MB) along, so that the piece stands alone offline;
            False where the page has `library()` already.
        name: the drawing's id, which no other of the page may have; by default made of what is drawn.
        alt: a sentence for those who cannot see the picture; by default made of titles and line names.
    Raises: ModuleNotFoundError: plotly is not installed and the library is asked for.
    """
    spec = _script_safe(json.dumps(plotly_spec.build(figure), separators=(",", ":"), allow_nan=False))
    name = name or "figure-" + hashlib.sha256(spec.encode()).hexdigest()[:12]
    script = _DRAW.replace("@ID@", name).replace("@SPEC@", spec)
    height = plotly_spec.height(figure, figure.columns)
    parts = [
        library() if with_library else "",
        '<figure class="superconv-figure" style="margin: 0 0 1.5em">',
        f'<h4 style="margin: 0 0 .2em">{html.escape(figure.title)}</h4>' if figure.title else "",
        f'<div id="{name}" role="figure" aria-label="{html.escape(alt or describe(figure))}" '
        f'style="width: 100%; min-height: {height}px"></div>',
        f"<figcaption>{html.escape(figure.caption)}</figcaption>" if figure.caption else "",
        f"</figure><script>{script}</script>",
    ]
    return "\n".join(part for part in parts if part)


def page(figure: Figure) -> str:
    """The figure as a whole HTML page that opens offline."""
    return _PAGE.format(title=html.escape(figure.title or "figure"), body=fragment(figure, with_library=True))


def show(figure: Figure) -> None:
    """Show the figure in the notebook that runs this, else in the browser from a temporary file.

    Without a browser it prints where that file is.
    """
    ipython = sys.modules.get("IPython")
    shells = () if ipython is None else type(ipython.get_ipython()).__mro__  # hosted notebooks derive their own
    if any(shell.__name__ == "ZMQInteractiveShell" for shell in shells):
        from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

        display(HTML(fragment(figure, with_library=True)))
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False, encoding="utf-8") as file:
        file.write(page(figure))
    if not webbrowser.open(Path(file.name).as_uri()):
        print(f"no browser was found; the figure is in {file.name}")


def describe(figure: Figure) -> str:
    """The figure in a sentence: title, panels, lines and shaded ranges, for readers who do not see it."""
    return ". ".join([re.sub(r"\.$", "", figure.title)] + [_describe_panel(panel) for panel in figure.panels])


def _describe_panel(panel: Any) -> str:
    names = list(dict.fromkeys(line.name for line in panel.lines if line.name))
    spans = [f"{span.label or 'shaded'} from {span.start:.3g} to {span.stop:.3g}" for span in panel.spans]
    axes = f"{panel.y_label or 'value'} against {panel.x_label or 'x'}"
    return f"{panel.title + ': ' if panel.title else ''}{axes} for {', '.join([*names, *spans]) or 'no data'}"


def _script_safe(text: str) -> str:
    """JSON that cannot end the script element it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
