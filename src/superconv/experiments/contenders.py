"""Contenders: what is compared, before its length and its tuned settings are known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

import torch

from ..near_names import near
from ..schedules import parse_schedule
from ..training.evaluate import EvaluateWith
from .config import Arm

WEIGHT_DECAY = "weight_decay"  # the one setting that is the optimizer's; the others stand in the schedule
DIMENSIONS = 8  # of the sequence, of which a contender uses its first: scrambling depends on their number
SGD_LR, ADAM_LR = (1e-3, 10.0), (1e-5, 0.1)


@dataclass(frozen=True)
class Interval:
    """A setting's range of search: even in its logarithm, or `linear`."""

    low: float
    high: float
    linear: bool = False

    def __post_init__(self) -> None:
        if not (self.low < self.high and math.isfinite(self.high) and (self.linear or self.low > 0)):
            kind = "increasing" if self.linear else "positive and increasing"
            raise ValueError(f"a range of search must be {kind}, got {self.low:g} to {self.high:g}")

    def at(self, share: float) -> float:
        """The value at a share in [0, 1] of the range, to three digits."""
        if self.linear:
            value = self.low + share * (self.high - self.low)
        else:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return float(f"{value:.3g}")

    def at_edge(self, value: float, share: float = 0.1) -> bool:
        """Whether a pick lies in the outer `share` of the range, so that a wider one may hold better ones."""
        transform = (lambda v: v) if self.linear else math.log
        low, high = transform(self.low), transform(self.high)
        place = (transform(value) - low) / (high - low) if self.linear or value > 0 else 0.0
        return not share <= place <= 1.0 - share


WEIGHT_DECAYS = Interval(1e-5, 1e-2)
WARM_UPS = Interval(0.0, 20.0, linear=True)  # percent of the run


