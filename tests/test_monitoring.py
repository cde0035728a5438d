"""A run with an LR monitor: the same training, its readings as rows, and what program and report make of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from program import TOY_TASK, Run
from test_runner import STEPS, Acting, make_arm, make_part, make_task, outcome, rows_of

import superconv as sc
from superconv.experiments.monitoring import Monitoring, probe_batch_size
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.report.curvature import curvature_figure
from superconv.report.groups import group_trainings
from superconv.report.read import read_tree


def train_tiny(root: Path, **options: Any) -> Any:
    task = make_task(data=sc.Splits(make_part(90, 1), make_part(64, 2), make_part(30, 3), 3))
    return run_arm(task, make_arm(), 0, root=root, device="cpu", keep_weights=True, **options)


def test_the_training_is_bit_for_bit_the_one_without(tmp_path: Path) -> None:
    plain, watched = train_tiny(tmp_path / "plain"), train_tiny(tmp_path / "watched", monitoring=Monitoring(3))
    rows, summary = outcome(watched.path)
    assert ([row for row in rows if "curvature" not in row], summary) == outcome(plain.path)
    assert [row["curvature"]["step"] for row in rows if "curvature" in row] == list(range(3, STEPS + 1, 3))
    weights = [torch.load(path / "weights.pt", weights_only=True) for path in (plain.path, watched.path)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert plain.path.name != watched.path.name  # a finished run without readings is not taken for one with them


def test_rows_stand_in_order_and_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    stop = StopSignal()

    def interrupted() -> None:
        stop._deadline = -1.0

    acting = Acting(20, interrupted)
    acting.reason = lambda: Acting.reason(acting) or stop.reason()  # type: ignore[method-assign]
    assert train_tiny(tmp_path, monitoring=Monitoring(3), stop=acting).summary is None
    path = train_tiny(tmp_path, monitoring=Monitoring(3)).path
    steps = [row["step"] for row in rows_of(path)]
    assert steps == sorted(steps)
    readings = [row["curvature"] for row in rows_of(path) if "curvature" in row]
    assert [reading["step"] for reading in readings] == list(range(3, STEPS + 1, 3))
    assert [reading["lr"] for reading in readings] == [make_arm().schedule(r["step"] - 1)["lr"] for r in readings]


def test_too_little_held_out_data_is_refused_before_there_is_a_directory(tmp_path: Path) -> None:
    task = make_task(data=sc.Splits(make_part(90, 1), make_part(31, 2), make_part(30, 3), 3))
    with pytest.raises(ValueError, match="16 held-out batches of two, the validation data has 31 samples"):
        run_arm(task, make_arm(), 0, root=tmp_path, device="cpu", monitoring=Monitoring(3))
    assert not list(tmp_path.iterdir())


def test_usual_interval_and_probe_size() -> None:
    assert [Monitoring.of_run(steps).every for steps in (1, 48, 400, 10_000)] == [1, 2, 16, 50]
    assert [probe_batch_size(*sizes) for sizes in ((128, 5000), (128, 160), (1, 32))] == [32, 10, 2]


def test_the_report_draws_readings_and_nothing_without_them(tmp_path: Path) -> None:
    train_tiny(tmp_path)
    groups = group_trainings(read_tree(tmp_path)[0].runs)
    assert curvature_figure(groups) is None
    train_tiny(tmp_path, monitoring=Monitoring(2))
    figure = curvature_figure(group_trainings(read_tree(tmp_path)[0].runs))
    assert figure is not None
    lines = {line.name: line for line in figure.panels[0].lines}
    assert {"LR in use", "paper's estimate", "the same, from noise alone"} <= set(lines)
    assert list(lines["LR in use"].x) == list(range(2, STEPS + 1, 2))
    assert all(value > 0 for line in lines.values() for value in line.y)


def test_estimate_lr_and_monitored_training_from_outside(run: Run, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY_TASK)
    estimate = ["estimate-lr", "--task", "toy.py:make", "--steps", "60", "--batch-size", "32", "--lr", "0.2"]
    code, out, err = run(*estimate, "--json", "-q")
    assert code == 0, err
    readings = json.loads(out)["readings"]
    assert [reading["step"] for reading in readings] == list(range(2, 61, 2))
    assert {reading["lr"] for reading in readings} == {0.2}
    assert readings[-1]["probes"]["secant"]["magnitude"]["n"] == 8
    code, out, _ = run(*estimate, "-q", "--eigenvalues-every", "30")
    assert code == 0
    assert "stable below" in out
    code, out, _ = run(*estimate, "-q")  # found finished: shown again
    assert code == 0
    assert "paper's estimate" in out
    assert "stable below" not in out
    assert f"{readings[-1]['paper_estimate']:.3g}" in out
    code, _, err = run(*estimate, "--schedule", "constant:lr=1")
    assert (code, "not both" in err) == (2, True)
    train = ["train", "--task", "toy.py:make", "--steps", "40", "--schedule", "constant:lr=.1", "--batch-size", "32"]
    code, _, err = run(*train, "--monitor-every", "5")
    assert (code, "--monitor-lr" in err) == (2, True)
    code, out, err = run(*train, "--monitor-lr", "--monitor-every", "5")
    assert code == 0, err
    assert "paper's est." in err  # the live column


def test_the_report_shows_the_readings_in_a_section_of_their_own_and_names_the_metric(tmp_path: Path) -> None:
    from superconv.report import build_report

    train_tiny(tmp_path, monitoring=Monitoring(2))
    page = build_report(tmp_path).read_text()
    assert ">What curvature says</h" in page
    assert "it is an echo of the LR" in page
    assert "validation accuracy" in page
