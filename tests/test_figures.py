"""Figures: the spec, and its back ends for the browser, for pictures and for terminals."""

from __future__ import annotations

import builtins
import json
import math
import os
import re
import resource
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superconv.figures import Figure, Line, Mark, Panel, Span, html, palette, picture, plotly_spec, terminal

NAN = math.nan


def ramp_figure() -> Figure:
    lr = [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]
    loss = Line(lr, [2.3, 2.2, 1.0, 0.4, 0.3, 9.0], "training loss", hover=["a", "b", "c", "d", "e", "f"])
    accuracy = Line(lr, [0.1, NAN, 0.7, NAN, 0.9, 0.1], "accuracy", style="points", right=True)
    panel = Panel(
        [loss, accuracy], "ramp", "learning rate", "loss (nats)", "accuracy", x_scale="log",
        spans=[Span(0.03, 0.3, "suggested")], marks=[Mark(x=0.3, label="max_lr 0.3"), Mark(y=2.3, label="start")],
    )  # fmt: skip
    return Figure("Range test", [panel], caption="one seed")


def arms_figure(names: tuple[str, ...] = ("one_cycle", "constant"), y_scale: str = "linear") -> Figure:
    lines = [
        Line([0, 1, 2, 3], [2.0, 1.0, NAN, 0.5], name, lower=[1.9, 0.8, NAN, 0.0], upper=[2.1, 1.2, NAN, 0.7])
        for name in names
    ]
    panels = [Panel(lines, title=title, x_label="step", y_scale=y_scale) for title in ("loss", "again", "third")]
    return Figure("Arms", panels, columns=2)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


# ---- oracle: plotly's own validation of every trace and layout key ---------------------------------------------------


@pytest.mark.parametrize("figure", [ramp_figure(), arms_figure(), arms_figure(y_scale="log"), Figure("none", [])])
def test_plotly_accepts_every_key(figure):
    go = pytest.importorskip("plotly.graph_objects")
    spec = plotly_spec.build(figure)
    drawn = go.Figure(data=spec["data"], layout=spec["layout"])
    for arrangement in ("wide", "narrow"):
        drawn.update_layout({key.replace(".", "_"): value for key, value in spec[arrangement].items()})
    json.dumps(spec, allow_nan=False)


def test_a_name_has_one_colour_and_one_legend_entry_in_all_panels():
    traces = [t for t in plotly_spec.build(arms_figure())["data"] if "name" in t]
    colors = {t["name"]: {u["line"]["color"] for u in traces if u["name"] == t["name"]} for t in traces}
    assert {name: len(found) for name, found in colors.items()} == {"one_cycle": 1, "constant": 1}
    assert colors["one_cycle"] != colors["constant"]
    assert [t["name"] for t in traces if t["showlegend"]] == ["one_cycle", "constant"]


def test_band_is_a_closed_shape_per_stretch_and_toggles_with_its_line():
    band, line = plotly_spec.build(arms_figure(("a",)))["data"][:2]
    assert band["legendgroup"] == line["legendgroup"] == "a"
    assert band["x"] == [0.0, 1.0, 1.0, 0.0, None, 3.0, 3.0]
    assert band["y"] == [2.1, 1.2, 0.8, 1.9, None, 0.7, 0.0]


def test_band_on_a_log_axis_stays_positive():
    band = plotly_spec.build(arms_figure(("a",), y_scale="log"))["data"][0]
    assert min(y for y in band["y"] if y is not None) == pytest.approx(0.05)


def test_right_axis_log_axis_span_and_marks_reach_plotly():
    spec = plotly_spec.build(ramp_figure())
    layout = spec["layout"]
    assert layout["xaxis"]["type"] == "log"
    assert layout["yaxis2"]["overlaying"] == "y"
    assert spec["data"][1]["yaxis"] == "y2"
    rectangle = next(shape for shape in layout["shapes"] if shape["type"] == "rect")
    assert (rectangle["x0"], rectangle["x1"]) == (0.03, 0.3)
    suggested = next(a for a in layout["annotations"] if a["text"] == "suggested")
    assert suggested["x"] == pytest.approx(math.log10(math.sqrt(0.03 * 0.3)))
    assert spec["data"][0]["text"] == list("abcdef")
    assert layout["xaxis"]["hoverformat"] == ".4~g"


