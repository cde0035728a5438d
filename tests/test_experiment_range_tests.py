"""Range tests in run directories: found, told apart, interrupted; only training and validation data are read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_runner import make_net, make_part, make_task
from torch import nn
from torch.utils.data import Dataset

import superconv as sc
from superconv.experiments import range_tests
from superconv.experiments.range_tests import FILE, RangeTestPlan, run_range_test
from superconv.runs import RunError, RunLocked, open_run
from superconv.training.optimizers import build_optimizer, default_lr

SHORT = {"end_lr": 1.0, "total_steps": 12, "forks": 2, "fork_steps": 3, "reference_lr": 0.1, "batch_size": 20}


def make_plan(**changes: Any) -> RangeTestPlan:
    return RangeTestPlan(**{**SHORT, **changes})


def measure(root: Path, task: sc.Task | None = None, seed: int = 0, **changes: Any) -> tuple[sc.RangeTest, Path]:
    return run_range_test(task or make_task(), make_plan(**changes), seed, root=root, device="cpu")[:2]


def test_a_finished_one_is_loaded_and_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ramp, path = measure(tmp_path)
    assert {each.name for each in path.iterdir()} == {".lock", "run.json", "rows.jsonl", FILE, "summary.json"}
    monkeypatch.setattr(range_tests, "lr_range_test", None)
    again, found = measure(tmp_path)
    assert found == path
    assert np.array_equal(again.train_loss, ramp.train_loss)
    assert again.forks == ramp.forks
    summary = json.loads((path / "summary.json").read_text())
    assert (summary["stop"], summary["steps"], summary["test"]) == ("completed", 12, None)


@pytest.mark.parametrize("content", [b"", b'{"kind": "superconv range', None])
def test_a_finished_one_that_is_damaged_says_what_measures_it_again(tmp_path: Path, content: bytes | None) -> None:
    _, path = measure(tmp_path)
    (path / FILE).unlink() if content is None else (path / FILE).write_bytes(content)
    with pytest.raises(RunError, match=rf"{FILE}.*; delete the run directory and run it again$") as damage:
        measure(tmp_path)
    assert "lr_range_test(" not in str(damage.value)


def test_it_is_lr_range_test_with_the_parts_of_the_plan(tmp_path: Path) -> None:
    ramp, _ = measure(tmp_path, evaluate_with="reestimated", evaluate_every=5, shape="linear", precision="fp32")
    task = make_task()
    model = task.build_model(0)
    by_hand = sc.lr_range_test(
        model,
        build_optimizer("sgd", model, lr=default_lr("sgd")),
        task.loss,
        sc.data.Batches(task.data.train, 20, seed=0),
        eval_batches=sc.data.Batches.for_evaluation(task.data.validation),
        seed=0,
        evaluate_with="reestimated",
        evaluate_every=5,
        shape="linear",
        **{key: value for key, value in SHORT.items() if key != "batch_size"},
    )
    assert np.array_equal(ramp.train_loss, by_hand.train_loss)
    assert np.array_equal(ramp.metric, by_hand.metric, equal_nan=True)
    assert ramp.forks == by_hand.forks
    assert ramp.reference_lr == 0.1


@pytest.mark.parametrize(
    "changes",
    [
        {"total_steps": 13},
        {"end_lr": 0.5},
        {"evaluate_with": "running"},
        {"forks": 0, "fork_steps": None},
        {"batch_size": 21},
        {"eval_samples": 10},
        {"optimizer_options": {"momentum": 0.5}},
        {"name": "other"},
    ],
    ids=str,
)
def test_another_plan_is_another_measurement(tmp_path: Path, changes: dict[str, Any]) -> None:
    first, path = measure(tmp_path)
    second, other = measure(tmp_path, **changes)
    assert other != path
    curves = [(ramp.train_loss.tolist(), str(ramp.metric.tolist()), ramp.forks) for ramp in (first, second)]
    assert (curves[0] == curves[1]) == ("name" in changes)
    assert measure(tmp_path, seed=1)[1] != path


class Sorted(Dataset):
    """Samples in the order of their classes, which remember what was read."""

    def __init__(self, samples: int, broken: bool = False) -> None:
        inputs, targets = make_part(samples, 2)
        order = targets.argsort(stable=True)
        self.inputs, self.targets, self.broken = inputs[order], targets[order].tolist(), broken
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if self.broken:
            raise AssertionError("this split is not to be read")
        self.read.add(index)
        return self.inputs[index], self.targets[index]


def test_the_test_split_is_never_read(tmp_path: Path) -> None:
    data = sc.Splits(make_part(90, 1), make_part(30, 2), Sorted(30, broken=True), 3)
    ramp, _ = measure(tmp_path, make_task(data=data), reference_lr="grid")
    assert ramp.eval_samples == 30


def test_fewer_validation_samples_are_drawn_by_class(tmp_path: Path) -> None:
    validation = Sorted(300)
    shares = np.bincount(validation.targets) / 300
    ramp, _ = measure(tmp_path, make_task(data=sc.Splits(make_part(90, 1), validation, None, 3)), eval_samples=60)
    read = np.bincount([validation.targets[index] for index in validation.read], minlength=3)
    assert ramp.eval_samples == 60
    assert np.abs(read - 60 * shares).max() <= 1
    assert ramp.chance == pytest.approx(shares.max(), abs=1 / 60)


@pytest.mark.parametrize("at", [1, 8, 40])
def test_ctrl_c_leaves_nothing_and_the_same_call_measures(tmp_path: Path, at: int) -> None:
    def interrupt(phase: str, done: int, total: int, record: sc.StepRecord, left: list[int] = [at]) -> None:  # noqa: B006
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_range_test(make_task(), make_plan(end_lr=None), 0, root=tmp_path, device="cpu", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    ramp, _ = measure(tmp_path, end_lr=None)
    alone, _ = measure(tmp_path / "alone", end_lr=None)
    assert np.array_equal(ramp.train_loss, alone.train_loss)


def test_a_directory_that_is_in_use_or_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = measure(tmp_path)
    for name in ("summary.json", FILE):
        (path / name).unlink()
    record = json.loads((path / "run.json").read_text())
    with (
        open_run(tmp_path, "range-test", "range-test", 0, record["config"]),
        pytest.raises(RunLocked, match="is being written by process"),
    ):
        measure(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another directory"):
        measure(tmp_path / "file")

    def full(self: sc.RangeTest, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sc.RangeTest, "save", full)
    with pytest.raises(RunError, match="disk or the quota is full"):
        measure(tmp_path)
    assert not (path / "summary.json").exists()


@pytest.mark.parametrize(
    ("task", "plan", "words"),
    [
        ({"model": lambda: nn.Linear(6, 4)}, {}, "4 outputs"),
        ({}, {"shape": "log"}, "'linear' or 'exponential'"),
        ({}, {"optimizer": "sgdd"}, "sgd"),
        ({"loss": lambda o, t: o.sum() * float("nan")}, {"reference_lr": None}, "not finite at the first step"),
        ({"loss": lambda o, t: o.sum() * float("nan")}, {"end_lr": None}, "not finite at the first step"),
    ],
)
def test_what_does_not_fit_is_named_and_not_finished(tmp_path: Path, task: dict, plan: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        measure(tmp_path, make_task(**task), **plan)
    assert not list(tmp_path.rglob("summary.json"))
    assert not list(tmp_path.rglob(FILE))


def test_the_model_is_made_under_the_seed(tmp_path: Path) -> None:
    made: list[torch.Tensor] = []

    def net() -> nn.Module:
        model = make_net()
        made.append(model[0].weight.detach().clone())
        return model

    for seed in (0, 1):
        measure(tmp_path, make_task(model=net, name=f"seen {seed}"), seed=seed, forks=0, fork_steps=None)
    assert not torch.equal(made[0], made[1])
    assert torch.equal(made[0], make_task().build_model(0)[0].weight)


def test_what_cannot_be_written_or_is_being_measured_is_known_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beside(*_: Any, **__: Any) -> None:
        """The same measurement begins a second time while the first one runs."""
        monkeypatch.setattr(range_tests, "lr_range_test", None)
        with pytest.raises(RunLocked, match="is being written by process"):
            measure(tmp_path)
        raise KeyboardInterrupt

    monkeypatch.setattr(range_tests, "lr_range_test", beside)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="choose another directory"):
        measure(tmp_path / "file")


def test_a_failure_leaves_what_was_there_before(tmp_path: Path) -> None:
    _, path = measure(tmp_path)
    with pytest.raises(ValueError, match="linear"):
        measure(tmp_path, shape="log")
    assert [each for each in path.parent.iterdir() if each.is_dir()] == [path]
    assert (path / FILE).exists()


def test_a_metric_without_bounds_has_a_verdict_where_the_task_says_what_a_guesser_reaches(tmp_path: Path) -> None:
    def negative_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return -nn.functional.cross_entropy(outputs, targets, reduction="none")

    unknown, _ = measure(tmp_path, make_task(metric=negative_loss, higher_is_better=True))
    known, _ = measure(tmp_path, make_task(metric=negative_loss, higher_is_better=True, chance=-float(np.log(3))))
    assert (unknown.chance, known.chance) == (None, -float(np.log(3)))
    assert "chance level" in " ".join(unknown.verdict().reasons)
    assert "chance level" not in " ".join(known.verdict().reasons)


def test_micro_batches_are_weighted_by_what_the_task_counts(tmp_path: Path) -> None:
    def first_label(batch: Any) -> int:
        return 1 + int(batch[1][0])

    plain, _ = measure(tmp_path, accumulation_steps=2)
    counted, _ = measure(tmp_path, make_task(count=first_label), accumulation_steps=2)
    alone, _ = measure(tmp_path, make_task(count=first_label))
    assert not np.array_equal(plain.train_loss, counted.train_loss)
    assert np.array_equal(alone.train_loss, measure(tmp_path)[0].train_loss)
