"""Which parameters of a model an optimizer trains; none is the mistake of an optimizer made for another model."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Optimizer


def trained_parameters(
    model: nn.Module, optimizer: Optimizer, *, real_only: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Those that the optimizer trains, by name, and those that it does not, with the reason.

    Args:
        real_only: leave out complex ones, too.
    Raises: ValueError: it trains none.
    """
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    trained: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            left_out[name] = "frozen: requires_grad is False"
        elif id(parameter) not in held:
            left_out[name] = "not in the optimizer"
        elif real_only and parameter.is_complex():
            left_out[name] = "complex: sums of absolute values and a real Hessian are not defined"
        else:
            trained[name] = parameter
    if not trained:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in list(left_out.items())[:6])
        raise ValueError(
            f"the optimizer trains no {'real ' if real_only else ''}parameter of this model: "
            f"{reasons or 'it has none'}; pass the model that the optimizer was made for, with requires_grad set"
        )
    return trained, left_out
