"""The fewer the training images, the larger the gain."""

from ..claim import Claim, Effect, Experiment
from .base import cycle, piecewise

PUBLISHED = {40: (0.891, 0.911), 30: (0.857, 0.896), 20: (0.827, 0.879), 10: (0.714, 0.806)}
_SUBSET = "which images form the reduced set: drawn by class from a fixed seed"


def _lead(thousands: int) -> float:
    pclr, clr = PUBLISHED[thousands]
    return clr - pclr


CLAIM = Claim(
    "data-size",
    "The lead of super-convergence grows as training images become fewer, from 2 points at 40,000 to 9 at 10,000.",
    "arXiv 1708.07120v1, Table 1 and Fig. 6a; v3, Table 1 and Fig. 4a",
    tuple(
        Experiment(
            f"data-size/{k}000-{kind}", f"tab1-n{k}k-{kind}", make(train_samples=1000 * k), chosen=(_SUBSET,)
        )
        for k in PUBLISHED
        for kind, make in (("pclr", piecewise), ("clr", cycle))
    ),
    (
        *(Effect(f"{k}000-clr", f"{k}000-pclr", size=round(_lead(k), 4)) for k in PUBLISHED),
        Effect("10000-clr", "10000-pclr", size=round(_lead(10) - _lead(40), 4), over=("40000-clr", "40000-pclr")),
    ),
)  # fmt: skip
