"""A block of code under its own seed, with every random state as it was afterwards."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def _cuda_is_drawn_from() -> bool:
    # asking an untouched CUDA for its state would create a context on it: memory, and seconds
    return torch.cuda.is_available() and (torch.cuda.is_initialized() or torch.get_default_device().type == "cuda")


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed python, numpy and torch (CPU and the current CUDA device) inside the block, and restore them after it.

    Args:
        seed: from 0 to 2**32 - 1 (numpy's limit); None leaves everything alone: the block draws from the global states.
    Raises: ValueError: a seed that is negative, too large or no integer.
    """
    if seed is None:
        yield
        return
    try:
        ok = int(seed) == seed and 0 <= seed < 2**32
    except (TypeError, ValueError, OverflowError):
        ok = False
    if not ok:
        raise ValueError(f"seed: got {seed!r}, allowed are integers from 0 to 2**32 - 1, or None for no seed")
    seed, cuda = int(seed), _cuda_is_drawn_from()
    states = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    cuda_state = torch.cuda.get_rng_state() if cuda else None
    try:
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.default_generator.set_state(states[2])
        if cuda_state is not None:
            torch.cuda.set_rng_state(cuda_state)
