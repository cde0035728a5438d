"""Large learning rates regularise: along a ramp the training loss rises while the test loss falls."""

from typing import Any

from ..claim import Claim, Experiment
from .base import ramp

_LONG: dict[str, Any] = {"end_lr": 2, "steps": 80_000}

CLAIM = Claim(
    "regularisation",
    "Between LR 0.25 and 1 the test loss falls while the training loss rises.",
    "arXiv 1708.07120v1, Fig. 4; v3, Fig. 8",
    (
        Experiment(
            "regularisation/resnet56", "fig4a-lrrange-resnet56-LR",
            ramp(**_LONG, averaging_fraction=0.95, evaluate_with="batch"),
        ),
        Experiment(
            "regularisation/resnet56-bias-decay-0", "fig4a-lrrange-resnet56-biasdecay0",
            ramp(**_LONG, averaging_fraction=0.95, evaluate_with="batch"),
        ),
        Experiment(
            "regularisation/resnet56-bias-decay-1", "fig4a-lrrange-resnet56-biasdecay1",
            ramp(
                **_LONG, averaging_fraction=0.95, evaluate_with="batch",
                optimizer_options={"bias_weight_decay": None},
            ),
        ),
        Experiment(
            "regularisation/resnet20", "fig4b-lrrange-resnet20",
            ramp(**_LONG, model="resnet20", averaging_fraction=0.95),
        ),
        Experiment(
            "regularisation/resnet110", "fig4b-lrrange-resnet110",
            ramp(**_LONG, model="resnet110", batch_size=800, statistics_of=100, averaging_fraction=0.95),
        ),
    ),
)  # fmt: skip
