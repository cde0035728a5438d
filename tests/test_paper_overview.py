"""Effects in words, accuracies, the Markdown overviews, and the picture of a claim."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_paper_reproduce import headline, made_run

from superconv.paper.accuracies import table
from superconv.paper.claim import Claim, Effect, Experiment
from superconv.paper.claims import CLAIMS
from superconv.paper.effect_picture import portions
from superconv.paper.effects import Shown, deciding, effect_lines, effects_of
from superconv.paper.measured import Run
from superconv.paper.overview import _made, kept_in, long_overview, overview, overview_row, remarks
from superconv.paper.pictures import picture
from superconv.paper.reference_numbers import _document, keys, reference
from superconv.paper.reproduce import Reproduction, conclude
from superconv.paper.results import Look, file_of, looks_of, save

BY_NAME = {claim.name: claim for claim in CLAIMS}


def ramps(ends: list[float], scale: str = "short") -> Reproduction:
    """Range tests that end at a share of their peak, the same for every condition."""
    claim = BY_NAME["range-test"]
    runs = {seed: made_run([*[0.5] * 38, *[0.5 * end] * 2]) for seed, end in enumerate(ends)}
    return conclude(claim, scale, {e.condition: runs for e in claim.experiments}, "cpu")  # type: ignore[arg-type]


def own_effects(*effects: Effect, scale: str = "paper", **arms: list[Run]) -> list[Shown]:
    """Of a made-up claim, one run a seed."""
    conditions = dict.fromkeys(each for effect in effects for each in effect.conditions)
    experiments = [Experiment(f"own/{each}", None, None, obstacle="made up", title=each) for each in conditions]
    claim = Claim("own", "It is so.", "nowhere", experiments, effects)
    runs = {name: dict(enumerate(found)) for name, found in arms.items()}
    return effects_of(conclude(claim, scale, runs, "cpu"))  # type: ignore[arg-type]


def ends(*accuracies: float) -> list[Run]:
    return [made_run([accuracy]) for accuracy in accuracies]


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


def test_every_form_of_an_effect_is_said() -> None:
    found = own_effects(
        Effect("a", "b", sign=-1, size=-0.02),
        Effect("a", "b", sign=0, equal=True, tolerance=0.015),
        Effect("a", "b", sign=0, equal=True, tolerance=0.01),
        Effect("a", "b", over=("c", "d"), size=0.03),
        Effect("a", "b", sign=0),
        Effect("a", threshold=0.5),
        Effect("a", "b", measure="end of ramp over its peak"),
        a=ends(0.6, 0.62, 0.64),
        b=ends(0.5, 0.5, 0.5),
    )
    assert [each.asserted for each in found] == [
        "a below b by 2 points", "a level with b within 1.5 points", "a level with b within 1 point",
        "lead of a over b above that of c over d by 3 points", "a against b", "a above 50%", "a above b",
    ]  # fmt: skip
    assert [each.measured for each in found] == [
        *["+12.0 (+7.0 to +17.0) points, n=3"] * 3, "-", "+12.0 (+7.0 to +17.0) points, n=3",
        "62.0 (57.0 to 67.0)%, n=3", "+0.00, n=3",
    ]  # fmt: skip
    assert (found[5].zero, found[6].zero) == (50.0, 0.0)


@pytest.mark.parametrize(("step", "written"), [(0.003, "+10.30 (+9.55 to +11.05)"), (0.0045, "+10.4 (+9.3 to +11.6)")])
def test_decimals_follow_the_width_of_the_interval(step: float, written: str) -> None:
    (shown,) = own_effects(Effect("a", "b"), a=ends(0.6, 0.6 + step, 0.6 + 2 * step), b=ends(0.5, 0.5, 0.5))
    assert shown.measured == f"{written} points, n=3"  # to either side 4.30 / sqrt(3) times the step


def test_seeds_without_the_measure_are_counted_beside_those_that_have_it() -> None:
    effect = Effect("a", threshold=0.5, measure="end of ramp over its peak")
    assert [own_effects(effect, a=runs)[0].measured for runs in ([*ends(0.5, 0.5), made_run([])], [made_run([])])] == [
        "1.00, n=2, and 1 without a value", "n=0, and 1 without a value"
    ]  # fmt: skip


def test_the_deciding_effect_is_the_weakest_that_asserts_something() -> None:
    shown = effects_of(ramps([0.9, 0.92, 0.94]))
    weak = replace(shown[2], word="undecided")
    asked = replace(shown[1], word="not run", effect=replace(shown[1].effect, sign=0))
    assert deciding([shown[0], asked, weak]) is weak
    assert deciding([asked]) is asked
    assert deciding([asked, replace(shown[0], word="not run"), weak]) is weak, "one that was run"
    assert deciding([replace(asked, word="undecided"), shown[0]]) is shown[0]
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


def test_the_difference_is_to_what_the_paper_prints_be_it_the_best_test_or_the_last() -> None:
    runs = {name: {0: made_run([0.5, 0.62, 0.55])} for name in ("range-test", "pclr", "clr")}
    content = table(conclude(BY_NAME["cifar100"], "paper", runs, "cpu"))
    assert [row[1:] for row in content["rows"]] == [
        ["-", "40.8", "55.0 (n=1)", "+14.2"],  # without a printed number: to the log
        ["59.8*", "59.3", "55.0 (n=1)", "+2.2"],
        ["68.6", "68.2", "55.0 (n=1)", "-13.6"],
    ]
    assert "*: the paper prints the best test along the run" in content["note"]
    assert "*" not in table(headline())["note"]


@pytest.mark.parametrize(
    ("scale", "noise", "smaller"), [("paper", False, False), ("short", False, True), ("smoke", True, False)]
)
def test_the_table_says_what_its_scale_can_show(scale: str, noise: bool, smaller: bool) -> None:
    note = table(conclude(CLAIMS[0], scale, {}, "cpu"))["note"]  # type: ignore[arg-type]
    assert ("the images are noise" in note, "only differences between arms" in note) == (noise, smaller)


def test_a_second_decimal_where_the_paper_prints_one_and_diverged_runs_are_told() -> None:
    runs = {"1cycle-12": {0: made_run([0.9925]), 1: made_run([0.5], "diverged")}}
    rows = {row[0]: row for row in table(conclude(BY_NAME["mnist"], "paper", runs, "cpu"))["rows"]}
    assert rows["1cycle-12"][1] == "99.25 ± 0.03"
    assert rows["1cycle-12"][3] == "54.62 (n=2, 1 diverged)"


# ---- overviews -------------------------------------------------------------------------------------------------------


def test_the_picture_prints_as_many_decimals_as_the_table() -> None:
    runs = {condition: {0: made_run([0.99])} for condition in ("step-85", "1cycle-12")}
    panels = picture(conclude(BY_NAME["mnist"], "paper", runs, "cpu")).panels
    labels = {mark.label for panel in panels for mark in panel.marks if mark.label}
    assert labels >= {"printed: 99.00%", "printed: 99.25%"}
    assert "printed: 92.4%" in {mark.label for panel in picture(headline()).panels for mark in panel.marks}


def test_the_overview_has_a_line_a_claim(tmp_path: Path) -> None:
    assert overview(tmp_path) == f"No results in {tmp_path} yet."
    save(headline(), tmp_path)
    save(ramps([0.9, 0.3, 0.94]), tmp_path)
    lines = overview(tmp_path).splitlines()
    assert len([line for line in lines if line.startswith("| **")]) == 2
    assert "| 5000 above 0.8 (end of ramp over its peak) |" in lines[3]
    assert lines[2].endswith("| clr above pclr by 1.2 points | +1.22 (+1.17 to +1.27) points, n=3 | holds | paper |")
    assert lines[3].endswith("| undecided (0 of 3 hold) | short |")
    waiting = next(line for line in lines if line.startswith("No results yet: "))
    assert "range-test" not in waiting
    assert "depth" in waiting


def test_the_overview_says_a_claim_once_and_each_of_its_scales(tmp_path: Path) -> None:
    for scale in ("short", "deep", "paper"):
        save(replace(headline(), scale=scale), tmp_path)
    save(ramps([0.9, 0.92, 0.94], "short"), tmp_path)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in overview(tmp_path).splitlines()[2:6]]
    assert [(row[0].partition(":")[0], row[-1].partition(",")[0]) for row in rows] == [
        ("**super-convergence**", "paper"), ("", "deep"), ("", "short"), ("**range-test**", "short"),
    ]  # fmt: skip


def test_the_word_of_several_effects_says_how_many_hold() -> None:
    def word(result: Reproduction) -> str:
        return overview_row(Look(result, {}))[3]

    assert word(headline(2)) == "undecided"
    some = ramps([0.9, 0.92, 0.94])
    assert word(some) == "holds in direction"
    low = {seed: made_run([*[0.5] * 38, *[0.1] * 2]) for seed in range(6)}
    mixed = conclude(some.claim, "short", {**some.runs, "5000": low}, "cpu")
    assert word(mixed) == "does not hold (2 of 3 hold)"
    later = frozenset(mixed.claim.effects[:1])
    assert word(replace(mixed, asked_afterwards=later)) == "does not hold (2 of 3 hold, asked afterwards)"
    part = conclude(some.claim, "short", {"5000": some.runs["5000"]}, "cpu")
    assert word(part) == "holds in direction (2 not run)"
    assert "(effects not run: 2)" in part.sentence
    arms = {
        name: {seed: made_run([0.5 + 0.01 * seed**k]) for seed in range(3)}
        for k, name in enumerate(("clr", "pclr-tuned"))
    }
    chain = conclude(BY_NAME["fair-headline"], "short", arms, "cpu")  # of its links only one that asserts nothing
    assert word(chain) == "measured (9 of 10 not run)"
    assert "(effects not run: 9 of 10)" in chain.sentence


def test_remarks_are_about_what_is_there() -> None:
    paper, short = headline(), ramps([0.9, 0.92, 0.94])
    (waiting, never) = remarks([Look(paper, {})])
    assert waiting.startswith("No results yet: ")
    assert "failures" in never
    assert "failures" not in waiting
    assert never.startswith("Not buildable: ")
    weakest, scales, *_ = remarks([Look(paper, {}), Look(short, {})])
    assert weakest.startswith("A claim's word is that of its weakest effect, which is the one shown; ")
    assert scales == "Only the direction is judged at smaller scales: short (2,500 images, minutes on a CPU)."
    two = replace(paper, claim=replace(paper.claim, effects=paper.claim.effects * 2), judgements=paper.judgements * 2)
    assert weakest in remarks([Look(two, {})])
    assert any(note.startswith("Earlier settings: ") for note in remarks([Look(paper, {}), Look(paper, {"lost": {}})]))
    afterwards = replace(paper, asked_afterwards=frozenset(paper.claim.effects))
    assert any(note.startswith("Asked afterwards: ") for note in remarks([Look(paper, {}), Look(afterwards, {})]))


def test_which_images_the_seeds_share_is_said() -> None:
    whole, reduced = {"clr": {"train_samples": None}}, {"clr": {"train_samples": 1000}}
    drawn = {"clr": {"train_samples": 1000, "subsets": "by-seed"}}

    def said(*settings: dict[str, dict[str, object]]) -> list[str]:
        return [note for note in remarks([Look(headline(), each) for each in settings]) if "set of images" in note]

    assert said(whole) == said(drawn) == []
    assert said(reduced)[0].endswith("train on one set of images where these are reduced.")
    assert said(reduced, drawn)[0].endswith("where these are reduced, but for images by seed.")
    assert overview_row(Look(headline(), drawn))[4] == "paper, images by seed, earlier settings"
    assert overview_row(Look(headline(), reduced))[4] == "paper, earlier settings"


def test_every_scale_but_noise_is_in_the_overview_by_its_last_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("superconv.paper.results.draw", lambda path: path)
    for scale in ("smoke", "short", "rates", "deep", "epochs", "medium", "paper"):
        for seeds, batch_size in ((2, 7), (3, 9)):
            settings = {name: s.replace(batch_size=batch_size) for name, s in headline().settings.items()}
            save(replace(headline(seeds), scale=scale, settings=settings), tmp_path)
    found = kept_in(tmp_path)
    assert [kept.result.scale for kept in found] == ["paper", "medium", "epochs", "deep", "rates", "short"]
    assert {len(kept.result.runs["clr"]) for kept in found} == {3}


def test_how_results_were_made_is_what_every_run_was_made_with() -> None:
    made = [{"device": "a card", "torch": "2.1", "tf32": "True"}, {"device": "a card", "torch": "2.2"}, {}]
    runs = {"clr": {seed: replace(made_run([0.5]), made=how, seconds=90.0) for seed, how in enumerate(made)}}
    environment = {"superconv": "1", "torch": "2.0", "command": "__main__.py reproduce clr"}
    told = _made(replace(conclude(CLAIMS[0], "paper", runs, "a CPU"), environment=environment))
    assert told == (
        "3 runs, seeds 0, 1, 2; 4 minutes; a CPU, a card, a card, TF32; superconv 1; torch 2.0, 2.1, 2.2. "
        "Last command: `superconv reproduce clr`"
    )


def test_a_cpu_goes_by_its_model_and_instructions_where_they_are_stored() -> None:
    made = [
        {"device": "cpu", "processor": "Maker 9, AVX2"},
        {"device": "cpu"},
        {"device": "a card", "processor": "Maker 9"},
    ]
    runs = {"clr": {seed: replace(made_run([0.5]), made=how) for seed, how in enumerate(made)}}
    assert "; a card, cpu, cpu (Maker 9, AVX2); " in _made(conclude(CLAIMS[0], "paper", runs, "cpu"))


def test_a_bar_in_a_cell_ends_no_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = replace(CLAIMS[0], sentence="|w| grows.")
    monkeypatch.setattr("superconv.paper.overview.looks_of", lambda path: [Look(replace(headline(), claim=claim), {})])
    file_of(tmp_path, claim, "paper").touch()
    assert r": \|w\| grows. |" in overview(tmp_path)


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


@pytest.mark.parametrize(
    ("claim", "conditions", "says"),
    [
        ("super-convergence", 2, "mean over seeds, band from the lowest to the highest; authors"),
        ("fair-headline", None, "mean over seeds; authors"),
        ("step-size", None, "mean over seeds, band from the lowest to the highest where few arms share a panel; auth"),
    ],
)
def test_the_caption_speaks_of_bands_where_there_are_bands(claim: str, conditions: int | None, says: str) -> None:
    asked = BY_NAME[claim].experiments[:conditions]
    runs = {e.condition: {seed: made_run([0.1 * seed, 0.5]) for seed in range(3)} for e in asked if e.setting}
    figure = picture(conclude(BY_NAME[claim], "short", runs, "cpu"))
    assert says in figure.caption
    panels = [panel for panel in figure.panels if panel.title != "Effects"]
    banded = [any(line.lower is not None for line in panel.lines) for panel in panels]
    assert (any(banded), all(banded)) == ("band" in says, "band" in says and "few arms" not in says)


def test_nothing_of_the_authors_numbers_is_left_out() -> None:
    everything = {name for key in keys() for name in reference(key).curves}
    assert everything == set(_document("curves")["curves"])
    panels = {panel.title: panel for panel in picture(conclude(BY_NAME["imagenet"], "paper", {}, "cpu")).panels}
    assert [line.name for line in panels["inception-3e-6"].lines] == ["authors' log 1", "authors' log 2"]
    first, second = panels["inception-3e-6"].lines
    assert first.y != second.y
    wide = table(conclude(BY_NAME["wide-resnet"], "paper", {}, "cpu"))
    assert [row[1] for row in wide["rows"] if row[0] == "1cycle-50"] == ["91.3 ± 0.1"]
    assert "as it printed it" in wide["note"]
    decay = table(conclude(BY_NAME["weight-decay"], "paper", {}, "cpu"))
    assert " The paper's picture of 1e-3: falls to 0.1 around iteration 4,500 and stays there." in decay["note"]
    assert "as it printed it" not in decay["note"]


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
