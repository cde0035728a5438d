"""The report: what it reads, what it concludes, what it shows, and that nothing on disk breaks it."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_runs import STATED, add_accidents, ramp, write_ramps, write_run, write_tree
from hypothesis import given
from hypothesis import strategies as st

from superconv import report
from superconv.report import curves, groups, read, settings, tables
from superconv.report.chapter import build_chapters
from superconv.report.pictures import _apart, distinct
from superconv.report.read import read_tree
from superconv.runs import RunError


class Page(HTMLParser):
    """Tags, ids, and the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not self.inside or self.inside[-1] not in ("script", "style"):
            self.text += data + " "


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("runs"), lengths=(40, 80))


@pytest.fixture(scope="module")
def page(demo):
    return report.build_report(demo).read_text(encoding="utf-8")


# ---- oracle: seeds as a curve ----------------------------------------------------------------------------------------


def test_interval_is_students():
    stats = pytest.importorskip("scipy.stats")
    values = [0.91, 0.93, 0.90, 0.95]
    mean, low, high, n = curves.interval([*values, np.nan])
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (mean, n) == (pytest.approx(0.9225), 4)
    assert (low, high) == pytest.approx(expected)
    assert curves.interval([1.0, 3.0]) == (2.0, 1.0, 3.0, 2)
    assert curves.interval([1.0]) == (1.0, 1.0, 1.0, 1)
    assert curves.interval([])[3] == 0


def test_over_seeds_averages_where_values_are():
    x = np.arange(4.0)
    short = (x[:2], np.array([1.0, 2.0]))
    curve = curves.over_seeds([short, (x, np.array([3.0, 4.0, np.nan, 6.0]))])
    assert curve.x.tolist() == [0, 1, 3]
    assert curve.mean.tolist() == [2, 3, 6]
    assert curve.n.tolist() == [2, 2, 1]


@given(n=st.integers(1, 5000), seeds=st.integers(1, 4), points=st.integers(2, 300))
def test_over_seeds_is_short_ordered_and_keeps_a_straight_line(n, seeds, points):
    x = np.arange(float(n))
    curve = curves.over_seeds([(x, 2 * x + 1)] * seeds, points)
    assert 1 <= len(curve.x) <= max(points, 1)
    assert (np.diff(curve.x) > 0).all()
    width = n / points + 1
    assert np.abs(curve.mean - (2 * curve.x + 1)).max() <= 2 * width
    assert curve.n.max() == seeds


def test_band_note_says_which_interval_and_n():
    assert curves.band_note([5, 5]).endswith("(n = 5); bands: 95% Student t interval of the mean.")
    assert "n = 3 to 5" in curves.band_note([3, 5])
    assert curves.band_note([2, 2]).endswith("bands: the two seeds.")
    assert "no band" in curves.band_note([1])


@pytest.mark.parametrize(
    ("values", "text"),
    [([], None), ([0.5], "0.5"), ([0.5, 0.7], "0.6 (0.5 to 0.7)"), ([0.9, 0.91, 0.92], "0.910 ± 0.025"),
     ([1.0, 1.0, 1.0], "1.0000 ± 0.0000"), ([0.9, math.nan, 0.91, 0.92], "0.910 ± 0.025 (of 3)"),
     ([0.5, math.nan], "0.5 (of 1)"), ([3e-8, 3.1e-8, 3.2e-8], "3.1e-08 ± 2.5e-09"), ([3e-8] * 3, "3e-08 ± 0")],
)  # fmt: skip
def test_mean_text(values, text):
    assert tables.mean_text(values) == text


# ---- reading ---------------------------------------------------------------------------------------------------------


def test_states_of_runs(tmp_path):
    home = write_tree(tmp_path, lengths=(40,))
    (experiment,) = read.read_tree(home)
    states = {run.seed: run.state for run in experiment.runs if run.arm == "lenet-slim-one-cycle-40"}
    assert states == {0: "finished", 1: "diverged", 2: "unfinished", 3: "damaged", 4: "finished"}
    killed = next(run for run in experiment.runs if run.state == "unfinished")
    assert len(killed.train["step"]) == 20
    assert len(killed.evaluations["metric"]) == 5


