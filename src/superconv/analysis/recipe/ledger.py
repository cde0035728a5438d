"""The ledger of a search: hands out probes that fit the budget, and remembers what came of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from .knowledge import Knowledge, Outcome, Plan, Probe

Batch = tuple[Probe, ...]
Search = Generator[Batch, Knowledge, None]
"""A strategy: yields probes that do not depend on each other, is sent what came of them."""

Answers = Generator[Batch, Knowledge, Knowledge]


class Ledger:
    """Updates spent so far, and everything known.

    Args:
        plan: whose budget is kept.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.known: dict[Probe, Outcome] = {}
        self.spent = plan.spent
        self.reserve = 0  # kept back for what comes last

    @property
    def left(self) -> int:
        """Updates that may be spent now."""
        return self.plan.budget - self.spent - self.reserve

    def ask(self, probes: Sequence[Probe], *, whole: bool = False) -> Answers:
        """Have those made that are not known, in order, as far as they fit; returns the outcomes of all that are known.

        Args:
            whole: all of them or none.
        """
        wanted = [probe for probe in dict.fromkeys(probes) if probe not in self.known]
        batch: list[Probe] = []
        for probe in wanted:
            if sum(p.cost for p in batch) + probe.cost > self.left:
                break
            batch.append(probe)
        if batch and not (whole and len(batch) < len(wanted)):
            for probe, outcome in (yield tuple(batch)).items():
                self.known[probe] = outcome
                self.spent += outcome.updates
        return {probe: self.known[probe] for probe in probes if probe in self.known}
