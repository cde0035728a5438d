import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from superconv.analysis.fork_rules import Fork, fork_edge
from superconv.analysis.likely_best import likely_best
from superconv.analysis.plateau import find_plateau
from superconv.analysis.range_test import RangeTest
from superconv.analysis.reference import best_constant
from superconv.analysis.thresholds import Thresholds
from superconv.analysis.verdict import Verdict
from superconv.paper import range_tests
from superconv.records import StopReason

LOGS = {name: range_tests.load(name, keep_first=True) for name in range_tests.names()}
LABEL = {name: "narrow" if name.startswith("fig11") else "wide" for name in LOGS}


def rows(log, index, *, lr=None, accuracy=None):
    index = np.asarray(index)
    return RangeTest.from_arrays(
        lr=log.lr[index] if lr is None else lr,
        train_loss=np.full(len(index), np.nan),
        eval_accuracy=log.metric[index] if accuracy is None else np.clip(accuracy, 0.0, 1.0),
        chance=log.chance,
        eval_samples=log.eval_samples,
        reference_lr=0.35,
    )


@pytest.mark.parametrize("name", LOGS)
def test_every_log_of_the_authors(name):
    verdict = LOGS[name].verdict()
    assert verdict.tolerance == LABEL[name]
    assert verdict.speed_up is None
    assert not verdict.super_converges
    assert f"{verdict.evidence['edge_ratio']:.1f} times the reference LR 0.35" in verdict.reasons[0]


