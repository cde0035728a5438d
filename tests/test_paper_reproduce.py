"""Running experiments at scale "smoke": every claim, runs that are shared, found again, left to others; results."""

import contextlib
import json
import math
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import superconv as sc
from superconv.data.location import locate
from superconv.experiments.stopping import StopSignal
from superconv.paper import results
from superconv.paper.build import arm_of, task_of
from superconv.paper.catalogue import select
from superconv.paper.claim import Claim, Effect, Experiment
from superconv.paper.claims import CLAIMS
from superconv.paper.effects import deciding, effect_lines, effects_of
from superconv.paper.measured import Run, effects_by_seed, run_of
from superconv.paper.overview import long_overview, overview_row
from superconv.paper.reproduce import Known, Reproduction, _jobs, _Work, conclude, reproduce
from superconv.paper.results import known, load, looks_of, plain_setting, save
from superconv.paper.scale import scaled
from superconv.paper.setting import Setting
from superconv.paper.tuning import Trial, Tuned
from superconv.runs import find_runs
from superconv.runs.lock import FolderLock

SMOKE: dict[str, Any] = {"scale": "smoke", "workers": 1, "device": "cpu"}
BUILT = {claim.name: [e for e in claim.experiments if e.setting is not None] for claim in CLAIMS}


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if BUILT[claim.name]], ids=lambda claim: claim.name)
def test_an_experiment_of_every_claim_runs(claim: Any, tmp_path: Path) -> None:
    experiment = BUILT[claim.name][-1]
    found = reproduce([(claim, experiment)], seeds=[0], root=tmp_path, **SMOKE)
    (run,) = found[0].runs[experiment.condition].values()
    assert run.step[-1] == scaled(experiment.setting, "smoke").steps
    assert math.isfinite(run.test_loss[-1])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [e for own in BUILT.values() for e in own], ids=lambda e: e.name)
def test_every_experiment_runs(experiment: Any, tmp_path: Path) -> None:
    found = reproduce(select(experiment.name), seeds=[0], root=tmp_path, **SMOKE)
    assert any(result.runs.get(experiment.condition) for result in found)


def test_the_task_is_tested_on_test_images_alone() -> None:
    setting = scaled(BUILT["super-convergence"][0].setting, "smoke").replace(test_images=100)
    data = task_of(setting, "smoke").data
    assert data.validation is not None
    assert data.test is not None
    assert len(data.validation) == 100 > len(data.test) == 64
    inputs, targets = data.validation.batch(torch.arange(100))
    again, labels = data.test.batch(torch.arange(100) % 64)
    assert torch.equal(inputs, again)
    assert torch.equal(targets, labels)


def test_the_arm_has_what_the_files_imply() -> None:
    arm = arm_of(BUILT["super-convergence"][1].setting)
    assert arm.optimizer == "caffe-sgd"
    assert arm.optimizer_options == {
        "weight_decay": 1e-4, "bias_lr_scale": 2.0, "bias_weight_decay": 0.0, "momentum": 0.9,
        "overrides": {"classifier.bias": {"lr_scale": 2.0, "weight_decay": 1e-4}},
    }  # fmt: skip
    assert (arm.batch_size, arm.statistics_of, arm.averaging_fraction) == (1000, 125, 0.95)


def test_equal_settings_share_their_runs_and_finished_ones_are_found(tmp_path: Path) -> None:
    names = ("max-lr/3", "step-size/5000", "super-convergence/clr", "dropout/0", "batch-statistics/running-0.95")
    chosen = [pair for name in names for pair in select(name)]
    told: list[str] = []
    found = reproduce(
        chosen, seeds=[0, 1], root=tmp_path, report=lambda *a: told.append(a[3]), **SMOKE
    )  # fmt: skip
    assert len(find_runs(tmp_path)) == len(told) == 2
    assert {result.claim.name for result in found} == {name.partition("/")[0] for name in names}
    by_claim = {result.claim.name: next(iter(result.runs.values())) for result in found}
    assert len({str(by_seed) for by_seed in by_claim.values()}) == 1
    before = {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in find_runs(tmp_path)}
    reproduce(chosen, seeds=[0, 1], root=tmp_path, **SMOKE)
    assert before == {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in find_runs(tmp_path)}


OF_THE_TASK = {
    "data": "cifar100", "data_options": {"a": 1}, "model": "resnet20", "model_options": {"blocks": 1},
    "train_samples": 99, "preparation": "none", "mirror": False, "crop_padding": 4, "test_images": 7,
    "gap_images": 9,
}  # fmt: skip
OF_THE_ARM = {"batch_size": 7, "weight_decay": 0.1, "lr_factor": 2.0, "precision": "bf16", "channels_last": True}
OF_THE_WATCH = {"estimate_spacing": 3}


@pytest.mark.parametrize(("name", "value"), [*OF_THE_TASK.items(), *OF_THE_ARM.items(), *OF_THE_WATCH.items()])
def test_settings_that_differ_in_anything_share_no_run(name: str, value: Any) -> None:
    (_, first), (_, second) = [*select("max-lr/3"), *select("max-lr/1")]
    setting = Setting("constant:lr=0.1", 1000)
    alike, _ = _jobs([(first, setting), (second, setting)], "smoke", [0], None, Known())
    assert len(alike) == 1
    (one, other), owners = _jobs(
        [(first, setting), (second, setting.replace(**{name: value}))], "smoke", [0], None, Known()
    )
    assert owners == [[(first, 0)], [(second, 0)]]
    assert (one[0] is other[0]) == (name not in OF_THE_TASK), "in memory they share what is the same data"


