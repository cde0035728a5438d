import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from superconv.analysis import loss_rules, synthetic
from superconv.analysis.fork_rules import Fork, best_fork
from superconv.analysis.likely_best import likely_best
from superconv.analysis.metric_rules import accuracy_peak, plateau_edge
from superconv.analysis.range_test import RangeTest, suggest
from superconv.analysis.suggestion import RULES, combine, suggest_all, suggest_one
from superconv.paper import range_tests
from superconv.records import StopReason

MEASURED = Path(__file__).parent.parent / "results" / "range_tests"


def ramp_lrs(shape, start, end, n):
    return np.linspace(start, end, n) if shape == "linear" else np.geomspace(start, end, n)


RAMPS = [
    ("exponential", 1e-6, 1.0), ("exponential", 1e-5, 10.0), ("exponential", 1e-7, 10.0), ("exponential", 1e-4, 0.15),
    ("exponential", 1e-3, 0.3), ("exponential", 1e-8, 100.0), ("linear", 0.0, 0.3), ("linear", 1e-6, 0.3),
    ("linear", 1e-5, 0.1),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "start", "end"), RAMPS)
@pytest.mark.parametrize("noise", [0.01, 0.05, 0.15])
def test_steepest_is_within_twofold_of_the_centre_whatever_the_noise_length_and_ramp(shape, start, end, noise):
    """Pitfall 10."""
    rng = np.random.default_rng(7)
    found = []
    for n in (50, 100, 300, 1000):
        for _ in range(4 if n < 1000 else 1):
            lr = ramp_lrs(shape, start, end, n)
            found.append(loss_rules.steepest(lr, synthetic.fixed_centre(lr, noise, rng)).lr)
    said = [math.log2(lr / synthetic.CENTRE) for lr in found if lr is not None]
    assert len(said) >= 9  # at the largest noise and 50 points over 10 decades it may say nothing
    assert max(map(abs, said)) <= 1.0


@pytest.mark.parametrize(("shape", "end"), [("linear", 1.0), ("linear", 3.0)])
def test_steepest_says_nothing_or_is_right_where_the_ramp_hardly_resolves_the_fall(shape, end):
    rng = np.random.default_rng(8)
    for n in (50, 100, 300):
        lr = ramp_lrs(shape, 0.0, end, n)
        found = loss_rules.steepest(lr, synthetic.fixed_centre(lr, 0.01, rng))
        assert found.lr is None or abs(math.log2(found.lr / synthetic.CENTRE)) < 1.0


def test_steepest_interval_holds_the_centre_about_as_often_as_it_says():
    rng = np.random.default_rng(9)
    lr = np.geomspace(1e-6, 1.0, 100)
    found = [loss_rules.steepest(lr, synthetic.fixed_centre(lr, 0.1, rng)) for _ in range(60)]
    hits = [f.interval[0] <= synthetic.CENTRE <= f.interval[1] for f in found if f.interval]
    assert len(hits) > 30
    assert 0.75 <= np.mean(hits) <= 1.0


@pytest.mark.parametrize("n", [100, 300, 1000])
def test_where_the_onset_follows_the_summed_lr_steepest_reads_the_curve_and_blow_up_the_network(n):
    """The centre moves with the length: "steepest" finds it where it is; only "blow_up" gives one max_lr for all."""
    rng = np.random.default_rng(10)
    lr = np.geomspace(1e-5, 1.0, n)
    true = synthetic.summed_lr_steepest(lr, 0.5)
    for _ in range(5):
        loss = synthetic.summed_lr(lr, 0.05, rng, total=0.5)
        found = loss_rules.steepest(lr, loss)
        assert found.lr is None or abs(math.log2(found.lr / true)) < 1.0
        assert found.lr is not None or n == 100  # there the fall hardly ends before the blow-up
        assert abs(math.log2(loss_rules.blow_up(lr, loss).lr / (synthetic.BLOW_UP / 3))) < 1.0


def test_the_centre_of_that_family_moves_with_the_length():
    assert synthetic.summed_lr_steepest(np.geomspace(1e-5, 1.0, 1000)) < 0.3 * synthetic.summed_lr_steepest(
        np.geomspace(1e-5, 1.0, 100)
    )


