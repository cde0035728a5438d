"""Every experiment by name, by figure or table of either version, and by claim; and whether it can be run here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..near_names import meant
from .claim import Claim, Experiment
from .claims import CLAIMS
from .setting import SCALES

_NUMBERED = re.compile(r"(fig(?:ure)?|table|tab)\.? *(\d+[a-z]?)", re.IGNORECASE)
_SEVERAL = re.compile(r"(Fig\.|Table) (\d+[a-z]?(?: and \d+[a-z]?)*)")
_ASIDE = re.compile(r"\(.*?\)")  # remarks, which may name other figures


@dataclass(frozen=True)
class Entry:
    """An experiment with its claim, and what stands between it and a run.

    Args:
        status: "runnable", "needs data", "has a setting chosen by us" or "not buildable".
        why: the missing data, what was chosen, or the obstacle; empty where runnable.
    """

    experiment: Experiment
    claim: Claim
    status: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data: name, claim, figure, status, why, chosen, scales, title."""
        numbers = self.experiment.reference
        figures = {} if numbers is None else numbers.figures
        return {
            "name": self.experiment.name, "claim": self.claim.name,
            "figure": {version: label for version, label in figures.items() if label},
            "status": self.status, "why": self.why, "chosen": list(self.experiment.chosen),
            "scales": [] if self.experiment.setting is None else list(SCALES),
            "title": self.experiment.title if numbers is None else numbers.title,
        }  # fmt: skip


def entries(data_dir: str | Path | None = None) -> list[Entry]:
    """All experiments, claim by claim.

    Args:
        data_dir: where data sets are looked for.
    """
    from ..data import NAMES, where

    @cache
    def there(data: str) -> bool:
        return where(data, data_dir) is not None

    found = []
    for claim in CLAIMS:
        for experiment in claim.experiments:
            if experiment.setting is None:
                status, why = "not buildable", experiment.obstacle
            elif not there(experiment.setting.data):
                data = experiment.setting.data
                status, why = "needs data", f"{data} is not here: {NAMES[data].how_to_get}"
            elif experiment.chosen:
                status, why = "has a setting chosen by us", "; ".join(experiment.chosen)
            else:
                status, why = "runnable", ""
            found.append(Entry(experiment, claim, status, why))
    return found


def select(wanted: str) -> list[tuple[Claim, Experiment]]:
    """The experiments that a word stands for.

    Args:
        wanted: a claim ("max-lr"), an experiment ("max-lr/3"), a figure or table of either version ("Fig. 1a", "fig1a",
            "Table 1", "v3 Table 2"), or a key of the authors' numbers ("fig1a-clr"), which is a table's row.
    Raises: ValueError: nothing of that name, with the nearest ones.
    """
    everything = [(claim, experiment) for claim in CLAIMS for experiment in claim.experiments]
    word = wanted.strip()
    for test in (
        lambda claim, experiment: claim.name == word.lower(),
        lambda claim, experiment: experiment.name == word.lower(),
        lambda claim, experiment: _is_row(claim, experiment) and experiment.key.lower() == word.lower(),
        lambda claim, experiment: _is_row(claim, experiment) and _in_figure(experiment, word),
    ):
        found = [pair for pair in everything if test(*pair)]
        if found:
            return found
    raise ValueError(
        f"no experiment {wanted!r}; {meant(wanted, _names())}claims are {', '.join(claim.name for claim in CLAIMS)}; "
        "superconv reproduce --list shows all"
    )


def _is_row(claim: Claim, experiment: Experiment) -> bool:
    """Whether it is the authors' row itself, and not another claim's control with the same numbers."""
    key = experiment.key
    return key is not None and claim is next(c for c in CLAIMS if any(e.key == key for e in c.experiments))


def _names() -> list[str]:
    """Everything that can be asked for; figures and tables as "Fig. 1a", "v3 Table 1"."""
    experiments = [experiment for claim in CLAIMS for experiment in claim.experiments]
    texts = {pair for e in experiments if e.reference is not None for pair in e.reference.figures.items()}
    labels = {(version, label) for version, text in texts if text for label in _written(text)}
    return [
        *(claim.name for claim in CLAIMS), *(e.name for e in experiments), *(e.key for e in experiments if e.key),
        *sorted({label for _, label in labels}), *sorted(" ".join(pair) for pair in labels),
    ]  # fmt: skip


def _written(text: str) -> list[str]:
    """The figures and tables that a reference names: "Fig. 5a and 5b; Table 1" -> "Fig. 5a", "Fig. 5b", "Table 1"."""
    found = _SEVERAL.findall(_ASIDE.sub("", text))
    return [f"{kind} {number}" for kind, numbers in found for number in numbers.split(" and ")]


def _label(word: str) -> str | None:
    """ "Figure 1A" -> "fig1a"; None: no figure or table."""
    match = _NUMBERED.fullmatch(word.strip())
    if match is None:
        return None
    kind, number = match.groups()
    return ("fig" if kind.lower().startswith("fig") else "table") + number.lower()


def _in_figure(experiment: Experiment, word: str) -> bool:
    version, rest = re.match(r"(?:(v1|v3)[ :.-]*)?(.*)", word, re.IGNORECASE).groups()  # type: ignore[union-attr]
    label = _label(rest)
    if label is None:
        return False
    figures = {} if experiment.reference is None else experiment.reference.figures
    texts = [figures.get(version.lower())] if version else list(figures.values())
    own = {_label(each) for text in texts if text for each in _written(text)}
    return label in own or any(each is not None and each[:-1] == label and each[-1].isalpha() for each in own)
