"""A tree of run directories as plain values; what is damaged or half done is said, and never stops the reading."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..analysis.range_test import RangeTest
from ..runs.errors import RunError
from ..runs.read import read_json
from ..runs.rows import read_rows

Floats = NDArray[np.float64]
State = Literal["finished", "diverged", "unfinished", "damaged"]

_FOLDER = re.compile(r"seed(\d+)(?:-|$)")
_TRAIN_KEYS = ("step", "lr", "momentum", "loss")
_EVAL_KEYS = ("step", "metric", "eval_loss")
_CURVATURE_KEYS = (
    "step", "lr", "effective_lr", "paper_estimate", "noise_line", "secant", "expected_step", "stability_limit",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run directory.

    Args:
        path: the directory.
        experiment: folder of the experiment it belongs to.
        arm, seed: from run.json, else from the folder names.
        record: the whole of run.json; empty where it cannot be read.
        summary: the content of summary.json, or None.
        train: step, lr, momentum and loss of every update row; NaN where a row lacks one.
        evaluations: step, metric and eval_loss of the evaluation rows on validation data (on what there is, else).
        curvature: step, lr and the estimates of every reading of an LR monitor; NaN where none was stated.
        split: which data `evaluations` were made on.
        ramp: the range test that lies in it, or None.
        problem: what cannot be read, in a sentence; else empty.
    """

    path: Path
    experiment: Path
    arm: str
    seed: int | None
    record: dict[str, Any]
    summary: dict[str, Any] | None
    train: dict[str, Floats]
    evaluations: dict[str, Floats]
    curvature: dict[str, Floats] = field(default_factory=dict)
    split: str = ""
    ramp: RangeTest | None = None
    problem: str = ""

    @property
    def state(self) -> State:
        """How far it came."""
        if self.problem:
            return "damaged"
        if self.summary is None:
            return "unfinished"
        return "diverged" if self.summary.get("stop") == "diverged" else "finished"

    @property
    def config(self) -> dict[str, Any]:
        """What was asked."""
        return _dict(self.record.get("config"))

    @property
    def schedule(self) -> dict[str, Any] | None:
        """The schedule as it was stored, or None."""
        return _dict(self.record.get("schedule") or self.config.get("schedule")) or None

    @property
    def task(self) -> str:
        """Name of what was trained; empty where the run does not say."""
        task = self.config.get("task")
        return str(task.get("name", "") if isinstance(task, dict) else task or "")

    @property
    def metric_name(self) -> str:
        """What was evaluated; empty where the run does not say."""
        return str(_dict(self.record.get("info")).get("metric") or "")

    @property
    def steps(self) -> int:
        """Planned length; of a run without a stored schedule, what it did."""
        planned = _number((self.schedule or {}).get("total_steps"))
        done = _number((self.summary or {}).get("steps"))
        last = self.train["step"][-1] + 1 if len(self.train["step"]) else np.nan
        found = [int(value) for value in (planned, done, last) if np.isfinite(value)]
        return found[0] if found else 0

    def reached(self, key: str) -> float:
        """A number of the summary ("seconds", "train_loss"); NaN where it has none."""
        return _number((self.summary or {}).get(key))

    def final(self, split: str, key: str = "metric") -> float:
        """What the summary says of a split ("validation", "test"); NaN where it says nothing."""
        measured = (self.summary or {}).get(split)
        return _number(measured.get(key)) if isinstance(measured, dict) else float("nan")


@dataclass(frozen=True)
class Experiment:
    """A folder with its runs.

    Args:
        path: the folder.
        info: the content of experiment.json; empty where there is none.
        runs: by arm and seed.
        problem: why experiment.json cannot be read; else empty.
    """

    path: Path
    info: dict[str, Any] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """From experiment.json, else the folder's."""
        return str(self.info.get("name") or self.path.resolve().name)


