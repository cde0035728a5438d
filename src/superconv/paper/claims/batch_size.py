"""Large batches do better at an equal number of updates."""

from ..claim import Claim, Effect, Experiment
from .base import cycle

_GAP_OF = (1536, 256)  # whose generalisation gaps v3 draws
_GAP_IMAGES = 10_000

CLAIM = Claim(
    "batch-size",
    "At equal updates batches of 1,000 and 1,536 beat 512, and 512 beats 256; generalisation gaps are about the same.",
    "arXiv 1708.07120v1, Fig. 9a and Table 5; v3, Fig. 5",
    tuple(
        Experiment(
            f"batch-size/{size}", f"fig9a-bs{size}",
            cycle(
                batch_size=size, statistics_of=size // 8, gap_images=_GAP_IMAGES if size in _GAP_OF else None
            ),
        )
        for size in (1536, 1000, 512, 256)
    ),
    (
        Effect("1000", "256", size=0.029),
        Effect("1000", "512", size=0.007),
        Effect("1536", "512", size=0.004),
        Effect("512", "256", size=0.022),
        Effect("1536", "256", sign=0, equal=True, measure="generalisation gap"),
    ),
)  # fmt: skip
