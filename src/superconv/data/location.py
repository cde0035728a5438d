"""Where data sets lie: the data folder, and the candidate places inside it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from .catalog import Layout, Source, source_named
from .errors import DataError, DataNotFoundError

ENVIRONMENT_VARIABLE = "SUPERCONV_DATA"


def data_folder(data_dir: str | Path | None = None) -> Path:
    """The folder that holds the data: `data_dir`, else $SUPERCONV_DATA, else ~/.cache/superconv."""
    chosen = data_dir if data_dir is not None else os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "superconv"


@dataclass(frozen=True)
class Place:
    """A complete copy of a data set: a folder with all its files, or an archive that should hold them.

    Args:
        layout: how the files are read.
        path: the folder or the archive.
        fetch_command: what to type to download the data set again.
    """

    layout: Layout
    path: Path
    fetch_command: str

    @property
    def is_archive(self) -> bool:
        """Whether the files are read out of an archive."""
        return self.path.name == self.layout.archive


def where(name: str, data_dir: str | Path | None = None) -> Path | None:
    """The folder or archive from which `load(name, data_dir)` would read, or None where there is none.

    Raises: DataError: unknown name.
    """
    source = source_named(name)
    places, _ = _probe(source, data_folder(data_dir), "")
    return places[0].path if places else None


def locate(source: Source, data_dir: str | Path | None = None) -> Place:
    """The best complete copy of a data set.

    Raises: DataNotFoundError: there is none, or one that lacks files, which are named.
    """
    root = data_folder(data_dir)
    where_to = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    command = f"`superconv data fetch {source.name}{where_to}`"
    places, incomplete = _probe(source, root, command)
    if places:
        return places[0]
    get = source.instruction or f"run {command}"
    remedy = f"{get}, or point --data-dir or ${ENVIRONMENT_VARIABLE} at the folder that holds it"
    if incomplete:
        folder, missing = incomplete[0]
        raise DataNotFoundError(f"{source.name}: {folder} lacks {', '.join(missing)}; {remedy}")
    raise DataNotFoundError(f"{source.name} is not under {root}; {remedy}")


def existing_file(folder: Path, filename: str) -> Path | None:
    """`filename` in `folder`, plain or gzipped, or None."""
    for candidate in (folder / filename, folder / f"{filename}.gz"):
        if candidate.is_file():
            return candidate
    return None


def _missing(layout: Layout, folder: Path) -> tuple[list[str], bool]:
    """What a folder lacks of a layout, and whether it holds anything of it."""
    if layout.format == "folder":
        splits = {names[0]: any((folder / name).is_dir() for name in names) for names in (layout.train, layout.test)}
        return [name for name, there in splits.items() if not there], any(splits.values())
    files = layout.train + layout.test
    missing = [name for name in files if existing_file(folder, name) is None]
    return missing, len(missing) < len(files)


def _probe(source: Source, root: Path, command: str) -> tuple[list[Place], list[tuple[Path, list[str]]]]:
    """Complete copies, and folders that hold a part of the files together with what they lack."""
    places: list[Place] = []
    incomplete: list[tuple[Path, list[str]]] = []
    try:
        for layout in source.layouts:
            for folder in (root / name for name in layout.folders):
                missing, present = _missing(layout, folder)
                if not missing:
                    places.append(Place(layout, folder, command))
                elif present:
                    incomplete.append((folder, missing))
            archives = [root / layout.archive, root / source.name / layout.archive] if layout.archive else []
            places += [Place(layout, archive, command) for archive in archives if archive.is_file()]
    except PermissionError as error:
        raise DataError(f"{source.name}: {error.filename} may not be read; mend its permissions") from error
    return places, incomplete