def test_a_panel_without_lines_has_axes_and_says_so():
    full = Panel([Line([0, 1], [0, 1], "a")], "full")
    spec = plotly_spec.build(Figure("", [full, Panel([], "empty")], columns=2))
    assert {trace["xaxis"] for trace in spec["data"]} == {"x", "x2"}  # else plotly misplaces the title
    notes = [note["text"] for note in spec["layout"]["annotations"] if note["xref"] == "x2 domain"]
    assert notes == ["<b>empty</b>", "nothing to show"]


def test_log_y_range_is_given_in_exponents():
    panel = Panel([Line([1, 2], [1, 10])], y_scale="log", y_range=(0.1, 100))
    assert plotly_spec.build(Figure("", [panel]))["layout"]["yaxis"]["range"] == [-1.0, 2.0]


@given(panels=st.integers(1, 9), columns=st.integers(1, 4))
def test_panels_never_overlap_and_stay_inside(panels, columns):
    figure = Figure("", [Panel([Line([0], [0], "a")])] * panels, columns=columns)
    spec = plotly_spec.build(figure)
    for arrangement in (spec["wide"], spec["narrow"]):
        boxes = []
        for n in range(1, panels + 1):
            key = "" if n == 1 else str(n)
            boxes.append((*arrangement[f"xaxis{key}.domain"], *arrangement[f"yaxis{key}.domain"]))
        for left, right, low, high in boxes:
            assert 0 <= left < right <= 1
            assert 0 <= low < high <= 1
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert a[1] < b[0] or b[1] < a[0] or a[3] < b[2] or b[3] < a[2]


# ---- pages ---------------------------------------------------------------------------------------------------------


def test_page_holds_the_library_once_and_asks_for_nothing():
    page = html.page(ramp_figure())
    assert page.count("plotly.js v") == 1
    for tag, attributes in Tags(page).tags:
        assert "src" not in attributes, tag
        assert "href" not in attributes, tag
    assert len(html.fragment(ramp_figure(), with_library=False)) < 20_000
    assert "plotly.js v" in ramp_figure()._repr_html_()


def test_names_cannot_break_out_of_the_page():
    evil = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
    figure = Figure(evil, [Panel([Line([1], [1], evil)], title=evil, x_label=evil)], caption=evil)
    fragment = html.fragment(figure, with_library=False)
    assert [tag for tag, _ in Tags(fragment).tags] == ["figure", "h4", "div", "figcaption", "script"]
    assert fragment.count("<script") == 1
    spec = plotly_spec.build(figure)
    assert spec["data"][0]["name"].startswith("&lt;/script&gt;")


def test_fragment_describes_itself_for_those_who_do_not_see_it():
    label = next(a["aria-label"] for _, a in Tags(html.fragment(ramp_figure(), with_library=False)).tags if "id" in a)
    for word in ("Range test", "learning rate", "training loss", "suggested from 0.03 to 0.3"):
        assert word in label


def test_show_opens_a_whole_page(monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ramp_figure().show()
    (file,) = tmp_path.iterdir()
    assert opened == [file.as_uri()]
    assert file.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("there", [True, False])
def test_show_without_a_browser_says_where_the_page_is(monkeypatch, tmp_path, capsys, there):
    monkeypatch.setattr("webbrowser.open", lambda _: there)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ramp_figure().show()
    (file,) = tmp_path.iterdir()
    assert capsys.readouterr().out == ("" if there else f"no browser was found; the figure is in {file}\n")


# ---- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_pictures_are_drawn_and_the_same_twice(tmp_path, suffix, start):
    pytest.importorskip("matplotlib")
    first = ramp_figure().save(tmp_path / "deep" / f"a{suffix}").read_bytes()
    assert first.startswith(start)
    assert ramp_figure().save(tmp_path / f"b{suffix}").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"b{suffix}", "deep"]


