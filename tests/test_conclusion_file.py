"""What an experiment showed keeps the command and the seconds of the call that made it."""

import json
import sys
from pathlib import Path

import pytest

from superconv.experiments.conclusion_file import store_conclusion

SHOWN = {"kind": "find", "sentence": "a", "tables": [{"rows": (("x", 1.5), ("y", float("nan")))}]}


def test_a_call_that_found_everything_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "experiment.json"

    def stored(argument: str, conclusion: dict, seconds: float) -> tuple[str, float]:
        monkeypatch.setattr(sys, "argv", ["superconv", argument])
        store_conclusion(tmp_path, conclusion, seconds)
        record = json.loads(path.read_text())
        assert (record["name"], record["sentence"]) == (tmp_path.name, conclusion["sentence"])
        return record["command"], record["seconds"]

    first = stored("one", SHOWN, 120.04)
    assert first == ("superconv one", 120.0)
    assert stored("two", SHOWN, 26.0) == first
    assert stored("three", {**SHOWN, "sentence": "b"}, 30.0) == ("superconv three", 30.0)
    for damaged in ("", "[]", '{"format": 1}', path.read_text().replace('"seconds"', '"time"')):
        path.write_text(damaged)
        assert stored("four", SHOWN, 5.0) == ("superconv four", 5.0)
