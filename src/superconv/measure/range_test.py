"""The LR range test: training under an LR ramp, with annealed forks, after which everything is as it was."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ..analysis.range_test import RangeTest
from ..analysis.scout import NOT_FINITE, upper_end
from ..records import StopReason
from ..restore.loader_order import LoaderOrder
from ..restore.loaders_within import warn_of_persistent_workers
from ..schedules import Schedule, checks, lr_ramp
from ..task.definition import direction, own_direction
from ..task.labels import ignored_label
from ..task.loss_function import LossFunction
from ..task.metrics import Metric, accumulates
from ..training.arguments import check_options, check_parts
from ..training.batch_source import BatchSource, Split, device_of
from ..training.evaluate import EvaluateWith, check_metric, check_readable, has_batch_statistics
from ..training.group_scales import given_scales, own_scales
from ..training.micro_batches import Count, check_count
from ..training.optimizers import describe
from ..training.precision import make_scaler
from ..training.ranks_apart import warn_of_ranks_apart
from ..training.unclear_scales import warn_of_unclear_scales
from .chance import ChanceLevel
from .memory import naming_batch_size
from .progress import Progress, reporter
from .ramp import Probe
from .range_test_arguments import (
    check_forks,
    check_measured,
    check_ramp,
    check_reference,
    check_seed,
    check_uses_lr,
    warn_of_capped_lr,
)
from .range_test_warnings import warn_of_direction, warn_of_sorted
from .reference import GRID_POINTS, MOST_TRAININGS, Reference, find_reference
from .trained_parameters import trained_parameters

DEFAULT_STEPS = 100
SCOUT_STEPS = 60
SCOUT_RANGE = (1e-6, 100.0)
RAMP_DECADES = 4.0  # of a ramp whose upper end a scout found
EVALUATIONS = 25  # along a ramp, where `evaluate_every` is not given
FORK_DECADES = 2.5  # of a ramp whose upper end a scout found; where it was given, RAMP_DECADES
FORK_FRACTION = 0.3  # of the ramp's length: 30 steps of annealing for 100 of ramp


def lr_range_test(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: LossFunction,
    train_batches: Iterable[Any],
    *,
    start_lr: float | None = None,
    end_lr: float | None = None,
    total_steps: int | None = None,
    shape: str | None = None,
    forks: int | Sequence[float] = 0,
    fork_steps: int | None = None,
    eval_batches: Iterable[Any] | None = None,
    metric: str | Metric | None = "accuracy",
    higher_is_better: bool | None = None,
    evaluate_every: int | None = None,
    evaluate_with: EvaluateWith = "batch",
    accumulation_steps: int = 1,
    precision: str = "fp32",
    scaler: Any | None = None,
    clip_grad_norm: float | None = None,
    split: Split | None = None,
    seed: int | None = None,
    keep_copy_on: str | torch.device | None = None,
    stop_when_diverged: bool = True,
    progress: Progress = False,
    chance: float | None = None,
    reference_lr: float | Literal["grid", "fixed-grid"] | None = None,
    group_scales: Sequence[float] | None = None,
    count: Count | None = None,
) -> RangeTest:
    """Train under a rising learning rate, record what happens, and put everything back.

    With no numbers given, a short exponential scout finds where training breaks down; the ramp runs below it. The
    paper's test is `shape="linear", start_lr=0` with `end_lr` and `total_steps` of one's own (arXiv 1708.07120v1,
    Sec. 3). `train_loss[i]` is the forward pass of update i, before `lr[i]` acts; a metric at i is measured after it.

    At each fork the state is cloned, annealed to a learning rate of zero (cosine) in `fork_steps`, evaluated and
    dropped: what the network would be worth if the cycle ended here. Forks do not move the ramp.

    Step hooks of your optimizer act along the ramp (one that clips gradients is part of the training that is measured),
    but for those of `ScheduleLR` and `LRMonitor`. What they count in is put back: attributes of their owner, variables
    that they enclose, lists and dicts in either. Not put back: tensors that they change (a warning says so), global
    variables, and what they have written or printed.

    Args:
        loss_fn, split, accumulation_steps, precision, clip_grad_norm: as in `train_steps`.
        start_lr: None: four decades below the ramp's end; 0 where it is linear.
        end_lr: None: where the scout says.
        total_steps: updates of the ramp; 100 by default. The scout (60) and the forks come on top.
        shape: "exponential" (default) or "linear".
        forks: how many, equally spaced along the ramp (an exponential one: along its upper 2.5 decades, or 4 where
            `end_lr` is given, since it may lie far above what the network stands); or the learning rates themselves.
        fork_steps: 0.3 of `total_steps` by default.
        eval_batches: measured every `evaluate_every` updates (25 times by default) and after each fork. Without them
            there is no metric, and no verdict.
        metric: as in `evaluate`; None: the loss alone.
        higher_is_better: of the metric; None: what an object with update, compute and reset says by its attribute of
            that name, else True, but for "loss" False.
        evaluate_with: BatchNorm by "batch" statistics (of batches in which the classes are mixed), "reestimated" ones,
            or "running", which lag far behind here.
        scaler: your gradient scaler, restored afterwards; fp16 makes one of its own otherwise.
        seed: seeds torch, numpy and Python for the test alone.
        keep_copy_on: device for the copy of the state, or "disk"; None: beside the original. One copy of parameters
            and optimizer state is held, and a second one while a fork is trained.
        stop_when_diverged: end at a smoothed loss of four times its starting level, if that is out of the first losses'
            scatter and, for torch's cross entropy, above ln 2 (`DivergenceRule`). A non-finite loss always does.
        progress: True for a line on stderr, or a function (phase, done, total, record).
        chance: metric of a guesser; for accuracy the share of the largest class in `eval_batches` by default.
        reference_lr: the best constant learning rate, if known; the verdict measures tolerance against it. "grid"
            finds it by eight short trainings of `total_steps` each (`find_reference`), up to six more where the lowest
            rate is the best one, and needs `eval_batches` (the verdict `chance` as well, where a metric has no
            bounds); "fixed-grid" by no more than eight. Where the best one is still at an edge
            `RangeTest.reference_edge` says so, and the verdict is inconclusive.
        group_scales: one factor a param group, as in `ScheduleLR`; the ramp's learning rates are those before it.
        count: what micro-batches are weighted by, as in `train_steps`.
    Warns: `train_batches` is a DataLoader with persistent workers, whose own random states are not restored; several of
        the learning rates in `forks` come closest to the same step, which is forked once, or one lies outside the ramp
        and is forked at its end; a metric of one's own that goes with the loss, where `higher_is_better` was not given;
        `eval_batches` that are sorted by class, under batch statistics; a sampler that keeps an iterator, or a data
        set with a generator in persistent workers; a state of the optimizer, tensors that it keeps elsewhere, or those
        of its step hooks, that are not restored; a hook that writes learning rates of its own; as `train_steps`.
    Returns: a RangeTest; its `stop` says whether the ramp ended early.
    Raises:
        ValueError: a range, length or fork that is not possible; an option that would be ignored; nothing to train on;
            an iterator that the scout used up; an optimizer made for another model, or Rprop; a metric that does not
            fit the outputs, or a loss said to be better when higher.
        TypeError: a loss that is no function.
        OutOfMemory, a ValueError and a torch.OutOfMemoryError: everything is as before, and the message names a batch
        size that fits.
    Differs: from other finders in names. Their num_iter, num_it or num_training is `total_steps`; min_lr and max_lr are
        `start_lr` and `end_lr`; step_mode or mode is `shape`; val_loader is `eval_batches`; metrics is `metric`;
        diverge_th, stop_div or early_stop_threshold is `stop_when_diverged`, whose threshold is not chosen.
    """
    started = time.perf_counter()
    total_steps = DEFAULT_STEPS if total_steps is None else checks.whole("total_steps", total_steps, at_least=0)
    shape = shape or "exponential"
    device = device_of(model)
    check_parts(optimizer, loss_fn)
    check_uses_lr(optimizer)
    check_options(accumulation_steps, evaluate_every, clip_grad_norm, evaluate_with)
    check_count(count)
    check_ramp(start_lr, end_lr, total_steps, shape)
    check_forks(forks, fork_steps, total_steps, end_lr)
    check_reference(reference_lr)
    check_measured(evaluate_every, reference_lr, eval_batches, metric)
    seed = check_seed(seed)
    direction_given = higher_is_better is not None or own_direction(metric) is not None
    higher_is_better = direction(metric, higher_is_better)
    trained_parameters(model, optimizer)
    if scaler is None:
        scaler = make_scaler(precision, device.type)
    warn_of_persistent_workers(train_batches, stacklevel=3)
    LoaderOrder(train_batches).warn_of_unreachable()
    warn_of_unclear_scales(optimizer, group_scales)
    warn_of_ranks_apart(model)
    scales = own_scales(optimizer) if group_scales is None else given_scales(group_scales, optimizer)
    guess = ChanceLevel(metric, chance, ignored_label(loss_fn))
    probe = Probe(
        model,
        optimizer,
        loss_fn,
        scaler,
        eval_batches,
        guess,
        reporter(progress),
        keep_copy_on,
        {
            "accumulation_steps": accumulation_steps,
            "count": count,
            "precision": precision,
            "clip_grad_norm": clip_grad_norm,
            "split": split,
            "evaluate_with": evaluate_with,
            "group_scales": scales,
        },
    )
    fork_steps = max(2, round(FORK_FRACTION * total_steps)) if fork_steps is None else fork_steps
    copies = 1 if isinstance(forks, (int, np.integer)) and forks == 0 else 2
    evaluate_every = max(1, total_steps // EVALUATIONS) if evaluate_every is None else evaluate_every
    check_readable(eval_batches, _evaluations(total_steps, evaluate_every, forks, reference_lr))
    with naming_batch_size(probe, train_batches, copies), probe.measuring(train_batches, seed):
        if eval_batches is not None:
            probe.eval_batches = check_metric(
                model, eval_batches, metric=metric, loss_fn=loss_fn, split=split, precision=precision
            )
        source = BatchSource(train_batches)
        scout = None if end_lr is not None else _scout(probe, source)
        start_lr, end_lr = _range(start_lr, end_lr, shape, scout)
        reference = _reference(probe, source, reference_lr, end_lr, total_steps, higher_is_better)
        warn_of_capped_lr(optimizer, end_lr, probe.updates + total_steps)
        schedule = lr_ramp(total_steps, start_lr=start_lr, end_lr=end_lr, shape=shape)
        curve = probe.ramp(
            source,
            schedule,
            evaluate_every=evaluate_every,
            stop_when_diverged=stop_when_diverged,
            fork_at=_fork_positions(forks, schedule, shape, RAMP_DECADES if scout is None else FORK_DECADES),
            fork_steps=fork_steps,
        )
    if not curve.lr and curve.stop is StopReason.diverged:
        raise ValueError(NOT_FINITE)
    _check_batches(curve.stop, curve.lr, probe.updates)
    settings = {
        **describe(optimizer),
        "batch_size": curve.batch_size,
        "accumulation_steps": accumulation_steps,
        "precision": precision,
        "clip_grad_norm": clip_grad_norm,
        "seed": seed,
        "total_steps": total_steps,
        "start_lr": start_lr,
        "end_lr": end_lr,
        "fork_steps": fork_steps if curve.forks else None,
        "reference_grid": reference.to_dict(),
        "updates": probe.updates,
    }
    if evaluate_with == "batch" and has_batch_statistics(model):
        warn_of_sorted(guess)
    ramp = curve.value(
        metric_name=guess.name,
        higher_is_better=higher_is_better,
        chance=guess.level(),
        reference_lr=reference.lr,
        evaluate_with=evaluate_with if eval_batches is not None else None,
        shape=shape,
        seconds=time.perf_counter() - started,
        settings=settings,
        scout=scout,
    )
    if (callable(metric) or accumulates(metric)) and not direction_given:
        warn_of_direction(ramp)
    return ramp


def _scout(probe: Probe, source: BatchSource) -> RangeTest:
    """A short exponential ramp over everything that a learning rate can be, on a clone of the state."""
    start, end = SCOUT_RANGE
    schedule = lr_ramp(SCOUT_STEPS, start_lr=start, end_lr=end, shape="exponential")
    with probe.from_the_start():
        curve = probe.ramp(source.fork(), schedule, phase="scout")
    _check_batches(curve.stop, (), probe.updates)
    return curve.value(shape="exponential")


def _range(start_lr: float | None, end_lr: float | None, shape: str, scout: RangeTest | None) -> tuple[float, float]:
    """The ramp's ends; what was not given comes from the scout."""
    if end_lr is None:
        assert scout is not None
        end_lr = upper_end(scout)
        if start_lr is not None and start_lr >= end_lr:
            raise ValueError(
                f"start_lr={start_lr:g} is not below {end_lr:.3g}, where the scout saw training break down; pass a "
                "smaller start_lr, or end_lr as well"
            )
    if start_lr is None:
        start_lr = 0.0 if shape == "linear" else end_lr / 10**RAMP_DECADES
    return start_lr, end_lr


