"""The device of a run: the one that was named, or a GPU where there is one."""

from __future__ import annotations

import os

import torch

from ..error_lines import line_of
from ..near_names import meant
from ..training.distributed import is_distributed, rank

_USUAL = ("cpu", "cuda", "mps", "xpu")
_GPU = ("gpu", "nvidia", "rocm", "amd", "hip")  # what torch calls "cuda", AMD's too


def choose_device(device: torch.device | str | None) -> torch.device:
    """The named device; for None a GPU where there is one. Of a job's ranks on one machine each has a GPU of its own.

    Raises: ValueError: this machine does not have it, or not one for every rank.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if str(name) == "cuda" and is_distributed() and torch.cuda.is_available():
        own, there = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if own >= there:
            raise ValueError(f"rank {rank()} has no GPU: this machine has {there}; start {there} ranks, or use 'cpu'")
        name = f"cuda:{own}"
        torch.cuda.set_device(own)
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(name)!r} cannot be used here{_reason(str(name), line_of(error))}") from None


def _reason(name: str, said: str) -> str:
    """The rest of the sentence, from what torch says: why, and what to use.

    torch lists every kind of device that it was ever built for, and its own insides where a kind is not built in.
    """
    if said.startswith("Expected one of"):
        kind = name.partition(":")[0]
        hint = "did you mean 'cuda'? " if kind.lower() in _GPU else meant(kind, _USUAL)
        return f": torch knows no {kind!r}; {hint}usual are {', '.join(_USUAL)}"
    return f" ({said.partition('. ')[0]}); use 'cpu', or leave it out"


def device_name(device: torch.device) -> str:
    """How a run records its device: a GPU by its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def device_settings(device: torch.device) -> dict[str, bool]:
    """What decides about the numbers of a GPU besides its name: "tf32" is torch's default for convolutions in fp32."""
    if device.type != "cuda":
        return {}
    cudnn = torch.backends.cudnn
    return {"tf32": _convolves_in_tf32(), "cudnn_benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}


def _convolves_in_tf32() -> bool:
    """By the setting for convolutions alone (torch 2.9 has one): the older raises where recurrent layers differ."""
    own = getattr(torch.backends.cudnn, "conv", None)
    return own.fp32_precision == "tf32" if own is not None else torch.backends.cudnn.allow_tf32
