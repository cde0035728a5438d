"""Which parameters of a model an optimizer trains; none is the mistake of an optimizer made for another model."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim import Optimizer

COMPLEX = "complex: sums of absolute values and a real Hessian are not defined"


def trained_parameters(
    model: nn.Module, optimizer: Optimizer, *, real_only: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Those that the optimizer trains, by name, and those that it does not, with the reason.

    Args:
        real_only: leave out complex ones, too.
    Raises: ValueError: it trains none, or none that is real where only those are wanted.
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
            left_out[name] = COMPLEX
        else:
            trained[name] = parameter
    complex_ones = [name for name, reason in left_out.items() if reason == COMPLEX]
    if not trained and complex_ones:
        raise ValueError(
            "complex parameters are not supported here, and the optimizer trains no other: "
            f"{', '.join(complex_ones[:6])}{', ...' if len(complex_ones) > 6 else ''}; sums of absolute values and a "
            "real Hessian are not defined for them, but are for their real and imaginary parts (torch.view_as_real)"
        )
    if not trained:
        reasons = ", ".join(f"{name} ({reason})" for name, reason in list(left_out.items())[:6])
        raise ValueError(
            f"the optimizer trains no {'real ' if real_only else ''}parameter of this model: "
            f"{reasons or 'it has none'}; pass the model that the optimizer was made for, with requires_grad set"
        )
    return trained, left_out