def _reference(
    probe: Probe,
    source: BatchSource,
    given: float | Literal["grid", "fixed-grid"] | None,
    end_lr: float,
    steps: int,
    higher_is_better: bool,
) -> Reference:
    """What was given, or what a grid finds."""
    if not isinstance(given, str):
        return Reference(given, (), ())
    extend = given == "grid"
    return find_reference(probe, source, end_lr=end_lr, steps=steps, higher_is_better=higher_is_better, extend=extend)


def _fork_positions(forks: int | Sequence[float], schedule: Schedule, shape: str, decades: float) -> frozenset[int]:
    """The steps after which the ramp forks.

    A number: equally spaced up to the last step, over the upper `decades` of an exponential ramp (below them a branch
    learns next to nothing, and closer forks tell the learning rate better). Given learning rates take the step that
    comes closest.
    """
    total = schedule.total_steps
    lrs = schedule.values()["lr"]
    if not isinstance(forks, (int, np.integer)):
        return _nearest(forks, lrs)
    first = int(np.argmax(lrs >= lrs[-1] / 10**decades)) if shape == "exponential" else 0
    first = min(first, total - int(forks))  # a short ramp: one fork a step reaches further down
    return frozenset(first + round((i + 1) * (total - first) / forks) - 1 for i in range(int(forks)))


