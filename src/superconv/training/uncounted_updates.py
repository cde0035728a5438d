"""UncountedUpdates: signs that something trains an optimizer's parameters while no step of it is seen."""

from __future__ import annotations

from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

SIGNS = 3


class UncountedUpdates:
    """Whether parameters change from call to call, read off their tensors' version counters.

    These are numbers of the host, so that no device is waited for. An update that AMP skipped and a micro-batch leave
    them, and weights that are loaded change them once: so three changes tell. Writes through `.data`, and those of
    torch's fused optimizers, do not show.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self._versions = self._present()
        self._changes = 0

    def found(self) -> bool:
        """To be called once per step without an update; True at the third change, and never again."""
        versions = self._present()
        changed = versions != self._versions
        self._versions = versions
        self._changes += changed
        return changed and self._changes == SIGNS

    def _present(self) -> int:
        tensors = (tensor for group in self._optimizer.param_groups for tensor in group["params"])
        known = (tensor for tensor in tensors if not is_lazy(tensor))  # one of a lazy layer has no version yet
        return sum(tensor._version for tensor in known if not tensor.is_inference())
