"""Which optimizer makes the updates, where one is wrapped in another."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer


def torch_optimizer(given: Any) -> Optimizer:
    """What was given, or the one torch optimizer that it holds where it is a wrapper of another class.

    Raises: TypeError: neither an optimizer nor a holder of exactly one.
    """
    if isinstance(given, Optimizer):
        return given
    held = held_optimizers(given)
    if isinstance(given, type) and issubclass(given, Optimizer):
        raise TypeError(f"an optimizer is needed, got the class {given.__name__}; make one of the model's parameters")
    entries = given.values() if isinstance(given, dict) else given if isinstance(given, list | tuple) else ()
    if any(isinstance(each, Optimizer) for each in entries):
        raise TypeError(f"one optimizer is needed, got a {type(given).__name__} of them; make a scheduler for each")
    if len(held) != 1:
        raise TypeError(f"a torch.optim.Optimizer is needed, got a {type(given).__name__}; pass the inner one")
    return held[0]


def updating_optimizer(optimizer: Optimizer) -> Optimizer:
    """The optimizer whose steps are the updates of what `optimizer` trains; itself where it wraps no other.

    A wrapper's own `step` tells little: Accelerate's makes no update per micro-batch, that of a mixed-precision wrapper
    none on an overflow, and two-step SAM has `first_step` and `second_step` in its place. So where one held optimizer
    has all parameters of its holder, its steps count, and they alone, so that nothing counts twice. Several held
    ones (Muon for matrices, AdamW for the rest) are parts of an update, which is a step of their holder; if that runs
    no hooks, as its class never called `Optimizer.__init__`, the first one speaks for all.
    """
    seen = [optimizer]
    while True:
        held = [each for each in held_optimizers(optimizer) if not any(each is other for other in seen)]
        whole = [each for each in held if _parameters(optimizer) and _parameters(optimizer) <= _parameters(each)]
        if len(whole) != 1 and (runs_hooks(optimizer) or not held):
            return optimizer
        optimizer = whole[0] if len(whole) == 1 else held[0]
        seen.append(optimizer)


def counted_optimizer(optimizer: Optimizer) -> Optimizer:
    """The updating optimizer, for step hooks.

    Raises: ValueError: it runs none.
    """
    found = updating_optimizer(optimizer)
    if not runs_hooks(found):
        raise ValueError(
            f"the updates of {type(found).__name__} cannot be counted: its class never calls Optimizer.__init__, so it "
            "runs no step hooks, and no attribute holds another optimizer; pass the optimizer whose step() it calls"
        )
    return found


def held_optimizers(holder: Any) -> list[Optimizer]:
    """Torch optimizers in the attributes of an object, or in lists, tuples and dicts there; each once."""
    found: dict[int, Optimizer] = {}
    # `optimizer` may be a property; it is asked for by name as well.
    for value in [*getattr(holder, "__dict__", {}).values(), getattr(holder, "optimizer", None)]:
        entries = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        found |= {id(each): each for each in entries if isinstance(each, Optimizer) and each is not holder}
    return list(found.values())


def runs_hooks(optimizer: Optimizer) -> bool:
    """Whether step hooks of it are run: `Optimizer.__init__` makes their tables, and wraps the class's `step`."""
    return "_optimizer_step_post_hooks" in optimizer.__dict__ and hasattr(type(optimizer).step, "hooked")


def _parameters(optimizer: Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
