"""Watching a run's learning rate: an `LRMonitor` on held-out batches, and its readings as rows of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from ..analysis.curvature.jackknife import MINIMUM_PROBES
from ..data import Batches, Samples
from ..measure.curvature.monitor import LRMonitor
from ..task import Task

KEY = "curvature"  # of the rows that hold a reading
READINGS = 24  # along a run, where the interval is not given
MOST_STEPS = 50  # between readings, where it is not given
PROBE_SHARE = 4  # the batch size over that of a probe batch: a probe costs as much as one step
PROBE_SEED = 1_000_003  # of the order of the held-out samples; no run's own seed comes near


@dataclass(frozen=True)
class Monitoring:
    """How a run is watched.

    Args:
        every: updates between readings.
        eigenvalues_every: updates between measurements of the Hessian's largest eigenvalue; None: none.
        probes: measure gradients on held-out batches; False: the paper's estimate alone, from the weights.
        spacing: updates between the iterates of the paper's estimate.
    """

    every: int
    eigenvalues_every: int | None = None
    probes: bool = True
    spacing: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what makes two watched runs the same. Younger settings are left out at their defaults."""
        young = {"probes": True, "spacing": 1}
        return {key: value for key, value in asdict(self).items() if key not in young or value != young[key]}

    @classmethod
    def of_run(cls, total_steps: int, every: int | None = None, eigenvalues_every: int | None = None) -> Monitoring:
        """What suits a run, where nothing is given: about 24 readings, and at least one in 50 updates."""
        return cls(every or max(1, min(MOST_STEPS, total_steps // READINGS)), eigenvalues_every)


def probe_batch_size(batch_size: int, samples: int) -> int:
    """A quarter of the batch, or as much as gives the monitor its 16 batches from so few held-out samples.

    At least two, since BatchNorm in training refuses one.

    Raises: ValueError: fewer samples than that takes.
    """
    needed = 2 * MINIMUM_PROBES
    if samples < 2 * needed:
        raise ValueError(
            f"the curvature estimates need {needed} held-out batches of two, the validation data has {samples} "
            "samples; leave more of them, or train without the monitor"
        )
    return max(2, min(batch_size // PROBE_SHARE, samples // needed))


def watch(
    task: Task,
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Any,
    held_out: Samples,
    *,
    batch_size: int,
    monitoring: Monitoring,
    steps_done: int = 0,
    memory: Mapping[str, Any],
) -> LRMonitor:
    """A monitor on the run's optimizer; close it when the run ends.

    A run that was resumed begins its smoothing and its probes anew; the readings before are in its rows.

    Args:
        held_out: samples that take no part in the updates.
        monitoring: how often.
        steps_done: updates before this call.
        memory: device, memory format and preparation of the batches.
    """
    every, spacing = monitoring.every, monitoring.spacing
    if monitoring.probes:
        size = probe_batch_size(batch_size, len(held_out))
        batches = Batches(held_out, size, seed=PROBE_SEED, augment=False, **memory)
        monitor = LRMonitor(
            model, optimizer, loss_fn, batches, every=every, spacing=spacing, split=task.split,
            eigenvalues_every=monitoring.eigenvalues_every,
        )  # fmt: skip
    else:
        monitor = LRMonitor(model, optimizer, every=every, spacing=spacing)
    monitor.step = steps_done
    return monitor


def rows_of(readings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a reading, named by the update after which it was made."""
    return [{"step": reading["step"] - 1, KEY: dict(reading)} for reading in readings]
