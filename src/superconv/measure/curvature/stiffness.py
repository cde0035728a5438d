"""How stiff a model's loss is for its optimizer at present: the largest eigenvalue, as a learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ...analysis.curvature.stability import StabilityLimit, stability_limit
from ...task.loss_function import LossFunction
from ...training.batch_source import Split
from ...training.param_groups import is_norm
from ..weight_norm import is_scale_invariant, joint_norm
from .eigenvalues import adam_preconditioner, extreme_eigenvalues
from .objective import COMPLEX, SPARSE, BatchObjective

TOLERANCE = 0.03
MAX_PRODUCTS = 40


class Stiffness:
    """The largest eigenvalue on fixed batches, and the LR at which this optimizer becomes unstable by it.

    By exact products: 4 to 16 of them, each four to six gradients of the batches. For Adam the eigenvalue is that of
    the preconditioned Hessian P^-1/2 H P^-1/2. Where param groups have different learning rates lr_k it is that of
    R^1/2 H R^1/2 (for Adam with P^-1 R in place of R), R_k = lr_k / lr_1 as they stand, so that the limit is one of
    the first group's learning rate, the others going with it. Weight decay, momentum and betas are those of the first
    param group.

    Args:
        model, loss_fn, batches, split, seed: as `BatchObjective` takes them.
        optimizer: SGD, Adam, AdamW or CaffeSGD, holding every parameter that the loss depends on.
    Raises: ValueError: an optimizer whose limit is not known or that lacks a parameter; a parameter that is complex or
        has sparse gradients; a model that cannot be differentiated twice.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        batches: Sequence[Any],
        optimizer: Optimizer,
        *,
        split: Split | None = None,
        seed: int = 0,
    ) -> None:
        self.optimizer, self.seed = optimizer, seed
        self.objective = BatchObjective(model, loss_fn, batches, split=split, seed=seed)
        self.normalised = any(is_norm(module) for module in model.modules())
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        named = zip(self.objective.names, self.objective.parameters, strict=True)
        missing = [name for name, parameter in named if id(parameter) not in held]
        if missing:
            raise ValueError(
                f"the stiffness needs an optimizer that holds every parameter, {missing[:6]} are missing; set "
                "requires_grad to False where they are not trained"
            )
        unseen = [
            f"{name} ({why})"
            for name, why in self.objective.left_out.items()
            if why in (COMPLEX, SPARSE) and id(self.objective.model.get_parameter(name)) in held
        ]
        if unseen:
            raise ValueError(f"the stiffness cannot be told: it does not see {', '.join(unseen[:6])}")
        stability_limit(type(optimizer).__name__, optimizer.param_groups[0], 1.0)  # is it known?
        pairs = zip(self.objective.parameters, self.objective.gradient(), strict=True)
        self._invariant = [p.detach() for p, g in pairs if p.ndim > 1 and is_scale_invariant(p.detach(), g)]
        self.objective.product([torch.zeros_like(p).fill_(1.0) for p in self.objective.parameters], method="exact")

    def weight_norm(self) -> float | None:
        """Joint norm of the scale-invariant weights, whose square the stiffness falls with; None without any.

        Which they are is decided once, by the gradient at the start (`weight_norm.is_scale_invariant`).
        Reference: van Laarhoven, arXiv 1706.05350v1, Sec. 3.
        """
        return joint_norm(self._invariant) if self._invariant else None

    def measure(self) -> StabilityLimit | None:
        """The present limit; None where it cannot be told.

        That is, where the loss is not finite, Adam has not met every parameter yet, or the first group alone has
        learning rate 0.
        """
        if not math.isfinite(self.objective.loss()):
            return None
        group, adam = self.optimizer.param_groups[0], isinstance(self.optimizer, Adam)
        decay = float(group.get("weight_decay") or 0.0)
        coupled = adam and not group.get("decoupled_weight_decay", type(self.optimizer).__name__ == "AdamW")
        try:
            found = extreme_eigenvalues(
                self.objective,
                ends="largest",
                tolerance=TOLERANCE,
                max_products=MAX_PRODUCTS,
                weight_decay=decay if coupled else 0.0,
                preconditioner=self._preconditioner(adam),
                seed=self.seed,
            )
        except ValueError:  # what the constructor could not see: a product overflowed, a second moment is missing
            return None
        limit = stability_limit(type(self.optimizer).__name__, group, found.largest, normalised=self.normalised)
        if len(set(self._rates())) > 1:
            limit = replace(limit, rule=f"{limit.rule}, of the first of groups with different learning rates")
        return limit

    def _rates(self) -> list[float]:
        """Of every param group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def _preconditioner(self, adam: bool) -> list[Tensor] | None:
        """P / R, where either is not 1. Raises: ValueError: it is not known."""
        found = adam_preconditioner(self.optimizer, self.objective) if adam else None
        rates = self._rates()
        if len(set(rates)) == 1:
            return found
        if rates[0] == 0.0:
            raise ValueError("no ratio to a learning rate of 0")
        found = found or [torch.ones_like(parameter) for parameter in self.objective.parameters]
        groups = zip(rates, self.optimizer.param_groups, strict=True)
        ratio_of = {id(parameter): rate / rates[0] for rate, group in groups for parameter in group["params"]}
        ratios = [ratio_of[id(parameter)] for parameter in self.objective.parameters]
        return [
            each / ratio if ratio else torch.full_like(each, math.inf)
            for each, ratio in zip(found, ratios, strict=True)
        ]
