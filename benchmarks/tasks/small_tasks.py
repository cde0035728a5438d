"""The catalogue of small real tasks that advice, verdicts and recipes are measured on: seconds a training, one core."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import superconv as sc
from superconv.models import build_model

from . import small_data
from .small_networks import CharTransformer, SmallBottleneck, TinyConvNeXt, TinyViT

STEPS = 150
BATCH, SAMPLES = 64, 10_000
OPTIMIZERS = {
    "sgd": {"momentum": 0.9, "weight_decay": 1e-4},
    "sgd-plain": {"momentum": 0.0},  # build_optimizer's "sgd"
    "adamw": {"weight_decay": 0.01},
}
CHEAP = ("lenet-slim", "lenet-slim-bn", "mlp", "mlp-bn")  # can afford twice the updates
NETWORKS = (
    "bottleneck", "char-transformer", "convnext", "lenet-slim", "lenet-slim-bn", "mlp", "mlp-bn", "resnet8",
    "resnet8-nonorm", "resnext", "vit",
)  # fmt: skip


@dataclass(frozen=True)
class SmallTask:
    """One task of a benchmark.

    Args:
        data: a name of `small_data.NAMES`.
        network: a name of `NETWORKS`; also the family that is left out as a whole.
        optimizer: a name of `OPTIMIZERS`.
        batch_size: samples an update.
        samples: of the training part, at most.
        steps: updates of one training.
    """

    data: str
    network: str
    optimizer: str = "sgd"
    batch_size: int = BATCH
    samples: int = SAMPLES
    steps: int = STEPS

    @property
    def name(self) -> str:
        """Unique among the tasks of a benchmark, and fit for a file."""
        return f"{self.data}-{self.network}-{self.optimizer}-batch{self.batch_size}-{self.samples}samples-{self.steps}"

    @property
    def half(self) -> int:
        """0: thresholds may be set on it; 1: results alone. By family, every other name of the alphabet."""
        return NETWORKS.index(self.network) % 2

    def task(self, data_dir: str | Path | None = None) -> sc.Task:
        """The task, with data and a function that makes its network."""
        splits = small_data.splits(self.data, self.samples, data_dir)
        return sc.Task(f"{self.data}/{self.network}", network(self.network, splits), splits)

    def build_optimizer(self, model: nn.Module, lr: float) -> torch.optim.Optimizer:
        """A fresh optimizer of the task's kind."""
        kind = self.optimizer.removesuffix("-plain")
        return sc.build_optimizer(kind, model, lr=lr, **OPTIMIZERS[self.optimizer])


def network(name: str, splits: sc.Splits) -> Callable[[], nn.Module]:
    """A function that makes the network for this data."""
    shape, classes = tuple(splits.train.inputs.shape[1:]), splits.num_classes  # type: ignore[attr-defined]
    if name == "char-transformer":
        return functools.partial(CharTransformer, classes, *shape)
    channels, size = shape[0], shape[-1]
    made: dict[str, Callable[[], nn.Module]] = {
        "vit": functools.partial(TinyViT, classes, channels, size),
        "convnext": functools.partial(TinyConvNeXt, classes, channels),
        "bottleneck": functools.partial(SmallBottleneck, classes, channels),
        "resnext": functools.partial(SmallBottleneck, classes, channels, inner=32, groups=32),
    }
    return made.get(name) or functools.partial(build_model, name, classes, in_channels=channels, image_size=size)


def suggestion_tasks() -> list[SmallTask]:
    """Every network on its data with two optimizers, then variations of batch size and amount of data."""
    c10, c100 = "cifar10-16px", "cifar100-16px"
    where = {
        "lenet-slim": ("mnist5k", c10), "lenet-slim-bn": ("mnist5k", c10, c100), "mlp": ("digits", c10),
        "mlp-bn": ("mnist5k", c10), "resnet8": (c10, c100), "resnet8-nonorm": (c10,), "bottleneck": (c10,),
        "resnext": (c10,), "vit": (c10, "mnist5k"), "convnext": (c10, c100), "char-transformer": ("text",),
    }  # fmt: skip
    tasks = [SmallTask(d, n, o) for n, found in where.items() for d in found for o in ("sgd", "adamw")]
    few = [SmallTask(c10, n, o, samples=1000) for n in ("lenet-slim-bn", "mlp") for o in ("sgd", "adamw")]
    resized = ("lenet-slim", "lenet-slim-bn", "mlp-bn", "vit")
    sizes = [SmallTask(c10, n, "sgd", size) for n in resized for size in (16, 256)]
    return [replace(t, steps=2 * STEPS) if t.network in CHEAP else t for t in tasks + few + sizes]
