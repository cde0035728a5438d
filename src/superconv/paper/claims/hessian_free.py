"""The LR that the simplified Hessian-free method estimates along a training."""

from ..claim import Claim, Experiment

_CURVES = "a curve of estimates and no accuracy: `python -m benchmarks.paper_estimate` measures it, with what noise \
alone would give beside it"

CLAIM = Claim(
    "hessian-free",
    "The estimated learning rate is large from the first hundred updates on, and of the size of 2 to 6.",
    "arXiv 1708.07120v1, Fig. 5; v3, Fig. 3",
    tuple(
        Experiment(f"hessian-free/{part}-{kind}", f"fig5{letter}-hf-{kind}", None, obstacle=_CURVES)
        for part, letter in (("300", "a"), ("10000", "b"))
        for kind in ("constant", "clr")
    ),
)
