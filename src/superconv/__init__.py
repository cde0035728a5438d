"""superconv: find out whether a network super-converges, set it up, train it, and prove the gain.

Names are loaded when they are first used, so that `import superconv` imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for editors and type checkers
    from . import data, models
    from .analysis.comparison import paired_difference
    from .analysis.range_test import RangeTest, suggest
    from .analysis.speed_up import speed_up
    from .analysis.suggestion import Suggestion
    from .analysis.verdict import Verdict
    from .data import Splits
    from .experiments.compare import compare
    from .experiments.contenders import Contender
    from .experiments.find import find
    from .experiments.recipe import Recipe
    from .measure.curvature.monitor import LRMonitor
    from .measure.range_test import lr_range_test
    from .records import Evaluation, History, StepRecord, StopReason
    from .restore.preserve import preserved
    from .schedules import (
        Schedule,
        constant,
        cosine,
        lr_ramp,
        one_cycle,
        piecewise_constant,
        total_steps,
        triangular,
        warmup_stable_decay,
    )
    from .task import Task
    from .training.checkpoint import TrainState
    from .training.evaluate import evaluate
    from .training.loop import train, train_steps
    from .training.optimizers import build_optimizer
    from .training.schedule_lr import ScheduleLR

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
    "preserved": "restore.preserve",
    "TrainState": "training.checkpoint",
    "train": "training.loop",
    "train_steps": "training.loop",
    "evaluate": "training.evaluate",
    "build_optimizer": "training.optimizers",
    "lr_range_test": "measure.range_test",
    "LRMonitor": "measure.curvature.monitor",
    "find": "experiments.find",
    "Recipe": "experiments.recipe",
    "compare": "experiments.compare",
    "Contender": "experiments.contenders",
    "paired_difference": "analysis.comparison",
    "speed_up": "analysis.speed_up",
    "Splits": "data",
    "Task": "task",
    "data": "data",
    "models": "models",
}

__all__ = [
    "Contender",
    "Evaluation",
    "History",
    "LRMonitor",
    "RangeTest",
    "Recipe",
    "Schedule",
    "ScheduleLR",
    "Splits",
    "StepRecord",
    "StopReason",
    "Suggestion",
    "Task",
    "TrainState",
    "Verdict",
    "__version__",
    "build_optimizer",
    "compare",
    "constant",
    "cosine",
    "data",
    "evaluate",
    "find",
    "lr_ramp",
    "lr_range_test",
    "models",
    "one_cycle",
    "paired_difference",
    "piecewise_constant",
    "preserved",
    "speed_up",
    "suggest",
    "total_steps",
    "train",
    "train_steps",
    "triangular",
    "warmup_stable_decay",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'superconv' has no attribute {name!r}")
    module = importlib.import_module("." + _NAMES[name], __name__)
    value = module if _NAMES[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
