"""Networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from ..near_names import near
from .batch_norm import DEFAULT_AVERAGING_FRACTION, check_averaging_fraction, set_averaging_fraction
from .bottleneck import BottleneckResNet
from .cifar3 import Cifar3
from .companion import CompanionResNet
from .densenet import DenseNet
from .inputs import image_shape, size_text
from .lenet import LeNet
from .mlp import MLP
from .resnet import ResNet
from .resnet50 import ResNet50
from .seeding import seeded
from .timm_models import build_timm
from .wide_resnet import WideResNet

_SLIM = {"widths": (8, 16, 64)}  # 20,522 parameters: several times cheaper than the paper's 431,080


def _registry() -> dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]]:
    networks: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
        "lenet": (LeNet, {}),
        "lenet-bn": (LeNet, {"batch_norm": True}),
        "lenet-slim": (LeNet, _SLIM),
        "lenet-slim-bn": (LeNet, {**_SLIM, "batch_norm": True}),
        "mlp": (MLP, {}),
        "mlp-bn": (MLP, {"batch_norm": True}),
        "cifar3": (Cifar3, {}),
    }
    for depth in (8, 20, 56, 110):
        for shortcut in (True, False):
            for batch_norm in (True, False):
                name = f"resnet{depth}" + ("" if shortcut else "-plain") + ("" if batch_norm else "-nonorm")
                options = {"blocks": (depth - 2) // 6, "shortcut": shortcut, "batch_norm": batch_norm}
                networks[name] = (ResNet, options)
    networks |= {
        "resnet56-dropout": (ResNet, {"blocks": 9, "dropout": 0.2}),
        "bottleneck56": (BottleneckResNet, {}),
        "resnext56": (BottleneckResNet, {"inner": 32, "groups": 32}),
        "resnet56-companion": (CompanionResNet, {}),
        "wide32": (CompanionResNet, {"widths": (16, 64, 256), "blocks": (5, 5, 5)}),
        "densenet40": (DenseNet, {}),
        "wrn-28-10": (WideResNet, {"blocks": 4, "widen": 10}),
        "wrn-32-4": (WideResNet, {"blocks": 5, "widen": 4}),
        "resnet50": (ResNet50, {}),
    }
    return networks


_NETWORKS = _registry()
NAMES = tuple(_NETWORKS)
"""Every name of our own; "timm/NAME" comes on top."""


def _merged(
    name: str, defaults: dict[str, Any], given: dict[str, Any], build: Callable[..., nn.Module]
) -> dict[str, Any]:
    accepted = [key for key in inspect.signature(build).parameters if key != "num_classes"]
    for key in given:
        if key not in accepted:
            raise ValueError(f"model {name!r} has no option {key!r}; {near(key, accepted)}")
    return {**defaults, **given}


def _check_size(name: str, image_size: int | tuple[int, int] | None, multiple: int) -> None:
    height, width = image_shape(image_size, multiple)
    if height % multiple or width % multiple:
        raise ValueError(
            f"pictures of {size_text((height, width))} pixels: model {name!r} takes multiples of {multiple}; resize or "
            "pad the images"
        )


def check_name(name: str) -> None:
    """Complain about a name that `build_model` does not know; names of timm are not looked up.

    Raises: ValueError: with the nearest names, and all.
    """
    if name not in _NETWORKS and not name.startswith("timm/"):
        raise ValueError(f"model {name!r} is unknown; {near(name, NAMES)}, timm/NAME")


def build_model(
    name: str,
    num_classes: int = 10,
    *,
    in_channels: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    averaging_fraction: float | None = None,
    seed: int | None = None,
    **options: Any,
) -> nn.Module:
    """A network by name, with fresh weights, on the CPU (or torch's default device).

    Args:
        name: one of `NAMES`, or "timm/NAME".
        num_classes: outputs.
        in_channels: of the images; None: 1 for LeNet and MLP, 3 for the others.
        image_size: side, or (height, width), of the images; None: 28 for LeNet and MLP, 32 for cifar3. Networks that
            end in a global average pool take any size, or any multiple of 4: there it is only checked.
        averaging_fraction: of BatchNorm's running statistics, where the network has any; None: .9. See
            `averaging_fraction_for`.
        seed: weights drawn under this seed, all global random states left alone; None: drawn from the global state.
        options: of the family: `widths`, `blocks`, `dropout`, `batch_norm`, `shortcut`, `filler`, ...
    Raises: ValueError: an unknown name or option (answered with the nearest ones), an impossible size.
    Example:
        >>> model = build_model("resnet20", num_classes=10, seed=0)
        >>> sum(parameter.numel() for parameter in model.parameters())
        224042

    Reference: the network files of arXiv 1708.07120v1 and of arXiv 1803.09820; see each family's docstring.
    """
    name = str(name)
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__") or int(num_classes) < 1:
        raise ValueError(f"num_classes: got {num_classes!r}, allowed are integers from 1")
    if in_channels is not None and in_channels < 1:
        raise ValueError(f"in_channels: got {in_channels!r}, allowed are integers from 1, or None for the default")
    fraction = None if averaging_fraction is None else check_averaging_fraction(averaging_fraction)
    check_name(name)
    timm_name = name.removeprefix("timm/")
    with seeded(seed):
        if timm_name != name:
            model = build_timm(timm_name, num_classes, in_channels, image_size, dict(options))
        else:
            build, defaults = _NETWORKS[name]
            keywords = _merged(name, defaults, options, build)
            if in_channels is not None:
                keywords["in_channels"] = in_channels
            if "image_size" in inspect.signature(build).parameters:
                keywords["image_size"] = image_size
            model = build(num_classes, **keywords)
            if "image_size" not in keywords:
                _check_size(name, image_size, getattr(model, "multiple", 1))
    if fraction is not None or timm_name == name:
        set_averaging_fraction(model, DEFAULT_AVERAGING_FRACTION if fraction is None else fraction)
    return model
