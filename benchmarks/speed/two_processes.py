"""Two processes of one thread beside one process of two, ResNet-20: `python -m benchmarks.speed.two_processes`.

All draw the same 256 samples an update, 128 a rank. Every measurement is a job of its own; a round has one of each kind
and the next round begins with another. The clock is the wall's, so the machine should do nothing else. Prints a table
and writes results/two_processes.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..timing import median_with_quartiles, paired_difference

SHARE = 128  # samples a rank
RANKS = 2
WARM_UP = 3  # updates that are not counted
ONE = "one process, two threads"
KINDS = {
    ONE: (1, None),
    "two processes, BatchNorm over both": (RANKS, None),
    "two processes, BatchNorm of each": (RANKS, SHARE),
}


def measure(statistics_of: int | None, steps: int) -> float | None:
    """Seconds an update in this process, or in all ranks of this job; None on a rank that is not the first."""
    from superconv.training.allocator import keep_large_blocks

    keep_large_blocks()
    import torch
    import torch.nn.functional as F

    from superconv.data import Batches
    from superconv.models import build_model, set_statistics_of
    from superconv.models.synchronised import synchronise_batch_norm
    from superconv.schedules import parse_schedule
    from superconv.training.distributed import over_ranks, rank, share_of, world_size
    from superconv.training.loop import train_steps

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    torch.set_num_threads(RANKS // ranks)
    if ranks > 1:
        torch.distributed.init_process_group("gloo")
    data = torch.randn(4096, 3, 32, 32), torch.randint(10, (4096,))
    share = share_of(SHARE * RANKS)
    batches = Batches(data, share, rank=rank(), world_size=world_size())
    model = build_model("resnet20", seed=0)
    if statistics_of is not None:
        set_statistics_of(model, statistics_of)
    elif ranks > 1:
        model = synchronise_batch_norm(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = parse_schedule("constant:lr=0.1", WARM_UP + steps)
    training = train_steps(over_ranks(model), optimizer, F.cross_entropy, batches, schedule)
    for _ in range(WARM_UP):
        next(training)
    start = time.perf_counter()
    for _ in range(steps):
        next(training)
    seconds = (time.perf_counter() - start) / steps
    training.close()
    first = rank() == 0
    if ranks > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    return seconds if first else None


def job(ranks: int, statistics_of: int | None, steps: int) -> float:
    """`measure` in a job of its own."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    mine = ["-m", "benchmarks.speed.two_processes", "--child", str(statistics_of or 0), "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(RANKS // ranks)}
    done = subprocess.run([sys.executable, *start, *mine], env=environment, capture_output=True, text=True, check=True)
    return float(next(line for line in done.stdout.splitlines() if line.startswith("seconds ")).split()[1])


def rounds_of(number: int, steps: int, report: Callable[[str], None]) -> dict[str, list[float]]:
    """Seconds an update of every kind in every round."""
    names = list(KINDS)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(number):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(job(*KINDS[name], steps))
        report("  ".join(f"{name}: {1e3 * seconds[name][-1]:.0f} ms" for name in names))
    return seconds


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.two_processes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=16, help="updates that are counted")
    parser.add_argument("--out", type=Path, default=Path("results/two_processes.json"))
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        seconds = measure(options.child or None, options.steps)
        if seconds is not None:
            print(f"seconds {seconds}", flush=True)
        return
    import torch

    measured = rounds_of(options.rounds, options.steps, lambda line: print(line, flush=True))
    cases: list[dict[str, Any]] = []
    for name, seconds in measured.items():
        ratios = [one / each for one, each in zip(measured[ONE], seconds, strict=True)]
        _, low, high = paired_difference(ratios, [0.0] * len(ratios))
        row = {
            "what": name,
            "images_per_second": round(SHARE * RANKS / statistics.median(seconds), 1),
            "milliseconds": round(1e3 * statistics.median(seconds), 1),
            "milliseconds_quartiles": [round(1e3 * value, 1) for value in median_with_quartiles(seconds)[1:]],
            "throughput_ratio": round(statistics.median(ratios), 3),
            "throughput_ratio_interval": [round(low, 3), round(high, 3)],
        }
        cases.append(row)
        print(json.dumps(row))
    about = {
        "command": f"python -m benchmarks.speed.two_processes --rounds {options.rounds} --steps {options.steps}",
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "date": time.strftime("%Y-%m"),
        "samples_an_update": SHARE * RANKS,
        "interval": "95%, of the median of ratios within rounds (sign test)",
        "note": options.note,
    }
    options.out.write_text(json.dumps({"about": about, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
