"""Two ranks of which one is killed at any step: what is left goes on to the same end, bit for bit."""

import datetime
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import faults
import pytest
import torch.distributed as dist
from faults import Attempt, Fault
from test_runner import STEPS
from test_stopping import left_by, run_of, train

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")


def train_on_ranks(
    rank: int, world_size: int, fault: Fault, root: Path, meeting: Path, checkpoint_seconds: float
) -> None:
    """`train` in a process group."""
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size,
        timeout=datetime.timedelta(seconds=30),
    )  # fmt: skip
    train(rank, world_size, fault, root, checkpoint_seconds)
    dist.barrier()
    dist.destroy_process_group()


def attempt(processes: Any, root: Path, fault: Fault | None = None, checkpoint_seconds: float = 60.0) -> Attempt:
    meeting = root / f"meeting-{uuid4()}"  # a new one for every start
    return Attempt(processes, train_on_ranks, root, meeting, checkpoint_seconds, fault=fault, world_size=2)


@pytest.fixture(scope="module")
def processes() -> Any:
    return faults.processes()


@pytest.fixture(scope="module")
def uninterrupted(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    root = tmp_path_factory.mktemp("uninterrupted")
    whole = attempt(processes, root)
    assert [whole.receive(rank) for rank in range(2)] == [("completed", STEPS, False)] * 2
    return left_by(root)


def finish_and_compare(processes: Any, root: Path, uninterrupted: tuple[Any, ...]) -> None:
    last = attempt(processes, root)
    assert [last.receive(rank)[:2] for rank in range(2)] == [("completed", STEPS)] * 2
    assert left_by(root) == uninterrupted


@pytest.mark.parametrize("killed", [0, 1])
def test_kill_9_of_one_rank_and_resume_is_bit_equal(
    processes: Any, uninterrupted: Any, tmp_path: Path, killed: int
) -> None:
    fault = Fault("kill", 17, rank=killed)
    assert attempt(processes, tmp_path, fault, checkpoint_seconds=0.0).killed()
    finish_and_compare(processes, tmp_path, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_kill_9_of_one_rank_at_fifty_random_steps(
    processes: Any, uninterrupted: Any, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    fault = Fault("kill", draw.randint(1, STEPS), rank=draw.randint(0, 1))
    assert attempt(processes, tmp_path, fault, draw.choice([0.0, 0.005, 60.0])).killed()
    finish_and_compare(processes, tmp_path, uninterrupted)


@pytest.mark.parametrize("names", [("checkpoint.pt",), ("checkpoint.pt", "previous.pt")], ids=["newest", "both"])
def test_damaged_checkpoints_are_said_and_the_one_before_is_used_by_both(
    processes: Any, uninterrupted: Any, tmp_path: Path, names: tuple[str, ...]
) -> None:
    fault = Fault("kill", 30)  # checkpoints are written behind the 13th and the 26th update
    assert attempt(processes, tmp_path, fault, checkpoint_seconds=0.0).killed()
    path = run_of(tmp_path)
    for name in names:
        (path / name).write_bytes((path / name).read_bytes()[:700])
    again = attempt(processes, tmp_path)
    if len(names) == 1:
        assert [again.receive(rank)[:2] for rank in range(2)] == [("completed", STEPS)] * 2
    else:  # nothing is thrown away
        assert [again.receive(rank)[0] for rank in range(2)] == ["DamagedCheckpoint"] * 2
        for name in names:
            (path / name).unlink()
        assert [attempt(processes, tmp_path).receive(0)[:2]] == [("completed", STEPS)]
    assert left_by(tmp_path) == uninterrupted
