"""superconv: find out whether a network super-converges, set it up, train it, and prove the gain.

Names are loaded when they are first used, so that `import superconv` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module that defines it
_NAMES = {
    "Schedule": "schedules",
    "constant": "schedules",
    "cosine": "schedules",
    "lr_ramp": "schedules",
    "one_cycle": "schedules",
    "piecewise_constant": "schedules",
    "total_steps": "schedules",
    "triangular": "schedules",
    "warmup_stable_decay": "schedules",
    "Evaluation": "records",
    "History": "records",
    "StepRecord": "records",
    "StopReason": "records",
    "RangeTest": "analysis.range_test",
    "suggest": "analysis.range_test",
    "Suggestion": "analysis.suggestion",
    "Verdict": "analysis.verdict",
    "ScheduleLR": "training.schedule_lr",
    "preserved": "training.preserve",
    "TrainState": "training.checkpoint",
    "train": "training.loop",
    "train_steps": "training.loop",
    "evaluate": "training.evaluate",
    "build_optimizer": "training.optimizers",
    "lr_range_test": "measure.range_test",
    "Splits": "data",
    "Task": "task",
    "data": "data",
    "models": "models",
}

__all__ = ["__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'superconv' has no attribute {name!r}")
    module = importlib.import_module("." + _NAMES[name], __name__)
    value = module if _NAMES[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
