"""A verb of the program on a machine that is lent for minutes: shown while it runs, stopped in time, packed.

`python -m benchmarks.within_minutes 9 kept reproduce super-convergence/clr --scale paper --seeds 3 --data-dir DATA`
needs no installed package. The verb gets `--max-minutes`, less what the imports, the end of a run and the packing may
take. Should that not end it, it is told as by Ctrl-C, and killed at last: rows and checkpoints stay. In any case what
has changed in `runs` and `results` goes into kept/left.tgz.aa, ... (parts that can be copied one by one). Back home
`cat kept/left.tgz.* | tar xz` puts all of it into its place.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

BEFORE, AFTER = 0.4, 0.8  # minutes: the imports, before the program's clock starts; the end of a run and the packing
LOOK_EVERY = 20.0  # seconds
PART = 15 * 2**20  # bytes
RUNS, RESULTS = Path("runs"), Path("results")
SOURCE = Path(__file__).resolve().parents[1] / "src"
PROGRAM = """
import sys, torch
torch.backends.cudnn.benchmark, sys.argv[0] = {}, "superconv"
from superconv.__main__ import main
main()
"""


def begin(arguments: Sequence[str], minutes: float, cudnn_benchmark: bool) -> subprocess.Popen[bytes]:
    """The program in a process of its own."""
    limit = max(0.01, minutes - BEFORE - AFTER)
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", PROGRAM.format(cudnn_benchmark), *arguments, "--max-minutes", f"{limit:.2f}"]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})


def watch(process: subprocess.Popen[bytes], minutes: float) -> int:
    """Its exit status; how far it is, on the way."""
    start = time.monotonic()
    for until, number in ((minutes - AFTER / 2, signal.SIGINT), (minutes - AFTER / 4, signal.SIGKILL)):
        while (left := start + 60 * until - time.monotonic()) > 0:
            try:
                return process.wait(timeout=min(LOOK_EVERY, left))
            except subprocess.TimeoutExpired:
                print(f"{time.monotonic() - start:4.0f} s  {how_far()}", flush=True)
        process.send_signal(number)
    return process.wait()


def how_far() -> str:
    """The last row of the run that was written to last."""
    files = sorted(RUNS.glob("*/*/*/rows.jsonl"), key=lambda path: path.stat().st_mtime)
    rows = files[-1].read_bytes().splitlines() if files else []
    return f"{files[-1].parent.name}  {rows[-1].decode()}" if rows else "no rows yet"


def pack(since: float, folder: Path) -> list[Path]:
    """Archive what is not older, in parts."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        for path in (path for place in (RUNS, RESULTS) for path in sorted(place.rglob("*"))):
            if path.is_file() and path.stat().st_mtime >= since:
                archive.add(path)
    content, parts = whole.getvalue(), []
    for number, place in enumerate(range(0, len(content), PART)):
        parts.append(folder / f"left.tgz.{chr(97 + number // 26)}{chr(97 + number % 26)}")
        parts[-1].write_bytes(content[place : place + PART])
    return parts


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)  # through `finally`: what is there is packed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.within_minutes", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--cudnn-benchmark", action="store_true", help="let cuDNN try its algorithms (in one process)")
    parser.add_argument("minutes", type=float, help="after which all has to be packed")
    parser.add_argument("folder", type=Path, help="where the archive goes")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the program, without --max-minutes")
    options = parser.parse_args()
    since = time.time() - 1.0
    options.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _end)
    process = begin(options.arguments, options.minutes, options.cudnn_benchmark)
    try:
        status = watch(process, options.minutes)
    finally:
        process.kill()
        process.wait()
        for part in pack(since, options.folder):
            print(f"{part}: {part.stat().st_size:,} bytes")
    return status


if __name__ == "__main__":
    sys.exit(main())
