"""A training on pictures that stay on the disk: stopped, resumed, and from the command line."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from program import Run

from superconv.experiments.config import Arm
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.records import StopReason
from superconv.runs import read_rows
from superconv.schedules import parse_schedule
from superconv.task import Task, named_task

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark pictures, a class each."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, name, number in itertools.product(("train", "val"), ("dark", "light"), range(20)):
        path = root / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 128, (24 + number % 3, 26, 3)) + 127 * (name == "light")
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return root


class StopsAfter(StopSignal):
    """Stops a training after so many updates."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.left = updates

    def reason(self) -> StopReason | None:
        self.left -= 1
        return StopReason.interrupted if self.left == 0 else None


def task(folder: Path, workers: int) -> Task:
    options = {"image_size": 16, "streaming": True, "workers": workers}
    return named_task(f"folder:{folder}", "resnet8", data_options=options)


def rows(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(path)]


@pytest.mark.parametrize("stopped_at", [1, 5, 8])
def test_a_stopped_training_is_resumed_bit_for_bit(folder: Path, tmp_path: Path, stopped_at: int) -> None:
    arm = Arm("a", parse_schedule("one_cycle:max_lr=0.1,cycle_fraction=.8", 9), batch_size=8, evaluate_every=3)
    plain: dict[str, Any] = {"device": "cpu", "keep_weights": True}
    whole = run_arm(task(folder, 2), arm, 0, root=tmp_path / "whole", **plain)
    stopped = run_arm(task(folder, 1), arm, 0, root=tmp_path / "parts", stop=StopsAfter(stopped_at), **plain)
    assert (stopped.summary, stopped.steps) == (None, stopped_at)
    resumed = run_arm(task(folder, 3), arm, 0, root=tmp_path / "parts", **plain)
    assert resumed.path.name == whole.path.name
    assert rows(resumed.path) == rows(whole.path)
    one, other = (torch.load(each.path / "weights.pt", weights_only=True) for each in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_program_trains_on_a_folder_that_stays_on_the_disk(run: Run, folder: Path) -> None:
    command = (
        "train", "--data", f"folder:{folder}", "--model", "resnet50", "--image-size", "32", "--crop-scale", "0.5",
        "--corrupt", "skip", "--decoding-threads", "2", "--schedule", "constant:lr=0.001", "--batch-size", "16",
        "--steps", "2", "--device", "cpu", "--json", "-q",
    )  # fmt: skip
    code, out, err = run(*command)
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["summary"]["test"]["samples"] == 40
    info = json.loads((Path(result["path"]) / "run.json").read_text())
    assert "decoded as they are drawn" in json.dumps(info)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--data", "cifar10", "--image-size", "16"), "--image-size: for folders of pictures"),
        (("--data", "mnist5k", "--decoding-threads", "2", "--in-memory"), "--in-memory, --decoding-threads: for"),
        (("--crop-scale", "2"), "--crop-scale (2.0, 1.0)"),
        (("--in-memory", "--crop-scale", ".5"), "leave it out, or leave out --in-memory"),
        (("--corrupt", "ignore"), "--corrupt ignore; allowed are 'refuse' and 'skip'"),
        (("--task", "x:y"), "not both"),
    ],
)
def test_what_does_not_fit_is_said(run: Run, folder: Path, options: tuple[str, ...], says: str) -> None:
    data = () if "--data" in options else ("--data", f"folder:{folder}")
    code, _, err = run("train", *data, "--model", "resnet8", "--schedule", "constant:lr=0.1", *options)
    assert code == 2
    assert says in err


def test_a_task_of_ones_own_has_its_pictures(run: Run) -> None:
    code, _, err = run("train", "--task", "x.py:make", "--schedule", "constant:lr=0.1", "--image-size", "16")
    assert code == 2
    assert "--image-size: of --data alone" in err