NO_SUGGESTION = {
    "flat": np.full(100, 2.3),
    "flat with noise": 2.3 + 0.1 * np.random.default_rng(0).standard_normal(100),
    "monotone up": np.linspace(1.0, 2.0, 100),
    "monotone down": np.linspace(2.0, 1.0, 100),
    "down ever faster": 2.0 - np.exp((np.arange(100) - 99) / 20.0),
    "three points": np.array([2.0, 1.0, 3.0]),
    "one point": np.array([2.0]),
    "empty": np.array([]),
    "all NaN": np.full(100, np.nan),
    "NaN from the third on": np.r_[2.3, 2.2, np.full(98, np.nan)],
}


@pytest.mark.parametrize("name", NO_SUGGESTION)
@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize("rule", ["steepest", "blow_up", "minimum"])
def test_no_suggestion_is_said_with_its_reason(name, shape, rule):
    """Pitfall 11."""
    loss = NO_SUGGESTION[name]
    ramp = RangeTest.from_arrays(lr=ramp_lrs(shape, 1e-5, 1.0, len(loss)), train_loss=loss)
    suggestion = ramp.suggest(rule)
    assert suggestion.lr is suggestion.max_lr is suggestion.min_lr is suggestion.interval is None
    assert len(suggestion.reason) > 20
    assert not suggestion
    assert ramp.summary().startswith("no max_lr to suggest")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_comes_after_the_first_non_finite_loss_does_not_count(bad):
    """Pitfall 9."""
    rng = np.random.default_rng(1)
    lr = np.geomspace(1e-6, 1.0, 200)
    loss = synthetic.fixed_centre(lr, 0.02, rng)
    cut = loss.copy()
    cut[180:] = bad
    after = cut.copy()
    after[181:] = rng.uniform(0.0, 5.0, 19)
    for rule in ("steepest", "minimum", "blow_up"):
        assert RULES[rule](RangeTest.from_arrays(lr=lr, train_loss=cut)) == RULES[rule](
            RangeTest.from_arrays(lr=lr, train_loss=after)
        )
    assert loss_rules.steepest(lr, cut).lr == pytest.approx(loss_rules.steepest(lr, loss).lr, rel=0.1)


def test_a_fall_in_a_gap_of_the_ramp_is_not_placed():
    lr = np.r_[np.geomspace(1e-5, 1e-4, 15), np.geomspace(1e-2, 1e-1, 15)]
    found = loss_rules.steepest(lr, np.where(lr < 1e-3, 2.3, 0.5))
    assert found.lr is None
    assert "the loss falls between LR 0.0001 and 0.01, without a point there" in found.reason


def test_blow_up_and_minimum_on_a_clean_curve():
    lr = np.geomspace(1e-5, 1.0, 500)
    loss = synthetic.fixed_centre(lr, 0.0, np.random.default_rng(0))
    lowest = lr[np.argmin(loss)]
    assert loss_rules.minimum(lr, loss).lr == pytest.approx(lowest / 10, rel=0.15)  # flat at the bottom
    rise = lr[lr > lowest][np.argmax(loss[lr > lowest] > loss.min() + 0.2 * (2.3 - loss.min()))]
    assert loss_rules.blow_up(lr, loss).lr == pytest.approx(rise / 3, rel=0.1)


def metric_curve(lr, edge, *, noise=0.0, rng=None):
    rise = 1 / (1 + (1e-2 / lr) ** 2)
    accuracy = 0.1 + 0.7 * rise / (1 + (lr / edge) ** 12)
    return accuracy if rng is None else accuracy + noise * rng.standard_normal(len(lr))


@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize("n", [50, 200, 1000])
def test_plateau_edge_is_a_third_of_the_edge_where_the_metric_collapses(shape, n):
    lr = ramp_lrs(shape, 1e-3, 3.0, n)
    found = plateau_edge(lr, metric_curve(lr, 0.6, noise=0.02, rng=np.random.default_rng(n)), chance=0.1)
    assert found.lr == pytest.approx(0.6 / 3, rel=0.25)
    assert found.interval[0] <= found.lr <= found.interval[1]