def read_tree(directory: str | Path) -> list[Experiment]:
    """All experiments at and below a directory.

    A run is a folder with run.json or range_test.json, or one named like a run; its experiment is the nearest folder
    above it with an experiment.json, else the one that the layout experiment/arm/run gives.

    Raises: ValueError: no directory, or neither a run nor an experiment in it.
    """
    root = Path(directory)
    if not root.is_dir():
        raise ValueError(f"{root} is not a directory; give one that holds runs, such as runs/demo")
    homes = {path.parent for path in root.rglob("experiment.json")}
    folders = {path.parent for name in ("run.json", "range_test.json") for path in root.rglob(name)}
    named = {path for path in root.rglob("seed*") if path.is_dir() and _FOLDER.match(path.name)}
    above = {parent for path in (*folders, *named) for parent in path.parents}  # an arm may be called "seed1"
    folders |= named - above
    if not homes and not folders:
        raise ValueError(
            f"no runs in {root}: a run is a folder with a run.json; give the directory that `superconv` printed"
        )
    runs = [_read_run(path, _home(path, root, homes)) for path in sorted(folders)]
    found = []
    for home in sorted(homes | {run.experiment for run in runs}):
        info, problem = _read(home / "experiment.json") if home in homes else ({}, "")
        mine = sorted((r for r in runs if r.experiment == home), key=lambda r: (natural(r.arm), r.seed or 0, r.path))
        found.append(Experiment(home, info, tuple(mine), problem))
    return found


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key by which arm-80 stands before arm-160."""
    return tuple((0, int(t), "") if t.isdecimal() else (1, 0, t) for t in re.findall(r"\d+|\D+", text))


def _home(path: Path, root: Path, homes: set[Path]) -> Path:
    """The experiment's folder, never above the root."""
    above = [folder for folder in path.parents if folder == root or root in folder.parents]
    for folder in above:
        if folder in homes:
            return folder
    return above[1] if len(above) > 1 else above[0] if above else path


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        return read_json(path), ""
    except RunError as error:
        return {}, str(error)


def _read_run(path: Path, home: Path) -> Run:
    record: dict[str, Any] = {}
    problems = []
    if (path / "run.json").exists():
        record, problem = _read(path / "run.json")
        problems.append(problem)
    elif not (path / "range_test.json").exists():
        problems.append(f"{path.name} has no run.json")
    summary = None
    if (path / "summary.json").exists():
        summary, problem = _read(path / "summary.json")
        problems.append(problem)
    rows, problem = _rows(path)
    problems.append(problem)
    ramp, problem = _ramp(path / "range_test.json")
    problems.append(problem)
    split, evaluations = _evaluations(rows)
    if ramp is not None and summary is None and "run.json" not in {p.name for p in path.iterdir()}:
        summary = {"stop": "completed", "steps": len(ramp)}
    folder = _FOLDER.match(path.name)
    seed = record.get("seed", int(folder[1]) if folder else None)
    return Run(
        path=path,
        experiment=home,
        arm=str(record.get("arm") or _arm_by_folder(path, home)),
        seed=seed if isinstance(seed, int) else None,
        record=record,
        summary=summary,
        train=_columns([row for row in rows if "loss" in row], _TRAIN_KEYS),
        evaluations=evaluations,
        curvature=_columns([_reading(row["curvature"]) for row in rows if "curvature" in row], _CURVATURE_KEYS),
        split=split,
        ramp=ramp,
        problem="; ".join(problem for problem in problems if problem).replace(f"{path}/", ""),
    )


def _arm_by_folder(path: Path, home: Path) -> str:
    if home in path.parent.parents:
        return str(path.parent.relative_to(home))
    return path.parent.name


def _rows(path: Path) -> tuple[list[dict[str, Any]], str]:
    try:
        return read_rows(path), ""
    except RunError as error:
        return [], str(error)


def _ramp(path: Path) -> tuple[RangeTest | None, str]:
    if not path.exists():
        return None, ""
    try:
        return RangeTest.load(path), ""
    except (ValueError, OSError) as error:
        return None, f"{path.name} cannot be read: {error}"


def _evaluations(rows: list[dict[str, Any]]) -> tuple[str, dict[str, Floats]]:
    measured = [row for row in rows if "metric" in row or "eval_loss" in row]
    splits = list(dict.fromkeys(str(row.get("split", "")) for row in measured))
    split = "validation" if "validation" in splits else splits[0] if splits else ""
    return split, _columns([row for row in measured if str(row.get("split", "")) == split], _EVAL_KEYS)


def _columns(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> dict[str, Floats]:
    rows = [row for row in rows if np.isfinite(_number(row.get("step")))]
    return {key: np.array([_number(row.get(key)) for row in rows], dtype=np.float64) for key in keys}


def _reading(row: Any) -> dict[str, Any]:
    """A reading's numbers side by side; those of probes lie one level deeper."""
    reading = _dict(row)
    probes = _dict(reading.get("probes"))
    secant = _dict(_dict(probes.get("secant")).get("quotient"))
    return {**reading, "secant": secant.get("value"), "expected_step": _dict(probes.get("expected_step")).get("value")}


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")
    except OverflowError:  # an integer of more than 308 digits
        return float("nan")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