@pytest.mark.parametrize("damage", ["run.json", "rows.jsonl", "summary.json", "range_test.json", "experiment.json"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"[1, 2]", b'{"format": 99}', b'{"lr": '])
def test_any_damaged_file_is_named_and_stops_nothing(tmp_path, damage, content):
    home = write_tree(tmp_path, lengths=(40,), seeds=2, accidents=False)
    for path in home.rglob(damage):
        path.write_bytes(content)
    whole = report.report_json(home)["experiments"][0]
    told = json.dumps(whole)
    if damage != "rows.jsonl":  # lines that are none are cut off as the tail of a crash, an empty file has no rows
        assert damage in told or content in (b"[1, 2]", b'{"format": 99}')
    report.build_report(home)


def test_values_of_wrong_types_stop_nothing(tmp_path):
    home = write_tree(tmp_path, lengths=(40,), seeds=2, accidents=False)
    strange = {"config": "x", "info": [1], "arm": 7, "seed": "a", "schedule": {"total_steps": "no", "curves": 3}}
    for path in home.rglob("run.json"):
        path.write_text(json.dumps(strange))
    for path in home.rglob("summary.json"):
        path.write_text(json.dumps({"stop": 3, "steps": None, "seconds": "x", "validation": 0.5, "train_loss": "y"}))
    for path in home.rglob("rows.jsonl"):
        path.write_text('{"step": "a", "loss": 1}\n{"step": 1, "loss": null, "lr": [1]}\n{"metric": true, "step": 1}\n')
    odd = {"findings": "a lone finding", "tables": [{"columns": ["a"], "rows": [[1, 2], 3, []]}, 4], "seconds": "long"}
    (home / "experiment.json").write_text(json.dumps(odd))
    assert "a lone finding" in report.report_markdown(home)
    report.build_report(home)


def test_a_directory_without_runs_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"no runs in .*: a run is a folder with a run.json"):
        report.build_report(tmp_path)
    with pytest.raises(ValueError, match="is not a directory"):
        report.report_json(tmp_path / "absent")


def test_several_experiments_one_and_a_single_run(tmp_path):
    home = write_tree(tmp_path, lengths=(40,), seeds=1, accidents=False)
    shutil.copytree(home, tmp_path / "again")
    assert [e["name"] for e in report.report_json(tmp_path)["experiments"]] == ["demo", "demo"]
    page = Page(report.build_report(tmp_path).read_text())
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    run = next(home.glob("lenet-slim-default-40/seed*"))
    (single,) = report.report_json(run)["experiments"]
    assert single["runs"] == {"finished": 1}
    assert single["tables"][0]["title"] == "Final values"


def test_an_arm_and_an_experiment_that_are_called_like_a_run_are_none(tmp_path):
    home = write_tree(tmp_path, lengths=(40,), seeds=1, accidents=False, stated=False)
    arm = home.rename(tmp_path / "seed7") / "lenet-slim-default-40"
    arm.rename(arm.with_name("seed1"))
    for place in (tmp_path, tmp_path / "seed7"):
        (experiment,) = report.report_json(place)["experiments"]
        assert (experiment["name"], experiment["problems"]) == ("seed7", None)


def test_a_lone_range_test_file_is_enough(tmp_path):
    ramp(True, 0).save(tmp_path / "range_test.json")
    (experiment,) = report.report_json(tmp_path)["experiments"]
    assert experiment["range_tests"][0]["tolerance"] == "wide"
    assert "tolerance of large learning rates wide" in experiment["sentence"]
    assert "speed-up not measured" in experiment["sentence"]


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_page_says_verdict_findings_tables_and_range_tests(page):
    text = Page(page).text
    for words in (STATED["title"], STATED["sentence"], *STATED["findings"], STATED["note"],
                  STATED["tables"][0]["title"], "narrow", "wide", "superconv demo", "Different between arms",
                  "git_revision", "0123abc",
                  "Runs that did not end as planned", "40 of 80 steps", "run.json is damaged"):  # fmt: skip
        assert " ".join(words.split()) in " ".join(text.split()), words
    assert text.index(STATED["sentence"]) < text.index(STATED["findings"][0]) < text.index("Range tests")