def test_the_estimate_is_read_a_hundred_times_and_not_more_often_than_it_is_made() -> None:
    ((_, experiment),) = select("max-lr/3")

    def watch(steps: int, spacing: int) -> tuple[int, int, bool]:
        setting = Setting("constant:lr=0.1", steps, estimate_spacing=spacing)
        ((_, training),), _ = _jobs([(experiment, setting)], "smoke", [0], None, Known())
        assert training.monitoring is not None
        return training.monitoring.every, training.monitoring.spacing, training.monitoring.probes

    assert watch(10_000, 10) == (100, 10, False)
    assert watch(500, 10) == (10, 10, False)


def test_trials_hold_out_the_share_that_is_asked_for_and_are_tested_at_their_end() -> None:
    setting = Setting("constant:lr=0.1", 300)
    trials = [Trial("a", setting, held_out, 1.0, seed) for held_out, seed in ((0.1, 8), (0.2, 9), (0.2, 8))]
    trained = list(_Work("smoke", None, {}, None)._trial_jobs(trials))
    assert [maker.keywords["held_out"] for maker, _ in trained] == [0.1, 0.2, 0.2]
    assert trained[1][0] is trained[2][0]
    assert [(t.seed, t.arm.evaluate_every, t.read_test) for _, t in trained] == [
        (8, 300, False), (9, 300, False), (8, 300, False)
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:precision 'bf16' on a CPU")
def test_what_is_asked_for_reaches_the_run_and_progress_counts_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    (found,) = reproduce(
        select("max-lr/3"), seeds=[0, 1], root=tmp_path, precision="bf16", channels_last=True,
        report=lambda *what: told.append(what[:3]), **SMOKE,
    )  # fmt: skip
    setting = found.settings["3"]
    assert (setting.precision, setting.channels_last) == ("bf16", True)
    assert {run.config["precision"] for run in find_runs(tmp_path)} == {"bf16"}
    assert told == [("reproducing", 1, 2), ("reproducing", 2, 2)]


def test_subsets_by_seed_are_other_images_for_every_seed_and_a_look_of_their_own(tmp_path: Path) -> None:
    chosen = select("super-convergence/clr")
    (fixed,) = reproduce(chosen, seeds=[0, 1], root=tmp_path / "fixed", **SMOKE)
    (drawn,) = reproduce(chosen, seeds=[0, 1], root=tmp_path / "drawn", subsets="by-seed", **SMOKE)

    def images(folder: str) -> list[str]:
        found = sorted(find_runs(tmp_path / folder), key=lambda run: run.seed)
        return [run.info["data"]["train"] for run in found]

    assert len({*images("fixed")}) == 1
    assert images("drawn")[0] == images("fixed")[0] != images("drawn")[1]
    assert drawn.runs["clr"][0].final == fixed.runs["clr"][0].final
    save(fixed, tmp_path)
    assert known(tmp_path, chosen, "smoke", subsets="by-seed").runs == {}
    path = save(drawn, tmp_path)
    assert [look.is_current for look in looks_of(path)] == [True, True]
    assert sorted(known(tmp_path, chosen, "smoke", subsets="by-seed").runs["super-convergence/clr"]) == [0, 1]


def test_trials_of_subsets_by_seed_draw_their_own() -> None:
    setting = Setting("constant:lr=0.1", 300, train_samples=9, subsets="by-seed")
    trials = [
        Trial("a", each, 0.1, 1.0, seed) for seed in (8, 9) for each in (setting, setting.replace(subsets="fixed"))
    ]
    trained = list(_Work("smoke", None, {}, None)._trial_jobs(trials))
    assert [maker.keywords["seed"] for maker, _ in trained] == [8, 0, 9, 0]


def test_subsets_that_would_be_ignored_or_are_unknown_are_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"seeds": [0], "root": tmp_path, "data_dir": tmp_path, "scale": "paper"}
    with pytest.raises(ValueError, match="would be ignored: all training images are used at scale 'paper'"):
        reproduce(select("super-convergence/clr"), subsets="by-seed", **options)
    with pytest.raises(ValueError, match="did you mean 'by-seed'"):
        reproduce(select("super-convergence/clr"), subsets="by seed", **options)
    assert Setting("constant:lr=0.1", 300).called_with("bf16", "by-seed") == Setting(
        "constant:lr=0.1", 300, precision="bf16"
    )


def test_known_trials_are_not_made_again_and_multiply_the_scales_own_factor(tmp_path: Path) -> None:
    ((claim, experiment),) = select("fair-headline/cosine")
    own = scaled(experiment.setting, "smoke")
    assert own.lr_factor != 1.0
    tuned = Tuned(2.0, {1.0: (0.1, 0.2), 2.0: (0.3, 0.3)})
    (found,) = reproduce(
        [(claim, experiment)], seeds=[0], root=tmp_path, known=Known(tuned={experiment.name: tuned}), **SMOKE
    )
    assert found.settings["cosine"].lr_factor == 2.0 * own.lr_factor
    assert found.tuned == {"cosine": tuned}
    assert len(find_runs(tmp_path)) == 1


def test_what_an_earlier_call_left_in_results_is_not_run_again(tmp_path: Path) -> None:
    chosen = select("max-lr/3")
    (first,) = reproduce(chosen, seeds=[0], root=tmp_path / "here", **SMOKE)
    save(first, tmp_path)
    told: list[str] = []
    there = known(tmp_path, chosen, "smoke")
    (whole,) = reproduce(
        chosen, seeds=[0, 1], root=tmp_path / "elsewhere", known=there, report=lambda *a: told.append(a[3]), **SMOKE
    )  # fmt: skip
    assert told == ["max-lr/3, seed 1"]
    assert sorted(whole.runs["3"]) == [0, 1]
    assert whole.runs["3"][0].final == pytest.approx(first.runs["3"][0].final, rel=1e-3)  # as the file has it
    assert known(tmp_path, chosen, "smoke", precision="bf16").runs == {}
    assert known(tmp_path, select("max-lr/1"), "smoke").runs == {}


