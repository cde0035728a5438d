"""The loss function that a user gave, looked at before it is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

LossFunction = Callable[[Any, Any], Tensor]
"""(outputs, targets) -> mean loss over the batch."""


def check_no_class(name: str, loss_fn: Any) -> None:
    """Torch's losses are classes and functions; a class takes (outputs, targets) for its options, and fails elsewhere.

    Args:
        name: of the argument.
    Raises: TypeError: it is a class.
    """
    if isinstance(loss_fn, type):
        raise TypeError(f"{name}: got the class {loss_fn.__name__}, pass an instance: {loss_fn.__name__}()")


def loss_module(loss_fn: Any) -> nn.Module | None:
    """The module that the loss is, or that it is a method or a partial of; None for a plain function.

    What a function merely encloses (a lambda around a module) is not seen: pass the module itself.
    """
    if isinstance(loss_fn, functools.partial):
        return loss_module(loss_fn.func)
    owner = getattr(loss_fn, "__self__", loss_fn)  # of a bound method
    return owner if isinstance(owner, nn.Module) else None
