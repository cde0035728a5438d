"""Words about claims: every outcome, and that the words follow the interval."""

import math
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superconv.analysis.student_t import critical_value
from superconv.paper.judgement import judge, together

CASES = [
    ([], 0.01, "not run"),
    ([0.012, 0.012], 0.012, "undecided"),  # two seeds have no interval
    ([0.010, 0.012, 0.014], 0.012, "holds"),
    ([0.030, 0.032, 0.034], 0.012, "holds in direction"),
    ([0.010, 0.012, 0.014], None, "holds in direction"),
    ([-0.010, -0.012, -0.014], 0.012, "does not hold"),  # the other sign
    ([0.000, 0.001, -0.001], 0.080, "does not hold"),  # the size is excluded
    ([0.000, 0.001, -0.001], None, "undecided"),
    ([0.050, -0.050, 0.000], 0.012, "undecided"),
]


@pytest.mark.parametrize(("values", "size", "word"), CASES)
def test_each_word_and_its_mirror_image(values: list[float], size: float | None, word: str) -> None:
    assert judge(values, sign=1, size=size, tolerance=0.01).word == word
    mirrored = judge([-v for v in values], sign=-1, size=None if size is None else -size, tolerance=0.01)
    assert mirrored.word == word


def test_the_interval_is_students() -> None:
    values = [0.01, 0.02, 0.04, 0.03]
    found = judge(values, sign=1, size=None, tolerance=0.01)
    half = critical_value(0.95, 3) * stdev(values) / math.sqrt(4)
    assert (found.lower, found.upper) == pytest.approx((fmean(values) - half, fmean(values) + half))
    assert found.seeds == 4


def test_where_nothing_is_asserted_the_interval_is_the_answer() -> None:
    found = judge([-0.02, 0.01, 0.05], sign=0, size=None, tolerance=0.01)
    assert (found.word, found.seeds) == ("measured", 3)
    assert found.lower == judge([-0.02, 0.01, 0.05], sign=1, size=None, tolerance=0.01).lower
    assert judge([0.1, 0.2], sign=0, size=None, tolerance=0.01).word == "undecided"
    assert together(["measured", "undecided"]) == "undecided"
    assert together(["measured"]) == "measured"


EQUAL = [
    ([0.001, -0.002, 0.003], "holds"),
    ([-0.047, -0.045, -0.049], "does not hold"),
    ([0.047, 0.045, 0.049], "does not hold"),
    ([0.02, -0.02, 0.01], "undecided"),
    ([0.008, 0.012, 0.010], "undecided"),  # across the tolerance
]


@pytest.mark.parametrize(("values", "word"), EQUAL)
def test_equality_is_an_interval_within_the_tolerance(values: list[float], word: str) -> None:
    assert judge(values, sign=0, size=None, tolerance=0.01, equal=True).word == word


def test_equal_values_prove_no_more_than_their_number() -> None:
    for n, word in ((3, "undecided"), (5, "undecided"), (6, "holds in direction")):
        assert judge([-0.05] * n, sign=-1, size=None, tolerance=0.01).word == word
    assert judge([-0.05] * 5, sign=-1, size=None, tolerance=0.01).lower is None
    assert judge([0.0] * 3, sign=0, size=None, tolerance=0.01, equal=True).word == "undecided"


def test_a_seed_without_a_value_leaves_it_undecided() -> None:
    values = [-0.05, -0.06, -0.04]
    assert judge(values, sign=-1, size=None, tolerance=0.01).word == "holds in direction"
    found = judge(values, sign=-1, size=None, tolerance=0.01, without=2)
    assert (found.word, found.seeds, found.without) == ("undecided", 3, 2)
    assert judge(values, sign=0, size=None, tolerance=0.01, without=2).word == "measured"
    assert judge([], sign=-1, size=None, tolerance=0.01, without=3).word == "undecided"


@given(st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=12), st.floats(0.001, 0.1))
def test_words_never_contradict_the_interval(values: list[float], size: float) -> None:
    found = judge(values, sign=1, size=size, tolerance=0.01)
    if found.lower is None:
        assert (found.word, len(values) < 6) == ("undecided", True)
        return
    assert found.upper is not None
    if found.word.startswith("holds"):
        assert found.lower > 0
    if found.word == "does not hold":
        assert found.upper < max(0.0, size - 0.01)
    if found.word == "undecided":
        assert found.lower <= 0 <= found.upper


def test_a_claim_is_as_good_as_its_weakest_effect() -> None:
    assert together(["holds", "holds"]) == "holds"
    assert together(["holds", "holds in direction"]) == "holds in direction"
    assert together(["holds", "undecided"]) == "undecided"
    assert together(["holds", "not run", "undecided"]) == "not run"
    assert together(["does not hold", "not run"]) == "does not hold"
    assert together([]) == "undecided"


def test_what_rounding_leaves_has_no_sign() -> None:
    dust = (0.7 - 0.6) - (0.4 - 0.3)
    assert dust != 0.0
    assert judge([dust] * 6, sign=-1, size=None, tolerance=0.01).word == "undecided"
    assert judge([dust] * 6, sign=1, size=None, tolerance=0.01).word == "undecided"
