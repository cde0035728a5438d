"""Named networks of the paper and its companions, "timm/NAME" for the rest."""

from .batch_norm import (
    NormalisedBatchNorm1d,
    NormalisedBatchNorm2d,
    averaging_fraction_for,
    has_batch_norm,
    set_averaging_fraction,
    set_statistics_of,
)
from .registry import NAMES, build_model
from .seeding import seeded

__all__ = [
    "NAMES",
    "NormalisedBatchNorm1d",
    "NormalisedBatchNorm2d",
    "averaging_fraction_for",
    "build_model",
    "has_batch_norm",
    "seeded",
    "set_averaging_fraction",
    "set_statistics_of",
]
