"""The same LR range test, exponential and of so many steps, by ours and by each peer's finder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

import superconv as sc

from ..timing import StepClock
from .loops import fastai_learner, lightning_module
from .packages import missing

Suggestions = dict[str, float | None]  # by rule


@dataclass
class Subject:
    """What is measured: a model, its optimizer, its shuffled loader and its loss (which notes every step)."""

    model: nn.Module
    optimizer: Optimizer
    loader: DataLoader
    loss: StepClock

    def train(self, steps: int) -> None:
        """Bare updates, in the model's present modes."""
        for inputs, targets in self.batches(steps):
            self.optimizer.zero_grad()
            self.loss(self.model(inputs), targets).backward()
            self.optimizer.step()

    def batches(self, steps: int) -> Iterator[Any]:
        """`steps` batches, over as many epochs as that takes."""
        while steps > 0:
            for batch in self.loader:
                if steps == 0:
                    return
                steps -= 1
                yield batch


Finder = Callable[[Subject, float, float, int], Callable[[], Suggestions]]  # the suggestions are read off later


def subject(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, batch_size: int, seed: int) -> Subject:
    """A model with SGD (LR .01, momentum .9) and a loader with a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size, shuffle=True, drop_last=True, generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return Subject(model, optimizer, loader, StepClock(F.cross_entropy))


def bare(what: Subject, start_lr: float, end_lr: float, steps: int) -> Callable[[], Suggestions]:
    """Updates alone: nothing is recorded, nothing is restored."""
    what.model.train()
    what.train(steps)
    return dict


def superconv(what: Subject, start_lr: float, end_lr: float, steps: int) -> Callable[[], Suggestions]:
    ramp = sc.lr_range_test(
        what.model, what.optimizer, what.loss, what.loader, start_lr=start_lr, end_lr=end_lr, total_steps=steps
    )
    return lambda: {f"superconv {rule}": ramp.suggest(rule).lr for rule in ("steepest", "blow_up", "minimum")}


def torch_lr_finder(what: Subject, start_lr: float, end_lr: float, steps: int) -> Callable[[], Suggestions]:
    import torch_lr_finder as package

    finder = package.LRFinder(what.model, what.optimizer, what.loss)
    finder.range_test(what.loader, start_lr=start_lr, end_lr=end_lr, num_iter=steps)
    finder.reset()

    def read_off() -> Suggestions:
        from matplotlib import pyplot

        pyplot.switch_backend("Agg")  # the suggestion is part of the picture
        drawn = finder.plot(suggest_lr=True)
        pyplot.close("all")
        return {"torch-lr-finder": float(drawn[1]) if isinstance(drawn, tuple) else None}

    return read_off


def fastai(what: Subject, start_lr: float, end_lr: float, steps: int) -> Callable[[], Suggestions]:
    from fastai.callback.schedule import minimum, slide, steep, valley

    learner = fastai_learner(what.model, what.optimizer, what.loss, what.loader)
    with learner.no_bar():
        found = learner.lr_find(start_lr, end_lr, steps, show_plot=False, suggest_funcs=(valley, slide, minimum, steep))
    return lambda: {f"fastai {rule}": float(lr) for rule, lr in found._asdict().items()}


def ignite(what: Subject, start_lr: float, end_lr: float, steps: int) -> Callable[[], Suggestions]:
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    trainer = create_supervised_trainer(what.model, what.optimizer, what.loss)
    finder = FastaiLRFinder()
    saved = {"model": what.model, "optimizer": what.optimizer}
    with finder.attach(trainer, saved, num_iter=steps, start_lr=start_lr, end_lr=end_lr) as attached:
        attached.run(what.loader)
    return lambda: {"ignite": float(finder.lr_suggestion())}


def lightning(what: Subject, start_lr: float, end_lr: float, steps: int) -> Callable[[], Suggestions]:
    from lightning.pytorch import Trainer
    from lightning.pytorch.tuner import Tuner

    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = Trainer(max_epochs=100, accelerator="cpu", **dict.fromkeys(names, False))
    module = lightning_module(what.model, what.optimizer, what.loss)
    found = Tuner(trainer).lr_find(
        module, what.loader, min_lr=start_lr, max_lr=end_lr, num_training=steps, update_attr=False
    )
    return lambda: {"lightning": found.suggestion()}


# name -> (distribution, or None for our own; finder)
FINDERS: dict[str, tuple[str | None, Finder]] = {
    "bare updates": (None, bare),
    "superconv": (None, superconv),
    "torch-lr-finder": ("torch-lr-finder", torch_lr_finder),
    "fastai": ("fastai", fastai),
    "lightning": ("lightning", lightning),
    "ignite": ("pytorch-ignite", ignite),
}


def available() -> tuple[dict[str, Finder], list[str]]:
    """The finders that run here, and one line for each that does not."""
    reasons = {name: missing(peer) for name, (peer, _) in FINDERS.items() if peer is not None}
    finders = {name: finder for name, (_, finder) in FINDERS.items() if reasons.get(name) is None}
    return finders, [reason for reason in reasons.values() if reason]
