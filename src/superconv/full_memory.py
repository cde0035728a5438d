"""Whether an error says that memory is full, which is no fault of what was being read, made or computed."""

from __future__ import annotations

import torch

# what torch's CPU and MPS allocators and CUDA itself say, in a plain RuntimeError
_REFUSED = ("can't allocate memory", "not enough memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a refused allocation, on a GPU or on a CPU, by torch or by Python and numpy."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _REFUSED)
    )
