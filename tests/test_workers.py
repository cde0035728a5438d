import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from superconv.experiments.stopping import StopSignal
from superconv.experiments.workers import run_jobs, stop_requested


def square(x: int) -> tuple[int, int, int]:
    import torch

    return x * x, os.getpid(), torch.get_num_threads()


def fail(x: int) -> int:
    if x == 1:
        raise ValueError("job 1 cannot be done")
    return x


def die(x: int) -> None:
    os._exit(9)


def wait_for_the_stop(x: int) -> str:
    deadline = time.monotonic() + 60
    while stop_requested().reason() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return f"{x} gave way"


def test_every_job_once_in_processes_of_one_thread() -> None:
    results = dict(run_jobs(square, [(x,) for x in range(5)], workers=2))
    assert {index: value[0] for index, value in results.items()} == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert os.getpid() not in {value[1] for value in results.values()}
    assert {value[2] for value in results.values()} == {1}


def test_a_stop_reaches_the_workers_and_begins_nothing_new() -> None:
    stop = StopSignal(max_minutes=1e-9)
    assert list(run_jobs(wait_for_the_stop, [(0,), (1,)], workers=1, stop=stop)) == []

    class Later(StopSignal):
        asked = 0

        def reason(self):  # type: ignore[no-untyped-def]
            self.asked += 1
            return super().reason() if self.asked > 2 else None

    results = list(run_jobs(wait_for_the_stop, [(x,) for x in range(4)], workers=1, stop=Later(max_minutes=1e-9)))
    assert results == [(0, "0 gave way")]


def test_errors_come_back_and_a_killed_worker_is_named() -> None:
    with pytest.raises(ValueError, match="job 1 cannot be done"):
        list(run_jobs(fail, [(0,), (1,), (2,)], workers=1))
    with pytest.raises(ValueError, match="worker process was killed"):
        list(run_jobs(die, [(0,)], workers=1))


def test_no_jobs_is_nothing_to_do() -> None:
    assert list(run_jobs(square, [])) == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the first worker in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_while_workers_start_is_a_clean_stop(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "superconv", "demo", "--quick", "--quiet"]
    process = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) < 2:  # the resource tracker, then the first worker
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.splitlines() == ["stopped; run the same command again: it goes on where it stopped"]