def test_picture_shows_bands_bars_dollars_and_log_axes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    bars = Panel([Line([1, 2], [3, 4], "b", style="bars")], "bars")
    figure = Figure("cost $5 and $6", [*arms_figure(("a $x", "b_1"), "log").panels, bars], columns=2, caption="c " * 99)
    figure.save(tmp_path / "a.png")
    with image.open(tmp_path / "a.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
        assert picture.width > 1000
    for name in palette.COLORS[:2]:
        assert tuple(int(name[k : k + 2], 16) for k in (1, 3, 5)) in colors


def test_matplotlib_is_left_as_it_was():
    pytest.importorskip("matplotlib")
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
from superconv.figures import Figure, Line, Panel
from superconv.figures.picture import draw
draw(Figure("t", [Panel([Line([1, 2], [1, 2], "a")])]), "png")
assert "matplotlib.pyplot" not in sys.modules
assert {k: dict.get(before, k) for k in before} == {k: dict.get(matplotlib.rcParams, k) for k in before}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_html_and_text_files(tmp_path):
    assert ramp_figure().save(tmp_path / "a.html").read_text().count("<figure") == 1
    assert ramp_figure().save(str(tmp_path / "a.TXT")).read_text() == ramp_figure().to_text(90, 18)


def test_unknown_suffix_names_those_that_work(tmp_path):
    with pytest.raises(ValueError, match=r"suffix must be one of .html, .png, .svg, .pdf, .txt, got '.jpg'"):
        ramp_figure().save(tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "a.txt"
    target.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        ramp_figure().save(target)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_a_full_disk_is_said_with_the_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # what a full disk is like, without one
    try:
        with pytest.raises(OSError, match="too large") as refused:
            ramp_figure().save(tmp_path / "a.txt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.value.filename == str(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".html", ".png", ".svg", ".pdf", ".txt"])
def test_what_of_a_path_is_no_utf8_is_a_question_mark(suffix, tmp_path):
    odd = os.fsdecode(b"folder:p\xe9x")
    marks = [Mark(x=1, label=odd), Mark(y=1, label=odd)]
    panel = Panel([Line([0, 1], [1, 2], odd)], odd, odd, odd, odd, spans=[Span(0, 1, odd)], marks=marks)
    figure = Figure(odd, [panel], caption=odd)
    assert figure.title == panel.x_label == panel.lines[0].name == "folder:p?x"
    assert figure.save(tmp_path / f"figure{suffix}").stat().st_size > 100


@pytest.mark.parametrize(("package", "suffix", "extra"), [("plotly", ".html", "cli"), ("matplotlib", ".png", "demo")])
def test_a_missing_package_says_what_to_install(monkeypatch, tmp_path, package, suffix, extra):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"pip install 'superconv[{extra}]'")):
        ramp_figure().save(tmp_path / f"a{suffix}")


def test_importing_figures_imports_no_back_end():
    code = "import sys, superconv.figures; print([m for m in sys.modules if m in ('torch', 'plotly', 'matplotlib')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---- text ----------------------------------------------------------------------------------------------------------


def test_text_shows_lines_span_marks_both_axes_and_legend():
    text = ramp_figure().to_text(80, 12)
    rows = text.splitlines()
    assert max(map(len, rows)) <= 80
    for word in ("Range test", "learning rate", "accuracy", "• training loss", "× accuracy (right)", "one seed",
                 "░ suggested 0.03 to 0.3", "┊ max_lr 0.3", "0.0001", "10"):  # fmt: skip
        assert word in text
    assert "\x1b" not in text


def test_text_puts_points_where_they_belong():
    text = Figure("", [Panel([Line([0, 1], [0, 1], "up", style="points")])]).to_text(40, 5)
    drawing = [row.split("│", 1)[-1].split("┤", 1)[-1] for row in text.splitlines()[:5]]
    width = len(drawing[0])
    assert [row.find("•") for row in drawing] == [width - 1, -1, -1, -1, 0]


def test_text_log_axis_spaces_decades_evenly():
    text = Figure("", [Panel([Line([1, 10, 100], [1, 1, 2], "p", style="points")], x_scale="log")]).to_text(44, 5)
    low = next(row for row in text.splitlines()[::-1] if "•" in row and "p" not in row)
    first, second = (m.start() for m in re.finditer("•", low))
    high = next(row for row in text.splitlines() if "•" in row).index("•")
    assert abs((second - first) - (high - second)) <= 1


@settings(max_examples=60)
@given(
    y=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=12),
    log=st.booleans(),
    width=st.integers(30, 100),
    style=st.sampled_from(["solid", "points", "bars"]),
)
def test_text_never_fails_and_never_overflows(y, log, width, style):
    scale = "log" if log else "linear"
    line = Line(list(range(len(y))), y, "a name that is longer than some terminals are wide", style=style)
    panel = Panel([line], "t " * 40, "x " * 60, "y " * 60, y_scale=scale, x_scale=scale)
    assert max(map(len, Figure("f " * 60, [panel], caption="c " * 60).to_text(width, 6).splitlines())) <= width


