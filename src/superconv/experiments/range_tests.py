"""LR range tests of a task over seeds, each in a run directory: found where finished, measured where not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from .. import runs
from ..analysis.range_test import RangeTest
from ..data import Batches, Samples, Splits
from ..data.shuffling import choose
from ..measure.progress import Progress
from ..measure.range_test import lr_range_test
from ..models.synchronised import synchronise_batch_norm
from ..records import StopReason
from ..runs.errors import explained
from ..task import Task, check_outputs, source_hash
from ..task.labels import ignored_label
from ..training.batch_source import pair
from ..training.distributed import (
    agree_on,
    is_distributed,
    on_first_rank,
    over_ranks,
    rank,
    share_of,
    together,
    world_size,
)
from ..training.evaluate import EvaluateWith
from ..training.evaluation_mode import outputs_of
from ..training.optimizers import build_optimizer, default_lr
from ..training.precision import to_channels_last, wants_channels_last
from .arm_parts import VALIDATION_SAMPLES, loss_on_ranks
from .device import choose_device, device_name
from .follower import Follower, open_together, summary_in, summary_of

FILE = "range_test.json"


@dataclass(frozen=True)
class RangeTestPlan:
    """How a range test is made; names and defaults as in `lr_range_test`.

    Args:
        name: the arm's name in the run directory.
        eval_samples: the metric is measured on this many validation samples, in which classes keep their shares;
            None: on all.
    Raises: ValueError: fewer than one of these.
    """

    name: str = "range-test"
    optimizer: str = "sgd"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 128
    accumulation_steps: int = 1
    start_lr: float | None = None
    end_lr: float | None = None
    total_steps: int | None = None
    shape: str | None = None
    forks: int = 10
    fork_steps: int | None = None
    evaluate_every: int | None = None
    evaluate_with: EvaluateWith = "batch"
    eval_samples: int | None = 1000
    precision: str = "fp32"
    clip_grad_norm: float | None = None
    augment: bool = True
    reference_lr: float | Literal["grid", "fixed-grid"] | None = "grid"

    def __post_init__(self) -> None:
        if self.eval_samples is not None and self.eval_samples < 1:
            raise ValueError(f"eval_samples must be at least 1, or None for all, got {self.eval_samples}")


class Measured(NamedTuple):
    """What `run_range_test` returns.

    Args:
        ramp: the range test.
        path: its run directory.
        found: True where it was found finished and nothing was measured.
    """

    ramp: RangeTest
    path: Path
    found: bool


def run_range_test(
    task: Task,
    plan: RangeTestPlan,
    seed: int,
    *,
    root: str | Path = "runs",
    experiment: str = "range-test",
    device: torch.device | str | None = None,
    keep_copy_on: str | None = None,
    progress: Progress = False,
) -> Measured:
    """Measure, or find the same measurement finished. Only training and validation data are read.

    A measurement that is interrupted leaves nothing and begins anew: it takes seconds to minutes.

    Args:
        keep_copy_on: as in `lr_range_test`; no part of the measurement's identity, as it changes no number.
    Returns: the range test, its run directory, and whether it was found there.
    Raises:
        ValueError: a plan or a model that does not fit the task.
        RunError, a ValueError: the directory cannot be written, is in use, or holds a damaged range test.
    """
    device = choose_device(device)
    splits = task.data.with_validation(VALIDATION_SAMPLES)
    config = {"task": {"name": task.name, "hash": source_hash(task)[:16]}, **asdict(plan)}
    info = {**runs.environment(), "device": device_name(device), "data": splits.checksums, "note": splits.note}
    place = (root, experiment, plan.name, seed, config)
    path = runs.run_path(*place)
    if is_distributed():
        agree_on({part: checksum for part, checksum in splits.checksums.items() if checksum}, "data set")
        agree_on({**config, "seed": seed}, "config")
    if summary_of(place) is not None:
        return Measured(on_first_rank(lambda: _stored(path)), path, True)
    new = [folder for folder in (path, *path.parents[:3]) if not folder.exists()] if rank() == 0 else []
    # first: what cannot be written, or is being measured elsewhere, is known before the work
    with open_together(place, info) as run, _removed_if_it_fails(new):
        if summary_in(run) is not None:  # by another process meanwhile: the one that was first stands
            return Measured(on_first_rank(lambda: _stored(path)), path, True)
        ramp = _measure(task, plan, seed, splits, device, keep_copy_on, progress)
        together(lambda: _keep(ramp, run))
    return Measured(ramp, path, False)


def _stored(path: Path) -> RangeTest:
    """What lies in a finished run's directory, which no command measures again. Raises: RunError: it cannot be read."""
    try:
        return RangeTest.load(path / FILE)
    except ValueError as error:
        if isinstance(error.__cause__, OSError):  # not given by the system: it may be whole
            raise runs.RunError(str(error)) from error
        problem = str(error).rpartition(": ")[0]  # without the remedy for a file of one's own
        raise runs.RunError(f"{problem}; delete the run directory and run it again") from error


