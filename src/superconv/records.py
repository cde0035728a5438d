"""Frozen values that cross floors: what one update, one evaluation and one training left behind."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any


class StopReason(enum.Enum):
    """Why a training or a measurement ended: an outcome with its own message and remedy, not an exception."""

    completed = "completed"
    diverged = "diverged"
    batches_exhausted = "batches_exhausted"
    interrupted = "interrupted"
    time_limit = "time_limit"

    @property
    def message(self) -> str:
        """What happened, in one sentence."""
        return _MESSAGES[self][0]

    @property
    def remedy(self) -> str:
        """What to do about it; empty where nothing is needed."""
        return _MESSAGES[self][1]


_MESSAGES = {
    StopReason.completed: ("all planned steps were done", ""),
    StopReason.diverged: (
        "the loss became non-finite or rose far above its starting level",
        "use a smaller learning rate, a longer warm-up or gradient clipping",
    ),
    StopReason.batches_exhausted: (
        "the iterator of batches ran dry before the planned steps were done",
        "pass a re-iterable (a DataLoader or a list), or plan fewer steps",
    ),
    StopReason.interrupted: ("it was interrupted", "run the same command again: it goes on where it stopped"),
    StopReason.time_limit: ("the time limit was reached", "run the same command again: it goes on where it stopped"),
}


@dataclass(frozen=True)
class Evaluation:
    """One pass over evaluation data.

    Args:
        loss: mean over samples, in nats for cross entropy.
        metric: mean over samples (accuracy in [0, 1] by default), NaN where no metric was asked for.
        samples: how many samples were evaluated.
        evaluate_with: where BatchNorm took its statistics: "batch", "reestimated" or "running".
        metric_error: standard error of the metric, from the scatter of its values over samples. None where there is
            one number a batch, and where every sample counts with 0 or 1: then the binomial one says as much.
    """

    loss: float
    metric: float
    samples: int
    evaluate_with: str
    metric_error: float | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer update, as the training loop yields it: parameters are already after the update.

    Args:
        step: index of the update, from 0.
        lr: learning rate of every param group, as used by this update.
        momentum: momentum (beta1 for Adam) as scheduled, or None where the schedule does not set it.
        weight_decay: as scheduled, or None.
        loss: mean loss of the update's batch before the update; a detached 0-dim tensor, so that reading it is
            the caller's choice (it waits for the device).
        grad_norm: total gradient norm before clipping, a tensor; None without clipping.
        samples: samples in the update's batch.
        skipped: True where the gradient scaler found an overflow and the optimizer did not move.
        evaluation: what was measured after this update, or None.
    """

    step: int
    lr: tuple[float, ...]
    momentum: float | None
    weight_decay: float | None
    loss: Any
    grad_norm: Any
    samples: int
    skipped: bool
    evaluation: Evaluation | None


@dataclass(frozen=True)
class History:
    """A whole training, drained: one entry a step, evaluations by the step after which they were made."""

    lr: tuple[float, ...]
    loss: tuple[float, ...]
    evaluations: tuple[tuple[int, Evaluation], ...] = ()
    stop: StopReason = StopReason.completed
    seconds: float = 0.0
    momentum: tuple[float | None, ...] = field(default=())

    def __repr__(self) -> str:
        last = f", final loss {self.loss[-1]:.4g}" if self.loss else ""
        return f"History({len(self)} steps{last}, {len(self.evaluations)} evaluations, {self.stop.value})"

    @property
    def final(self) -> Evaluation | None:
        """The last evaluation, or None where none was made."""
        return self.evaluations[-1][1] if self.evaluations else None

    def __len__(self) -> int:
        return len(self.loss)
