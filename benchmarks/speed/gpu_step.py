"""Pictures per second of a ResNet-56 update at batch 1000, beside what the device's memory allows.

`python -m benchmarks.speed.gpu_step` on a machine with a GPU: the package's own loop, data on the device, mirrored
there, in single precision and bfloat16, both memory formats, as it is, captured as a CUDA graph, compiled, and
compiled into CUDA graphs. Single precision is torch's default on CUDA: convolutions in TF32. A way that fails is named
and left out.
"host" is the time in which the host gives an update to a device that waits: where it is no less than an update takes,
the host is what is waited for. (Behind others it would be the device's time: CUDA lets about a thousand launches wait,
and then the host.) The floor is the time that memory needs for the activations alone, at the speed of a large copy on
this device:

    a convolution       reads its input and writes its output; its two gradients read and write as much each
    BatchNorm and ReLU  3 passes forward (statistics; read, write), 5 backward (sums over two; read two, write one)

each element of the size it has in that precision. Sums of branches, weights,
optimizer and loss are left out, as is what stays in caches.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.data import Batches
from superconv.data.preparation import Preparation
from superconv.experiments.device import device_name, device_settings
from superconv.models import set_statistics_of
from superconv.schedules import parse_schedule
from superconv.training.loop import train_steps
from superconv.training.optimizers import build_optimizer
from superconv.training.precision import autocast

from ..timing import median_with_quartiles

CONVOLUTION, NORMALISATION = 3, 8  # passes
COMPILED = {"as it is": None, "graphed": None, "compiled": "default", "CUDA graphs": "reduce-overhead"}
PRECISIONS, FORMATS = ("fp32", "bf16"), ("NCHW", "channels_last")
ALONE = 3  # updates of a block that are given to a device that waits
WARM_UP = 10  # updates of a block that are not counted; compilation is in the first


def bytes_an_update(model: nn.Module, inputs: torch.Tensor, element: int) -> int:
    """What the activations of one update move at least, in bytes: passes x elements x their size."""
    elements = 0

    def convolution(_: nn.Module, given: Any, output: torch.Tensor) -> None:
        nonlocal elements
        elements += CONVOLUTION * (given[0].numel() + output.numel())

    def normalisation(_: nn.Module, given: Any, output: torch.Tensor) -> None:
        nonlocal elements
        elements += NORMALISATION * output.numel()

    hooks = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(convolution))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            hooks.append(module.register_forward_hook(normalisation))
    with torch.no_grad():
        model.eval()(inputs[:2])
    for hook in hooks:
        hook.remove()
    model.train()
    return elements * element * inputs.shape[0] // 2


def bandwidth(device: torch.device, wait: Callable[[], None], size: int) -> float:
    """Bytes per second of a copy on the device, those read and those written: the best of several."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(8):
        wait()
        start = time.perf_counter()
        for _ in range(4):
            target.copy_(source)
        wait()
        best = min(best, (time.perf_counter() - start) / 4)
    return 2 * size / best


def forever(steps: Any, count: int, wait: Callable[[], None]) -> tuple[float, float]:
    """Mean seconds of the next `count` updates; the host's of an update, the median of `ALONE` more."""
    wait()
    start = time.perf_counter()
    for _ in range(count):
        next(steps)
    wait()
    whole = (time.perf_counter() - start) / count
    given = []
    for _ in range(ALONE):
        start = time.perf_counter()
        next(steps)
        given.append(time.perf_counter() - start)
        wait()
    return whole, statistics.median(given)


def gradient_difference(forward: Callable[..., torch.Tensor], model: nn.Module, batch: Any, precision: str) -> float:
    """|g' - g| / |g| of the gradient by `forward`, beside that of the model as it is: has the compiler kept it?

    Rounding, and units of a ReLU that it switches, are below .01 in single precision (.001 measured on a CPU), not in
    bfloat16; a layer that the compiler gets wrong is above it (see `superconv.training.compiled`).
    """
    inputs, labels = batch
    gradients = []
    tf32, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False  # its rounding alone gives .06 to .1
    try:
        for each in (forward, model):
            model.zero_grad()
            with autocast(precision, inputs.device.type):
                loss = F.cross_entropy(each(inputs), labels)
            loss.backward()
            gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
            del loss
    finally:
        torch.backends.cudnn.allow_tf32 = tf32
    model.zero_grad()
    return float((gradients[0] - gradients[1]).norm() / gradients[1].norm())


def captured(model: nn.Module, example: torch.Tensor, precision: str) -> nn.Module:
    """The model with its training pass captured as a CUDA graph: the same kernels, launched at once."""
    with torch.autocast("cuda", torch.bfloat16, enabled=precision != "fp32", cache_enabled=False):
        graphed: nn.Module = torch.cuda.make_graphed_callables(model, (example,))  # type: ignore[assignment]
    return graphed