def test_without_a_stated_conclusion_one_is_made_and_no_winner_named(tmp_path):
    home = write_tree(tmp_path, lengths=(40,), seeds=3, stated=False, accidents=False)
    (whole,) = report.report_json(home)["experiments"]
    assert whole["sentence"].startswith("range-lenet-slim: tolerance of large learning rates narrow, max_lr 0.06")
    assert "8 arms were trained; the table of final values compares them" in whole["sentence"]
    shutil.rmtree(home)
    folder = home / "one" / "seed0-0123456789"
    write_run(folder, "one", 0, {}, [{"step": 0, "lr": 1, "loss": 2}], None)
    (whole,) = report.report_json(home)["experiments"]
    assert whole["sentence"] == "No run has finished yet."
    assert whole["runs"] == {"unfinished": 1}


def test_the_axis_of_lengths_has_the_lengths_that_were_trained(demo):
    (chapter,) = build_chapters(read_tree(demo))
    (final,) = [picture.figure for picture in chapter.pictures if picture.slug == "final-values"]
    assert {panel.x_ticks for panel in final.panels} == {(40.0, 80.0)}
    assert _apart([1, 2, 1000, 1010, 1020]) == [1, 2, 1020]
    assert (_apart([]), _apart([40]), _apart([40, 80])) == ([], [40], [40, 80])


def test_the_cards_of_a_search_name_no_argument_of_a_range_test(tmp_path):
    folder = tmp_path / "ramp" / "seed0-0123456789"
    folder.mkdir(parents=True)
    replace(ramp(True, 0), reference_lr=None).save(folder / "range_test.json")
    for kind, says in (("find", "a larger budget"), ("other", "pass reference_lr=")):
        (tmp_path / "experiment.json").write_text(json.dumps({"format": 1, "kind": kind}))
        (group,) = report.report_json(tmp_path)["experiments"][0]["range_tests"]
        assert says in group["reasons"][0]


def test_final_table_counts_accidents(demo):
    (whole,) = report.report_json(demo)["experiments"]
    final = next(table for table in whole["tables"] if table["title"] == "Final values")
    assert final["columns"][-5:] == ["runs", "validation accuracy", "test accuracy", "train loss", "seconds"]
    rows = {(row[0], row[1], row[2]): row for row in final["rows"]}
    assert rows["mnist5k/lenet-slim", 80, "one-cycle"][3] == "3 (1 diverged, 1 unfinished)"
    assert rows["mnist5k/lenet-slim-bn", 80, "one-cycle"][3] == "5"
    assert whole["problems"]["rows"][0][0] == "damaged"
    assert whole["runs"] == {"finished": 81, "diverged": 1, "unfinished": 1, "damaged": 1}


def test_seeds_that_disagree_are_inconclusive(tmp_path):
    write_ramps(tmp_path)
    ramp(False, 1).save(tmp_path / "range-lenet-slim-bn" / "seed1-aaaaaaaaaa" / "range_test.json")
    groups_found = {g["arm"]: g for g in report.report_json(tmp_path)["experiments"][0]["range_tests"]}
    assert groups_found["range-lenet-slim-bn"]["tolerance"] == "inconclusive"
    assert (
        groups_found["range-lenet-slim-bn"]["reasons"][0]
        == "the repeats disagree (1 wide, 1 narrow): use more steps, or more seeds"
    )


def test_range_tests_of_two_networks_are_no_repeats_of_one(tmp_path):
    for task, wide in (("mnist5k/a", True), ("mnist5k/b", False)):
        folder = tmp_path / "ramp" / f"seed0-{task[-1] * 10}"
        summary = {"stop": "completed", "message": "done", "steps": 120, "seconds": 4.0, "validation": None}
        write_run(folder, "ramp", 0, {"task": {"name": task}, "optimizer": "sgd"}, [], summary)
        ramp(wide, 0).save(folder / "range_test.json")
    found = report.report_json(tmp_path)["experiments"][0]["range_tests"]
    assert sorted(group["arm"] for group in found) == ["ramp, mnist5k/a", "ramp, mnist5k/b"]
    assert {group["tolerance"] for group in found} == {"wide", "narrow"}


