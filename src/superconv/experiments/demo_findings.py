"""What the demo's runs show of one network: verdict, differences at equal steps, speed-up, in words and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..analysis.comparison import PairedDifference, holm, outcome, paired_difference
from ..analysis.range_test import RangeTest
from ..analysis.speed_up import SpeedUp, speed_up
from ..analysis.suggestion import Suggestion
from ..analysis.verdict import Verdict
from .demo_arms import DEFAULT_PIECEWISE, ONE_CYCLE, TUNED_ONE_CYCLE, TUNED_PIECEWISE
from .demo_tuning import accuracy

MARGIN = 0.005  # half a point of accuracy: the smallest difference that matters here, fixed before any run
PAIRS = (
    (ONE_CYCLE, DEFAULT_PIECEWISE, "against a common default"),
    (ONE_CYCLE, TUNED_PIECEWISE, "against the tuned baseline"),
    (TUNED_ONE_CYCLE, TUNED_PIECEWISE, "both tuned alike"),
)

Summaries = Mapping[tuple[str, int, int], Mapping[str, Any]]  # (kind, steps, seed) -> summary


@dataclass(frozen=True)
class Comparison:
    """One pair of arms: paired differences at every length, and the speed-up over all lengths.

    Args:
        words: outcome at every length, p-values adjusted over the lengths (Holm).
    """

    treatment: str
    baseline: str
    label: str
    differences: Mapping[int, PairedDifference]
    words: Mapping[int, str]
    speed_up: SpeedUp


@dataclass(frozen=True)
class Finding:
    """Everything about one network.

    Args:
        accuracies: kind -> steps -> seed -> test accuracy, a diverged run counted as chance.
        verdict: tolerance from the range tests; the speed-up is that over the tuned baseline.
    """

    network: str
    suggestion: Suggestion
    ramps: tuple[RangeTest, ...]
    verdict: Verdict
    accuracies: Mapping[str, Mapping[int, Mapping[int, float]]]
    comparisons: tuple[Comparison, ...]

    @property
    def sentence(self) -> str:
        """The network in one sentence."""
        held = f"{self.network}: tolerance of large learning rates {self.verdict.tolerance}"
        return "; 1cycle ".join([held, *(in_words(pair) for pair in self.comparisons[:2])]) + "."


def conclude(
    network: str, num_classes: int, ramps: Sequence[RangeTest], verdict: Verdict, suggestion: Suggestion,
    summaries: Summaries,
) -> Finding:  # fmt: skip
    """Pure: from what was measured to what it shows."""
    accuracies: dict[str, dict[int, dict[int, float]]] = {}
    for (kind, steps, seed), summary in summaries.items():
        accuracies.setdefault(kind, {}).setdefault(steps, {})[seed] = accuracy(summary, "test", num_classes)
    comparisons = tuple(
        _compare(accuracies[one], accuracies[other], one, other, label)
        for one, other, label in PAIRS
        if one in accuracies and other in accuracies
    )
    for pair in comparisons:
        gain = pair.speed_up
        if (
            pair.baseline == TUNED_PIECEWISE
            and pair.treatment == ONE_CYCLE
            and gain.value
            and gain.lower
            and gain.upper
        ):
            verdict = verdict.with_speed_up(gain.value, (gain.lower, gain.upper), gain.n)
    return Finding(network, suggestion, tuple(ramps), verdict, accuracies, comparisons)


def _compare(
    treatment: Mapping[int, Mapping[int, float]],
    baseline: Mapping[int, Mapping[int, float]],
    one: str,
    other: str,
    label: str,
) -> Comparison:
    differences = {steps: paired_difference(treatment[steps], baseline[steps]) for steps in sorted(treatment)}
    adjusted = holm({str(steps): difference.p_value for steps, difference in differences.items()})
    words = {
        steps: outcome(difference, margin=MARGIN, p_value=adjusted[str(steps)])
        for steps, difference in differences.items()
    }
    return Comparison(one, other, label, differences, words, speed_up(treatment, baseline))


def points(difference: PairedDifference) -> str:
    """ "+1.23 (0.40 to 2.06)": hundredths of accuracy with the 95% interval."""
    if difference.mean is None:
        return "unknown"
    text = f"{100 * difference.mean:+.2f}"
    if difference.lower is None or difference.upper is None:
        return f"{text} (n={difference.n}, too few seeds for an interval)"
    return f"{text} ({100 * difference.lower:+.2f} to {100 * difference.upper:+.2f})"


def speed(gain: SpeedUp) -> str:
    """ "1.5x (1.2 to 1.9): faster", or the word for why there is no number."""
    if gain.value is None:
        return gain.outcome
    if gain.lower is None or gain.upper is None:
        return f"{gain.text}: {gain.outcome}"
    upper = "no upper bound" if gain.upper == float("inf") else f"{gain.upper:.2g}"
    return f"{gain.text} ({gain.lower:.2g} to {upper}): {gain.outcome}"


def in_words(pair: Comparison) -> str:
    """Outcomes counted over the lengths, the range of the differences, and the speed-up."""
    counts = Counter(pair.words.values())
    said = ", ".join(f"{word} at {count}" for word, count in counts.most_common())
    means = [difference.mean for difference in pair.differences.values() if difference.mean is not None]
    span = f"{100 * min(means):+.1f} to {100 * max(means):+.1f} points" if means else "nothing to compare"
    return f"{pair.label} {said} of {len(pair.words)} lengths ({span}), speed-up {speed(pair.speed_up)}"


def tables(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """The demo's tables as plain data: title, columns, rows, note."""
    return [_suggestions(findings), _accuracies(findings), *(_comparisons(finding) for finding in findings)]


