"""Runs in processes of their own that are interrupted, killed, locked out and short of disk: bit-equal in the end."""

import os
import random
import signal
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults
import pytest
import torch
from faults import Attempt, Fault
from test_runner import STEPS, make_arm, make_task, outcome

from superconv.experiments import runner
from superconv.experiments.runner import run_arm
from superconv.experiments.stopping import StopSignal
from superconv.records import StopReason
from superconv.runs import RunLocked
from superconv.training.batch_source import BatchSource

Start = Callable[..., Attempt]


class Faulty(StopSignal):
    """Lets a fault happen where the runner asks whether to stop, which is after every update."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault

    def reason(self) -> StopReason | None:
        self.fault.at_step()
        return super().reason()


def train(rank: int, world_size: int, fault: Fault, root: Path, checkpoint_seconds: float) -> None:
    """One `run_arm` in a process of its own, which also notes every batch that it draws."""
    torch.set_num_threads(1)
    runner.CHECKPOINT_SECONDS = checkpoint_seconds
    drawn, draw = open(root / f"drawn{rank}.txt", "a", buffering=1), BatchSource.draw  # noqa: SIM115 - until the end

    def noting(source: BatchSource) -> Any:
        place = source.batches.state_dict()
        batch = draw(source)
        drawn.write(f"{place['epoch']} {place['position']} {zlib.crc32(batch[0].numpy().tobytes()):08x}\n")
        return batch

    BatchSource.draw = noting  # type: ignore[method-assign]
    stop = Faulty(fault)
    try:
        with stop.listening(), warnings.catch_warnings(record=True) as said:
            result = run_arm(make_task(), make_arm(), 0, root=root, device="cpu", stop=stop, keep_weights=True)
        (root / "said.txt").write_text("".join(f"{each.message}\n" for each in said))
        fault.send((result.stop.value, result.steps, result.skipped))
    except ValueError as error:
        fault.send((type(error).__name__, str(error), None))


@pytest.fixture(scope="module")
def processes() -> Any:
    return faults.processes()


@pytest.fixture
def start(processes: Any, tmp_path: Path) -> Start:
    """Starts the training in a process of its own: (how it is harmed, at which update, seconds between checkpoints)."""

    def call(how: str = "", at: int = 0, checkpoint_seconds: float = 60.0, **more: Any) -> Attempt:
        return Attempt(processes, train, tmp_path, checkpoint_seconds, fault=Fault(how, at, **more))

    return call


def left_by(root: Path) -> tuple[Any, ...]:
    """Rows and summary, every weight, and which batch was drawn where: the same one at every attempt."""
    path = run_of(root)
    weights = torch.load(path / "weights.pt", weights_only=True)
    lines = [line.split() for line in (root / "drawn0.txt").read_text().splitlines()]
    order = {(epoch, number): batch for epoch, number, batch in (line for line in lines if len(line) == 3)}
    assert all(order[epoch, number] == batch for epoch, number, batch in (line for line in lines if len(line) == 3))
    return *outcome(path), {name: value.numpy().tobytes() for name, value in weights.items()}, order


@pytest.fixture(scope="module")
def uninterrupted(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    root = tmp_path_factory.mktemp("uninterrupted")
    assert Attempt(processes, train, root, 60.0).receive() == ("completed", STEPS, False)
    return left_by(root)


def run_of(root: Path) -> Path:
    (path,) = (root / "train" / "one-cycle").iterdir()
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_a_checkpoint_and_the_same_call_goes_on(
    start: Start, uninterrupted: Any, tmp_path: Path, number: int
) -> None:
    first = start("pause", 17)
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
    assert start().receive() == ("completed", STEPS, False)
    assert left_by(tmp_path) == uninterrupted
    assert not (path / "checkpoint.pt").exists()
    assert start().receive() == ("completed", STEPS, True)
    assert left_by(tmp_path) == uninterrupted


@pytest.mark.parametrize("kills", [(1,), (9, 23), (40,), (14, 1, 1, 1)])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 0.01])
def test_kill_9_and_resume_is_bit_equal(
    start: Start, uninterrupted: Any, tmp_path: Path, kills: tuple[int, ...], checkpoint_seconds: float
) -> None:  # pitfall 39
    for at in kills:
        assert start("kill", at, checkpoint_seconds).killed()
    assert start().receive() == ("completed", STEPS, False)
    assert left_by(tmp_path) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_kill_9_at_fifty_random_steps(start: Start, uninterrupted: Any, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    assert start("kill", draw.randint(1, STEPS), draw.choice([0.0, 0.005, 60.0])).killed()
    assert start().receive() == ("completed", STEPS, False)
    assert left_by(tmp_path) == uninterrupted


def test_kill_9_while_a_checkpoint_is_written_leaves_the_old_ones(
    start: Start, uninterrupted: Any, tmp_path: Path
) -> None:
    assert start("kill", 12, 0.0).killed()
    names = ("checkpoint.pt", "previous.pt")
    before = [(run_of(tmp_path) / name).read_bytes() for name in names]
    assert start("half a checkpoint", 5).killed()
    assert [(run_of(tmp_path) / name).read_bytes() for name in names] == before
    assert start().receive() == ("completed", STEPS, False)
    assert left_by(tmp_path) == uninterrupted
    kept = {each.name for each in run_of(tmp_path).iterdir()}
    assert kept == {".lock", "run.json", "rows.jsonl", "summary.json", "weights.pt"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_kill_9_at_any_moment_and_resume_is_bit_equal(
    start: Start, uninterrupted: Any, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    for _ in range(3):
        running = start("pause", 1, draw.choice([0.0, 0.002, 0.02]))
        if running.receive() != "paused":
            break  # finished
        running.go_on()
        time.sleep(draw.uniform(0.0, 0.15))
        running.process.kill()
        running.process.join()
    assert start().receive()[0] == "completed"
    assert left_by(tmp_path) == uninterrupted


FULL = {"file limit": "ulimit -f", "no space": "the disk or the quota is full"}


@pytest.mark.parametrize("how", FULL)
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 60.0])  # the checkpoint does not fit, or the rows do not
def test_a_full_disk_is_one_sentence_and_the_same_call_goes_on(
    start: Start, uninterrupted: Any, tmp_path: Path, how: str, checkpoint_seconds: float
) -> None:
    kind, message, _ = start(how, 8, checkpoint_seconds).receive()
    assert kind == "RunError"
    assert "cannot write" in message
    assert FULL[how] in message
    assert "run the same command again" in message
    assert not list(run_of(tmp_path).glob(".*.tmp"))
    assert start().receive() == ("completed", STEPS, False)
    assert left_by(tmp_path) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
def test_a_disk_that_fills_up_at_a_random_byte_at_fifty_random_steps(
    start: Start, uninterrupted: Any, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    kind, message, _ = start(
        draw.choice([*FULL]), draw.randint(1, STEPS), draw.choice([0.0, 60.0]), size=draw.randint(0, 3000)
    ).receive()
    assert (kind, "run the same command again" in message) == ("RunError", True)
    assert start().receive()[:2] == ("completed", STEPS)
    assert left_by(tmp_path) == uninterrupted


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut at a random byte, or with one random bit changed."""
    at = draw.randrange(len(content))
    if draw.random() < 0.7:
        return content[:at]
    return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]


