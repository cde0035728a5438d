"""A progress bar on stderr: step, learning rate, loss, accuracy, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .measured import is_loss, metric_text

WIDE = 120  # characters: a line with everything in it fits


class Bar:
    """One bar a description; quiet where nobody looks."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}
        self._metric: dict[str, str] = {}

    def show(self, description: str, done: int, total: int, text: str) -> None:
        """Set a bar, made when its description is new."""
        if self._progress is None:
            return
        if description not in self._tasks:
            self._tasks[description] = self._progress.add_task(description, total=total, text="")
        self._progress.update(self._tasks[description], completed=done, total=total, text=text)

    def training(self, description: str, metric: str = "accuracy") -> Any:
        """A `Progress` function for `run_arm`; the metric as `metric_name` calls it."""

        def report(done: int, total: int, record: Any, loss: float, evaluation: Any, reading: Any) -> None:
            if evaluation is not None:
                found = f"loss {evaluation.loss:.4f}" if is_loss(metric) else metric_text(metric, evaluation.metric)
                self._metric[description] = f"  valid {found}"
            text = f"lr {record.lr[0]:.3g}  loss {loss:.4f}{self._metric.get(description, '')}"
            if reading is not None:
                text += f"  {_curvature(reading)}"
            self.show(description, done, total, text)

        return report

    def measuring(self, prefix: str = "") -> Any:
        """A `progress` function for `lr_range_test`."""

        def report(phase: str, done: int, total: int, record: Any) -> None:
            self.show(f"{prefix}{phase}", done, total, f"lr {record.lr[0]:.2e}  loss {float(record.loss):.3f}")

        return report


def _curvature(reading: Any) -> str:
    """What an LR monitor's reading is, in the width of a column: paper's estimate (or that it echoes), secant."""
    text = "paper's est. -" if reading.paper_estimate is None else f"paper's est. {reading.paper_estimate:.2g}"
    if reading.echo:
        text += " (echo)"
    secant = reading.probes.secant.quotient.value if reading.probes is not None else None
    return text + (f"  secant {secant:.2g}" if secant is not None else "")


@contextmanager
def bar(quiet: bool = False) -> Iterator[Bar]:
    """A live display on stderr; on something that is no terminal rich prints its last state only.

    On a narrow screen the numbers come first: the bar itself and the time spent are left out, words are cut.
    """
    if quiet:
        yield Bar(None)
        return
    from rich.progress import Progress

    from .plain_console import plain_console
    from .progress_columns import columns

    console = plain_console(stderr=True)
    with Progress(*columns(console.width >= WIDE), console=console) as progress:
        yield Bar(progress)
