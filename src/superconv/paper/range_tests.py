"""The authors' own LR range tests, as values that can be judged and plotted beside one's own."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from ..analysis.range_test import RangeTest


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    path = resources.files(__package__) / "reference" / "range_tests.json"
    return json.loads(path.read_text(encoding="utf-8"))


def names() -> tuple[str, ...]:
    """Names of the stored logs: figure of arXiv 1708.07120v1, then what was tested."""
    return tuple(_document()["logs"])


def load(name: str, *, keep_first: bool = False) -> RangeTest:
    """One of the authors' logs as a RangeTest, one row per 100 updates, reference LR 0.35.

    The LR of row r is lr_per_iteration x 100 r, which agrees with every rate the logs print. The logs' settings
    are in `settings`.

    Args:
        name: one of `names()`.
        keep_first: keep row 0, which was tested before any training (with empty BatchNorm statistics in some logs).
    Raises: ValueError: no log of that name.
    Reference: github.com/lnsmith54/super-convergence, Results/, for arXiv 1708.07120.
    """
    document = _document()
    if name not in document["logs"]:
        raise ValueError(f"no range-test log {name!r}; allowed: {', '.join(document['logs'])}")
    log = document["logs"][name]
    first = 0 if keep_first else 1
    columns = {
        key: np.array(log[key], dtype=np.float64)[first:] for key in ("train_loss", "test_loss", "test_accuracy")
    }
    rows = np.arange(first, log["rows"], dtype=np.float64)
    about = {k: v for k, v in log.items() if k not in ("train_loss", "test_loss", "test_accuracy")}
    return RangeTest.from_arrays(
        lr=log["lr_per_iteration"] * log["iterations_per_row"] * rows,
        train_loss=columns["train_loss"],
        eval_accuracy=columns["test_accuracy"],
        eval_loss=columns["test_loss"],
        chance=log["chance"],
        eval_samples=log["eval_samples"],
        reference_lr=document["reference_lr"],
        evaluate_with=log["batch_norm_in_test"],
        shape="linear",
        updates_per_row=log["iterations_per_row"],
        settings=about,
    )
