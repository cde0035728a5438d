"""The program on two ranks, started as torchrun starts them: one run, one voice, one end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch.distributed as dist

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")

TASK = """
import os, time
import torch
from torch import nn
import superconv as sc

RANK = int(os.environ.get("RANK", 0))

class Net(nn.Sequential):
    def forward(self, x):
        time.sleep(PAUSE)
        return super().forward(x)

def make():
    generator = torch.Generator().manual_seed(DATA)
    def part(n):
        x = torch.randn(n, 6, generator=generator)
        return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    FAIL
    model = lambda: Net(nn.Linear(6, 16), NORM, nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(16, 3))
    return sc.Task("toy", model=model, data=sc.Splits(part(257), part(65), part(64), 3))
"""
TRAIN = ("train", "--task", "task.py:make", "--schedule", "one_cycle:max_lr=.2", "--batch-size", "32", "--quiet")


class Ended(NamedTuple):
    """How a rank ended."""

    code: int
    out: str
    err: str


def write_task(folder: Path, **values: Any) -> None:
    """The toy task with values for its capital names."""
    text = TASK
    for name, value in {"PAUSE": 0, "DATA": 0, "FAIL": "", "NORM": "nn.Identity()", "DROPOUT": 0.0, **values}.items():
        text = text.replace(name, str(value))
    (folder / "task.py").write_text(text)


class Job:
    """As many processes as there are ranks, in a folder of their own."""

    def __init__(self, folder: Path, commands: list[tuple[str, ...]], world: int | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes = []
        for rank, command in enumerate(commands):
            environment = {
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world or len(commands)),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
                "SUPERCONV_MEETING_SECONDS": "3" if world else "60",
            }  # fmt: skip
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "superconv", *command],
                    cwd=folder,
                    env=environment,
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )

    def end(self, seconds: float = 60) -> list[Ended]:
        """All of them; a job that hangs fails."""
        try:
            ended = [(process.communicate(timeout=seconds), process.returncode) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        return [Ended(code, out, err) for (out, err), code in ended]


Start = Callable[..., list[Ended]]


@pytest.fixture
def on_two(tmp_path: Path) -> Start:
    """Run a command on two ranks to its end."""
    return lambda *command, world=None: Job(tmp_path, [command] * 2 if world is None else [command], world).end()


def alone(folder: Path, *command: str) -> Ended:
    """The same command in one process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "superconv", *command], cwd=folder, env=environment, text=True, capture_output=True,
        timeout=60, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def rows_below(folder: Path) -> list[dict[str, Any]]:
    """Of the only run in a folder."""
    (path,) = folder.rglob("rows.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def column(rows: list[dict[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if name in row]


@pytest.mark.parametrize("norm", ["nn.BatchNorm1d(16)", pytest.param("nn.Identity()", marks=pytest.mark.slow)])
def test_training_on_two_ranks_is_the_training_of_one_process(tmp_path: Path, on_two: Start, norm: str) -> None:
    write_task(tmp_path, NORM=norm)
    command = (*TRAIN, "--steps", "25")
    first, second = on_two(*command, "--runs-dir", "two")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "completed after 25 steps" in first.out
    assert second.out == second.err == ""
    assert alone(tmp_path, *command, "--runs-dir", "one").code == 0
    ours, expected = rows_below(tmp_path / "two"), rows_below(tmp_path / "one")
    assert [row["step"] for row in ours] == [row["step"] for row in expected]
    tolerance = 1e-5 if "Identity" in norm else 1e-4  # statistics are summed in another order
    for name in ("loss", "eval_loss"):
        assert np.allclose(column(ours, name), column(expected, name), atol=tolerance), name
    assert np.allclose(column(ours, "metric"), column(expected, "metric"), atol=1.01 / 65)
    assert column(ours, "lr") == column(expected, "lr")
    again = alone(tmp_path, *command, "--runs-dir", "two")  # it is the same run
    assert "found finished" in again.out


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["nn.Identity()", "nn.BatchNorm1d(16)"])
def test_curvature_is_watched_on_two_ranks_as_in_one_process(tmp_path: Path, on_two: Start, norm: str) -> None:
    write_task(tmp_path, NORM=norm)
    command = (*TRAIN, "--steps", "25", "--monitor-lr", "--monitor-every", "5", "--eigenvalues-every", "10")
    ended = on_two(*command, "--runs-dir", "two")
    assert [rank.code for rank in ended] == [0, 0], ended
    assert alone(tmp_path, *command, "--runs-dir", "one").code == 0
    two, one = (
        [row["curvature"] for row in rows_below(tmp_path / name) if "curvature" in row] for name in ("two", "one")
    )
    assert len(two) == len(one) > 3
    assert numbers_of(two) == pytest.approx(numbers_of(one), rel=1e-2, nan_ok=True)


