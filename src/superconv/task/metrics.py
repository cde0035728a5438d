"""What a model's outputs are worth: metrics by name, and whether outputs fit the targets at all."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from ..double import double
from ..near_names import near
from .labels import counts, ignored_label

Function = Callable[[Any, Any], Any]
CLASSES_SECOND = "classes come second, as in torch's cross_entropy: outputs.transpose(1, 2), or pass metric=function"
SAME_LOSS = 1e-3  # relative: outputs may be of half precision
SUM_TOLERANCE = 0.02  # of soft labels, which may be of half precision


class Accumulating(Protocol):
    """A metric of the whole evaluation set (F1, R2, RMSE), which no mean over batches is; torchmetrics has many."""

    def update(self, outputs: Any, targets: Any, /) -> Any:
        """Take in a batch."""

    def compute(self) -> Any:
        """The metric of everything since `reset`: one number."""

    def reset(self) -> Any:
        """Forget."""


Metric = Function | Accumulating


class Counted(NamedTuple):
    """What a metric returns where not every place counts (padding, ignored labels).

    Args:
        values: (N,) of every sample the mean over its places that count; whatever where none does.
        counted: (N,) how many of its places count.
        places: how many places a sample has in this batch.
    """

    values: Tensor
    counted: Tensor
    places: int = 1


def _classes(outputs: Any, targets: Any, name: str) -> tuple[Tensor, Tensor]:
    """Outputs (N, C, ...) and class labels (N, ...); soft targets (N, C, ...) become their largest class."""
    if not isinstance(outputs, Tensor) or outputs.dim() < 2 or outputs.shape[1] < 2:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"metric {name!r}: got outputs {got}, it needs a tensor (samples, classes, ...) with two classes or more; "
            "pass metric='loss' (for a regression, say), or metric=function(outputs, targets) -> one value a sample"
        )
    if not isinstance(targets, Tensor):
        raise ValueError(
            f"metric {name!r}: got targets that are a {type(targets).__name__}, it needs a tensor of class labels; "
            "pass metric=function(outputs, targets) -> one value a sample, which picks the labels, or metric='loss'"
        )
    if targets.shape == outputs.shape:
        targets = _largest_class(targets, name)
    if targets.shape != outputs.shape[:1] + outputs.shape[2:]:
        if targets.shape == outputs.shape[:-1]:
            got = f"got outputs {tuple(outputs.shape)} for targets {tuple(targets.shape)}"
            raise ValueError(f"metric {name!r}: {got}; {CLASSES_SECOND}")
        raise ValueError(
            f"metric {name!r}: got targets {tuple(targets.shape)} for outputs {tuple(outputs.shape)}, allowed are "
            f"class labels {tuple(outputs.shape[:1] + outputs.shape[2:])}"
        )
    return outputs, targets


def _largest_class(targets: Tensor, name: str) -> Tensor:
    """Of soft targets (N, C, ...). Looking at them waits for the device, which class labels are spared.

    Raises: ValueError: they do not sum to 1 over the classes.
    """
    sums = targets.float().sum(1)
    if not bool(((sums - 1.0).abs() < SUM_TOLERANCE).all()):
        raise ValueError(
            f"metric {name!r}: the targets look multi-label: of shape {tuple(targets.shape)} like the outputs, they "
            f"sum to {sums.min():.3g} to {sums.max():.3g} over the classes, and soft labels sum to 1; pass "
            "metric=function(outputs, targets) -> one value a sample, or metric='loss'"
        )
    return targets.argmax(1)


def _correct(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    outputs, targets = _classes(outputs, targets, "accuracy")
    return outputs.argmax(1) == targets, targets


def _among_five(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    outputs, targets = _classes(outputs, targets, "top5_accuracy")
    largest = outputs.topk(min(5, outputs.shape[1]), dim=1).indices
    return (largest == targets.unsqueeze(1)).any(1), targets


def _counted(
    right: Callable[[Any, Any], tuple[Tensor, Tensor]], ignored: int | None, outputs: Any, targets: Any
) -> Any:
    """The share of right places among those that count; bit for bit the plain mean where all do."""
    correct, labels = right(outputs, targets)
    kept = counts(labels, ignored if labels is targets else None)  # soft targets have no label to ignore
    if correct.dim() == 1:
        return Counted((correct & kept).float(), kept)
    counted, places = kept.flatten(1).sum(1), correct[0].numel()
    return Counted((correct & kept).flatten(1).float().mean(1) * (places / counted), counted, places)


def _values(counted: Counted) -> Tensor:
    return torch.where(counted.counted > 0, counted.values, torch.nan)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the largest logit is the target's: (N, C, ...) and (N, ...) -> (N,) float32; a mean over pixels.

    Negative labels (torch ignores -100) do not count; NaN where none of a sample's does.
    """
    return _values(_counted(_correct, None, outputs, targets))


