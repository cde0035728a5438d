"""One optimizer update on freshly drawn micro-batches."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..data.moving import move
from ..restore.sharded import whole
from ..task.loss_function import LossFunction
from .batch_source import BatchesExhausted, BatchSource, Split, call_model, sample_count
from .distributed import any_rank, mean_over_ranks, without_synchronisation
from .loss_value import loss_tensor
from .micro_batches import Count, weighted, weights
from .precision import autocast


class Update:
    """Draws, differentiates, steps; what stays the same from update to update is given once."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss_fn: LossFunction,
        split: Split,
        count: Count | None,
        device: torch.device,
        precision: str,
        scaler: Any | None,
        clip_grad_norm: float | None,
    ) -> None:
        self.model, self.optimizer, self.loss_fn, self.split, self.count = model, optimizer, loss_fn, split, count
        self.device, self.precision, self.scaler, self.clip = device, precision, scaler, clip_grad_norm
        self._has_gradients = False

    def __call__(self, source: BatchSource, accumulation_steps: int) -> tuple[torch.Tensor, int, Any, bool]:
        """Mean loss and samples (of all ranks), the gradient's norm where it is clipped, whether it was skipped.

        Raises: BatchesExhausted: an iterator has no more batches. ValueError: as `_check_gradients`.
        """
        batches = self._draw(source, accumulation_steps)
        drawn = [self.split(batch) for batch in batches]
        counts = [sample_count(targets, inputs) for inputs, targets in drawn]
        samples = sum(counts)
        shares = weights(batches, [targets for _, targets in drawn], counts, self.loss_fn, self.count, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss: torch.Tensor | None = None
        for index, ((inputs, targets), weight) in enumerate(zip(drawn, shares, strict=True)):
            with without_synchronisation(self.model, skip=index + 1 < accumulation_steps):
                part = self._backward(inputs, targets, weight)
            loss = part if loss is None else loss + part
        assert loss is not None
        self._check_gradients()
        grad_norm, skipped = self._step()
        loss, samples = mean_over_ranks(loss, samples)
        return loss, samples, grad_norm, skipped

    def _draw(self, source: BatchSource, count: int) -> list[Any]:
        """`count` batches. Where any rank's iterator is dry all ranks stop, instead of waiting for its gradients."""
        if not source.one_shot:
            return [source.draw() for _ in range(count)]
        drawn = []
        with suppress(BatchesExhausted):
            drawn = [source.draw() for _ in range(count)]
        if any_rank(len(drawn) < count, self.device):
            raise BatchesExhausted
        return drawn

    def _backward(self, inputs: Any, targets: Any, weight: float | torch.Tensor) -> torch.Tensor:
        inputs, targets = move(inputs, self.device), move(targets, self.device)
        if self.precision == "fp32":
            loss = self.loss_fn(call_model(self.model, inputs), targets)
        else:
            with autocast(self.precision, self.device.type):
                loss = self.loss_fn(call_model(self.model, inputs), targets)
        loss = loss_tensor(loss)
        if loss.ndim != 0:
            raise ValueError(
                f"the loss must be one number, got shape {tuple(loss.shape)}; return the mean over the batch"
            )
        loss = weighted(loss, weight)
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        return loss.detach()

    def _check_gradients(self) -> None:
        """Of the first update. Raises: ValueError: no parameter of the optimizer got one, so that it trains nothing."""
        if not self._has_gradients:
            parameters = (p for group in self.optimizer.param_groups for p in group["params"])
            self._has_gradients = any(parameter.grad is not None for parameter in parameters)
        if not self._has_gradients:
            raise ValueError(
                "no parameter of the optimizer got a gradient: the loss does not depend on them (is it made of another "
                "model, or detached?), or hooks step and clear them in the backward pass, which no optimizer sees"
            )

    def _step(self) -> tuple[torch.Tensor | None, bool]:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        grad_norm = None
        if self.clip is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            grad_norm = whole(nn.utils.clip_grad_norm_(parameters, self.clip))
        if self.scaler is None:
            self.optimizer.step()
            return grad_norm, False
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return grad_norm, self.scaler.get_scale() < scale
