"""Where a ramp should end, read off the short scout that ran before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .range_test import RangeTest
from .smoothing import local_median, noise_level

BEYOND_EDGE = 4.0  # how far a ramp goes beyond the last LR at which its scout still knew something
SMOOTHING = 5  # points of the scout's moving median
FIRST = 10  # losses of a scout, at learning rates too small to change anything
CLEAR, RISEN = 3.0, 4.0  # standard errors of a median: a fall, and a rise, that are more than the luck of many points
LASTING = 3  # such points in a row are more than luck
OUT_OF_NOISE = 6.0  # standard deviations of the first losses
MEDIAN_ERROR = 1.2533  # standard error of a median over that of a mean, sqrt(pi / 2), for normal noise
NOT_FINITE = (
    "the loss is not finite at the first step: check the data, the model's initialisation and the loss function before "
    "testing learning rates"
)


def upper_end(scout: RangeTest) -> float:
    """Where a ramp should end: beyond the last learning rate at which the scout still knew something.

    "Knew something": smoothed loss below the middle between the scout's start and its best, where that best lies
    clearly (`CLEAR` standard errors of a median) below the start. Where a network is normalised nothing ever overflows,
    so the end of the scout's range would tell nothing. It counts from where it lasts for `LASTING` points: one lucky
    batch among noisy ones is no learning. What comes after a blow-up (smoothed loss two standard deviations of the
    first losses above their mean, or one loss more than that mean's size, and six standard deviations, above it: twice
    the mean where it is positive) does not count either: a network that broke and went constant may have a smaller loss
    than the one it began with, and knows nothing; small batches, on the other hand, scatter above the start and are
    well. Where nothing was learned clearly and lastingly, the ramp ends beyond the last learning rate before the loss
    rises out of its noise (`RISEN` standard errors of a median above the first half's median), which is all that such a
    scout shows.

    On 85 stored scouts of fifty tasks the end lay below the best max_lr of 1cycle in 5 by the rule before (one lucky
    point was learning, one point above the start a blow-up), in none by one that asks for what lasts. That one still
    ended 59% of 300 scouts of pure noise with a blow-up at LR 1 below that LR; 3% do since falls have to be clear,
    and all 34 scouts that are stored here end where they did (docs/lab-log.md).
    Raises: ValueError: not one finite loss.
    """
    if len(scout.lr) == 0:
        raise ValueError(NOT_FINITE)
    losses = scout.train_loss
    smoothed = local_median(np.log(scout.lr), losses, points=SMOOTHING)
    start, best, first = float(losses[:FIRST].mean()), float(smoothed.min()), losses[:FIRST]
    scatter = float(first.std(ddof=1)) if len(first) > 1 else 0.0
    # twice the start (of a loss below zero: as far above it), and out of the noise where the loss lies around zero
    twice = start + max(abs(start), OUT_OF_NOISE * scatter)
    low = smoothed <= 0.5 * (start + best)
    knew, lasting = np.flatnonzero(low), _lasting(low)
    error = MEDIAN_ERROR * noise_level(losses) / math.sqrt(SMOOTHING)
    if start - best > CLEAR * error and len(lasting):
        blown = np.flatnonzero((smoothed > start + 2.0 * scatter) | (losses > twice))
        blown = blown[blown > lasting[0]]
        last = knew[knew < blown[0]][-1] if len(blown) else knew[-1]
    else:
        risen = _lasting(smoothed > np.median(smoothed[: max(1, len(smoothed) // 2)]) + RISEN * error)
        blown = np.union1d(risen, np.flatnonzero(losses > twice)).astype(int)
        last = max(0, int(blown[0]) - 1) if len(blown) else len(smoothed) - 1
    return float(min(scout.lr[-1], BEYOND_EDGE * scout.lr[last]))


def _lasting(mask: Any) -> Any:
    """Where `LASTING` true values in a row begin."""
    return np.flatnonzero(np.convolve(mask, np.ones(LASTING), "valid") == LASTING)
