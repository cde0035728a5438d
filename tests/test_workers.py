import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from superconv.experiments import workers
from superconv.experiments.stopping import StopSignal
from superconv.experiments.workers import ATTEMPTS, _failed, run_jobs, stop_requested
from superconv.runs import RunError, RunLocked


def square(x: int) -> tuple[int, int, int]:
    import torch

    return x * x, os.getpid(), torch.get_num_threads()


def fail(x: int) -> int:
    if x == 1:
        raise ValueError("job 1 cannot be done")
    return x


class Odd(Exception):
    def __init__(self, a: str, b: str) -> None:
        super().__init__(f"{a} and {b}")


def return_a_lambda() -> object:
    return lambda: None


def die_at_two(x: int) -> int:
    if x == 2:
        os._exit(9)
    return x


def die_at_first(folder: str, x: int) -> int:
    """Job 1 is killed the first time."""
    with open(Path(folder, str(x)), "a+") as mark:
        mark.write("x")
        mark.flush()
        mark.seek(0)
        if x == 1 and mark.read() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def die_beside_others(folder: str, x: int) -> bool:
    """Job 0 is killed twice; the third time it waits a while and tells whether no other job began or ran meanwhile."""
    if x:
        Path(folder, f"running{x}").touch()
        time.sleep(0.05)
        Path(folder, f"running{x}").unlink()
        return False
    attempt = Path(folder, "attempts")
    with open(attempt, "a") as mark:
        mark.write("x")
    if len(attempt.read_text()) < ATTEMPTS:
        os.kill(os.getpid(), signal.SIGKILL)
    seen = False
    for _ in range(20):
        seen |= any(Path(folder).glob("running*"))
        time.sleep(0.01)
    return not seen


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


def test_errors_come_back_as_they_were_raised() -> None:
    with pytest.raises(ValueError, match="job 1 cannot be done") as raised:
        list(run_jobs(fail, [(0,), (1,), (2,)], workers=1))
    assert "in a worker process" in str(raised.value.__cause__)
    assert "def fail" not in str(raised.value)


def test_errors_travel_or_what_they_say_does() -> None:
    _, locked, _ = pickle.loads(_failed(RunLocked(Path("here"), 12, "there")))
    assert (type(locked), locked.path, locked.pid) == (RunLocked, Path("here"), 12)
    assert "process 12 on there" in str(locked)
    _, odd, _ = pickle.loads(_failed(Odd("a", "b")))  # pickles, and cannot be made again
    assert (type(odd), str(odd)) == (RuntimeError, "Odd: a and b")


def test_a_result_that_cannot_travel_is_an_error_and_no_dead_worker() -> None:
    with pytest.raises(Exception, match=r"pickle|local object"):
        list(run_jobs(return_a_lambda, [()], workers=1))


def test_a_job_whose_worker_dies_is_done_again_and_no_other(tmp_path: Path) -> None:
    jobs = [(str(tmp_path), index) for index in range(4)]
    with pytest.warns(RuntimeWarning, match=r"was killed \(SIGKILL\); its job is done again"):
        results = dict(run_jobs(die_at_first, jobs, workers=2))
    assert results == {0: 0, 1: 1, 2: 4, 3: 9}
    begun = sorted(path.read_text() for path in tmp_path.iterdir())
    assert begun == ["x", "x", "x", "xx"]


def test_a_job_that_always_kills_its_worker_is_given_up_and_the_finished_ones_were_yielded() -> None:
    found: list[int] = []
    with (
        pytest.warns(RuntimeWarning, match=r"ended \(exit status 9\)"),
        pytest.raises(RunError, match=f"exit status 9\\) {ATTEMPTS} times at the same job"),
    ):
        found.extend(index for index, _ in run_jobs(die_at_two, [(x,) for x in range(3)], workers=1))
    assert found == [0, 1]


