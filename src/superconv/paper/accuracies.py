"""The table of a claim: final accuracies as printed, in the authors' log, and ours."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from ..analysis.student_t import half_width
from .claim import Claim, Experiment
from .judgement import LEAST_SEEDS
from .measured import Run
from .reproduce import Reproduction

PEAK = "*"


def table(result: Reproduction) -> dict[str, Any]:
    """Paper, log and ours: final accuracies in percent, with a second decimal where the paper prints one."""
    experiments = result.claim.experiments
    digits = printed_digits(result.claim)
    peaks = any(e.reference is not None and e.reference.published_is_peak for e in experiments)
    note = (
        "Final test accuracy in percent. Paper: as printed; log: the authors' own run, n = 1. Ours: mean over seeds "
        "and 95% interval of Student's t (from three seeds on). Difference: to the paper, else to the log."
    )
    if any(e.reference is not None and e.reference.deviation is not None for e in experiments):
        note += " The paper's ± is as it printed it, over its own runs."
    if result.scale == "smoke":
        note += " At this scale the images are noise: it shows that everything runs, and nothing else."
    elif result.scale != "paper":
        note += (
            " At a smaller scale accuracies are not those of the paper; only differences between arms can be compared."
        )
    if peaks:
        note += f" {PEAK}: the paper prints the best test along the run; the difference is that of our best tests."
    note += "".join(f" {reading}" for reading in readings(result))
    return {
        "title": f"{result.claim.name} ({result.scale} scale)",
        "columns": ["condition", "paper", "log", "ours", "difference"],
        "rows": [_row(experiment, result, digits) for experiment in experiments],
        "note": note,
    }


def printed_digits(claim: Claim) -> int:
    """Decimals of a claim's accuracies in percent: the paper prints one, or two of all of them."""
    printed = [e.reference.published for e in claim.experiments if e.reference is not None and e.reference.published]
    return 2 if any(abs(1000 * value - round(1000 * value)) > 1e-6 for value in printed) else 1


def _row(experiment: Experiment, result: Reproduction, digits: int) -> list[str]:
    numbers = experiment.reference
    published, log = (None, None) if numbers is None else (numbers.published, numbers.log)
    ours = list(result.runs.get(experiment.condition, {}).values())
    target = published if published is not None else log
    peak = numbers is not None and numbers.published_is_peak
    apart = "-"
    if ours and target is not None and result.scale == "paper":
        apart = f"{100 * (fmean(run.best if peak else run.final for run in ours) - target):+.{digits}f}"
    deviation = None if numbers is None else numbers.deviation
    spread = "" if deviation is None else f" ± {_percent(deviation, digits)}"
    told = [_percent(published, digits) + spread + (PEAK if peak else ""), _percent(log, digits)]
    return [experiment.condition, *told, _ours(ours, digits), apart]


def readings(result: Reproduction) -> list[str]:
    """What was read off the paper's pictures, a sentence an experiment; no numbers to be compared with."""
    numbers = [(e.condition, e.reference) for e in result.claim.experiments if e.reference is not None]
    return [f"The paper's picture of {condition}: {each.reading}." for condition, each in numbers if each.reading]


def _percent(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


def _ours(found: list[Run], digits: int) -> str:
    if not found:
        return "not run"
    n, finals = len(found), [run.final for run in found]
    spread = ""
    if n >= LEAST_SEEDS:
        spread = f" ± {100 * half_width(finals):.{digits}f}"
    diverged = sum(run.stop == "diverged" for run in found)
    told = f"n={n}" + (f", {diverged} diverged" if diverged else "")
    return f"{100 * fmean(finals):.{digits}f}{spread} ({told})"
