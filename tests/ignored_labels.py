"""Pictures of which some labels are ignored, for the tests of what is measured on them."""

import torch
from torch import nn

CLASSES = 3


def make(ignored: int, share: float = 0.7, places: tuple[int, ...] = (4, 5)) -> tuple[nn.Module, list]:
    """A 1x1 convolution, and batches of pictures whose labels are partly ignored; of the third batch, all."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(20, 6, *places), torch.randint(CLASSES, (20, *places))
    targets[torch.rand(targets.shape) < share] = ignored
    targets[16:] = ignored
    layer = nn.Conv2d(6, CLASSES, 1) if len(places) == 2 else nn.Linear(6, CLASSES)
    return layer, list(zip(inputs.split(8), targets.split(8), strict=True))


def joined(batches: list) -> tuple[torch.Tensor, torch.Tensor]:
    """All of them as one batch."""
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