def _suggestions(findings: Sequence[Finding]) -> dict[str, Any]:
    rows = []
    for finding in findings:
        suggestion, ratio = finding.suggestion, finding.verdict.evidence.get("edge_ratio")
        lr = "none" if suggestion.max_lr is None else f"{suggestion.max_lr:.2g}"
        span = "" if suggestion.interval is None else f"{suggestion.interval[0]:.2g} to {suggestion.interval[1]:.2g}"
        edge = "" if ratio is None else f"{ratio:.1f}x"
        rows.append([finding.network, finding.verdict.tolerance, edge, lr, span, suggestion.rule])
    columns = ["network", "tolerance", "edge / reference LR", "max_lr", "range over seeds", "rule"]
    return {"title": "What the range tests say", "columns": columns, "rows": rows, "note": ""}


def _accuracies(findings: Sequence[Finding]) -> dict[str, Any]:
    kinds = [ONE_CYCLE, DEFAULT_PIECEWISE, TUNED_PIECEWISE, TUNED_ONE_CYCLE]
    rows = []
    for finding in findings:
        for steps in sorted(next(iter(finding.accuracies.values()))):
            cells = [_mean(finding.accuracies.get(kind, {}).get(steps, {})) for kind in kinds]
            rows.append([finding.network, str(steps), *cells])
    note = "Mean test accuracy in percent over the seeds, ± standard deviation. Only 'tuned' arms were tuned."
    return {"title": "Test accuracy", "columns": ["network", "steps", *kinds], "rows": rows, "note": note}


def _mean(values: Mapping[int, float]) -> str:
    if not values:
        return "-"
    mean = sum(values.values()) / len(values)
    spread = (sum((v - mean) ** 2 for v in values.values()) / max(1, len(values) - 1)) ** 0.5
    return f"{100 * mean:.2f} ± {100 * spread:.2f}"


def _comparisons(finding: Finding) -> dict[str, Any]:
    lengths = sorted(next(iter(finding.accuracies.values())))
    pairs = finding.comparisons
    rows = [
        [str(steps), *(f"{points(pair.differences[steps])}: {pair.words[steps]}" for pair in pairs)]
        for steps in lengths
    ]
    rows.append(["speed-up", *(speed(pair.speed_up) for pair in pairs)])
    seeds = next((d.seeds for pair in pairs for d in pair.differences.values()), ())
    note = (
        f"Points of test accuracy, 1cycle minus piecewise constant after equal steps, paired by seed (n={len(seeds)}, "
        f"seeds {seeds[0]}-{seeds[-1]}), 95% intervals, p-values adjusted over the lengths (Holm); {100 * MARGIN:g} "
        "points is the smallest difference that matters. Speed-up: ratio of steps at the accuracy that the baseline "
        "reaches at its longest length."
    )
    columns = ["steps", *(f"1cycle {pair.label}" for pair in pairs)]
    return {"title": f"{finding.network}: is 1cycle better?", "columns": columns, "rows": rows, "note": note}