def _nearest(forks: Sequence[float], lrs: Any) -> frozenset[int]:
    """The steps whose learning rates come closest; says which of `forks` get no branch of their own."""
    nearest: dict[int, float] = {}
    dropped = []
    for lr in forks:
        step = int(np.abs(lrs - lr).argmin())
        if abs(lrs[step] - lr) < abs(lrs[step] - nearest.setdefault(step, lr)):
            lr, nearest[step] = nearest[step], lr
        if lr != nearest[step]:
            dropped.append(lr)
    if dropped:
        names = ", ".join(f"{lr:.3g}" for lr in sorted(dropped))
        warnings.warn(
            f"{len(forks)} forks were asked for, {len(nearest)} are made: the ramp ({lrs[0]:.3g} to {lrs[-1]:.3g} in "
            f"{len(lrs)} steps) has no step of their own for {names}; pass a larger end_lr or total_steps",
            stacklevel=4,
        )
    outside = [f"{lr:.3g}" for lr in sorted(forks) if not lrs[0] <= lr <= lrs[-1] * (1 + 1e-9)]
    if outside:
        warnings.warn(
            f"the ramp goes from {lrs[0]:.3g} to {lrs[-1]:.3g}: the forks at {', '.join(outside)} are made at its end "
            "that is closer; pass start_lr and end_lr",
            stacklevel=4,
        )
    return frozenset(nearest)


def _evaluations(total_steps: int, every: int, forks: int | Sequence[float], reference_lr: float | str | None) -> int:
    """How many there may be along the ramp, after its forks and of the grid."""
    branches = int(forks) if isinstance(forks, (int, np.integer)) else len(forks)
    grid = {"grid": MOST_TRAININGS, "fixed-grid": GRID_POINTS + 2}
    return -(-total_steps // every) + branches + (grid[reference_lr] if isinstance(reference_lr, str) else 0)


def _check_batches(stop: StopReason, lr: Sequence[float], updates: int) -> None:
    """Raise ValueError where an iterator ran dry before the ramp had a point."""
    if stop is StopReason.batches_exhausted and not lr:
        raise ValueError(
            f"train_batches is an iterator that ran dry after {updates} updates, before the ramp began: the scout "
            f"({SCOUT_STEPS} updates, where end_lr is not given) and the grid of reference_lr draw from it, too; pass "
            "a re-iterable such as the DataLoader itself, or start_lr, end_lr and total_steps for the batches there are"
        )
