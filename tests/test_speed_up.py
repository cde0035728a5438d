import math

import numpy as np
import pytest
from scipy import stats

from superconv.analysis.speed_up import _percentiles, speed_up, speed_up_sentence

LENGTHS = (100, 200, 400, 800)


def accuracy(steps):
    return 0.95 - 0.15 * 100 / steps


def ladder(factor=1.0, *, n=5, noise=0.0, shared=None, rng=None, lengths=LENGTHS):
    """Final accuracies of an arm that needs `factor` times fewer steps."""
    rng = rng or np.random.default_rng(0)
    shared = np.zeros(n) if shared is None else shared
    return {
        steps: {seed: accuracy(steps * factor) + shared[seed] + rng.normal(0, noise) for seed in range(n)}
        for steps in lengths
    }


@pytest.mark.parametrize("factor", [1.0, 2.0, 4.0])
def test_without_noise_a_factor_on_the_ladder_is_exact(factor):
    result = speed_up(ladder(factor), ladder())
    assert result.value == pytest.approx(factor)
    assert (result.relation, result.target) == ("=", pytest.approx(accuracy(800)))
    assert (result.lower, result.upper) == pytest.approx((factor, factor))
    assert result.outcome == ("faster" if factor > 1 else "no gain")
    assert [other.baseline_steps for other in result.others] == [100, 200, 400]


def test_between_lengths_the_fit_is_linear_in_log_steps():
    result = speed_up(ladder(3.0), ladder())
    share = (accuracy(800) - accuracy(600)) / (accuracy(1200) - accuracy(600))
    assert result.value == pytest.approx(800 / (200 * 2**share))


def test_past_the_target_at_the_shortest_length_is_a_bound():
    result = speed_up(ladder(20.0), ladder())
    assert (result.value, result.relation, result.text) == (8.0, ">", "> 8x")
    assert (result.lower, result.upper, result.outcome) == (8.0, math.inf, "faster")
    assert "no upper bound" in speed_up_sentence(result)


def test_never_reached_is_a_bound_from_above():
    result = speed_up(ladder(0.3), ladder())
    assert (result.value, result.relation, result.lower, result.upper) == (1.0, "<", 0.0, 1.0)
    assert result.outcome == "no gain"
    assert "only longer trainings" in result.reason
    assert result.others[-1].text == "< 0.5x"
    assert result.others[-1].outcome == "slower"


def test_a_baseline_that_never_reaches_a_given_target_is_a_bound_from_below():
    result = speed_up(ladder(4.0), ladder(), target=accuracy(1600))
    assert (result.value, result.relation, result.baseline_steps) == (2.0, ">", None)
    assert result.outcome == "faster"


def test_a_baseline_past_a_given_target_at_its_shortest_length_is_a_bound_from_above():
    result = speed_up(ladder(), ladder(4.0), target=accuracy(200))
    assert (result.value, result.relation, result.text) == (0.5, "<", "< 0.5x")
    assert (result.lower, result.upper, result.outcome) == (0.0, 0.5, "slower")


def test_a_target_outside_both_arms_is_undefined():
    result = speed_up(ladder(4.0), ladder(), target=0.99)
    assert (result.value, result.text, result.outcome) == (None, "undefined", "undefined (out of reach)")


def test_a_flat_baseline_is_undefined_and_says_why():
    rng = np.random.default_rng(3)
    result = speed_up(ladder(2.0, noise=0.002, rng=rng), ladder(500.0, noise=0.002, rng=rng))
    assert (result.value, result.outcome) == (None, "undefined (flat)")
    assert "from 400 to 800 steps the baseline gains" in result.reason
    assert "from 100 to 200 steps the baseline gains" in result.others[0].reason
    assert "undefined (flat)" in speed_up_sentence(result)


@pytest.mark.parametrize(("errors", "flat"), [(-3.0, True), (1.9, True), (2.1, False)])
def test_flat_is_a_gain_of_less_than_two_standard_errors(errors, flat):
    scatter = 0.01 * np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    gains = errors * scatter.std(ddof=1) / math.sqrt(5) + scatter
    arm = {100: dict.fromkeys(range(5), 0.5), 200: dict(enumerate(0.5 + gains))}
    assert (speed_up(arm, arm).outcome == "undefined (flat)") == flat


