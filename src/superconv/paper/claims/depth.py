"""Shallower and deeper networks super-converge as well."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .base import cycle, piecewise

_DEEP: dict[str, Any] = {"model": "resnet110", "batch_size": 800, "statistics_of": 100}
_SWEEP = "20 + 9n layers for n = 0 to 10: odd n cannot be built from two-convolution blocks in three equal stages, and \
neither learning rates nor accuracies are given"

CLAIM = Claim(
    "depth",
    "ResNet-20 and ResNet-110 gain 1.8 and 1.1 points.",
    "arXiv 1708.07120v1, Fig. 6b; v3, Fig. 4b",
    (
        Experiment("depth/resnet20-pclr", "fig6b-resnet20-pclr", piecewise(model="resnet20")),
        Experiment("depth/resnet20-clr", "fig6b-resnet20-clr", cycle(model="resnet20")),
        Experiment("depth/resnet110-pclr", "fig6b-resnet110-pclr", piecewise(**_DEEP)),
        Experiment("depth/resnet110-clr", "fig6b-resnet110-clr", cycle(**_DEEP)),
        Experiment("depth/sweep", "depth-sweep", None, obstacle=_SWEEP),
    ),
    (Effect("resnet20-clr", "resnet20-pclr", size=0.018), Effect("resnet110-clr", "resnet110-pclr", size=0.011)),
)
