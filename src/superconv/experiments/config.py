"""Arm: one condition of an experiment, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..schedules import Schedule
from ..training.arguments import check_options
from ..training.evaluate import EvaluateWith

_YOUNGER = ("statistics_of", "evaluation_batch_size")


@dataclass(frozen=True)
class Arm:
    """Everything that is chosen about a training; what is trained is the task, and the seed comes from the runner.

    Args:
        name: the condition's name in tables and folders.
        schedule: learning rate, and momentum or weight decay where it sets them.
        optimizer: a name of `build_optimizer`.
        optimizer_options: its further arguments (momentum, weight_decay, norm_weight_decay, ...).
        batch_size: samples per micro-batch.
        accumulation_steps: micro-batches per update.
        averaging_fraction: how slowly BatchNorm's running statistics move; None: as the model has it.
        label_smoothing: of a cross-entropy loss, in training and in the losses that are reported.
        augment: whether the data's training augmentation is used.
        evaluate_every: steps between evaluations on validation data; None: ten along the run.
        evaluate_with: where BatchNorm's statistics come from in evaluation.
        compile: run the model through `torch.compile`.
        channels_last: memory format of images; None: where it is faster.
        statistics_of: samples of a batch that share BatchNorm statistics in training; None: all (`set_statistics_of`).
        evaluation_batch_size: samples a batch of validation and test data, per rank, which matters where tests use its
            statistics (`evaluate_with="batch"`); None: 500.
        train_samples: size of a reduced training set, drawn by the seed of `train_subset_seed`; None: all.
    """

    name: str
    schedule: Schedule
    optimizer: str = "sgd"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 128
    accumulation_steps: int = 1
    precision: str = "fp32"
    clip_grad_norm: float | None = None
    averaging_fraction: float | None = None
    label_smoothing: float = 0.0
    augment: bool = True
    evaluate_every: int | None = None
    evaluate_with: EvaluateWith = "running"
    compile: bool = False
    channels_last: bool | None = None
    train_samples: int | None = None
    train_subset_seed: int = 0
    statistics_of: int | None = None
    evaluation_batch_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimizer_options", dict(self.optimizer_options))
        if not self.name:
            raise ValueError("an arm needs a name")
        if "lr" in self.optimizer_options:
            raise ValueError("an arm's learning rate comes from its schedule; leave lr out of optimizer_options")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.evaluation_batch_size is not None and self.evaluation_batch_size < 1:
            raise ValueError(f"evaluation_batch_size must be at least 1, got {self.evaluation_batch_size}")
        check_options(self.accumulation_steps, self.evaluate_every, self.clip_grad_norm, self.evaluate_with)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the name: what makes two runs the same run.

        Settings that are younger than the format are left out where they are unset: runs made before keep their name.
        """
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "name"}
        values = {key: value for key, value in values.items() if key not in _YOUNGER or value is not None}
        return {**values, "schedule": self.schedule.to_dict(), "optimizer_options": dict(self.optimizer_options)}