def numbers_of(value: Any) -> list[float]:
    """All numbers in a nest of lists and dicts, in their order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for each in value for number in numbers_of(each)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.slow
def test_a_range_test_on_two_ranks_is_that_of_one_process(tmp_path: Path, on_two: Start) -> None:
    write_task(tmp_path)
    command = ("range-test", "--task", "task.py:make", "--steps", "20", "--forks", "2", "--seeds", "1", "--start-lr",
               "1e-3", "--end-lr", "1", "--reference-lr", "0.1", "--batch-size", "32", "--quiet", "--json")  # fmt: skip
    first, second = on_two(*command, "--runs-dir", "two")
    assert first.code in (0, 1), first.err
    assert second == Ended(first.code, "", "")
    assert alone(tmp_path, *command, "--runs-dir", "one").code == first.code
    measured = [json.loads(next((tmp_path / place).rglob("range_test.json")).read_text()) for place in ("two", "one")]
    curves = [found.get("curves", found) for found in measured]
    for name in ("lr", "train_loss"):
        ours, expected = (np.array(curve[name], dtype=float) for curve in curves)
        assert np.allclose(ours, expected, atol=1e-5), name


WRONG = {
    "a batch that two do not divide": (["--batch-size", "33"], {}, "--batch-size 33 is not divisible by the 2 ranks"),
    "a GPU where there is none": (["--device", "cuda"], {}, "cannot be used here"),
    "other data on one rank": ([], {"DATA": "RANK"}, "rank 1 has another data set than rank 0: t"),
    "groups over ranks": (["--statistics-of", "20"], {"NORM": "sc.models.NormalisedBatchNorm1d(16)"}, "reaches over"),
}


@pytest.mark.parametrize(
    "name", [name if "divide" in name else pytest.param(name, marks=pytest.mark.slow) for name in WRONG]
)
def test_what_is_wrong_is_said_once_and_ends_all(tmp_path: Path, on_two: Start, name: str) -> None:
    options, values, message = WRONG[name]
    write_task(tmp_path, **values)
    first, second = on_two(*TRAIN, "--steps", "20", *options)
    assert message in first.err
    assert first.err.count("\n") == 1
    assert second.err == ""
    assert (first.code, second.code) == (2, 2)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_an_error_on_one_rank_ends_all_and_names_it(tmp_path: Path, on_two: Start) -> None:
    write_task(tmp_path, FAIL='if RANK == 1: raise ValueError("no such file here")')
    first, second = on_two(*TRAIN, "--steps", "20")
    assert first.err.startswith("superconv: rank 1: task 'task.py:make'")
    assert "no such file here" in first.err
    assert first.err.count("\n") == 1
    assert second.err == ""
    assert (first.code, second.code) == (1, 2)


def test_ranks_that_were_started_otherwise_are_named(tmp_path: Path) -> None:
    write_task(tmp_path)
    first, second = Job(tmp_path, [(*TRAIN, "--steps", "20"), (*TRAIN, "--steps", "21")]).end()
    assert "rank 1 was started with other arguments than rank 0 (21)" in first.err
    assert second.err == ""
    assert (first.code, second.code) == (2, 2)


def test_a_rank_that_does_not_come_is_named(tmp_path: Path, on_two: Start) -> None:
    write_task(tmp_path)
    (first,) = on_two(*TRAIN, "--steps", "20", world=2)
    assert "rank 1 of 2 did not come within 3 s" in first.err
    assert first.code == 1


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_one_rank_stops_all_at_the_same_step_and_the_rest_is_the_same(tmp_path: Path, told: int) -> None:
    write_task(tmp_path, NORM="nn.BatchNorm1d(16)", DROPOUT=0.2, PAUSE=0.02)
    command = (*TRAIN, "--steps", "60")
    whole = Job(tmp_path, [(*command, "--runs-dir", "whole")] * 2).end()
    assert [rank.code for rank in whole] == [0, 0], whole
    job = Job(tmp_path, [(*command, "--runs-dir", "parts")] * 2)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list((tmp_path / "parts").rglob("rows.jsonl")):
        time.sleep(0.02)
    time.sleep(0.4)
    job.processes[told].send_signal(signal.SIGTERM)
    ended = job.end()
    assert [rank.code for rank in ended] == [130, 130], ended
    assert "stopped at step" in ended[0].out
    done = Job(tmp_path, [(*command, "--runs-dir", "parts")] * 2).end()
    assert [rank.code for rank in done] == [0, 0], done
    ours, expected = rows_below(tmp_path / "parts"), rows_below(tmp_path / "whole")
    for name in ("step", "loss", "lr", "eval_loss", "metric"):
        assert column(ours, name) == column(expected, name), name


@pytest.mark.slow
def test_a_run_that_another_process_holds_is_left_alone_by_all_ranks(tmp_path: Path) -> None:
    write_task(tmp_path, PAUSE=0.05)
    command = (*TRAIN, "--steps", "400")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    holder = subprocess.Popen([sys.executable, "-m", "superconv", *command], cwd=tmp_path, env=environment)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not list((tmp_path / "runs").rglob("rows.jsonl")):
            time.sleep(0.02)
        first, second = Job(tmp_path, [command] * 2).end()
        assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()
    assert f"process {holder.pid} on " in first.err
    assert (first.err.count("\n"), second.err) == (1, "")
    assert first.code == second.code == 1


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    write_task(tmp_path, PAUSE=0.02)
    command = (*TRAIN, "--steps", "60", "--runs-dir", "parts")
    job = Job(tmp_path, [command] * 2)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list((tmp_path / "parts").rglob("rows.jsonl")):
        time.sleep(0.02)
    time.sleep(0.3)
    job.processes[0].send_signal(signal.SIGTERM)
    assert [rank.code for rank in job.end()] == [130, 130]
    assert alone(tmp_path, *command).code == 0
    assert alone(tmp_path, *command[:-1], "whole").code == 0
    ours, expected = rows_below(tmp_path / "parts"), rows_below(tmp_path / "whole")
    assert np.allclose(column(ours, "loss"), column(expected, "loss"), atol=1e-5)


VERBS = {
    "find": ("find", "--task", "task.py:make", "--steps", "300", "--budget", "60%"),
    "compare": ("compare", "--task", "task.py:make", "--arms", "1cycle,constant", "--steps", "20", "--ladder", "1",
                "--seeds", "2", "--trials", "2"),
    "reproduce": ("reproduce", "max-lr/3", "fair-headline/cosine", "--scale", "smoke", "--seeds", "1", "--json"),
}  # fmt: skip


def numbers_below(folder: Path) -> dict[str, list[float]]:
    """Losses of all runs in a folder, by their directory."""
    return {
        str(path.parent.relative_to(folder)): column([json.loads(r) for r in path.read_text().splitlines()], "loss")
        for path in sorted(folder.rglob("rows.jsonl"))
    }


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_searches_and_comparisons_make_the_same_runs(tmp_path: Path, on_two: Start, verb: str) -> None:
    write_task(tmp_path)
    first, second = on_two(*VERBS[verb], "--quiet", "--runs-dir", "two")
    assert (first.code, second.code, second.out) == (0, 0, ""), first.err
    one = alone(tmp_path, *VERBS[verb], "--quiet", "--runs-dir", "one", "--workers", "1")
    assert one.code == 0, one.err
    ours, expected = numbers_below(tmp_path / "two"), numbers_below(tmp_path / "one")
    assert list(ours) == list(expected)
    for name, losses in expected.items():
        assert np.allclose(ours[name], losses, atol=1e-3), name
