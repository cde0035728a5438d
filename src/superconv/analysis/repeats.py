"""The verdict on several range tests of one network: one reference, and agreement or none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .range_test import RangeTest
from .verdict import Verdict


def joint_verdict(ramps: Sequence[RangeTest]) -> Verdict:
    """The verdict that all repeats support.

    The reference LR is one number per network, so what the repeats measured is pooled: their geometric mean. Each
    ramp is judged against it; where they disagree the tolerance is inconclusive. A reference from the edge of its grid
    is a bound (`RangeTest.reference_edge`): it is not pooled, and its ramp is inconclusive.

    Raises: ValueError: no ramp. TypeError: one ramp instead of a list.
    """
    if isinstance(ramps, RangeTest):
        raise TypeError(
            "joint_verdict() takes a list of range tests, got one RangeTest; pass [ramp], or use ramp.verdict()"
        )
    if not ramps:
        raise ValueError("no range test was given; pass at least one")
    references = [ramp.reference_lr for ramp in ramps if ramp.reference_lr and ramp.reference_edge is None]
    pooled = math.exp(sum(map(math.log, references)) / len(references)) if references else None
    verdicts = [ramp.verdict(reference_lr=pooled if ramp.reference_edge is None else None) for ramp in ramps]
    kinds = [verdict.tolerance for verdict in verdicts]
    reasons = dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)
    if len(set(kinds)) == 1:
        return replace(verdicts[0], reasons=tuple(reasons))
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    disagreement = f"the repeats disagree ({counts}): use more steps, or more seeds"
    return replace(verdicts[0], tolerance="inconclusive", reasons=(disagreement, *reasons))
