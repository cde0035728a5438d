"""What a block of `preserved` holds on to, and the functions that bring it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from .copies import Copies
from .step_hooks import HookMemory

Restore = Callable[[], None]


@dataclass(frozen=True)
class Kept:
    """What a block holds on to.

    Args:
        copies: of tensors.
        renewals: what must be done anew whenever the block begins again.
        seen: objects that are kept, by id: module, optimizers and a wrapper share them, and one copy is enough.
        optimizers: those that are kept, wrapped ones too.
        memories: of their hooks that act.
        parts: objects among their attributes. They come last, so that hooks, too, are followed into them.
    """

    copies: Copies
    renewals: list[Restore] = field(default_factory=list)
    seen: dict[int, Any] = field(default_factory=dict)
    optimizers: list[Optimizer] = field(default_factory=list)
    memories: list[HookMemory] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)


def run_all(restores: Iterable[Restore]) -> None:
    """Run them in order, all of them: the error of one must not leave the others undone. It is raised in the end."""
    with ExitStack() as stack:
        for restore in reversed(list(restores)):
            stack.callback(restore)


def nothing() -> None:
    """Restore nothing: there is nothing, or it is kept already."""
