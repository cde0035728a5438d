"""Optimizers by name or import path, with plain data about them for a run's config."""

from __future__ import annotations

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..near_names import near
from ..task.loss_function import loss_module
from .caffe_sgd import CaffeSGD
from .param_groups import LR_SCALE, GroupSettings, flat, param_groups


@dataclass(frozen=True)
class _Choice:
    build: Callable[..., Optimizer]
    lr: float
    momentum: float | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)


_CHOICES = {
    "sgd": _Choice(torch.optim.SGD, 0.1, 0.9),
    "nesterov": _Choice(torch.optim.SGD, 0.1, 0.9, {"nesterov": True}),
    "caffe-sgd": _Choice(CaffeSGD, 0.1, 0.9),
    "caffe-nesterov": _Choice(CaffeSGD, 0.1, 0.9, {"nesterov": True}),
    "adam": _Choice(torch.optim.Adam, 1e-3),
    "adamw": _Choice(torch.optim.AdamW, 1e-3),
    "adagrad": _Choice(torch.optim.Adagrad, 1e-2),
    "adadelta": _Choice(torch.optim.Adadelta, 1.0),
    "rmsprop": _Choice(torch.optim.RMSprop, 1e-2),
}
NAMES = tuple(_CHOICES)
"""Every short name; any other optimizer goes by its import path."""


def _unknown(name: str) -> ValueError:
    twin = next((own for own in torch.optim.__all__ if own.lower() == name.lower()), None)
    if twin is not None:
        return ValueError(f"optimizer {name!r} has no short name; use its import path, 'torch.optim:{twin}'")
    return ValueError(f"optimizer {name!r} is unknown; {near(name, NAMES)}, or an import path 'package.module:Class'")


def _by_path(path: str) -> Callable[..., Optimizer]:
    module_name, _, class_name = path.replace(":", ".").rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(
            f"optimizer {path!r}: {module_name!r} does not import ({type(error).__name__}: {error}); "
            "install its package, or correct the path"
        ) from error
    if not hasattr(module, class_name):
        public = [key for key, value in vars(module).items() if inspect.isclass(value) and issubclass(value, Optimizer)]
        raise ValueError(f"optimizer {path!r}: {module_name!r} has no {class_name!r}; {near(class_name, public)}")
    found = getattr(module, class_name)
    if not (inspect.isclass(found) and issubclass(found, Optimizer)):
        raise ValueError(f"optimizer {path!r}: got {found!r}, allowed are subclasses of torch.optim.Optimizer")
    return found


def _choice(name: str) -> _Choice:
    if not isinstance(name, str):
        raise TypeError(f"an optimizer goes by its name, got a {type(name).__name__}; allowed are {', '.join(NAMES)}")
    plain = name.lower().replace("_", "-")
    if plain in _CHOICES:
        return _CHOICES[plain]
    if "." not in name and ":" not in name:
        raise _unknown(name)
    build = _by_path(name)
    lr = inspect.signature(build).parameters.get("lr")
    known = lr is not None and isinstance(lr.default, (int, float))
    return _Choice(build, float(lr.default) if known and lr is not None else math.nan)


def default_lr(name: str) -> float:
    """The learning rate people begin with: torch's own default, but 0.1 for the SGD family (torch: 0.001).

    Args:
        name: as for `build_optimizer`; for an import path the default of its class.
    Raises: ValueError: an unknown name, or a class without a default.
    """
    lr = _choice(name).lr
    if math.isnan(lr):
        raise ValueError(f"optimizer {name!r} has no default learning rate; give lr")
    return lr


def _number(key: str, value: Any, positive: bool = False) -> None:
    try:
        ok = math.isfinite(value) and (value > 0 if positive else value >= 0)
    except (TypeError, ValueError):
        ok = False
    if not ok:
        raise ValueError(f"{key}: got {value!r}, allowed are finite numbers {'above' if positive else 'from'} 0")


