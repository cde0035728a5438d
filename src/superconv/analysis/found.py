"""Where a rule points on a range test, or why it points nowhere."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """What one rule read off one curve.

    Args:
        lr: the LR it points at, or None.
        interval: what the curve's noise leaves open around `lr` (each rule's docstring defines it), or None.
        reason: one sentence: what was seen at `lr`, or why there is none and what to do.
        blind: True where the metric is nowhere told from a guesser's, so that no rule can read it.
        at_edge: True where `lr` is the last one that was tried, so that a longer ramp may give a larger one.
    """

    lr: float | None
    interval: tuple[float, float] | None
    reason: str
    at_edge: bool = False
    blind: bool = False

    def __post_init__(self) -> None:
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0.0):
            raise ValueError(f"a rule must point at a positive, finite LR, got {self.lr}")


def nowhere(reason: str, *, blind: bool = False) -> Found:
    """No LR, for a stated reason."""
    return Found(None, None, reason, blind=blind)
