"""Sweeps: the same summaries here, in processes, and when one of the processes is killed in the middle."""

import functools
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import superconv as sc
from superconv.experiments.config import Arm
from superconv.experiments.sweep import Training, run_trainings

ARMS = [Arm(f"arm {lr:g}", sc.one_cycle(12, max_lr=lr), batch_size=8, evaluate_every=6) for lr in (0.1, 0.3)]
TRAININGS = [Training(arm, seed) for arm in ARMS for seed in (0, 1)]
KILLED_AT = 7  # calls of the loss function in one process


class CountedLoss:
    """Cross entropy that ends its process by SIGKILL at one call, `deaths` times in all (told by a file)."""

    def __init__(self, folder: str, deaths: int) -> None:
        self.folder, self.deaths, self.calls = folder, deaths, 0

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        mark = Path(self.folder, "deaths")
        died = len(mark.read_text()) if mark.exists() else 0
        if self.calls == KILLED_AT and died < self.deaths:
            with mark.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return nn.functional.cross_entropy(outputs, targets)


def make(folder: str, deaths: int = 0) -> sc.Task:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 4, generator=draw)
    part = inputs, (inputs.sum(1) > 0).long()
    data = sc.Splits(part, part, part, 2)
    return sc.Task("halves", functools.partial(nn.Linear, 4, 2), data, loss=CountedLoss(folder, deaths))


def values(task: object, root: Path, workers: int) -> list[tuple[float, float]]:
    found = dict(run_trainings(task, TRAININGS, root=root, experiment="sweep", workers=workers))  # type: ignore[arg-type]
    return [(found[k]["test"]["loss"], found[k]["test"]["metric"]) for k in range(len(TRAININGS))]


def test_processes_and_a_killed_one_give_what_one_process_gives(tmp_path: Path) -> None:
    folder = str(tmp_path)
    here = values(make(folder), tmp_path / "here", 1)
    assert len(set(here)) > 1
    with pytest.warns(RuntimeWarning, match=r"was killed \(SIGKILL\); its job is done again"):
        killed = values(functools.partial(make, folder, 1), tmp_path / "killed", 2)
    assert killed == here
    assert Path(folder, "deaths").read_text() == "x"