def test_a_baseline_that_falls_with_length_is_flat_not_an_error():
    falling = {steps: dict.fromkeys(range(5), -float(steps)) for steps in LENGTHS}
    assert speed_up(ladder(), falling).outcome == "undefined (flat)"


def test_an_arm_is_no_faster_than_itself_where_its_last_lengths_are_level():
    means = {100: 0.8, 200: 0.9, 300: 0.952, 400: 0.95}  # 300 and 400 are pooled; from 200 to 400 it gains
    arm = {steps: {seed: mean + 1e-4 * seed for seed in range(5)} for steps, mean in means.items()}
    result = speed_up(arm, arm)
    assert (result.value, result.lower, result.upper, result.outcome) == (1.0, 1.0, 1.0, "no gain")


def test_an_interval_above_one_is_not_said_to_hold_it():
    rng = np.random.default_rng(1)
    result = speed_up(ladder(1.12, noise=5e-4, rng=rng), ladder(noise=5e-4, rng=rng))
    assert result.lower > 1.0
    assert result.value < 1.1 < result.upper
    assert result.outcome == "inconclusive"
    assert "the interval lies above 1; whether the speed-up is 1.1 or more is open" in speed_up_sentence(result)


def test_too_few_seeds_gives_the_value_without_interval():
    result = speed_up(ladder(2.0, n=3), ladder(n=3))
    assert result.value == pytest.approx(2.0)
    assert (result.lower, result.upper, result.outcome) == (None, None, "too few seeds")


def test_seeds_missing_anywhere_are_left_out_and_named():
    treatment = ladder(2.0, n=7)
    del treatment[200][3]
    result = speed_up(treatment, ladder(n=6))
    assert (result.seeds, result.left_out) == ((0, 1, 2, 4, 5), (3, 6))
    assert "seeds 3, 6" in speed_up_sentence(result)
    nothing = speed_up(ladder(n=5), {100: {9: 0.1}, 200: {9: 0.2}})
    assert (nothing.n, nothing.value, nothing.outcome) == (0, None, "too few seeds")


def test_a_loss_gives_what_its_negative_gives_as_a_score():
    rng = np.random.default_rng(5)
    treatment, baseline = ladder(2.0, noise=0.005, rng=rng), ladder(noise=0.005, rng=rng)

    def mirrored(arm):
        return {steps: {seed: -value for seed, value in values.items()} for steps, values in arm.items()}

    as_loss = speed_up(mirrored(treatment), mirrored(baseline), higher_is_better=False)
    as_score = speed_up(treatment, baseline)
    assert (as_loss.value, as_loss.lower, as_loss.upper) == (as_score.value, as_score.lower, as_score.upper)
    assert as_loss.target == -as_score.target


def test_the_interval_is_reproducible_and_does_not_depend_on_the_order_of_keys():
    rng = np.random.default_rng(6)
    treatment, baseline = ladder(2.0, noise=0.005, rng=rng), ladder(noise=0.005, rng=rng)
    shuffled = {steps: dict(reversed(treatment[steps].items())) for steps in reversed(LENGTHS)}
    assert speed_up(treatment, baseline) == speed_up(shuffled, baseline)
    assert speed_up(treatment, baseline).lower != speed_up(treatment, baseline, resamples=50, seed=1).lower


def test_pairing_removes_what_seeds_share():
    rng = np.random.default_rng(7)
    shared = rng.normal(0, 0.02, 8)
    paired = speed_up(
        ladder(2.0, n=8, noise=0.001, shared=shared, rng=rng), ladder(n=8, noise=0.001, shared=shared, rng=rng)
    )
    unpaired = speed_up(
        ladder(2.0, n=8, noise=0.001, shared=shared[::-1], rng=rng), ladder(n=8, noise=0.001, shared=shared, rng=rng)
    )
    assert paired.upper - paired.lower < 0.3 * (unpaired.upper - unpaired.lower)