@contextmanager
def _removed_if_it_fails(new: Sequence[Path]) -> Iterator[None]:
    """Folders made for the block, the run directory first, go again where it fails, still under the lock.

    What another process puts there meanwhile stays, and the folders that hold it.
    """
    try:
        yield
    except BaseException:
        for name in (FILE, "rows.jsonl", "run.json", ".lock") if new else ():
            with suppress(OSError):
                (new[0] / name).unlink()
        for folder in new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _keep(ramp: RangeTest, run: runs.Run | Follower) -> None:
    if isinstance(run, runs.Run):
        with explained(run.path / FILE):
            ramp.save(run.path / FILE)
        run.finish(_summary(ramp))


def _measure(
    task: Task,
    plan: RangeTestPlan,
    seed: int,
    splits: Splits,
    device: torch.device,
    keep_copy_on: str | None,
    progress: Progress,
) -> RangeTest:
    model = task.build_model(seed).to(device)
    channels_last = wants_channels_last(model, device)
    if channels_last:
        to_channels_last(model)
    loss = loss_on_ranks(task, device)
    lr = default_lr(plan.optimizer)
    optimizer = build_optimizer(plan.optimizer, model, lr=lr, loss_fn=loss, **plan.optimizer_options)
    memory: dict[str, Any] = {
        "device": device, "channels_last": channels_last, "preparation": splits.preparation,
        "rank": rank(), "world_size": world_size(),
    }  # fmt: skip
    batches = Batches(splits.train, share_of(plan.batch_size), seed=seed, augment=plan.augment, **memory)
    assert splits.validation is not None
    eval_batches = Batches.for_evaluation(_reduced(splits.validation, plan.eval_samples), **memory)
    _check_model(task, model, eval_batches)
    return lr_range_test(
        over_ranks(synchronise_batch_norm(model) if is_distributed() else model),
        optimizer,
        loss,
        batches,
        start_lr=plan.start_lr,
        end_lr=plan.end_lr,
        total_steps=plan.total_steps,
        shape=plan.shape,
        forks=plan.forks,
        fork_steps=plan.fork_steps,
        eval_batches=eval_batches,
        metric=task.metric,
        higher_is_better=task.higher_is_better,
        evaluate_every=plan.evaluate_every,
        evaluate_with=plan.evaluate_with,
        accumulation_steps=plan.accumulation_steps,
        precision=plan.precision,
        clip_grad_norm=plan.clip_grad_norm,
        split=task.split,
        count=task.count,
        chance=task.chance,
        seed=seed,
        keep_copy_on=keep_copy_on,
        reference_lr=plan.reference_lr,
        progress=progress,
    )


def _reduced(samples: Samples, count: int | None) -> Samples:
    """`count` of the samples, the same ones every time; stored data are often sorted by class."""
    if count is None or count >= len(samples):
        return samples
    return samples.take(choose(count, len(samples), samples.class_labels(), seed=0))


def _check_model(task: Task, model: torch.nn.Module, batches: Batches) -> None:
    inputs, targets = (task.split or pair)(next(iter(batches)))
    check_outputs(outputs_of(model, inputs), targets, task.data.num_classes, ignored_label(task.loss))


def _summary(ramp: RangeTest) -> dict[str, Any]:
    return {
        "stop": StopReason.completed.value,  # the measurement is done; how the ramp ended stands in its own file
        "message": f"the ramp: {ramp.stop.message}",
        "steps": len(ramp.lr),
        "seconds": round(ramp.seconds, 3),
        "train_loss": float(ramp.train_loss[-1]) if len(ramp.train_loss) else None,
        "validation": None,
        "test": None,
    }
