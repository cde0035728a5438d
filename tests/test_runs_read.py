from collections.abc import Callable
from pathlib import Path

import pytest

from superconv.analysis.range_test import RangeTest
from superconv.experiments.range_tests import _stored
from superconv.experiments.recipe import Recipe
from superconv.paper.results import looks_of
from superconv.runs import RunError
from superconv.runs.read import read_json


def test_another_kind_of_file_is_no_damaged_run(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<html>")
    with pytest.raises(RunError, match=r"is no JSON file of superconv .*pass the \.json file") as raised:
        Recipe.load(report)
    assert "delete" not in str(raised.value)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"is damaged: .*delete the run directory"):
        read_json(tmp_path / "run.json")


def test_a_file_that_the_system_does_not_give_is_not_to_be_deleted(tmp_path: Path) -> None:
    """A link that leads to itself, for one: root may read whatever permissions forbid to others."""
    for name in ("run.json", "range_test.json", "results.json"):
        (tmp_path / name).symlink_to(name)
    reads: list[tuple[str, Callable[[Path], object]]] = [
        ("run.json", read_json),
        ("range_test.json", RangeTest.load),
        ("range_test.json", lambda path: _stored(path.parent)),
        ("results.json", looks_of),
    ]
    for name, read in reads:
        with pytest.raises(ValueError, match=rf"cannot read .*{name}") as raised:
            read(tmp_path / name)
        assert str(raised.value).endswith("check the path and its permissions")
        assert "delete" not in str(raised.value)
