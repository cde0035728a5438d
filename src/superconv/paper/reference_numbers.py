"""What the authors printed and logged, by experiment: package data, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Reference:
    """One experiment of the paper, or of its companion arXiv 1803.09820.

    Args:
        key: "fig1a-clr": figure or table of arXiv 1708.07120v1 (v3tab2, v3fig6: of v3), then the condition.
        title: what was trained.
        figures: where it appears, by version: {"v1": "Fig. 1a", "v3": "Fig. 1a"}; an absent version is None.
        published: accuracy as printed, in [0, 1]; None where none was printed.
        published_is_peak: whether that is the best test along the run, and not the last.
        deviation: its standard deviation, where one was printed.
        log: final accuracy in the authors' own log, in [0, 1]; None where there is no log.
        curves: names of their logs' curves, for `curve`; of two the first is that log's.
        reading: what can be read off the published picture, in words; no target.
        setting: the settings as the files, logs and papers state them.
        notes: what does not fit together.
        source: where all this was read.
    """

    key: str
    title: str
    figures: Mapping[str, str | None]
    published: float | None
    published_is_peak: bool
    deviation: float | None
    log: float | None
    curves: tuple[str, ...]
    reading: str
    setting: Mapping[str, Any]
    notes: str
    source: str


@dataclass(frozen=True)
class Curve:
    """An authors' log along its iterations; None where the log has no value.

    Args:
        iteration: updates done.
        lr: of the next update.
        train_loss: of one batch on one GPU.
        test_loss, test_accuracy: over the test images (25,000 an evaluation for CIFAR).
    """

    iteration: tuple[int, ...]
    lr: tuple[float | None, ...]
    train_loss: tuple[float | None, ...]
    test_loss: tuple[float | None, ...]
    test_accuracy: tuple[float | None, ...]


@lru_cache(maxsize=2)
def _document(name: str) -> dict[str, Any]:
    return json.loads((resources.files(__package__) / "reference" / f"{name}.json").read_text(encoding="utf-8"))


def keys() -> tuple[str, ...]:
    """Every experiment, in the order of the paper's figures and tables."""
    return tuple(_document("experiments")["experiments"])


@cache
def reference(key: str) -> Reference:
    """The numbers of one experiment. Raises: ValueError: no experiment of that key."""
    entries = _document("experiments")["experiments"]
    if key not in entries:
        raise ValueError(f"no reference numbers for {key!r}")
    entry = entries[key]
    printed, log = entry.get("published", {}), entry.get("log", {})
    percent, deviation = printed.get("percent"), printed.get("std")
    return Reference(
        key, entry["title"], entry["figure"], None if percent is None else percent / 100,
        any(word in printed.get("note", "") for word in ("peak", "best test")),
        None if deviation is None else deviation / 100, log.get("final"), _curves(entry.get("curve")),
        entry.get("reading", ""), entry["setting"], entry.get("notes", ""), entry["source"],
    )  # fmt: skip


def _curves(name: str | None) -> tuple[str, ...]:
    """Where two runs were logged their names end in "-run1" and "-run2"."""
    if name is None:
        return ()
    return (name, f"{name[:-1]}2") if name.endswith("-run1") else (name,)


def curve(name: str) -> Curve:
    """An authors' log by the name in `Reference.curves`, at most 160 rows of it, the last one kept.

    Raises: ValueError: no curve of that name.
    """
    curves = _document("curves")["curves"]
    if name not in curves:
        raise ValueError(f"no curve {name!r}")
    return Curve(**{key: tuple(values) for key, values in curves[name].items()})
