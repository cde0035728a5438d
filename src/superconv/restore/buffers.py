"""The buffers of modules, brought back to what they were."""

from __future__ import annotations

import torch
from torch import nn

from .copies import Copies
from .kept import Restore
from .sharded import is_sharded
from .tensors import tensor_restore


def buffers_restore(*modules: nn.Module) -> Restore:
    """What brings all buffers back: the same tensors under the same names, with the same content.

    One that has no content yet (of a lazy layer) is left to be filled.
    """
    tables = [(part._buffers, dict(part._buffers)) for module in modules for part in module.modules()]
    held = [buffer for module in modules for buffer in module.buffers() if not nn.parameter.is_lazy(buffer)]
    found = {id(buffer): buffer for buffer in held}.values()
    plain = [buffer for buffer in found if _is_plain(buffer)]
    copies = [buffer.detach().clone() for buffer in plain]
    storages = [buffer.data for buffer in plain]  # views: they bring the old storage back where `.data` was exchanged
    others = [tensor_restore(buffer, Copies(None)) for buffer in found if not _is_plain(buffer)]

    def restore() -> None:
        for table, saved in tables:
            table.clear()
            table.update(saved)
        for buffer, storage in zip(plain, storages, strict=True):
            if buffer.data_ptr() != storage.data_ptr() or buffer.shape != storage.shape:
                buffer.data = storage
        if plain:
            with torch.no_grad():
                torch._foreach_copy_(plain, copies)
        for other in others:
            other()

    return restore


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether it is copied in one go with others: of BatchNorm there are hundreds, and a copy each is felt."""
    return tensor.layout is torch.strided and not is_sharded(tensor) and tensor.is_contiguous()
