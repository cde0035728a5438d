"""Rows of a run: what one update and one evaluation leave behind, as plain data."""

from __future__ import annotations

from typing import Any

from ..records import Evaluation, StepRecord


def update_row(record: StepRecord, loss: float, seconds: float) -> dict[str, Any]:
    """One optimizer update: what it used, and its loss; seconds since the run began."""
    row = {"step": record.step, "lr": record.lr[0], "loss": loss, "seconds": seconds}
    for key in ("momentum", "weight_decay"):
        if getattr(record, key) is not None:
            row[key] = getattr(record, key)
    return row


def evaluation_row(record: StepRecord, split: str, seconds: float) -> dict[str, Any]:
    """The evaluation after an update, on the named split."""
    measured = record.evaluation
    assert measured is not None
    return {
        "step": record.step,
        "split": split,
        "eval_loss": measured.loss,
        "metric": measured.metric,
        "samples": measured.samples,
        "evaluate_with": measured.evaluate_with,
        "seconds": seconds,
    }


def plain_evaluation(measured: Evaluation) -> dict[str, Any]:
    """What a summary keeps of a final evaluation."""
    return {
        "loss": measured.loss,
        "metric": measured.metric,
        "samples": measured.samples,
        "evaluate_with": measured.evaluate_with,
    }
