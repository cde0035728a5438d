"""One pass over evaluation data, with a stated source of BatchNorm's statistics, leaving the model as it was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, islice, zip_longest
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.batches import Batches
from ..data.moving import move, moves_itself
from ..records import Evaluation
from ..restore.loader_order import LoaderOrder
from ..restore.loaders_within import has_persistent_workers, stateful_loaders
from ..restore.preserve import preserved
from ..task import Metric, counting_metric
from ..task.labels import check_takes_mean, ignored_label, label_count
from ..task.loss_function import LossFunction, check_no_class, loss_module
from ..task.metrics import accumulates, check_classes_second, reads_both_ways
from .averages import Averages
from .batch_source import Split, call_model, device_of, pair, sample_count
from .distributed import copy_from_first_rank, inner_module, is_distributed, sum_over_ranks
from .evaluation_mode import evaluation_mode
from .forward_only import ForwardOnly
from .loss_value import loss_tensor
from .precision import autocast
from .whole_metric import WholeMetric

EvaluateWith = Literal["batch", "reestimated", "running"]
EVALUATE_WITH = ("batch", "reestimated", "running")


def evaluate(
    model: nn.Module,
    batches: Iterable[Any],
    loss_fn: LossFunction,
    *,
    metric: str | Metric | None = "accuracy",
    evaluate_with: EvaluateWith = "running",
    training_batches: Sequence[Any] = (),
    split: Split | None = None,
    precision: str = "fp32",
) -> Evaluation:
    """Mean loss and metric over `batches`, weighted by true sample counts.

    Labels that the loss ignores (its `ignore_index`) and negative ones do not count in "accuracy" and "top5_accuracy",
    nor in the loss, where it has an `ignore_index` and takes a mean: where there are any, both are means over all
    labels that count. A loss with weights by class is the mean that torch takes of the whole set, by these weights. A
    loss that hides its own (a lambda around `cross_entropy`) is weighted by samples.

    BatchNorm's running statistics lag far behind in short runs, so their source is a choice:
    "running" as they are; "batch": those of the evaluated batch, so a prediction depends on its companions;
    "reestimated": the average over `training_batches` under the present weights.

    Nothing of the model is changed, nor of a loss that is a module: buffers, flags and random states are as before, and
    attributes but for what the passes record there. Both are in evaluation mode. No graph is built, unless one of them
    differentiates on its way (`ForwardOnly`). Nor are `batches` moved: those that a training draws from may be given,
    and are passed over as a whole.

    Under DistributedDataParallel the result is that of all ranks' samples, so every rank must call it (with any number
    of samples). BatchNorm's statistics are then the same on all ranks: "running" are rank 0's, which the next forward
    pass in training would spread; "reestimated" are the average of all ranks'.

    Args:
        metric: a name, a function (outputs, targets) -> one value per sample or their mean (or
            `superconv.task.Counted`, where not every place counts), an object with update(outputs, targets), compute()
            and reset() for a metric of the whole set (of which a copy is used), or None.
        training_batches: for "reestimated"; a few dozen batches' worth is plenty.
    Raises:
        ValueError: no evaluation data; an unknown `evaluate_with`; "reestimated" without training batches; "batch"
            where one sample is all there is, or does not fit to others, and has no variance.
        TypeError: a loss that is a class.
    """
    check_evaluate_with(evaluate_with)
    check_no_class("loss_fn", loss_fn)
    check_takes_mean(loss_fn, "an evaluation")
    split, measure = split or pair, counting_metric(metric, ignored_label(loss_fn))
    by_name = isinstance(metric, str) and measure is not None
    by_loss = isinstance(metric, str) and measure is None
    model = inner_module(model)
    device = device_of(model)
    averages = Averages(device)
    whole = WholeMetric(metric, device) if accumulates(metric) else None
    modules = [module for module in (loss_module(loss_fn), model) if module is not None]
    forward = ForwardOnly(*modules)
    norms = _normalising(model)

    def results(inputs: Any, targets: Any) -> tuple[Any, torch.Tensor]:
        with autocast(precision, device.type):
            outputs = _call(model, inputs, evaluate_with)
            return outputs, loss_tensor(loss_fn(outputs, targets))

    with (
        preserved(LoaderOrder(batches)), _whole_passes(batches), torch.no_grad(), evaluation_mode(*modules),
        _own_settings(norms),
    ):  # fmt: skip
        if evaluate_with == "batch":
            for norm in norms:
                norm.training, norm.track_running_stats = True, False  # batch statistics, buffers left alone
        elif evaluate_with == "reestimated" and norms:
            _reestimate(model, norms, training_batches, split, precision, forward)
            _average_over_ranks(norms)
        else:
            copy_from_first_rank(buffer for norm in norms for buffer in norm.buffers(recurse=False))
        for batch in _no_lone_sample(batches, evaluate_with):
            inputs, targets = split(batch)
            inputs, targets = move(inputs, device), move(targets, device)
            outputs, loss = forward(partial(results, inputs, targets))
            if by_name and reads_both_ways(outputs, targets, loss_fn):
                check_classes_second(outputs, targets, loss)
            by_name = False  # once is enough
            count = sample_count(targets, inputs)
            averages.add_loss(loss, count, label_count(loss_fn, targets))
            if whole is not None:
                whole.update(outputs, targets)
            elif not by_loss:
                averages.add_metric(measure(outputs, targets) if measure is not None else math.nan, count)
    evaluation = averages.evaluation(evaluate_with)
    if evaluation is None:
        used_up = ", and a re-iterable where this iterator was used up before" if is_one_shot(batches) else ""
        raise ValueError(f"the evaluation data is empty: pass at least one batch{used_up}")
    if whole is not None:
        return replace(evaluation, metric=whole.value())
    return replace(evaluation, metric=evaluation.loss) if by_loss else evaluation


@contextmanager
def _whole_passes(batches: Any) -> Iterator[None]:
    """Our `Batches`, in a wrapper too, give whole epochs in the block, wherever a training stands in them."""
    found = [each for each in stateful_loaders(batches).values() if isinstance(each, Batches)]
    before = [each.whole_passes for each in found]
    for each in found:
        each.whole_passes = True
    try:
        yield
    finally:
        for each, whole in zip(found, before, strict=True):
            each.whole_passes = whole


def is_one_shot(batches: Any) -> bool:
    """Whether it can be read once only: an iterator is what returns itself from iter()."""
    return hasattr(batches, "__next__") and iter(batches) is batches


def check_readable(batches: Any, evaluations: int) -> None:
    """Raise ValueError for an iterator that would be read for more than one evaluation."""
    if evaluations > 1 and is_one_shot(batches):
        raise ValueError(
            f"eval_batches is an iterator ({type(batches).__name__}), which can be read once, but {evaluations} "
            "evaluations will be made; pass a re-iterable (a list or a DataLoader)"
        )


def check_metric(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    metric: str | Metric | None,
    loss_fn: Any = None,
    split: Split | None = None,
    precision: str = "fp32",
) -> Iterable[Any]:
    """Try `metric` on the outputs for one of the batches, so that a misfit shows before the training and not behind it.

    Nothing is changed: flags, buffers, plain attributes, random states, where `batches` stands. Not tried where there
    is no metric, and on a DataLoader with persistent workers, whose random states would move.

    Args:
        loss_fn: the labels that it ignores do not count.
    Returns: the batches to evaluate on: `batches`, or an iterator as it was before its first batch was taken.
    Raises: what the metric raises; ValueError: it returns neither one value per sample nor their mean.
    """
    measure = counting_metric(metric, ignored_label(loss_fn))
    if (measure is None and not accumulates(metric)) or has_persistent_workers(batches):
        return batches
    by_name = isinstance(metric, str) and loss_fn is not None
    model, split = inner_module(model), split or pair
    device = device_of(model)
    modules = [module for module in (loss_module(loss_fn), model) if module is not None]
    forward = ForwardOnly(*modules)
    own_states = stateful_loaders(batches).values()
    with preserved(LoaderOrder(batches), *own_states), torch.no_grad(), evaluation_mode(*modules, on_trial=True):
        first = list(islice(batches, 1))
        for inputs, targets in map(split, first):
            inputs, targets = move(inputs, device), move(targets, device)
            with autocast(precision, device.type):
                outputs = forward(partial(call_model, model, inputs))
                if by_name and reads_both_ways(outputs, targets, loss_fn):
                    check_classes_second(outputs, targets, forward(partial(loss_fn, outputs, targets)))
            if measure is not None:
                Averages(device).add_metric(measure(outputs, targets), sample_count(targets, inputs))
            elif accumulates(metric):
                WholeMetric(metric, device).try_out(outputs, targets)
    return chain(first, batches) if is_one_shot(batches) else batches


def check_evaluate_with(value: str) -> None:
    """Raise ValueError for anything but the three sources of statistics."""
    if value not in EVALUATE_WITH:
        raise ValueError(f"evaluate_with={value!r} is unknown; use one of {', '.join(map(repr, EVALUATE_WITH))}")


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether an evaluation with batch statistics differs from one without."""
    return bool(_normalising(model))


