import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from superconv.analysis.comparison import holm, outcome, paired_difference, sentence


def arm(values):
    return dict(enumerate(values))


def difference(values, **options):
    """Pairs with exactly these differences."""
    return paired_difference(arm(values), arm([0.0] * len(values)), **options)


@pytest.mark.parametrize("n", [5, 6, 11, 40])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_interval_and_p_are_scipys_paired_t(n, confidence):
    rng = np.random.default_rng(n)
    treatment, baseline = rng.normal(0.8, 0.02, n), rng.normal(0.79, 0.02, n)
    ours = paired_difference(arm(treatment), arm(baseline), confidence=confidence)
    theirs = stats.ttest_rel(treatment, baseline)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (ours.lower, ours.upper) == pytest.approx(tuple(theirs.confidence_interval(confidence)), rel=1e-9)
    assert ours.standard_deviation == pytest.approx(np.std(treatment - baseline, ddof=1))


def test_a_loss_turns_the_sign_and_keeps_the_values():
    ours = paired_difference(arm([1.0] * 5), arm([1.5, 1.6, 1.7, 1.8, 1.9]), higher_is_better=False)
    assert ours.mean == pytest.approx(0.7)
    assert ours.treatment == (1.0,) * 5
    assert outcome(ours, margin=0.1) == "faster"


def test_unmatched_seeds_are_named_and_left_out():
    ours = paired_difference({1: 0.5, 2: 0.6, 9: 1.0}, {2: 0.5, 1: 0.5, 7: 0.0})
    assert (ours.seeds, ours.left_out, ours.n) == ((1, 2), (7, 9), 2)
    assert ours.differences == pytest.approx((0.0, 0.1))
    assert "left out, in one arm only: seeds 7, 9" in sentence(ours, margin=0.01)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_too_few_seeds_is_an_outcome_that_still_shows_the_values(n):
    ours = difference([0.01, 0.03, 0.02, 0.05][:n])
    assert (ours.lower, ours.upper, ours.p_value) == (None, None, None)
    assert outcome(ours, margin=0.01) == "too few seeds"
    text = sentence(ours, margin=0.01)
    assert f"n={n}" in text
    assert "5 are needed" in text
    assert n == 0 or "+1" in text


def test_a_small_but_certain_gain_is_not_said_to_be_open():
    ours = difference([0.0040, 0.0043, 0.0042, 0.0039, 0.0060])
    assert outcome(ours, margin=0.005) == "inconclusive"
    assert ours.lower > 0
    told = sentence(ours, margin=0.005)
    assert told.startswith("the treatment is better than the baseline, but whether by an amount that matters is open")
    assert sentence(ours, margin=0.005, p_value=0.2).startswith("whether the treatment is better than the baseline is")


def test_equal_differences_claim_no_more_than_the_sign_test():
    five, six = difference([0.05] * 5), difference([0.05] * 6)
    assert (five.p_value, six.p_value) == (1 / 16, 1 / 32)
    assert outcome(five, margin=0.01) == "inconclusive"
    assert outcome(six, margin=0.01) == "faster"
    assert "sign test" in sentence(six, margin=0.01)
    # equal but for rounding is equal
    assert paired_difference(arm([0.3, 0.7, 1.1, 0.9, 0.4]), arm([0.2, 0.6, 1.0, 0.8, 0.3])).standard_deviation == 0.0
    same = difference([0.0] * 5)
    assert (same.p_value, outcome(same, margin=0.001)) == (1.0, "inconclusive")
    assert outcome(difference([0.0] * 6), margin=0.001) == "no gain"
    worse = difference([-0.01] * 5)
    assert (worse.lower, worse.upper, outcome(worse, margin=0.002)) == (None, None, "inconclusive")
    assert "no interval, n=5" in sentence(worse, margin=0.002)
    small = paired_difference(arm([3e-13] * 6), arm([1e-13] * 6))
    assert (small.mean, outcome(small, margin=1e-14)) == (pytest.approx(2e-13), "faster")
    assert "check that the arms differ" in sentence(same, margin=0.001)