def test_shared_settings_are_said_once(demo):
    (experiment,) = read.read_tree(demo)
    shared, differing = settings.settings_of(experiment.runs)
    assert shared is not None
    assert differing is not None
    values = dict(shared.rows)
    assert values["torch"] == "2.13.0"
    assert values["data.train"] == "d0c5"
    assert values["batch_size"].startswith("128")
    assert "schedule.total_steps" in differing.columns
    assert not set(values) & set(differing.columns)
    assert len(differing.rows) == len({run.arm for run in experiment.runs if run.record})


def test_names_lose_what_the_title_says():
    def arms(task, steps, *names):
        return groups.short_names(groups.Group(task, steps, dict.fromkeys(names, ())))

    assert arms("mnist5k/lenet", 80, "lenet-one-cycle-80", "lenet-default-80") == {
        "lenet-one-cycle-80": "one-cycle",
        "lenet-default-80": "default",
    }
    assert arms("", 80, "a@80steps", "b 180") == {"a@80steps": "a", "b 180": "b 180"}
    assert arms("mnist5k/net", 80, "net max 80 steps", "net x-80") == {"net max 80 steps": "max", "net x-80": "x"}
    assert arms("", 80, "80", "a") == {"80": "80", "a": "a"}


def test_arms_sort_by_number():
    assert sorted(["a-160", "a-80", "a", "b-9"], key=read.natural) == ["a", "a-80", "a-160", "b-9"]


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_page_asks_the_network_for_nothing(page):
    found = Page(page)
    for tag, attributes in found.tags:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            assert not attributes.get(key, "#").startswith(("http", "//", "file")), (tag, attributes)
    assert "default-src &#x27;none&#x27;" in page
    assert page.count("plotly.js v") == 1
    assert not re.search(r"@import|url\(", re.search(r"<style>(.*?)</style>", page, re.S)[1])


def test_page_can_be_read_without_eyes_and_mouse(page):
    found = Page(page)
    plots = [attributes for tag, attributes in found.tags if attributes.get("role") == "figure"]
    assert len(plots) == 5
    assert all(len(attributes["aria-label"]) > 40 for attributes in plots)
    frames = [attributes for _, attributes in found.tags if attributes.get("class", "").startswith("scroll")]
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in frames)
    identities = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    for tag, attributes in found.tags:
        if tag == "a":
            assert attributes["href"][1:] in identities
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1


EVIL = "</script><script>alert(1)</script>\"'<b>|`"


def test_names_cannot_break_out_of_the_page(tmp_path):
    home = tmp_path / "evil"
    schedule = {"format": 1, "total_steps": 2, "curves": {EVIL: EVIL}}
    config = {"task": {"name": EVIL}, EVIL: EVIL, "schedule": schedule}
    measured = {"loss": 1, "metric": 0.5}
    rows = [{"step": k, "lr": 0.1, "loss": 1.0, "metric": 0.5, "split": EVIL} for k in range(3)]
    for steps in (2, 3):
        done = {"stop": EVIL, "message": EVIL, "steps": steps, "validation": measured}
        folder = home / f"arm{steps}" / "seed0-0123456789"
        write_run(folder, EVIL, 0, {**config, "schedule": {**schedule, "total_steps": steps}}, rows, done)
    stated = dict.fromkeys(("name", "title", "sentence", "command", "created", "metric"), EVIL)
    table = {"title": EVIL, "columns": [EVIL], "rows": [[EVIL]], "note": EVIL}
    (home / "experiment.json").write_text(json.dumps({**stated, "findings": [EVIL], "tables": [table]}))
    page = report.build_report(home).read_text()
    found = Page(page)
    scripts = page.count("<script")
    assert "alert(1)</script>" not in page
    assert scripts == len([tag for tag, _ in found.tags if tag == "script"]) == 1 + page.count('role="figure"')
    assert "b" not in [tag for tag, _ in found.tags]
    assert found.text.count("alert(1)") > 8
    markdown = report.report_markdown(home)
    told = "\n".join(line for line in markdown.splitlines() if not line.startswith("Made by ``"))  # a code span
    assert len(told) < len(markdown)
    assert "<script" not in told
    assert not re.search(r"(?<!\\)\|`", told)


