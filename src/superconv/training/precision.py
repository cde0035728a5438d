"""Number formats and memory formats: autocast, gradient scaling, channels_last, TF32; nothing is switched unasked."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager

import torch
from torch import nn

from ..near_names import near

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = tuple(_DTYPES)
# torch's own, private tests: where a version lacks them the answer is "not known"
_CPU_HAS = {"bf16": ("_is_avx512_bf16_supported", "_is_amx_tile_supported"), "fp16": ("_is_amx_fp16_supported",)}
# What torch and Lightning call them; named in the answer, not taken: one word per thing, in every config and table.
_ELSEWHERE = {
    "float32": "fp32", "float": "fp32", "32-true": "fp32", "bfloat16": "bf16", "bf16-mixed": "bf16",
    "float16": "fp16", "half": "fp16", "16-mixed": "fp16",
}  # fmt: skip


def check_precision(precision: str) -> str:
    """The name itself.

    Raises: ValueError: not one of "fp32", "bf16" and "fp16".
    """
    if precision not in _DTYPES:
        ours = _ELSEWHERE.get(str(precision).lower().removeprefix("torch."))
        hint = f"that is {ours!r} here; allowed are {', '.join(PRECISIONS)}" if ours else near(precision, PRECISIONS)
        raise ValueError(f"precision: got {precision!r}; {hint}")
    return precision


def autocast(precision: str, device_type: str) -> AbstractContextManager[object]:
    """The context for forward passes and losses; "fp32" changes nothing and costs nothing.

    Args:
        precision: "fp32", "bf16" or "fp16" (with a gradient scaler: `make_scaler`).
        device_type: "cpu", "cuda", ...: `device.type`.
    Raises: ValueError: another precision.
    Warns: on a CPU that is not known to have instructions for it. Measured, time of a training step over that in fp32:
        bf16 about 14 with AVX2, .5 to .6 with AVX512-BF16 (ResNet-8 and 20, two linear layers); fp16 there 8 to 30.
    """
    if check_precision(precision) == "fp32":
        return contextlib.nullcontext()
    if device_type == "cpu" and not cpu_computes(precision):
        warnings.warn(f"precision {precision!r} on a CPU without instructions for it is far slower", stacklevel=2)
    return torch.autocast(device_type, dtype=_DTYPES[precision])


def cpu_computes(precision: str) -> bool:
    """Whether this CPU is known to have instructions for "bf16" or "fp16"; torch tells of x86 alone."""
    known = (getattr(torch.cpu, name, None) for name in _CPU_HAS[precision])
    return any(has() for has in known if has is not None)


def make_scaler(precision: str, device_type: str) -> torch.amp.GradScaler | None:
    """A gradient scaler where the precision needs one ("fp16" alone: bf16 has fp32's range), else None.

    Args:
        precision: "fp32", "bf16" or "fp16".
        device_type: "cpu", "cuda", ...: `device.type`.
    Raises: ValueError: another precision.
    """
    return torch.amp.GradScaler(device_type) if check_precision(precision) == "fp16" else None


def wants_channels_last(model: nn.Module, device: torch.device | str) -> bool:
    """Whether the model probably runs faster with channels as the innermost dimension of its images.

    True for a model with 2-d convolutions on a CPU or a CUDA device. Measured on two CPU cores, time of a training step
    in the default layout over that in channels_last, batch 128: LeNet 1.6, with BatchNorm 1.9, slim 1.3, slim
    with BatchNorm 1.0, ResNet-8 1.5, ResNet-20 1.3, cifar3 1.6; batch 32: ResNeXt-56 1.5, DenseNet-40 1.4, wide 1.0.
    CUDA was not measured: its tensor cores take this layout.

    Args:
        model: looked through for convolutions.
        device: where it will run.
    """
    convolutional = any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in model.modules())
    return convolutional and torch.device(device).type in ("cpu", "cuda")


def to_channels_last(model: nn.Module) -> nn.Module:
    """Lay 4-d parameters and buffers out as channels_last, in place, values as they were. Batches should follow."""
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextlib.contextmanager
def fast_matmul(enabled: bool = True) -> Iterator[None]:
    """Inside the block, fp32 matrix products may use TF32 (10 mantissa bits); afterwards the setting is as it was.

    Args:
        enabled: False changes nothing.
    Differs: torch lets cuDNN's convolutions use TF32 unasked; matrix products only with this.
    """
    before = torch.get_float32_matmul_precision()
    if enabled:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