def top5_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 where the target is among the five largest logits (all of them where there are fewer classes).

    As for `accuracy` negative labels do not count.
    """
    return _values(_counted(_among_five, None, outputs, targets))


METRICS: dict[str, Function | None] = {"accuracy": accuracy, "top5_accuracy": top5_accuracy, "loss": None}


def accumulates(metric: Any) -> TypeGuard[Accumulating]:
    """Whether it is an object with update, compute and reset.

    Raises: ValueError: it is the class of such objects.
    """
    found = all(callable(getattr(metric, name, None)) for name in ("update", "compute", "reset"))
    if found and isinstance(metric, type):
        raise ValueError(f"metric {metric.__name__} is a class, an object of it is needed: pass {metric.__name__}(...)")
    return found


def as_new(metric: Accumulating) -> Accumulating:
    """A copy that has seen nothing."""
    twin = copy.deepcopy(metric)
    twin.reset()
    return twin


def metric_function(metric: str | Metric | None) -> Function | None:
    """The function (outputs, targets) -> one value per sample, or their mean.

    Args:
        metric: a name of `METRICS`; a function, handed back as it is; None for no metric. "loss" is None too: the
            loss is measured in any case (`Evaluation.loss`). So is what `accumulates`: it is no function of a batch.
    Raises: ValueError: an unknown name (with the nearest), or something that cannot be called.
    """
    if metric is None or accumulates(metric):
        return None
    if callable(metric):
        return metric
    if not isinstance(metric, str):
        several = isinstance(metric, (list, tuple, set, frozenset, dict))
        remedy = "one metric is taken, by which runs are judged: " if several else ""
        raise ValueError(
            f"metric {metric!r} is unknown; {remedy}pass a name ({', '.join(METRICS)}), a function (outputs, targets), "
            "an object with update, compute and reset, or None"
        )
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is unknown; {near(metric, METRICS)}, or a function (outputs, targets)")
    return METRICS[metric]


def counting_metric(metric: str | Metric | None, ignored: int | None) -> Function | None:
    """As `metric_function`, but a metric by name says which places count: not those with a label of `ignored`.

    Raises: ValueError: an unknown name.
    """
    right = {"accuracy": _correct, "top5_accuracy": _among_five}.get(metric) if isinstance(metric, str) else None
    return metric_function(metric) if right is None else functools.partial(_counted, right, ignored)


def reads_both_ways(outputs: Any, targets: Any, loss_fn: Any) -> bool:
    """Whether outputs (N, T, T) with labels (N, T) leave open which dimension the loss takes for the classes.

    Torch's own cross entropy, and whatever has an `ignore_index` like it, has them second.
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or outputs.dim() < 3:
        return False
    both = targets.shape == outputs.shape[:-1] == outputs.shape[:1] + outputs.shape[2:]
    return both and not targets.is_floating_point() and ignored_label(loss_fn) is None


def check_classes_second(outputs: Tensor, targets: Tensor, loss: Any) -> None:
    """Complain where outputs that can be read both ways have the classes last for the loss, and second for the metric.

    Both are tried: a loss with the value of the cross entropy over the last dimension, and not of that over the second,
    flattens the places itself. One that is no cross entropy cannot be told. Waits for the device.

    Raises: ValueError: the loss has the classes last.
    """
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        return  # for others to judge
    logits = double(outputs)
    labels = torch.where((targets >= 0) & (targets < outputs.shape[1]), targets.long(), -100).to(logits.device)
    second, last = F.cross_entropy(logits, labels), F.cross_entropy(logits.movedim(-1, 1), labels)
    value = double(loss)
    if bool((value - last).abs() < SAME_LOSS * last) and not bool((value - second).abs() < SAME_LOSS * second):
        raise ValueError(
            f"outputs {tuple(outputs.shape)} for targets {tuple(targets.shape)}: the loss has the classes last, the "
            f"metric has them second; {CLASSES_SECOND}"
        )


def metric_name(metric: str | Metric | None) -> str:
    """How tables and axes call a metric: its name, its function's, its class's, "none".

    Names that end in "accuracy" are those of our own, which are shares of the samples; a function that is called so
    gets brackets, since it may give percent.
    """
    if metric is None:
        return "none"
    if isinstance(metric, str):
        return metric
    name = type(metric).__name__ if accumulates(metric) else getattr(metric, "__name__", "metric")
    return f"{name}()" if name.endswith("accuracy") else name


def check_outputs(outputs: Any, targets: Any, num_classes: int | None, ignored: int | None = None) -> None:
    """Complain about a model whose outputs do not fit class labels; once, on a first batch (it waits for the device).

    Looks at outputs (N, C, ...) with integer targets (N, ...) alone: anything else is for the loss to judge.

    Args:
        outputs: what the model returned.
        targets: of the same batch; -100 is a label to be ignored, as in torch.
        num_classes: of the data; None: not known, and nothing to check.
        ignored: a further label to be ignored, the loss's `ignore_index`.
    Raises: ValueError: a wrong number of outputs or samples, a label out of range.
    """
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor) or num_classes is None:
        return
    if targets.is_floating_point() or targets.dtype == torch.bool or targets.dim() == 0:
        return
    wanted = (targets.shape[0], num_classes, *targets.shape[1:])
    if outputs.dim() > 2 and tuple(outputs.shape) == (*targets.shape, num_classes) != wanted:
        return  # classes last: for the loss and the metric to judge
    if outputs.dim() < 2 or outputs.shape[1] != num_classes:
        count = outputs.shape[1] if outputs.dim() > 1 else 1
        raise ValueError(
            f"the model has {count} outputs (shape {tuple(outputs.shape)}), the data has {num_classes} classes; "
            f"build the model with num_classes={num_classes}"
        )
    if tuple(outputs.shape) != wanted:
        raise ValueError(f"the model returned {tuple(outputs.shape)}, the batch's targets ask for {wanted}")
    labels = targets[(targets != -100) & (targets != (-100 if ignored is None else ignored))]
    if labels.numel() and (labels.min() < 0 or labels.max() >= num_classes):
        raise ValueError(
            f"labels: got {int(labels.min())} to {int(labels.max())}, allowed are 0 to {num_classes - 1}; "
            "correct the labels, or num_classes of the splits"
        )
