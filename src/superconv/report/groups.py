"""Which trainings are compared with each other: those of one task and one planned length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .read import Run, natural

VARIANT = " · "  # stands between an arm's name and what tells it from another one of that name


@dataclass(frozen=True)
class Group:
    """Trainings of one task and length, by arm.

    Args:
        task: its name; empty where the runs do not say.
        steps: planned length.
        arms: arm -> its runs, one a seed.
    """

    task: str
    steps: int
    arms: dict[str, tuple[Run, ...]]

    @property
    def task_name(self) -> str:
        """The task without its data set: narrow panels have no room for it."""
        return self.task.split("/")[-1]

    @property
    def title(self) -> str:
        """For a panel."""
        return ", ".join(part for part in (self.task_name, f"{self.steps} steps" if self.steps else "") if part)


def group_trainings(runs: Sequence[Run]) -> list[Group]:
    """Groups by task, then length; range tests are no trainings."""
    found: dict[tuple[str, int], dict[str, list[Run]]] = {}
    for run in runs:
        if run.ramp is None and not (run.problem and not run.record):
            found.setdefault((run.task, run.steps), {}).setdefault(run.arm, []).append(run)
    order = sorted(found, key=lambda key: (natural(key[0]), key[1]))
    return [Group(task, steps, {a: tuple(r) for a, r in found[task, steps].items()}) for task, steps in order]


def short_names(group: Group) -> dict[str, str]:
    """Arm -> its name without the task and the length that the group's title says already.

    Names stay whole where the short ones would not differ.
    """
    short = {arm: _short(arm, group) for arm in group.arms}
    return short if len(set(short.values())) == len(short) and all(short.values()) else {arm: arm for arm in short}


def _short(arm: str, group: Group) -> str:
    name, separator, variant = arm.partition(VARIANT)
    if group.steps:
        name = re.sub(rf"(^|[-_/@., =]+)(steps?[-_= ]*)?{group.steps}([-_ ]*steps?)?$", "", name)
    for prefix in (group.task, group.task.replace("/", "-"), group.task.split("/")[-1], group.task.split("/")[0]):
        if prefix and re.match(re.escape(prefix) + r"[-_/@:., ]", name):
            name = name[len(prefix) + 1 :].strip()
            break
    return name and name + separator + variant


def color_order(groups: Sequence[Group]) -> dict[str, int]:
    """Short arm name -> palette index, the same in all pictures of an experiment."""
    names = dict.fromkeys(name for group in groups for name in short_names(group).values())
    return {name: index for index, name in enumerate(names)}
