"""Tensors, parameters and gradients, brought back in the same objects."""

from __future__ import annotations

from functools import partial

import torch

from .copies import Copies
from .expanded import write
from .kept import Kept, Restore, nothing, run_all
from .sharded import shard


def tensor_restore(tensor: torch.Tensor, copies: Copies) -> Restore:
    """The same tensor object with the same content again, and with the same storage (but for sparse tensors)."""
    tensor = shard(tensor)
    saved = copies.keep(tensor)
    if tensor.layout is not torch.strided:
        return lambda: _sparse(tensor, saved())
    storage = tensor.data  # a view: brings the old storage back where `.data` was exchanged

    def restore() -> None:
        if tensor.data_ptr() != storage.data_ptr() or tensor.shape != storage.shape:
            tensor.data = storage
        write(tensor, saved())

    return restore


def _sparse(tensor: torch.Tensor, saved: torch.Tensor) -> None:
    """Content and number of entries as before. CSR and its kin ignore an exchange of `.data`; the others need it."""
    if tensor.layout in (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc):
        with torch.no_grad():
            if tensor._nnz() != saved._nnz():
                tensor.resize_as_sparse_(saved)
            tensor.copy_(saved)
    else:
        tensor.data = saved.to(tensor.device, copy=True)


def buffer_restore(buffer: torch.Tensor, kept: Kept) -> Restore:
    """Its content; whoever refers to it as well copies nothing."""
    kept.seen[id(buffer)] = buffer
    return tensor_restore(buffer, kept.copies)


def parameter_restore(parameter: torch.Tensor, kept: Kept) -> Restore:
    """Content, `.grad` (None stays None) and `requires_grad`; once, whoever else holds it."""
    if id(parameter) in kept.seen:
        return nothing
    kept.seen[id(parameter)] = parameter
    restores = [tensor_restore(parameter, kept.copies), _gradient(parameter, kept)]
    return lambda: run_all(restores)


def _gradient(parameter: torch.Tensor, kept: Kept) -> Restore:
    requires_grad, gradient = parameter.requires_grad, parameter.grad
    content: Restore = nothing
    if gradient is not None and gradient._is_view():
        content = tensor_restore(gradient, kept.copies)  # into a bucket that others write to (DistributedDataParallel)
    elif gradient is not None:
        # The block gets the copy, which it drops at its first zero_grad; the original waits unchanged. Copying its
        # content as well would hold the gradients three times.
        _lend(parameter, gradient)
        kept.renewals.append(partial(_lend, parameter, gradient))

    def restore() -> None:
        parameter.requires_grad_(requires_grad)
        parameter.grad = gradient
        content()

    return restore


def _lend(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    parameter.grad = gradient.clone()
