"""1cycle against step decay on CIFAR-100, with the companion's ResNet-56."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .companion_base import CHOSEN, one_cycle, step_decay

_DATA: dict[str, Any] = {"data": "cifar100"}
_LR = "step decay from LR 0.1, as the companion's job history has it; the table prints 0.005"
_CYCLES = {25: (1171, 0.1, 0.5), 50: (2246, 0.1, 0.5), 100: (4394, 0.09, 0.9)}  # epochs -> step size, initial, max_lr

CLAIM = Claim(
    "cifar100-1cycle",
    "1cycle over 25 epochs (65.4%) beats step decay over 200 (61.6%); over 100 epochs it reaches 69.0%.",
    "arXiv 1708.07120v3, Table 2 (its number inferred)",
    (
        *(
            Experiment(
                f"cifar100-1cycle/step-{e}", f"v3tab2-cifar100-step-ep{e}", step_decay(e, **_DATA), (*CHOSEN, _LR)
            )
            for e in (100, 200, 400)
        ),
        *(
            Experiment(
                f"cifar100-1cycle/1cycle-{e}", f"v3tab2-cifar100-1cycle-ep{e}",
                one_cycle(e, size, low, high, **_DATA), CHOSEN,
            )
            for e, (size, low, high) in _CYCLES.items()
        ),
    ),
    (Effect("1cycle-25", "step-200", size=0.038), Effect("1cycle-100", "step-100", size=0.082)),
)  # fmt: skip
