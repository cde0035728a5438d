"""Range tests of one arm over its seeds, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..analysis.range_test import RangeTest, suggest
from ..analysis.range_test_text import headline, paste_line
from ..analysis.recipe.reasons import of_search
from ..analysis.repeats import joint_verdict
from ..analysis.suggestion import Suggestion
from ..analysis.verdict import Verdict
from .read import Run


@dataclass(frozen=True)
class RampGroup:
    """Repeats of one range test.

    Args:
        arm: its name.
        names: "seed 0", "seed 1", ...: one a ramp.
        ramps: the range tests.
        suggestion: what they suggest together.
        verdict: what they say together.
    """

    arm: str
    names: tuple[str, ...]
    ramps: tuple[RangeTest, ...]
    suggestion: Suggestion
    verdict: Verdict

    @property
    def reading(self) -> str:
        """The suggestion in a line, with its reason."""
        return f"{self.headline} by {self.suggestion.rule}: {self.suggestion.reason}"

    @property
    def headline(self) -> str:
        """The suggestion alone: "max_lr 0.5 (0.3-0.9, 2 seeds)"."""
        return headline(self.suggestion)

    @property
    def paste(self) -> str:
        """The line of code that uses the suggestion; empty where there is none."""
        return paste_line(self.suggestion) if self.suggestion.max_lr is not None else ""


def group_ramps(runs: Sequence[Run], *, of_a_search: bool = False) -> list[RampGroup]:
    """Range tests by task and arm; the task is named where an arm was tested on several.

    Args:
        runs: of one experiment.
        of_a_search: whether `find` made them, so that reasons name none of a range test's arguments.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.ramp is not None and len(run.ramp):
            found.setdefault((run.arm, run.task), []).append(run)
    arms = [arm for arm, _ in found]
    groups = []
    for (arm, task), mine in found.items():
        arm = f"{arm}, {task}" if arms.count(arm) > 1 else arm
        ramps = tuple(run.ramp for run in mine if run.ramp is not None)
        names = tuple(_name(run, mine) for run in mine)
        verdict = joint_verdict(ramps)
        if of_a_search:
            verdict = replace(verdict, reasons=of_search(verdict.reasons))
        groups.append(RampGroup(arm, names, ramps, suggest(ramps), verdict))
    return groups


def _name(run: Run, mine: Sequence[Run]) -> str:
    """"seed 0", or the folder where seeds repeat (two settings of one arm)."""  # fmt: skip
    seeds = [other.seed for other in mine]
    return f"seed {run.seed}" if run.seed is not None and seeds.count(run.seed) == 1 else run.path.name