def test_a_stopped_reproduction_has_what_was_finished_and_goes_on(tmp_path: Path) -> None:
    class AfterOne(StopSignal):
        over = False

        def reason(self):  # type: ignore[no-untyped-def]
            return super().reason() if self.over else None

    stop = AfterOne(max_minutes=1e-9)

    def report(*_: object) -> None:
        stop.over = True

    chosen = select("max-lr/3")
    (found,) = reproduce(chosen, seeds=[0, 1, 2], root=tmp_path, stop=stop, report=report, **SMOKE)
    assert list(found.runs["3"]) == [0]
    (whole,) = reproduce(chosen, seeds=[0, 1, 2], root=tmp_path, **SMOKE)
    assert list(whole.runs["3"]) == [0, 1, 2]
    assert whole.runs["3"][0] == found.runs["3"][0]


def test_a_run_that_another_process_holds_is_left_alone(tmp_path: Path) -> None:
    chosen = select("max-lr/3")
    reproduce(chosen, seeds=[0], root=tmp_path, **SMOKE)
    path = find_runs(tmp_path)[0].path
    (path / "summary.json").unlink()
    lock = FolderLock(path)
    lock.acquire()
    (found,) = reproduce(chosen, seeds=[0, 1], root=tmp_path, **SMOKE)
    lock.release()
    assert list(found.runs["3"]) == [1]


def test_what_another_process_finishes_or_gives_up_meanwhile_is_found_in_the_end(tmp_path: Path) -> None:
    chosen = select("max-lr/3")
    (before,) = reproduce(chosen, seeds=[0, 1], root=tmp_path, **SMOKE)
    paths = [run.path for run in find_runs(tmp_path)]
    summaries = [(path / "summary.json").read_bytes() for path in paths]
    locks = [FolderLock(path) for path in paths]
    for path, lock in zip(paths, locks, strict=True):
        (path / "summary.json").unlink()
        lock.acquire()

    def report(what: str, *_: object) -> None:
        if what == "reproducing":  # seed 2 is over
            (paths[0] / "summary.json").write_bytes(summaries[0])
            for lock in locks:
                lock.release()

    (found,) = reproduce(chosen, seeds=[0, 1, 2], root=tmp_path, report=report, **SMOKE)
    assert sorted(found.runs["3"]) == [0, 1, 2]
    assert [found.runs["3"][seed].test_loss for seed in (0, 1)] == [before.runs["3"][seed].test_loss for seed in (0, 1)]


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="is unknown; allowed are paper, medium, epochs, deep, rates, short, smoke"):
        reproduce(select("max-lr"), scale="tiny")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one seed"):
        reproduce(select("max-lr"), seeds=[])


def test_missing_data_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERCONV_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="superconv data fetch cifar10"):
        reproduce(select("max-lr/3"), scale="short", seeds=[0], data_dir=tmp_path, root=tmp_path, workers=1)


def test_all_data_are_looked_for_before_anything_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = locate

    def only_mnist(source: Any, data_dir: Any) -> Any:
        return None if source.name == "mnist" else there(source, data_dir)

    monkeypatch.setattr("superconv.paper.reproduce.locate", only_mnist)
    chosen = [*select("mnist/1cycle-12"), *select("max-lr/3")]
    with pytest.raises(ValueError, match="superconv data fetch cifar10"):
        reproduce(chosen, scale="short", seeds=[0], data_dir=tmp_path, root=tmp_path, workers=1)
    assert find_runs(tmp_path) == []


# ---- what runs showed, and results ----------------------------------------------------------------


def made_run(accuracies: list[float], stop: str = "completed") -> Run:
    n = len(accuracies)
    steps = tuple(range(10, 10 * n + 10, 10))
    return Run(stop, steps, tuple(s / 100 for s in steps), (1.0,) * n, (math.nan,) * n, tuple(accuracies), 1.0)


def test_measures() -> None:
    assert made_run([0.1, 0.9]).final == 0.9
    assert made_run([0.1, 0.9], "diverged").final == 0.1, "a guesser's"
    assert made_run([0.3, 0.9, 0.8]).best == 0.9
    flat, fallen = made_run([0.5] * 40), made_run([*[0.5] * 35, *[0.1] * 5])
    assert (flat.end_over_peak, fallen.end_over_peak) == pytest.approx((1.0, 0.2))
    assert made_run([0.5] * 40, "diverged").end_over_peak == pytest.approx(0.2), "a guesser's over the peak"
    assert math.isnan(made_run([]).end_over_peak)
    rows = [
        {"step": 0, "lr": 0.1, "loss": 2.0}, {"step": 1, "lr": 0.2, "loss": 1.5},
        {"step": 1, "split": "validation", "eval_loss": 1.4, "metric": 0.3},
    ]  # fmt: skip
    info = {"device": "a card", "torch": "2", "superconv": "1", "command": "x"}
    setting = scaled(select("cifar100/clr")[0][1].setting, "short")
    run = run_of(rows, {"stop": "completed", "seconds": 3.0}, info, setting)
    assert (run.chance, run.made) == (0.01, {"device": "a card", "torch": "2", "superconv": "1"})
    assert run.planned_lr == setting.make_schedule()(setting.steps - 1)["lr"]
    assert (run.step, run.lr, run.train_loss, run.test_loss, run.final) == ((2,), (0.2,), (1.5,), (1.4,), 0.3)


