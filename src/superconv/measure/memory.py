"""A range test that runs out of memory: everything is put back, and the batch size that would fit is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ..schedules import constant
from ..training.batch_source import BatchSource, device_of, pair, sample_count
from ..training.checkpoint import TrainState
from ..training.out_of_memory import OutOfMemory, explain, is_out_of_memory, release
from .ramp import Probe

TRIAL_LR = 1e-8


@contextmanager
def naming_what_fits(probe: Probe, batches: Any, copies: int) -> Iterator[None]:
    """Turn a refused allocation of the block into an `OutOfMemory` that names a batch size; the block restores.

    Args:
        copies: of the state that are held at the same time.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        release(error)
        raise _named(probe, batches, copies) from error


def _named(probe: Probe, batches: Any, copies: int) -> OutOfMemory:
    device = device_of(probe.model)
    if hasattr(batches, "__next__") or getattr(batches, "persistent_workers", False):  # no batch can be had twice
        return OutOfMemory(f"out of memory on {device}; use a smaller batch size. Everything is as it was before")
    batch = BatchSource(batches).sample(1)[0]
    inputs, targets = (probe.options["split"] or pair)(batch)

    def update(part: Any) -> None:
        with ExitStack() as stack:
            for _ in range(copies):
                stack.enter_context(probe.preserved(batches))
            state = TrainState(probe.model, probe.optimizer, BatchSource([part]), scaler=probe.scaler)
            for _ in probe.steps(state, constant(1, lr=TRIAL_LR), None, None):
                pass

    return explain(update, batch, sample_count(targets, inputs), device)
