"""Run directories on disk: what a run was asked, its rows, and that it finished. Knows dicts and paths only."""

from .atomic import atomic_write
from .environment import environment
from .errors import RunError, RunLocked
from .find import FoundRun, find_runs, found_run, state_of
from .folder_names import folder_name
from .lock import one_at_a_time
from .plain import dumps, identity, plain
from .rows import read_rows
from .run import FORMAT, Run, experiment_path, open_run, run_path

__all__ = [
    "FORMAT",
    "FoundRun",
    "Run",
    "RunError",
    "RunLocked",
    "atomic_write",
    "dumps",
    "environment",
    "experiment_path",
    "find_runs",
    "folder_name",
    "found_run",
    "identity",
    "one_at_a_time",
    "open_run",
    "plain",
    "read_rows",
    "run_path",
    "state_of",
]
