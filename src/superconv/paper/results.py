"""What a reproduction leaves behind: a small JSON with every look at a claim, its table, its picture."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from .. import runs
from ..analysis.student_t import critical_value
from .claim import Claim
from .claims import CLAIMS
from .judgement import LEAST_SEEDS, Judgement
from .measured import Run
from .reproduce import Reproduction, conclude
from .setting import ScaleName, Setting
from .tuning import Tuned

FORMAT = 1
DIGITS = 4


def file_of(folder: Path, claim: Claim, scale: ScaleName) -> Path:
    """Where the claim's results at this scale lie."""
    return folder / f"{claim.name}-{scale}.json"


def save(result: Reproduction, folder: Path) -> Path:
    """Write the results beside earlier looks, and the pictures.

    A look is a set of runs under the same settings. Later runs of the same settings join the last look; other
    settings begin a new one, and the earlier ones are kept.

    Raises: ValueError: the file there is of another version, or no results file. RunError: it cannot be written.
    """
    from .pictures import picture

    path = file_of(folder, result.claim, result.scale)
    looks = _read(path)["looks"] if path.exists() else []
    look = _look(result)
    if looks and _agree(looks[-1]["settings"], look["settings"]):
        look["runs"] = _joined(looks[-1]["runs"], look["runs"])
        look["settings"] = {**looks[-1]["settings"], **look["settings"]}
        look |= {"tuned": {**looks[-1].get("tuned", {}), **look.get("tuned", {})}} if "tuned" in looks[-1] else {}
        looks[-1] = look
    else:
        looks.append(look)
    folder.mkdir(parents=True, exist_ok=True)
    document = {"format": FORMAT, "claim": result.claim.name, "scale": result.scale, "looks": looks}
    runs.atomic_write(path, runs.dumps(document, indent=1) + "\n")
    if any(result.runs.values()):
        picture(load(path)).save(path.with_suffix(".png"))
    return path


def load(path: Path) -> Reproduction:
    """The last look, judged again from its runs.

    Raises: ValueError: another version, an unknown claim, or no results file.
    """
    document = _read(path)
    claim = next((claim for claim in CLAIMS if claim.name == document["claim"]), None)
    if claim is None:
        raise ValueError(f"{path}: no claim {document['claim']!r}; it was written by another version of superconv")
    look = document["looks"][-1]
    found = {
        condition: {int(seed): Run(**_tuples(run)) for seed, run in by_seed.items()}
        for condition, by_seed in look["runs"].items()
    }
    result = conclude(claim, document["scale"], found, look["device"])
    tuned = {
        condition: Tuned(each["factor"], {factor: tuple(values) for factor, *values in each["trials"]})
        for condition, each in look.get("tuned", {}).items()
    }
    return replace(result, environment=look["environment"], tuned=tuned)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no results file of superconv reproduce; move it away, or name another") from None
    if version != FORMAT:
        raise ValueError(f"{path} has format {version!r}, this version reads {FORMAT}; move it away and run again")
    return document


def _look(result: Reproduction) -> dict[str, Any]:
    settings = {}
    for condition, setting in result.settings.items():
        line = setting.schedule if isinstance(setting.schedule, str) else "see the claim's file"
        settings[condition] = {**asdict(setting.replace(schedule=line)), "schedule": line}
    measured = {
        condition: {str(seed): _rounded(run) for seed, run in by_seed.items()}
        for condition, by_seed in result.runs.items()
    }
    kept = ("superconv", "python", "torch", "numpy", "machine", "git_revision", "command")
    environment = {key: result.environment[key] for key in kept if key in result.environment}
    if isinstance(environment.get("command"), str):  # where someone's data lie is nobody's business
        environment["command"] = re.sub(r"(--(?:data-dir|runs-dir|out)[ =])\S+", r"\1...", environment["command"])
    look = {"settings": json.loads(runs.dumps(settings)), "runs": measured, "device": result.device,
            "environment": environment}  # fmt: skip
    if result.tuned:
        look["tuned"] = {
            condition: {"factor": tuned.factor, "trials": [[factor, *map(_short, values)] for factor, values in
                        tuned.trials.items()]}
            for condition, tuned in result.tuned.items()
        }  # fmt: skip
    return look


