"""Runs in processes of their own that are interrupted, killed, locked out and short of disk: bit-equal in the end."""

import multiprocessing
import os
import random
import resource
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from test_runner import STEPS, Acting, make_arm, make_task, outcome

import superconv as sc
from superconv.experiments import runner
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.records import StopReason
from superconv.runs import RunLocked


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child(root: Path, how: str, at: int, checkpoint_seconds: float, connection: Connection) -> None:
    """One `run_arm` in a process of its own; sends what became of it."""
    torch.set_num_threads(1)
    runner.CHECKPOINT_SECONDS = checkpoint_seconds

    def pause() -> None:
        connection.send("paused")
        connection.recv()

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

    def die_in_a_checkpoint() -> None:
        def write(state: Any, file: Any) -> None:
            file.write(b"half of a checkpoint")
            file.flush()
            kill()

        sc.TrainState.write = write  # type: ignore[method-assign]
        runner.CHECKPOINT_SECONDS = 0.0

    actions = {"kill": kill, "pause": pause, "full disk": fill_disk, "die in a checkpoint": die_in_a_checkpoint}
    stop = Acting(at, actions[how]) if how in actions else StopSignal()
    try:
        with stop.listening():
            result = run_arm(make_task(), make_arm(), 0, root=root, device="cpu", stop=stop)
        connection.send((result.stop.value, result.steps, result.skipped))
    except ValueError as error:
        connection.send((type(error).__name__, str(error), None))


@pytest.fixture(scope="module")
def processes() -> Any:
    """A server that has imported torch once and run nothing: from it real processes start quickly."""
    context = multiprocessing.get_context("forkserver")
    # torch's optimizers import torch._dynamo when they are first used, which takes longer than all the rest
    context.set_forkserver_preload(["torch", "torch._dynamo", "pytest", "superconv.experiments.runner"])
    return context


class Child:
    """A process that is running `child`."""

    def __init__(self, processes: Any, root: Path, how: str = "", at: int = 0, checkpoint_seconds: float = 60) -> None:
        self.connection, other = processes.Pipe()
        self.process = processes.Process(target=child, args=(root, how, at, checkpoint_seconds, other))
        self.process.start()
        other.close()

    def receive(self) -> Any:
        assert self.connection.poll(60), "the process says nothing"
        return self.connection.recv()

    def go_on(self) -> None:
        self.connection.send("go on")

    def killed(self) -> bool:
        self.process.join(60)
        return self.process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def uninterrupted(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    root = tmp_path_factory.mktemp("uninterrupted")
    assert Child(processes, root).receive() == ("completed", STEPS, False)
    return outcome(run_of(root))


def run_of(root: Path) -> Path:
    (path,) = (root / "train" / "one-cycle").iterdir()
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_checkpoint_and_the_same_call_goes_on(
    processes: Any, uninterrupted: Any, tmp_path: Path, number: int
) -> None:
    first = Child(processes, tmp_path, "pause", at=17)
    assert first.receive() == "paused"
    with pytest.raises(RunLocked, match=f"process {first.process.pid}"):  # two at once would mix their rows
        run_arm(make_task(), make_arm(), 0, root=tmp_path, device="cpu")
    os.kill(first.process.pid, number)
    time.sleep(0.05)
    first.go_on()
    assert first.receive() == ("interrupted", 17, False)
    path = run_of(tmp_path)
    assert (path / "checkpoint.pt").exists()
    assert not (path / "summary.json").exists()
    assert Child(processes, tmp_path).receive() == ("completed", STEPS, False)
    assert outcome(path) == uninterrupted
    assert not (path / "checkpoint.pt").exists()
    assert Child(processes, tmp_path).receive() == ("completed", STEPS, True)
    assert outcome(path) == uninterrupted


@pytest.mark.parametrize("kills", [(1,), (9, 23), (40,), (14, 1, 1, 1)])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 0.01])
def test_kill_9_and_resume_is_bit_equal(
    processes: Any, uninterrupted: Any, tmp_path: Path, kills: tuple[int, ...], checkpoint_seconds: float
) -> None:  # pitfall 39
    for at in kills:
        assert Child(processes, tmp_path, "kill", at, checkpoint_seconds).killed()
    assert Child(processes, tmp_path).receive() == ("completed", STEPS, False)
    assert outcome(run_of(tmp_path)) == uninterrupted


def test_kill_9_while_a_checkpoint_is_written_leaves_the_old_one(
    processes: Any, uninterrupted: Any, tmp_path: Path
) -> None:
    assert Child(processes, tmp_path, "kill", 12, 0.0).killed()
    before = (run_of(tmp_path) / "checkpoint.pt").read_bytes()
    assert Child(processes, tmp_path, "die in a checkpoint", 5).killed()
    assert (run_of(tmp_path) / "checkpoint.pt").read_bytes() == before
    assert Child(processes, tmp_path).receive() == ("completed", STEPS, False)
    assert outcome(run_of(tmp_path)) == uninterrupted
    kept = {each.name for each in run_of(tmp_path).iterdir()}
    assert kept == {".lock", "run.json", "rows.jsonl", "summary.json"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_kill_9_at_any_moment_and_resume_is_bit_equal(
    processes: Any, uninterrupted: Any, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    for _ in range(3):
        running = Child(processes, tmp_path, "pause", 1, draw.choice([0.0, 0.002, 0.02]))
        if running.receive() != "paused":
            break  # finished
        running.go_on()
        time.sleep(draw.uniform(0.0, 0.15))
        running.process.kill()
        running.process.join()
    assert Child(processes, tmp_path).receive()[0] == "completed"
    assert outcome(run_of(tmp_path)) == uninterrupted


@pytest.mark.parametrize("checkpoint_seconds", [0.0, 60.0])  # the checkpoint does not fit, or the rows do not
def test_a_full_disk_is_one_sentence_and_the_same_call_goes_on(
    processes: Any, uninterrupted: Any, tmp_path: Path, checkpoint_seconds: float
) -> None:
    kind, message, _ = Child(processes, tmp_path, "full disk", 8, checkpoint_seconds).receive()
    assert kind == "RunError"
    assert "cannot write" in message
    assert "ulimit -f" in message
    assert "run the same command again" in message
    assert not list(run_of(tmp_path).glob("*.tmp"))
    assert Child(processes, tmp_path).receive() == ("completed", STEPS, False)
    assert outcome(run_of(tmp_path)) == uninterrupted


# ---- the signal itself ---------------------------------------------------------------------------------------------


def test_a_time_limit_passes_and_only_a_positive_one_is_possible() -> None:
    assert StopSignal().reason() is None
    assert StopSignal(max_minutes=10).reason() is None
    short = StopSignal(max_minutes=1e-9)
    time.sleep(0.001)
    assert short.reason() is StopReason.time_limit
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="max_minutes must be positive"):
            StopSignal(max_minutes=wrong)


def test_a_first_signal_is_remembered_a_second_one_interrupts_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = StopSignal(max_minutes=1e-9)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason() is StopReason.interrupted  # says more than the time limit
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    handlers: list[Any] = []

    def listen() -> None:
        with StopSignal().listening():
            handlers.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert handlers == [before]