def _with_momentum(name: str, choice: _Choice, momentum: float | None, options: dict[str, Any]) -> dict[str, Any]:
    """`options` with momentum in the argument that the optimizer has for it: `momentum`, or the first of `betas`."""
    accepted = inspect.signature(choice.build).parameters
    momentum = choice.momentum if momentum is None else momentum
    if momentum is None:
        return options
    if not (isinstance(momentum, (int, float)) and 0.0 <= momentum < 1.0):
        raise ValueError(f"momentum: got {momentum!r}, allowed is 0 <= momentum < 1")
    if choice.fixed.get("nesterov") and momentum == 0.0:
        raise ValueError(f"momentum: got 0, optimizer {name!r} needs some; use 'sgd'")
    if "momentum" in accepted:
        return {**options, "momentum": momentum}
    if "betas" in accepted:
        if "betas" in options:
            raise ValueError(f"optimizer {name!r}: got momentum and betas, momentum is betas[0]; give one of the two")
        return {**options, "betas": (momentum, *accepted["betas"].default[1:])}
    if momentum:
        own = "; its averaging constant is rho" if "rho" in accepted else ""
        raise ValueError(f"momentum: got {momentum!r}, optimizer {name!r} has none{own}; leave it out")
    return options


def has_momentum(name: str) -> bool:
    """Whether an optimizer, by name or import path, is usually run with a momentum: SGD and all that have betas.

    Raises: ValueError: no such optimizer.
    """
    choice = _choice(name)
    return choice.momentum is not None or "betas" in inspect.signature(choice.build).parameters


def _check_options(name: str, choice: _Choice, options: Mapping[str, Any], settings: GroupSettings) -> None:
    parameters = inspect.signature(choice.build).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    accepted = [key for key in parameters if key != "params"]
    for key in options:
        if key not in accepted:
            raise ValueError(f"optimizer {name!r} has no option {key!r}; {near(key, accepted)}")
    decays = (settings.weight_decay, settings.norm_weight_decay, settings.bias_weight_decay)
    if "weight_decay" not in accepted and any(decays):
        raise ValueError(f"weight_decay: optimizer {name!r} has none; use 0, or 'sgd' or 'adamw'")
    for pattern, override in settings.overrides.items():
        for key in override:
            if key == LR_SCALE:
                _number(f"overrides[{pattern!r}]: {key}", override[key])
            elif key not in accepted:
                raise ValueError(f"overrides[{pattern!r}]: optimizer {name!r} has no {key!r}; {near(key, accepted)}")


def _fastest(choice: _Choice, tensors: Iterable[Any], options: dict[str, Any], sparse: bool) -> dict[str, Any]:
    """Torch's fused kernels: on a CPU a third of its default's time (SGD 2.5x, Adam 3x faster); Adam's on CUDA too."""
    decided = {"fused", "foreach", "differentiable", "capturable", "maximize"} & set(options)
    has_fused = choice.build in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad)
    if decided or sparse or not has_fused:
        return options
    devices = ("cpu", "cuda") if choice.build in (torch.optim.Adam, torch.optim.AdamW) else ("cpu",)
    plain = all(isinstance(t, Tensor) and t.device.type in devices and t.is_floating_point() for t in tensors)
    return {**options, "fused": True} if plain else options


