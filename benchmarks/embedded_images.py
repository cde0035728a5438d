"""The embedded MNIST images as float tensors, for tools that take any torch data set."""

from __future__ import annotations

import functools

import torch

import superconv as sc

MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's training pixels in [0, 1]

Tensors = tuple[torch.Tensor, torch.Tensor]


@functools.cache
def images() -> tuple[Tensors, Tensors]:
    """(training, validation): inputs (N, 1, 28, 28) float32 and targets (N,)."""
    splits = sc.data.load("mnist5k")

    def tensors(part: object) -> Tensors:
        return (part.inputs.float() / 255 - MEAN) / DEVIATION, part.targets  # type: ignore[attr-defined]

    return tensors(splits.train), tensors(splits.validation)
