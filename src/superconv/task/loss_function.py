"""The loss function that a user gave, looked at before it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

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