def ramp_run(stop: str = "completed") -> Run:
    """To LR 2 in a hundred tests: accuracy peaks at 0.5, the test loss halves and the training loss doubles."""
    lr = tuple(0.02 * (k + 1) for k in range(100))
    accuracies = tuple(0.9 - abs(each - 0.5) / 3 for each in lr)
    training, test = tuple(1.0 + (x > 0.5) for x in lr), tuple(2.0 - (x > 0.5) for x in lr)
    done = 100 if stop == "completed" else 50
    columns = (column[:done] for column in (tuple(range(100)), lr, training, test, accuracies))
    return Run(stop, *columns, 1.0, planned_lr=2.0)  # type: ignore[arg-type]


def test_the_generalisation_gap_is_measured_on_training_images_as_they_are(tmp_path: Path) -> None:
    chosen = select("batch-size/256")
    (found,) = reproduce(chosen, seeds=[0], root=tmp_path / "runs", **SMOKE)
    run = found.runs["256"][0]
    (kept,) = find_runs(tmp_path / "runs")
    assert run.train_accuracy == kept.summary["test"]["metric"]
    assert run.measure("generalisation gap") == run.train_accuracy - run.final
    assert math.isnan(made_run([0.5]).gap)
    assert math.isnan(replace(run, stop="diverged").gap)
    save(found, tmp_path)
    again = known(tmp_path, chosen, "smoke").runs["batch-size/256"][0]
    assert again.train_accuracy == pytest.approx(run.train_accuracy, rel=1e-3)
    setting = scaled(chosen[0][1].setting, "smoke")
    assert setting.gap_images == setting.train_samples == 64
    data = task_of(setting.replace(gap_images=32, mirror=True), "smoke").data
    inputs, targets = data.test.batch(torch.arange(32))
    whole, labels = data.train.batch(torch.arange(64))
    assert torch.equal(inputs, whole[::2])
    assert torch.equal(targets, labels[::2])
    (plain,) = reproduce(select("batch-size/512"), seeds=[0], root=tmp_path / "plain", **SMOKE)
    assert plain.runs["512"][0].train_accuracy is None
    assert find_runs(tmp_path / "plain")[0].summary["test"] is None


def test_measures_of_a_ramp() -> None:
    run = ramp_run()
    assert run.measure("peak's learning rate over the ramp's last") == pytest.approx(0.25, abs=0.02)
    assert run.measure("test loss at high rates over low") == 0.5
    assert run.measure("training loss at high rates over low") == 2.0
    stopped = ramp_run("diverged")  # its last rate is not the ramp's
    assert stopped.measure("peak's learning rate over the ramp's last") == pytest.approx(0.25, abs=0.02)
    assert math.isnan(stopped.measure("test loss at high rates over low"))


def test_a_training_that_conditions_share_is_counted_once() -> None:
    shared, other = made_run([0.1, 0.5]), replace(made_run([0.1, 0.5]), seconds=9.0)
    claim = next(claim for claim in CLAIMS if len(claim.experiments) > 1)
    first, second = (experiment.condition for experiment in claim.experiments[:2])
    result = conclude(claim, "short", {first: {0: shared, 1: shared}, second: {0: replace(shared), 1: other}}, "a CPU")
    assert result.trainings == [shared, shared, other], "seeds are never one training"


def test_losses_are_compared_between_the_last_fifth_and_the_second_tenth_of_the_rates() -> None:
    loss_at = {
        0.05: 99.0, 0.1: 99.0, 0.12: 1.0, 0.15: 2.0, 0.2: 9.0, 0.3: 99.0, 0.8: -99.0, 0.85: 6.0, 0.9: 7.0, 1.0: 99.0,
    }  # fmt: skip
    lr, loss = tuple(loss_at), tuple(loss_at.values())
    n = len(lr)
    run = Run("completed", tuple(range(n)), lr, (1.0,) * n, loss, (0.5,) * n, 1.0, planned_lr=1.0)
    assert run.measure("test loss at high rates over low") == 7.0 / 2.0
    assert run.measure("training loss at high rates over low") == 1.0
    assert math.isnan(replace(run, planned_lr=10.0).measure("test loss at high rates over low")), "it got nowhere near"


def test_a_loss_that_is_no_number_is_one_that_a_ramp_has_not() -> None:
    """At high rates a test with running statistics may overflow where the training's own losses do not."""
    claim, experiment = select("regularisation/resnet56")[0]
    assert experiment.setting is not None
    setting = scaled(experiment.setting, "short")
    rates = setting.make_schedule().values()["lr"].tolist()
    rows: list[dict[str, Any]] = []
    for step, lr in enumerate(rates):
        rows.append({"step": step, "lr": lr, "loss": 2.0})
        if (step + 1) % setting.evaluate_every == 0:
            loss = None if lr > 0.9 * rates[-1] else 2.0
            rows.append({"step": step, "split": "validation", "eval_loss": loss, "metric": 0.1})
    run = run_of(rows, {"stop": "completed", "seconds": 1.0, "test": None}, {}, setting)
    judged = conclude(claim, "short", {"resnet56": dict.fromkeys(range(3), run)}, "cpu").judgements
    by_measure = {e.measure: j for e, j in zip(claim.effects, judged, strict=True) if e.treatment == "resnet56"}
    assert by_measure["test loss at high rates over low"].without == 3
    assert by_measure["training loss at high rates over low"].mean is not None


