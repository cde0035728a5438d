"""What is said about recipes elsewhere is what was measured."""

import json
import math
from pathlib import Path
from statistics import fmean, stdev

import pytest

from superconv.analysis.recipe.track_record import MEASURED, sentence
from superconv.analysis.student_t import critical_value

RESULTS = Path(__file__).parent.parent / "results" / "recipes" / "second-look.json"
KEYS = {"tuned piecewise constant": "piecewise constant", "a common default": "common default"}


def test_the_sentence_states_both_intervals() -> None:
    assert "0.85 to 2.1 times as fast as tuned piecewise constant (6 tasks)" in sentence()
    assert "1 to 1.8 times as fast as a common default (5 tasks)" in sentence()
    assert {record.opponent for record in MEASURED} == set(KEYS)
    assert set(json.loads(RESULTS.read_text())["tasks"])


@pytest.mark.parametrize(
    ("record", "ratios"),
    [
        (MEASURED[0], [1.293, 1.175, 2.067, 1.544, 1.317, 0.891]),
        (MEASURED[1], [1.565, 1.546, 1.096, 1.209, 1.584]),
    ],
)
def test_the_intervals_are_those_of_the_measured_speed_ups(record, ratios) -> None:
    logs = [math.log(ratio) for ratio in ratios]
    half = critical_value(0.8, len(logs) - 1) * stdev(logs) * math.sqrt(1 + 1 / len(logs))
    assert len(logs) == record.tasks
    assert (record.lower, record.upper) == pytest.approx(
        (math.exp(fmean(logs) - half), math.exp(fmean(logs) + half)), rel=0.01
    )
