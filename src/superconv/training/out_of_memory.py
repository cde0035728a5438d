"""Out of memory: which batch size would have fitted, found by trying."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ..data.moving import moves_itself
from ..full_memory import is_out_of_memory


class OutOfMemory(torch.OutOfMemoryError, ValueError):
    """The device's memory does not hold what was asked for; the message names a batch size that it holds."""


def release(error: BaseException) -> None:
    """Give back what the frames that `error` went through still hold: activations, and the graph behind them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__  # type: ignore[assignment]
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@dataclass(frozen=True)
class Trial:
    """How to find out what fits.

    Args:
        update: does one update with a batch; it may fail.
        batch: what was too much, a nest of tensors.
        samples: how many it holds.
    """

    update: Callable[[Any], object]
    batch: Any
    samples: int


@contextmanager
def naming_what_fits(
    trial: Callable[[], Trial | None], device: torch.device, *, elsewhere: str, afterwards: str
) -> Iterator[None]:
    """Turn a refused allocation of the block into an `OutOfMemory` that names a batch size.

    Args:
        trial: called when that has happened; None where nothing can be tried.
        device: for the message.
        elsewhere: remedy where one update fits by itself.
        afterwards: what is left now, a sentence.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        release(error)
        made = trial()
        if made is None or not _can_be_cut(made.batch):
            advice = "use a smaller batch size"
        else:
            advice = _advice(_largest(made), made.samples, elsewhere)
        raise OutOfMemory(f"out of memory on {device}; {advice}. {afterwards}") from error


def _largest(trial: Trial) -> int:
    """The largest batch one update fits at: the trial's, or its half, quarter, ...; 0: not even one sample."""
    size = trial.samples
    while size >= 1:
        try:
            trial.update(first(trial.batch, size, trial.samples))
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            release(error)
        size //= 2
    return size


def _can_be_cut(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_can_be_cut, value.values()))
    if isinstance(value, (tuple, list)) and not moves_itself(value):
        return all(map(_can_be_cut, value))
    return not moves_itself(value)


def _advice(size: int, samples: int, elsewhere: str) -> str:
    if size == 0:
        return "not even one sample fits; use a smaller model or another device"
    if size == samples:
        return f"one update of {samples} samples alone fits, so that something else took the rest; {elsewhere}"
    return (
        f"a batch of {samples} does not fit, {size} does (one update was tried); use batch size {size}, with "
        f"{-(-samples // size)} accumulation steps for as many samples an update"
    )


def first(value: Any, size: int, samples: int) -> Any:
    """The first `size` samples of a nest of tensors; what is not `samples` long is left whole."""
    if isinstance(value, torch.Tensor):
        return value[:size] if value.ndim and value.shape[0] == samples else value
    if isinstance(value, Mapping):
        return {name: first(item, size, samples) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(first(item, size, samples) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(first(item, size, samples) for item in value)
    return value
