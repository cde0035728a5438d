"""Independent jobs on a local Ray of two workers: the results of local processes, also where a worker is lost."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from program import TOY_TASK

from superconv.experiments.ray_jobs import _received
from superconv.experiments.workers import run_jobs
from superconv.runs import RunError

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")

SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import ray
from superconv.experiments.stopping import StopSignal
from superconv.experiments.workers import run_jobs, stop_requested
from superconv.runs import RunError

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")

def square(folder, x):
    with open(Path(folder, str(x)), "a+") as mark:
        mark.write("x")
        mark.flush()
        mark.seek(0)
        if x == 1 and mark.read() == "x":
            os.kill(os.getpid(), signal.SIGKILL)
    import torch
    return x * x, torch.get_num_threads(), os.getcwd()

def fail(x):
    if x == 1:
        raise ValueError("job 1 cannot be done")

def die():
    os._exit(9)

def wait_for_the_stop():
    Path("waiting").touch()
    end = time.monotonic() + 60
    while stop_requested().reason() is None and time.monotonic() < end:
        time.sleep(0.05)
    return stop_requested().reason().value

class WhenWaiting(StopSignal):
    def reason(self):
        self._signalled = Path("waiting").exists()
        return super().reason()

told = {}
told["squares"] = sorted(run_jobs(square, [(sys.argv[1], x) for x in range(4)], workers="ray"))
for name, function, jobs in (("raised", fail, [(0,), (1,)]), ("died", die, [()])):
    try:
        list(run_jobs(function, jobs, workers="ray"))
    except ValueError as error:
        told[name] = [type(error).__name__, str(error)]
told["stopped"] = list(run_jobs(wait_for_the_stop, [()], workers="ray", stop=WhenWaiting()))
Path("told.json").write_text(json.dumps(told))
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, text=True, capture_output=True, timeout=240, check=True
    )


@needs_ray
@pytest.mark.slow
def test_jobs_are_done_again_where_a_worker_is_lost_and_errors_come_back(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    marks = tmp_path / "marks"
    marks.mkdir()
    run(tmp_path, "script.py", str(marks))
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["squares"] == [[x, [x * x, 1, str(tmp_path)]] for x in range(4)]
    assert (marks / "1").read_text() == "xx"
    assert told["raised"] == ["ValueError", "job 1 cannot be done"]
    assert told["died"][0] == "RunError"
    assert "was lost 3 times at the same job" in told["died"][1]
    assert told["stopped"] == [[0, "interrupted"]]


def measured(folder: Path) -> dict[str, Any]:
    """Rows of all runs, without the time they took."""
    found = {}
    for path in sorted(folder.rglob("rows.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[str(path.parent.relative_to(folder))] = [{**row, "seconds": 0} for row in rows]
    return found


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("compare", "--task", "task.py:make", "--arms", "1cycle,constant", "--steps", "20", "--ladder", "1", "--seeds",
         "2", "--trials", "2"),
        ("find", "--task", "task.py:make", "--steps", "400", "--budget", "400"),
        ("reproduce", "max-lr/3", "max-lr/1", "--scale", "smoke", "--seeds", "2", "--json"),
    ],
    ids=lambda command: command[0],
)  # fmt: skip
def test_the_program_makes_the_same_runs_as_local_processes(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "task.py").write_text(TOY_TASK)
    program = ("-m", "superconv", *command, "--quiet")
    run(tmp_path, *program, "--workers", "ray", "--runs-dir", "ray")
    run(tmp_path, *program, "--workers", "2", "--runs-dir", "local")
    assert measured(tmp_path / "ray") == measured(tmp_path / "local") != {}


def test_without_ray_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'superconv\[ray\]'"):
        list(run_jobs(len, [("abc",)], workers="ray"))


def test_a_worker_that_cannot_begin_is_not_said_to_be_lost() -> None:
    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        pass

    def get(_: object) -> None:
        raise RayTaskError("\x1b[36mray::_do()\x1b[39m (pid=1)\nModuleNotFoundError: No module named 'superconv'\n")

    ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError))
    with pytest.raises(
        RunError, match=r"could not begin its job \(ModuleNotFoundError: No module named 'superconv'\);"
    ):
        _received(ray, None)
