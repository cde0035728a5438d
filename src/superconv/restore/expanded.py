"""Expanded tensors, in which one number of memory stands for many: torch refuses to write to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def once(tensor: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """A view without the repetitions of expanded dimensions (of `like`)."""
    like = tensor if like is None else like
    for dim, (size, stride) in enumerate(zip(like.shape, like.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def write(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """`tensor.copy_(value)` where dimensions may be expanded; `value` repeats itself along them."""
    with torch.no_grad():
        if _is_expanded(tensor):
            once(tensor).copy_(once(value, like=tensor))
        else:
            tensor.copy_(value)


@contextmanager
def plain_while_loaded(model: nn.Module) -> Iterator[None]:
    """Plain clones stand for the expanded parameters and buffers in the block; what they hold then is written back.

    Raises: ValueError: what a clone holds does not repeat itself, so that it cannot go back; the others did.
    """
    lent: list[tuple[str, dict[str, torch.Tensor | None], str, torch.Tensor]] = []
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is not None and _is_expanded(tensor):
                    lent.append((f"{path}.{name}".lstrip("."), table, name, tensor))
    for _, table, name, tensor in lent:
        clone = tensor.detach().clone(memory_format=torch.contiguous_format)
        table[name] = nn.Parameter(clone, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else clone
    misfits = []
    try:
        yield
    finally:
        for path, table, name, tensor in lent:
            held = table[name]
            table[name] = tensor
            assert held is not None
            if _same(held, once(held, like=tensor)):
                write(tensor, held)
            else:
                misfits.append(path)
    if misfits:
        raise ValueError(
            f"{', '.join(misfits)}: expanded in this model, so one number stands for many, but the numbers to load "
            "differ; give the model a tensor of its own there (expand(...).clone())"
        )


def _is_expanded(tensor: torch.Tensor) -> bool:
    if tensor.layout is not torch.strided or tensor.is_meta or nn.parameter.is_lazy(tensor):
        return False
    return any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool(((a == b) | ((a != a) & (b != b))).all())  # a number that is none is itself
