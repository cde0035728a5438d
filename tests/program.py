"""The toy task on which the program is tried, as a file that a user would write."""

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]  # arguments -> exit code, stdout, stderr

TOY_TASK = """
import torch
from torch import nn
import superconv as sc

def make():
    generator = torch.Generator().manual_seed(0)
    def part(n):
        x = torch.randn(n, 6, generator=generator)
        return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()
    model = lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    return sc.Task("toy", model=model, data=sc.Splits(part(256), part(64), part(64), 3))
"""
