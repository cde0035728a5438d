"""StepNesting: which of an optimizer's step hooks belong to a whole update, not to a part of one."""

from __future__ import annotations

import sys
from types import FrameType

from torch.optim import Optimizer

# What torch puts in place of every class's `step`; all of them share this code.
_HOOKED_STEP = Optimizer.profile_hook_step(Optimizer.step).__code__


class StepNesting:
    """Pairs pre-hooks with post-hooks, so that an update in which hooks run several times counts once.

    torch runs an instance's hooks around the `step` of every class of which an instance was made. A subclass that
    calls `super().step()` has them run twice an update, if its base was ever used by itself in the process.

    A step that raises runs no post-hook. So a depth that is left over is not believed: it is counted on the stack.
    """

    def __init__(self) -> None:
        self._depth = 0

    def enter(self, optimizer: Optimizer) -> None:
        """To be called by the pre-hook."""
        if self._depth:
            self._depth = _enclosing_steps(optimizer)
        self._depth += 1

    def leave(self) -> bool:
        """To be called by the post-hook; whether the whole update is done."""
        self._depth = max(self._depth - 1, 0)
        return self._depth == 0


def _enclosing_steps(optimizer: Optimizer) -> int:
    """Steps of this optimizer on the stack, without the innermost, whose hook asks."""
    frame: FrameType | None = sys._getframe()
    found = 0
    while frame is not None:
        if frame.f_code is _HOOKED_STEP and frame.f_locals.get("self") is optimizer:
            found += 1
        frame = frame.f_back
    return max(found - 1, 0)
