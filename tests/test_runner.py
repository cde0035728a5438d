"""Runs are found, made, resumed and ended as they should be, and nothing is read that should not be."""

import json
import math
import os
import random
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

import superconv as sc
from superconv.experiments import runner
from superconv.experiments.config import Arm
from superconv.experiments.device import choose_device
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.records import StopReason
from superconv.runs import RunError, open_run, read_rows
from superconv.training.out_of_memory import OutOfMemory

STEPS = 40


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3))


def make_part(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def make_task(**changes: Any) -> sc.Task:
    splits = sc.Splits(make_part(90, 1), make_part(30, 2), make_part(30, 3), 3)
    return sc.Task(**{"name": "tiny", "model": make_net, "data": splits, **changes})


def make_arm(name: str = "one-cycle", steps: int = STEPS, max_lr: float = 0.5, **changes: Any) -> Arm:
    settings = {"batch_size": 20, "evaluate_every": 13, "optimizer_options": {"momentum": 0.9, "weight_decay": 1e-3}}
    schedule = sc.one_cycle(steps, max_lr=max_lr, initial_lr=0.05)
    return Arm(name, schedule, **{**settings, **changes})


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(path)]


def outcome(path: Path) -> tuple[Any, ...]:
    """All that a run measured, exactly, without how long it took."""
    summary = json.loads((path / "summary.json").read_text())
    return rows_of(path), {key: value for key, value in summary.items() if key != "seconds"}


class Acting(StopSignal):
    """Does something at the n-th of its questions, which is after the n-th update of this process."""

    def __init__(self, at: int, action: Any) -> None:
        super().__init__()
        self.left, self.action = at, action

    def reason(self) -> StopReason | None:
        self.left -= 1
        if self.left == 0:
            self.action()
        return super().reason()


def test_a_finished_run_is_found_and_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task()
    first = run_arm(task, make_arm(), 3, root=tmp_path, device="cpu")
    assert (first.stop, first.steps, first.skipped) == (StopReason.completed, STEPS, False)
    assert first.path.parent == tmp_path / "train" / "one-cycle"
    assert first.path.name.startswith("seed3-")
    before = outcome(first.path)
    monkeypatch.setattr(runner, "_Training", None)  # nothing is built for a run that is found
    again = run_arm(task, make_arm(), 3, root=tmp_path, device="cpu")
    assert again.skipped
    assert again.summary == first.summary
    monkeypatch.undo()
    assert outcome(first.path) == before
    for other in (make_arm(max_lr=0.4), make_arm(batch_size=21), make_arm(label_smoothing=0.1)):
        assert run_arm(task, other, 3, root=tmp_path, device="cpu").path != first.path
    assert run_arm(task, make_arm(), 4, root=tmp_path, device="cpu").summary != first.summary


def test_rows_and_summary_hold_what_was_measured(tmp_path: Path) -> None:
    result = run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu")
    rows, schedule = rows_of(result.path), make_arm().schedule
    updates = [row for row in rows if "lr" in row]
    assert [row["step"] for row in updates] == list(range(STEPS))
    assert [row["lr"] for row in updates] == [schedule(step)["lr"] for step in range(STEPS)]
    assert [row["momentum"] for row in updates] == [schedule(step)["momentum"] for step in range(STEPS)]
    evaluations = [row for row in rows if "metric" in row]
    assert [(row["step"], row["samples"]) for row in evaluations] == [(12, 30), (25, 30), (38, 30), (39, 30)]
    assert result.summary is not None
    assert result.summary["train_loss"] == updates[-1]["loss"]
    assert result.summary["samples"] == STEPS * 20
    assert result.summary["validation"]["metric"] == evaluations[-1]["metric"]
    assert math.isfinite(result.summary["test"]["loss"])
    assert result.summary["test"]["samples"] == 30


@pytest.mark.parametrize("stopped_at", [1, 20, STEPS])
def test_a_time_limit_stops_and_the_seconds_go_on_counting(tmp_path: Path, stopped_at: int) -> None:
    whole = run_arm(make_task(), make_arm(), 0, root=tmp_path / "whole", device="cpu")
    stop = StopSignal(max_minutes=1e9)

    def time_passes() -> None:
        stop._deadline = -math.inf

    slow = Acting(stopped_at, time_passes)
    slow.reason = lambda: Acting.reason(slow) or stop.reason()  # type: ignore[method-assign]
    first = run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu", stop=slow)
    assert (first.stop, first.steps, first.summary) == (StopReason.time_limit, stopped_at, None)
    rows = (first.path / "rows.jsonl").read_text().splitlines()
    longer = json.loads(rows[-1])  # as if the first part had taken an hour
    (first.path / "rows.jsonl").write_text("\n".join([*rows[:-1], json.dumps({**longer, "seconds": 3600.0})]) + "\n")
    second = run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu")
    assert outcome(second.path) == outcome(whole.path)
    assert second.summary is not None
    assert 3600 <= second.summary["seconds"] < 3660


