"""Task: what is trained, built in code, from names, or by an import path."""

from .definition import Task
from .identity import source_hash
from .loading import load_task
from .metrics import (
    METRICS,
    Accumulating,
    Counted,
    Metric,
    check_outputs,
    counting_metric,
    metric_function,
    metric_name,
)
from .named import cross_entropy, named_task

__all__ = [
    "METRICS",
    "Accumulating",
    "Counted",
    "Metric",
    "Task",
    "check_outputs",
    "counting_metric",
    "cross_entropy",
    "load_task",
    "metric_function",
    "metric_name",
    "named_task",
    "source_hash",
]
