"""Says so where a verb of many runs found every one of them finished."""

from __future__ import annotations

from pathlib import Path


def count_finished(*folders: Path) -> int:
    """Runs of these experiments that are finished."""
    return sum(1 for folder in folders for _ in folder.glob("*/*/summary.json"))


def found_finished(before: int, *folders: Path) -> str:
    """A line where no run was added; else nothing.

    Args:
        before: `count_finished` as the verb began.
    """
    if not before or count_finished(*folders) > before:
        return ""
    return f"found finished: nothing was trained, all runs lie in {' and '.join(map(str, folders))}"
