"""Caffe's weight fillers, as the paper's network files name them."""

from __future__ import annotations

import math

from torch import Tensor, nn


def fan_in(weight: Tensor) -> int:
    """Inputs that reach one output: elements per first index (in / groups x kernel area for a convolution)."""
    return weight[0].numel()


def msra(weight: Tensor) -> None:
    """Gaussian with standard deviation sqrt(2 / fan_in), in place.

    Reference: He et al., arXiv 1502.01852v1, Eq. 10; Caffe's `msra` filler.
    """
    nn.init.normal_(weight, std=math.sqrt(2.0 / fan_in(weight)))


def xavier(weight: Tensor) -> None:
    """Uniform in +-sqrt(3 / fan_in), in place.

    Reference: Caffe's `xavier` filler, which by default counts the inputs alone (torch's averages fan in and fan out).
    """
    bound = math.sqrt(3.0 / fan_in(weight))
    nn.init.uniform_(weight, -bound, bound)


def gaussian(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    """Weights of a Gaussian of that width, biases 0, in place. Reference: Caffe's `gaussian` filler."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


_FILLERS = {"msra": msra, "xavier": xavier}


def initialise(model: nn.Module, *, convolutions: str = "msra", linear: str = "xavier") -> None:
    """Fill every convolution and linear layer; biases become 0. BatchNorm keeps torch's 1 and 0, which are Caffe's too.

    Args:
        model: filled in the order of `model.modules()`.
        convolutions: "msra" or "xavier".
        linear: the same for linear layers.
    Raises: ValueError: another name.
    """
    for name in (convolutions, linear):
        if name not in _FILLERS:
            raise ValueError(f"initialisation: got {name!r}, allowed are {' and '.join(_FILLERS)}")
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            _FILLERS[convolutions if isinstance(module, nn.Conv2d) else linear](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