def harm_a_checkpoint(start: Start, root: Path, seed: int) -> None:
    """Kill a run that writes a checkpoint at every step, damage the newest one, and go on."""
    draw = random.Random(seed)
    killed_at = draw.randint(3, STEPS)
    assert start("kill", killed_at, 0.0).killed()
    newest = run_of(root) / "checkpoint.pt"
    whole = newest.read_bytes()
    newest.write_bytes(damaged(whole, draw))
    cut = newest.stat().st_size < len(whole)
    assert start().receive() == ("completed", STEPS, False)
    said = (root / "said.txt").read_text()
    assert f"checkpoint before it, at step {killed_at - 2}" in said or (not said and not cut)  # some bits say nothing


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(
    start: Start, uninterrupted: Any, tmp_path: Path, seed: int
) -> None:
    harm_a_checkpoint(start, tmp_path, seed)
    assert left_by(tmp_path) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 54))
def test_fifty_damaged_checkpoints(start: Start, uninterrupted: Any, tmp_path: Path, seed: int) -> None:
    harm_a_checkpoint(start, tmp_path, seed)
    assert left_by(tmp_path) == uninterrupted


def test_the_readable_checkpoint_is_not_replaced_by_the_damaged_one(start: Start, tmp_path: Path) -> None:
    assert start("kill", 12, 0.0).killed()
    path = run_of(tmp_path)
    older = (path / "previous.pt").read_bytes()
    (path / "checkpoint.pt").write_bytes(b"")
    assert start("half a checkpoint", 1).killed()
    assert not (path / "checkpoint.pt").exists()
    assert (path / "previous.pt").read_bytes() == older


