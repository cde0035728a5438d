"""The report as plain values for machines: everything that the page says, without the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..runs import plain
from .chapter import Chapter
from .ramps import RampGroup
from .tables import Table

FORMAT = 1


def plain_report(chapters: Sequence[Chapter]) -> dict[str, Any]:
    """A dict that `json.dumps(..., allow_nan=False)` accepts; what is not a finite number is null."""
    report: dict[str, Any] = plain({"format": FORMAT, "experiments": [_chapter(chapter) for chapter in chapters]})
    return report


def _chapter(chapter: Chapter) -> dict[str, Any]:
    return {
        "name": chapter.name,
        "title": chapter.title,
        "sentence": chapter.sentence,
        "findings": chapter.findings,
        "runs": chapter.count,
        "range_tests": [_ramps(group) for group in chapter.ramps],
        "tables": [_table(table) for table in chapter.tables],
        "problems": _table(chapter.problems),
        "settings": {"shared": _table(chapter.shared), "differing": _table(chapter.differing)},
        "figures": [picture.slug for picture in chapter.pictures],
        "note": chapter.note,
        "command": chapter.command,
        "seconds": chapter.seconds,
        "created": chapter.created,
    }


def _ramps(group: RampGroup) -> dict[str, Any]:
    suggestion = group.suggestion
    return {
        "arm": group.arm,
        "repeats": group.names,
        "tolerance": group.verdict.tolerance,
        "reasons": group.verdict.reasons,
        "evidence": group.verdict.evidence,
        "suggestion": {
            "rule": suggestion.rule, "lr": suggestion.lr, "min_lr": suggestion.min_lr, "max_lr": suggestion.max_lr,
            "interval": suggestion.interval, "reason": suggestion.reason,
        },
    }  # fmt: skip


def _table(table: Table | None) -> dict[str, Any] | None:
    if table is None:
        return None
    return {"title": table.title, "columns": table.columns, "rows": table.rows, "note": table.note}
