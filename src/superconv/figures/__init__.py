"""Pictures from arrays and labels: a spec, and back ends that draw it."""

from .spec import Figure, Line, Mark, Panel, Span

__all__ = ["Figure", "Line", "Mark", "Panel", "Span"]
