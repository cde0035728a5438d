"""Results files: a small JSON a claim and scale, with every look at it, and the picture beside it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from .. import runs
from ..runs.errors import explained
from .claim import Claim, Effect, Experiment
from .claims import CLAIMS
from .measured import Run
from .reproduce import Known, Reproduction, conclude
from .scale import scaled
from .setting import SCALES, ScaleName, Setting
from .tuning import Tuned

FORMAT = 1
DIGITS = 4
DOTS = 100  # of a picture, per inch
PLACES = ("--data-dir", "--runs-dir", "--out")  # options that name a folder
HOW_IT_RUNS = ("compile", "channels_last")  # settings that change the speed alone
_NO_RESULTS = "is no results file of superconv reproduce; move it away, or name another"


def file_of(folder: Path, claim: Claim, scale: ScaleName) -> Path:
    """Where the claim's results at this scale lie."""
    return folder / f"{claim.name}-{scale}.json"


def check_folder(folder: Path) -> None:
    """See that results can be written there, without making the folder. Raises: RunError."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    with explained(folder), TemporaryFile(dir=there):
        pass


def save(result: Reproduction, folder: Path) -> Path:
    """Write the results beside earlier looks, and the pictures.

    A look is a set of runs under the same settings. Later runs of the same settings join the last look; other
    settings begin a new one, and the earlier ones are kept. What a caller chooses (precision, subsets) is alike for
    the conditions of an effect, which are compared with each other.

    Raises: ValueError: the file there is of another version, or no results file. RunError: it cannot be written.
    """
    path = file_of(folder, result.claim, result.scale)
    folder.mkdir(parents=True, exist_ok=True)
    with runs.one_at_a_time(folder):  # else one process would write over what another one just added
        _add(result, path)
        if any(result.runs.values()):
            draw(path)
    return path


def _add(result: Reproduction, path: Path) -> None:
    looks = _read(path)["looks"] if path.exists() else []
    look = _look(result)
    if looks and _of_one_look(result.claim, looks[-1]["settings"], look["settings"]):
        look["runs"] = _joined(looks[-1]["runs"], look["runs"])
        look["settings"] = {**looks[-1]["settings"], **look["settings"]}
        look["effects"] = looks[-1].get("effects", [])  # of the first seeds: what is asked later is asked afterwards
        look |= {"tuned": {**looks[-1].get("tuned", {}), **look.get("tuned", {})}} if "tuned" in looks[-1] else {}
        looks[-1] = look
    else:
        looks.append(look)
    document = {"format": FORMAT, "claim": result.claim.name, "scale": result.scale, "looks": looks}
    runs.atomic_write(path, runs.dumps(document, indent=1) + "\n")


def draw(path: Path) -> Path:
    """Draw the picture beside a results file, and say where it is. Raises: as `load`."""
    from ..figures import picture as still
    from .pictures import picture

    target = path.with_suffix(".png")
    runs.atomic_write(target, still.draw(picture(load(path)), "png", DOTS))
    return target


@dataclass(frozen=True)
class Look:
    """One look at a claim, judged again from its runs.

    Args:
        result: without the settings, which may be those of an older version; judged by the claim's effects as they are
            now, of which those are named that were not written down when it was run.
        settings: condition -> what was run, as plain values.
    """

    result: Reproduction
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def is_current(self) -> bool:
        """Whether the claim would be run alike now, but for what the caller chooses and for tuned learning rates."""
        for condition, stored in self.settings.items():
            experiment = next((e for e in self.result.claim.experiments if e.condition == condition), None)
            if experiment is None or experiment.setting is None:
                return False
            now = plain_setting(scaled(experiment.setting, self.result.scale))
            free = {"precision", "subsets", *HOW_IT_RUNS} | ({"lr_factor"} if experiment.tuning is not None else set())
            then = {**plain_setting(Setting("", 0)), **stored}
            if any(then[key] != now[key] for key in now if key not in free):
                return False
        return True


def load(path: Path) -> Reproduction:
    """The last look, judged again from its runs.

    Raises: ValueError: another version, an unknown claim or scale, another one's file, or no results file.
    """
    return looks_of(path)[-1].result


def known(
    folder: Path, chosen: Sequence[tuple[Claim, Experiment]], scale: ScaleName, precision: str = "fp32",
    subsets: str = "fixed",
) -> Known:  # fmt: skip
    """What the last looks in a folder have of experiments, under the settings that they have now.

    Raises: as `load`.
    """
    found: dict[str, Mapping[int, Run]] = {}
    tuned: dict[str, Tuned] = {}
    for claim in {claim.name: claim for claim, _ in chosen}.values():
        path = file_of(folder, claim, scale)
        if not path.exists():
            continue
        look = looks_of(path)[-1]
        for experiment in (e for c, e in chosen if c is claim and e.setting is not None):
            stored, condition = look.settings.get(experiment.condition), experiment.condition
            assert experiment.setting is not None
            setting = scaled(experiment.setting, scale).called_with(precision, subsets)
            search = look.result.tuned.get(condition)
            if search is not None:
                setting = setting.replace(lr_factor=setting.lr_factor * search.factor)
            if stored is not None and _agree({condition: stored}, {condition: plain_setting(setting)}):
                found[experiment.name] = look.result.runs.get(condition, {})
                tuned |= {} if search is None else {experiment.name: search}
    return Known(found, tuned)


def looks_of(path: Path) -> list[Look]:
    """Every look, the first one first. Raises: as `load`."""
    document = _read(path)
    claim = next((claim for claim in CLAIMS if claim.name == document.get("claim")), None)
    if claim is None:
        raise ValueError(f"{path}: no claim {document.get('claim')!r}; it was written by another version of superconv")
    scale = next((scale for scale in SCALES if scale == document.get("scale")), None)
    if scale is None:
        raise ValueError(f"{path}: no scale {document.get('scale')!r}; it was written by another version of superconv")
    right = file_of(path.parent, claim, scale)
    if path.name != right.name:  # else a copy would be taken for results of the claim and scale that it is called
        raise ValueError(f"{path} holds {claim.name} at {scale} scale; call it {right.name}, or move it away")
    try:
        return [_judged(claim, scale, look) for look in document["looks"]]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} {_NO_RESULTS} ({type(error).__name__}: {error})") from None


def _judged(claim: Claim, scale: ScaleName, look: Mapping[str, Any]) -> Look:
    found = {
        condition: {int(seed): Run(**_tuples(run)) for seed, run in by_seed.items()}
        for condition, by_seed in look["runs"].items()
    }
    tuned = {
        condition: Tuned(each["factor"], {factor: tuple(values) for factor, *values in each["trials"]})
        for condition, each in look.get("tuned", {}).items()
    }
    result = conclude(claim, scale, found, look["device"])
    asked = look.get("effects", [])
    later = frozenset(effect for effect in claim.effects if _plain_effect(effect) not in asked)
    more: dict[str, Any] = {"environment": look["environment"], "tuned": tuned, "asked_afterwards": later}
    return Look(replace(result, **more), look["settings"])


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["format"]
    except OSError as error:  # what is not given may be a results file
        reason = error.strerror or error
        raise ValueError(f"cannot read {path}: {reason}; check the path and its permissions") from None
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{path} {_NO_RESULTS}") from None
    if version != FORMAT:
        raise ValueError(f"{path} has format {version!r}, this version reads {FORMAT}; move it away and run again")
    if not isinstance(document.get("looks"), list) or not document["looks"]:
        raise ValueError(f"{path} {_NO_RESULTS}")
    return document


def _look(result: Reproduction) -> dict[str, Any]:
    settings = {condition: plain_setting(setting) for condition, setting in result.settings.items()}
    measured = {
        condition: {str(seed): _rounded(run) for seed, run in by_seed.items()}
        for condition, by_seed in result.runs.items()
    }
    kept = ("superconv", "python", "torch", "numpy", "machine", "git_revision", "command")
    environment = {key: result.environment[key] for key in kept if key in result.environment}
    if isinstance(environment.get("command"), str):
        environment["command"] = _without_places(environment["command"])
    look = {"settings": settings, "effects": [_plain_effect(effect) for effect in result.claim.effects],
            "runs": measured, "device": result.device, "environment": environment}  # fmt: skip
    if result.tuned:
        look["tuned"] = {
            condition: {"factor": tuned.factor, "trials": [[factor, *map(_short, values)] for factor, values in
                        tuned.trials.items()]}
            for condition, tuned in result.tuned.items()
        }  # fmt: skip
    return look


def _without_places(command: str) -> str:
    """A command line without the folders that it names: where someone's data lie is nobody's business."""
    words = shlex.split(command)
    for place, word in enumerate(words):
        option, equals, _ = word.partition("=")
        if option in PLACES and equals:
            words[place] = f"{option}=..."
        elif place and words[place - 1] in PLACES:
            words[place] = "..."
    return shlex.join(words)


def plain_setting(setting: Setting) -> dict[str, Any]:
    """A setting as results files hold it; of a schedule that is a function a digest is stored, not its many values."""
    line = setting.schedule if isinstance(setting.schedule, str) else f"own schedule {_digest(setting)}"
    plain: dict[str, Any] = json.loads(runs.dumps({**asdict(setting.replace(schedule=line)), "schedule": line}))
    return plain


def _digest(setting: Setting) -> str:
    """Of the values that the schedule takes, to six digits: powers differ in the last ones between machines."""
    values = setting.make_schedule().values()
    text = runs.dumps({name: [f"{value:.6g}" for value in column.tolist()] for name, column in values.items()})
    return sha256(text.encode()).hexdigest()[:10]


def _plain_effect(effect: Effect) -> dict[str, Any]:
    """An effect as results files hold it; what is younger than they are is left out where it is unset."""
    values = asdict(effect)
    plain: dict[str, Any] = json.loads(runs.dumps(values))
    younger = {"over": None, "equal": False}
    return {key: value for key, value in plain.items() if key not in younger or value != younger[key]}


def _agree(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether conditions that both hold were run alike; a setting younger than the file had its default."""
    defaults = plain_setting(Setting("", 0))
    shared = sorted(set(old) & set(new))
    speed_alone = {key: defaults[key] for key in HOW_IT_RUNS}
    return all({**defaults, **old[c], **speed_alone} == {**new[c], **speed_alone} for c in shared)


