"""How much one number of a case tells about another: ranks, chances by verdict, and scores of left-out families."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
PAIRINGS = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One case of the picture.

    Args:
        family: its network with and without normalisation; left out as a whole.
        word: the verdict on two range tests together.
        ratios: edge over reference LR, one a range test that tells it.
        difference: accuracy of 1cycle minus piecewise constant, the mean over the common lengths.
        halves: the same from even and from odd seeds.
        gained: what is to be told beforehand.
    """

    family: str
    word: str
    ratios: tuple[float, ...]
    difference: float
    halves: tuple[float, float]
    gained: bool

    @property
    def ratio(self) -> float:
        """Geometric mean over the range tests."""
        return geometric_mean(self.ratios)


def ranks(values: Sequence[float]) -> Floats:
    """1 for the smallest; equal values share the mean of their ranks."""
    x = np.asarray(values, dtype=np.float64)
    below, upto = (x[:, None] > x).sum(1), (x[:, None] >= x).sum(1)
    return 0.5 * (below + upto + 1)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation: Pearson's of the ranks, 0 where one of them is constant.

    Reference: Spearman 1904, American Journal of Psychology 15, 72.
    """
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0.0 else 0.0


def spearman_interval(
    x: Sequence[float], y: Sequence[float], *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentiles of the rank correlation over cases drawn with replacement."""
    rng = np.random.default_rng(seed)
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    draws = rng.integers(0, len(a), (resamples, len(a)))
    found = [spearman(a[draw], b[draw]) for draw in draws]  # type: ignore[arg-type]
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(found, (tail, 100.0 - tail))
    return float(low), float(high)


def beta_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """(mean, lower, upper) of the chance of success after so many, starting from an even Beta(1, 1).

    The distribution function of Beta(a, b) with whole a and b is a sum of binomial terms, inverted by halving.
    """
    a, b = successes + 1, trials - successes + 1
    n = a + b - 1

    def below(x: float) -> float:
        return sum(math.comb(n, j) * x**j * (1.0 - x) ** (n - j) for j in range(a, n + 1))

    def quantile(share: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if below(middle) < share else (low, middle)
        return 0.5 * (low + high)

    tail = 0.5 * (1.0 - confidence)
    return a / (a + b), quantile(tail), quantile(1.0 - tail)


def left_out_scores(points: Sequence[Point]) -> list[tuple[str, float, float]]:
    """(family, score by base rate, score by verdict) of every case, its whole family left out of the counts.

        score = log of the probability that was given to what happened       (nats; 0 is the best)
        base rate: (k + 1) / (n + 2) over the other families' n cases, k of which gained
        by verdict: the same over those of them with this case's word

    Reference: the logarithmic score, Good 1952, Journal of the Royal Statistical Society B 14, 107.
    """
    found = []
    for point in points:
        others = [p for p in points if p.family != point.family]
        alike = [p for p in others if p.word == point.word]
        scores = [_log_score(group, point.gained) for group in (others, alike)]
        found.append((point.family, scores[0], scores[1]))
    return found


def _log_score(group: Sequence[Point], happened: bool) -> float:
    chance = (sum(p.gained for p in group) + 1) / (len(group) + 2)
    return math.log(chance if happened else 1.0 - chance)


def score_gain(
    scores: Sequence[tuple[str, float, float]], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """(mean, lower, upper) of score by verdict minus score by base rate, a case; families drawn with replacement."""
    families = sorted({family for family, _, _ in scores})
    sums = np.array([sum(v - b for f, b, v in scores if f == family) for family in families])
    counts = np.array([sum(f == family for f, _, _ in scores) for family in families])
    draws = np.random.default_rng(seed).integers(0, len(families), (resamples, len(families)))
    low, high = np.percentile(sums[draws].sum(1) / counts[draws].sum(1), (2.5, 97.5))
    return float(sums.sum() / counts.sum()), float(low), float(high)


def quadrants(points: Sequence[Point]) -> dict[str, dict[str, int]]:
    """Word -> how many gained, how many did not."""
    words = ("wide", "inconclusive", "narrow")
    return {
        word: {
            "gained": sum(p.gained for p in points if p.word == word),
            "not": sum(not p.gained for p in points if p.word == word),
        }
        for word in words
    }


def answer(points: Sequence[Point], correlation: float, interval: Sequence[float], score: Sequence[float]) -> str:
    """ "How much does the ramp tell about the gain?", in a sentence that the numbers support."""
    counts = quadrants(points)
    told = []
    for word in ("wide", "narrow"):
        gained, total = counts[word]["gained"], counts[word]["gained"] + counts[word]["not"]
        mean, low, high = beta_interval(gained, total)
        told.append(
            f"{gained} of {total} {word} cases gained (chance {mean:.2f}, 95% interval {low:.2f} to {high:.2f})"
        )
    if score[1] > 0.0 and interval[0] > 0.0:
        verdict = "the ramp tells something about the gain"
    elif score[2] < 0.0:
        verdict = "the ramp misleads about the gain: its word predicted worse than the base rate"
    else:
        verdict = "no information about the gain was shown in the ramp"
    return (
        f"Over {len(points)} cases {verdict}: {'; '.join(told)}; rank correlation of edge ratio and difference "
        f"{correlation:+.2f} ({interval[0]:+.2f} to {interval[1]:+.2f}); the word's log score is {score[0]:+.3f} nats "
        f"a case against the base rate ({score[1]:+.3f} to {score[2]:+.3f})."
    )


def _agreement(points: Sequence[Point]) -> float:
    """Rank correlation over cases of one range test with another of the same case, the mean over such choices."""
    rng = np.random.default_rng(0)
    both = [p.ratios for p in points if len(p.ratios) > 1]
    drawn = [[rng.permutation(len(ratios))[:2] for ratios in both] for _ in range(PAIRINGS)]
    return fmean(
        spearman(
            [r[a] for r, (a, _) in zip(both, draw, strict=True)], [r[b] for r, (_, b) in zip(both, draw, strict=True)]
        )
        for draw in drawn
    )


def analysed(points: Sequence[Point]) -> Mapping[str, object]:
    """Everything that is concluded, as plain data."""
    x, y = [p.ratio for p in points], [p.difference for p in points]
    correlation, interval = spearman(x, y), spearman_interval(x, y)
    score = score_gain(left_out_scores(points))
    halves = [p.halves[0] for p in points], [p.halves[1] for p in points]
    chances = {
        word: [round(v, 3) for v in beta_interval(n["gained"], n["gained"] + n["not"])]
        for word, n in quadrants(points).items()
    }
    return {
        "cases": len(points),
        "quadrants": quadrants(points),
        "chance_of_gain": chances,
        "spearman": [round(v, 3) for v in (correlation, *interval)],
        "log_score_gain_nats": [round(v, 3) for v in score],
        "agreement_of_two_range_tests": round(_agreement(points), 3),
        "agreement_of_two_halves_of_the_seeds": round(spearman(*halves), 3),
        "answer": answer(points, correlation, interval, score),
    }
