"""Recipe: the settings that a search found, with the evidence for them, as plain data on disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import runs
from ..analysis.binomial import standard_error
from ..models import averaging_fraction_for
from ..runs.read import read_json
from ..schedules import parse_schedule
from ..task import Task
from .config import Arm
from .contenders import Contender

if TYPE_CHECKING:
    from ..figures import Figure

FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """Everything that is chosen about a 1cycle training of any length.

    Args:
        optimizer: a name of `build_optimizer`.
        optimizer_options: its further arguments: weight decay, what norms and biases have instead
            (norm_weight_decay, bias_weight_decay), momentum where it is constant.
        policy: arguments of `one_cycle`: max_lr, initial_lr, final_lr, max_momentum (None: not cycled), min_momentum.
        batch_size: samples per update.
        clip_grad_norm, precision: as in `Arm`.
        batch_norm: whether the model has BatchNorm, whose averaging fraction then fits the length of the run.
        dropout: argument of the task's model; None: left as it is.
    """

    optimizer: str
    optimizer_options: Mapping[str, Any]
    policy: Mapping[str, float | None]
    batch_size: int
    clip_grad_norm: float | None
    precision: str
    batch_norm: bool
    dropout: float | None

    @property
    def schedule(self) -> str:
        """The schedule in one line, as `superconv train --schedule` takes it."""
        values = ",".join(f"{key}={'none' if v is None else repr(v)}" for key, v in self.policy.items())
        return f"one_cycle:{values}"

    def averaging_fraction(self, steps: int) -> float | None:
        """Of BatchNorm's running statistics in a run of this length; None without BatchNorm."""
        return averaging_fraction_for(steps) if self.batch_norm else None

    def arm_of(self, name: str, steps: int, evaluate_every: int | None = None) -> Arm:
        """An arm of these settings.

        Raises: ValueError: too few steps for a cycle.
        """
        return Arm(
            name, parse_schedule(self.schedule, steps), self.optimizer, self.optimizer_options, self.batch_size,
            precision=self.precision, clip_grad_norm=self.clip_grad_norm,
            averaging_fraction=self.averaging_fraction(steps), evaluate_every=evaluate_every,
        )  # fmt: skip

    def applied(self, task: Task) -> Task:
        """The task with the dropout of these settings; itself where they have none."""
        return task if self.dropout is None else with_dropout(task, self.dropout)