def _of_one_look(claim: Claim, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether what both hold was run alike, and what an effect compares was called alike."""
    defaults = plain_setting(Setting("", 0))
    every = {condition: {**defaults, **setting} for condition, setting in {**old, **new}.items()}
    for effect in claim.effects:
        compared = [every[condition] for condition in effect.conditions if condition in every]
        subsets = {setting["subsets"] for setting in compared if setting["train_samples"] is not None}
        if len({setting["precision"] for setting in compared}) > 1 or len(subsets) > 1:
            return False
    return _agree(old, new)


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {condition: {**old.get(condition, {}), **new.get(condition, {})} for condition in {**old, **new}}


def _rounded(run: Run) -> dict[str, Any]:
    values = asdict(run)
    unset = {
        "estimates": run.estimates is None, "planned_lr": math.isnan(run.planned_lr), "made": not run.made,
        "train_accuracy": run.train_accuracy is None,
    }  # fmt: skip
    values = {key: value for key, value in values.items() if not unset.get(key, False)}
    return {key: _short(value) for key, value in values.items()}


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_short(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _tuples(run: Mapping[str, Any]) -> dict[str, Any]:
    def back(value: Any) -> Any:
        if isinstance(value, Mapping):
            return _tuples(value)
        return tuple(math.nan if v is None else v for v in value) if isinstance(value, list) else value

    return {key: back(value) for key, value in run.items()}