def test_text_refuses_too_little_room():
    with pytest.raises(ValueError, match="width >= 30 and height >= 5, got 10 x 18"):
        ramp_figure().to_text(10)


def test_columns_follow_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    assert terminal.columns() == 72
    monkeypatch.setenv("COLUMNS", "300")
    assert terminal.columns() == 100


# ---- palette ---------------------------------------------------------------------------------------------------------


def test_names_beyond_the_palette_differ_by_dash():
    names = [f"arm {k}" for k in range(20)]
    figure = Figure("", [Panel([Line([0], [0], name) for name in names])])
    indices = palette.index_of_names(figure)
    looks = {(ink.color, ink.dash) for ink in (palette.ink(line, indices) for line in figure.panels[0].lines)}
    assert len(looks) == 20


def test_a_chosen_colour_is_kept_and_not_given_again():
    lines = [Line([0], [0], "free"), Line([0], [0], "chosen", color=0), Line([0], [0], "other")]
    assert palette.index_of_names(Figure("", [Panel(lines)])) == {"chosen": 0, "free": 1, "other": 2}


def test_colours_can_be_told_from_white_and_from_black():
    def luminance(color):
        parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for color in palette.COLORS:  # WCAG contrast of graphics: 3:1; light hues keep 2:1 on white, being wide lines
        assert 1.05 / (luminance(color) + 0.05) > 2
        assert (luminance(color) + 0.05) / (luminance("#181a1f") + 0.05) > 3


# ---- spec ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticks", [(), (1.0, 2.0)])
def test_the_y_axis_has_numbers_only_where_it_is_told(ticks):
    figure = Figure("rows", [Panel([Line([0, 1], [0.5, 2.5], "a")], y_range=(0.0, 3.0), y_ticks=ticks)])
    axis = plotly_spec.build(figure)["layout"]["yaxis"]
    assert (axis["tickmode"], axis["tickvals"]) == ("array", list(ticks))
    labels = [match[1] for match in re.finditer(r"(?m)^ *(\S*)┤", figure.to_text())]
    assert sorted(labels) == [f"{tick:g}" for tick in ticks]
    plain = Figure("rows", [Panel([Line([0, 1], [0.5, 2.5], "a")], y_range=(0.0, 3.0))])
    assert "tickvals" not in plotly_spec.build(plain)["layout"]["yaxis"]
    assert picture.draw(figure, "png") != picture.draw(plain, "png")


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_the_x_axis_has_numbers_only_where_it_is_told(scale):
    lengths = (40, 80, 12800)
    line = Line(lengths, [0.5, 0.6, 0.7], "a")
    figure = Figure("lengths", [Panel([line], x_scale=scale, x_ticks=lengths)])
    axis = plotly_spec.build(figure)["layout"]["xaxis"]
    assert (axis["tickmode"], axis["tickvals"]) == ("array", list(lengths))
    labels = figure.to_text().partition("└")[2].splitlines()[1].split()
    assert labels == (["40", "80", "12800"] if scale == "log" else ["80", "12800"])  # of two in one cell the later
    plain = Figure("lengths", [Panel([line], x_scale=scale)])
    assert "tickvals" not in plotly_spec.build(plain)["layout"]["xaxis"]
    assert picture.draw(figure, "png") != picture.draw(plain, "png")


