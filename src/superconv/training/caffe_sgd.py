"""SGD with momentum as Caffe has it: the learning rate is inside the momentum buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class CaffeSGD(Optimizer):
    """Stochastic gradient descent whose buffer remembers the learning rates under which it grew.

        v <- momentum v + lr (g + weight_decay w)
        w <- w - v                                                  plain
        w <- w - ((1 + momentum) v - momentum v_old)                nesterov

    At a constant learning rate this is `torch.optim.SGD`. Where the rate changes it is not: torch applies the current
    rate to the whole buffer, here an old gradient keeps its old rate. So in a ramp torch's steps are longer, and
    after a drop Caffe's weights coast on for about 1 / (1 - momentum) steps.

    Args:
        params: tensors or param groups.
        lr: learning rate, a number or a 0-dim tensor (reading one on a GPU waits for it).
        momentum: in [0, 1); the buffer is kept at 0 too, so that a schedule may raise it later.
        weight_decay: factor of w that is added to its gradient.
        nesterov: the second form of the step.
    Raises: ValueError: a setting out of its range. RuntimeError: a sparse gradient.
    Reference: BVLC/caffe, sgd_solver.cpp and nesterov_solver.cpp; the solver of arXiv 1708.07120.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        if not float(lr) >= 0.0:
            raise ValueError(f"lr: got {lr!r}, allowed are numbers from 0")
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum: got {momentum!r}, allowed is 0 <= momentum < 1")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay: got {weight_decay!r}, allowed are numbers from 0")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        gradients: tuple[Tensor, ...] = tuple(weight.grad for weight in weights)
        if any(gradient.is_sparse for gradient in gradients):
            raise RuntimeError("CaffeSGD: got a sparse gradient, only dense ones are allowed; use torch.optim.SGD")
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        lr, momentum = float(group["lr"]), group["momentum"]
        # in place throughout: temporaries of the weights' size cost four times the update itself on a CPU
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients, alpha=lr)
        if group["weight_decay"]:
            torch._foreach_add_(buffers, weights, alpha=lr * group["weight_decay"])
        if group["nesterov"]:
            # (1 + momentum) v - momentum v_old  =  lr (g + weight_decay w) + momentum v
            torch._foreach_mul_(weights, 1.0 - lr * group["weight_decay"])
            torch._foreach_add_(weights, gradients, alpha=-lr)
            torch._foreach_add_(weights, buffers, alpha=-momentum)
        else:
            torch._foreach_sub_(weights, buffers)
