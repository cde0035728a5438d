"""A device in name: its tensors are computed on the CPU, but do not mix with the CPU's, and may know no float64.

What is wrong on a GPU, or on Apple's, shows without one: tensors on two devices in one operation, numpy of what is not
on the CPU, double precision where there is none; and `reads` counts how often the host waits for the device. Speed,
kernels and streams are not pretended. Two liberties of real devices are kept: numbers (0-dim) of the CPU may meet
their tensors, and `copy_` and indices may come from the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

aten = torch.ops.aten
MAY_MIX = {aten.copy_.default, aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}
READ = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
MAKERS = {
    torch.Tensor.new_tensor, torch.Tensor.new_zeros, torch.Tensor.new_ones, torch.Tensor.new_empty,
    torch.Tensor.new_full,
}  # fmt: skip


class Elsewhere(torch.Tensor):
    """A tensor that says it lies on the device; `held` is where it is computed."""

    held: torch.Tensor
    place: PretendedDevice

    @staticmethod
    def __new__(cls, held: torch.Tensor, place: PretendedDevice) -> Elsewhere:
        if held.dtype == torch.float64 and not place.has_double:
            raise TypeError(f"Cannot convert a {place.name} tensor to float64, which the device does not support")
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            layout=held.layout, device=held.device,
        )  # fmt: skip
        made.held, made.place = held, place
        return made

    @property
    def device(self) -> torch.device:
        return self.place.name

    @property
    def is_cpu(self) -> bool:
        return False

    @property
    def is_cuda(self) -> bool:
        return self.place.name.type == "cuda"

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def tolist(self) -> Any:
        self.place.reads += 1
        return self.held.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            copied = Elsewhere(self.held.clone(), self.place)
            if isinstance(self, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, self.requires_grad)
            memo[id(self)] = copied
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)  # loaded on the CPU, as with map_location

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves, spec = tree_flatten((args, kwargs or {}))
        here = [leaf for leaf in leaves if isinstance(leaf, Elsewhere)]
        strangers = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, Elsewhere)]
        place = here[0].place
        if func not in MAY_MIX and any(stranger.ndim for stranger in strangers):
            raise RuntimeError(f"Expected all tensors to be on the same device, found {place.name} and cpu, in {func}")
        place.reads += func in READ
        owners = {id(leaf.held): leaf for leaf in here}
        plain_args, plain_kwargs = tree_unflatten([getattr(leaf, "held", leaf) for leaf in leaves], spec)
        result = func(*plain_args, **plain_kwargs)
        if func is aten.copy_.default:
            return args[0]

        def own(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            return owners[id(value)] if id(value) in owners else Elsewhere(value, place)

        return tree_map(own, result)


class PretendedDevice(TorchFunctionMode):
    """Inside it `device=name` makes tensors `Elsewhere`, and `to`, `cpu` move them there and back.

    Args:
        name: with its index, as tensors show it ("cuda:0", "mps:0").
        has_double: whether it knows float64.
        by_default: whether tensors are made there where no device is said, as after `torch.set_default_device`.
    """

    def __init__(self, name: str, has_double: bool, by_default: bool) -> None:
        super().__init__()
        self.name, self.has_double, self.by_default, self.reads = torch.device(name), has_double, by_default, 0

    def _is(self, device: Any) -> bool:
        return device is not None and torch.device(device).type == self.name.type

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.to:
            return self._to(*args, **kwargs)
        if func is torch.Tensor.cpu:
            return self._to(args[0], "cpu")
        if func is torch.Tensor.pin_memory:
            return args[0]
        if self.by_default and func in _device_constructors():
            kwargs["device"] = kwargs.get("device") or self.name
        here = self._is(kwargs.get("device"))
        if here and kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a '{self.name.type}' device type for generator but found 'cpu'")
        if here:
            kwargs["device"] = torch.device("cpu")
        elif func in MAKERS and "device" not in kwargs and isinstance(args[0], Elsewhere):
            here, args = True, (args[0].held, *args[1:])
        result = func(*args, **kwargs)
        return Elsewhere(result, self) if here and not isinstance(result, Elsewhere) else result

    def _to(self, tensor: torch.Tensor, *args: Any, copy: bool = False, **kwargs: Any) -> torch.Tensor:
        if args and isinstance(args[0], torch.Tensor):
            args, kwargs = (args[0].device, args[0].dtype), {}
        device, dtype, _, memory_format = torch._C._nn._parse_to(*args, **kwargs)
        layout = {} if memory_format is None else {"memory_format": memory_format}
        if device is None or self._is(device) == isinstance(tensor, Elsewhere):
            return torch.Tensor.to(tensor, dtype or tensor.dtype, copy=copy, **layout)
        return _Moved.apply(tensor, self, dtype or tensor.dtype, layout)


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Any, place: PretendedDevice, dtype: torch.dtype, layout: Any) -> torch.Tensor:
        ctx.place, ctx.there, ctx.dtype = place, not isinstance(tensor, Elsewhere), tensor.dtype
        if ctx.there:
            return Elsewhere(tensor.detach().to(dtype, copy=True, **layout), place)
        place.reads += 1
        return tensor.held.to(dtype, copy=True, **layout)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        back = gradient.held.to(ctx.dtype) if ctx.there else Elsewhere(gradient.to(ctx.dtype), ctx.place)
        return back, None, None, None


@contextmanager
def pretended(name: str, by_default: bool = False) -> Iterator[PretendedDevice]:
    """A device of this name, on which modules can be moved: "mps:0" without float64, any other with it."""
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # `.data` of another kind of tensor cannot be set
    try:
        with PretendedDevice(name, not name.startswith("mps"), by_default) as device:
            yield device
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapping)