def test_one_lucky_test_is_no_peak_and_the_rate_is_that_of_its_middle() -> None:
    lucky = made_run([*[0.5] * 20, 0.9, *[0.5] * 19])
    assert lucky.end_over_peak == 1.0
    assert made_run([*[0.5] * 28, 0.3, 0.1]).end_over_peak == pytest.approx(0.4), "the last two of thirty"
    accuracies = [0.1, 0.1, 0.8, 0.1, 0.8, 0.1, 0.8, 0.1, 0.1, 0.1]
    assert made_run(accuracies).peak_lr_over_last == pytest.approx(0.5), "the fifth of ten"
    assert made_run([0.1, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3, 0.3]).peak_lr_over_last == pytest.approx(6 / 8), "the last five"
    assert made_run([0.05, 0.02], "diverged").best == 0.1, "a guesser's"


def test_estimates_are_read_in_the_second_half_of_a_run() -> None:
    estimates = {"step": (1, 2, 3, 4, 5, 6), "lr": (0.1,) * 6, "estimate": (9.0, 9.0, 9.0, 0.1, math.nan, 0.3),
                 "noise_alone": (0.4,) * 6}  # fmt: skip
    run = replace(made_run([0.5]), estimates=estimates)
    assert run.measure("estimate over learning rate") == pytest.approx(2.0)
    assert run.measure("estimate over noise alone") == pytest.approx(0.5)
    assert math.isnan(made_run([0.5]).measure("estimate over learning rate"))
    at_rest = {"step": (1.0, 2.0), "lr": (0.0, 0.0), "estimate": (0.0, 0.3), "noise_alone": (math.nan, math.nan)}
    for which in ("estimate over learning rate", "estimate over noise alone"):
        assert math.isnan(replace(run, estimates=at_rest).measure(which))


def test_only_tests_on_test_images_are_the_runs() -> None:
    rows = [
        {"step": 0, "lr": 0.1, "loss": 2.0},
        {"step": 0, "split": "train", "eval_loss": 0.1, "metric": 0.9},
        {"step": 0, "split": "validation", "eval_loss": 1.4, "metric": 0.3},
    ]
    setting = scaled(select("max-lr/3")[0][1].setting, "short")
    run = run_of(rows, {"stop": "completed", "seconds": 3.0}, {}, setting)
    assert (run.test_accuracy, run.test_loss) == ((0.3,), (1.4,))


def test_a_lead_over_another_lead_and_seeds_without_the_measure() -> None:
    ends = {"a": 0.9, "b": 0.7, "c": 0.6, "d": 0.5}
    runs = {name: {0: made_run([value]), 1: made_run([value])} for name, value in ends.items()}
    assert effects_by_seed(Effect("a", "b", over=("c", "d")), runs) == (pytest.approx([0.1, 0.1]), 0)
    del runs["d"][1]
    assert effects_by_seed(Effect("a", "b", over=("c", "d")), runs) == (pytest.approx([0.1]), 0)
    runs["a"][0] = ramp_run("diverged")
    effect = Effect("a", threshold=1.0, measure="test loss at high rates over low")
    assert effects_by_seed(effect, {"a": {0: ramp_run("diverged"), 1: ramp_run()}}) == ([-0.5], 1)
    assert effects_by_seed(effect, {}) == ([], 0)
    with pytest.raises(ValueError, match="compared with another lead"):
        Effect("a", threshold=1.0, over=("c", "d"))


def test_only_what_is_asserted_decides_a_claims_word() -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "fair-headline")
    arms = {"clr-crops": 0.92, "cosine": 0.9}
    runs = {name: {seed: made_run([value + 0.001 * seed * value]) for seed in range(3)} for name, value in arms.items()}
    assert conclude(claim, "short", runs, "cpu").word == "holds in direction"


def test_equality_and_lost_seeds_reach_the_judgement() -> None:
    experiments = [Experiment(f"own/{each}", None, None, obstacle="made up", title=each) for each in "ab"]
    ends = "end of ramp over its peak"
    effects = [Effect("a", "b", sign=0, equal=True), Effect("a", threshold=0.5, measure=ends)]
    claim = Claim("own", "It is so.", "nowhere", experiments, effects)
    runs = {name: {seed: made_run([0.5 + 0.001 * seed * k]) for seed in range(3)} for k, name in enumerate("ab")}
    assert [each.word for each in conclude(claim, "paper", runs, "cpu").judgements] == ["holds", "undecided"]
    six = {seed: made_run([0.5]) for seed in range(6)}
    assert [each.word for each in conclude(claim, "paper", {"a": six}, "cpu").judgements] == [
        "not run", "holds in direction"
    ]  # fmt: skip
    lost = {**six, 6: made_run([])}
    assert conclude(claim, "paper", {"a": lost}, "cpu").judgements[1].word == "undecided"


def test_a_size_that_is_printed_of_best_tests_is_compared_with_ours_of_best_tests() -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "cifar100")  # 8.8 points, of which the PC-LR is a peak
    clr = {seed: made_run([0.60, 0.686 + 0.001 * seed]) for seed in range(3)}
    for peak, word in ((0.598, "holds"), (0.560, "holds in direction"), (0.650, "holds in direction")):
        pclr = {seed: made_run([peak, 0.55]) for seed in range(3)}
        found = conclude(claim, "paper", {"clr": clr, "pclr": pclr}, "cpu").judgements[0]
        assert (found.word, found.mean) == (word, pytest.approx(0.137)), "of final tests"
    late = {seed: made_run([0.70 + 0.001 * seed, 0.55]) for seed in range(3)}  # a lead over final tests alone
    assert conclude(claim, "paper", {"clr": clr, "pclr": late}, "cpu").judgements[0].word == "holds in direction"
    level = {seed: made_run([0.68, 0.687]) for seed in range(3)}
    assert conclude(claim, "paper", {"clr": clr, "pclr": level}, "cpu").judgements[0].word == "does not hold"


