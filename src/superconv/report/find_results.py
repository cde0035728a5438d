"""Which results files of `superconv reproduce` lie in a folder; told by name and first lines, without reading them."""

from __future__ import annotations

from pathlib import Path

from ..paper.setting import KEPT

_NAMES = tuple(f"*-{scale}.json" for scale in KEPT)  # CLAIM-SCALE.json
_HEAD = 200  # characters, in which such a file says its format


def results_files(path: Path) -> list[Path]:
    """The file itself, or those at and below a folder; a broken one of such a name counts, so that it is said."""
    if path.is_file():
        return [path]
    return sorted(found for name in _NAMES for found in path.rglob(name) if _may_be_one(found))


def _may_be_one(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(_HEAD)
    return '"format"' in head or not head.strip()