def diverging_loss(limit: int) -> Any:
    calls = [0]

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = F.cross_entropy(outputs, targets)
        calls[0] += outputs.requires_grad
        return value * math.nan if calls[0] >= limit else value

    return loss


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 60.0])
def test_divergence_is_an_outcome_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_seconds: float
) -> None:
    monkeypatch.setattr(runner, "CHECKPOINT_SECONDS", checkpoint_seconds)
    result = run_arm(make_task(loss=diverging_loss(8)), make_arm(), 0, root=tmp_path, device="cpu")
    assert result.stop is StopReason.diverged
    assert result.summary is not None
    assert "smaller learning rate" in result.summary["remedy"]
    updates = [row for row in rows_of(result.path) if "lr" in row]
    assert [row["step"] for row in updates] == list(range(8))  # the one that is not finite is the last
    assert updates[-1]["loss"] is None
    assert all(math.isfinite(row["loss"]) for row in updates[:-1])
    again = run_arm(make_task(loss=diverging_loss(8)), make_arm(), 0, root=tmp_path, device="cpu")
    assert again.skipped
    assert again.stop is StopReason.diverged


def test_a_real_divergence_is_found(tmp_path: Path) -> None:
    plain = make_task(model=lambda: nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 30), nn.Linear(30, 3)))
    result = run_arm(plain, make_arm(max_lr=1e6), 0, root=tmp_path, device="cpu")
    assert result.stop is StopReason.diverged


def test_a_loss_that_is_not_finite_before_any_update_is_an_error(tmp_path: Path) -> None:
    inputs, targets = make_part(90, 1)
    broken = sc.Splits((inputs * math.nan, targets), make_part(30, 2), None, 3)
    with pytest.raises(ValueError, match=r"not finite at the first step.*check the data"):
        run_arm(make_task(data=broken), make_arm(), 0, root=tmp_path, device="cpu")
    assert not list(tmp_path.rglob("summary.json"))