def test_with_no_readable_checkpoint_nothing_is_thrown_away(start: Start, uninterrupted: Any, tmp_path: Path) -> None:
    assert start("kill", 12, 0.0).killed()
    path = run_of(tmp_path)
    for name in ("checkpoint.pt", "previous.pt"):
        (path / name).write_bytes((path / name).read_bytes()[:500])
    before = {each.name: each.read_bytes() for each in path.iterdir() if each.name != ".lock"}
    kind, message, _ = start().receive()
    assert kind == "DamagedCheckpoint"
    assert "previous.pt is not a readable checkpoint" in message
    assert "remove it to start anew" in message
    assert {each.name: each.read_bytes() for each in path.iterdir() if each.name != ".lock"} == before
    for name in ("checkpoint.pt", "previous.pt"):
        (path / name).unlink()
    assert start().receive() == ("completed", STEPS, False)
    assert left_by(tmp_path) == uninterrupted


def test_rows_that_end_before_the_checkpoint_are_named(start: Start, tmp_path: Path) -> None:
    assert start("kill", 12, 0.0).killed()
    rows = run_of(tmp_path) / "rows.jsonl"
    rows.write_bytes(b"".join(rows.read_bytes().splitlines(keepends=True)[:6]))
    kind, message, _ = start().receive()
    assert kind == "RunError"
    assert "it ends with step 5, the checkpoint is of step 10" in message


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


def test_a_minute_has_sixty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stop = StopSignal(max_minutes=2)
    now[0] += 119.5
    assert stop.reason() is None
    now[0] += 0.5
    assert stop.reason() is StopReason.time_limit


def test_an_event_of_another_thread_interrupts() -> None:
    event = threading.Event()
    stop = StopSignal(max_minutes=1e-9, event=event)
    time.sleep(0.001)
    assert stop.reason() is StopReason.time_limit
    event.set()
    assert stop.reason() is StopReason.interrupted  # says more than the time limit


def test_a_first_signal_is_remembered_a_second_one_interrupts_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    stop = StopSignal(max_minutes=1e-9)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason() is StopReason.interrupted  # says more than the time limit
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def hangups() -> Iterator[Callable[[Any], None]]:
    """Set what a hangup does; it is as before afterwards (nohup may have started the tests)."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


def test_a_closed_terminal_stops_and_its_second_hangup_interrupts_nothing(hangups: Callable[[Any], None]) -> None:
    hangups(signal.SIG_DFL)
    stop = StopSignal()
    with stop.listening():
        assert stop.reason() is None
        for _ in range(3):  # of the system, and of the shell
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.reason() is StopReason.interrupted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_nohup_stays_nohup(hangups: Callable[[Any], None]) -> None:
    hangups(signal.SIG_IGN)
    stop = StopSignal()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.reason() is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


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