@pytest.mark.parametrize("n", [5, 8, 20])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_percentiles_are_widened_as_students_t_widens_the_normal(n, confidence):
    even = np.linspace(0.0, 1.0, 200_001)
    tail = stats.norm.cdf(-math.sqrt(n / (n - 1)) * stats.t.ppf(0.5 + confidence / 2, n - 1))
    assert _percentiles(even, even, n, confidence) == pytest.approx((tail, 1 - tail), abs=1e-5)
    coarse = np.arange(10.0)  # between two resamples the outer one counts
    assert _percentiles(coarse, coarse, n, confidence) == (math.floor(9 * tail), math.ceil(9 * (1 - tail)))


def coverage(n, factor, noise, repeats, seed=0):
    """Share of intervals that hold the truth: the ratio that the noise-free arms give."""
    rng = np.random.default_rng(seed)
    truth = speed_up(ladder(factor, n=5), ladder(n=5)).value
    hits = 0
    for _ in range(repeats):
        shared = rng.normal(0, noise, n)
        treatment = ladder(factor, n=n, noise=noise, shared=shared, rng=rng)
        baseline = ladder(n=n, noise=noise, shared=shared, rng=rng)
        result = speed_up(treatment, baseline, resamples=2000, target=None)
        # a baseline that looks flat states no interval, and so cannot be wrong
        hits += result.lower is None or result.lower <= truth <= result.upper
    return hits / repeats


def test_interval_covers_the_truth():
    assert coverage(n=5, factor=2.0, noise=0.003, repeats=150) >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 8, 16])
@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_interval_covers_the_truth_for_more_seeds_and_ratios(n, factor):
    assert 0.90 <= coverage(n, factor, noise=0.003, repeats=600) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("n", [5, 10])
def test_equal_arms_are_rarely_called_faster(n):
    rng, wrong = np.random.default_rng(n), 0
    for _ in range(600):
        shared = rng.normal(0, 0.003, n)
        arms = [ladder(n=n, noise=0.003, shared=shared, rng=rng) for _ in range(2)]
        wrong += speed_up(*arms, resamples=2000).outcome == "faster"
    assert wrong / 600 <= 0.04


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"treatment has the lengths \[100\]"):
        speed_up({100: {0: 0.5}}, ladder())
    with pytest.raises(ValueError, match=r"baseline has the lengths \[0, 100\]"):
        speed_up(ladder(), {0: {0: 0.5}, 100: {0: 0.5}})
    with pytest.raises(ValueError, match="baseline at 200 steps, seed 1: got inf"):
        speed_up(ladder(), {100: {1: 0.5}, 200: {1: math.inf}})
    with pytest.raises(ValueError, match=r"margin is 1\.0"):
        speed_up(ladder(), ladder(), margin=1.0)
    with pytest.raises(ValueError, match="target is nan"):
        speed_up(ladder(), ladder(), target=math.nan)
    with pytest.raises(ValueError, match="confidence is 2"):
        speed_up(ladder(), ladder(), confidence=2)
    with pytest.raises(ValueError, match="resamples is 0"):
        speed_up(ladder(), ladder(), resamples=0)


@pytest.mark.parametrize("level", [0.8843, 0.9017, 0.9107, 0.9254])  # sums of some round up, of others down
def test_a_level_baseline_is_read_where_its_level_begins_whatever_the_sums_rounded_to(level):
    spread = (-0.01, 0.0, 0.01, 0.005, -0.005)

    def arm(means):
        # the same values over other seeds at every length: equal means, summed in another order
        return {n: {s: m + spread[(s + i) % 5] for s in range(5)} for i, (n, m) in enumerate(means.items())}

    baseline = arm({100: 0.8, 200: level, 300: level, 390: level})
    result = speed_up(arm({50: 0.7, 100: level, 200: 0.95}), baseline, resamples=200)
    assert (result.text, result.relation) == ("2x", "=")
    never_above = speed_up(arm({50: 0.7, 100: level, 150: level}), baseline, resamples=200)
    assert (never_above.text, never_above.relation) == ("2x", "=")
    at_its_shortest = speed_up(arm({100: level, 150: 0.95}), baseline, resamples=200)
    assert (at_its_shortest.text, at_its_shortest.relation) == ("2x", "=")
