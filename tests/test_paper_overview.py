"""Effects in words, accuracies, the Markdown overviews, and the picture of a claim."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_paper_reproduce import headline, made_run

from superconv.paper.accuracies import table
from superconv.paper.claims import CLAIMS
from superconv.paper.effect_picture import portions
from superconv.paper.effects import deciding, effect_lines, effects_of
from superconv.paper.measured import Run
from superconv.paper.overview import long_overview, overview
from superconv.paper.pictures import picture
from superconv.paper.reproduce import Reproduction, conclude
from superconv.paper.results import looks_of, save

BY_NAME = {claim.name: claim for claim in CLAIMS}


def ramps(ends: list[float], scale: str = "short") -> Reproduction:
    """Range tests that end at a share of their peak, the same for every condition."""
    claim = BY_NAME["range-test"]
    runs = {seed: made_run([*[0.5] * 38, *[0.5 * end] * 2]) for seed, end in enumerate(ends)}
    return conclude(claim, scale, {e.condition: runs for e in claim.experiments}, "cpu")  # type: ignore[arg-type]


# ---- effects ---------------------------------------------------------------------------------------------------------


def test_an_effect_is_said_in_points_with_its_interval() -> None:
    (line,) = effect_lines(headline())
    assert line == (
        "clr above pclr by 1.2 points (final accuracy): +1.22 (+1.17 to +1.27) points, n=3: holds"
    )  # fmt: skip  # 1.20, 1.22 and 1.24: mean 1.22, t(0.975, 2) * 0.02 / sqrt(3) = 0.0497
    (few,) = effects_of(headline(2))
    assert few.measured == "+1.21 points, n=2"
    (none,) = effects_of(conclude(CLAIMS[0], "paper", {}, "cpu"))
    assert (none.measured, none.word) == ("-", "not run")


def test_a_ratio_is_said_beside_its_threshold() -> None:
    shown = effects_of(ramps([0.9, 0.92, 0.94]))[0]
    assert shown.asserted == "5000 above 0.8"
    assert shown.measured == "0.92 (0.87 to 0.97), n=3"
    assert (shown.zero, shown.word) == (0.8, "holds in direction")


def test_the_deciding_effect_is_the_weakest_that_asserts_something() -> None:
    shown = effects_of(ramps([0.9, 0.92, 0.94]))
    weak = replace(shown[2], word="undecided")
    asked = replace(shown[1], word="not run", effect=replace(shown[1].effect, sign=0))
    assert deciding([shown[0], asked, weak]) is weak
    assert deciding([asked]) is asked
    assert deciding([]) is None


@settings(max_examples=30)
@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=6))
def test_the_written_interval_holds_the_written_mean(gains: list[float]) -> None:
    runs = {
        "pclr": {seed: made_run([0.5]) for seed in range(len(gains))},
        "clr": {seed: made_run([0.5 + gain]) for seed, gain in enumerate(gains)},
    }
    (shown,) = effects_of(conclude(CLAIMS[0], "short", runs, "cpu"))
    assume(shown.lower is not None)  # equal gains have no interval
    mean, lower, _, upper = shown.measured.replace("(", "").replace(")", "").split()[:4]
    assert float(lower) <= float(mean) <= float(upper)
    assert float(mean) == pytest.approx(100 * sum(gains) / len(gains), abs=0.051)


# ---- accuracies ------------------------------------------------------------------------------------------------------


def test_the_table_has_paper_log_ours_and_the_difference() -> None:
    content = table(headline())
    assert content["rows"][1] == ["clr", "92.4", "92.4", "92.5 ± 0.3 (n=3)", "+0.1"]
    assert table(conclude(CLAIMS[0], "short", headline().runs, "cpu"))["rows"][1][4] == "-"
    assert table(conclude(CLAIMS[0], "paper", {}, "cpu"))["rows"][0][3] == "not run"


def test_a_second_decimal_where_the_paper_prints_one_and_diverged_runs_are_told() -> None:
    runs = {"1cycle-12": {0: made_run([0.9925]), 1: made_run([0.5], "diverged")}}
    rows = {row[0]: row for row in table(conclude(BY_NAME["mnist"], "paper", runs, "cpu"))["rows"]}
    assert rows["1cycle-12"][1] == "99.25"
    assert rows["1cycle-12"][3] == "54.62 (n=2, 1 diverged)"


# ---- overviews -------------------------------------------------------------------------------------------------------


def test_the_overview_has_a_line_a_claim(tmp_path: Path) -> None:
    assert overview(tmp_path) == f"No results in {tmp_path} yet."
    save(headline(), tmp_path)
    save(ramps([0.9, 0.3, 0.94]), tmp_path)
    lines = overview(tmp_path).splitlines()
    assert len([line for line in lines if line.startswith("| **")]) == 2
    assert lines[2].endswith("| clr above pclr by 1.2 points | +1.22 (+1.17 to +1.27) points, n=3 | holds | paper |")
    assert lines[3].endswith("| undecided (0 of 3 hold) | short |")
    waiting = next(line for line in lines if line.startswith("No results yet: "))
    assert "range-test" not in waiting
    assert "depth" in waiting


def test_the_long_overview_has_everything_and_the_picture(tmp_path: Path) -> None:
    assert f"No results in {tmp_path} yet." in long_overview(tmp_path)
    save(headline(), tmp_path)
    text = long_overview(tmp_path)
    assert overview(tmp_path) in text
    assert "## super-convergence, paper scale: holds" in text
    assert "| clr | 92.4 | 92.4 | 92.5 ± 0.3 (n=3) | +0.1 |" in text
    assert "6 runs, seeds 0, 1, 2; 0 minutes; a card; superconv " in text
    assert "![super-convergence](super-convergence-paper.png)" in text
    assert str(tmp_path) not in text


@given(st.integers(0, 40), st.integers(1, 9))
def test_portions_hold_everything_in_order_and_are_even(count: int, most: int) -> None:
    parts = portions(range(count), most)
    assert [item for part in parts for item in part] == list(range(count))
    assert all(0 < len(part) <= most for part in parts)
    assert len(parts) == -(-count // most)


# ---- looks and the picture -------------------------------------------------------------------------------------------


def test_looks_are_judged_each_by_its_own_runs(tmp_path: Path) -> None:
    first = headline(1)
    path = save(first, tmp_path)
    other = {name: setting.replace(batch_size=999) for name, setting in first.settings.items()}
    save(replace(headline(), settings=other), tmp_path)
    looks = looks_of(path)
    assert [look.result.word for look in looks] == ["undecided", "holds"]
    assert [look.settings["clr"]["batch_size"] for look in looks] == [1000, 999]
    assert [look.is_current for look in looks] == [True, False]
    assert "| holds | paper, earlier settings |" in overview(tmp_path)
    assert "Earlier settings: of the claim or its scale" in overview(tmp_path)
    faster = {name: setting.replace(precision="bf16", compile=True) for name, setting in first.settings.items()}
    save(replace(first, settings=faster), tmp_path)
    assert looks_of(path)[-1].is_current


def test_tuned_rates_are_no_other_settings_and_lost_conditions_are(tmp_path: Path) -> None:
    claim = BY_NAME["fair-headline"]
    setting = claim.experiment("cosine").setting
    assert setting is not None
    runs = {"cosine": {0: made_run([0.5])}}
    path = save(conclude(claim, "paper", runs, "cpu", {"cosine": setting.replace(lr_factor=2.0)}), tmp_path)
    (look,) = looks_of(path)
    assert look.is_current
    assert not replace(look, settings={"warp": look.settings["cosine"]}).is_current


def test_the_picture_shows_effects_arms_log_and_printed_number() -> None:
    figure = picture(headline())
    effects, together, pclr, clr = figure.panels
    assert (effects.title, together.title, pclr.title, clr.title) == ("Effects", "Ours, together", "pclr", "clr")
    assert effects.y_ticks == ()
    assert [line.name for line in together.lines] == ["pclr", "clr"]
    assert [line.name for line in clr.lines] == ["clr", "authors' log"]
    assert together.lines[1].color == clr.lines[0].color
    assert [mark.y for mark in clr.marks] == [0.924]
    assert pclr.y_range == clr.y_range
    shown = [v for panel in (pclr, clr) for line in panel.lines for v in line.y]
    assert pclr.y_range is not None
    assert pclr.y_range[0] <= min(shown) <= max(shown) <= pclr.y_range[1]


def test_a_diverged_seed_leaves_the_others_whole() -> None:
    short = made_run([0.2], "diverged")
    whole = headline()
    runs = {**whole.runs, "clr": {0: made_run([0.4, 0.6]), 1: short}}
    line = picture(conclude(CLAIMS[0], "paper", runs, "cpu")).panels[-1].lines[0]
    assert line.y == pytest.approx((0.3, 0.6))
    assert line.lower == pytest.approx((0.2, 0.6))
    assert line.x == pytest.approx((0.5, 1.0))


def test_ramps_lie_along_the_learning_rate_and_losses_where_the_paper_shows_them() -> None:
    figure = picture(ramps([0.9]))
    assert {panel.x_label for panel in figure.panels[1:]} == {"learning rate"}
    claim = BY_NAME["regularisation"]
    run = Run("completed", (10, 20), (0.1, 0.2), (2.0, 1.5), (1.0, math.nan), (0.3, 0.4), 1.0)
    panels = picture(conclude(claim, "short", {"resnet20": {0: run}}, "cpu")).panels
    assert {panel.y_label for panel in panels if panel.title != "Effects"} == {"loss"}
    (losses,) = [panel for panel in panels if panel.title == "resnet20"]
    assert [line.name for line in losses.lines] == [
        "resnet20", "authors' log", "resnet20", "authors' log"
    ]  # fmt: skip
    assert (losses.lines[0].y, losses.lines[2].y) == ((1.0,), (2.0, 1.5))  # paler: of training
    assert losses.lines[2].opacity < losses.lines[0].opacity


def test_curvature_estimates_lie_beside_the_rate_in_use_and_noise_alone() -> None:
    estimates = {"step": (9, 19), "lr": (0.1, 0.1), "estimate": (0.3, -1.0), "noise_alone": (0.2, 0.25)}
    run = replace(made_run([0.1, 0.2]), estimates=estimates)
    panel = picture(conclude(BY_NAME["hessian-free"], "short", {"300-clr": {0: run}}, "cpu")).panels[-1]
    assert (panel.title, panel.y_scale) == ("300-clr: learning rates", "log")
    assert [line.y[0] for line in panel.lines] == [0.3, 0.2, 0.1]
    assert math.isnan(panel.lines[0].y[1])  # no place on a log axis


def test_many_effects_and_arms_are_spread_over_panels_and_arms_without_a_reference_shown_once() -> None:
    claim = BY_NAME["fair-headline"]
    runs = {e.condition: {seed: made_run([0.1 * seed, 0.5]) for seed in range(3)} for e in claim.experiments}
    panels = picture(conclude(claim, "short", runs, "cpu")).panels
    effects = [panel for panel in panels if panel.title == "Effects"]
    together = [panel for panel in panels if panel.title == "Ours, together"]
    assert sum(mark.y is not None for panel in effects for mark in panel.marks) == len(claim.effects)
    assert max(len(panel.marks) for panel in effects) <= 7
    assert [line.name for panel in together for line in panel.lines] == [e.condition for e in claim.experiments]
    assert len({panel.y_range for panel in together}) == 1
    assert len(panels) == len(effects) + len(together)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_can_be_drawn_with_and_without_runs(claim) -> None:  # type: ignore[no-untyped-def]
    runs = {e.condition: {0: made_run([0.1, 0.2, 0.3])} for e in claim.experiments if e.setting is not None}
    for found in (runs, {}):
        result = conclude(claim, "short", found, "cpu")
        figure = picture(result)
        assert bool(figure.panels) or not found
        assert len(table(result)["rows"]) == len(claim.experiments)