@pytest.mark.parametrize("name", LOGS)
def test_untrained_row_is_harmless(name):
    assert range_tests.load(name).verdict() == LOGS[name].verdict()


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("points", [50, 35, 20])
@pytest.mark.parametrize("noise", [0.0, 0.003, 0.03])
def test_thinned_and_jittered(name, points, noise):
    """0.003 is the binomial error of 25,000 images; 0.03 ten times that; LRs are jittered by 5%."""
    log, rng = LOGS[name], np.random.default_rng(points)
    for start in range(3):
        index = np.linspace(start, len(log) - 1, points).astype(int)
        accuracy = log.metric[index] + noise * rng.standard_normal(points)
        lr = log.lr[index] * np.exp((0.05 if noise else 0.0) * rng.standard_normal(points))
        found = rows(log, index, lr=lr, accuracy=accuracy).verdict().tolerance
        assert found == LABEL[name] or (points == 20 and found == "inconclusive")


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("every", [1, 4])
def test_cut_anywhere_it_is_first_inconclusive_then_right_and_never_wrong(name, every):
    log = LOGS[name]
    index = np.arange(0, len(log), every)
    cuts = range(1, len(index) + 1, max(1, len(index) // 60))
    found = [rows(log, index[:cut]).verdict().tolerance for cut in cuts]
    assert set(found) <= {"inconclusive", LABEL[name]}
    if len(index) >= 40:
        first = found.index(LABEL[name])
        assert set(found[first:]) == {LABEL[name]}


@pytest.mark.parametrize(
    ("name", "end"),
    [(name, 0.45 if label == "narrow" else 0.3) for name, label in LABEL.items()],
)
def test_cut_too_early_to_know(name, end):
    verdict = rows(LOGS[name], np.flatnonzero(LOGS[name].lr <= end)).verdict()
    assert verdict.tolerance == "inconclusive"
    if verdict.evidence["points"] >= 8:
        assert "too early to tell; set end_lr to" in verdict.reasons[0]


def curve(edge, *, peak=0.8, n=200, noise=0.0, floor=0.1, **about):
    lr = np.linspace(0.01, 6.0, n)
    shape = 1.0 / (1.0 + (lr / edge) ** 16)
    accuracy = floor + (peak - 0.1) * shape + noise * np.random.default_rng(0).standard_normal(n)
    about = {"chance": 0.1, "reference_lr": 0.35, "eval_samples": 1000} | about
    return RangeTest.from_arrays(lr=lr, train_loss=np.full(n, np.nan), eval_accuracy=np.clip(accuracy, 0, 1), **about)


def test_edge_ratio_decides_and_the_gap_between_the_thresholds_is_inconclusive():
    found = {ratio: curve(0.35 * ratio).verdict().tolerance for ratio in (1.0, 2.0, 2.6, 3.5, 4.5, 8.0)}
    assert found == {1.0: "narrow", 2.0: "narrow", 2.6: "narrow", 3.5: "inconclusive", 4.5: "wide", 8.0: "wide"}


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_scale_free(scale):
    ramp = curve(0.7, noise=0.01)
    scaled = RangeTest.from_arrays(
        lr=ramp.lr * scale, train_loss=ramp.train_loss, eval_accuracy=ramp.metric, chance=0.1, reference_lr=0.35 * scale
    )
    assert scaled.verdict().tolerance == "narrow"
    assert scaled.verdict().evidence["edge_ratio"] == pytest.approx(ramp.verdict().evidence["edge_ratio"])


def test_what_is_missing_is_asked_for():
    ramp = curve(0.7)
    no_metric = RangeTest.from_arrays(lr=ramp.lr, train_loss=np.ones(len(ramp)), reference_lr=0.35)
    assert no_metric.verdict().tolerance == "inconclusive"
    assert "eval_batches=" in no_metric.verdict().reasons[0]
    no_reference = dataclasses.replace(ramp, reference_lr=None).verdict()
    assert no_reference.tolerance == "inconclusive"
    assert "reference_lr=" in no_reference.reasons[0]
    assert dataclasses.replace(ramp, reference_lr=None).verdict(reference_lr=0.35) == ramp.verdict()
    few = rows(LOGS["fig2b-lrrange-20k"], np.arange(5)).verdict()
    assert "8 are needed" in few.reasons[0]


def test_an_empty_ramp_is_inconclusive():
    assert RangeTest.from_arrays(lr=[], train_loss=[], reference_lr=0.1).verdict().tolerance == "inconclusive"


def test_nothing_learned_and_a_peak_within_noise():
    assert "nothing learned" in curve(0.7, peak=0.1).verdict().reasons[0]
    assert "peaks only" in curve(0.7, peak=0.13, noise=0.01).verdict().reasons[0]


@pytest.mark.parametrize("name", LOGS)
def test_unknown_chance_never_turns_a_verdict_round(name):
    found = dataclasses.replace(LOGS[name], chance=None).verdict()
    assert found.tolerance in (LABEL[name], "inconclusive")


def test_unknown_chance_that_matters_is_asked_for():
    # 0.85 falls to 0.6: two thirds are left if chance is 0, nothing if 0.6 itself is chance
    verdict = curve(0.7, peak=0.35, floor=0.6, chance=None).verdict()
    assert verdict.tolerance == "inconclusive"
    assert "pass chance=" in verdict.reasons[0]


def test_metrics_where_lower_is_better():
    ramp = curve(0.7)
    error = dataclasses.replace(
        ramp, metric=1.0 - ramp.metric, chance=0.9, higher_is_better=False, metric_name="error", eval_samples=None
    )
    assert error.verdict().tolerance == ramp.verdict().tolerance == "narrow"
    assert error.verdict().evidence["upper_edge"] == ramp.verdict().evidence["upper_edge"]
    unknown = dataclasses.replace(error, chance=None).verdict()
    assert "chance=" in unknown.reasons[0]


def test_a_divergence_right_after_the_edge_is_a_collapse():
    ramp = curve(9.9)
    cut = {"lr": ramp.lr[:25], "train_loss": ramp.train_loss[:25], "metric": ramp.metric[:25]}
    assert dataclasses.replace(ramp, **cut, eval_loss=None).verdict().tolerance == "inconclusive"
    diverged = dataclasses.replace(ramp, **cut, eval_loss=None, stop=StopReason.diverged)
    assert diverged.verdict().tolerance == "narrow"


def test_one_late_swing_back_does_not_move_the_edge():
    ramp = curve(0.7)
    metric = ramp.metric.copy()
    metric[150:170] = 0.8
    assert dataclasses.replace(ramp, metric=metric).verdict().evidence["edge_ratio"] < 2.5


def test_a_late_swing_back_counts_from_the_reference_on():
    lr = np.geomspace(1e-4, 6.0, 400)  # most points lie below the reference, where every one holds
    accuracy = 0.1 + 0.7 / (1.0 + (lr / 0.7) ** 16)
    accuracy[(lr > 3.0) & (lr < 4.0)] = 0.78
    ramp = RangeTest.from_arrays(
        lr=lr, train_loss=np.full(400, np.nan), eval_accuracy=accuracy, chance=0.1, reference_lr=0.35
    )
    assert ramp.verdict().evidence["edge_ratio"] < 2.5


@pytest.mark.parametrize(("low", "tolerance"), [(1, "inconclusive"), (2, "inconclusive"), (5, "narrow")])
def test_a_few_low_points_at_the_end_are_no_collapse(low, tolerance):
    lr = 0.7 * 1.3 ** np.arange(-20, low + 1)
    accuracy = np.where(lr < 0.75, 0.8, 0.1)
    ramp = RangeTest.from_arrays(
        lr=lr, train_loss=np.full(len(lr), np.nan), eval_accuracy=accuracy, chance=0.1, reference_lr=0.35
    )
    assert ramp.verdict().tolerance == tolerance


def test_the_peak_has_the_binomial_error_or_that_of_the_curves_noise():
    counted = curve(0.7, peak=0.3, noise=0.03, eval_samples=250).verdict().evidence
    share = 0.1 + 0.9 * counted["peak_kappa"]
    assert counted["peak_kappa_error"] == pytest.approx(np.sqrt(share * (1 - share) / 250) / 0.9)
    verdict = curve(0.7, peak=0.3, noise=0.03, eval_samples=None).verdict()
    assert verdict.evidence["peak_kappa_error"] == pytest.approx(0.03 / np.sqrt(5) / 0.9, rel=0.3)
    assert verdict.tolerance == "narrow"


def short(edge, **about):
    """A ramp of 100 updates: what happened in the last few of them had no time to show."""
    return dataclasses.replace(curve(edge, n=100, updates_per_row=1), **about)


def test_a_short_ramp_must_reach_further():
    assert curve(0.35 * 8, n=100).verdict().tolerance == "wide"
    verdict = short(0.35 * 8).verdict()
    assert verdict.tolerance == "inconclusive"
    assert verdict.evidence["edge_from"] == "short ramp"
    assert short(0.35 * 13).verdict().tolerance == "wide"
    assert short(0.35 * 5).verdict().tolerance == "narrow"
    lr = np.sort(curve(1, n=100).lr)
    plateau = find_plateau(lr, short(1.0).metric, chance=0.1)
    assert short(1.0).verdict().evidence["upper_edge"] == pytest.approx(lr[plateau.edge_index - Thresholds().dwell])


def branches(heights, lrs=None):
    lrs = 0.35 * 2.0 ** np.arange(len(heights)) if lrs is None else lrs
    return tuple(Fork(i, float(lr), m, 1.0, 30, m == 0.0) for i, (lr, m) in enumerate(zip(lrs, heights, strict=True)))


def test_forks_come_before_the_ramp():
    wide = short(1.0, forks=branches([0.8, 0.85, 0.9, 0.89]))
    assert wide.verdict().tolerance == "wide"
    assert wide.verdict().evidence["edge_from"] == "forks"
    assert short(9.0, forks=branches([0.8, 0.9, 0.88, 0.0])).verdict().tolerance == "narrow"
    assert short(9.0, forks=branches([0.8, 0.9, 0.88])).verdict().tolerance == "inconclusive"  # none failed yet


def test_fork_edge_counts_up_from_the_best_without_a_gap():
    edge = fork_edge(branches([0.5, 0.9, 0.86, 0.3, 0.9]), chance=0.1)
    assert edge is not None
    assert edge.lr == pytest.approx(0.35 * 4)
    assert edge.failed_beyond
    assert fork_edge(branches([0.5, 0.9]), chance=0.1) is None


@pytest.mark.parametrize(("metric", "ends_well"), [(0.835, True), (0.805, True), (0.795, False)])
def test_a_fork_ends_well_within_two_standard_errors_of_nine_tenths(metric, ends_well):
    error = np.sqrt(0.9 * 0.1 / 1000)
    assert (metric - 0.1 >= 0.9 * 0.8 - 2 * error) == ends_well  # 0.801 is the least
    edge = fork_edge(branches([0.5, 0.9, metric, 0.2]), chance=0.1, eval_samples=1000)
    assert (edge.lr, edge.failed_beyond) == (pytest.approx(0.35 * (4 if ends_well else 2)), True)
    assert edge.kappa == pytest.approx(0.8)
    exact = fork_edge(branches([0.5, 0.9, metric, 0.2]), chance=0.1)
    assert exact.lr == pytest.approx(0.35 * (4 if metric > 0.82 else 2))
    losses = branches([0.5, 0.1, 1.0 - metric, 0.8])
    assert fork_edge(losses, chance=0.9, higher_is_better=False).lr == exact.lr


def test_best_constant_is_a_likelihood_weighted_mean():
    lrs = [0.001, 0.01, 0.1, 1.0, 10.0]
    assert best_constant(lrs, [0.5, 0.7, 0.9, 0.7, None], samples=1000) == pytest.approx(0.1, rel=0.01)
    tie = best_constant(lrs, [0.5, 0.9, 0.9, 0.9, None], samples=1000)
    assert tie == pytest.approx(0.1, rel=0.01)  # not the lucky or the last one
    for samples, error in ((1000, np.sqrt(0.9 * 0.1 / 1000)), (None, 0.01 * 0.4), (10**7, 0.01 * 0.4)):
        expected = likely_best(lrs, [0.5, 0.89, 0.9, 0.88, np.nan], error=error)
        assert best_constant(lrs, [0.5, 0.89, 0.9, 0.88, None], samples=samples) == pytest.approx(expected.lr)
    lucky = best_constant(lrs, [0.5, 0.9, 0.9, 0.905, None], samples=1000)
    assert 0.1 < lucky < 0.3
    assert best_constant(lrs[:2], [None, 0.5]) == pytest.approx(0.01)
    assert best_constant(lrs, [None] * 5) is None
    assert best_constant(lrs, [5.0, 3.0, 1.0, 3.0, 5.0], higher_is_better=False) == pytest.approx(0.1, rel=0.01)
    with pytest.raises(ValueError, match="one metric for each"):
        best_constant([0.0], [1.0])


def test_super_converges_needs_both():
    wide = Verdict("wide")
    assert not wide.super_converges
    assert wide.with_speed_up(1.5, (1.2, 1.9), 8).super_converges
    assert not wide.with_speed_up(1.2, (0.9, 1.6), 8).super_converges
    assert not wide.with_speed_up(3.0, (2.0, 4.0), 8, baseline="common default", tuned=False).super_converges
    assert not Verdict("narrow").with_speed_up(1.5, (1.2, 1.9), 8).super_converges
    assert "super-converges" in str(wide.with_speed_up(1.5, (1.2, 1.9), 8))
    assert "super-converges" not in str(wide)
    assert "not measured" in str(wide)


@pytest.mark.parametrize("bad", [(0.0, (1.0, 2.0), 3), (1.0, (2.0, 1.0), 3), (1.0, (0.5, 2.0), 0)])
def test_impossible_speed_ups_are_refused(bad):
    with pytest.raises(ValueError, match="a speed-up needs"):
        Verdict("wide").with_speed_up(*bad)


RESULTS = Path(__file__).parent.parent / "results"
MEASURED = sorted((RESULTS / "range_tests").glob("*.json"))
LABELS = json.loads((RESULTS / "tolerance_labels.json").read_text())["labels"]  # from 1cycle trainings, not from ramps


@pytest.mark.parametrize("path", MEASURED, ids=lambda p: p.stem)
def test_measured_curves_are_right_or_inconclusive(path):
    label = LABELS[re.sub("exponential|linear|-seed.*", "", path.stem)]["label"]
    ramp = RangeTest.load(path)
    for read in (ramp, dataclasses.replace(ramp, forks=())):
        assert label == "borderline" or read.verdict().tolerance in (label, "inconclusive")
    if len(ramp.forks) >= 3 and label != "borderline":
        assert ramp.verdict().tolerance == label  # forks decide


def test_enough_curves_were_measured_to_say_so():
    said = [RangeTest.load(path).verdict().tolerance for path in MEASURED]
    assert said.count("wide") >= 10
    assert said.count("narrow") >= 10
