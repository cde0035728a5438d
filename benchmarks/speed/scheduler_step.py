"""One scheduler step with 1 and 100 param groups: ours beside torch's, interleaved, medians.

Each figure is (optimizer.step(); scheduler.step()) less optimizer.step() alone, on an optimizer whose update does
nothing, so that what a scheduler hangs into the optimizer is counted too.

    python -m benchmarks.speed.scheduler_step
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR

import superconv as sc
from superconv.training.schedule_lr import ScheduledGroups

TOTAL = 10**7
OURS = "superconv ScheduleLR"


class IdleSGD(torch.optim.SGD):
    """SGD whose update does nothing."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]
        """Nothing but torch's own wrapping."""


def optimizer(groups: int) -> IdleSGD:
    return IdleSGD([{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)], lr=0.1, momentum=0.9)


def contenders(groups: int) -> dict[str, Callable[[], None]]:
    """Name -> one update with one scheduler step. Each has an optimizer of its own."""
    schedule = sc.one_cycle(TOTAL, max_lr=1.0)
    makers = {
        OURS: lambda o: sc.ScheduleLR(o, schedule),
        "torch OneCycleLR": lambda o: OneCycleLR(o, 1.0, TOTAL),
        "torch CyclicLR": lambda o: CyclicLR(o, 0.1, 1.0, 1000),
        "torch LambdaLR": lambda o: LambdaLR(o, lambda step: 1.0 / (1 + step)),
    }

    def pair(make: Callable[[IdleSGD], object] | None) -> Callable[[], None]:
        o = optimizer(groups)
        if make is None:
            return o.step
        scheduler = make(o)

        def run() -> None:
            o.step()
            scheduler.step()  # type: ignore[attr-defined]

        return run

    runs = {"bare optimizer": pair(None), **{name: pair(make) for name, make in makers.items()}}
    written = ScheduledGroups(optimizer(groups), schedule)
    runs["superconv ScheduledGroups.write"] = lambda: (written.write(12345), None)[1]
    return runs


def measure(runs: dict[str, Callable[[], None]], rounds: int, calls: int) -> dict[str, float]:
    """Median microseconds a call over `rounds` interleaved rounds; the bare optimizer is taken off."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(calls):
                run()
            times[name].append((time.perf_counter() - start) / calls * 1e6)
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare = medians.pop("bare optimizer")
    return {name: value if name.endswith("write") else value - bare for name, value in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--calls", type=int, default=300)
    arguments = parser.parse_args()
    found = {groups: measure(contenders(groups), arguments.rounds, arguments.calls) for groups in (1, 100)}
    print(f"torch {torch.__version__}, microseconds, median of {arguments.rounds} rounds of {arguments.calls} calls")
    print(f"{'':34}{'1 group':>10}{'ratio':>8}{'100 groups':>12}{'ratio':>8}")
    for name in found[1]:
        cells = [
            f"{found[g][name]:>{width}.2f}{found[g][name] / found[g][OURS]:>8.1f}" for g, width in ((1, 10), (100, 12))
        ]
        print(f"{name:34}{''.join(cells)}")


if __name__ == "__main__":
    main()
