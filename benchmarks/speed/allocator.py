"""What it gains, and costs in memory, that the program lets glibc keep large blocks.

    python -m benchmarks.speed.allocator

Every measurement is a process of its own, since the setting is one of the process. A pair is one without and one with
it, right after each other; the order within a pair alternates. Prints a table and writes results/allocator.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..timing import median_with_quartiles, paired_difference

CASES = [(net, layout) for net in ("resnet20", "lenet") for layout in ("NCHW", "channels_last")]
STEPS = {"resnet20": 3, "lenet": 12}  # timed, after two that are not
BATCH_SIZE = 512


def measure(net: str, layout: str, keep: bool) -> dict[str, Any]:
    """One process's own measurement: CPU seconds a step (its fastest), page faults a step, peak memory, final loss."""
    from superconv.training.allocator import keep_large_blocks

    done = keep and keep_large_blocks()
    import torch
    import torch.nn.functional as F

    from superconv.models import build_model

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (1, 28, 28) if net == "lenet" else (3, 32, 32)
    model, inputs, targets = build_model(net), torch.randn(BATCH_SIZE, *shape), torch.randint(10, (BATCH_SIZE,))
    if layout == "channels_last":
        model, inputs = model.to(memory_format=torch.channels_last), inputs.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    seconds, faults = [], []
    for step in range(STEPS[net] + 2):
        started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        if step >= 2:
            seconds.append(time.process_time() - started)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"done": done, "seconds": min(seconds), "faults": statistics.median(faults), "peak_mib": peak,
            "loss": loss.item()}  # fmt: skip


def child(net: str, layout: str, keep: bool) -> dict[str, Any]:
    """`measure` in a process of its own, with one thread."""
    command = [sys.executable, "-m", "benchmarks.speed.allocator", "--case", net, layout, str(int(keep))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return json.loads(output.splitlines()[-1])


def compare(net: str, layout: str, pairs: int) -> dict[str, Any]:
    """All pairs of one case."""
    with_it, without = [], []
    for pair in range(pairs):
        for keep in (False, True) if pair % 2 == 0 else (True, False):
            (with_it if keep else without).append(child(net, layout, keep))
    if not all(each["done"] for each in with_it):
        raise SystemExit("the allocator cannot be told so here (no glibc, or MALLOC_* variables are set)")
    ratios = [a["seconds"] / b["seconds"] for a, b in zip(without, with_it, strict=True)]
    _, low, high = paired_difference(ratios, [0.0] * pairs)
    memory = [a["peak_mib"] / b["peak_mib"] for a, b in zip(with_it, without, strict=True)]
    return {
        "network": net,
        "layout": layout,
        "pairs": pairs,
        "speed_up": round(statistics.median(ratios), 3),
        "speed_up_interval": [round(low, 3), round(high, 3)],
        "speed_up_quartiles": [round(value, 3) for value in median_with_quartiles(ratios)[1:]],
        "peak_memory_ratio": round(statistics.median(memory), 3),
        "peak_memory_mib": [round(statistics.median(e["peak_mib"] for e in each)) for each in (without, with_it)],
        "page_faults_a_step": [statistics.median(e["faults"] for e in each) for each in (without, with_it)],
        "cpu_seconds_a_step": [round(min(e["seconds"] for e in each), 4) for each in (without, with_it)],
        "same_loss": len({each["loss"] for each in (*without, *with_it)}) == 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.allocator", description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("results/allocator.json"))
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case[0], options.case[1], options.case[2] == "1")))
        return
    import torch

    rows = []
    for net, layout in CASES:
        rows.append(compare(net, layout, options.pairs))
        print(json.dumps(rows[-1]), flush=True)
    about = {
        "command": f"python -m benchmarks.speed.allocator --pairs {options.pairs}",
        "torch": torch.__version__,
        "libc": " ".join(platform.libc_ver()),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "date": time.strftime("%Y-%m"),
        "batch_size": BATCH_SIZE,
        "threads": 1,
        "clock": "CPU time of the process (user and system), fastest step of each; ratios without / with, by pairs",
        "interval": "95%, of the median (sign test)",
        "note": options.note,
    }
    options.out.write_text(json.dumps({"about": about, "cases": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
