"""How the verdict's ratio thresholds were fitted, and what happens when whole families are left out.

    python -m benchmarks.verdict.calibration

Reads the authors' logs, which the authors label, and results/range_tests, labelled by `tolerance_labels`; borderline
curves are judged but enter no fit and no count. For each kind of evidence (long ramp, short ramp, forks) the thresholds
cut the gap between the largest narrow and the smallest wide edge ratio into thirds on a log scale. Where the two
overlap, what lies in the overlap is inconclusive. Each family is then judged by thresholds fitted without it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import superconv as sc
from superconv.analysis.thresholds import Thresholds
from superconv.paper import range_tests

LABELS = Path("results/tolerance_labels.json")

KEYS = {
    "long ramp": ("narrow_ratio", "wide_ratio"),
    "short ramp": ("short_narrow_ratio", "short_wide_ratio"),
    "forks": ("fork_narrow_ratio", "fork_wide_ratio"),
}


@dataclass(frozen=True)
class Case:
    """One labelled curve, read with one kind of evidence."""

    family: str
    label: str
    ramp: sc.RangeTest

    @property
    def evidence(self) -> dict:
        """Of the verdict with the thresholds in use; the ratios in it do not depend on them."""
        return self.ramp.verdict().evidence


def cases() -> list[Case]:
    """The authors' logs; measured curves with their forks and, once more, without them."""
    found = []
    measured = json.loads(LABELS.read_text())["labels"]
    for name in range_tests.names():
        log = range_tests.load(name)
        family = f"{log.settings['architecture']}, {log.settings['dataset']}"
        found.append(Case(family, "narrow" if "fig11" in name else "wide", log))
    for path in sorted(Path("results/range_tests").glob("*.json")):
        ramp = sc.RangeTest.load(path)
        family = f"{ramp.settings['model']}, {ramp.settings['optimizer_name']}"
        label = measured[path.stem.replace("exponential", "").replace("linear", "").rsplit("-seed", 1)[0]]["label"]
        found += [Case(family, label, r) for r in ([ramp, replace(ramp, forks=())] if ramp.forks else [ramp])]
    return found


def fit(labelled: list[Case]) -> Thresholds:
    """Thirds of the gap for each kind of evidence that has both labels."""
    values = {}
    for kind, (low_key, high_key) in KEYS.items():
        of_kind = [c for c in labelled if c.evidence.get("edge_from") == kind]
        low = [c.evidence["edge_ratio"] for c in of_kind if c.label == "narrow"]
        high = [c.evidence["edge_ratio"] for c in of_kind if c.label == "wide" and _informative(c)]
        if low and high:
            a, b = max(low), min(high)
            third = (b / a) ** (1 / 3)
            values |= {low_key: min(a * third, b), high_key: max(b / third, a)} if b > a else {low_key: b, high_key: a}
    return replace(Thresholds(), **values)


def _informative(case: Case) -> bool:
    """A wide network whose short ramp ended without a fall says only that its edge is larger."""
    return case.evidence["fell_beyond_edge"] or case.evidence["edge_from"] == "long ramp"


def main() -> None:
    everything = [c for c in cases() if "edge_ratio" in c.evidence]
    labelled = [c for c in everything if c.label != "borderline"]
    fitted = fit(labelled)
    for kind, (low, high) in KEYS.items():
        used = Thresholds()
        for label in ("narrow", "wide"):
            ratios = sorted(
                (round(c.evidence["edge_ratio"], 1), "" if c.evidence["fell_beyond_edge"] else "+")
                for c in labelled
                if c.evidence["edge_from"] == kind and c.label == label
            )
            print(f"{kind}, {label}:", " ".join(f"{r:g}{plus}" for r, plus in ratios))
        print(f"  fitted {getattr(fitted, low):.2f} and {getattr(fitted, high):.2f};", end=" ")
        print(f"in use {getattr(used, low):g} and {getattr(used, high):g}")
    table: dict[tuple[str, str], Counter] = defaultdict(Counter)
    for case in everything:
        without = fit([c for c in labelled if c.family != case.family])
        kind = case.evidence["edge_from"]
        for name, limits in (("in use", Thresholds()), ("left out", without)):
            said = case.ramp.verdict(thresholds=limits).tolerance
            outcome = said if said == "inconclusive" or case.label == "borderline" else (
                "right" if said == case.label else "wrong")  # fmt: skip
            table[f"{case.family} ({case.label}, {kind})", name][outcome] += 1
    print("\n| family | thresholds in use | fitted without it |\n|---|---|---|")
    for family in dict.fromkeys(key[0] for key in table):
        cells = [", ".join(f"{n} {what}" for what, n in table[family, name].items()) for name in ("in use", "left out")]
        print(f"| {family} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