def test_what_of_a_path_is_no_utf8_stands_in_no_page(tmp_path):
    odd = os.fsdecode(b"folder:p\xe9x")
    home = tmp_path / "runs"
    write_run(
        home / "arm" / "seed0-0123456789", "arm", 0, {"task": {"name": odd}}, [], {"stop": "completed", "steps": 2}
    )
    (home / "experiment.json").write_text(json.dumps({"title": odd, "command": odd}))
    page = report.build_report(home).read_text(encoding="utf-8")
    assert page.count("folder:p?x") >= 3  # title, command, settings


def test_markdown_tables_are_well_formed(demo):
    text = report.report_markdown(demo)
    assert text.startswith(f"# {STATED['title']}\n\n**LeNet with BatchNorm")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1


def test_json_is_strict_and_names_the_figures(demo):
    whole = report.report_json(demo)
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert whole["experiments"][0]["figures"] == [
        "range-test-range-lenet-slim", "range-test-range-lenet-slim-bn", "final-values", "training-curves", "schedules",
    ]  # fmt: skip


def test_pngs_are_the_figures_of_the_page(tmp_path):
    pytest.importorskip("matplotlib")
    write_ramps(tmp_path / "runs")
    written = report.write_pngs(tmp_path / "runs", tmp_path / "png")
    assert [path.name for path in written] == [
        "range-test-range-lenet-slim.png",
        "range-test-range-lenet-slim-bn.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_report_goes_where_it_is_sent(tmp_path):
    write_ramps(tmp_path / "runs")
    assert report.build_report(tmp_path / "runs", tmp_path / "out" / "r.html") == tmp_path / "out" / "r.html"
    assert report.build_report(str(tmp_path / "runs")) == tmp_path / "runs" / "report.html"


def test_a_file_where_the_folder_should_be_is_explained(demo, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match=r"a file stands where a directory is needed.*move it"):
        report.build_report(demo, tmp_path / "taken" / "report.html")


def test_hundreds_of_long_runs_stay_small_and_quick(tmp_path):
    home = tmp_path / "many"
    rows = "".join(
        json.dumps({"step": k, "lr": 0.1, "momentum": 0.9, "loss": 1 / (k + 1), "seconds": 1.0}) + "\n"
        for k in range(1000)
    )
    for arm in range(40):
        for seed in range(5):
            folder = write_run(
                home / f"arm{arm}" / f"seed{seed}-0123456789", f"arm{arm}", seed, {}, [], {"steps": 1000}
            )
            (folder / "rows.jsonl").write_text(rows)
    started = time.perf_counter()
    page = report.build_report(home).read_text()
    assert time.perf_counter() - started < 20
    from plotly.offline import get_plotlyjs

    assert len(page) - len(get_plotlyjs()) < 1_500_000


def test_reporting_imports_no_torch(demo):
    code = (
        "import sys; from superconv import report; report.report_json(sys.argv[1]); report.build_report(sys.argv[1]); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(demo)], check=True)


def test_accidents_are_the_ones_described(tmp_path):
    home = write_tree(tmp_path, lengths=(40,), accidents=False)
    assert report.report_json(home)["experiments"][0]["problems"] is None
    add_accidents(home, 40)
    assert len(report.report_json(home)["experiments"][0]["problems"]["rows"]) == 3


def test_a_page_does_not_take_the_place_of_another_file(demo, tmp_path):
    (tmp_path / "net.py").write_text("mine")
    with pytest.raises(ValueError, match=r"net.py would hold an HTML page; give it a name that ends in .html"):
        report.build_report(demo, tmp_path / "net.py")
    assert (tmp_path / "net.py").read_text() == "mine"


def test_chapters_and_pictures_have_names_of_their_own_whatever_they_are_called() -> None:
    assert distinct(["a", "a-3", "a", "a", "a-2"]) == ["a", "a-3", "a-2", "a-4", "a-2-2"]
