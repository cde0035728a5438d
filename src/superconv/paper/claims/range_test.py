"""The LR range test of a network that can super-converge: accurate up to LR 3."""

from ..claim import Claim, Effect, Experiment
from .base import ramp

CLAIM = Claim(
    "range-test",
    "Along a ramp from 0 to 3 the test accuracy stays high to the end, whatever the ramp's length.",
    "arXiv 1708.07120v1 and v3, Fig. 2b",
    tuple(
        Experiment(f"range-test/{k}000", f"fig2b-lrrange-{k}k", ramp(3, 1000 * k, averaging_fraction=0.95))
        for k in (5, 20, 100)
    ),
    tuple(Effect(c, threshold=0.8, measure="end of ramp over its peak") for c in ("5000", "20000", "100000")),
)
