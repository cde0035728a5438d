"""The headline made fair, a link at a time: how much of the lead is the schedule, and how much is the comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..claim import Claim, Effect, Experiment, Tuning
from ..setting import Setting
from .base import STEPS, cycle, piecewise

_TUNED = "learning rates: the schedule's times the factor that does best on a tenth of the training images, held out"
_CROPS = "crops: 4 pixels of zeros around, as is usual for CIFAR"
_WARM_UP = "warm-up over 5% of the run"

_EQUAL: dict[str, Any] = {"steps": STEPS}
_FITTED: dict[str, Any] = {**_EQUAL, "averaging_fraction": 0.95}
_CROPPED: dict[str, Any] = {**_FITTED, "crop_padding": 4}
_COSINE = "cosine:max_lr=0.35,warmup_steps=5%"
_ONE_CYCLE = "one_cycle:max_lr=3,initial_lr=0.1,max_momentum=none"


def _own(
    condition: str, title: str, make: Callable[..., Setting], *chosen: str, tuned: bool = False, **changes: Any
) -> Experiment:
    return Experiment(
        f"fair-headline/{condition}", None, make(**changes), (*((_TUNED,) if tuned else ()), *chosen),
        tuning=Tuning() if tuned else None, title=title,
    )  # fmt: skip


CLAIM = Claim(
    "fair-headline",
    "At equal updates, equal augmentation and equally tuned learning rates one cycle beats ordinary training.",
    "the paper's Fig. 1a as a chain; not in the paper",
    (
        _own("pclr-80000", "PC-LR as in the paper", piecewise),
        _own("pclr-equal-steps", "PC-LR over 10,000 updates, its drops in proportion", piecewise, **_EQUAL),
        _own("pclr-averaging", "the same, averaging fraction of its length", piecewise, **_FITTED),
        _own("pclr-tuned", "the same, learning rate tuned", piecewise, tuned=True, **_FITTED),
        _own("pclr-crops", "the same with crops, tuned again", piecewise, _CROPS, tuned=True, **_CROPPED),
        _own(
            "cosine", "warm-up and cosine with crops, tuned", piecewise, _CROPS, _WARM_UP,
            tuned=True, schedule=_COSINE, **_CROPPED,
        ),
        _own("clr", "one cycle of CLR as in the paper", cycle),
        _own("clr-tuned", "one cycle of CLR, tuned", cycle, tuned=True),
        _own("clr-crops", "one cycle of CLR with crops, tuned again", cycle, _CROPS, tuned=True, **_CROPPED),
        _own(
            "1cycle", "1cycle at constant momentum with crops, tuned", cycle, _CROPS,
            tuned=True, schedule=_ONE_CYCLE, **_CROPPED,
        ),
        _own(
            "1cycle-momentum", "1cycle with momentum from .95 to .85 with crops, tuned", cycle, _CROPS,
            tuned=True, momentum=None, schedule="one_cycle:max_lr=3,initial_lr=0.1", **_CROPPED,
        ),
    ),
    (
        Effect("pclr-equal-steps", "pclr-80000", sign=0),
        Effect("pclr-averaging", "pclr-equal-steps", sign=0),
        Effect("pclr-tuned", "pclr-averaging", sign=0),
        Effect("clr", "pclr-tuned", sign=0),
        Effect("clr-tuned", "pclr-tuned", sign=0),
        Effect("pclr-crops", "pclr-tuned", sign=0),
        Effect("cosine", "pclr-crops", sign=0),
        Effect("clr-crops", "cosine"),
        Effect("1cycle", "clr-crops", sign=0),
        Effect("1cycle-momentum", "1cycle", sign=0),
    ),
)  # fmt: skip
