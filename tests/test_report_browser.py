"""The report in a real browser: it draws, answers to the reader, fits a phone, and asks the network for nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_runs import write_tree

from superconv import report
from superconv.figures import Figure, Line, Panel

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: install one of {', '.join(_NAMES)}")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    return report.build_report(write_tree(tmp_path_factory.mktemp("runs"), lengths=(40, 80)))


@dataclass
class Visit:
    """An open page, and everything that it complained of or asked for."""

    page: sync_api.Page
    complaints: list[str] = field(default_factory=list)


def until(page: sync_api.Page, expression: str, seconds: float = 20.0) -> None:
    """Wait until an expression holds; playwright's own way evaluates text in the page, which the report forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(50)


def visit(browser, file: Path, width: int = 1280, scheme: str = "light") -> Visit:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = Visit(context.new_page())
    told = opened.complaints
    opened.page.on("console", lambda message: told.append(f"console {message.type}: {message.text}"))
    opened.page.on("pageerror", lambda error: told.append(f"error: {error}"))
    opened.page.on("request", lambda request: told.append(request.url) if request.url != file.as_uri() else None)
    opened.page.goto(file.as_uri())
    until(opened.page, "[...document.querySelectorAll('[role=figure]')].every(e => e.dataset.drawn)")
    return opened


@pytest.fixture(scope="module")
def desk(browser, page_file) -> Iterator[Visit]:
    """One desktop page for all that leaves it as it was found; at the end it must not have complained."""
    opened = visit(browser, page_file)
    yield opened
    assert opened.complaints == []
    opened.page.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_everything_draws_quietly_fits_and_can_be_read(browser, page_file, width, scheme):
    opened = visit(browser, page_file, width, scheme)
    page = opened.page
    plots = page.locator("[role=figure]")
    assert plots.count() == 5
    for plot in plots.all():
        assert plot.locator("svg.main-svg").count() >= 1
        assert plot.locator(".scatterlayer .trace path.js-line").count() >= 1
        assert plot.bounding_box()["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "['.main-svg .xtick text', 'body'].map((q, i) => { const s = getComputedStyle(document.querySelector(q));"
        "return i ? s.backgroundColor : s.fill })"
    )
    assert _contrast(_rgb(ink), _rgb(paper)) > 7, (ink, paper)
    assert opened.complaints == []
    page.context.close()


def test_panels_stand_beside_each_other_only_where_there_is_room(desk):
    domain = "document.querySelector('#plot-demo-training-curves')._fullLayout.xaxis.domain[1]"
    assert desk.page.evaluate(domain) < 0.6
    desk.page.set_viewport_size({"width": 400, "height": 900})
    until(desk.page, f"{domain} > 0.9")
    desk.page.set_viewport_size({"width": 1280, "height": 900})
    until(desk.page, f"{domain} < 0.6")


def test_a_click_on_the_legend_hides_a_name_in_every_panel(desk):
    plot = desk.page.locator("#plot-demo-training-curves")
    shown = "e => e._fullData.filter(t => t.name === 'default' && t.visible === true).length"
    assert plot.evaluate(shown) == 8
    plot.locator(".legendtoggle").first.click()
    until(desk.page, f"({shown})(document.querySelector('#plot-demo-training-curves')) === 0")
    desk.page.wait_for_timeout(400)  # else the two clicks are one double click
    plot.locator(".legendtoggle").first.click()
    until(desk.page, f"({shown})(document.querySelector('#plot-demo-training-curves')) === 8")


def test_hover_shows_the_learning_rate_and_the_suggested_range_is_shaded(desk):
    name = "#plot-demo-range-test-range-lenet-slim-bn"
    plot = desk.page.locator(name)
    plot.scroll_into_view_if_needed()
    box = plot.locator(".nsewdrag").first.bounding_box()
    desk.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = f"document.querySelector('{name} .hoverlayer').textContent"
    until(desk.page, f"{told}.includes('learning rate 0.0') && {told}.includes('LR 0.0')")
    assert plot.locator(".shapelayer path").count() >= 2
    assert "suggested range" in plot.locator(".infolayer").text_content()


def test_keys_open_the_settings_and_skip_to_the_report(desk):
    page = desk.page
    page.evaluate("window.scrollTo(0, 0); document.activeElement.blur()")
    page.locator(".skip").focus()
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    assert page.get_by_text("git_revision").is_visible()


def test_a_figure_alone_opens_offline(browser, tmp_path):
    lines = [Line([1, 10, 100], [1, 2, 3], "</b>$x$ and $y$", lower=[0, 1, 2], upper=[2, 3, 4])]
    panel = Panel(lines, "a title of many words that would not fit its panel", "x", "y", x_scale="log")
    file = Figure("t", [panel]).save(tmp_path / "f.html")
    opened = visit(browser, file, 400)
    assert opened.complaints == []
    assert opened.page.locator(".legendtext").first.text_content() == "</b>$x$ and $y$"
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
    opened.page.context.close()


def _rgb(text: str) -> list[float]:
    return [float(part) / 255 for part in text[text.index("(") + 1 : text.index(")")].split(",")[:3]]


def _contrast(a: list[float], b: list[float]) -> float:
    def luminance(color):
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)