def test_a_short_ramp_is_not_trusted_to_its_edge():
    lr = np.geomspace(1e-3, 0.5, 100)
    about = {"lr": lr, "train_loss": np.full(100, np.nan), "eval_accuracy": metric_curve(lr, 5.0), "chance": 0.1}
    long = RangeTest.from_arrays(**about)
    short = RangeTest.from_arrays(**about, updates_per_row=1)
    assert (long.short, short.short) == (False, True)
    assert long.suggest().lr == pytest.approx(0.5)
    assert short.suggest().lr == pytest.approx(0.5 / 3)
    assert short.suggest().at_edge


@pytest.mark.parametrize("model", ["lenet-slim", "lenet-slim-bn", "mlp", "mlp-bn"])
def test_one_network_measured_in_100_and_in_300_steps_gets_max_lr_within_twofold(model):
    found = []
    for steps in (100, 300):
        ramp = RangeTest.load(MEASURED / f"mnist5k-{model}-sgd-exponential{steps}-seed0.json")
        found.append([dataclasses.replace(ramp, forks=()).suggest(rule).lr for rule in ("plateau_edge", "blow_up")])
    for short, long in zip(*found, strict=True):
        assert 0.5 < short / long < 2.0


def test_plateau_edge_for_a_metric_where_lower_is_better():
    lr = np.geomspace(1e-3, 3.0, 200)
    error = 1.0 - metric_curve(lr, 0.6)
    up = plateau_edge(lr, metric_curve(lr, 0.6), chance=0.1)
    down = plateau_edge(lr, error, chance=0.9, higher_is_better=False)
    assert down.lr == pytest.approx(up.lr)
    assert plateau_edge(lr, error, higher_is_better=False).lr == pytest.approx(up.lr, rel=0.1)  # chance unknown


@pytest.mark.parametrize("name", [n for n in range_tests.names() if "fig11" not in n])
def test_on_flat_good_logs_the_edge_is_suggested_not_the_accidental_peak(name):
    """Pitfall 8c: the peak is anywhere in the plateau; the paper trains these networks at 3."""
    log = range_tests.load(name)
    suggestion = log.suggest()
    assert suggestion.rule == "plateau_edge"
    assert suggestion.max_lr > 0.9 * log.lr[-1]
    assert suggestion.min_lr == pytest.approx(suggestion.max_lr / 10)
    assert suggestion.clr_min_lr == pytest.approx(suggestion.max_lr / 3)
    peak = log.suggest("accuracy_peak")
    assert peak.interval[0] <= peak.lr <= peak.interval[1]


@pytest.mark.parametrize("name", [n for n in range_tests.names() if "fig11" in n])
def test_on_logs_that_collapse_the_suggestion_is_near_the_paper_s_peak(name):
    """arXiv 1708.07120v1, App. A.2: the peak of bottleneck and ResNeXt lies near 0.1 to 0.15, swings beyond."""
    assert 0.1 <= range_tests.load(name).suggest().max_lr <= 0.3


@pytest.mark.parametrize("rule", [plateau_edge, accuracy_peak])
def test_metric_rules_say_why_there_is_nothing(rule):
    lr = np.geomspace(1e-4, 1.0, 50)
    assert "8 are needed" in rule(lr[:5], lr[:5]).reason
    assert "8 are needed" in rule(lr, np.full(50, np.nan)).reason
    assert "nothing was learned" in rule(lr, np.full(50, 0.1), chance=0.1).reason
    assert "start the ramp lower" in rule(lr, np.r_[0.9, 0.9, np.full(48, 0.12)], chance=0.1).reason


@pytest.mark.parametrize("rule", [plateau_edge, accuracy_peak])
def test_noise_around_chance_is_rarely_taken_for_learning(rule):
    lr, rng = np.geomspace(1e-3, 10.0, 60), np.random.default_rng(0)
    found = [rule(lr, 0.1 + 0.02 * rng.standard_normal(60), chance=0.1) for _ in range(60)]
    assert sum("never rises clearly" in each.reason for each in found) >= 48
    assert rule(lr, metric_curve(lr, 1.0, noise=0.02, rng=rng), chance=0.1).lr is not None


