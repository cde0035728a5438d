"""What a step of our loop costs beyond the bare loop's, beside other tools' loops, on a tiny and on a real network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc

from ..peers.loops import Batches, Loop, available
from ..peers.packages import quiet, scratch_directory
from ..table import Goal, Table
from ..timing import StepClock, interleaved, median_with_quartiles, paired_difference, within

GOAL_MICROSECONDS = 60.0
NOISE = 1.05  # an interval of the ratio that reaches beyond this says nothing either way


def linear() -> nn.Module:
    return nn.Linear(16, 4)


def block(loop: Loop, make: Callable[[], nn.Module], batches: Batches, warm_up: int, fastest: bool) -> float:
    """Seconds a step (mean, or the fastest) of one fresh training."""
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    clock = StepClock(F.cross_entropy)
    with quiet():
        loop(model, optimizer, clock, batches)
    if len(clock.calls) != len(batches):
        raise RuntimeError(f"{loop} made {len(clock.calls)} steps, not {len(batches)}")
    return clock.fastest_step(warm_up) if fastest else clock.mean_step(warm_up)


def measure(
    make: Callable[[], nn.Module],
    batch: tuple[torch.Tensor, torch.Tensor],
    steps: int,
    warm_up: int,
    rounds: int,
    *,
    fastest: bool = False,
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds a step, by loop; every block is a fresh model on the same batch."""
    loops, left_out = available()
    batches = Batches(*batch, steps)
    blocks = {name: partial(block, loop, make, batches, warm_up, fastest) for name, loop in loops.items()}
    with scratch_directory():
        for run in blocks.values():
            run()  # imports, first allocations
        return interleaved(blocks, rounds), left_out


def ratio_interval(ours: list[float], bare: list[float]) -> tuple[float, float, float]:
    """Median of ours / bare over rounds, with its 95% interval."""
    middle, low, high = paired_difference([math.log(a) for a in ours], [math.log(b) for b in bare])
    return math.exp(middle), math.exp(low), math.exp(high)


def on_linear(quick: bool) -> Table:
    batch = (torch.randn(32, 16), torch.randint(4, (32,)))
    steps, rounds = (120, 6) if quick else (500, 21)
    seconds, left_out = measure(linear, batch, steps, 20, rounds)
    rows = []
    for name, values in seconds.items():
        middle, low, high = median_with_quartiles(values)
        more, least, most = (1e6 * value for value in paired_difference(values, seconds["bare loop"]))
        cells = [f"{1e6 * middle:.0f}", f"{1e6 * low:.0f}-{1e6 * high:.0f}", f"{more:+.0f}"]
        rows.append([name, *cells, f"{least:+.0f} to {most:+.0f}"])
    ours = paired_difference(seconds["superconv"], seconds["bare loop"])
    goal = Goal(
        f"our loop takes at most {GOAL_MICROSECONDS:.0f} microseconds a step more than the bare loop on a linear model",
        "{:.0f} more (95% interval {:.0f} to {:.0f})".format(*(1e6 * value for value in ours)),
        within(1e-6 * GOAL_MICROSECONDS, ours),
    )
    notes = [
        f"linear model 16 -> 4, batch 32, SGD with momentum, one fixed batch; n = {rounds} interleaved "
        f"rounds of {steps} steps, the first 20 left out; 'more' is the median of the paired differences",
        *left_out,
    ]
    columns = ("loop", "median", "quartiles", "more than bare", "95% interval")
    return Table("Training loop on a linear model, microseconds a step", columns, rows, [goal], notes)


def on_resnet(quick: bool) -> Table:
    make = partial(sc.models.build_model, "resnet20", 10, seed=0)
    batch = (torch.randn(32, 3, 32, 32), torch.randint(10, (32,)))
    steps, rounds = (4, 6) if quick else (6, 15)
    seconds, left_out = measure(make, batch, steps, 2, rounds, fastest=True)
    rows = []
    for name, values in seconds.items():
        ratio, low, high = ratio_interval(values, seconds["bare loop"])
        rows.append([name, f"{1e3 * statistics.median(values):.1f}", f"{ratio:.3f}", f"{low:.3f}-{high:.3f}"])
    _, low, high = ratio_interval(seconds["superconv"], seconds["bare loop"])
    met = None if high > NOISE and low <= 1.0 else low <= 1.0
    goal = Goal("no difference from the bare loop beyond noise", f"95% interval of the ratio {low:.3f}-{high:.3f}", met)
    notes = [
        f"ResNet-20, batch 32 of 32x32 pixels; n = {rounds} interleaved rounds; the fastest of "
        f"{steps - 2} steps of each"
    ]
    columns = ("loop", "median", "ratio to bare", "95% interval")
    return Table("Training loop on ResNet-20, milliseconds a step", columns, rows, [goal], [*notes, *left_out])


def run(quick: bool = False) -> list[Table]:
    """Both tables."""
    return [on_linear(quick), on_resnet(quick)]