def build_optimizer(
    name: str,
    model_or_params: nn.Module | Iterable[Any],
    *,
    lr: float | Tensor,
    momentum: float | None = None,
    weight_decay: float = 0.0,
    norm_weight_decay: float | None = None,
    bias_weight_decay: float | None = None,
    bias_lr_scale: float = 1.0,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    loss_fn: Any | None = None,
    **options: Any,
) -> Optimizer:
    """An optimizer by name, with param groups for what biases and norms have of their own.

    Args:
        name: one of `NAMES`, or an import path: "package.module:Class" or "package.module.Class".
        model_or_params: a module, or what the optimizer's class takes as `params`.
        lr: above 0: groups keep their ratio to it under a schedule. A 0-dim tensor works where the class takes it.
        momentum: in [0, 1); beta1 for the Adam family. None: .9 for the SGD family, else the class's default.
        weight_decay: as the optimizer takes it: added to the gradient, or decoupled in AdamW.
        norm_weight_decay: of the scale and shift of normalisation layers; None: as `weight_decay`.
        bias_weight_decay: of the other biases; None: as `weight_decay`.
        bias_lr_scale: factor of their learning rate (Caffe's files: 2, without decay).
        overrides: parameter-name pattern -> group settings, e.g. {"classifier.weight": {"weight_decay": .025}};
            "lr_scale" is a factor of `lr`.
        loss_fn: where it is a module, its parameters are trained with the model's, by names that begin with "loss.".
        options: any further argument of the class.
    Returns: the optimizer; its groups carry a `kind` ("weights", "norms", "biases" or joined by "+").
        Frozen parameters are left out, shared ones are there once. Equal settings share a group. On CPU
        tensors torch's fused kernels are used unless `fused`, `foreach`, ... say otherwise.
    Raises: ValueError: an unknown name or option (with the nearest), a setting out of range or one that this
        optimizer lacks, separate settings for a bare list of parameters, nothing to train.
    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
        >>> optimizer = build_optimizer("sgd", model, lr=0.1, weight_decay=1e-4, bias_weight_decay=0, bias_lr_scale=2)
        >>> [(group["kind"], group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        [('weights+norms', 0.1, 0.0001), ('biases', 0.2, 0)]

    Reference: group factors as in the network files of arXiv 1708.07120v1 (lr_mult, decay_mult).
    """
    choice = _choice(name)
    _number("lr", lr, positive=True)
    _number("bias_lr_scale", bias_lr_scale, positive=True)
    for key, value in (("weight_decay", weight_decay), ("norm_", norm_weight_decay), ("bias_", bias_weight_decay)):
        if value is not None:
            _number(key if key == "weight_decay" else key + "weight_decay", value)
    settings = GroupSettings(lr, weight_decay, norm_weight_decay, bias_weight_decay, bias_lr_scale, overrides or {})
    options = _with_momentum(name, choice, momentum, {**choice.fixed, **options})
    _check_options(name, choice, options, settings)
    params, sparse = _parameters(model_or_params, settings, loss_module(loss_fn))
    options = _fastest(choice, flat(params), options, sparse)
    if weight_decay:
        options["weight_decay"] = weight_decay
    elif "weight_decay" in inspect.signature(choice.build).parameters:
        options["weight_decay"] = 0.0  # AdamW's own default is .01
    else:
        for group in params:
            if isinstance(group, dict):
                group.pop("weight_decay", None)
    try:
        with redirect_stdout(sys.stderr):  # some print a line (Prodigy): stdout is for results
            return choice.build(params, lr=lr, **options)
    except TypeError as error:
        raise ValueError(
            f"optimizer {name!r} does not start with these settings: {error}; give what it lacks"
        ) from error


def _parameters(
    model_or_params: nn.Module | Iterable[Any], settings: GroupSettings, loss: nn.Module | None
) -> tuple[list[Any], bool]:
    if isinstance(model_or_params, nn.Module):
        modules = chain(model_or_params.modules(), [] if loss is None else loss.modules())
        sparse = any(getattr(module, "sparse", False) is True for module in modules)
        return param_groups(model_or_params, settings, loss), sparse
    if loss is not None:
        raise ValueError("loss_fn: it would be ignored beside a list of parameters; pass the model, or list them all")
    if settings.needs_names:
        raise ValueError(
            "separate settings for norms, biases or names: got a list of parameters, which does not tell them apart; "
            "pass the model, or param groups with their own weight_decay and lr"
        )
    params = list(model_or_params)
    if not params:
        raise ValueError("parameters: got an empty list, allowed is at least one tensor or param group")
    return params, False


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def describe(optimizer: Optimizer) -> dict[str, Any]:
    """Plain data about an optimizer, for a run's config: JSON can hold it, and equal optimizers give equal data.

    Returns: `name` (import path of its class), `defaults`, and `groups`: for each the count of its tensors and of
        their elements, and the settings in which it differs from the defaults.
    """
    defaults = {key: _plain(value) for key, value in optimizer.defaults.items()}
    groups = []
    for group in optimizer.param_groups:
        own = {key: _plain(value) for key, value in group.items() if key != "params"}
        differing = {key: value for key, value in own.items() if key not in defaults or value != defaults[key]}
        elements = sum(tensor.numel() for tensor in group["params"])
        groups.append({"tensors": len(group["params"]), "elements": elements, **differing})
    kind = type(optimizer)
    return {"name": f"{kind.__module__}:{kind.__qualname__}", "defaults": defaults, "groups": groups}