@dataclass(frozen=True)
class Trial:
    """One training that the search made.

    Args:
        factor: what it was to decide.
        settings: max_lr, weight_decay, momentum, batch_size, dropout.
        steps: its updates, annealed to the end.
        score: validation metric; chance where it diverged; None: not known.
    """

    factor: str
    settings: Mapping[str, Any]
    steps: int
    seed: int
    score: float | None
    diverged: bool = False


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings to use next, and why.

    Args:
        task: its name.
        steps: planned length, in updates of `batch_size`.
        tolerance, reasons: the range test's verdict on large learning rates.
        suggestion: the range test's max_lr, in words.
        metric, higher_is_better: that chose, on validation data, and its direction.
        chosen_by, confirmed: how the winner was chosen, and on how many fresh seeds.
        updates, budget: spent, and allowed, in updates of the planned batch size.
        strategy: that searched.
        samples, validation_samples: of the training set, and behind every score.
        evidence: every trial training, in the order made. There is no forecast for longer ones.
        edges: sentences about picks at the edge of what was tried.
        untried: settings of which one value alone was tried.
    """

    task: str
    steps: int
    tolerance: str
    reasons: tuple[str, ...]
    suggestion: str
    metric: str
    higher_is_better: bool
    chosen_by: str
    confirmed: int
    updates: int
    budget: int
    strategy: str
    samples: int
    validation_samples: int
    evidence: tuple[Trial, ...] = ()
    edges: tuple[str, ...] = ()
    untried: tuple[str, ...] = field(default=())

    @property
    def picked(self) -> dict[str, Any]:
        """The settings in the form of a trial's."""
        high, low = self.policy.get("max_momentum"), self.policy.get("min_momentum")
        constant = self.optimizer_options.get("momentum")
        momentum = [high, low] if high is not None else None if constant is None else [constant, constant]
        return {
            "max_lr": self.policy["max_lr"], "weight_decay": self.optimizer_options.get("weight_decay"),
            "momentum": momentum, "batch_size": self.batch_size, "dropout": self.dropout,
        }  # fmt: skip

    def contender(self, name: str = "recipe") -> Contender:
        """An arm of `compare` with these settings, nothing more to be tuned; BatchNorm averages as in the other arms.

        Raises: ValueError: the recipe sets what a contender does not have (dropout, clipping, another precision).
        """
        for what, value, usual in (
            ("dropout", self.dropout, None),
            ("clip_grad_norm", self.clip_grad_norm, None),
            ("precision", self.precision, "fp32"),
        ):
            if value != usual:
                raise ValueError(
                    f"a comparison trains every arm alike: the recipe's {what} {value!r} cannot be one arm's"
                )
        options = dict(self.optimizer_options)
        decay = options.pop("weight_decay", None)
        fixed = {} if decay is None else {"weight_decay": decay}
        return Contender(
            name, self.schedule, fixed=fixed, optimizer=self.optimizer, optimizer_options=options,
            batch_size=self.batch_size,
        )  # fmt: skip

    @property
    def reached(self) -> dict[int, tuple[float, ...]]:
        """Steps -> validation metrics of the trial trainings with exactly these settings; diverged ones have none."""
        found: dict[int, list[float]] = {}
        for trial in self.evidence:
            if dict(trial.settings) == self.picked and trial.score is not None and not trial.diverged:
                found.setdefault(trial.steps, []).append(trial.score)
        return {steps: tuple(found[steps]) for steps in sorted(found)}

    @property
    def noise(self) -> float | None:
        """Standard error of the best trial's accuracy; None for other metrics."""
        scores = [trial.score for trial in self.evidence if trial.score is not None and not trial.diverged]
        if not scores or not self.metric.endswith("accuracy"):
            return None
        return standard_error(max(scores), self.validation_samples)

    @property
    def memory_epochs(self) -> float | None:
        """Epochs in which weights are forgotten at the peak: 1 / (max_lr weight_decay) updates. None: no decay."""
        decay, lr = self.optimizer_options.get("weight_decay"), self.policy["max_lr"]
        return self.batch_size / (lr * decay) / self.samples if decay and lr else None

    def arm(self, steps: int | None = None) -> Arm:
        """A training with this recipe, for an experiment; None: of the planned length.

        Raises: ValueError: too few steps for a cycle.
        """
        return self.arm_of("recipe", self.steps if steps is None else steps)

    def snippet(self) -> str:
        """The recipe as a program of plain PyTorch that runs as it is (`recipe_snippet.snippet`)."""
        from .recipe_snippet import snippet

        return snippet(self)

    def plot(self) -> Figure:
        """Trial scores over each setting, a line a length (`recipe_figure.figure`)."""
        from .recipe_figure import figure

        return figure(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; `from_dict` gives an equal recipe back."""
        plain: dict[str, Any] = runs.plain(asdict(self))
        return {"format": FORMAT, "kind": "recipe", **plain}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote down.

        Raises: ValueError: something else, or another format.
        """
        if data.get("kind") != "recipe" or data.get("format") != FORMAT:
            raise ValueError(
                f"this version reads recipes of format {FORMAT}, got {data.get('kind')!r} of format "
                f"{data.get('format')!r}; run superconv find again, or use the version of superconv that wrote it"
            )
        names = [entry.name for entry in fields(cls)]
        if missing := [name for name in names if name not in data]:
            raise ValueError(f"the recipe lacks {', '.join(missing)}; run superconv find again")
        values: dict[str, Any] = {
            name: tuple(data[name]) if isinstance(data[name], list) else data[name] for name in names
        }
        try:
            _check_kinds(values)
            trials = tuple(Trial(**trial) for trial in data["evidence"])
            for trial in trials:
                _check_kinds(vars(trial))
            return cls(**values | {"evidence": trials})
        except TypeError as error:
            raise ValueError(f"the recipe is damaged ({error}); run superconv find again") from error

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, atomically. Raises: RunError: the file cannot be written."""
        return runs.atomic_write(path, runs.dumps(self.to_dict(), indent=1) + "\n", parents=True)

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read what `save` wrote. Raises: ValueError: no such file, a damaged one, or one of another format."""
        if not Path(path).is_file():
            raise ValueError(f"there is no recipe {path}; superconv find writes one, recipe.json in its experiment")
        return cls.from_dict(read_json(Path(path), "run superconv find again"))


_WORDS, _NUMBER, _COUNT = (str,), (int, float), (int,)
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("optimizer", "precision", "task", "tolerance", "suggestion", "metric", "strategy"), _WORDS),
    **dict.fromkeys(("chosen_by", "factor"), _WORDS),
    **dict.fromkeys(("optimizer_options", "policy", "settings"), (dict,)),
    **dict.fromkeys(("reasons", "edges", "untried", "evidence"), (tuple,)),
    **dict.fromkeys(("batch_size", "steps", "confirmed", "updates", "budget", "samples", "seed"), _COUNT),
    **dict.fromkeys(("clip_grad_norm", "dropout", "score"), (*_NUMBER, type(None))),
    **dict.fromkeys(("batch_norm", "higher_is_better", "diverged"), (bool,)),
    "validation_samples": _COUNT,
}


def _check_kinds(values: Mapping[str, Any]) -> None:
    """Raises: TypeError: a value of a stored recipe, or of one of its trials, that is of another kind than it was."""
    for name, kinds in _KINDS.items():
        if name not in values:
            continue
        value = values[name]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(f"{name} is a {type(value).__name__}")
        if isinstance(value, tuple) and name != "evidence" and not all(isinstance(item, str) for item in value):
            raise TypeError(f"{name} holds more than words")
    for name, value in values.get("policy", {}).items():
        if not isinstance(value, str if name == "shape" else (int, float, type(None))):
            raise TypeError(f"{name} is a {type(value).__name__}")
    for name, value in (*values.items(), *values.get("policy", {}).items()):
        if isinstance(value, int) and abs(value) >= 2**63:
            raise TypeError(f"{name} is a whole number of more than 64 bits")


def with_dropout(task: Task, dropout: float) -> Task:
    """The task with its model made with this dropout."""
    make: Callable[..., Any] = task.model
    return replace(task, model=functools.partial(make, dropout=dropout))
