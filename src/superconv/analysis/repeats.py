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
    ramp is judged against it; where they disagree the tolerance is inconclusive.

    Raises: ValueError: no ramp.
    """
    if not ramps:
        raise ValueError("no range test was given; pass at least one")
    references = [ramp.reference_lr for ramp in ramps if ramp.reference_lr]
    pooled = math.exp(sum(map(math.log, references)) / len(references)) if references else None
    verdicts = [ramp.verdict(reference_lr=pooled) for ramp in ramps]
    kinds = [verdict.tolerance for verdict in verdicts]
    if len(set(kinds)) == 1:
        return verdicts[0]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    reason = f"the {len(ramps)} repeats disagree ({counts}): use more steps, or more seeds"
    why = tuple(verdict.reasons[0] for verdict in verdicts if verdict.reasons)
    return replace(verdicts[0], tolerance="inconclusive", reasons=(reason, *why))
