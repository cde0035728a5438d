"""A loss given as a class is named wherever a loss function goes in."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import superconv as sc
from superconv.measure.curvature.objective import BatchObjective

BATCHES = [(torch.randn(8, 4), torch.arange(8) % 2)] * 20
SPLITS = sc.Splits(BATCHES[0], None, BATCHES[0], 2)


def made() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(4, 2)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


WAYS: dict[str, Callable[[Any], Any]] = {
    "evaluate": lambda loss: sc.evaluate(made()[0], BATCHES, loss),
    "lr_range_test": lambda loss: sc.lr_range_test(*made(), loss, BATCHES),
    "train": lambda loss: sc.train(*made(), loss, BATCHES, sc.constant(2, lr=0.1)),
    "train_steps": lambda loss: next(sc.train_steps(*made(), loss, BATCHES, sc.constant(2, lr=0.1))),
    "LRMonitor": lambda loss: sc.LRMonitor(*made(), loss, BATCHES),
    "BatchObjective": lambda loss: BatchObjective(made()[0], loss, BATCHES[:1]),
    "Task": lambda loss: sc.Task("small", lambda: made()[0], SPLITS, loss),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_class_is_refused_with_what_to_pass(way: str) -> None:
    words = r"loss(_fn)?: got the class CrossEntropyLoss, pass an instance: CrossEntropyLoss\(\)"
    with pytest.raises(TypeError, match=words):
        WAYS[way](nn.CrossEntropyLoss)
    WAYS[way](nn.CrossEntropyLoss())
