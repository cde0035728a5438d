"""The paper's wide ResNet: 1cycle against step decay."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .companion_base import CHOSEN, one_cycle, step_decay

_WIDE: dict[str, Any] = {"model": "wide32"}
_CYCLES = {25: (1171, 0.5), 50: (2246, 1.0), 100: (4394, 1.0)}  # epochs -> step size, max_lr

CLAIM = Claim(
    "wide-resnet",
    "1cycle over 50 epochs (91.3%) beats step decay over 800 (90.3%).",
    "arXiv 1708.07120v3, Table 2 (its number inferred)",
    (
        *(
            Experiment(f"wide-resnet/step-{e}", f"v3tab2-wideresnet-step-ep{e}", step_decay(e, **_WIDE), CHOSEN)
            for e in (100, 200, 400, 800)
        ),
        *(
            Experiment(
                f"wide-resnet/1cycle-{e}", f"v3tab2-wideresnet-1cycle-ep{e}", one_cycle(e, size, 0.1, top, **_WIDE),
                CHOSEN,
            )
            for e, (size, top) in _CYCLES.items()
        ),
    ),
    (Effect("1cycle-50", "step-800", size=0.01), Effect("1cycle-100", "step-100", size=0.052)),
)  # fmt: skip
