"""How large the cycle's maximum should be."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

CLAIM = Claim(
    "max-lr",
    "Accuracy is lowest with a maximum of 1 to 1.5, highest with 3, and a little lower with 3.5.",
    "arXiv 1708.07120v1, Table 1; v3, Table 6",
    tuple(
        Experiment(f"max-lr/{lr:g}", f"tab1-clr-max{lr:g}", cycle(lr)) for lr in (3.5, 3.0, 2.5, 2.0, 1.5, 1.0)
    ),
    (Effect("3", "1", size=0.011), Effect("3", "3.5", size=0.003)),
)  # fmt: skip
