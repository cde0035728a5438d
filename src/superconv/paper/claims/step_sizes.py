"""How short the cycle may be."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

CONDITIONS = (("10000", "ss10k"), ("5000", "ss5k"), ("3000", "ss3k"), ("1000", "ss1k"))

CLAIM = Claim(
    "step-size",
    "Longer cycles are a little better: step size 10,000 leads 1,000 by 3 points.",
    "arXiv 1708.07120v1, Fig. 1b",
    tuple(Experiment(f"step-size/{size}", f"fig1b-clr-{key}", cycle(steps=2 * int(size))) for size, key in CONDITIONS),
    (Effect("10000", "1000", size=0.03),),
)
