"""One training of a balance experiment: small CIFAR-10, 1cycle, SGD, accuracy on validation and test data."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.data import Batches
from superconv.models import build_model
from superconv.records import StopReason

from ..tasks import small_data
from ..tasks.small_tasks import network

DATA = "cifar10-16px"
CYCLED = (0.95, 0.85)  # momentum at the ends of the cycle and at its peak


@dataclass(frozen=True)
class Setting:
    """What one training is made of.

    Args:
        network: a name of the catalogue of small tasks.
        samples: training images.
        batch_size: images an update.
        steps: updates.
        max_lr: learning rate at the peak of 1cycle.
        seed: of initialisation, order, augmentation and dropout.
        weight_decay: as SGD takes it.
        dropout: probability, behind every ReLU layer; in a ResNet as it takes it.
        momentum: constant; None: cycled, `CYCLED`.
    """

    network: str
    samples: int
    batch_size: int
    steps: int
    max_lr: float
    seed: int
    weight_decay: float = 1e-4
    dropout: float = 0.0
    momentum: float | None = None

    @property
    def key(self) -> str:
        """Names the training in a JSON file."""
        momentum = "cycled" if self.momentum is None else f"{self.momentum:g}"
        return (
            f"{self.samples}samples/batch{self.batch_size}/{self.steps}steps/lr{self.max_lr:g}/wd{self.weight_decay:g}/"
            f"dropout{self.dropout:g}/momentum-{momentum}/seed{self.seed}"
        )


def trained(setting: Setting, data_dir: str | Path | None = None) -> tuple[float, float]:
    """Accuracy on validation (2,000 images) and test data (3,000) at the end; chance where the training diverged.

    BatchNorm uses the statistics of the evaluated batch (500 images), the same for every batch size of the training.
    """
    splits = small_data.splits(DATA, setting.samples, data_dir)
    task = sc.Task(DATA, functools.partial(_model, setting, splits), splits)
    model = task.build_model(setting.seed)
    torch.manual_seed(setting.seed)  # of the dropout masks
    optimizer = sc.build_optimizer(
        "sgd", model, lr=setting.max_lr, momentum=setting.momentum or CYCLED[0], weight_decay=setting.weight_decay
    )
    high, low = CYCLED if setting.momentum is None else (None, None)
    schedule = sc.one_cycle(setting.steps, max_lr=setting.max_lr, max_momentum=high, min_momentum=low)
    options: dict[str, Any] = {"preparation": splits.preparation}
    batches = Batches(splits.train, setting.batch_size, seed=setting.seed, **options)
    history = sc.train(model, optimizer, F.cross_entropy, batches, schedule)
    if history.stop is StopReason.diverged:
        return 1.0 / splits.num_classes, 1.0 / splits.num_classes
    validation, test = (
        sc.evaluate(model, Batches.for_evaluation(part, **options), F.cross_entropy, evaluate_with="batch").metric
        for part in (splits.validation, splits.test)
    )
    return round(validation, 4), round(test, 4)


def _model(setting: Setting, splits: sc.Splits) -> nn.Module:
    if setting.dropout and setting.network.startswith("resnet"):
        return build_model(setting.network, splits.num_classes, dropout=setting.dropout)
    model = network(setting.network, splits)()
    if setting.dropout:
        _add_dropout(model, setting.dropout)
    return model


def _add_dropout(model: nn.Module, probability: float) -> None:
    """Dropout behind every ReLU layer; the weights are those of the network without it."""
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ReLU):
                setattr(parent, name, nn.Sequential(layer, nn.Dropout(probability)))
