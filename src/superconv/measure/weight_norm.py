"""The norm of a network's scale-invariant weights: a plateau in the learning rate can be these growing."""

from __future__ import annotations

import torch
from torch import nn

# For a weight w whose scale does not matter (one that a normalisation follows), w . grad = 0 exactly (Euler). In
# float32 the cosine is then about 1e-7; in other weights at a random point it is 1e-3 and more.
ORTHOGONAL = 1e-5


class ScaleInvariantNorm:
    """|w| over all weights w (two or more dimensions) with w . dL/dw = 0 at the first update.

    Reference: the effective learning rate of such weights is lr / |w|^2 (van Laarhoven, arXiv 1706.05350v1, Sec. 3).
    """

    def __init__(self, model: nn.Module) -> None:
        self._candidates = [p for p in model.parameters() if p.ndim >= 2 and p.requires_grad]
        self._before: list[torch.Tensor] | None = [p.detach().clone() for p in self._candidates]
        self._weights: list[torch.Tensor] = []

    def identify(self) -> None:
        """Call at the first record: gradients are those of the weights as they were at construction."""
        assert self._before is not None, "identify() is called once"
        for parameter, before in zip(self._candidates, self._before, strict=True):
            gradient = parameter.grad
            if gradient is None or gradient.is_sparse:
                continue
            scale = before.norm() * gradient.norm()
            if bool(scale > 0) and bool((before * gradient).sum().abs() <= ORTHOGONAL * scale):
                self._weights.append(parameter.detach())
        self._before = None

    def __call__(self) -> float:
        """The joint norm now; NaN where no weight is scale-invariant."""
        if not self._weights:
            return float("nan")
        return float(torch.stack(torch._foreach_norm(self._weights)).norm())