@dataclass(frozen=True)
class Contender:
    """An arm of a comparison at any length.

    Args:
        name: in tables and folders.
        schedule: a schedule in one line (`schedules.parse_schedule`) with {settings} in it, such as
            "cosine:max_lr={lr},warmup_steps={warmup}%".
        space: setting -> range that is searched; "weight_decay" is the optimizer's, others stand in `schedule`.
            Empty: not tuned.
        fixed: settings that are not searched.
        optimizer: a name of `build_optimizer`.
        optimizer_options: its further arguments.
        batch_size: samples per update.
        evaluate_with: BatchNorm's statistics in evaluation; the running ones are not those of averaged weights.
        common: whether this is the common default, whose settings are those people start with.
    Raises: ValueError: a setting of the schedule that is neither searched nor fixed, one that stands nowhere, or one
        that is given twice.
    """

    name: str
    schedule: str
    space: Mapping[str, Interval] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    optimizer: str = "sgd"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 128
    evaluate_with: EvaluateWith = "running"
    common: bool = False

    def __post_init__(self) -> None:
        for what, values in (("space", self.space), ("fixed", self.fixed)):
            if not isinstance(values, Mapping):
                raise TypeError(f"contender {self.name!r}: {what} must be a mapping from names, got {values!r}")
        for name, interval in self.space.items():
            if not isinstance(interval, Interval):
                raise TypeError(f"contender {self.name!r}: {name} is searched in an Interval, got {interval!r}")
        if WEIGHT_DECAY in {**self.space, **self.fixed} and WEIGHT_DECAY in self.optimizer_options:
            raise ValueError(
                f"contender {self.name!r}: the weight_decay in optimizer_options would be written over; give it once"
            )
        used = {name for _, name, _, _ in Formatter().parse(self.schedule) if name is not None}
        known = {*self.space, *self.fixed}
        for name in sorted(used - known):
            raise ValueError(f"contender {self.name!r}: {{{name}}} is neither searched nor fixed; {near(name, known)}")
        for name in sorted(known - used - {WEIGHT_DECAY}):
            raise ValueError(f"contender {self.name!r}: {name!r} does not stand in {self.schedule!r}; write {{{name}}}")

    @property
    def tuned(self) -> bool:
        """Whether anything is searched."""
        return bool(self.space)

    def arm(self, steps: int, settings: Mapping[str, float] | None = None) -> Arm:
        """This contender at one length, with settings from its space."""
        values = {**self.fixed, **(settings or {})}
        missing = sorted(set(self.space) - set(values))
        if missing:
            raise ValueError(f"contender {self.name!r} needs values for {', '.join(missing)}")
        options = dict(self.optimizer_options)
        if WEIGHT_DECAY in values:
            options[WEIGHT_DECAY] = values[WEIGHT_DECAY]
        schedule = parse_schedule(self.schedule.format(**values), steps)
        if "momentum" in options and "momentum" in schedule.curves:
            raise ValueError(
                f"contender {self.name!r}: the momentum in optimizer_options would be ignored, since the schedule sets "
                "it; leave it out, or write max_momentum=none into the schedule"
            )
        return Arm(
            f"{self.name} {steps} steps", schedule, self.optimizer, options, self.batch_size,
            evaluate_every=max(1, steps // 5), evaluate_with=self.evaluate_with,
        )  # fmt: skip

    def candidates(self, trials: int, seed: int = 0) -> Iterator[dict[str, float]]:
        """The first `trials` points of a scrambled Sobol sequence over the space.

        Settings take their dimensions in the order lr, weight_decay, the rest by name, so that two contenders with the
        same ranges try the same values.
        """
        order = sorted(self.space, key=lambda name: (name != "lr", name != WEIGHT_DECAY, name))
        points = (
            torch.quasirandom.SobolEngine(max(DIMENSIONS, len(order)), scramble=True, seed=seed).draw(trials).tolist()
        )
        for point in points:
            yield {name: self.space[name].at(share) for name, share in zip(order, point, strict=False)}

    def edges(self, settings: Mapping[str, float]) -> tuple[str, ...]:
        """The settings whose pick lies at the edge of its range; a warm-up of none at the lower edge is no finding."""
        found = [name for name, interval in self.space.items() if interval.at_edge(settings[name])]
        return tuple(
            name for name in found if not (self.space[name].linear and settings[name] < self.space[name].high / 2)
        )


_MOMENTUM = {"momentum": 0.9}
_SGD = {"lr": Interval(*SGD_LR), WEIGHT_DECAY: WEIGHT_DECAYS}

CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("1cycle", "one_cycle:max_lr={lr}", _SGD),
        Contender(
            "piecewise constant", "piecewise_constant:lr={lr},milestones=60%+85%,warmup_steps={warmup}%",
            {**_SGD, "warmup": WARM_UPS}, optimizer_options=_MOMENTUM,
        ),
        Contender(
            "cosine", "cosine:max_lr={lr},warmup_steps={warmup}%", {**_SGD, "warmup": WARM_UPS},
            optimizer_options=_MOMENTUM,
        ),
        Contender(
            "constant", "constant:lr={lr},warmup_steps={warmup}%", {**_SGD, "warmup": WARM_UPS},
            optimizer_options=_MOMENTUM,
        ),
        Contender(
            "warmup-stable-decay", "warmup_stable_decay:max_lr={lr},warmup_steps={warmup}%,decay_steps=20%",
            {**_SGD, "warmup": WARM_UPS}, optimizer_options=_MOMENTUM,
        ),
        Contender(
            "AdamW cosine", "cosine:max_lr={lr},warmup_steps={warmup}%",
            {"lr": Interval(*ADAM_LR), WEIGHT_DECAY: Interval(1e-3, 1.0), "warmup": WARM_UPS}, optimizer="adamw",
        ),
        Contender(
            "schedule-free SGD", "constant:lr={lr},warmup_steps={warmup}%", {**_SGD, "warmup": WARM_UPS},
            optimizer="schedulefree:SGDScheduleFree", optimizer_options=_MOMENTUM, evaluate_with="reestimated",
        ),
        Contender(
            "schedule-free AdamW", "constant:lr={lr},warmup_steps={warmup}%",
            {"lr": Interval(*ADAM_LR), WEIGHT_DECAY: Interval(1e-3, 1.0), "warmup": WARM_UPS},
            optimizer="schedulefree:AdamWScheduleFree", evaluate_with="reestimated",
        ),
        Contender(
            "Prodigy", "cosine:max_lr={lr},warmup_steps={warmup}%",
            {WEIGHT_DECAY: Interval(1e-3, 1.0), "warmup": WARM_UPS}, {"lr": 1.0}, optimizer="prodigyopt:Prodigy",
        ),
        Contender(
            "common default", "piecewise_constant:lr={lr},milestones=60%+85%", fixed={"lr": 0.01, WEIGHT_DECAY: 1e-4},
            optimizer_options=_MOMENTUM, common=True,
        ),
    )
}  # fmt: skip
"""The arms that `compare` knows by name; schedule-free ones and Prodigy need their packages (extra `compare`)."""


def contenders_named(names: Sequence[str]) -> tuple[Contender, ...]:
    """By name. Raises: ValueError: an unknown name (with the nearest ones), a name twice."""
    for name in names:
        if name not in CONTENDERS:
            raise ValueError(f"contender {name!r} is unknown; {near(name, CONTENDERS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a contender is named twice in {', '.join(names)}; name each once")
    return tuple(CONTENDERS[name] for name in names)
