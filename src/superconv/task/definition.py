"""Task: model, data, loss and metric, and never a hyper-parameter."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from ..full_memory import is_out_of_memory
from ..models.seeding import seeded
from .failure import told
from .handed_out import handed_out
from .loss_function import LossFunction, check_no_class, loss_module
from .metrics import Metric, accumulates, metric_function

if TYPE_CHECKING:
    from ..data import Splits


def own_direction(metric: str | Metric | None) -> bool | None:
    """The attribute `higher_is_better` of an object that accumulates; None where it does not say."""
    own = getattr(metric, "higher_is_better", None) if accumulates(metric) else None
    return own if isinstance(own, bool) else None


def direction(metric: str | Metric | None, higher_is_better: bool | None) -> bool:
    """Whether a higher metric is the better one: what was said, else True for all but "loss".

    An object that accumulates says it by its attribute `higher_is_better`, as those of torchmetrics do.

    Raises: ValueError: it was said of "loss".
    """
    by_loss = isinstance(metric, str) and metric == "loss"  # objects may answer == by an object of their own
    if higher_is_better is None:
        own = own_direction(metric)
        return not by_loss if own is None else own
    if by_loss and higher_is_better:
        raise ValueError("metric='loss' with higher_is_better=True would choose the worst: leave higher_is_better out")
    return higher_is_better


@dataclass(frozen=True)
class Task:
    """What is trained. How (learning rate, batch size, length, ...) belongs to a recipe or an arm.

    Args:
        name: identifies the task in run directories and tables.
        model: makes a model with fresh weights; called once per run, under the run's seed. Parts that calls share
            must stay as they are (`build_model`): let it build them anew, or copy.deepcopy them.
        data: the splits it is trained, tuned and tested on.
        loss: (outputs, targets) -> mean over the batch; torch's cross entropy by default. Of a module every run gets a
            copy: its parameters are trained with the model's, its buffers are in the checkpoints, the task's own stays.
        metric: "accuracy", "top5_accuracy", "loss", None, a function (outputs, targets) -> one value per sample
            or their mean, or an object with update, compute and reset (`Accumulating`).
        higher_is_better: of the metric; False for an error. None: what such an object says (its attribute of that
            name), else True, but for "loss" False.
        split: batch -> (inputs, targets), where a batch is no pair.
        chance: metric of a guesser, which the verdict of a range test is measured from and a training that diverged
            counts as; None: of an accuracy the share of the largest class, else not known.
        count: batch -> what its loss is a mean over (the valid tokens, say), by which micro-batches are weighted.
            None: the labels that count where the loss ignores some, else the samples.
    Raises: ValueError: a part of the wrong kind; a loss that is said to be better when higher. TypeError: a loss that
        is a class.
    Example:
        >>> from superconv.data import Splits
        >>> import torch
        >>> part = torch.zeros(8, 4), torch.arange(8) % 2
        >>> task = Task("tiny", model=lambda: nn.Linear(4, 2), data=Splits(part, None, part, 2))
        >>> task.build_model(seed=0).out_features
        2
    """

    name: str
    model: Callable[[], nn.Module]
    data: Splits
    loss: LossFunction = F.cross_entropy
    metric: str | Metric | None = "accuracy"
    higher_is_better: bool = None  # type: ignore[assignment]  # None becomes True or False
    split: Callable[[Any], tuple[Any, Any]] | None = None
    chance: float | None = None
    count: Callable[[Any], Any] | None = None

    def __post_init__(self) -> None:
        from ..data import Splits

        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"task name: got {self.name!r}, allowed are non-empty strings")
        if isinstance(self.model, nn.Module):
            raise ValueError(
                f"task {self.name!r}: model is a module, a function that makes one is needed, so that every run has "
                "fresh weights; pass model=lambda: Net(...)"
            )
        check_no_class(f"task {self.name!r}: loss", self.loss)
        for part in ("model", "loss", "split", "count"):
            value = getattr(self, part)
            if not callable(value) and not (part in ("split", "count") and value is None):
                raise ValueError(f"task {self.name!r}: {part} must be a function, got {value!r}")
        if not isinstance(self.data, Splits):
            raise ValueError(
                f"task {self.name!r}: data must be superconv.Splits, got {type(self.data).__name__}; "
                "wrap it: Splits(train, validation, test, num_classes) (without the last for a regression)"
            )
        metric_function(self.metric)
        if self.chance is not None and not _is_number(self.chance):
            raise ValueError(f"task {self.name!r}: chance must be a finite number or None, got {self.chance!r}")
        object.__setattr__(self, "higher_is_better", direction(self.metric, self.higher_is_better))

    def build_model(self, seed: int | None = None) -> nn.Module:
        """A model with fresh weights.

        What models of a task share (a backbone that is frozen, constants) must not change: a parameter or buffer that
        comes back with another content than it was handed out with first, and that `model` has not written to
        either, would start this run where an earlier one ended (`HandedOut`).

        Args:
            seed: drawn under this seed, with all global random states left as they were; None: from those states.
        Raises: ValueError: `model` failed, returned no module, or one that an earlier run has changed.
        """
        shared = handed_out(self.name)
        before = shared.now()
        with seeded(seed):
            try:
                model = self.model()
            except SystemExit as error:  # else the program would end in silence, as if all were done
                raise ValueError(f"task {self.name!r}: model() ended the program (SystemExit: {error})") from error
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                raise ValueError(f"task {self.name!r}: model() failed with {told(error)}") from error
        if not isinstance(model, nn.Module):
            raise ValueError(f"task {self.name!r}: model() must return a torch.nn.Module, got {type(model).__name__}")
        changed = shared.changed(model, before)
        if changed is not None:
            raise ValueError(
                f"task {self.name!r}: model() returned {changed!r} as what came before has left it, so that this run "
                "would go on where that one ended; build it anew in every call, or take copy.deepcopy(...) of what "
                "calls share"
            )
        return model

    def build_loss(self, device: torch.device | str | None = None) -> LossFunction:
        """The loss of one run: a copy on `device` where it is a module (or a method or partial of one).

        Raises: ValueError: it cannot be copied.
        """
        if loss_module(self.loss) is None:
            return self.loss
        try:
            loss = copy.deepcopy(self.loss)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise ValueError(
                f"task {self.name!r}: every run needs a loss of its own, and this module cannot be copied "
                f"({type(error).__name__}: {error}); let copy.deepcopy take it, or pass a function"
            ) from error
        module = loss_module(loss)
        assert module is not None
        module.to(device)
        return loss


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
