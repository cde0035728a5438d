"""A range test that runs out of memory: everything is put back, and the batch size that would fit is named."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Any

from ..restore.loaders_within import has_persistent_workers
from ..schedules import constant
from ..training.batch_source import BatchSource, device_of, pair, sample_count
from ..training.checkpoint import TrainState
from ..training.out_of_memory import Trial, naming_what_fits
from .ramp import Probe

TRIAL_LR = 1e-8
ELSEWHERE = "use smaller evaluation batches, or keep the copy of the state elsewhere (keep_copy_on='cpu')"


def naming_batch_size(probe: Probe, batches: Any, copies: int) -> AbstractContextManager[None]:
    """Turn a refused allocation of the block into an `OutOfMemory` that names a batch size; the block restores.

    Args:
        copies: of the state that are held at the same time.
    """
    return naming_what_fits(
        lambda: _trial(probe, batches, copies), device_of(probe.model),
        elsewhere=ELSEWHERE, afterwards="Everything is as it was before",
    )  # fmt: skip


def _trial(probe: Probe, batches: Any, copies: int) -> Trial | None:
    if hasattr(batches, "__next__") or has_persistent_workers(batches):  # no batch can be had twice
        return None
    batch = BatchSource(batches).sample(1)[0]
    inputs, targets = (probe.options["split"] or pair)(batch)

    def update(part: Any) -> None:
        with ExitStack() as stack:
            for _ in range(copies):
                stack.enter_context(probe.preserved(batches))
            state = TrainState(probe.model, probe.optimizer, BatchSource([part]), scaler=probe.scaler)
            for _ in probe.steps(state, constant(1, lr=TRIAL_LR), None, None):
                pass

    return Trial(update, batch, sample_count(targets, inputs))
