"""The gradient-noise scale of a live model."""

from __future__ import annotations

import torch

from ...analysis.curvature.jackknife import MINIMUM_PROBES
from ...analysis.curvature.noise_scale import NoiseScale, noise_scale
from .objective import BatchObjective


def gradient_noise_scale(objective: BatchObjective) -> NoiseScale:
    """B_simple at the present parameters, from the gradients of the objective's micro-batches.

    One gradient of every micro-batch, all kept until the end: the memory is one set of weights a micro-batch. Take
    batches drawn at random from the training data, or one large batch cut into pieces. What depends on the
    size of a batch is measured at the pieces' size: BatchNorm's statistics in training mode, for one.

    Args:
        objective: with at least 8 batches of one size.
    Returns: batch size in samples with its standard error, or the reason why there is none.
    Raises: ValueError: fewer batches, or sizes that differ.
    Reference: see `superconv.analysis.curvature.noise_scale`.
    """
    sizes = objective.sizes
    if len(sizes) < MINIMUM_PROBES:
        raise ValueError(
            f"batches: got {len(sizes)}, at least {MINIMUM_PROBES} are needed for a standard error; cut a batch into "
            f"pieces: list(zip(inputs.chunk({MINIMUM_PROBES}), targets.chunk({MINIMUM_PROBES})))"
        )
    if len(set(sizes)) > 1:
        raise ValueError(f"batches: got sizes {sorted(set(sizes))}, they must be equal; leave the odd one out")
    gradients = [_flat(objective.batch_gradient(index)) for index in range(len(sizes))]
    products = [[float(torch.dot(a, b)) for b in gradients[: i + 1]] for i, a in enumerate(gradients)]
    mirrored = [[products[max(a, b)][min(a, b)] for b in range(len(sizes))] for a in range(len(sizes))]
    return noise_scale(mirrored, sizes[0])


def _flat(vector: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in vector])
