"""Which probe next: a pure function of what is known and what was planned."""

from __future__ import annotations

from collections.abc import Callable

from .balance import balance
from .companion import companion
from .knowledge import Knowledge, Plan, Probe
from .ledger import Batch, Search

STRATEGIES: dict[str, Callable[[Plan], Search]] = {"balance": balance, "companion": companion}


def next_probes(knowledge: Knowledge, plan: Plan) -> Batch:
    """The probes that can be made now, in any order or at once; none: the search is over.

    The strategy is run from its beginning and answered from what is known, up to the first probes that are not
    known. Nothing is remembered between two calls, so that a search that was interrupted goes on by itself.

    Args:
        knowledge: outcomes so far; what the strategy would not have asked for is not looked at.
    """
    search = STRATEGIES[plan.strategy](plan)
    try:
        batch = next(search)
        while all(probe in knowledge for probe in batch):
            batch = search.send({probe: knowledge[probe] for probe in batch})
    except StopIteration:
        return ()
    finally:
        search.close()
    return tuple(probe for probe in batch if probe not in knowledge)


def next_probe(knowledge: Knowledge, plan: Plan) -> Probe | None:
    """The first of `next_probes`, or None."""
    return next(iter(next_probes(knowledge, plan)), None)
