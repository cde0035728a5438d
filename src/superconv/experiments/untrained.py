"""What a network is worth before it is trained: the level of a training that diverged, where no guesser's is known."""

from __future__ import annotations

import math

from ..restore.preserve import preserved
from ..task import Task
from ..training.evaluate import evaluate
from .arm_parts import for_evaluation, loss_of, model_of, splits_of
from .config import Arm
from .device import choose_device


def untrained_metric(task: Task, arm: Arm, split: str, device: str | None = None, seed: int = 0) -> float | None:
    """The task's metric of the arm's network at its initialisation; None where it is not a number.

    Args:
        split: "test" or "validation".
        device: None: a GPU where there is one.
        seed: of the initialisation.
    """
    place = choose_device(device)
    splits = splits_of(task.data, arm)
    with preserved():
        model = model_of(task, arm, seed, place)
        memory = {"device": place, "preparation": splits.preparation}
        batches = for_evaluation(getattr(splits, split), arm, memory)
        assert batches is not None
        loss = loss_of(task, arm, place)
        value = evaluate(model.eval(), batches, loss, metric=task.metric, split=task.split).metric
    return value if value is not None and math.isfinite(value) else None