@pytest.mark.parametrize(
    ("task", "arm", "words"),
    [
        ({"model": lambda: nn.Linear(6, 5)}, {}, "5 outputs.*3 classes.*num_classes=3"),
        ({"loss": lambda outputs, targets: outputs.sum()}, {"label_smoothing": 0.1}, "takes no such argument"),
        ({}, {"accumulation_steps": 0}, "accumulation_steps must be at least 1"),
        ({}, {"precision": "fp8"}, "bf16"),
        ({}, {"evaluate_with": "bath"}, "'batch'"),
        ({}, {"batch_size": 91}, "more than the 90 samples"),
        ({}, {"train_samples": 1000}, "1000"),
        ({}, {"optimizer": "sgdd"}, "sgd"),
        ({}, {"name": "a/b"}, "names a folder"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, task: dict, arm: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run_arm(make_task(**task), make_arm(**arm), 0, root=tmp_path, device="cpu")
    assert not list(tmp_path.rglob("summary.json"))


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("cudda", "cuda:99"):
        with pytest.raises(ValueError, match=f"device '{name}' cannot be used here"):
            run_arm(make_task(), make_arm(), 0, root=tmp_path, device=name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gpu", "torch knows no 'gpu'; did you mean 'cuda'? usual are cpu, cuda, mps, xpu"),
        ("GPU:0", "did you mean 'cuda'?"),
        ("cudda", "did you mean 'cuda'?"),
        ("toaster", "torch knows no 'toaster'; usual are cpu, cuda, mps, xpu"),
        ("mps", "use 'cpu', or leave it out"),
    ],
)
def test_a_device_is_refused_in_a_line(name: str, says: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("it is there")
    with pytest.raises(ValueError, match="cannot be used here") as refused:
        choose_device(name)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 200


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another directory"):
        run_arm(make_task(), make_arm(), 0, root=tmp_path / "file", device="cpu")


def test_a_damaged_checkpoint_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    stop = Acting(20, lambda: None)
    stop.action = lambda: setattr(stop, "_signalled", True)
    path = run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu", stop=stop).path
    rows, whole = rows_of(path), (path / "checkpoint.pt").read_bytes()
    (path / "checkpoint.pt").write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"not a readable checkpoint.*remove it to start anew"):
        run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu")
    assert rows_of(path) == rows
    (path / "checkpoint.pt").unlink()
    assert run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu").stop is StopReason.completed


@pytest.mark.parametrize("damage", [{"stop": "tired"}, {"stop": None}, {"steps": "x"}, {"steps": None}])
def test_a_summary_that_says_nothing_is_damage(tmp_path: Path, damage: dict[str, Any]) -> None:
    done = run_arm(make_task(), make_arm(steps=4), 0, root=tmp_path, device="cpu")
    (done.path / "summary.json").write_text(json.dumps({**(done.summary or {}), **damage}))
    with pytest.raises(RunError, match=r"summary\.json is damaged"):
        run_arm(make_task(), make_arm(steps=4), 0, root=tmp_path, device="cpu")


def test_a_run_that_another_process_has_just_finished_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def finished_in_between(*arguments: Any) -> Any:
        with open_run(*arguments) as other:
            other.finish({"stop": "completed", "steps": 7})
        return open_run(*arguments)

    monkeypatch.setattr(runner.runs, "open_run", finished_in_between)
    result = run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu")
    assert (result.skipped, result.steps) == (True, 7)


class Counting(Dataset):
    """Samples that count how often they are read."""

    def __init__(self) -> None:
        self.inputs, self.targets_ = make_part(30, 3)
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.read.append(index)
        return self.inputs[index], self.targets_[index]


@pytest.mark.parametrize("read_test", [True, False])
def test_the_test_split_is_read_once_or_not_at_all(tmp_path: Path, read_test: bool) -> None:
    test = Counting()
    task = make_task(data=sc.Splits(make_part(90, 1), make_part(30, 2), test, 3))
    result = run_arm(task, make_arm(), 0, root=tmp_path, device="cpu", read_test=read_test)
    assert sorted(test.read) == (list(range(30)) if read_test else [])
    assert result.summary is not None
    assert (result.summary["test"] is not None) == read_test


def test_progress_is_told_of_every_reading(tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []
    run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu", progress=lambda *told: calls.append(told))
    assert [(done, total) for done, total, *_ in calls] == [(13, STEPS), (26, STEPS), (39, STEPS), (40, STEPS)]
    done, _, record, loss, evaluation, reading = calls[-1]
    assert record.step == done - 1
    assert loss == float(record.loss)
    assert evaluation.samples == 30
    assert reading is None


def test_the_callers_random_states_are_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu")
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == expected[1:]


class Noisy(Counting):
    """A data set with a random transform of its own, from all three global random states."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = super().__getitem__(index)
        return inputs + torch.rand(()) + np.random.rand() + random.random(), targets


def test_a_random_data_set_is_repeated_and_resumed_exactly(tmp_path: Path) -> None:
    def task() -> sc.Task:
        return make_task(data=sc.Splits(Noisy(), make_part(30, 2), None, 3))

    paths = []
    for stopped_at in (None, 7):
        root = tmp_path / str(stopped_at)
        if stopped_at is not None:
            stop = Acting(stopped_at, lambda: None)
            stop.action = lambda stop=stop: setattr(stop, "_signalled", True)
            assert run_arm(task(), make_arm(), 0, root=root, device="cpu", stop=stop).steps == 7
        random.seed(99)
        paths.append(run_arm(task(), make_arm(), 0, root=root, device="cpu").path)
    assert outcome(paths[0]) == outcome(paths[1])


def limited_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A loss on a device that holds batches of LARGEST samples."""
    if len(targets) > int(os.environ.get("LARGEST", "1000")):
        raise torch.OutOfMemoryError("CUDA out of memory")
    return F.cross_entropy(outputs, targets)


def test_out_of_memory_names_the_batch_that_fits_and_keeps_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(loss=limited_loss)
    whole = run_arm(task, make_arm(), 0, root=tmp_path / "whole", device="cpu")
    monkeypatch.setenv("LARGEST", "5")
    with pytest.raises(OutOfMemory, match=r"on cpu; a batch of 20 does not fit, 5 does.*last checkpoint is kept"):
        run_arm(task, make_arm(), 0, root=tmp_path, device="cpu")
    monkeypatch.setenv("LARGEST", "20")
    with pytest.raises(OutOfMemory, match="one update of 20 samples alone fits"):
        run_arm(task, make_arm(), 0, root=tmp_path, device="cpu")  # evaluation batches are larger
    monkeypatch.delenv("LARGEST")
    again = run_arm(task, make_arm(), 0, root=tmp_path, device="cpu")
    assert outcome(again.path) == outcome(whole.path)


class Stochastic(nn.Module):
    """Keeps its first random numbers of training beside the weights that it was made with."""

    drawn: ClassVar[list[torch.Tensor]] = []

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.rand(400)
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(self.drawn) % 2 == 0:
            self.drawn.extend([self.first, torch.rand(400)])
        return self.layer(x.flatten(1)[:, :4])


def test_training_does_not_draw_what_the_weights_were_drawn_from(tmp_path: Path) -> None:
    Stochastic.drawn.clear()
    task = make_task(model=Stochastic)
    run_arm(task, make_arm(), 3, root=tmp_path, device="cpu")
    made, trained = Stochastic.drawn[:2]
    assert abs(float(torch.corrcoef(torch.stack([made, trained]))[0, 1])) < 0.2
