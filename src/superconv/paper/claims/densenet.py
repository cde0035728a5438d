"""DenseNet-40 with a very large learning rate and hardly any weight decay."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .companion_base import CHOSEN, one_cycle, step_decay

_DENSE: dict[str, Any] = {
    "model": "densenet40", "averaging_fraction": 0.999, "test_images": 7400,
    "multipliers": {"classifier.bias": (2.0, 1.0)},
}  # fmt: skip
_MOMENTUM = "momentum .9 to .85 as in the table; the log of the 50 epochs goes down to .8"
_CYCLES = {50: (2148, 4882), 75: (3320, 7324), 100: (4394, 9765), 150: (6835, 14648)}  # epochs -> step size, updates

CLAIM = Claim(
    "densenet",
    "1cycle to LR 4 over 150 epochs (92.8%) equals step decay over 400 (92.7%), and beats it at 100 epochs.",
    "arXiv 1708.07120v3, Table 2 (its number inferred)",
    (
        *(
            Experiment(f"densenet/step-{e}", f"v3tab2-densenet-step-ep{e}", step_decay(e, **_DENSE), CHOSEN)
            for e in (100, 200, 400)
        ),
        *(
            Experiment(
                f"densenet/1cycle-{e}", f"v3tab2-densenet-1cycle-ep{e}",
                one_cycle(e, size, 0.1, 4.0, (0.9, 0.85), steps=steps, weight_decay=1e-6, **_DENSE),
                (*CHOSEN, _MOMENTUM),
            )
            for e, (size, steps) in _CYCLES.items()
        ),
    ),
    (
        Effect("1cycle-100", "step-100", size=0.009),
        Effect("1cycle-150", "step-400", sign=0, equal=True),
    ),
)  # fmt: skip
