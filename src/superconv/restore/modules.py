"""Modules, brought back: parameters, buffers, flags and plain attributes."""

from __future__ import annotations

from typing import Any

from torch import nn

from .kept import Kept, Restore, run_all
from .module_attributes import plain_attributes
from .sharded import reshard
from .tensors import buffer_restore, parameter_restore


def module_restore(module: nn.Module, kept: Kept) -> Restore:
    """The same parameters and buffers under the same names, with content and gradients; flags and plain attributes."""
    reshard(module)
    restores: list[Restore] = []
    tables: list[tuple[dict[str, Any], dict[str, Any]]] = []
    parts = list(module.modules())
    for part in parts:
        tables += [(part._parameters, dict(part._parameters)), (part._buffers, dict(part._buffers))]
    flags = [(part, part.training) for part in parts]
    restores += [parameter_restore(parameter, kept) for parameter in module.parameters()]
    restores += [buffer_restore(buffer, kept) for buffer in module.buffers()]
    restores.append(plain_attributes(parts))

    def restore() -> None:
        reshard(module)
        for table, saved in tables:
            table.clear()
            table.update(saved)
        for part, training in flags:
            part.training = training
        run_all(restores)

    return restore