def test_a_slow_decline_beyond_the_edge_is_tolerated():
    lr = np.geomspace(1e-3, 10.0, 200)
    decades = np.clip(np.log10(lr / 0.1), 0.0, None)
    found = plateau_edge(lr, 0.1 + 0.7 * (1 - 0.2 * decades) / (1 + (0.01 / lr) ** 2), chance=0.1)
    assert found.lr == pytest.approx(1.0, rel=0.1)  # a decade above the best, a fifth is gone
    assert found.interval == pytest.approx((found.lr / 3, found.lr))
    assert "declines slowly" in found.reason
    assert not found.at_edge


def test_the_interval_of_the_peak_is_what_two_standard_errors_leave_open():
    lr, noise, bend = np.geomspace(0.01, 10.0, 3000), 0.01, 0.1
    metric = 0.8 - bend * np.log10(lr / 0.3) ** 2 + noise * np.random.default_rng(0).standard_normal(3000)
    found = accuracy_peak(lr, metric, chance=0.1)
    half = 10 ** math.sqrt(2 * noise / math.sqrt(5) / bend)  # of medians of five
    assert found.lr == pytest.approx(0.3, rel=0.3)
    assert found.interval == pytest.approx((0.3 / half, 0.3 * half), rel=0.15)
    assert "the peak is an accident" in found.reason
    sharp = accuracy_peak(lr, 0.8 - 4 * bend * np.log10(lr / 0.3) ** 2, chance=0.1)
    assert "accident" not in sharp.reason


def forks(metrics, diverged=()):
    lrs = np.geomspace(0.01, 10.0, len(metrics))
    return [Fork(i, float(lr), m, 1 - m, 30, i in diverged) for i, (lr, m) in enumerate(zip(lrs, metrics, strict=True))]


def test_best_fork_is_the_likelihood_weighted_mean():
    branches = forks([0.5, 0.8, 0.9, 0.9, 0.9, 0.8, 0.1])
    found = best_fork(branches, eval_samples=1000)
    assert found.lr == pytest.approx(branches[3].lr, rel=1e-3)  # symmetric but for the outer ones
    low, high = (math.sqrt(branches[i].lr * branches[i + 1].lr) for i in (1, 4))  # half-way to the first that is worse
    assert low < found.interval[0] < branches[2].lr
    assert branches[4].lr < found.interval[1] < high
    assert best_fork(branches[::-1], eval_samples=1000) == found
    lucky = forks([0.5, 0.8, 0.9, 0.9, 0.905, 0.8, 0.1])  # a third of a standard error moves it by less than a fork
    assert 1.0 < best_fork(lucky, eval_samples=1000).lr / found.lr < (branches[4].lr / branches[3].lr) ** 0.25


@pytest.mark.parametrize("samples", [None, 200, 20_000])
def test_the_noise_of_forks_is_that_of_two_evaluations_and_at_least_a_share_of_their_spread(samples):
    metrics = [0.3, 0.55, 0.6, 0.59, 0.4]
    branches = forks(metrics)
    error = max(2 * math.sqrt(2 * 0.6 * 0.4 / samples) if samples else 0.0, 0.04 * 0.3)
    expected = likely_best([fork.lr for fork in branches], metrics, error=error)
    found = best_fork(branches, eval_samples=samples)
    assert found.lr == pytest.approx(expected.lr)
    assert found.interval == pytest.approx(expected.interval)


def test_best_fork_without_ties_and_at_the_upper_end():
    clear = best_fork(forks([0.2, 0.5, 0.9, 0.6, 0.3]), eval_samples=1000)
    assert clear.lr == pytest.approx(forks([0.0] * 5)[2].lr, rel=1e-3)
    rising = best_fork(forks([0.2, 0.4, 0.6, 0.8, 0.9]), eval_samples=1000)
    assert rising.at_edge
    assert rising.lr > 9.0
    assert "longer ramp" in rising.reason


