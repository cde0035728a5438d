"""Running experiments at scale "smoke": every claim, runs that are shared, found again, left to others; results."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from superconv.experiments.stopping import StopSignal
from superconv.paper.build import arm_of, task_of
from superconv.paper.catalogue import select
from superconv.paper.claims import CLAIMS
from superconv.paper.measured import Run, effects_by_seed, run_of
from superconv.paper.reproduce import Reproduction, conclude, reproduce
from superconv.paper.results import load, save
from superconv.paper.scale import scaled
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
        "overrides": {"classifier.bias": {"weight_decay": 1e-4}},
    }  # fmt: skip
    assert (arm.batch_size, arm.statistics_of, arm.averaging_fraction) == (1000, 125, 0.95)


def test_equal_settings_share_their_runs_and_finished_ones_are_found(tmp_path: Path) -> None:
    chosen = [*select("max-lr/3"), *select("step-size/5000"), *select("fig1a-clr")]
    told: list[str] = []
    found = reproduce(
        chosen, seeds=[0, 1], root=tmp_path, report=lambda *a: told.append(a[3]), **SMOKE
    )  # fmt: skip
    assert len(find_runs(tmp_path)) == len(told) == 2
    assert {result.claim.name for result in found} == {"max-lr", "step-size", "super-convergence", "dropout"}
    by_claim = {result.claim.name: next(iter(result.runs.values())) for result in found}
    assert len({str(by_seed) for by_seed in by_claim.values()}) == 1
    before = {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in find_runs(tmp_path)}
    reproduce(chosen, seeds=[0, 1], root=tmp_path, **SMOKE)
    assert before == {run.path: (run.path / "summary.json").stat().st_mtime_ns for run in find_runs(tmp_path)}


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


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="scale must be paper, medium, short, smoke"):
        reproduce(select("max-lr"), scale="tiny")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one seed"):
        reproduce(select("max-lr"), seeds=[])


def test_missing_data_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERCONV_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="superconv data fetch cifar10"):
        reproduce(select("max-lr/3"), scale="short", seeds=[0], data_dir=tmp_path, root=tmp_path, workers=1)


# ---- what runs showed, and results ----------------------------------------------------------------


def made_run(accuracies: list[float], stop: str = "completed") -> Run:
    n = len(accuracies)
    steps = tuple(range(10, 10 * n + 10, 10))
    return Run(stop, steps, tuple(s / 100 for s in steps), (1.0,) * n, (math.nan,) * n, tuple(accuracies), 1.0)


def test_measures() -> None:
    assert made_run([0.1, 0.9]).final == 0.9
    assert made_run([0.1, 0.9], "diverged").final == 0.0
    flat, fallen = made_run([0.5] * 40), made_run([*[0.5] * 35, *[0.1] * 5])
    assert (flat.end_over_peak, fallen.end_over_peak) == pytest.approx((1.0, 0.2))
    assert made_run([0.0, 0.0]).end_over_peak == made_run([]).end_over_peak == 0.0
    rows = [
        {"step": 0, "lr": 0.1, "loss": 2.0}, {"step": 1, "lr": 0.2, "loss": 1.5},
        {"step": 1, "split": "validation", "eval_loss": 1.4, "metric": 0.3},
    ]  # fmt: skip
    run = run_of(rows, {"stop": "completed", "seconds": 3.0})
    assert (run.step, run.lr, run.train_loss, run.test_loss, run.final) == ((2,), (0.2,), (1.5,), (1.4,), 0.3)


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
    assert effects_by_seed(effect, uneven) == pytest.approx([0.1])
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
