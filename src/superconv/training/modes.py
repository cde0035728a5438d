"""Training and evaluation mode of a model's modules, from one update to the next."""

from __future__ import annotations

from torch import nn


class TrainingModes:
    """Which modules of a model train, for when something left the whole model in evaluation mode.

    Loops of one's own call `model.train()` at the start of an epoch, and so may leave `model.eval()` behind after a
    validation; in a loop that is not theirs every later update would go without dropout and with frozen statistics.
    Modules that are in evaluation mode on purpose (a frozen BatchNorm) stay so.

    Args:
        model: as it trains.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._modules = model, tuple(model.modules())
        self.note()

    def note(self) -> None:
        """Remember the modes as they are now."""
        self._modes = [module.training for module in self._modules]

    def back_to_training(self) -> None:
        """Write them back where the model is in evaluation mode as a whole, and was not before."""
        if not self._model.training and self._modes[0]:
            for module, mode in zip(self._modules, self._modes, strict=True):
                module.training = mode