def test_best_fork_ignores_diverged_branches_and_needs_three():
    assert best_fork(forks([0.5, 0.6, 0.7, 0.95], diverged=[3])).lr < 5.0
    assert best_fork(forks([0.5, 0.6, 0.7], diverged=[0, 1, 2])).lr is None
    assert "3 are needed" in best_fork(forks([0.5, 0.6, 0.7], diverged=[0])).reason
    assert best_fork([]).lr is None
    assert "do not tell" in best_fork(forks([0.5, 0.5, 0.5])).reason


@pytest.mark.parametrize("exploded", [2.3, 20.0, 200.0, 1e6])
def test_a_branch_that_all_but_blew_up_does_not_make_the_others_equal(exploded):
    """Losses have no bound: 4% of a spread up to 200 is more than all that the good branches differ by."""
    losses = [2.3, 2.2, 1.9, 1.2, 0.6, exploded]
    found = best_fork([Fork(i, 1e-3 * 3**i, math.nan, loss, 30) for i, loss in enumerate(losses)])
    assert found.lr == pytest.approx(1e-3 * 3**4, rel=0.01)
    assert "the best of 6 forks is at LR 0.081" in found.reason


def test_half_of_the_branches_equally_good_and_one_that_blew_up():
    losses = [0.6, 0.6, 0.6, 0.6, 20.0]  # best and median do not differ, so that the whole spread has to do
    found = best_fork([Fork(i, 1e-3 * 3**i, math.nan, loss, 30) for i, loss in enumerate(losses)])
    assert "4 of 5 forks tie" in found.reason


def test_best_fork_by_loss_where_no_metric_was_measured():
    branches = [Fork(i, 0.1 * 2**i, math.nan, loss, 30) for i, loss in enumerate([1.0, 0.5, 0.2, 0.6])]
    assert best_fork(branches).lr == pytest.approx(0.4, rel=1e-3)


def test_the_default_rule_is_the_best_that_was_measured():
    lr = np.geomspace(1e-4, 1.0, 100)
    loss = synthetic.fixed_centre(lr, 0.01, np.random.default_rng(0))
    bare = RangeTest.from_arrays(lr=lr, train_loss=loss)
    with_metric = RangeTest.from_arrays(lr=lr, train_loss=loss, eval_accuracy=metric_curve(lr, 0.3))
    with_forks = RangeTest(lr=lr, train_loss=loss, forks=tuple(forks([0.2, 0.5, 0.9, 0.6, 0.3])))
    assert [r.suggest().rule for r in (bare, with_metric, with_forks)] == ["blow_up", "plateau_edge", "best_fork"]
    assert suggest([with_forks, bare]).rule == "blow_up"  # what both allow


def test_where_the_default_rule_says_nothing_the_next_one_answers_and_says_so():
    """Asking for forks must not tell less than not asking: accuracy at a guesser's, a loss that falls and blows up."""
    lr = np.geomspace(1e-4, 1.0, 100)
    loss = synthetic.fixed_centre(lr, 0.01, np.random.default_rng(0))
    flat = np.full(100, 0.95)
    ramp = RangeTest(lr=lr, train_loss=loss, metric=flat, chance=0.95, eval_samples=500, forks=tuple(forks([0.95] * 5)))
    said = ramp.suggest()
    assert said.rule == "blow_up"
    assert said.lr == ramp.suggest("blow_up").lr
    assert said.reason.startswith(ramp.suggest("blow_up").reason)
    assert said.reason.endswith(f"best_fork gives none: {ramp.suggest('best_fork').reason}")
    assert ramp.suggest("best_fork").lr is None  # asked for by name
    assert suggest([ramp, ramp]).rule == "blow_up"  # one rule for all repeats
    dead = dataclasses.replace(ramp, train_loss=np.full(100, 2.3))
    assert dead.suggest() == dead.suggest("best_fork")
    assert dead.suggest().lr is None


def test_a_short_ramp_without_forks_is_called_rough():
    lr = np.geomspace(1e-4, 1.0, 100)
    bare = RangeTest.from_arrays(
        lr=lr, train_loss=synthetic.fixed_centre(lr, 0.01, np.random.default_rng(0)), updates_per_row=1
    )
    assert "\nrough: " in bare.summary()
    with_forks = dataclasses.replace(bare, forks=tuple(forks([0.2, 0.5, 0.9, 0.6, 0.3])))
    long = dataclasses.replace(bare, settings={"updates_per_row": 100})
    assert not any("rough" in ramp.summary() for ramp in (with_forks, long))


