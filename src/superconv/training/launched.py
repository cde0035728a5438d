"""The ranks that torchrun started: a meeting that names who is missing, one command on all, one voice, one end."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..runs import RunError

MEETING_SECONDS = 300.0
PATIENCE_SECONDS = 3.0  # of a failing rank: does the first one say it?
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankMissing(RunError):
    """A rank of the job did not come."""


def launched() -> bool:
    """Whether this process is one of several ranks, as torchrun says in the environment."""
    return all(name in os.environ for name in _VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


class Rank:
    """This process among the ranks of its job, with a store in which they leave words for each other.

    Args:
        seconds: how long others are waited for; None: SUPERCONV_MEETING_SECONDS, else five minutes.
    Raises: RankMissing: the first rank, which keeps the store where torchrun does not, was not found.
    """

    def __init__(self, seconds: float | None = None) -> None:
        import torch.distributed as dist

        self.number, self.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.seconds = seconds or float(os.environ.get("SUPERCONV_MEETING_SECONDS", MEETING_SECONDS))
        self.stderr = sys.stderr
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        kept_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        try:
            store = dist.TCPStore(
                host, port, self.world_size, is_master=self.number == 0 and not kept_by_torchrun,
                timeout=datetime.timedelta(seconds=self.seconds), wait_for_workers=False, multi_tenant=True,
            )  # fmt: skip
        except Exception as error:
            raise RankMissing(f"rank 0 was not found at {host}:{port} within {self.seconds:g} s") from error
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.store = dist.PrefixStore(f"superconv/{attempt}", store)

    @contextmanager
    def joined(self, command: Sequence[str]) -> Iterator[None]:
        """The process group for the block: NCCL for tensors on GPUs where there are any, gloo on CPUs.

        Ranks other than the first print nothing while it lasts.

        Args:
            command: the arguments of this process, which must be the same on all ranks.
        Raises:
            RankMissing, a RunError: the ranks that did not come, by number.
            ValueError: a rank was started with other arguments.
        """
        import torch
        import torch.distributed as dist

        self._wait_for_all()
        self._compare(list(command))
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(
            backend, store=dist.PrefixStore("group", self.store), rank=self.number, world_size=self.world_size,
            timeout=datetime.timedelta(seconds=max(self.seconds, MEETING_SECONDS)),
        )  # fmt: skip
        with _silence() if self.number else contextlib.nullcontext():
            yield
            dist.barrier()  # nobody leaves while another still asks something
        dist.destroy_process_group()

    def _wait_for_all(self) -> None:
        names = [f"here/{other}" for other in range(self.world_size)]
        self.store.set(names[self.number], "yes")
        self._until(lambda: self.store.check(names), self.seconds)
        missing = [str(other) for other, name in enumerate(names) if not self.store.check([name])]
        if missing:
            which = f"rank {missing[0]}" if len(missing) == 1 else f"ranks {', '.join(missing)}"
            raise RankMissing(f"{which} of {self.world_size} did not come within {self.seconds:g} s; is it running?")

    def _compare(self, command: list[str]) -> None:
        self.store.set(f"command/{self.number}", json.dumps(command))
        first = json.loads(self.store.get("command/0"))
        for other in range(self.world_size):
            theirs = json.loads(self.store.get(f"command/{other}"))
            if theirs != first:
                odd = " ".join(word for word in theirs if word not in first) or "fewer of them"
                raise ValueError(
                    f"rank {other} was started with other arguments than rank 0 ({odd}); give all the same command"
                )

    def sentence(self, message: str | None) -> str | None:
        """What this rank should print now that it fails; None where another rank says it.

        The first rank speaks for all: it says its own failure, or that of the rank which failed before it. Another rank
        speaks only where the first one is silent for some seconds.

        Args:
            message: of this rank's own failure; None: it only lost the others.
        """
        try:
            return self._first_says(message) if self.number == 0 else self._other_says(message)
        except Exception:  # the first rank, which kept the store, is gone
            return None

    @staticmethod
    def lost_others(error: Exception) -> bool:
        """Whether an error says that other ranks are gone."""
        import torch.distributed as dist

        return isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo" in str(error))

    def _first_says(self, message: str | None) -> str | None:
        if message is None:
            self._until(lambda: bool(self._failed()), PATIENCE_SECONDS)
            failed = self._failed()
            if failed:
                message = f"rank {failed[0]}: {self.store.get(f'failure/{failed[0]}').decode()}"
            else:
                message = "another rank was lost; what was finished is kept, and the same command goes on from there"
        self.store.set("said", message)
        others = [f"left/{other}" for other in range(1, self.world_size)]
        self._until(lambda: self.store.check(others), PATIENCE_SECONDS)
        return message

    def _other_says(self, message: str | None) -> str | None:
        if message is not None:
            self.store.set(f"failure/{self.number}", message)
        _in_background(_leave_group)  # so that what the first rank waits for fails, where it can
        heard = self._until(lambda: self.store.check(["said"]), PATIENCE_SECONDS)
        self.store.set(f"left/{self.number}", "yes")
        return None if heard or message is None else f"rank {self.number}: {message}"

    def _failed(self) -> list[int]:
        return [other for other in range(1, self.world_size) if self.store.check([f"failure/{other}"])]

    def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        return True


@contextmanager
def _silence() -> Iterator[None]:
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _leave_group() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def _in_background(work: Callable[[], Any]) -> None:
    """What may never return must not keep the process."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    thread.join(0.5)
