"""BatchNorm's statistics in the test network."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

CLAIM = Claim(
    "batch-statistics",
    "Only tests with accumulated statistics show the effect: with those of the test batch accuracies are lower.",
    "arXiv 1708.07120v1, Sec. 6.1",
    (
        Experiment("batch-statistics/running", "bn-global-stats", cycle()),
        Experiment("batch-statistics/batch", "bn-global-stats", cycle(evaluate_with="batch")),
    ),
    (Effect("running", "batch"),),
)
