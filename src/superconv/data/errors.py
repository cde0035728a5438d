"""What goes wrong with data, as errors of one clear sentence with the remedy."""

from __future__ import annotations


class DataError(ValueError):
    """Data that is missing, damaged or not what was asked for; the message ends with the remedy."""


class DataNotFoundError(DataError):
    """A named data set that does not lie in any of the folders where it was looked for."""
