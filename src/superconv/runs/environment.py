"""What a run's numbers may depend on beside its config: versions, machine, threads, revision, command line."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import superconv

_OF_LINUX = Path("/proc/cpuinfo")


def environment() -> dict[str, Any]:
    """A plain dict for a run's `info`. Imports nothing heavy: torch's version comes from its metadata.

    Returns: "superconv", "python", "torch", "numpy": versions, None where not installed; "platform", "machine",
        "cpu_count"; "processor": its model and, where torch is loaded, the instructions that torch uses, on which
        rounding depends, None where neither is known; "threads": torch's where it is loaded, else OMP_NUM_THREADS,
        else None; "git_revision": of this package where it runs from a checkout, "+changed" appended where files
        differ from it, else None; "project_revision": likewise of the current directory; "command": the command line,
        quoted for a shell, the program by its name alone.
    """
    return {
        "superconv": superconv.__version__,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "processor": _processor(),
        "threads": _threads(),
        "git_revision": _package_revision(),
        "project_revision": git_revision(Path.cwd()),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def git_revision(folder: Path) -> str | None:
    """Commit of the checkout that `folder` lies in, "+changed" appended where tracked files differ; None outside.

    Args:
        folder: any folder.
    """
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return revision + ("+changed" if changed else "")


def _package_revision() -> str | None:
    """This package's own: a copy installed inside someone's checkout is not part of that checkout."""
    file = Path(superconv.__file__)
    tracked = _git(file.parent, "ls-files", "--error-unmatch", file.name)
    return git_revision(file.parent) if tracked else None


def _git(folder: Path, *arguments: str) -> str | None:
    """Git's answer; None without git, outside a checkout, or where it takes too long."""
    import subprocess  # here, as it would double the time that importing this package takes

    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=quiet, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    from importlib import metadata  # here for the same reason

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str | None:
    torch = sys.modules.get("torch")
    instructions = torch.backends.cpu.get_cpu_capability() if torch is not None else None
    return ", ".join(filter(None, (_model_of_processor(), instructions))) or None


def _model_of_processor() -> str:
    """As Linux tells it; elsewhere Python's word for it, which may be empty."""
    try:
        lines = _OF_LINUX.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor()


def _threads() -> int | None:
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else None
