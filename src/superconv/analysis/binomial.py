"""The standard error of an accuracy."""

from __future__ import annotations

import math


def standard_error(accuracy: float, samples: int) -> float:
    """Of an accuracy over n samples: sqrt(max(p (1 - p), 1 / n) / n), with p clipped to [0, 1].

    The plain formula is 0 where every sample is right, as if that were certain; one sample is the least that counts.

    Args:
        accuracy: share of the samples that are right, p.
        samples: n, at least 1.
    Example:
        >>> standard_error(0.5, 100), standard_error(1.0, 100)
        (0.05, 0.01)
    """
    share = min(max(accuracy, 0.0), 1.0)
    return math.sqrt(max(share * (1.0 - share), 1.0 / samples) / samples)