def test_given_ticks_are_the_ones_of_a_picture():
    from matplotlib.figure import Figure as Canvas

    axes = Canvas().add_subplot()
    picture._panel(axes, Panel([Line([40, 80], [0, 1], "a")], x_scale="log", x_ticks=(40, 80)), {"a": 0}, {})
    axes.figure.canvas.draw()
    shown = [label.get_text() for minor in (False, True) for label in axes.get_xticklabels(minor=minor)]
    assert shown == ["40", "80"]


@pytest.mark.parametrize(("value", "low", "high"), [(0.1, 0.09, 0.11), (-2.0, -2.2, -1.8), (0.0, -0.1, 0.1)])
def test_a_flat_curve_has_an_axis_of_its_own_size(value, low, high):
    """plotly's own would be from -0.9 to 1.1 for a constant learning rate of 0.1."""
    for y in ([value] * 3, [value, math.nan, value]):
        axis = plotly_spec.build(Figure("", [Panel([Line([0, 1, 2], y)])]))["layout"]["yaxis"]
        assert axis["range"] == pytest.approx([low, high])
    for panel in (Panel([Line([0, 1], [1, 2])]), Panel([Line([0, 1], [3, 3], style="bars")]), Panel([])):
        assert "range" not in plotly_spec.build(Figure("", [panel]))["layout"]["yaxis"]


def test_labels_at_the_top_are_clear_of_the_lines():
    points = Line([0.1, 0.2], [0.2, 0.9], style="points")
    notes = {"spans": [Span(0.1, 0.2, "suggested range")], "marks": [Mark(x=0.2, label="max_lr 0.2")]}
    spec = plotly_spec.build(Figure("", [Panel([points], **notes)]))["layout"]
    low, high = spec["yaxis"]["range"]
    lowest = min(note["yshift"] for note in spec["annotations"]) - 15  # pixels from the top to the last label's foot
    assert low < 0.2
    assert low + (high - low) * (1 + lowest / 300) > 0.9


def test_spec_refuses_lengths_that_differ():
    with pytest.raises(ValueError, match="line 'a': y has 1 values, x has 2"):
        Line([1, 2], [1], "a")
    with pytest.raises(ValueError, match="hover has 1 texts, x has 2"):
        Line([1, 2], [1, 2], "a", hover=["x"])
    with pytest.raises(ValueError, match="give x or y"):
        Mark(label="m")


@pytest.mark.parametrize("scale", [1.0, 1e-13, 1e-200, 1e200])
def test_ticks_of_a_terminal_are_numbers_at_any_magnitude(scale):
    text = terminal.render(Figure("f", [Panel([Line([0.0, 1.0], [0.0, 7.0 * scale])])]), 60, 14)
    labels = {line.split()[0] for line in text.splitlines() if line.split() and line.split()[0][0].isdigit()}
    assert len(labels - {"0"}) >= 2


@pytest.mark.parametrize("name", ["ZMQInteractiveShell", "Shell"])
def test_a_hosted_notebooks_own_shell_shows_the_figure_inside(name, monkeypatch):
    shell = type(name, (type("ZMQInteractiveShell", (), {}),), {})()
    shown = []
    display = SimpleNamespace(HTML=str, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(html.webbrowser, "open", lambda _: pytest.fail("a browser was opened"))
    html.show(Figure("f", [Panel([Line([0, 1], [0, 1])])]))
    assert len(shown) == 1