def test_the_last_attempt_is_made_alone(tmp_path: Path) -> None:
    jobs = [(str(tmp_path), index) for index in range(4)]
    with pytest.warns(RuntimeWarning):
        assert dict(run_jobs(die_beside_others, jobs, workers=2)) == {0: True, 1: False, 2: False, 3: False}


def ask_until_killed(folder: str) -> int:
    """Asks all the time, and is killed meanwhile, but for the last time."""
    with open(Path(folder, "attempts"), "a+") as mark:
        mark.write("x")
        mark.flush()
        mark.seek(0)
        last = len(mark.read()) == ATTEMPTS
    if not last:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()
        while True:
            stop_requested().reason()
    assert stop_requested().reason() is None
    return 1


def ask_under_signals() -> int:
    """Signals come while the job asks: a scheduler sends them to the whole group."""
    for number in (signal.SIGTERM, signal.SIGINT) * 20:
        os.kill(os.getpid(), number)
        assert stop_requested().reason() is None
    return 1


@pytest.mark.parametrize(("job", "arguments"), [(ask_until_killed, 1), (ask_under_signals, 0)])
def test_asking_whether_to_stop_holds_nothing_that_could_be_lost(tmp_path: Path, job: Any, arguments: int) -> None:
    """And a signal to a worker alone ends no job: its parent would take it for one that was stopped, and go on."""
    line = [sys.executable, __file__, job.__name__, *[str(tmp_path)] * arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]


def sleep(seconds: float, mark: str) -> None:
    Path(mark).touch()
    time.sleep(seconds)


def test_a_second_ctrl_c_does_not_wait_for_a_job_that_hangs(tmp_path: Path) -> None:
    mark = tmp_path / "begun"

    class Twice(StopSignal):
        def reason(self) -> Any:
            if mark.exists():
                raise KeyboardInterrupt
            return None

    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(sleep, [(300, str(mark))], workers=1, stop=Twice()))
    assert time.time() - mark.stat().st_mtime < 200


def stop_and_tell(folder: str) -> None:
    Path(folder, "begun").touch()
    wait_for_the_stop(0)
    Path(folder, "gave way").touch()


def test_workers_of_a_killed_parent_stop(tmp_path: Path) -> None:
    """Else they hold their run directories against the same command."""
    parent = subprocess.Popen([sys.executable, __file__, "stop_and_tell", str(tmp_path)])
    for name in ("begun", "gave way"):
        deadline = time.monotonic() + 300
        while not (tmp_path / name).exists():
            assert time.monotonic() < deadline, name
            time.sleep(0.02)
        parent.kill()  # once it has begun
        parent.wait()


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


@pytest.mark.parametrize("count", [2, "ray"])
def test_workers_and_ranks_do_not_go_together(monkeypatch: pytest.MonkeyPatch, count: int | str) -> None:
    monkeypatch.setattr(workers, "is_distributed", lambda: True)
    with pytest.raises(ValueError, match=f"workers={count} does not go with several ranks"):
        list(workers.run_jobs(len, [("abc",)], workers=count))
    assert list(workers.run_jobs(len, [("abc",)])) == [(0, 3)]


def leave(x: int) -> None:
    sys.exit(1)


def test_a_worker_that_cannot_start_is_not_tried_again_and_the_guard_is_named() -> None:
    with pytest.raises(RunError, match=r'exit status 1\) before it could answer.*if __name__ == "__main__":'):
        list(run_jobs(leave, [(0,)], workers=1))


def test_a_script_without_the_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from superconv.experiments.workers import run_jobs\nlist(run_jobs(abs, [(-1,)], workers=1))\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert (
        'a worker process came to start workers of its own: a script that calls superconv needs `if __name__ == "_'
        in (done.stderr)
    )
    assert "before it could answer; its own error stands above" in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) < 60


if __name__ == "__main__":  # a parent that a test can kill
    warnings.simplefilter("ignore", RuntimeWarning)
    print(*(answer for _, answer in run_jobs(globals()[sys.argv[1]], [tuple(sys.argv[2:])], workers=1)))
