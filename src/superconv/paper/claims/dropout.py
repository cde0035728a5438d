"""Dropout on top of a large learning rate."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .base import cycle, ramp

_DROPOUT: dict[str, Any] = {"model": "resnet56-dropout"}

CLAIM = Claim(
    "dropout",
    "With dropout of 0.2 the network still super-converges, with a small improvement.",
    "arXiv 1708.07120v1, Fig. 9b",
    (
        Experiment("dropout/0.2", "fig9b-dropout02", cycle(**_DROPOUT)),
        Experiment("dropout/0", "fig1a-clr", cycle()),
        Experiment("dropout/range-test", "fig9b-extra-lrrange-dropout02", ramp(3, 20_000, **_DROPOUT)),
    ),
    (
        Effect("0.2", "0"),
        Effect("range-test", threshold=0.8, measure="end of ramp over its peak"),
    ),
)
