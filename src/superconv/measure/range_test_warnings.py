"""What a range test says of its learning rates and evaluation: written over, read the wrong way, sorted by class."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch.optim import Optimizer

from ..analysis.range_test import RangeTest
from ..callers_level import callers_level
from ..records import StepRecord
from .chance import ChanceLevel

AGREEMENT = 0.5  # rank correlation of a metric with the loss from which on it looks like an error
AGREEMENT_FROM = 6  # evaluations


def warn_of_direction(ramp: RangeTest) -> None:
    """A metric of the user's own that falls where the loss falls is an error: its worst value would be chosen."""
    branches = np.array([(fork.metric, fork.loss) for fork in ramp.forks if not fork.diverged]).reshape(-1, 2)
    seen = np.concatenate([np.stack([ramp.metric, ramp.eval_loss], axis=1), branches])
    seen = seen[np.isfinite(seen).all(axis=1)]
    if len(seen) < AGREEMENT_FROM or not np.ptp(seen, axis=0).all():
        return
    ranks = seen.argsort(axis=0).argsort(axis=0)
    if np.corrcoef(ranks.T)[0, 1] > AGREEMENT:
        warnings.warn(
            f"metric {ramp.metric_name!r} rises and falls with the loss, and is read as better when higher; pass "
            "higher_is_better=False for an error, higher_is_better=True to keep it",
            stacklevel=3,
        )


def warn_of_sorted(guess: ChanceLevel) -> None:
    """Evaluation batches of one class each have BatchNorm statistics that no network was trained with."""
    shares = guess.sorted_by_class()
    if shares is not None:
        warnings.warn(
            f"eval_batches seem sorted by class ({shares[0]:.0%} of a batch is one class, {shares[1]:.0%} of all "
            'samples), and BatchNorm takes its statistics from them; shuffle them, or pass evaluate_with="reestimated"',
            stacklevel=3,
        )


def warn_of_another_rate(optimizer: Optimizer, record: StepRecord) -> bool:
    """Say where a group's learning rate is not the ramp's after an update; whether there was something to say."""
    for group, written in zip(optimizer.param_groups, record.lr, strict=False):
        if not isinstance(group["lr"], torch.Tensor) and group["lr"] != written:
            warnings.warn(
                f"a param group has learning rate {group['lr']:g} after an update for which the range test wrote "
                f"{written:g}: a step hook of yours, or the {type(optimizer).__name__} itself, writes it too, "
                "so that updates may have had other learning rates than the curve says; remove such a hook before",
                stacklevel=callers_level(),
            )
            return True
    return False
