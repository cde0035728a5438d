"""One experiment, ready to be shown: what every form of the report writes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .curves import interval
from .groups import Group, group_trainings, short_names
from .pictures import Picture, distinct, pictures_of, slug
from .ramps import RampGroup, group_ramps
from .read import Experiment, Run
from .settings import settings_of
from .stored_figures import stored_pictures
from .tables import Table, final_table, problem_table, stored_tables
from .variants import told_apart

_MOST_SENTENCES = 4


@dataclass(frozen=True)
class Chapter:
    """The content of one experiment's part of the report.

    Args:
        name: the experiment's name.
        anchor: the name for files and links, different for every chapter of a report.
        title: its heading.
        sentence: the verdict in a sentence.
        findings: more sentences.
        ramps: range tests, with suggestions and verdicts.
        pictures: figures by section.
        tables: result tables.
        problems: runs that did not end as planned, or None.
        shared, differing: settings, or None.
        note: about the data, from experiment.json.
        command, seconds, created: how it was made, where known.
        count: runs by state.
    """

    name: str
    anchor: str
    title: str
    sentence: str
    findings: tuple[str, ...]
    ramps: tuple[RampGroup, ...]
    pictures: tuple[Picture, ...]
    tables: tuple[Table, ...]
    problems: Table | None
    shared: Table | None
    differing: Table | None
    note: str
    command: str
    seconds: float | None
    created: str
    count: dict[str, int]


def build_chapters(experiments: Sequence[Experiment]) -> list[Chapter]:
    """One chapter an experiment; those of one name get different anchors."""
    anchors = distinct([slug(experiment.name) for experiment in experiments])
    return [build_chapter(e, anchor) for e, anchor in zip(experiments, anchors, strict=True)]


def build_chapter(experiment: Experiment, anchor: str) -> Chapter:
    """Draw the conclusions that the runs allow and that experiment.json does not state already."""
    info = experiment.info
    runs = told_apart(experiment.runs)
    ramps = group_ramps(runs, of_a_search=info.get("kind") == "find")
    groups = group_trainings(runs)
    metric = str(info.get("metric") or _metric_name(runs, ramps))
    final = final_table(groups, metric)
    shared, differing = settings_of(runs)
    stated = info.get("findings") or []
    findings = [str(finding) for finding in (stated if isinstance(stated, list) else [stated])]
    if experiment.problem:
        findings.append(f"The experiment's own conclusions cannot be read: {experiment.problem}")
    seconds = info.get("seconds")
    states = [run.state for run in runs]
    return Chapter(
        name=experiment.name,
        anchor=anchor,
        title=str(info.get("title") or experiment.name),
        sentence=str(info.get("sentence") or _sentence(ramps, groups, metric)),
        findings=tuple(findings),
        ramps=tuple(ramps),
        pictures=(*stored_pictures(info), *pictures_of(ramps, groups, metric)),
        tables=(*stored_tables(info), *([final] if final is not None else [])),
        problems=problem_table(runs),
        shared=shared,
        differing=differing,
        note=str(info.get("note") or ""),
        command=str(info.get("command") or ""),
        seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        created=str(info.get("created") or ""),
        count={state: states.count(state) for state in dict.fromkeys(states)},
    )


def _metric_name(runs: Sequence[Run], ramps: Sequence[RampGroup]) -> str:
    """The one metric of all trainings, else of the range tests; "metric" where they differ or none says."""
    told = {run.metric_name for run in runs if run.metric_name} or {ramp.metric_name for g in ramps for ramp in g.ramps}
    return told.pop() if len(told) == 1 else "metric"


def _sentence(ramps: Sequence[RampGroup], groups: Sequence[Group], metric: str) -> str:
    """What can be said without the experiment's own conclusion; no winner is named, since none was tested."""
    parts = [f"{g.arm}: tolerance of large learning rates {g.verdict.tolerance}, {g.headline}" for g in ramps]
    reached = []
    for group in groups:
        for arm, name in short_names(group).items():
            mean, low, high, n = interval([run.final("validation") for run in group.arms[arm]])
            if n:
                band = f" ({low:.3g} to {high:.3g})" if n > 1 else ""
                reached.append(f"{name}: validation {metric} {mean:.4g}{band} after {group.steps} steps, n = {n}")
    if len(reached) <= _MOST_SENTENCES:
        parts += reached
    elif reached:
        parts.append(f"{len(reached)} arms were trained; the table of final values compares them")
    if not parts:
        return "No run has finished yet."
    if ramps and not groups:
        parts.append("speed-up not measured: a ramp does not show it, paired trainings do")
    return "; ".join(parts) + "."


def state_sentence(count: dict[str, Any]) -> str:
    """ "60 runs: 58 finished, 2 diverged"."""
    total = sum(count.values())
    told = ", ".join(f"{number} {state}" for state, number in count.items())
    return f"{total} run{'s' if total != 1 else ''}: {told}" if total else "no runs"
