"""Large learning rates regularise: along a ramp the training loss rises while the test loss falls."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .base import ramp

_LONG: dict[str, Any] = {"end_lr": 2, "steps": 80_000, "averaging_fraction": 0.95}
_BATCH: dict[str, Any] = {**_LONG, "evaluate_with": "batch"}
_DEPTHS = ("resnet56", "resnet20", "resnet110")

CLAIM = Claim(
    "regularisation",
    "From LR 0.2 to 2 the test loss falls while the training loss rises.",
    "arXiv 1708.07120v1, Sec. 4 and Fig. 4; v3, Fig. 8",
    (
        Experiment("regularisation/resnet56", "fig4a-lrrange-resnet56-LR", ramp(**_BATCH)),
        Experiment("regularisation/resnet56-bias-decay-0", "fig4a-lrrange-resnet56-biasdecay0", ramp(**_BATCH)),
        Experiment(
            "regularisation/resnet56-bias-decay-1", "fig4a-lrrange-resnet56-biasdecay1",
            ramp(**_BATCH, optimizer_options={"bias_weight_decay": None}),
        ),
        Experiment("regularisation/resnet20", "fig4b-lrrange-resnet20", ramp(**_LONG, model="resnet20")),
        Experiment(
            "regularisation/resnet110", "fig4b-lrrange-resnet110",
            ramp(**_LONG, model="resnet110", batch_size=800, statistics_of=100),
        ),
    ),
    (
        *(Effect(name, threshold=1.0, sign=-1, measure="test loss at high rates over low") for name in _DEPTHS),
        *(Effect(name, threshold=1.0, measure="training loss at high rates over low") for name in _DEPTHS),
    ),
)  # fmt: skip
