"""A harness that lets trainings run in processes of their own, does them harm, and looks at what they left.

`Attempt` starts one process a rank; each runs `target(rank, world_size, fault, *arguments)`, which calls
`fault.at_step()` after every update and sends what became of it through `fault.connection`.
"""

import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

SECONDS = 60  # after which a process that says nothing is a failure


def processes() -> Any:
    """A context whose server has imported torch once and run nothing: from it real processes start quickly."""
    context = multiprocessing.get_context("forkserver")
    # torch's optimizers import torch._dynamo when they are first used, which takes longer than all the rest
    context.set_forkserver_preload(["torch", "torch._dynamo", "pytest", "superconv.experiments.runner"])
    return context


@dataclass
class Fault:
    """What happens in one process, and when.

    Args:
        how: "kill" (SIGKILL by itself), "pause" (tells its parent and waits), "file limit" (RLIMIT_FSIZE), "no space"
            (files of this package refuse to grow, as on a full disk), "half a checkpoint" (SIGKILL in the middle of
            the next one); "": nothing.
        step: after which update of this process, counted from 1.
        rank: the rank that it happens to.
    """

    how: str = ""
    step: int = 0
    rank: int = 0
    connection: Connection | None = None
    seen: int = 0
    size: int = 2000  # bytes that a file may have, for "file limit" and "no space"

    def at_step(self) -> None:
        """To be called after every update."""
        self.seen += 1
        if self.how and self.seen == self.step:
            _FAULTS[self.how](self)

    def send(self, message: Any) -> None:
        """To the parent."""
        assert self.connection is not None
        self.connection.send(message)


def _kill(fault: Fault) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _pause(fault: Fault) -> None:
    fault.send("paused")
    assert fault.connection is not None
    fault.connection.recv()


def _limit_files(fault: Fault) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (fault.size, resource.RLIM_INFINITY))


def _fill_the_disk(fault: Fault) -> None:
    from superconv.runs import atomic, rows

    class Full(atomic._RememberingFile):
        def write(self, data: Any) -> int:
            room = fault.size - self.tell()
            if room <= 0:
                self.refusal = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise self.refusal
            return super().write(memoryview(data)[:room])

    write_rows = rows.RowLog._write

    def write(log: Any, data: bytes) -> None:
        log._file = _HalfWritten(log._file)
        write_rows(log, data)

    atomic._RememberingFile = Full  # type: ignore[misc]
    rows.RowLog._write = write  # type: ignore[method-assign]


class _HalfWritten:
    """An open file whose disk fills up in the middle of the next write."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: Any) -> int:
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _die_in_a_checkpoint(fault: Fault) -> None:
    from superconv.experiments import runner
    from superconv.runs import atomic

    class Dying(atomic._RememberingFile):
        def write(self, data: Any) -> int:
            if "checkpoint" in str(self.name):
                super().write(memoryview(data)[: len(data) // 2])
                _kill(fault)
            return super().write(data)

    atomic._RememberingFile = Dying  # type: ignore[misc]
    runner.CHECKPOINT_SECONDS = 0.0


_FAULTS = {
    "kill": _kill,
    "pause": _pause,
    "file limit": _limit_files,
    "no space": _fill_the_disk,
    "half a checkpoint": _die_in_a_checkpoint,
}


class Attempt:
    """One start of a training: a process a rank.

    Args:
        context: from `processes()`.
        target: at module level; called in each process with (rank, world_size, fault, *arguments).
        fault: what happens to one of the ranks.
        world_size: how many.
    """

    def __init__(
        self,
        context: Any,
        target: Callable[..., None],
        *arguments: Any,
        fault: Fault | None = None,
        world_size: int = 1,
    ) -> None:
        fault = fault or Fault()
        self.connections, self.ranks = [], []
        for rank in range(world_size):
            mine, theirs = context.Pipe()
            own = fault if rank == fault.rank else Fault()
            values = (own.how, own.step, own.rank, theirs, 0, own.size)
            process = context.Process(target=_begin, args=(target, rank, world_size, values, arguments))
            process.start()
            theirs.close()
            self.connections.append(mine)
            self.ranks.append(process)

    @property
    def process(self) -> Any:
        """Of rank 0."""
        return self.ranks[0]

    def receive(self, rank: int = 0) -> Any:
        """What a rank sends next."""
        assert self.connections[rank].poll(SECONDS), f"rank {rank} says nothing"
        return self.connections[rank].recv()

    def go_on(self, rank: int = 0) -> None:
        """Let a paused rank continue."""
        self.connections[rank].send("go on")

    def killed(self) -> bool:
        """Whether a rank was killed; the others must end by themselves."""
        for process in self.ranks:
            process.join(SECONDS)
        return any(process.exitcode == -signal.SIGKILL for process in self.ranks)


def _begin(
    target: Callable[..., None], rank: int, world_size: int, fault: tuple[Any, ...], arguments: tuple[Any, ...]
) -> None:
    target(rank, world_size, Fault(*fault), *arguments)
