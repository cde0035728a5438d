"""Contenders tuned alike, then trained at planned lengths over paired seeds, and what that shows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import runs
from ..analysis.contest import Contest, contest
from ..task import Task, metric_name
from .compare_tables import tables
from .conclusion_file import store_conclusion, warn_of_another
from .contenders import CONTENDERS, Contender
from .score import Score
from .stopping import StopSignal
from .sweep import MakeTask, Summary, Training, check_callers, run_trainings, task_of
from .tuning import Budget, Cell, Tuned, Tuner, tuned_to_dict
from .untrained import untrained_metric
from .workers import Workers

TREATMENT = "1cycle"
LADDER = (1, 2, 4, 8)
TUNING = "-tuning"  # beside the experiment, so that its report shows what is compared
ACCURACY_MARGIN = 0.005  # half a point: the smallest difference that matters, unless another is given
Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Args:
        contest: differences, words, speed-ups.
        tuned: (contender, steps) -> the settings that won.
        values: contender -> steps -> seed -> final metric.
        diverged: contender -> steps -> seeds of the trainings that diverged; what they count as stands in `values`.
        split: which data the values are of.
        updates: of the compared trainings; tuning cost stands in `tuned`.
        path: the experiment's folder.
        seconds: wall time of this call.
        chance: what a diverged training counts as; None: no guesser's level is known.
    """

    contest: Contest
    tuned: Mapping[Cell, Tuned]
    values: Mapping[str, Mapping[int, Mapping[int, float]]]
    diverged: Mapping[str, Mapping[int, Sequence[int]]]
    split: str
    updates: int
    path: Path
    seconds: float
    chance: float | None = None

    @property
    def outcome(self) -> str:
        """ "faster", "no gain", "slower", "inconclusive" or "too few seeds", against `contest.opponent`."""
        return self.contest.outcome

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the contest says, and what a reader has to know about its numbers."""
        told = list(self.contest.sentences)
        lost = {name: sum(map(len, by.values())) for name, by in self.diverged.items()}
        if any(lost.values()):
            runs_each = {name: sum(map(len, by.values())) for name, by in self.values.items()}
            counted = ", ".join(f"{name} {count} of {runs_each[name]}" for name, count in lost.items() if count)
            told.append(f"Trainings that diverged: {counted}.")
        if self.split == "validation":
            told.append("There is no test data: settings were chosen by these same data, which flatters tuned arms.")
        return tuple(told)


def compare(
    task: Task | MakeTask,
    contenders: Sequence[Contender] | None = None,
    *,
    steps: int,
    ladder: Sequence[int] = LADDER,
    seeds: int = 5,
    budget: Budget | None = None,
    treatment: str | None = None,
    margin: float | None = None,
    root: str | Path = "runs",
    experiment: str = "compare",
    device: str | None = None,
    workers: Workers = None,
    stop: StopSignal | None = None,
    report: Report | None = None,
) -> Comparison | None:
    """Tune every contender with the same budget on validation data, then compare them on fresh seeds.

    Tuning and the choice of the strongest opponent see validation data alone; the test data is read once for each
    compared training. What is finished is found again, so that the same call goes on where it was stopped.

    Args:
        task: a Task, trained in this process; or a function that makes one and pickles (`partial(named_task, ...)`),
            spread over local processes.
        contenders: None: 1cycle, piecewise constant, cosine, and the common default.
        steps: shortest planned length, in updates.
        ladder: planned lengths, as multiples of it.
        seeds: paired; below five no interval is stated.
        budget: of tuning; None: `Budget()`.
        treatment: name of the contender that is asked about; None: the first.
        margin: smallest difference of the metric that matters; None: half a point, for accuracies.
        root, experiment: the folder of runs, and the name of this comparison in it.
        device, workers, stop: as in `run_trainings`.
        report: called with (what, done, total, text).
    Returns: a Comparison; None where it was stopped.
    Warns: another task's comparison lies there, whose conclusion is replaced; its runs stay.
    Raises: ValueError: no opponent, different batch sizes, a metric that needs a margin, a contender that does not fit
        the task; every training diverged where no chance level is known.
    """
    started = time.perf_counter()
    made = task_of(task)
    check_callers(stop, report)
    folder = runs.experiment_path(root, experiment)
    contenders = contenders or [CONTENDERS[n] for n in (TREATMENT, "piecewise constant", "cosine", "common default")]
    budget = budget or Budget()
    _check_parts(contenders, budget)
    asked = treatment or contenders[0].name
    limit = _margin(made, margin)
    lengths = _lengths(steps, ladder)
    _check(contenders, asked, seeds)
    warn_of_another(folder, made.name)
    where: dict[str, Any] = {
        "root": root, "experiment": experiment, "device": device, "workers": workers, "stop": stop,
    }  # fmt: skip
    score = Score(made)
    tuner = Tuner(
        task, contenders, score=score.validation, higher_is_better=made.higher_is_better, report=report,
        **{**where, "experiment": f"{experiment}{TUNING}"},
    )  # fmt: skip
    tuned = tuner.tune(lengths, budget)
    if tuned is None:
        return None
    keys = [(c, length, seed) for seed in range(seeds) for length in lengths for c in contenders]
    trainings = [Training(c.arm(length, tuned[c.name, length].settings), seed) for c, length, seed in keys]
    found = _trained(task, keys, trainings, report, where)
    if found is None:
        return None
    split = "test" if all(summary["test"] is not None for summary in found) else "validation"
    measured = [score.measured(summary, split) for summary in found]
    first = contenders[0].arm(lengths[0], tuned[contenders[0].name, lengths[0]].settings)
    levels = score.finite(
        [score.diverged if value is None else value for value in measured],
        lambda: untrained_metric(made, first, split, device),
    )
    values: dict[str, dict[int, dict[int, float]]] = {c.name: {length: {} for length in lengths} for c in contenders}
    diverged: dict[str, dict[int, list[int]]] = {c.name: {length: [] for length in lengths} for c in contenders}
    for (contender, length, seed), value, level in zip(keys, measured, levels, strict=True):
        values[contender.name][length][seed] = level
        if value is None:
            diverged[contender.name][length].append(seed)
    result = Comparison(
        contest(
            values, asked, margin=limit, rival=_rival(contenders, asked, tuned, made.higher_is_better),
            default=next((c.name for c in contenders if c.common and c.name != asked), None),
            higher_is_better=made.higher_is_better, metric=metric_name(made.metric),
        ),
        tuned, values, diverged, split, sum(summary["steps"] for summary in found), folder,
        time.perf_counter() - started, score.diverged if math.isfinite(score.diverged) else None,
    )  # fmt: skip
    _store(result, made, budget)
    return result


def _trained(
    task: Task | MakeTask, keys: Sequence[tuple[Contender, int, int]], trainings: Sequence[Training],
    report: Report | None, where: Mapping[str, Any],
) -> list[Summary] | None:  # fmt: skip
    """The summary of every compared training; None where one was stopped."""
    found: dict[int, Summary] = {}
    for index, summary in run_trainings(task, trainings, **where):
        if summary is not None:
            found[index] = summary
            if report is not None:
                contender, length, seed = keys[index]
                report("comparing", len(found), len(keys), f"{contender.name}, {length} steps, seed {seed}")
    return [found[index] for index in range(len(keys))] if len(found) == len(keys) else None


def _margin(task: Task, margin: float | None) -> float:
    name = metric_name(task.metric)
    if margin is None and not name.endswith("accuracy"):
        raise ValueError(f"the metric {name!r} has no usual margin: pass margin=, the smallest difference that matters")
    if margin is not None and not 0 < margin < math.inf:
        raise ValueError(f"margin must be positive and finite, got {margin}")
    return ACCURACY_MARGIN if margin is None else margin


def _lengths(steps: int, ladder: Sequence[int]) -> list[int]:
    if steps < 2 or not ladder or min(ladder) < 1 or len(set(ladder)) < len(ladder):
        raise ValueError(f"steps must be at least 2 and the ladder different multiples, got {steps} and {list(ladder)}")
    return [steps * factor for factor in sorted(ladder)]


def _check_parts(contenders: Sequence[Contender], budget: Budget) -> None:
    if not isinstance(contenders, Sequence) or not all(isinstance(each, Contender) for each in contenders):
        raise TypeError(f"contenders must be a list of superconv.Contender, got {contenders!r}")
    if not isinstance(budget, Budget):
        raise TypeError(f"budget must be a Budget (trials, finalists, fresh seeds), got {budget!r}")


def _check(contenders: Sequence[Contender], treatment: str, seeds: int) -> None:
    names = [contender.name for contender in contenders]
    if treatment not in names or len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"a comparison needs the treatment {treatment!r} and others, each once; got {', '.join(names)}"
        )
    sizes = {contender.name: contender.batch_size for contender in contenders}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(
            f"arms are compared after equal updates, on equally many samples: give them one batch size, not {told}"
        )
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}; five or more give intervals")


def _rival(
    contenders: Sequence[Contender], treatment: str, tuned: Mapping[Cell, Tuned], higher_is_better: bool
) -> str | None:
    """The tuned opponent that is best on validation data, on average over the lengths."""
    levels: dict[str, list[float]] = {}
    for (name, _), result in tuned.items():
        if name != treatment and result.validation is not None:
            levels.setdefault(name, []).append(result.validation)
    sign = 1.0 if higher_is_better else -1.0
    order = [contender.name for contender in contenders if contender.name in levels]
    return max(order, key=lambda name: sign * sum(levels[name])) if order else None


def _store(result: Comparison, task: Task, budget: Budget) -> None:
    """What the report shows above the runs."""
    first, *more = result.sentences
    against = "ordinary training, tuned as well" if result.contest.rival else result.contest.opponent_in_words
    conclusion = {
        "kind": "compare",
        "task": task.name,
        "title": f"{task.name}: is {result.contest.treatment} better than {against}?",
        "sentence": first,
        "findings": more,
        "outcome": result.outcome,
        "opponent": result.contest.opponent,
        "opponent_tuned": result.contest.rival is not None,
        "metric": result.contest.metric,
        "tables": tables(result, budget),
        "tuned": {f"{name}, {steps} steps": tuned_to_dict(found) for (name, steps), found in result.tuned.items()},
        "note": task.data.note,
    }
    store_conclusion(result.path, conclusion, result.seconds)
