import json
from pathlib import Path

import pytest

from superconv.analysis.suggestion import Suggestion
from superconv.analysis.verdict import Verdict
from superconv.experiments import demo
from superconv.experiments.demo_arms import DEFAULT, Settings, make_arm, suggested
from superconv.experiments.demo_findings import PAIRS, conclude, tables
from superconv.experiments.demo_tuning import KINDS, _candidates, load_tuned, store_tuned, tune
from superconv.experiments.stopping import StopSignal

NO_SUGGESTION = Suggestion("best_fork", None, None, None, None, "every fork diverged")
WIDE = Verdict("wide", None, ("it holds",), {"edge_ratio": 9.0})


def summary(accuracy: float, stop: str = "completed") -> dict:
    return {"stop": stop, "test": {"metric": accuracy}}


def summaries(gain: float, seeds: int = 5) -> dict:
    """Accuracy 0.8 + 0.05 per doubling; 1cycle better by `gain`, with a little scatter over seeds."""
    kinds = {"one-cycle": gain, "default": 0.0, "tuned-piecewise": 0.0, "tuned-one-cycle": gain}
    return {
        (kind, steps, seed): summary(0.8 + 0.05 * doubling + extra + 0.001 * seed * (kind == "one-cycle"))
        for kind, extra in kinds.items()
        for doubling, steps in enumerate((40, 80, 160))
        for seed in range(seeds)
    }


def test_a_gain_is_called_faster_and_none_is_called_none() -> None:
    better = conclude("net", 10, [], WIDE, NO_SUGGESTION, summaries(0.05))
    assert set(better.comparisons[1].words.values()) == {"faster"}
    assert better.comparisons[1].speed_up.value == pytest.approx(2.0, rel=0.1)
    assert better.verdict.speed_up is not None
    assert better.verdict.super_converges
    equal = conclude("net", 10, [], WIDE, NO_SUGGESTION, summaries(-0.001))
    assert set(equal.comparisons[1].words.values()) == {"no gain"}
    assert not equal.verdict.super_converges
    assert "no gain at 3 of 3 lengths" in equal.sentence
    few = conclude("net", 10, [], WIDE, NO_SUGGESTION, summaries(0.05, seeds=2))
    assert set(few.comparisons[0].words.values()) == {"too few seeds"}
    assert few.verdict.speed_up is None


def test_a_diverged_run_counts_as_chance() -> None:
    runs = summaries(0.05)
    runs["one-cycle", 40, 0] = summary(0.99, stop="diverged")
    finding = conclude("net", 10, [], WIDE, NO_SUGGESTION, runs)
    assert finding.accuracies["one-cycle"][40][0] == 0.1


def test_tables_hold_every_arm_and_length_and_both_answers() -> None:
    finding = conclude("net", 10, [], WIDE, NO_SUGGESTION, summaries(0.05))
    says, accuracies, better = tables([finding])
    assert says["rows"] == [["net", "wide", "9.0x", "none", "", "best_fork"]]
    assert [row[1] for row in accuracies["rows"]] == ["40", "80", "160"]
    assert [row[0] for row in better["rows"]] == ["40", "80", "160", "speed-up"]
    assert better["columns"] == ["steps", *(f"1cycle {label}" for _, _, label in PAIRS)]
    for table in (says, accuracies, better):
        assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_arms_differ_in_nothing_but_schedule_and_settings() -> None:
    settings = Settings(0.5, 1e-3)
    cycle, drops = (make_arm("net", kind, 80, settings) for kind in ("tuned-one-cycle", "tuned-piecewise"))
    assert max(cycle.schedule.values()["lr"]) == max(drops.schedule.values()["lr"]) == 0.5
    assert sorted(set(drops.schedule.values()["lr"])) == pytest.approx([0.005, 0.05, 0.5])
    assert cycle.batch_size == drops.batch_size
    assert drops.optimizer_options == {"weight_decay": 1e-3, "momentum": 0.9}
    assert suggested(NO_SUGGESTION) is None


def test_the_shipped_settings_are_the_published_ones() -> None:
    tuned = load_tuned()
    published = load_tuned(Path(__file__).parents[1] / "results" / "demo" / "tuning.json")
    assert tuned == published
    for network in demo.FULL.networks:
        for kind in KINDS:
            assert set(tuned[network][kind]) >= set(demo.FULL.lengths)


def test_every_arm_may_try_the_same(tmp_path: Path) -> None:
    assert list(_candidates()) == list(_candidates())
    assert len({settings.lr for settings in _candidates()}) == 16
    for bad, words in ((tmp_path / "none.json", "superconv demo --tune"), (tmp_path / "old.json", "format 99")):
        (tmp_path / "old.json").write_text('{"format": 99}')
        with pytest.raises(ValueError, match=words):
            load_tuned(bad)


def test_the_demo_runs_stops_goes_on_and_skips(tmp_path: Path) -> None:
    plan = demo.Plan(
        networks=("mlp-bn",), lengths=(4, 8), seeds=(0, 1), range_seeds=(0,), ramp_steps=30, forks=3
    )  # the smallest that has every part
    tuned = {"mlp-bn": {kind: dict.fromkeys(plan.lengths, DEFAULT) for kind in KINDS}}
    stopped = demo.run_demo(plan, root=tmp_path, tuned=tuned, stop=StopSignal(max_minutes=1e-9), workers=1)
    assert stopped.stopped
    assert stopped.findings == ()
    told = []
    result = demo.run_demo(plan, root=tmp_path, tuned=tuned, report=lambda *told_: told.append(told_), workers=2)
    assert not result.stopped
    assert told[-1][:3] == ("trainings", 16, 16) or told[-1][:3] == ("trainings", 12, 12)
    record = json.loads((tmp_path / "demo" / "experiment.json").read_text())
    assert record["sentence"].startswith("mlp-bn: tolerance of large learning rates")
    again = demo.run_demo(plan, root=tmp_path, tuned=tuned, workers=1)
    assert [f.accuracies for f in again.findings] == [f.accuracies for f in result.findings]
    assert again.seconds < result.seconds
    assert json.loads((tmp_path / "demo" / "experiment.json").read_text()) == record  # seconds of the call that trained
    reasons = [finding.verdict.reasons for finding in result.findings]
    assert record["findings"] == [f"mlp-bn: {reason}" for (reason, *_) in reasons]


@pytest.mark.slow
def test_tuning_chooses_on_validation_and_stores_winners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = tune(("mlp",), (8,), data="mnist5k", root=tmp_path)
    assert found["cost"]["updates"] == 2 * 8 * (16 * 2 + 3 * 3)
    assert [row["kind"] for row in found["winners"]] == list(KINDS)
    summaries = list(tmp_path.glob("demo-tuning/*/*/summary.json"))
    assert len(summaries) == 2 * (16 * 2 + 3 * 3)
    assert all(json.loads(path.read_text())["test"] is None for path in summaries)
    monkeypatch.setattr("superconv.experiments.demo_tuning.SHIPPED", tmp_path / "shipped.json")
    assert store_tuned(found, tmp_path / "tuning.json") == [tmp_path / "tuning.json"]
    assert not (tmp_path / "shipped.json").exists()
    store_tuned(found, tmp_path / "tuning.json", ship=True)
    assert load_tuned(tmp_path / "shipped.json") == load_tuned(tmp_path / "tuning.json")
