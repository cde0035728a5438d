"""The headline: one cycle of a very large learning rate against eight times as many updates of ordinary training."""

from ..claim import Claim, Effect, Experiment
from .base import cycle, piecewise

CLAIM = Claim(
    "super-convergence",
    "ResNet-56 reaches a higher accuracy in 10,000 updates of one cycle to LR 3 than in 80,000 of PC-LR.",
    "arXiv 1708.07120v1 and v3, Fig. 1a",
    (
        Experiment("super-convergence/pclr", "fig1a-pclr", piecewise()),
        Experiment("super-convergence/clr", "fig1a-clr", cycle()),
    ),
    (Effect("clr", "pclr", size=0.012),),
)
