"""A measured metric in words: percent for an accuracy, any other by its name."""

from __future__ import annotations


def is_loss(metric: str) -> bool:
    """Whether nothing but the loss is measured: the metric "loss", or "none" (as `metric_name` calls them)."""
    return metric in ("loss", "none")


def metric_text(metric: str, value: float | None) -> str:
    """A value of the metric of that name: 88.71%, or mae 0.8871.

    Args:
        metric: as `metric_name` calls it; of names that end in "accuracy" the values are fractions.
        value: None where it is not finite (as in a run's summary).
    Example:
        >>> metric_text("top5_accuracy", 0.8871), metric_text("mae", 0.8871), metric_text("mae", None)
        ('88.71%', 'mae 0.8871', 'mae not finite')
    """
    if value is None:
        return f"{metric} not finite"
    return f"{value:.2%}" if metric.endswith("accuracy") else f"{metric} {value:.4g}"
