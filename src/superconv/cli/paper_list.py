"""The paper's experiments as text: claim by claim, what repeats said once, within the width of the terminal."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..paper.catalogue import Entry

_SHORT = {"has a setting chosen by us": "chosen setting"}  # a word for a column
_COUNTED = {"has a setting chosen by us": "with a setting chosen by us", "needs data": "without their data"}
_REMARK = re.compile(r" *\(.*?\)")
_NUMBERED = re.compile(r"(Fig|Table|Sec|App)\.? ")


def list_lines(entries: Sequence[Entry], width: int) -> list[str]:
    """All lines: a block a claim, then what is missing, and the counts.

    Args:
        entries: claim by claim, as `catalogue.entries` gives them.
        width: columns of the terminal; no line is longer, but for a name that is.
    """
    lines = []
    for _, block in groupby(entries, key=lambda entry: entry.claim.name):
        lines += [*_block(list(block), width), ""]
    counts = Counter(entry.status for entry in entries)
    counted = ", ".join(f"{count} {_COUNTED.get(status, status)}" for status, count in counts.items())
    lines += _wrapped(f"{len(entries)} experiment{'s' if len(entries) != 1 else ''}: {counted}.", width)
    if any(entry.status in _SHORT for entry in entries):
        lines += _wrapped("chosen setting: it runs, with something that neither the paper nor its files say.", width)
    for (data, remedy), count in Counter(map(_missing, entries)).items():
        if data:
            lines += _wrapped(f"{data} is not here, which {count} of them need: {remedy}", width, "  ")
    return lines


def _block(entries: Sequence[Entry], width: int) -> list[str]:
    claim = entries[0].claim
    figures = [figure_label(entry.to_dict()["figure"]) for entry in entries]
    where = "" if any(figures) else f" ({claim.where})"
    lines = _wrapped(f"{claim.name}: {claim.sentence}{where}", width, "    ")
    rows = [
        (entry.experiment.name, figure or "-" * any(figures), _SHORT.get(entry.status, entry.status))
        for entry, figure in zip(entries, figures, strict=True)
    ]
    return lines + _rows(rows, width) + _reasons(entries, width)


def _rows(rows: Sequence[tuple[str, str, str]], width: int) -> list[str]:
    """A line each where all of them fit; the figure on a line of its own where they do not."""
    name, figure, status = (max(len(row[k]) for row in rows) for k in range(3))
    if 2 + name + 2 + figure + 2 + status <= width:
        return [f"  {row[0]:<{name}}  {row[1]:<{figure}}  {row[2]}" for row in rows]
    lines = []
    for row in rows:
        lines.append(f"  {row[0]:<{min(name, max(0, width - status - 4))}}  {row[2]}")
        lines += _wrapped(f"    {row[1]}", width, "      ") if row[1] else []
    return lines


def figure_label(figures: dict[str, str]) -> str:
    """ "v1 Table 1, Fig. 6a; v3 Table 1, Fig. 4a" without remarks; one text where the versions agree."""
    plain = {}
    for version, label in figures.items():
        bare = _REMARK.sub("", label).replace(" and ", ", ").replace(";", ",").removeprefix(f"{version} ").strip()
        if _NUMBERED.match(bare):  # else a remark: "superseded by ..."
            plain[version] = bare
    if len(plain) > 1 and len(set(plain.values())) == 1:
        return f"{', '.join(plain)} {next(iter(plain.values()))}"
    return "; ".join(f"{version} {label}" for version, label in plain.items())


def _reasons(entries: Sequence[Entry], width: int) -> list[str]:
    """What was chosen, and what stands in the way: a sentence once, with the conditions unless it holds for all."""
    lines = []
    for opening, all_of in (("chosen by us", _chosen), ("not buildable", _obstacles)):
        found = {sentence: None for entry in entries for sentence in all_of(entry)}
        concerned = [entry for entry in entries if all_of(entry)]
        for sentence in found:
            mine = [entry.experiment.condition for entry in concerned if sentence in all_of(entry)]
            which = "" if len(mine) == len(concerned) else f" ({', '.join(mine)})"
            lines += _wrapped(f"  {opening}{which}: {sentence}", width, "    ")
    return lines


def _chosen(entry: Entry) -> tuple[str, ...]:
    return entry.experiment.chosen


def _obstacles(entry: Entry) -> tuple[str, ...]:
    return (entry.experiment.obstacle,) if entry.experiment.obstacle else ()


def _missing(entry: Entry) -> tuple[str, str]:
    """Data set and how to get it; empty where nothing is missing."""
    setting = entry.experiment.setting
    if entry.status != "needs data" or setting is None:
        return "", ""
    return setting.data, entry.why.partition(": ")[2]


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, max(20, width), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
