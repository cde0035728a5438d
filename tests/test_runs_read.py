from pathlib import Path

import pytest

from superconv.experiments.recipe import Recipe
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
