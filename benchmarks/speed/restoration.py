"""What a tool left changed: every part of a training's state before and after, bit for bit."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import torch
from torch import nn

from ..peers.finders import Subject, subject

ASPECTS = (
    "parameters",
    "buffers",
    "gradients",
    "requires_grad",
    "train/eval flags",
    "optimizer state",
    "param group values",
    "param group keys",
    "torch's random state",
    "numpy's random state",
    "Python's random state",
    "loader's generator",
    "same tensor objects",
)


class Network(nn.Module):
    """All that a restore can forget: frozen BatchNorm, dropout, a frozen weight, a buffer that no state_dict has."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(20, 32), nn.BatchNorm1d(32), nn.Dropout(0.2)
        self.frozen_norm, self.last = nn.BatchNorm1d(32), nn.Linear(32, 5)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.first.bias.requires_grad_(False)
        self.frozen_norm.eval()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Inputs (N, 20) -> logits (N, 5); counts the samples it saw."""
        if self.training:
            self.seen += len(inputs)
        return self.last(self.frozen_norm(self.drop(torch.relu(self.norm(self.first(inputs))))))


def warm_subject() -> Subject:
    """A network in the middle of its training: momentum, statistics and gradients are there."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    what = subject(Network(), torch.randn(640, 20), torch.randint(5, (640,)), batch_size=16, seed=0)
    what.train(5)
    what.loss.calls.clear()
    return what


def state(what: Subject) -> dict[str, Any]:
    """Copies of every aspect, by name."""
    model, optimizer = what.model, what.optimizer
    groups = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    values = (
        [p.detach() for p in model.parameters()],
        list(model.buffers()),
        [p.grad for p in model.parameters()],
        [p.requires_grad for p in model.parameters()],
        [part.training for part in model.modules()],
        [dict(optimizer.state.get(p, {})) for p in parameters],
        [group[k] for group in groups for k in ("lr", "momentum", "weight_decay")],
        [sorted(group) for group in groups],
        torch.get_rng_state(),
        list(np.random.get_state()),
        random.getstate(),
        what.loader.generator.get_state(),
        [t.data_ptr() for t in (*model.parameters(), *model.buffers())] + [id(p) for p in model.parameters()],
    )
    return copy.deepcopy(dict(zip(ASPECTS, values, strict=True)))


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The aspects that differ."""
    return [name for name in ASPECTS if not same(before[name], after[name])]


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, through lists, tuples and dicts."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and np.array_equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
