"""All random states: read, written back, and as plain data that `torch.load(weights_only=True)` accepts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

# Each keeps a state of its own; SystemRandom, one of Python's, has none.
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def get_state(generator: Any) -> Any:
    """The state of a generator of torch, numpy or Python."""
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return None if isinstance(generator, random.SystemRandom) else generator.getstate()
    return generator.get_state()


def set_state(generator: Any, state: Any) -> None:
    """Write back what `get_state` gave."""
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif not isinstance(generator, random.Random):
        generator.set_state(state)
    elif state is not None:
        generator.setstate(state)


def get_random_states(generators: Sequence[torch.Generator] = ()) -> dict[str, Any]:
    """The states of Python, numpy, torch, every CUDA device and `generators`; cheap enough for every epoch."""
    states: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "generators": [generator.get_state() for generator in generators],
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state_all()
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Any], generators: Sequence[torch.Generator] = ()) -> None:
    """Undo everything drawn since `get_random_states`; takes its result, or the `plain` form of it.

    CUDA states are skipped where this machine has another number of devices: nothing exact can be done there.
    """
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    for generator, state in zip(generators, states["generators"], strict=True):
        generator.set_state(state)
    if "cuda" in states and torch.cuda.is_available() and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def seed_random_states(seed: int) -> None:
    """Seed Python's, numpy's and torch's (on all devices) global random states."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def plain(states: dict[str, Any]) -> dict[str, Any]:
    """The same states in lists, numbers and tensors alone (numpy's tuple is refused by `weights_only=True`)."""
    version, words, gauss = states["python"]
    name, keys, position, has_gauss, cached = states["numpy"]
    return {
        **states,
        "python": [version, list(words), gauss],
        "numpy": [str(name), [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
    }