def _agree(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether conditions that both hold were run alike; a setting younger than the file had its default."""
    defaults = json.loads(runs.dumps(asdict(Setting("", 0))))
    return all({**defaults, **old[condition]} == new[condition] for condition in set(old) & set(new))


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {condition: {**old.get(condition, {}), **new.get(condition, {})} for condition in {**old, **new}}


def _rounded(run: Run) -> dict[str, Any]:
    values = asdict(run)
    if run.estimates is None:
        del values["estimates"]
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


def table(result: Reproduction) -> dict[str, Any]:
    """Paper, log and ours: final accuracies in percent."""
    rows = []
    for experiment in result.claim.experiments:
        numbers = experiment.reference
        published, log = (None, None) if numbers is None else (numbers.published, numbers.log)
        finals = [run.final for run in result.runs.get(experiment.condition, {}).values()]
        target = published if published is not None else log
        comparable = finals and target is not None and result.scale == "paper"
        apart = f"{100 * (fmean(finals) - target):+.1f}" if comparable and target is not None else "-"
        rows.append(
            [experiment.condition, _percent(published), _percent(log), _ours(finals), apart]
        )  # fmt: skip
    note = (
        "Final test accuracy in percent. Paper: as printed; log: the authors' own run, n = 1. Ours: mean over seeds "
        "and 95% interval of Student's t (from three seeds on). Difference: to the paper, else to the log."
    )
    if result.scale != "paper":
        note += (
            " At a smaller scale accuracies are not those of the paper; only differences between arms can be compared."
        )
    columns = ["condition", "paper", "log", "ours", "difference"]
    return {"title": f"{result.claim.name} ({result.scale} scale)", "columns": columns, "rows": rows, "note": note}


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _ours(finals: list[float]) -> str:
    if not finals:
        return "not run"
    n = len(finals)
    spread = ""
    if n >= LEAST_SEEDS:
        spread = f" ± {100 * critical_value(0.95, n - 1) * stdev(finals) / math.sqrt(n):.1f}"
    return f"{100 * fmean(finals):.1f}{spread} (n={n})"


def effect_lines(result: Reproduction) -> list[str]:
    """One sentence an effect: what was asserted, measured, and the word."""
    lines = []
    for effect, judgement in zip(result.claim.effects, result.judgements, strict=True):
        against = effect.baseline if effect.baseline is not None else f"{effect.threshold:g}"
        unit, factor = (" points", 100) if effect.measure == "final accuracy" else ("", 1)
        claimed = {1: "above", -1: "below", 0: "against"}[effect.sign]
        size = "" if effect.size is None else f" by {factor * abs(effect.size):.3g}{unit}"
        lines.append(
            f"{effect.treatment} {claimed} {against}{size} ({effect.measure}): "
            f"{_measured(judgement, factor, unit)}: {judgement.word}"
        )
    return lines


def _measured(judgement: Judgement, factor: float, unit: str) -> str:
    if judgement.mean is None:
        return "-"
    interval = ""
    if judgement.lower is not None and judgement.upper is not None:
        interval = f" ({factor * judgement.lower:+.2g} to {factor * judgement.upper:+.2g})"
    return f"{factor * judgement.mean:+.2g}{interval}{unit}, n={judgement.seeds}"


def overview(folder: Path) -> str:
    """A Markdown table of every claim with results in a folder: the word, the effects, where it is from."""
    lines = ["| claim | scale | word | effects measured | device |", "|---|---|---|---|---|"]
    for claim in CLAIMS:
        for scale in ("paper", "short"):
            path = file_of(folder, claim, scale)
            if path.exists():
                result = load(path)
                effects = "<br>".join(effect_lines(result)) or "-"
                lines.append(
                    f"| {claim.name}: {claim.sentence} | {scale} | {result.word} | {effects} | {result.device} |"
                )
    return "\n".join(lines)
