"""BatchNorm's statistics in the test network, and how slowly they are averaged."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

_SLOW = 0.999  # what the files have before a run's script changes it
_AS_THE_OTHERS = "batch, momentum and weight decay as in the other cycles: the text has none"

CLAIM = Claim(
    "batch-statistics",
    "With the files' averaging fraction of 0.999 super-convergence shows in tests with batch statistics alone, since "
    "the accumulated ones are too slow for short runs.",
    "arXiv 1708.07120v1, Sec. 6.1",
    (
        Experiment(
            "batch-statistics/batch-0.999", "bn-global-stats", cycle(averaging_fraction=_SLOW, evaluate_with="batch"),
            chosen=(_AS_THE_OTHERS,),
        ),
        Experiment(
            "batch-statistics/running-0.999", "bn-global-stats", cycle(averaging_fraction=_SLOW),
            chosen=(_AS_THE_OTHERS,),
        ),
        Experiment("batch-statistics/running-0.95", "fig1a-clr", cycle()),
    ),
    (Effect("batch-0.999", "running-0.999"), Effect("running-0.95", "running-0.999")),
)  # fmt: skip
