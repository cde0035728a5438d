"""Running experiments of the paper, arm by seed: finished ones are found, unfinished ones go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .. import runs
from ..experiments.device import choose_device, device_name
from ..experiments.stopping import StopSignal
from ..experiments.sweep import Training, run_each
from .build import arm_of, task_of
from .claim import Claim, Experiment
from .judgement import Judgement, Word, judge, together
from .measured import Run, effects_by_seed, run_of
from .scale import scaled
from .setting import SCALES, ScaleName, Setting

Report = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Reproduction:
    """One claim as far as it was run.

    Args:
        runs: condition -> seed -> Run.
        judgements: one an effect of the claim.
        word: the claim's.
        settings: condition -> what was really run.
    """

    claim: Claim
    scale: ScaleName
    runs: Mapping[str, Mapping[int, Run]]
    judgements: tuple[Judgement, ...]
    word: Word
    environment: Mapping[str, Any]
    device: str
    settings: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The claim and its word."""
        where = "" if self.scale == "paper" else f" at {self.scale} scale"
        return f"{self.claim.sentence} {self.word.capitalize()}{where}."


def conclude(
    claim: Claim, scale: ScaleName, found: Mapping[str, Mapping[int, Run]], device: str,
    settings: Mapping[str, Setting] | None = None,
) -> Reproduction:  # fmt: skip
    """The claim's words from its runs. Sizes are compared at the paper's scale alone; below it only directions are."""
    judgements = tuple(
        judge(
            effects_by_seed(effect, found), sign=effect.sign, size=effect.size if scale == "paper" else None,
            tolerance=effect.tolerance,
        )
        for effect in claim.effects
    )  # fmt: skip
    word = together([judgement.word for judgement in judgements])
    if not any(found.values()):
        word = "not run"
    return Reproduction(claim, scale, found, judgements, word, runs.environment(), device, settings or {})


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
    workers: int | None = None,
    stop: StopSignal | None = None,
    report: Report | None = None,
) -> list[Reproduction]:
    """Run experiments of the paper and say which of its claims hold.

    The test images are tested along the way, as in the paper; nothing is chosen by them. Two experiments with the same
    setting share their runs. On a GPU the default is one process; several small runs may share it (`workers`).

    Args:
        chosen: from `catalogue.select`; those that cannot be built are left out.
        scale: "paper", "short" or "smoke".
        seeds: of every experiment; three or more for a word.
        data_dir: where data sets lie; not needed at scale "smoke".
        precision, compile: as in an `Arm`; the originals were fp32.
        root, device, workers: as in `run_each`; workers None: one a core on a CPU, one on a GPU.
        stop: asked between two steps: runs end with a checkpoint, and the same call goes on.
        report: called with (what, done, total, text) after every training.
    Returns: one Reproduction a claim, with what was finished.
    Raises: ValueError: an unknown scale, no seed, missing data.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be {', '.join(SCALES)}, got {scale!r}")
    if not seeds:
        raise ValueError("give at least one seed; three or more for a word about a claim")
    where = str(choose_device(device))
    workers = 1 if workers is None and where != "cpu" else workers
    ours = {"precision": precision, "compile": compile}
    settings = [(c, e, scaled(e.setting, scale).replace(**ours)) for c, e in chosen if e.setting is not None]
    jobs, owners = _jobs(settings, scale, seeds, data_dir)
    found: dict[str, dict[str, dict[int, Run]]] = {}
    done = 0
    for index, result in run_each(
        jobs, root=root, experiment=f"paper-{scale}", device=where, workers=workers, stop=stop
    ):
        done += 1
        if result is None or result.summary is None:
            continue
        run = run_of(runs.read_rows(result.path), result.summary)
        for experiment, seed in owners[index]:
            claim = experiment.name.partition("/")[0]
            found.setdefault(claim, {}).setdefault(experiment.condition, {})[seed] = run
        if report is not None:
            report("reproducing", done, len(jobs), f"{owners[index][0][0].name}, seed {owners[index][0][1]}")
    claims = dict.fromkeys(claim.name for claim, _ in chosen)
    by_name = {claim.name: claim for claim, _ in chosen}
    name = device_name(choose_device(device))
    used = {experiment.name: setting for _, experiment, setting in settings}
    return [_concluded(by_name[each], scale, found.get(each, {}), name, used) for each in claims]


def _concluded(
    claim: Claim, scale: ScaleName, found: Mapping[str, Mapping[int, Run]], device: str, used: Mapping[str, Setting]
) -> Reproduction:
    settings = {condition: used[f"{claim.name}/{condition}"] for condition in found}
    return conclude(claim, scale, found, device, settings)


def _jobs(
    settings: Sequence[tuple[Claim, Experiment, Setting]], scale: ScaleName, seeds: Sequence[int],
    data_dir: str | Path | None,
) -> tuple[list[tuple[Any, Training]], list[list[tuple[Experiment, int]]]]:  # fmt: skip
    """Every different training once, seed after seed, and the experiments that it belongs to."""
    jobs: list[tuple[Any, Training]] = []
    owners: list[list[tuple[Experiment, int]]] = []
    makers: dict[str, Any] = {}
    known: dict[str, int] = {}
    for seed in seeds:
        for _, experiment, setting in settings:
            arm = arm_of(setting)
            task_key = runs.dumps(_task_part(setting))
            maker = makers.setdefault(task_key, partial(task_of, setting, scale, data_dir))
            key = runs.dumps([task_key, arm.to_dict(), seed])
            if key not in known:
                known[key] = len(jobs)
                jobs.append((maker, Training(arm, seed, read_test=False, skip_locked=True)))
                owners.append([])
            owners[known[key]].append((experiment, seed))
    return jobs, owners


def _task_part(setting: Setting) -> dict[str, Any]:
    """What of a setting belongs to the task; settings that agree in it share one in memory."""
    names = ("data", "model", "model_options", "train_samples", "preparation", "mirror", "crop_padding", "test_images")
    return {name: getattr(setting, name) for name in names}