def _normalising(model: nn.Module) -> list[_BatchNorm]:
    """Layers whose statistics an evaluation chooses.

    A BatchNorm whose training flag is off in a model that trains was frozen on purpose: it keeps its running ones.
    """
    frozen = model.training and not all(module.training for module in model.modules())
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and (module.training or not frozen)
    ]


@contextmanager
def _own_settings(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """What an evaluation sets of these layers beside flags and buffers is as before in the end."""
    momenta = [norm.momentum for norm in norms]
    joined = [norm for norm in norms if getattr(norm, "over_ranks", False)]
    for norm in joined:
        norm.over_ranks = False  # type: ignore[assignment]  # ranks may have different numbers of batches here
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.track_running_stats, norm.momentum = True, momentum
        for norm in joined:
            norm.over_ranks = True  # type: ignore[assignment]


def _average_over_ranks(norms: Sequence[_BatchNorm]) -> None:
    if is_distributed():
        for norm in norms:
            for statistic in (norm.running_mean, norm.running_var):
                assert statistic is not None
                statistic.copy_(sum_over_ranks(statistic) / dist.get_world_size())


def _reestimate(
    model: nn.Module,
    norms: Sequence[_BatchNorm],
    training_batches: Sequence[Any],
    split: Split,
    precision: str,
    forward: ForwardOnly,
) -> None:
    """Running statistics := plain average over `training_batches` under the present weights."""
    if not training_batches:
        raise ValueError("evaluate_with='reestimated' needs training batches to estimate BatchNorm's statistics from")
    device = device_of(model)
    for norm in norms:
        norm.momentum, norm.training = None, True  # None: torch's cumulative average

    def passes() -> None:
        for norm in norms:
            norm.reset_running_stats()
        for batch in training_batches:
            inputs, _ = split(batch)
            with autocast(precision, device.type):
                call_model(model, move(inputs, device))

    forward(passes)
    for norm in norms:
        norm.training = False


def _no_lone_sample(batches: Iterable[Any], evaluate_with: str) -> Iterator[Any]:
    """Under batch statistics, a batch of one sample has no variance: it joins the one after it, else the one before."""
    if evaluate_with != "batch":
        yield from batches
        return
    before: Any = None  # waits, since the next one may be the last, and lone
    lone: Any = None
    for batch in batches:
        if lone is not None and _may_join(batch, lone):
            batch, lone = _joined(lone, batch), None
        elif lone is not None and before is not None and _may_join(before, lone):
            before, lone = _joined(before, lone), None
        if lone is None and _may_join(batch, batch):
            lone = batch
            continue
        yield from (each for each in (before, lone) if each is not None)
        before, lone = (None, batch) if _may_join(batch, batch) else (batch, None)
    if lone is not None and before is not None and _may_join(before, lone):
        before, lone = _joined(before, lone), None
    yield from (each for each in (before, lone) if each is not None)


def _call(model: nn.Module, inputs: Any, evaluate_with: str) -> Any:
    """The outputs. Raises: ValueError: where torch's BatchNorm refuses one value a channel, what to do about it."""
    try:
        return call_model(model, inputs)
    except ValueError as error:
        if evaluate_with != "batch" or "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "evaluate_with='batch': a batch of one sample, with none beside it that fits, has no variance for "
            "BatchNorm; evaluate on more samples, or use evaluate_with='reestimated' or 'running'"
        ) from error


def _may_join(first: Any, second: Any) -> bool:
    """Whether `second` is one sample, in a nest of tensors that fit behind those of `first`."""
    pairs = list(_pairs(first, second))
    return len(pairs) > 0 and all(
        isinstance(a, torch.Tensor)
        and isinstance(b, torch.Tensor)
        and a.ndim > 0
        and b.shape == (1, *a.shape[1:])  # sequences padded to the batch's longest may not fit
        for a, b in pairs
    )


def _pairs(first: Any, second: Any) -> Iterator[tuple[Any, Any]]:
    """The leaves of two nests side by side; one that has no counterpart stands beside None."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in {**first, **second}:
            yield from _pairs(first.get(key), second.get(key))
    elif isinstance(first, (tuple, list)) and isinstance(second, (tuple, list)) and not moves_itself(first):
        for a, b in zip_longest(first, second):
            yield from _pairs(a, b)
    else:
        yield first, second


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, torch.Tensor):
        return torch.cat([first, second])
    if isinstance(first, Mapping):
        return {key: _joined(value, second[key]) for key, value in first.items()}
    parts = [_joined(a, b) for a, b in zip(first, second, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