@pytest.mark.parametrize("seeds_of_c", [0, 2])
def test_what_is_merely_asked_neither_decides_nor_counts_as_not_run(seeds_of_c: int) -> None:
    experiments = [Experiment(f"own/{each}", None, None, obstacle="made up", title=each) for each in "abc"]
    claim = Claim("own", "It is so.", "nowhere", experiments, [Effect("a", "b"), Effect("a", "c", sign=0)])
    runs = {
        "a": {seed: made_run([0.6 + 0.001 * seed]) for seed in range(3)},
        "b": {seed: made_run([0.5]) for seed in range(3)},
        "c": {seed: made_run([0.5]) for seed in range(seeds_of_c)},
    }
    result = conclude(claim, "paper", runs, "cpu")
    assert (result.word, result.left_out) == ("holds in direction", "")
    assert result.judgements[1].word == ("undecided" if seeds_of_c else "not run")


def test_effects_that_were_not_run_are_counted_and_decide_nothing() -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "mnist")
    arms = {"1cycle-12": 0.9925, "inv-85": 0.9903}
    runs = {name: {seed: made_run([value + 1e-4 * seed * value]) for seed in range(3)} for name, value in arms.items()}
    result = conclude(claim, "paper", runs, "cpu")
    assert (result.word, result.left_out) == ("holds", "1")
    assert result.sentence.endswith("Holds, as far as it was run (effects not run: 1).")
    assert (nothing := conclude(claim, "paper", {}, "cpu")).word == "not run"
    assert nothing.left_out == ""


def test_a_chain_of_which_only_links_without_a_claim_were_run_is_measured_so_far() -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "fair-headline")
    arms = {"pclr-equal-steps": 0.44, "pclr-80000": 0.45}
    runs = {name: {seed: made_run([value + 1e-3 * seed * value]) for seed in range(3)} for name, value in arms.items()}
    result = conclude(claim, "epochs", runs, "cpu")
    assert (result.word, result.left_out) == ("measured", "9 of 10")
    assert result.sentence.endswith("Measured at epochs scale, as far as it was run (effects not run: 9 of 10).")
    shown = deciding(effects_of(result))
    assert shown is not None
    assert shown.effect == claim.effects[0]


def headline(seeds: int = 3, gain: float = 0.012) -> Reproduction:
    claim = CLAIMS[0]
    runs = {
        "pclr": {seed: made_run([0.1, 0.912 + 0.001 * seed]) for seed in range(seeds)},
        "clr": {seed: made_run([0.1, 0.912 + gain + 0.0012 * seed]) for seed in range(seeds)},
    }
    settings = {e.condition: e.setting for e in claim.experiments if e.setting is not None}
    return conclude(claim, "paper", runs, "a card", settings)


def test_claims_are_judged_by_paired_seeds() -> None:
    assert headline().word == "holds"
    assert headline(2).word == "undecided"
    assert headline(gain=0.05).word == "holds in direction"
    assert headline(gain=-0.02).word == "does not hold"
    effect = CLAIMS[0].effects[0]
    uneven = {"clr": {0: made_run([0.9]), 5: made_run([0.8])}, "pclr": {5: made_run([0.7]), 6: made_run([0.1])}}
    assert effects_by_seed(effect, uneven) == (pytest.approx([0.1]), 0)
    assert "holds." in headline().sentence.lower()
    short = conclude(CLAIMS[0], "short", headline().runs, "cpu")
    assert short.word == "holds in direction"
    assert short.sentence.endswith("at short scale.")
    assert conclude(CLAIMS[0], "paper", {}, "cpu").word == "not run"


def test_results_keep_looks_and_refuse_other_versions(tmp_path: Path) -> None:
    path = save(headline(2), tmp_path)
    assert path.with_suffix(".png").stat().st_size > 1000
    assert load(path).word == "undecided"
    save(headline(3), tmp_path)  # more seeds of the same settings: the same look
    document = json.loads(path.read_text())
    assert len(document["looks"]) == 1
    assert load(path).word == "holds"
    assert load(path).asked_afterwards == frozenset()
    faster = {
        condition: setting.replace(compile=True, channels_last=True)
        for condition, setting in headline(3).settings.items()
    }
    save(replace(headline(3), settings=faster), tmp_path)  # another way to run the same
    assert len(json.loads(path.read_text())["looks"]) == 1
    part = headline(4)
    runs = {"clr": {3: part.runs["clr"][3]}}
    save(conclude(part.claim, "paper", runs, "a card", {"clr": part.settings["clr"]}), tmp_path)  # one condition alone
    document = json.loads(path.read_text())
    assert [sorted(look["runs"]["clr"]) for look in document["looks"]] == [["0", "1", "2", "3"]]
    assert set(document["looks"][0]["settings"]) == {"clr", "pclr"}
    document["looks"][0]["settings"]["clr"]["batch_size"] = 999  # as if the config had been another one
    path.write_text(json.dumps(document))
    save(headline(1), tmp_path)
    looks = json.loads(path.read_text())["looks"]
    assert [len(look["runs"]["clr"]) for look in looks] == [4, 1]
    looks[-1]["effects"][0]["size"] = 0.5  # as if the claim had said otherwise when it was run
    path.write_text(json.dumps({**document, "looks": looks}))
    assert load(path).asked_afterwards == frozenset(CLAIMS[0].effects)
    assert "undecided (asked afterwards)" in effect_lines(load(path))[0]
    path.write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="has format 99, this version reads 1"):
        load(path)
    for text in ("", "[]", "not json", '{"format": 1}', '{"format": 1, "looks": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="is no results file"):
            save(headline(), tmp_path)
    for look in ([], {}, {"runs": {"clr": {"a": {}}}}, {"runs": 3, "settings": {}, "device": "", "environment": {}}):
        path.write_text(json.dumps({"format": 1, "claim": "super-convergence", "scale": "paper", "looks": [look]}))
        with pytest.raises(ValueError, match="is no results file"):
            load(path)
    path.write_text(json.dumps({"format": 1, "claim": "warp", "scale": "paper", "looks": [{}]}))
    with pytest.raises(ValueError, match="no claim 'warp'; it was written by another version"):
        load(path)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "draw", lambda path: path)


