"""Options of the program that would be ignored beside others are named, and nothing is done."""

from pathlib import Path

import pytest
from program import TOY_TASK, Run

PLAIN = """
import dataclasses
from torch import nn

def plain():
    made = make()
    return dataclasses.replace(made, model=lambda: nn.Linear(6, 3))

def unmeasured():
    return dataclasses.replace(make(), metric=None)
"""
TRAIN = "train --task toy.py:make --schedule constant:lr=.1 --steps 3 --batch-size 8"


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    path = tmp_path / "toy.py"
    path.write_text(TOY_TASK + PLAIN)
    return path


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{TRAIN} --data-dir here", "--data-dir: of --data alone; a --task has its data already"),
        (
            "train --data folder:here --model mlp --data-dir there --schedule constant:lr=.1",
            "--data-dir there: folder:here says itself where its pictures lie; leave it out",
        ),
        (f"{TRAIN} --no-augment --mirror", "--mirror would be ignored with --no-augment"),
        (f"{TRAIN} --no-augment --crop-padding 2", "--crop-padding would be ignored with --no-augment"),
        (f"{TRAIN} --channels-last", "--channels-last: the model has no weights of pictures"),
        (
            f"{TRAIN.replace('make', 'plain')} --averaging-fraction .9",
            "the model has no BatchNorm; leave it out",
        ),
        (f"{TRAIN} --optimizer torch.optim:Rprop", "--weight-decay: optimizer 'torch.optim:Rprop' has none; use 0"),
        ("range-test --task toy.py:make --forks 0 --fork-steps 7", "--fork-steps 7 without forks would be ignored"),
        (
            "range-test --task toy.py:unmeasured --reference-lr grid",
            "--reference-lr grid compares metrics, and none is measured",
        ),
        ("compare --task toy.py:make --batch-size 0", "--batch-size must be at least 1, got 0"),
        ("reproduce max-lr --list --seeds 5", "--seeds does not go with --list"),
        ("reproduce --list --scale paper", "--scale does not go with --list"),
        ("reproduce --overview --data-dir x", "--data-dir does not go with --overview"),
        ("reproduce max-lr --overview", "a name does not go with --overview"),
    ],
)
def test_what_would_be_ignored_is_refused(run: Run, toy: Path, tmp_path: Path, line: str, says: str) -> None:
    code, out, err = run(*line.split(), *([] if line.startswith("reproduce") else ["-q"]))
    assert (code, out) == (2, "")
    assert says in err
    assert not (tmp_path / "runs").exists()


def test_without_a_metric_no_grid_of_trainings_is_made(run: Run, toy: Path) -> None:
    ramp = ("--steps", "20", "--start-lr", ".01", "--end-lr", "1", "--forks", "0", "--seeds", "1", "--batch-size", "32")
    _, out, _ = run("range-test", "--task", f"{toy}:unmeasured", *ramp, "--no-plot", "-q")
    assert "20 steps" in out.splitlines()[0]
