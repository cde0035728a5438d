"""Running experiments of the paper, arm by seed: finished ones are found, unfinished ones go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any

from .. import runs
from ..data import NAMES
from ..data.location import locate
from ..experiments.device import choose_device, device_name
from ..experiments.monitoring import Monitoring
from ..experiments.stopping import StopSignal
from ..experiments.sweep import Locked, Training, run_each
from ..experiments.workers import Workers
from ..near_names import near
from .build import arm_of, task_of
from .claim import Claim, Effect, Experiment
from .judgement import Judgement, Word, judge, together
from .measured import Run, effects_by_seed, run_of
from .scale import scaled
from .setting import SCALES, ScaleName, Setting
from .tuning import Trial, Tuned, tune

Report = Callable[[str, int, int, str], None]
ESTIMATES = 100  # readings of the curvature estimate along a run


@dataclass(frozen=True)
class Reproduction:
    """One claim as far as it was run.

    Args:
        runs: condition -> seed -> Run.
        judgements: one an effect of the claim.
        word: the claim's.
        settings: condition -> what was really run.
        tuned: condition -> how its learning rates were found.
        asked_afterwards: effects of the claim that were written, or changed, after the runs had been looked at.
    """

    claim: Claim
    scale: ScaleName
    runs: Mapping[str, Mapping[int, Run]]
    judgements: tuple[Judgement, ...]
    word: Word
    environment: Mapping[str, Any]
    device: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    tuned: Mapping[str, Tuned] = field(default_factory=dict)
    asked_afterwards: frozenset[Effect] = frozenset()

    @property
    def sentence(self) -> str:
        """The claim and its word."""
        where = "" if self.scale == "paper" else f" at {self.scale} scale"
        part = f", as far as it was run (effects not run: {self.left_out})" if self.left_out else ""
        return f"{self.claim.sentence} {self.word.capitalize()}{where}{part}."

    @property
    def trainings(self) -> list[Run]:
        """Every training once: conditions with the same setting share theirs, seconds and all."""
        each = ((seed, run) for by_seed in self.runs.values() for seed, run in by_seed.items())
        return list({(seed, run.seconds, run.test_accuracy): run for seed, run in each}.values())

    @property
    def left_out(self) -> str:
        """How many effects were not run, of a claim of which others were: "1"; empty where none was left out.

        Counted are those that assert something; where none of these was run, all of them: "8 of 10".
        """
        words = [judgement.word for judgement in self.judgements]
        asserting = [word for word, effect in zip(words, self.claim.effects, strict=True) if effect.asserts]
        if self.word == "not run" or "not run" not in asserting:
            return ""
        return str(asserting.count("not run")) if _run(asserting) else f"{words.count('not run')} of {len(words)}"


@dataclass(frozen=True)
class Known:
    """What earlier calls left in results files (`results.known`), perhaps on another machine.

    Args:
        runs: experiment -> seed -> Run.
        tuned: experiment -> how its learning rates were found.
    """

    runs: Mapping[str, Mapping[int, Run]] = field(default_factory=dict)
    tuned: Mapping[str, Tuned] = field(default_factory=dict)

    def has(self, experiment: Experiment, seed: int) -> bool:
        """Whether there is a run."""
        return seed in self.runs.get(experiment.name, {})


def conclude(
    claim: Claim, scale: ScaleName, found: Mapping[str, Mapping[int, Run]], device: str,
    settings: Mapping[str, Setting] | None = None,
) -> Reproduction:  # fmt: skip
    """The claim's words from its runs. Sizes are compared at the paper's scale alone; below it only directions are.

    Where the paper printed the best test along a run, its sizes are compared with ours made likewise; directions and
    intervals are of final tests everywhere.
    """
    peaks = {e.condition for e in claim.experiments if e.reference is not None and e.reference.published_is_peak}
    judgements = []
    for effect in claim.effects:
        values, without = effects_by_seed(effect, found)
        as_printed, _ = effects_by_seed(effect, found, peaks)
        judgements.append(
            judge(
                values, sign=effect.sign, size=effect.size if scale == "paper" else None, tolerance=effect.tolerance,
                equal=effect.equal, without=without, printed=fmean(as_printed) if as_printed else None,
            )
        )  # fmt: skip
    words = [judgement.word for judgement in judgements]
    asserting = [word for word, effect in zip(words, claim.effects, strict=True) if effect.asserts]
    word = together(_run(asserting) or _run(words) or words)
    if not any(found.values()):
        word = "not run"
    return Reproduction(claim, scale, found, tuple(judgements), word, runs.environment(), device, settings or {})


def _run(words: Sequence[Word]) -> list[Word]:
    return [word for word in words if word != "not run"]


def reproduce(
    chosen: Sequence[tuple[Claim, Experiment]],
    *,
    scale: ScaleName = "short",
    seeds: Sequence[int] = (0, 1, 2),
    data_dir: str | Path | None = None,
    root: str | Path = "runs",
    device: str | None = None,
    precision: str = "fp32",
    compile: bool = False,
    channels_last: bool | None = None,
    subsets: str = "fixed",
    workers: Workers = None,
    known: Known | None = None,
    stop: StopSignal | None = None,
    report: Report | None = None,
) -> list[Reproduction]:
    """Run experiments of the paper and say which of its claims hold.

    The test images are tested along the way, as in the paper; nothing is chosen by them: experiments whose learning
    rates are tuned begin with trials on held-out training images. Two experiments with the same setting share their
    runs. On a GPU the default is one process; several small runs may share it (`workers`).

    Args:
        chosen: from `catalogue.select`; those that cannot be built are left out.
        scale: one of `SCALES`: "paper", or smaller (docs/reproduce.md).
        seeds: of every experiment; three or more for a word.
        data_dir: where data sets lie; not needed at scale "smoke".
        precision, compile, channels_last: as in an `Arm`; the originals were fp32.
        subsets: as in a `Setting`, of those with a reduced training set.
        root, device, workers: as in `run_each`; workers None: one a core on a CPU, one on a GPU.
        known: is not run again.
        stop: asked between two steps: runs end with a checkpoint, and the same call goes on.
        report: called with (what, done, total, text) after every training.
    Returns: one Reproduction a claim, with what was finished.
    Raises: ValueError: an unknown scale, no seed, missing data.
    """
    if scale not in SCALES:
        raise ValueError(f"scale {scale!r} is unknown; {near(scale, SCALES)}")
    if not seeds:
        raise ValueError("give at least one seed; three or more for a word about a claim")
    known = known or Known()
    ours = {"compile": compile, "channels_last": channels_last}
    settings = [
        (e, scaled(e.setting, scale).called_with(precision, subsets).replace(**ours))
        for _, e in chosen
        if e.setting is not None
    ]
    if subsets != "fixed" and all(setting.subsets == "fixed" for _, setting in settings):
        raise ValueError(f"subsets={subsets!r} would be ignored: all training images are used at scale {scale!r}")
    lacking = [e for _, e in chosen if not all(known.has(e, seed) for seed in seeds)]
    _check_data([e.setting for e in lacking if e.setting is not None], scale, data_dir)
    where = str(choose_device(device))
    work = _Work(scale, data_dir, {"root": root, "device": where, "workers": workers, "stop": stop}, report)
    untuned = {e.name: (s, e.tuning) for e, s in settings if e.tuning is not None and e.name not in known.tuned}
    tuned = {**known.tuned, **tune(untuned, work.trials)}
    settings = [
        (e, s.replace(lr_factor=s.lr_factor * tuned[e.name].factor) if e.name in tuned else s)
        for e, s in settings
        if e.tuning is None or e.name in tuned
    ]
    found: dict[str, dict[str, dict[int, Run]]] = {}
    there = [(e, seed, known.runs[e.name][seed]) for e, _ in settings for seed in seeds if known.has(e, seed)]
    for experiment, seed, run in chain(there, work.experiments(settings, seeds, known)):
        claim = experiment.name.partition("/")[0]
        found.setdefault(claim, {}).setdefault(experiment.condition, {})[seed] = run
    by_name = {claim.name: claim for claim, _ in chosen}
    name = device_name(choose_device(device))
    used = {experiment.name: setting for experiment, setting in settings}
    return [_concluded(claim, scale, found.get(each, {}), name, used, tuned) for each, claim in by_name.items()]


def _check_data(settings: Sequence[Setting], scale: ScaleName, data_dir: str | Path | None) -> None:
    """Say what data are missing before hours of work, and not in the middle of them. Raises: DataNotFoundError."""
    for name in sorted({setting.data for setting in settings}) if scale != "smoke" else ():
        locate(NAMES[name], data_dir)


def _concluded(
    claim: Claim, scale: ScaleName, found: Mapping[str, Mapping[int, Run]], device: str, used: Mapping[str, Setting],
    tuned: Mapping[str, Tuned],
) -> Reproduction:  # fmt: skip
    settings = {condition: used[f"{claim.name}/{condition}"] for condition in found}
    searches = {c: tuned[f"{claim.name}/{c}"] for c in found if f"{claim.name}/{c}" in tuned}
    return replace(conclude(claim, scale, found, device, settings), tuned=searches)


@dataclass(frozen=True)
class _Work:
    """Trainings of one call: where their data, runs and reports go."""

    scale: ScaleName
    data_dir: str | Path | None
    where: Mapping[str, Any]  # of `run_each`
    report: Report | None

    def trials(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, float]]:
        """Each that was finished, with its accuracy on held-out training images.

        What other processes are at comes last and is waited for: a search needs all of its trials.
        """
        left = dict(enumerate(self._trial_jobs(trials)))
        passes: tuple[tuple[str, Locked], ...] = (("tuning", "leave"), ("tuning, with another process", "wait"))
        for what, locked in passes:
            places = list(left)
            jobs = [(maker, training._replace(locked=locked)) for maker, training in left.values()]
            texts = [f"{trials[place].name}, LR times {trials[place].factor:g}" for place in places]
            for index, run in self._train(what, jobs, [trials[place].setting for place in places], texts):
                del left[places[index]]
                yield trials[places[index]], run.final

    def _trial_jobs(self, trials: Sequence[Trial]) -> Iterator[tuple[Any, Training]]:
        makers: dict[str, Any] = {}
        for trial in trials:
            setting = trial.setting.replace(evaluate_every=trial.setting.steps)
            drawn = _subset_seed(setting, trial.seed)
            key = runs.dumps([_task_part(setting), trial.held_out, drawn])
            maker = makers.setdefault(
                key, partial(task_of, setting, self.scale, self.data_dir, held_out=trial.held_out, seed=drawn)
            )
            yield maker, Training(arm_of(setting), trial.seed, read_test=False)

    def experiments(
        self, settings: Sequence[tuple[Experiment, Setting]], seeds: Sequence[int], known: Known
    ) -> Iterator[tuple[Experiment, int, Run]]:
        """Each that was finished and is not known, for every experiment that it belongs to.

        What other processes were at is looked at again at the end: they may have finished it, or given it up.
        """
        jobs, owners = _jobs(settings, self.scale, seeds, self.data_dir, known)
        by_name = {experiment.name: setting for experiment, setting in settings}
        left = list(range(len(jobs)))
        for what in ("reproducing", "reproducing, with another process"):
            places = list(left)
            first = [owners[place][0] for place in places]
            asked = [by_name[experiment.name] for experiment, _ in first]
            texts = [f"{experiment.name}, seed {seed}" for experiment, seed in first]
            for index, run in self._train(what, [jobs[place] for place in places], asked, texts):
                left.remove(places[index])
                for experiment, seed in owners[places[index]]:
                    yield experiment, seed, run

    def _train(
        self, what: str, jobs: Sequence[tuple[Any, Training]], settings: Sequence[Setting], texts: Sequence[str]
    ) -> Iterator[tuple[int, Run]]:
        done = 0
        for index, result in run_each(jobs, experiment=f"paper-{self.scale}", **self.where):
            done += 1
            if result is None or result.summary is None:
                continue
            found = runs.found_run(result.path)
            yield index, run_of(found.rows(), result.summary, found.info, settings[index])
            if self.report is not None:
                self.report(what, done, len(jobs), texts[index])


def _jobs(
    settings: Sequence[tuple[Experiment, Setting]], scale: ScaleName, seeds: Sequence[int],
    data_dir: str | Path | None, known: Known,
) -> tuple[list[tuple[Any, Training]], list[list[tuple[Experiment, int]]]]:  # fmt: skip
    """Every different training that is not known once, seed after seed, and the experiments that it belongs to."""
    jobs: list[tuple[Any, Training]] = []
    owners: list[list[tuple[Experiment, int]]] = []
    makers: dict[str, Any] = {}
    places: dict[str, int] = {}
    for seed in seeds:
        for experiment, setting in settings:
            if known.has(experiment, seed):
                continue
            arm = arm_of(setting)
            drawn = _subset_seed(setting, seed)
            task_key = runs.dumps([_task_part(setting), drawn])
            maker = makers.setdefault(task_key, partial(task_of, setting, scale, data_dir, seed=drawn))
            watched = _monitoring(setting)
            key = runs.dumps([task_key, arm.to_dict(), None if watched is None else watched.to_dict(), seed])
            if key not in places:
                places[key] = len(jobs)
                at_end = setting.gap_images is not None
                job = Training(arm, seed, read_test=at_end, locked="leave", monitoring=watched)
                jobs.append((maker, job))
                owners.append([])
            owners[places[key]].append((experiment, seed))
    return jobs, owners


def _monitoring(setting: Setting) -> Monitoring | None:
    """The paper's estimate alone, read a hundred times along the run."""
    if setting.estimate_spacing is None:
        return None
    every = max(setting.estimate_spacing, setting.steps // ESTIMATES)
    return Monitoring(every, probes=False, spacing=setting.estimate_spacing)


def _subset_seed(setting: Setting, seed: int) -> int:
    """Of the images of a reduced training set."""
    return seed if setting.subsets == "by-seed" else 0


def _task_part(setting: Setting) -> dict[str, Any]:
    """What of a setting belongs to the task; settings that agree in it share one in memory."""
    names = (
        "data", "data_options", "model", "model_options", "train_samples", "preparation", "mirror", "crop_padding",
        "test_images", "gap_images",
    )  # fmt: skip
    return {name: getattr(setting, name) for name in names}
