"""Pictures per second of a training that decodes them as they are drawn, beside the same loop on pictures in memory."""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

import superconv as sc
from superconv.data import Batches, Data, StreamedPictures
from superconv.data.picture import decode

from ..table import Goal, Table
from ..timing import interleaved, paired_difference, within

GOAL = 1.05  # of the time of a step whose data lie on the device
REFERENCE = "training, in memory, on the device"
WARM_UP = 4  # steps of a block that are not counted
Loop = Callable[[Iterable[Any], int], float]  # batches, steps -> seconds a step


class Plain(Dataset[Any]):
    """What a plain script has: one picture at a time, cropped, mirrored, normalised to float32, in a worker process."""

    def __init__(self, pictures: StreamedPictures) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        view, path = self.pictures.view, self.pictures.root / self.pictures.names[index]
        assert view.crop is not None
        draws = torch.rand(10, 4, dtype=torch.float64).tolist()
        pixels = torch.from_numpy(decode(path, view.image_size, partial(view.crop.box, draws=draws)).copy())
        pixels = pixels.permute(2, 0, 1).float().div_(255).sub_(0.45).div_(0.225)
        return pixels.flip(-1) if torch.rand(()) < 0.5 else pixels, int(self.pictures.targets[index])


def forever(batches: Iterable[Any]) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from batches


def seconds_a_step(done: Iterator[Any], steps: int, wait: Callable[[], None]) -> float:
    """Mean time of `steps` items of an iterator, after the first few."""
    for _ in range(WARM_UP):
        next(done)
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        next(done)
    wait()
    return (time.perf_counter() - start) / steps


def training(model_name: str, classes: int, device: str, precision: str, compiled: bool) -> Loop:
    """The package's own loop on one network."""
    model = sc.models.build_model(model_name, classes, seed=0).to(device)
    if device == "cuda":
        model = model.to(memory_format=torch.channels_last)
    torch.compiler.reset()  # else the second size of images would be compiled for sizes that vary
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def loop(batches: Iterable[Any], steps: int) -> float:
        schedule = sc.constant(WARM_UP + steps, lr=1e-3)
        return seconds_a_step(
            sc.train_steps(forward, optimizer, F.cross_entropy, batches, schedule, precision=precision), steps, wait
        )

    return loop


def contenders(splits: Any, batch_size: int, device: str, workers: int) -> dict[str, Iterable[Any]]:
    """The ways in which the same kind of batch comes about."""
    streamed = splits.train
    few = torch.arange(min(4 * batch_size, len(streamed)))
    held = Data(*(part.contiguous() for part in streamed.batch(few)), name="held")
    options: dict[str, Any] = {
        "batch_size": batch_size, "device": device, "channels_last": device == "cuda",
        "preparation": splits.preparation,
    }  # fmt: skip
    plain = DataLoader(
        Plain(streamed), batch_size, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=True,
        pin_memory=device == "cuda", multiprocessing_context="spawn",
    )  # fmt: skip
    return {
        "in memory, on the device": Batches(held, **options),
        "streamed": Batches(streamed, **options),
        "plain DataLoader": plain,
    }


def longest_wait(name: str, side: int = 3000) -> str:
    """How long another thread had to wait for the interpreter while one large picture was decoded, in milliseconds."""
    from PIL import Image

    coarse = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture.{name}"
        Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(path)
        gaps, ended, interval = [0.0], threading.Event(), sys.getswitchinterval()

        def tick() -> None:
            last = time.perf_counter()
            while not ended.is_set():
                time.sleep(1e-4)
                now = time.perf_counter()
                gaps.append(now - last)
                last = now

        sys.setswitchinterval(1e-5)
        try:
            ticker = threading.Thread(target=tick)
            ticker.start()
            start = time.perf_counter()
            decode(path, side, lambda width, height: (0, 0, width, height))
            took = time.perf_counter() - start
        finally:
            ended.set()
            ticker.join()
            sys.setswitchinterval(interval)
    return f"{name}: decoding takes {1e3 * took:.0f} ms, another thread waits for {1e3 * max(gaps):.1f} ms at most"


def measured(arguments: argparse.Namespace, side: int, device: str, workers: int) -> dict[str, list[float]]:
    """Seconds a step, by loop."""
    splits = sc.data.load(arguments.data, arguments.data_dir, image_size=side, streaming=True, workers=workers)
    batches = contenders(splits, arguments.batch_size, device, workers)
    train = training(arguments.model, splits.num_classes, device, arguments.precision, arguments.compile)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    blocks: dict[str, Callable[[], float]] = {
        f"training, {name}": partial(train, source, arguments.steps) for name, source in batches.items()
    }
    for name in ("streamed", "plain DataLoader"):
        blocks[f"batches alone, {name}"] = partial(
            lambda source: seconds_a_step(forever(source), arguments.steps, wait), batches[name]
        )
    return interleaved(blocks, arguments.rounds)


def table(arguments: argparse.Namespace, side: int) -> Table:
    """Both loops at one size of pictures."""
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    workers = arguments.workers or len(os.sched_getaffinity(0))
    seconds = measured(arguments, side, device, workers)
    reference = [math.log(value) for value in seconds[REFERENCE]]
    rows, ratios = [], {}
    for name, values in seconds.items():
        differences = paired_difference([math.log(value) for value in values], reference)
        middle, low, high = ratios[name] = tuple(math.exp(each) for each in differences)
        rate = arguments.batch_size / statistics.median(values)
        rows.append([name, f"{rate:,.0f}", f"{middle:.2f}", f"{low:.2f} to {high:.2f}"])
    ours = ratios["training, streamed"]
    goal = Goal(
        f"a step takes at most {GOAL:g} times that of the same loop on pictures that lie on the device",
        "{:.2f} times (95% interval {:.2f} to {:.2f})".format(*ours),
        within(GOAL, ours),
    )
    what = f"{arguments.model}, {side} pixels, batch {arguments.batch_size}, {arguments.precision}, {device}"
    notes = [
        f"{arguments.rounds} interleaved rounds of {arguments.steps} steps; {workers} decoding threads or processes"
    ]
    columns = ("loop", "pictures a second", "time a step, to the first", "95% interval")
    return Table(f"Loader: {what}", columns, rows, [goal], notes)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="imagenette", help="imagenet, imagenette or folder:PATH")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--image-size", type=int, nargs="+", default=[128, 224])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default=None)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    tables = [table(arguments, side) for side in arguments.image_size]
    print(f"torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    for each in tables:
        print(each.text())
    print("\n".join(longest_wait(name) for name in ("jpg", "webp", "png")))
    return int(any(goal.met is False for each in tables for goal in each.goals))


if __name__ == "__main__":
    sys.exit(main())
