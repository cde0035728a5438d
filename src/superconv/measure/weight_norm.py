"""The norm of a network's scale-invariant weights: a plateau in the learning rate can be these growing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ..restore.sharded import whole

# For a weight w whose scale does not matter (one that a normalisation follows), w . grad = 0 exactly (Euler). In
# float32 the cosine is then about 1e-7; in other weights at a random point it is 1e-3 and more.
ORTHOGONAL = 1e-5


def is_scale_invariant(weight: torch.Tensor, gradient: torch.Tensor) -> bool:
    """Whether the loss does not depend on the weight's scale, by w . dL/dw = 0 (Euler's identity)."""
    scale = float(weight.norm() * gradient.norm())
    return scale > 0 and abs(float(torch.dot(weight.reshape(-1), gradient.reshape(-1)))) <= ORTHOGONAL * scale


def joint_norm(weights: Sequence[torch.Tensor]) -> float:
    """sqrt(sum |w|^2); NaN without any."""
    norms = [whole(norm) for norm in torch._foreach_norm(list(weights))] if weights else []
    return float(torch.stack(norms).norm()) if norms else float("nan")


class ScaleInvariantNorm:
    """|w| over all weights w (two or more dimensions) with w . dL/dw = 0 at the first update.

    A context: inside it, until `identify`, hooks read weight and gradient in the backward pass, while the weight is
    still the one that the gradient belongs to. So no copy of the weights is kept, and no hook is left behind.

    Reference: the effective learning rate of such weights is lr / |w|^2 (van Laarhoven, arXiv 1706.05350v1, Sec. 3).
    """

    def __init__(self, model: nn.Module) -> None:
        self._candidates = [p for p in model.parameters() if p.ndim >= 2 and p.requires_grad]
        self._seen: dict[int, tuple[torch.Tensor, ...]] = {}  # candidate -> w . g, |w|, |g|
        self._hooks: list[Any] = []
        self._weights: list[torch.Tensor] = []

    def __enter__(self) -> ScaleInvariantNorm:
        for index, parameter in enumerate(self._candidates):
            self._hooks.append(parameter.register_post_accumulate_grad_hook(partial(self._look, index)))
        return self

    def __exit__(self, *error: object) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    @torch.no_grad()
    def _look(self, index: int, parameter: torch.Tensor) -> None:
        gradient = parameter.grad
        if gradient is None or gradient.is_sparse:
            return
        self._seen[index] = (parameter * gradient).sum(), parameter.norm(), gradient.norm()

    def identify(self) -> None:
        """Call at the first record: decides by the last gradient seen, and takes the hooks away."""
        self.__exit__()
        for index in sorted(self._seen):  # all ranks in the same order
            inner, size, slope = (whole(number) for number in self._seen[index])
            scale = size * slope
            if bool(scale > 0) and bool(inner.abs() <= ORTHOGONAL * scale):
                self._weights.append(self._candidates[index].detach())
        self._seen.clear()

    def __call__(self) -> float:
        """The joint norm now; NaN where no weight is scale-invariant."""
        return joint_norm(self._weights)
