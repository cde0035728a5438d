"""Comparing on a toy task: equal budgets, paired seeds, the test split read once, and going on where it stopped."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import superconv as sc
from superconv.experiments import tuning
from superconv.experiments.compare import compare
from superconv.experiments.compare_tables import tables
from superconv.experiments.contenders import CONTENDERS, Contender, Interval
from superconv.experiments.score import Score
from superconv.experiments.stopping import StopSignal
from superconv.experiments.tuning import FIRST_SEED, Budget, Tuned, Tuner
from superconv.experiments.untrained import untrained_metric
from superconv.records import StopReason
from superconv.runs import find_runs

ARMS = [replace(CONTENDERS[name], batch_size=32) for name in ("1cycle", "cosine", "common default")]
SMALL = Budget(trials=3, finalists=2, fresh_seeds=1)
WILD = {"all diverge": (1e29, 1e30), "some diverge": (1e-3, 1e7)}  # learning rates


def make_part(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))


def make_task(**changes: Any) -> sc.Task:
    splits = sc.Splits(make_part(96, 1), make_part(64, 2), make_part(64, 3), 3)
    return sc.Task(**{"name": "toy", "model": make_net, "data": splits, **changes})


def run(root: Path, task: Any = None, **changes: Any) -> Any:
    options = {"steps": 10, "ladder": (1, 2), "seeds": 2, "budget": SMALL, **changes}
    return compare(task or make_task(), ARMS, root=root, device="cpu", **options)


def test_every_arm_has_the_same_budget_and_seeds(tmp_path: Path) -> None:
    result = run(tmp_path)
    counts = {(name, steps): len(tuned.trials) for (name, steps), tuned in result.tuned.items()}
    assert counts == {(c.name, steps): 3 if c.tuned else 0 for c in ARMS for steps in (10, 20)}
    assert {tuned.updates for (name, steps), tuned in result.tuned.items() if steps == 20 and tuned.trials} == {5 * 20}
    assert {name: {steps: sorted(seeds) for steps, seeds in by.items()} for name, by in result.values.items()} == {
        c.name: {10: [0, 1], 20: [0, 1]} for c in ARMS
    }
    assert result.updates == 3 * 2 * (10 + 20)
    assert result.outcome == "too few seeds"
    assert result.contest.rival == "cosine"
    runs = [found for found in find_runs(tmp_path) if found.summary is not None]
    tuning = [found for found in runs if found.seed >= FIRST_SEED]
    assert 0 < len(tuning) < len(runs)
    assert all(found.summary["test"] is None for found in tuning)  # type: ignore[index]
    assert all(found.summary["test"] is not None for found in runs if found.seed < FIRST_SEED)  # type: ignore[index]


def test_it_goes_on_where_it_was_stopped_and_ends_the_same(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")

    class After(StopSignal):
        left = 150

        def reason(self) -> StopReason | None:
            self.left -= 1
            return StopReason.interrupted if self.left < 0 else None

    assert run(tmp_path / "cut", stop=After()) is None
    told: list[Any] = []
    again = run(tmp_path / "cut", report=lambda *what: told.append(what))
    assert again.values == whole.values
    assert again.tuned == whole.tuned
    assert again.contest == whole.contest
    assert {what for what, *_ in told} == {"tuning", "finalists on fresh seeds", "comparing"}
    assert run(tmp_path / "cut").values == whole.values  # everything is found finished


@pytest.mark.slow  # likewise of a sweep in every run of the tests
def test_processes_and_this_process_give_the_same(tmp_path: Path) -> None:
    spread = run(tmp_path / "spread", partial(make_task), workers=2)
    here = run(tmp_path / "here", partial(make_task), workers=1)
    assert spread.values == here.values
    assert spread.tuned == here.tuned


class Counting(Dataset[Any]):
    """A test part that counts its readers."""

    def __init__(self) -> None:
        self.inputs, self.targets = make_part(8, 3)
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return self.inputs[index], self.targets[index]


def test_the_test_split_is_read_once_for_each_compared_training(tmp_path: Path) -> None:
    test = Counting()
    task = make_task(data=sc.Splits(make_part(96, 1), make_part(64, 2), test, 3))
    run(tmp_path, task, ladder=(1,), seeds=1)
    checked = len(test.read) - len(ARMS) * len(test)  # labels may be looked at when splits are made
    assert checked <= len(test)
    assert sorted(set(test.read)) == list(range(8))


def test_experiment_json_is_what_the_report_shows(tmp_path: Path) -> None:
    from superconv.report import build_report

    result = run(tmp_path)
    stored = json.loads((result.path / "experiment.json").read_text())
    assert stored["outcome"] == result.outcome
    assert stored["tables"][0]["title"] == "1cycle against the others"
    page = build_report(result.path).read_text()
    assert "What tuning chose, and what it cost" in page
    assert "common default" in page


def test_another_tasks_conclusion_is_replaced_not_without_a_word(tmp_path: Path) -> None:
    place = {"root": tmp_path, "experiment": "x", "device": "cpu"}

    def again(name: str, steps: int = 10) -> None:
        compare(make_task(name=name), ARMS, steps=steps, ladder=(1,), seeds=1, budget=SMALL, **place)

    again("first")
    again("first", steps=12)  # of the same task the last call's is what is asked for
    with pytest.warns(UserWarning, match="says what was found for 'first' and will be replaced .* 'second'"):
        again("second")
    (tmp_path / "x" / "experiment.json").write_text("[]")
    again("first")


def test_diverged_runs_count_as_chance_or_as_the_worst(tmp_path: Path) -> None:
    wild = Contender(
        "wild", "constant:lr={lr}", {"lr": Interval(1e8, 1e12)}, {"weight_decay": 0.0}, optimizer="adam", batch_size=32
    )
    result = compare(make_task(), [ARMS[0], wild], steps=10, ladder=(1,), seeds=1, budget=SMALL, root=tmp_path)
    assert result is not None
    assert result.values["wild"][10][0] <= 0.6
    task = make_task(metric="loss", higher_is_better=False)
    with pytest.raises(ValueError, match="pass margin="):
        compare(task, ARMS, steps=10, root=tmp_path)


def test_an_arm_whose_trials_diverged_is_told_not_left_out(tmp_path: Path) -> None:
    """Without a chance level: a diverged trial is the worst that any arm reached; where all diverged there is none."""
    task = make_task(metric="loss", higher_is_better=False)
    wild = [replace(ARMS[0], name=name, space={**ARMS[0].space, "lr": Interval(*lrs)}) for name, lrs in WILD.items()]
    result = compare(
        task, [ARMS[0], *wild], steps=10, ladder=(1,), seeds=1, margin=0.1, budget=SMALL, root=tmp_path, device="cpu"
    )
    assert result is not None
    lost = {name: [not math.isfinite(value) for _, value in t.trials] for (name, _), t in result.tuned.items()}
    assert all(lost["all diverge"])
    assert any(lost["some diverge"])
    assert not all(lost["some diverge"])
    *_, settings, table = json.loads((result.path / "experiment.json").read_text())["tables"]
    rows = {name: cells for name, *cells in table["rows"]}
    assert rows["all diverge"] == ["-"] * 3
    assert {name: cells[2] for name, *cells in settings["rows"]}["all diverge"] == "diverged"
    finite = [v for t in result.tuned.values() for _, v in t.trials if math.isfinite(v)]
    scored = [v if math.isfinite(v) else max(finite) for _, v in result.tuned["some diverge", 10].trials]
    assert float(rows["some diverge"][0]) == pytest.approx(fmean(scored), rel=1e-3)
    assert "A diverged trial counts as the worst" in table["note"]


def test_divergence_without_a_chance_level_is_worth_the_untrained_network(tmp_path: Path) -> None:
    task = make_task(metric="loss", higher_is_better=False)
    good = replace(CONTENDERS["common default"], batch_size=32)
    wild = Contender("wild", "constant:lr={lr}", fixed={"lr": 1e30}, optimizer="adam", batch_size=32)
    result = compare(
        task, [wild, good], steps=20, ladder=(1,), seeds=5, margin=0.02, budget=SMALL, root=tmp_path, device="cpu"
    )
    assert result is not None
    assert result.diverged == {"wild": {20: [0, 1, 2, 3, 4]}, "common default": {20: []}}
    untrained = untrained_metric(task, good.arm(20), "test", "cpu")
    (level,) = set(result.values["wild"][20].values())
    assert untrained is not None
    assert level == max(untrained, *result.values["common default"][20].values())
    assert result.outcome == "slower"
    assert "Trainings that diverged: wild 5 of 5." in result.sentences
    shown = tables(result, SMALL)[1]
    assert shown["rows"][0][1].endswith("(5 diverged)")
    assert "counts as the untrained network" in shown["note"]
    guessing = tables(replace(result, chance=1.5), SMALL)[1]  # Task(chance=1.5)
    assert "counts as chance (1.5)." in guessing["note"]


def test_a_score_tells_divergence_from_a_metric_that_is_wrong() -> None:
    def summary(metric: float | None, stop: str = "completed") -> dict[str, Any]:
        return {"stop": stop, "test": {"metric": metric, "loss": 1.0}}

    lower = make_task(metric="loss", higher_is_better=False)
    score = Score(lower)
    values = [score.of(summary(value), "test") for value in (0.2, None, math.inf, None, None)]
    assert values == [0.2, *[math.inf] * 4], "one had a number: the others diverged"
    assert score.finite(values, lambda: 1.5) == [0.2, *[1.5] * 4]
    assert score.finite([0.2, math.inf], lambda: 0.1) == [0.2, 0.2]
    assert score.finite([0.2, math.inf], lambda: None) == [0.2, 0.2]
    assert Score(make_task(metric="top5_accuracy")).finite([0.8, -math.inf], lambda: 0.5) == [0.8, 0.5]
    with pytest.raises(ValueError, match="every compared training diverged"):
        score.finite([math.inf], lambda: 1.0)
    assert Score(make_task(metric="top5_accuracy", chance=0.25)).diverged == 0.25
    assert Score(make_task(chance=0.9)).diverged == 0.9  # a class that prevails
    wrong = Score(lower)
    assert wrong.measured(summary(None, "diverged"), "test") is wrong.measured(summary(None), "test") is None
    wrong.measured(summary(None), "test")
    with pytest.raises(ValueError, match="'loss' is not a number on test data"):
        wrong.measured(summary(None), "test")


def test_divergence_is_worth_a_guess_only_where_the_metric_has_one_and_classes_are_known() -> None:
    diverged = {"stop": "diverged", "validation": {"metric": 0.9}, "test": None}
    inputs, targets = make_part(8, 1)
    unknown = sc.Splits((inputs, targets.float()), None, None)
    worth = {
        "accuracy": Score(make_task()),
        "accuracy of no classes": Score(make_task(data=unknown)),
        "top5": Score(make_task(metric="top5_accuracy")),
        "loss": Score(make_task(metric="loss")),
    }
    assert {name: score.validation(diverged) for name, score in worth.items()} == {
        "accuracy": pytest.approx(1 / 3), "accuracy of no classes": -math.inf, "top5": -math.inf, "loss": math.inf
    }  # fmt: skip
    went_well = {"stop": "completed", "validation": {"metric": 0.9}, "test": None}
    assert worth["accuracy"].validation(went_well) == 0.9
    infinite = {**went_well, "validation": {"metric": math.inf}}
    assert worth["accuracy"].validation(infinite) == pytest.approx(1 / 3), "it is no number"
    assert worth["accuracy"].finite([0.5, 0.2], lambda: pytest.fail("not asked where all have a number")) == [0.5, 0.2]
    never = Score(make_task())
    assert [never.measured(went_well, "test") for _ in range(2)] == [None, None]
    with pytest.raises(ValueError, match="'accuracy' is not a number on test data"):
        never.measured(went_well, "test")


def test_without_a_tuned_opponent_nothing_is_said_of_ordinary_training(tmp_path: Path) -> None:
    default = replace(CONTENDERS["common default"], batch_size=32)
    options: dict[str, Any] = {"steps": 10, "ladder": (1,), "seeds": 1, "budget": SMALL, "device": "cpu"}
    result = compare(make_task(), [ARMS[0], default], root=tmp_path, **options)
    assert result is not None
    stored = json.loads((result.path / "experiment.json").read_text())
    assert stored["title"] == "toy: is 1cycle better than the common default?"
    assert (stored["opponent"], stored["opponent_tuned"]) == ("common default", False)
    assert any("No opponent was tuned" in sentence for sentence in stored["findings"])
    fixed = [Contender(name, "constant:lr={lr}", fixed={"lr": 0.1}, batch_size=32) for name in ("one", "other")]
    neither = compare(make_task(), fixed, root=tmp_path / "neither", **options)
    assert neither is not None
    assert neither.contest.opponent == "other"


def test_without_test_data_it_is_said_that_settings_were_chosen_by_these(tmp_path: Path) -> None:
    splits = sc.Splits(make_part(96, 1), make_part(64, 2), None, 3)
    result = run(tmp_path, make_task(data=splits), ladder=(1,), seeds=1)
    assert result.split == "validation"
    assert any("settings were chosen by these same data" in sentence for sentence in result.sentences)


def test_arms_of_different_batch_sizes_are_refused(tmp_path: Path) -> None:
    arms = [ARMS[0], replace(ARMS[1], batch_size=64)]
    with pytest.raises(ValueError, match="give them one batch size, not 1cycle 32, cosine 64"):
        compare(make_task(), arms, steps=10, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_of_a_loss_the_note_says_which_way_the_difference_is_taken(tmp_path: Path) -> None:
    shown = tables(run(tmp_path / "accuracy", ladder=(1,)), SMALL)[0]
    assert "test accuracy, 1cycle minus opponent (positive: 1cycle is better)" in shown["note"]
    result = run(tmp_path / "loss", make_task(metric="loss", higher_is_better=False), ladder=(1,), margin=0.1)
    shown = tables(result, SMALL)[0]
    assert "test loss, where lower is better: opponent minus 1cycle (positive: 1cycle is better)" in shown["note"]
    ours, theirs = (fmean(result.values[name][10].values()) for name in ("1cycle", "cosine"))
    assert shown["rows"][0][1].startswith(f"{theirs - ours:+.3g}")


def test_small_values_keep_their_digits(tmp_path: Path) -> None:
    """Two decimals are right for percent alone: a loss of 0.003 is none of 0.00."""
    inputs, _ = make_part(96, 1)
    task = make_task(
        model=lambda: nn.Linear(6, 1), metric="loss", higher_is_better=False, loss=nn.functional.mse_loss,
        data=sc.Splits(*[(inputs, 0.001 * inputs[:, :1])] * 3),
    )  # fmt: skip
    result = run(tmp_path, task, ladder=(1,), margin=0.1)
    mean, _, deviation = tables(result, SMALL)[1]["rows"][0][1].split()
    values = list(result.values["1cycle"][10].values())
    assert float(mean) == pytest.approx(fmean(values), rel=1e-3)
    assert float(deviation) == pytest.approx(stdev(values), rel=0.1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"treatment": "1cyle"}, "needs the treatment '1cyle'"),
        ({"seeds": 0}, "at least 1"),
        ({"ladder": (1, 1)}, "different multiples"),
        ({"steps": 1}, "at least 2"),
        ({"margin": -1.0}, "must be positive"),
        ({"margin": math.inf}, "must be positive and finite"),
    ],
)
def test_bad_input_says_what_is_wrong_before_anything_runs(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_the_finalists_are_the_best_trials_and_their_fresh_seeds_decide(
    monkeypatch: pytest.MonkeyPatch, higher_is_better: bool
) -> None:
    sign = 1.0 if higher_is_better else -1.0
    fresh = {10: ((0.9, 0.1), (0.6, 0.6)), 20: ((0.8, 0.7), (0.9, 0.1))}  # of the best trial, and of the second
    searched = Contender("searched", "constant:lr={lr}", {"lr": Interval(1e-3, 1.0)})
    fixed = Contender("fixed", "constant:lr={lr}", fixed={"lr": 0.1})
    tried = list(searched.candidates(4))
    best, second = sorted(tried, key=lambda settings: -settings["lr"])[:2]
    trained: list[Any] = []

    def run_trainings(task: Any, trainings: Any, **where: Any) -> Any:
        trained.extend(trainings)
        yield from reversed(list(enumerate(trainings)))  # as processes may finish them

    def score(training: Any) -> float:
        lr = training.arm.schedule(0)["lr"]
        if training.seed == FIRST_SEED:
            return sign * lr
        of_both = fresh[training.arm.schedule.total_steps]
        return sign * of_both[lr != best["lr"]][training.seed - FIRST_SEED - 1]

    monkeypatch.setattr(tuning, "run_trainings", run_trainings)
    tuner = Tuner(make_task(), [searched, fixed], score=score, higher_is_better=higher_is_better)
    found = tuner.tune((10, 20), Budget(trials=4, finalists=2, fresh_seeds=2))
    assert found is not None
    assert {cell: (each.settings, each.validation) for cell, each in found.items()} == {
        ("searched", 10): (second, sign * 0.6), ("searched", 20): (best, sign * 0.75),
        ("fixed", 10): ({}, None), ("fixed", 20): ({}, None),
    }  # fmt: skip
    assert found["searched", 10].trials == tuple((settings, sign * settings["lr"]) for settings in tried)
    assert found["searched", 20].updates == (4 + 2 * 2) * 20
    assert found["fixed", 20] == Tuned({}, None, (), 0, ())
    assert sorted({each.seed for each in trained}) == [1000, 1001, 1002]
    assert not any(each.read_test for each in trained)
    monkeypatch.setattr(tuning, "run_trainings", lambda *a, **k: list(run_trainings(*a, **k))[1:])
    assert tuner.tune((10,), Budget(trials=4, finalists=2, fresh_seeds=2)) is None, "one of them was stopped"


def test_a_budget_has_as_many_trials_as_finalists() -> None:
    with pytest.raises(ValueError, match="no more finalists than trials"):
        Budget(trials=1, finalists=2)
    for none in ({"trials": 0, "finalists": 0}, {"finalists": 0}, {"fresh_seeds": 0}):
        with pytest.raises(ValueError, match="needs 1 or more trials, finalists and fresh seeds"):
            Budget(**none)
    assert Budget(8, 3, 2).trainings == 14
    assert Budget(1, 1, 1).trainings == 2
    assert Budget() == Budget(8, 2, 2)
