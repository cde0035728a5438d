"""Dropout on top of a large learning rate is too much regularisation."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .base import cycle, ramp

_DROPOUT: dict[str, Any] = {"model": "resnet56-dropout"}

CLAIM = Claim(
    "dropout",
    "Dropout of 0.2 lowers the accuracy of super-convergence.",
    "arXiv 1708.07120v1, Fig. 9b",
    (
        Experiment("dropout/0.2", "fig9b-dropout02", cycle(**_DROPOUT)),
        Experiment("dropout/0", "fig1a-clr", cycle()),
        Experiment("dropout/range-test", "fig9b-extra-lrrange-dropout02", ramp(3, 20_000, **_DROPOUT)),
    ),
    (Effect("0.2", "0", sign=-1),),
)
