"""The same training, one pass over the same batches, by the bare loop, by ours and by each peer's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

import superconv as sc

from .packages import missing


class Batches:
    """One batch, so many times: no loader's cost, and the same for all (Lightning takes a plain list for loaders)."""

    def __init__(self, inputs: torch.Tensor, targets: torch.Tensor, steps: int) -> None:
        self.items = [(inputs, targets)] * steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


Loop = Callable[[nn.Module, Optimizer, Any, Batches], None]


def bare(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches) -> None:
    model.train()
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss_fn(model(inputs), targets).backward()
        optimizer.step()


def superconv(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches) -> None:
    schedule = sc.one_cycle(len(batches), max_lr=0.1)
    for _ in sc.train_steps(model, optimizer, loss_fn, batches, schedule):
        pass


def accelerate(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    for inputs, targets in batches:
        optimizer.zero_grad()
        accelerator.backward(loss_fn(model(inputs), targets))
        optimizer.step()


def ignite(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches) -> None:
    from ignite.engine import create_supervised_trainer

    create_supervised_trainer(model, optimizer, loss_fn).run(batches, max_epochs=1)


def lightning_module(model: nn.Module, optimizer: Optimizer, loss_fn: Any) -> Any:
    """The smallest LightningModule around these very objects."""
    from lightning.pytorch import LightningModule

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.learning_rate = 0.1

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return loss_fn(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> Optimizer:
            return optimizer

    return Module()


def lightning(
    model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches, *, defaults: bool = False
) -> None:
    from lightning.pytorch import Trainer

    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = {} if defaults else dict.fromkeys(names, False)
    trainer = Trainer(max_epochs=1, accelerator="cpu", **options)
    trainer.fit(lightning_module(model, optimizer, loss_fn), batches)


def fastai_learner(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Any) -> Any:
    """A Learner around these very objects."""
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    def wrap(*_: Any, **__: Any) -> Any:
        return OptimWrapper(opt=optimizer)

    data = DataLoaders(batches, [])  # nothing to validate on
    return Learner(data, model, loss_func=loss_fn, lr=optimizer.defaults["lr"], opt_func=wrap, path=".")


def fastai(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches) -> None:
    learner = fastai_learner(model, optimizer, loss_fn, batches)
    with learner.no_bar(), learner.no_logging():
        learner.fit(1)


def skorch(model: nn.Module, optimizer: Optimizer, loss_fn: Any, batches: Batches) -> None:
    from skorch import NeuralNet

    class Net(NeuralNet):
        def get_loss(self, outputs: Any, targets: Any, *_: Any, **__: Any) -> torch.Tensor:
            return loss_fn(outputs, targets)

        def get_iterator(self, *_: Any, **__: Any) -> Batches:
            return batches

        def initialize_optimizer(self, *_: Any, **__: Any) -> Any:
            self.optimizer_ = optimizer
            return self

    net = Net(model, criterion=nn.CrossEntropyLoss, train_split=None, max_epochs=1, verbose=0)
    net.fit(*next(iter(batches)))


# name -> (distribution, or None for our own; loop)
LOOPS: dict[str, tuple[str | None, Loop]] = {
    "bare loop": (None, bare),
    "bare loop again": (None, bare),  # what two runs of the same differ by
    "superconv": (None, superconv),
    "accelerate": ("accelerate", accelerate),
    "ignite": ("pytorch-ignite", ignite),
    "skorch": ("skorch", skorch),
    "lightning, everything off": ("lightning", lightning),
    "lightning, defaults": ("lightning", partial(lightning, defaults=True)),
    "fastai": ("fastai", fastai),
}


def available() -> tuple[dict[str, Loop], list[str]]:
    """The loops that run here, and one line for each that does not."""
    reasons = {name: missing(peer) for name, (peer, _) in LOOPS.items() if peer is not None}
    loops = {name: loop for name, (_, loop) in LOOPS.items() if reasons.get(name) is None}
    return loops, list(dict.fromkeys(reason for reason in reasons.values() if reason))
