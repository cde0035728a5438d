"""Two processes that know each other, for tests of what ranks do together."""

from __future__ import annotations

import datetime
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

PATIENCE_SECONDS = 40


def work(function: Callable[..., Any], arguments: tuple[Any, ...], rank: int, world: int, file: str, pipe: Any) -> None:
    """One rank: join, call, answer, wait for the others."""
    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=30)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world, timeout=patience)
    try:
        pipe.send(function(rank, world, *arguments))
        pipe.recv()  # nobody leaves before all are done
    except Exception as error:
        pipe.send(error)
        raise
    finally:
        dist.destroy_process_group()


def call_on_ranks(meeting: Path, function: Callable[..., Any], *arguments: Any, world: int = 2) -> list[Any]:
    """`function(rank, world, ...)` in as many processes: the answers of all. Raises: what a rank raised."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "pytest", "superconv.experiments.runner"])
    pipes, processes = [], []
    for rank in range(world):
        pipe, other = context.Pipe()
        rest = (function, arguments, rank, world, str(meeting), other)
        processes.append(context.Process(target=work, args=rest))
        processes[-1].start()
        pipes.append(pipe)
    try:
        for pipe in pipes:
            assert pipe.poll(PATIENCE_SECONDS), "the ranks hang"
        answers = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send("done")
    finally:
        for process in processes:
            process.join(5)
            process.kill()
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
