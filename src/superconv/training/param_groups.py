"""Parameters sorted into groups that share a learning rate and a weight decay: weights, norms, biases."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Kind = Literal["weights", "norms", "biases"]
LR_SCALE = "lr_scale"


@dataclass(frozen=True)
class GroupSettings:
    """What parameters may differ in.

    Args:
        lr: of weights and norms.
        weight_decay: of weights, and of the others where theirs is None.
        norm_weight_decay: of the scale and shift of normalisation layers.
        bias_weight_decay: of all other biases.
        bias_lr_scale: factor of the learning rate of those biases (2 in Caffe's network files).
        overrides: name pattern (as in a shell: "classifier.*") -> settings of the group its parameters form;
            "lr_scale" among them is a factor of `lr`.
    """

    lr: Any
    weight_decay: float = 0.0
    norm_weight_decay: float | None = None
    bias_weight_decay: float | None = None
    bias_lr_scale: float = 1.0
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def needs_names(self) -> bool:
        """Whether a bare list of parameters is not enough."""
        return bool(
            self.overrides
            or self.norm_weight_decay is not None
            or self.bias_weight_decay is not None
            or self.bias_lr_scale != 1.0
        )

    def of(self, name: str, kind: Kind) -> dict[str, Any]:
        """The settings of one parameter; later patterns win."""
        own = {"weights": None, "norms": self.norm_weight_decay, "biases": self.bias_weight_decay}[kind]
        settings = {
            "lr": self.lr * self.bias_lr_scale if kind == "biases" and self.bias_lr_scale != 1.0 else self.lr,
            "weight_decay": self.weight_decay if own is None else own,
        }
        for pattern, override in self.overrides.items():
            if fnmatch.fnmatchcase(name, pattern):
                settings.update({key: value for key, value in override.items() if key != LR_SCALE})
                if LR_SCALE in override:
                    settings["lr"] = override[LR_SCALE] * self.lr
        return settings


# How names of foreign normalisation layers end, which have no common base: LlamaRMSNorm, FrozenBatchNorm2d, timm's
# RmsNormAct2d, Mamba's RMSNormGated. What merely has "Norm" in its name is another thing: Normalize, NormFreeNet.
NORM_NAME = re.compile(r"Norm(Act|Gated)?(\d[dD])?(Fp32)?$")


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation layer: torch's, a subclass of them, or one by its class's name."""
    kinds_of_torch = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
    return isinstance(module, kinds_of_torch) or NORM_NAME.search(type(module).__name__) is not None


LOSS = "loss"
"""What names of a loss's parameters begin with."""


def kinds(model: nn.Module, loss: nn.Module | None = None) -> dict[str, tuple[Kind, nn.Parameter]]:
    """Every trainable parameter once, by its first name: "norms", "biases" or "weights".

    Those of `loss` come last, by names that begin with "loss.".

    A parameter is a norm's where it belongs directly to a normalisation layer, and a bias where its name
    ends in "bias". A shared parameter counts where it comes first; a frozen one is left out.
    """
    found: dict[str, tuple[Kind, nn.Parameter]] = {}
    seen: set[int] = set()
    of_loss = [] if loss is None else loss.named_modules(prefix=LOSS)
    for prefix, module in chain(model.named_modules(), of_loss):
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            kind: Kind = "norms" if is_norm(module) else "biases" if name.endswith("bias") else "weights"
            found[f"{prefix}.{name}" if prefix else name] = (kind, parameter)
    return found


def param_groups(model: nn.Module, settings: GroupSettings, loss: nn.Module | None = None) -> list[dict[str, Any]]:
    """Param groups for an optimizer: as few as the settings need, each with a `kind` for the reader of a config.

    Args:
        loss: a module whose parameters are trained with the model's.

    Raises: ValueError: no trainable parameter, or an override that meets none.
    """
    parameters = kinds(model, loss)
    if not parameters:
        raise ValueError("the model has no trainable parameter; set requires_grad on what is to be trained")
    for pattern in settings.overrides:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in parameters):
            shown = ", ".join(list(parameters)[:8])
            raise ValueError(f"overrides: {pattern!r} meets no trainable parameter; names are {shown}, ...")
    groups: dict[str, dict[str, Any]] = {}
    for name, (kind, parameter) in parameters.items():
        own = settings.of(name, kind)
        exact = {key: float(value) if isinstance(value, Tensor) else value for key, value in own.items()}
        group = groups.setdefault(repr(sorted(exact.items())), {"params": [], "kind": [], **own})
        group["params"].append(parameter)
        if kind not in group["kind"]:
            group["kind"].append(kind)
    for group in groups.values():
        group["kind"] = "+".join(kind for kind in ("weights", "norms", "biases") if kind in group["kind"])
    return list(groups.values())


def flat(params: Any) -> list[Tensor]:
    """Every tensor of a list of parameters or of param groups."""
    return [tensor for entry in params for tensor in (entry["params"] if isinstance(entry, dict) else [entry])]