def test_an_unknown_rule_is_refused_with_the_near_one():
    ramp = RangeTest.from_arrays(lr=[0.1], train_loss=[1.0])
    with pytest.raises(ValueError, match="did you mean 'steepest'"):
        suggest_one(ramp, "stepest")


def repeats(edges):
    lr = np.geomspace(1e-3, 10.0, 200)
    return [
        RangeTest.from_arrays(lr=lr, train_loss=np.full(200, np.nan), eval_accuracy=metric_curve(lr, edge), chance=0.1,
                              settings={"seed": seed})
        for seed, edge in enumerate(edges)
    ]  # fmt: skip


def test_repeats_give_the_geometric_mean_and_an_interval():
    two = suggest(repeats([0.5, 2.0]))
    single = [r.suggest().lr for r in repeats([0.5, 2.0])]
    assert two.lr == pytest.approx(math.sqrt(single[0] * single[1]))
    assert two.interval == pytest.approx((min(single), max(single)))
    assert (two.n, two.seeds) == (2, (0, 1))
    three = suggest(repeats([0.5, 1.0, 2.0]))
    logs = np.log([r.suggest().lr for r in repeats([0.5, 1.0, 2.0])])
    half = 4.302653 * logs.std(ddof=1) / math.sqrt(3)  # t quantile, two degrees of freedom
    assert three.interval == pytest.approx((math.exp(logs.mean() - half), math.exp(logs.mean() + half)), rel=1e-4)


def test_repeats_without_suggestion_are_named_and_a_half_of_them_is_too_many():
    lr = np.geomspace(1e-3, 10.0, 200)
    silent = RangeTest.from_arrays(lr=lr, train_loss=np.full(200, np.nan), eval_accuracy=np.full(200, 0.1), chance=0.1)
    mixed = suggest([*repeats([0.5, 0.6]), silent])
    assert mixed.n == 2
    assert "1 more gave none" in mixed.reason
    none = suggest([*repeats([0.5]), silent])
    assert none.lr is None
    assert "1 of 2 range tests give no suggestion" in none.reason


def test_nothing_and_mixed_rules_cannot_be_combined():
    with pytest.raises(ValueError, match="at least one"):
        suggest([])
    ramp = repeats([0.5])[0]
    with pytest.raises(ValueError, match="several rules"):
        combine([suggest_one(ramp, "plateau_edge"), suggest_one(ramp, "accuracy_peak")])


def test_best_fork_says_nothing_where_no_branch_beats_a_guesser():
    forks = [Fork(k, 10.0**-k, 0.1 + 0.004 * k, 2.3, 30) for k in range(5)]
    silent = best_fork(forks, eval_samples=1000, chance=0.1)
    assert silent.lr is None
    assert "no fork's accuracy is told from a guesser's: the best reaches 0.116, a guesser 0.1" in silent.reason
    assert best_fork(forks, eval_samples=100_000, chance=0.1).lr is not None
    assert best_fork(forks, eval_samples=1000).lr is not None  # chance unknown
    learned = [dataclasses.replace(fork, metric=fork.metric + 0.1) for fork in forks]
    assert best_fork(learned, eval_samples=1000, chance=0.1).lr is not None


def test_losses_behind_a_gap_are_not_used_and_the_answer_says_why():
    lr = np.geomspace(1e-6, 1.0, 200)
    loss = synthetic.fixed_centre(lr, 0.02, np.random.default_rng(1))
    loss[3] = np.nan
    reason = loss_rules.steepest(lr, loss).reason
    assert "3 usable losses" in reason
    assert "196 more come after one that is no number, which ends the curve: leave out rows without a loss" in reason
    assert "come after" not in loss_rules.steepest(lr[:3], loss[:3]).reason