@pytest.mark.parametrize(
    ("mean", "spread", "word"),
    [
        (0.010, 0.001, "faster"),
        (-0.010, 0.001, "slower"),
        (0.001, 0.0005, "no gain"),  # surely above 0, and surely too small to matter
        (-0.001, 0.0005, "no gain"),
        (0.0, 0.001, "no gain"),
        (-0.003, 0.004, "no gain"),  # may be worse, a gain that matters is excluded
        (0.002, 0.02, "inconclusive"),
        (0.0045, 0.002, "inconclusive"),  # surely above 0, whether it matters is open
    ],
)
def test_the_five_words(mean, spread, word):
    ours = difference(mean + spread * np.array([-1.0, -0.5, 0.0, 0.5, 1.0]))
    assert outcome(ours, margin=0.005) == word
    assert f"{100 * ours.mean:+.3g} points" in sentence(ours, margin=0.005)


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=9), st.floats(0.001, 0.5))
def test_swapping_the_arms_mirrors_the_claims(values, margin):
    ours, swapped = difference(values), difference([-v for v in values])
    mirror = {"faster": "slower", "slower": "faster"}
    word = outcome(ours, margin=margin)
    if word in mirror:
        assert outcome(swapped, margin=margin) in (mirror[word],)
    else:
        assert outcome(swapped, margin=margin) not in mirror


def test_an_adjusted_p_value_withdraws_the_claim():
    ours = difference([0.02, 0.03, 0.02, 0.05, 0.02])
    assert outcome(ours, margin=0.001) == "faster"
    assert outcome(ours, margin=0.001, p_value=0.2) == "inconclusive"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_equals_the_step_down_procedure(p_values):
    adjusted = holm({str(i): p for i, p in enumerate(p_values)})
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[i] * (len(p_values) - rank) > level:
                break
            rejected.add(str(i))
        assert {name for name, p in adjusted.items() if p <= level} == rejected


def test_holm_leaves_untested_arms_out_of_the_family():
    assert holm({"a": 0.04, "b": None}) == {"a": 0.04, "b": None}
    assert holm({}) == {}
    with pytest.raises(ValueError, match=r"'a' is 1\.5"):
        holm({"a": 1.5})


def test_interval_covers_the_truth_as_often_as_it_says():
    rng, hits, runs = np.random.default_rng(0), 0, 1500
    for _ in range(runs):
        shared = rng.normal(0, 0.02, 5)
        ours = paired_difference(
            arm(0.81 + shared + rng.normal(0, 0.003, 5)), arm(0.8 + shared + rng.normal(0, 0.003, 5))
        )
        hits += ours.lower <= 0.01 <= ours.upper
    assert hits / runs == pytest.approx(0.95, abs=0.02)  # 3.5 standard errors


def test_no_gain_is_rarely_said_of_a_gain_that_matters():
    rng, wrong, runs = np.random.default_rng(1), 0, 1500
    for _ in range(runs):
        wrong += outcome(difference(rng.normal(0.002, 0.001, 5)), margin=0.002) == "no gain"
    assert wrong / runs == pytest.approx(0.025, abs=0.015)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"treatment, seed 3: got nan.*chance"):
        paired_difference({3: float("nan")}, {3: 1.0})
    with pytest.raises(ValueError, match="confidence is 95"):
        paired_difference({}, {}, confidence=95)
    with pytest.raises(ValueError, match="margin is 0"):
        outcome(difference([0.1] * 5), margin=0)


def test_the_sentence_of_a_loss_says_that_its_difference_is_turned_round():
    values = {seed: 1.0 + 0.01 * seed for seed in range(6)}
    better = {seed: value - 0.5 + 0.001 * seed for seed, value in values.items()}
    found = paired_difference(better, values, higher_is_better=False)
    text = sentence(found, margin=0.1, metric="loss", points=False)
    assert "loss, turned round so that positive is better, differs by +0.4" in text
    plain = sentence(paired_difference(values, better), margin=0.1)
    assert "turned" not in plain
