"""What recipes were worth on other tasks: a class to refer to, and no forecast for the task at hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrackRecord:
    """Speed-ups measured on other tasks, as the interval for one more task of their kind.

    Args:
        opponent: what the recipes were compared with.
        tasks: how many.
        lower, upper: 80% prediction interval of the speed-up: exp(mean + - t(0.80, n - 1) s sqrt(1 + 1 / n)) of its
            logarithm over the tasks.
    Reference: results/recipes/README.md (second look), recipes found within a tenth of the ordinary steps.
    """

    opponent: str
    tasks: int
    lower: float
    upper: float

    @property
    def text(self) -> str:
        """As a clause."""
        return f"{self.lower:.2g} to {self.upper:.2g} times as fast as {self.opponent} ({self.tasks} tasks)"


MEASURED = (
    TrackRecord("tuned piecewise constant", 6, 0.854, 2.09),
    TrackRecord("a common default", 5, 1.037, 1.847),
)


def sentence() -> str:
    """For under a recipe."""
    clauses = ", ".join(record.text for record in MEASURED)
    return f"Elsewhere, on small image networks, recipes trained {clauses}; 80% intervals for one more such task."
