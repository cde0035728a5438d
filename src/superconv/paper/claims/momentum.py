"""Constant momentum under a large learning rate."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

CLAIM = Claim(
    "momentum",
    "Momentum 0.8 to 0.9 does equally well; 0.95 costs 1.7 points.",
    "arXiv 1708.07120v1, Fig. 10a and Table 6",
    tuple(
        Experiment(f"momentum/{m:g}", f"fig10a-mom0{round(100 * m)}", cycle(momentum=m)) for m in (0.8, 0.85, 0.9, 0.95)
    ),
    (
        Effect("0.95", "0.9", sign=-1, size=-0.017),
        Effect("0.8", "0.9", sign=0, equal=True),
        Effect("0.85", "0.9", sign=0, equal=True),
    ),
)
