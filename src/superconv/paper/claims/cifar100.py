"""The same on CIFAR-100."""

from ..claim import Claim, Effect, Experiment
from .base import cycle, piecewise, ramp

CLAIM = Claim(
    "cifar100",
    "On CIFAR-100 ResNet-56 gains 8.8 points, and its range test is good to LR 3.",
    "arXiv 1708.07120v1, Fig. 7",
    (
        Experiment("cifar100/range-test", "fig7a-cifar100-lrrange", ramp(3, 20_000, data="cifar100")),
        Experiment("cifar100/pclr", "fig7b-cifar100-pclr", piecewise(data="cifar100")),
        Experiment("cifar100/clr", "fig7b-cifar100-clr", cycle(data="cifar100")),
    ),
    (
        Effect("clr", "pclr", size=0.088),
        Effect("range-test", threshold=0.8, measure="end of ramp over its peak"),
    ),
)
