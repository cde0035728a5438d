"""Weight decay under a large learning rate."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

CLAIM = Claim(
    "weight-decay",
    "Weight decay 1e-4 is the best; 1e-3 prevents super-convergence, 1e-5 and 1e-6 do not.",
    "arXiv 1708.07120v1, Fig. 10b",
    tuple(
        Experiment(f"weight-decay/{text}", f"fig10b-wd{text}", cycle(weight_decay=float(text)))
        for text in ("1e-3", "1e-4", "1e-5", "1e-6")
    ),
    (
        Effect("1e-3", "1e-4", sign=-1),
        Effect("1e-5", "1e-4", sign=-1),
        Effect("1e-6", "1e-4", sign=-1),
        Effect("1e-6", "1e-3"),
    ),
)
