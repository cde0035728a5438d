"""The report of results files of `reproduce`: chapters, settings, looks, files that cannot be read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_runs import write_tree
from program import Run
from test_paper_overview import ramps
from test_paper_reproduce import headline

from superconv import report
from superconv.paper.overview import kept_in
from superconv.paper.results import save
from superconv.paper.scale import scaled
from superconv.paper.setting import SCALES
from superconv.paper.tuning import Tuned
from superconv.report.paper_settings import differences, used_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A claim at both scales, one of them with two looks, and another claim."""
    home = tmp_path_factory.mktemp("results")
    whole = headline()
    save(whole, home)
    first = {name: scaled(setting, "short").replace(steps=7) for name, setting in whole.settings.items()}
    second = {name: setting.replace(steps=9) for name, setting in first.items()}
    tuned = {"clr": Tuned(2.0, {1.0: (0.5, 0.52), 2.0: (0.6, 0.61)})}
    for settings in (first, second):
        save(replace(whole, scale="short", settings=settings, tuned=tuned), home)
    save(ramps([0.9, 0.92, 0.94]), home)
    return home


def chapters(path: Path) -> dict[str, dict]:
    return {chapter["name"]: chapter for chapter in report.report_json(path)["experiments"]}


def tables(chapter: dict) -> dict[str, dict]:
    return {table["title"]: table for table in chapter["tables"]}


def test_a_chapter_a_claim_after_one_about_all(folder: Path) -> None:
    found = chapters(folder)
    assert list(found) == ["all", "super-convergence-paper", "super-convergence-short", "range-test-short"]
    assert found["all"]["sentence"] == "2 claims with 3 results, some at several scales: 2 hold in direction, 1 holds."
    assert [row[3] for row in found["all"]["tables"][0]["rows"]] == [
        "holds",
        "holds in direction",
        "holds in direction",
    ]
    own = found["super-convergence-paper"]
    assert own["sentence"].startswith("ResNet-56 reaches a higher accuracy")
    assert own["sentence"].endswith("Holds.")
    assert own["figures"] == ["claim"]
    assert own["runs"] == {"completed": 6}


def test_results_of_every_scale_that_are_kept_have_a_chapter_in_the_scales_order(tmp_path: Path) -> None:
    whole = headline()
    for scale in reversed(SCALES):
        if scale != "smoke":
            save(replace(whole, scale=scale), tmp_path)
    expected = [f"super-convergence-{scale}" for scale in SCALES if scale != "smoke"]
    found = chapters(tmp_path)
    assert list(found) == ["all", *expected]
    assert found["all"]["sentence"].startswith(f"1 claim with {len(expected)} results, some at several scales: ")
    assert [kept.result.scale for kept in kept_in(tmp_path)] == [scale for scale in SCALES if scale != "smoke"]


def test_effects_and_accuracies_are_those_of_the_program(folder: Path) -> None:
    own = tables(chapters(folder)["super-convergence-paper"])
    assert own["Effects"]["rows"] == [
        ["clr above pclr by 1.2 points", "final accuracy", "+1.22 (+1.17 to +1.27) points, n=3", "holds"]
    ]
    assert own["Accuracies"]["columns"] == ["condition", "paper", "log", "ours", "difference"]
    assert own["Accuracies"]["rows"][1] == ["clr", "92.4", "92.4", "92.5 ± 0.3 (n=3)", "+0.1"]
    assert "What differs from the paper's settings" not in own  # it is the paper's scale
    assert "Looks" not in own


def test_a_smaller_scale_says_what_it_changed_and_looks_what_they_changed(folder: Path) -> None:
    own = tables(chapters(folder)["super-convergence-short"])
    changed = {(row[0], row[1]): row[2:] for row in own["What differs from the paper's settings"]["rows"]}
    assert changed["model", "all"] == ["resnet56", "resnet8"]
    assert changed["batch_size", "all"] == ["1000", "125"]
    assert changed["steps", "clr"] == ["10000", "9"]
    first, second = own["Looks"]["rows"]
    assert (first[0], first[-1]) == (1, "")
    assert (second[0], second[-1]) == (2, "steps 7 -> 9 (all)")
    assert own["Learning rates"]["rows"] == [["clr", 2.0, "1: 50.0, 52.0; 2: 60.0, 61.0"]]


def test_the_page_has_everything_and_no_path_of_this_machine(folder: Path, tmp_path: Path) -> None:
    page = report.build_report(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    for text in ("clr above pclr by 1.2 points", "Shared by all conditions", "authors&#x27; log", "Ours, together"):
        assert text in page
    assert page.count('role="figure"') == 3
    assert str(folder) not in page
    text = report.report_markdown(folder)
    assert "# super-convergence, short scale" in text
    assert "| clr | 92.4 | 92.4 |" in text


def test_pictures_lie_in_a_folder_a_claim(folder: Path, tmp_path: Path) -> None:
    written = report.write_pngs(folder, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "super-convergence-paper/claim.png", "super-convergence-short/claim.png", "range-test-short/claim.png"
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_is_named_beside_the_others(tmp_path: Path) -> None:
    save(headline(), tmp_path)
    (tmp_path / "depth-short.json").write_text('{"format": 99, "claim": "depth"}')
    (tmp_path / "warp-paper.json").write_text("")
    found = chapters(tmp_path)
    assert list(found) == ["all", "super-convergence-paper", "depth-short", "warp-paper"]
    assert found["depth-short"]["findings"] == [
        "depth-short.json has format 99, this version reads 1; move it away and run again"
    ]
    assert "is no results file" in found["warp-paper"]["findings"][0]
    report.build_report(tmp_path)


def test_other_json_files_and_runs_beside_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "grid-short.json").write_text('{"rows": []}')
    with pytest.raises(ValueError, match="no runs in"):
        report.report_json(tmp_path)
    write_tree(tmp_path / "runs", lengths=(40,), seeds=1, accidents=False)
    save(headline(), tmp_path)
    assert list(chapters(tmp_path)) == ["demo", "super-convergence-paper"]


def test_the_program_reports_a_folder_and_a_file(run: Run, tmp_path: Path) -> None:
    path = save(headline(), tmp_path / "paper")
    assert run("report", str(path.parent))[:2] == (0, f"wrote {path.parent / 'report.html'}\n")
    assert run("report", str(path))[:2] == (0, f"wrote {path.with_suffix('.html')}\n")
    code, _, err = run("report", str(path.with_suffix(".png")))
    assert (code, "is no results file" in err) == (2, True)
    path.write_text(json.dumps({"format": 2}))
    code, _, err = run("report", str(path))
    assert (code, "has format 2, this version reads 1" in err, len(err.splitlines())) == (2, True, 1)


def test_a_setting_younger_than_a_file_had_its_default() -> None:
    assert differences({"a": {"steps": 5}}, {"a": {"steps": 5, "lr_factor": 1.0}}) == []
    assert differences({"a": {"steps": 5}}, {"a": {"steps": 5, "lr_factor": 2.0}}) == [("lr_factor", "all", "1", "2")]
    assert differences({"a": {}}, {"b": {"steps": 1}}) == []


def test_used_settings_are_said_once_where_they_agree() -> None:
    shared, differing = used_settings({"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}})
    assert shared is not None
    assert differing is not None
    assert shared.rows == (("x", "1"),)
    assert (differing.columns, differing.rows) == (("condition", "y"), (("a", "2"), ("b", "3")))
    assert used_settings({}) == (None, None)