def changed(path: Path, change: Any) -> None:
    """Change the last look of a results file."""
    document = json.loads(path.read_text())
    change(document["looks"][-1])
    path.write_text(json.dumps(document))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"claim": "run-length"}, "holds run-length at paper scale; call it run-length-paper.json"),
        ({"scale": "short"}, "holds super-convergence at short scale; call it super-convergence-short.json"),
        ({"scale": "tiny"}, "no scale 'tiny'; it was written by another version"),
        ({"claim": "max-rate"}, "no claim 'max-rate'; it was written by another version"),
    ],
)
def test_a_file_of_another_claim_or_scale_is_not_taken_for_what_it_is_called(
    change: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = save(headline(), tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    for read in (lambda: load(path), lambda: known(tmp_path, select("super-convergence"), "paper")):
        with pytest.raises(ValueError, match=message):
            read()
    with pytest.raises(ValueError, match=message):
        long_overview(tmp_path)


def test_the_same_seed_run_again_takes_the_place_of_the_earlier_run(tmp_path: Path) -> None:
    first = headline(3)
    path = save(first, tmp_path)
    again = conclude(first.claim, "paper", {"clr": {1: made_run([0.12345])}}, "a card", first.settings)
    save(again, tmp_path)
    found = load(path).runs["clr"]
    assert [found[seed].final for seed in range(3)] == [0.924, 0.1235, 0.9264]


@pytest.mark.usefixtures("undrawn")
def test_a_file_older_than_a_setting_was_run_with_its_default(tmp_path: Path) -> None:
    path = save(headline(1), tmp_path)
    changed(path, lambda look: [each.pop("estimate_spacing") for each in look["settings"].values()])
    assert looks_of(path)[-1].is_current
    save(headline(2), tmp_path)
    assert len(looks_of(path)) == 1
    changed(path, lambda look: [each.update(precision="bf16") for each in look["settings"].values()])
    assert looks_of(path)[-1].is_current
    changed(path, lambda look: [each.update(lr_factor=2.0) for each in look["settings"].values()])
    assert not looks_of(path)[-1].is_current, "of an experiment that is not tuned"


@pytest.mark.usefixtures("undrawn")
def test_effects_that_no_file_names_were_asked_afterwards(tmp_path: Path) -> None:
    path = save(headline(1), tmp_path)
    stored = json.loads(path.read_text())["looks"][0]["effects"]
    assert [set(each) & {"over", "equal"} for each in stored] == [set()], "as they were written before these were there"
    changed(path, lambda look: look.pop("effects"))
    assert load(path).asked_afterwards == frozenset(CLAIMS[0].effects)
    save(headline(2), tmp_path)
    assert load(path).asked_afterwards == frozenset(CLAIMS[0].effects), "more seeds make it no earlier"


@pytest.mark.usefixtures("undrawn")
def test_the_last_look_is_what_is_known_and_loaded(tmp_path: Path) -> None:
    chosen = select("super-convergence/clr")
    for batch_size, seeds in ((7, 3), (1000, 1)):
        settings = {name: setting.replace(batch_size=batch_size) for name, setting in headline().settings.items()}
        path = save(replace(headline(seeds), settings=settings), tmp_path)
    assert len(looks_of(path)) == 2
    assert list(load(path).runs["clr"]) == [0]
    assert {name: list(runs) for name, runs in known(tmp_path, chosen, "paper").runs.items()} == {
        "super-convergence/clr": [0]
    }  # fmt: skip
    fewer = {name: setting.replace(precision="bf16") for name, setting in headline().settings.items()}
    save(replace(headline(2), settings=fewer), tmp_path)
    assert known(tmp_path, chosen, "paper").runs == {}
    assert list(known(tmp_path, chosen, "paper", precision="bf16").runs["super-convergence/clr"]) == [0, 1]


@pytest.mark.usefixtures("undrawn")
def test_settings_that_come_back_begin_a_look_of_their_own(tmp_path: Path) -> None:
    for seeds, batch_size in ((1, 7), (2, 9), (3, 7)):
        settings = {name: setting.replace(batch_size=batch_size) for name, setting in headline().settings.items()}
        path = save(replace(headline(seeds), settings=settings), tmp_path)
    looks = looks_of(path)
    assert [(look.settings["clr"]["batch_size"], len(look.result.runs["clr"])) for look in looks] == [
        (7, 1), (9, 2), (7, 3)
    ]  # fmt: skip


def _save_one(folder: Path, claim: Claim, condition: str, precision: str, subsets: str) -> Path:
    setting = claim.experiment(condition).setting
    assert setting is not None
    setting = scaled(setting, "short").called_with(precision, subsets)
    found = {condition: {seed: made_run([0.5 + seed / 100]) for seed in range(3)}}
    return save(conclude(claim, "short", found, "cpu", {condition: setting}), folder)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("called", [("bf16", "fixed"), ("fp32", "by-seed")])
def test_a_condition_that_was_called_otherwise_joins_no_look_that_it_is_compared_in(
    called: tuple[str, str], tmp_path: Path
) -> None:
    """Else arms in bf16 and in fp32, or on other images, would be compared as if nothing else differed."""
    claim = select("max-lr")[0][0]
    _save_one(tmp_path, claim, "3", "fp32", "fixed")
    path = _save_one(tmp_path, claim, "1", *called)
    assert [list(look.settings) for look in looks_of(path)] == [["3"], ["1"]]
    assert load(path).judgements[0].seeds == 0
    _save_one(tmp_path, claim, "3", *called)
    assert [sorted(look.settings) for look in looks_of(path)] == [["3"], ["1", "3"]]


@pytest.mark.usefixtures("undrawn")
def test_another_network_in_another_precision_is_compared_with_none_and_joins(tmp_path: Path) -> None:
    claim = select("depth")[0][0]
    for precision, network in (("fp32", "resnet20"), ("bf16", "resnet110")):
        for arm in ("clr", "pclr"):
            path = _save_one(tmp_path, claim, f"{network}-{arm}", precision, "fixed")
    (look,) = looks_of(path)
    assert [judgement.seeds for judgement in look.result.judgements] == [3, 3]
    assert overview_row(look)[4] == "short"  # of the effect that is shown
    assert " In bf16: resnet110-clr, resnet110-pclr." in long_overview(tmp_path)
    first, second = claim.effects
    turned = replace(look.result, claim=replace(claim, effects=(second, first)),
                     judgements=look.result.judgements[::-1])  # fmt: skip
    assert overview_row(replace(look, result=turned))[4].startswith("short, bf16")


@pytest.mark.usefixtures("undrawn")
def test_numbers_have_four_digits_and_what_is_no_number_comes_back(tmp_path: Path) -> None:
    run = replace(made_run([0.123456]), estimates={"step": (9.0,), "lr": (math.nan,)}, planned_lr=0.123456)
    path = save(conclude(CLAIMS[0], "paper", {"clr": {0: run}}, "a card", headline().settings), tmp_path)
    again = load(path).runs["clr"][0]
    assert (again.test_accuracy, again.planned_lr) == ((0.1235,), 0.1235)
    assert math.isnan(again.test_loss[0])
    assert again.estimates is not None
    assert math.isnan(again.estimates["lr"][0])


def test_a_schedules_digest_is_that_of_its_values_to_six_digits() -> None:
    def digest(lr: float) -> Any:
        return plain_setting(Setting(lambda steps: sc.constant(steps, lr=lr), 10))["schedule"]

    assert digest(0.1) == digest(0.1 * (1 + 1e-12)) != digest(0.1001)


def test_a_command_is_kept_without_the_folders_that_it_names(tmp_path: Path) -> None:
    words = ["superconv", "reproduce", "Fig. 1a", "--data-dir", "/home/jane doe/data", "--out=/home/jane doe/it's",
             "--runs-dir", "/mnt/disk", "--scale", "paper"]  # fmt: skip
    path = save(replace(headline(), environment={"command": shlex.join(words)}), tmp_path)
    assert load(path).environment["command"] == (
        "superconv reproduce 'Fig. 1a' --data-dir ... --out=... --runs-dir ... --scale paper"
    )


def test_processes_that_save_at_the_same_time_keep_what_the_others_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = headline(3)
    both_have_read = threading.Barrier(2)
    add = results.runs.dumps

    def when_both_have_read(*arguments: Any, **options: Any) -> str:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_have_read.wait(0.5)
        return add(*arguments, **options)

    def save_seed(seed: int) -> None:
        runs = {condition: {seed: by_seed[seed]} for condition, by_seed in everything.runs.items()}
        save(conclude(everything.claim, "paper", runs, "a card", everything.settings), tmp_path)

    save_seed(0)
    monkeypatch.setattr(results, "draw", lambda path: path)
    monkeypatch.setattr(results, "runs", SimpleNamespace(**{**vars(results.runs), "dumps": when_both_have_read}))
    with ThreadPoolExecutor(2) as both:
        list(both.map(save_seed, [1, 2]))
    assert sorted(load(results.file_of(tmp_path, everything.claim, "paper")).runs["clr"]) == [0, 1, 2]


def test_a_look_keeps_which_own_schedule_it_had_and_what_every_run_was_made_with(tmp_path: Path) -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "mnist")
    setting = claim.experiment("inv-85").setting
    assert setting is not None

    def result(seed: int, schedule: Any, device: str) -> Reproduction:
        run = replace(made_run([0.99]), made={"device": device})
        return conclude(claim, "paper", {"inv-85": {seed: run}}, "here", {"inv-85": setting.replace(schedule=schedule)})

    path = save(result(0, setting.schedule, "a card"), tmp_path)
    save(result(1, setting.schedule, "a CPU"), tmp_path)
    assert [run.made["device"] for run in load(path).runs["inv-85"].values()] == ["a card", "a CPU"]
    assert "; a CPU, a card;" in long_overview(tmp_path)
    save(result(2, lambda steps: sc.constant(steps, lr=0.02), "a card"), tmp_path)  # other values: another look
    assert [len(look.result.runs["inv-85"]) for look in looks_of(path)] == [2, 1]
    assert [look.is_current for look in looks_of(path)] == [True, False]