@pytest.mark.parametrize("repeats", [2, 3])
def test_repeats_that_agree_on_a_row_know_the_rate_no_better_than_the_rows_lie(repeats):
    lr = np.geomspace(1e-6, 1.0, 100)
    same = RangeTest.from_arrays(lr=lr, train_loss=synthetic.fixed_centre(lr, 0.02, np.random.default_rng(1)))
    combined = suggest_all([same] * repeats, "minimum")
    low, high = combined.interval
    row = lr[1] / lr[0]
    assert combined.lr == pytest.approx(same.suggest("minimum").lr)
    assert (combined.lr / low, high / combined.lr) == pytest.approx((row**0.5, row**0.5))


def test_where_forks_learned_nothing_the_ramps_own_accuracy_is_not_read():
    lr = np.geomspace(1e-4, 1.0, 100)
    loss = synthetic.fixed_centre(lr, 0.01, np.random.default_rng(0))
    curve = metric_curve(lr, 0.3)  # which "plateau_edge" would read
    forked = RangeTest(
        lr=lr, train_loss=loss, metric=curve, chance=0.1, eval_samples=500, forks=tuple(forks([0.1] * 5))
    )
    assert forked.suggest("plateau_edge").lr is not None
    assert forked.suggest().rule == "blow_up"
    assert "\nrough: the forks tell nothing" in forked.summary()
    flat = dataclasses.replace(forked, train_loss=np.full(100, 2.3))
    assert flat.suggest().lr is None


def diverged_ramp(shape, n, kept, *, last=None, every=None):
    """A ramp that learned, and ended in a divergence that its smoothed loss and its last metric do not show."""
    lr = ramp_lrs(shape, 1e-5, 0.15, n)[:kept]
    loss = synthetic.fixed_centre(lr, 0.02, np.random.default_rng(3))
    metric = None
    if every is not None:
        metric = np.full(kept, np.nan)
        metric[every - 1 :: every] = 1.0 - loss[every - 1 :: every] / 2.5
    if last is not None:
        loss[-1] = last
    return RangeTest(lr=lr, train_loss=loss, metric=metric, chance=0.1, stop=StopReason.diverged)


@pytest.mark.parametrize("last", [None, 1e6], ids=["not finite", "far above"])
def test_a_divergence_that_the_smoothed_loss_does_not_show_is_a_blow_up(last):
    ramp = diverged_ramp("exponential", 100, 95, last=last)
    edge = ramp.lr[-1 if last is None else -2]
    for rule in (None, "blow_up"):
        assert ramp.suggest(rule).lr == pytest.approx(edge / 3)
        assert "diverges right behind" in ramp.suggest(rule).reason
    assert not any("end_lr" in ramp.suggest(rule).reason for rule in RULES)
    completed = dataclasses.replace(ramp, stop=StopReason.completed)
    assert "raise end_lr" in completed.suggest("blow_up").reason


def test_the_lowest_loss_of_a_ramp_may_be_its_last_before_a_divergence():
    lr = np.geomspace(1e-4, 1.0, 60)
    falling = 2.0 - np.exp((np.arange(60) - 59) / 12)
    assert loss_rules.minimum(lr, falling).lr is None
    assert loss_rules.minimum(lr, falling, diverged=True).lr == pytest.approx(0.1, rel=0.2)
    assert "use more steps" in loss_rules.steepest(lr, falling, diverged=True).reason


def test_a_long_ramp_is_not_trusted_to_its_edge_where_it_diverged_behind_it():
    """Evaluations are far apart there: the last one may be as good as all before."""
    ramp = diverged_ramp("linear", 1200, 1150, every=40)
    assert not ramp.short
    edge = ramp.lr[1119]
    found = ramp.suggest()
    assert found.rule == "plateau_edge"
    assert found.lr == pytest.approx(edge / 3)
    assert "training diverges beyond" in found.reason
    assert not found.at_edge
    assert not ramp.suggest("accuracy_peak").at_edge
    assert dataclasses.replace(ramp, stop=StopReason.completed).suggest().lr == pytest.approx(edge)


def test_the_last_fork_before_a_divergence_is_no_edge_of_the_ramp():
    rising = [0.5, 0.6, 0.7, 0.95]
    assert best_fork(forks(rising)).at_edge
    found = best_fork(forks(rising), diverged=True)
    assert not found.at_edge
    assert "before the ramp diverged" in found.reason
