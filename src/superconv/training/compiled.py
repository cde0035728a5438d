"""`torch.compile`, and the layers for which it is known to give wrong gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import compile as torch_compile
from torch import nn

GRAPHS = 64  # of one forward method; torch gives up after 8, silently: a claim of the paper has more networks than that


def wrongly_differentiated(model: nn.Module) -> list[str]:
    """Names of layers whose compiled gradient is wrong: average pools with windows that overhang the image.

    With `ceil_mode=True` and `count_include_pad=True` (torch's default) Inductor's backward pass divides every window
    by the whole kernel's size, though the forward pass divides those at the border by what they cover (pytorch issue
    198119; seen in 2.13). Nothing fails: ResNet-8's gradient was 2% off, single layers' 15%. Without padding
    `count_include_pad=False` means the same, and is right.

    Args:
        model: looked through for `nn.AvgPool1d`, `nn.AvgPool2d` and `nn.AvgPool3d`; what a forward method calls by
            itself (`F.avg_pool2d`) is not seen.
    """
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d))
        and module.ceil_mode
        and module.count_include_pad
        and getattr(module, "divisor_override", None) is None
    ]


def compiled(model: nn.Module, forward: nn.Module | None = None) -> Callable[..., Any]:
    """The model through `torch.compile`, for batches of one size.

    Sizes that vary are not compiled for, since that costs several times the tracing and some of the speed: a batch of
    another size is compiled again. `evaluate` runs what is inside (`distributed.inner_module`).

    Args:
        model: looked through by `wrongly_differentiated`.
        forward: what is compiled, where that is not the model itself but something around it.
    Warns: layers whose gradient would be wrong, and what to write instead.
    """
    layers = wrongly_differentiated(model)
    if layers:
        warnings.warn(
            f"compile: torch's compiler divides gradients of average pools with ceil_mode=True and "
            f"count_include_pad=True wrongly (pytorch issue 198119): {', '.join(layers[:3])}"
            f"{' ...' if len(layers) > 3 else ''}; give them count_include_pad=False (the same without padding), or "
            "train without compile",
            stacklevel=2,
        )
    limits = torch._dynamo.config
    limits.recompile_limit = max(GRAPHS, limits.recompile_limit)
    return torch_compile(model if forward is None else forward, dynamic=False)