def measure(
    options: argparse.Namespace, precision: str, layout: bool, way: str
) -> tuple[list[tuple[float, float]], int, float | None]:
    """Seconds an update and the host's, of every block; bytes that one moves; `gradient_difference` where compiled."""
    mode = COMPILED[way]
    device = torch.device(options.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    torch.manual_seed(0)
    pixels = torch.randint(256, (4 * options.batch_size, 3, 32, 32), dtype=torch.uint8)
    data = pixels, torch.randint(10, (len(pixels),))
    preparation = Preparation.scaled(mirror=True)
    batches = Batches(data, options.batch_size, preparation=preparation, device=device, channels_last=layout)
    model = sc.models.build_model(options.model, seed=0).to(device)
    if layout:
        model = model.to(memory_format=torch.channels_last)
    example = torch.zeros(options.batch_size, 3, 32, 32, device=device)
    moved = bytes_an_update(model, example, 4 if precision == "fp32" else 2)
    if options.statistics_of:
        set_statistics_of(model, options.statistics_of)
    optimizer = build_optimizer("caffe-sgd", model, lr=0.1, momentum=0.9, weight_decay=1e-4)
    forward: Any = model if mode is None else torch.compile(model, mode=mode, dynamic=False)
    if way == "graphed":
        forward = captured(model.train(), next(iter(batches))[0], precision)
    kept = None if mode is None else gradient_difference(forward, model, next(iter(batches)), precision)
    schedule = parse_schedule("constant:lr=0.1", WARM_UP + ALONE + options.blocks * (options.steps + ALONE))
    steps = train_steps(forward, optimizer, F.cross_entropy, batches, schedule, precision=precision)
    forever(steps, WARM_UP, wait)
    blocks = [forever(steps, options.steps, wait) for _ in range(options.blocks)]
    steps.close()
    return blocks, moved, kept


def forget(device: torch.device) -> None:
    """Give back what the ways before held, a graph's memory too, and count this one's most anew."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def row_of(
    name: str, batch_size: int, device: torch.device, blocks: list[tuple[float, float]], floor: float,
    kept: float | None,
) -> dict[str, Any]:  # fmt: skip
    """What was measured of one way; `floor` in seconds an update."""
    middle, low, high = median_with_quartiles([whole for whole, _ in blocks])
    host = median_with_quartiles([part for _, part in blocks])[0]
    return {
        "way": name,
        "pictures_per_second": round(batch_size / middle),
        "milliseconds": round(1e3 * middle, 3),
        "milliseconds_quartiles": [round(1e3 * low, 3), round(1e3 * high, 3)],
        "host_milliseconds": round(1e3 * host, 3),
        "most_gigabytes": None if device.type != "cuda" else round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "floor_milliseconds": round(1e3 * floor, 3),
        "of_the_floor": round(floor / middle, 3),
        "gradient_difference": None if kept is None else round(kept, 6),
    }


def main() -> None:
    """Measure every way to run the update, print a table, write it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.gpu_step", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", default="resnet56")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument(
        "--statistics-of", type=int, default=125, help="samples that share BatchNorm statistics; 0: all"
    )
    parser.add_argument("--steps", type=int, default=20, help="updates of a block")
    parser.add_argument("--blocks", type=int, default=5, help="at least two, for quartiles")
    parser.add_argument("--ways", nargs="+", choices=list(COMPILED), default=list(COMPILED))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--cudnn-benchmark", action="store_true", help="let cuDNN try its algorithms")
    parser.add_argument("--out", type=Path, default=None, help="a JSON file, written after every way")
    options = parser.parse_args()
    if options.blocks < 2 or options.steps < 1:
        parser.error("give two blocks or more (there are quartiles), of one update or more")
    torch.backends.cudnn.benchmark = options.cudnn_benchmark
    device = torch.device(options.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    speed = bandwidth(device, wait, 1 << 31 if device.type == "cuda" else 1 << 26)
    print(f"copy: {speed / 1e9:.0f} GB/s")
    about = {
        "command": shlex.join(["python", "-m", "benchmarks.speed.gpu_step", *sys.argv[1:]]),
        "torch": torch.__version__,
        "device": device_name(device),
        **device_settings(device),
        "batch_size": options.batch_size,
        "statistics_of": options.statistics_of,
        "model": options.model,
        "copy_gigabytes_per_second": round(speed / 1e9, 1),
    }
    rows = []
    for precision, form, way in itertools.product(options.precisions, options.formats, options.ways):
        layout = form == "channels_last"
        torch.compiler.reset()
        forget(device)
        name = f"{precision}, {form}, {way}"
        try:
            blocks, moved, kept = measure(options, precision, layout, way)
        except Exception as error:
            if way == "as it is":
                raise
            # a compiler's, or no GPU to capture on: the other ways are measured all the same
            print(f"{name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}", flush=True)
            continue
        row = row_of(name, options.batch_size, device, blocks, moved / speed, kept)
        rows.append(row)
        print(
            f"{name:38} {row['pictures_per_second']:8} pictures/s  {row['milliseconds']:9.2f} ms  "
            f"host {row['host_milliseconds']:7.2f} ms  "
            f"floor {row['floor_milliseconds']:7.2f} ms  {row['of_the_floor']:.0%}"
            f"{'' if kept is None else f'  gradient off by {kept:.1e}'}", flush=True
        )  # fmt: skip
        if options.out is not None:
            options.out.write_text(json.dumps({"about": about, "ways": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
