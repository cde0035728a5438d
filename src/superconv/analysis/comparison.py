"""Two arms compared at equal steps, paired by seed: difference, interval, and the word that it supports."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .student_t import critical_value, two_sided_p

Outcome = Literal["faster", "no gain", "slower", "inconclusive", "too few seeds"]

MINIMUM_SEEDS = 5  # below it no interval is stated: with 3 pairs even the smallest Wilcoxon p is 0.25


@dataclass(frozen=True)
class PairedDifference:
    """Treatment minus baseline over the seeds that both arms have; positive: the treatment is better.

    Args:
        n: number of pairs.
        seeds: their seeds, ascending.
        treatment, baseline: the values of each arm, in the order of `seeds`, as they were given.
        differences: per pair, with the sign turned so that positive is better.
        mean: of the differences; None without a pair.
        standard_deviation: of the differences (n - 1 in the denominator); None below two pairs.
        lower, upper: Student's t interval of the mean; None below five pairs, and where all are equal below six.
        p_value: two-sided, of "the mean is 0"; None below five pairs.
        confidence: of the interval.
        left_out: seeds that only one arm has.
        higher_is_better: how the metric reads.
        note: what a reader has to know about the numbers; empty where nothing is unusual.
    """

    n: int
    seeds: tuple[int, ...]
    treatment: tuple[float, ...]
    baseline: tuple[float, ...]
    differences: tuple[float, ...]
    mean: float | None
    standard_deviation: float | None
    lower: float | None
    upper: float | None
    p_value: float | None
    confidence: float
    left_out: tuple[int, ...]
    higher_is_better: bool
    note: str = ""


def paired_difference(
    treatment: Mapping[int, float],
    baseline: Mapping[int, float],
    *,
    confidence: float = 0.95,
    higher_is_better: bool = True,
) -> PairedDifference:
    """Mean difference of two arms over common seeds, with Student's t interval.

    mean +- t(confidence, n - 1) s / sqrt(n)     s: standard deviation of the n differences

    The pairs are what makes seeds few: same seed, same initialisation, same order of batches, so that what both arms
    share drops out. Assumes differences close to normal; five seeds cannot show that they are not.

    Args:
        treatment: seed -> final value. A diverged run is scored as chance by the caller, never left out.
        baseline: likewise.
        confidence: of the interval, inside (0, 1).
        higher_is_better: False for a loss: the differences then are baseline minus treatment.
    Returns: a PairedDifference; below five pairs without interval and p-value, the values are still there. Where all
        differences are equal, Student's interval has no width and proves too much: the p-value is then the exact sign
        test's, 2^(1-n), or 1 where they are all 0, and there is an interval only where 2^(1-n) <= 1 - confidence (six
        pairs at 95%).
    Raises: ValueError: a value is not finite, or confidence is outside (0, 1).
    Reference: Student 1908, Biometrika 6, 1; pairing by seed: Bouthillier et al. 2021, arXiv 2103.03098.
    Example:
        >>> treatment = {0: 0.91, 1: 0.92, 2: 0.9, 3: 0.93, 4: 0.92}
        >>> d = paired_difference(treatment, dict.fromkeys(range(5), 0.9))
        >>> d.n, round(d.mean, 4), round(d.lower, 4), round(d.upper, 4)
        (5, 0.016, 0.0018, 0.0302)
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, allowed is a number inside (0, 1); 0.95 is usual")
    check_finite("treatment", treatment)
    check_finite("baseline", baseline)
    seeds = tuple(sorted(set(treatment) & set(baseline)))
    sign = 1.0 if higher_is_better else -1.0
    differences = tuple(sign * (float(treatment[seed]) - float(baseline[seed])) for seed in seeds)
    largest = max((abs(float(arm[seed])) for arm in (treatment, baseline) for seed in seeds), default=0.0)
    mean, deviation, lower, upper, p_value, note = _interval(differences, confidence, largest)
    return PairedDifference(
        n=len(seeds),
        seeds=seeds,
        treatment=tuple(float(treatment[seed]) for seed in seeds),
        baseline=tuple(float(baseline[seed]) for seed in seeds),
        differences=differences,
        mean=mean,
        standard_deviation=deviation,
        lower=lower,
        upper=upper,
        p_value=p_value,
        confidence=confidence,
        left_out=tuple(sorted(set(treatment) ^ set(baseline))),
        higher_is_better=higher_is_better,
        note=note,
    )


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values adjusted for having tested several arms: none is wrongly called different, at the stated level.

    sorted p_1 <= ... <= p_m:   adjusted_i = max over j <= i of min(1, (m - j + 1) p_j)

    Args:
        p_values: arm -> p-value; None (too few seeds) was not tested, stays None and does not count in m.
    Returns: arm -> adjusted p-value, in the order given.
    Raises: ValueError: a p-value outside [0, 1].
    Reference: Holm 1979, Scandinavian Journal of Statistics 6, 65.
    Example:
        >>> holm({"cosine": 0.01, "constant": 0.04, "pc": 0.03})
        {'cosine': 0.03, 'constant': 0.06, 'pc': 0.06}
    """
    tested = {name: p for name, p in p_values.items() if p is not None}
    for name, p in tested.items():
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p-value of {name!r} is {p}, allowed is [0, 1] or None; pass PairedDifference.p_value")
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for rank, name in enumerate(sorted(tested, key=lambda key: tested[key])):
        largest = max(largest, min(1.0, (len(tested) - rank) * tested[name]))
        adjusted[name] = largest
    return adjusted


def outcome(difference: PairedDifference, *, margin: float, p_value: float | None = None) -> Outcome:
    """The word that a difference at equal steps supports, against the smallest difference that matters.

    faster          p <= 1 - confidence, and mean >= +margin: better, and the estimate is an amount that matters
    slower          p <= 1 - confidence, and mean <= -margin
    no gain         upper < +margin, and not slower: a gain that matters is excluded. A positive statement; it holds for
                    a treatment proved equal (interval within +-margin) and for one that may also be worse
    inconclusive    anything else: the seeds do not tell. Not a proof of absence
    too few seeds   fewer than five pairs

    "faster" is read so: more accurate after the same steps is as accurate after fewer. By how many, `speed_up` says.
    "no gain" uses the two-sided interval, so its error rate is (1 - confidence) / 2 per arm, stricter than the usual
    two one-sided tests at 1 - confidence. These rates are those of one look: who adds seeds until a word falls is wrong
    more often (docs/method-comparison.md).

    Args:
        difference: of `paired_difference`.
        margin: smallest difference that matters, in the metric's units, positive and chosen before looking.
        p_value: adjusted by `holm` where several arms were tested; None: the difference's own.
    Returns: one of the five words.
    Raises: ValueError: margin is not a positive number.
    Reference: equivalence by intervals: Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15, 657.
    Differs: the usual test of a zero difference alone calls any gain a gain, and "not significant" is read as "none".
    """
    check_margin(margin, "0.002 is 0.2 points of accuracy")
    p_value = difference.p_value if p_value is None else p_value
    if difference.mean is None or p_value is None:
        return "too few seeds"
    shown = _shown(difference, p_value)
    if difference.upper is None:
        return "inconclusive"
    return decide(difference.mean, difference.upper, margin, shown_different=shown)


def _shown(difference: PairedDifference, p_value: float | None) -> bool:
    return p_value is not None and p_value <= 1.0 - difference.confidence


def decide(estimate: float, upper: float, margin: float, *, shown_different: bool) -> Outcome:
    """The rule of `outcome`, for any effect whose zero means "equal" (a difference, or the log of a ratio)."""
    if shown_different and estimate >= margin:
        return "faster"
    if shown_different and estimate <= -margin:
        return "slower"
    if upper < margin:
        return "no gain"
    return "inconclusive"


def sentence(
    difference: PairedDifference,
    *,
    margin: float,
    p_value: float | None = None,
    treatment: str = "the treatment",
    baseline: str = "the baseline",
    metric: str = "accuracy",
    points: bool = True,
    steps: int | None = None,
) -> str:
    """The outcome in one plain sentence, with n, seeds and interval.

    Args:
        difference: of `paired_difference`.
        margin: as in `outcome`.
        p_value: as in `outcome`.
        treatment: how that arm is called.
        baseline: how the other is called.
        metric: what was measured.
        points: True: values are fractions, printed in hundredths as "points"; False: as they are.
        steps: length of the trainings, where it is to be said.
    Returns: one sentence, with a note in brackets where something is unusual.
    Raises: ValueError: as `outcome`.
    """
    word = outcome(difference, margin=margin, p_value=p_value)
    scale, unit = (100.0, " points") if points else (1.0, "")
    where = f" at {steps:,} steps" if steps else ""
    p_value = difference.p_value if p_value is None else p_value
    claim = _OPEN if word == "inconclusive" and _shown(difference, p_value) else _CLAIMS[word]
    text = f"{claim.format(treatment=treatment, baseline=baseline, where=where)}: "
    if difference.mean is None:
        text += f"the arms have no seed in common; {metric} was not compared"
    else:
        turned = "" if difference.higher_is_better else ", turned round so that positive is better,"
        text += f"{metric}{turned} differs by {scale * difference.mean:+.3g}{unit}"
    if word == "too few seeds":
        values = ", ".join(f"{scale * value:+.3g}" for value in difference.differences)
        text += f" (n={difference.n}, seeds {_listed(difference.seeds)}: {values}; {MINIMUM_SEEDS} are needed)"
    else:
        interval = "no interval"
        if difference.lower is not None and difference.upper is not None:
            interval = f"{scale * difference.lower:+.3g} to {scale * difference.upper:+.3g}"
            interval = f"{100 * difference.confidence:g}% interval {interval}"
        adjusted = p_value is not None and difference.p_value is not None and p_value != difference.p_value
        told = f", p = {p_value:.2g} adjusted for all that was tested" if adjusted else ""
        text += f" ({interval}, n={difference.n}, seeds {_listed(difference.seeds)}{told}; "
        text += f"{scale * margin:g}{unit} matter)"
    notes = [difference.note] if difference.note else []
    if difference.left_out:
        notes.append(f"left out, in one arm only: seeds {_listed(difference.left_out)}")
    return text + (f" [{'; '.join(notes)}]" if notes else "") + "."


_CLAIMS: dict[Outcome, str] = {
    "faster": "{treatment} is better than {baseline}{where}",
    "slower": "{treatment} is worse than {baseline}{where}",
    "no gain": "{treatment} brings no gain that matters over {baseline}{where}",
    "inconclusive": "whether {treatment} is better than {baseline}{where} is open",
    "too few seeds": "too few seeds to compare {treatment} with {baseline}{where}",
}


_OPEN = "{treatment} is better than {baseline}{where}, but whether by an amount that matters is open"


def check_finite(arm: str, values: Mapping[int, float]) -> None:
    """Refuse NaN and infinity, which would make every number after them meaningless.

    Raises: ValueError: names arm, seed and remedy. TypeError: no mapping.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{arm}: values by seed are needed, such as {{0: 0.91, 1: 0.92}}; got {values!r}")
    for seed, value in values.items():
        if not math.isfinite(float(value)):
            raise ValueError(
                f"{arm}, seed {seed}: got {float(value)}, a finite number is needed; "
                "score a diverged run as chance (1 / number of classes) instead of leaving it out"
            )


def check_margin(margin: float, example: str) -> None:
    """Refuse a margin that is not a positive finite number.

    Raises: ValueError: with an example of one.
    """
    if not (math.isfinite(margin) and margin > 0.0):
        raise ValueError(f"margin is {margin}; give the smallest effect that matters, a positive number ({example})")


def _interval(
    differences: tuple[float, ...], confidence: float, scale: float
) -> tuple[float | None, float | None, float | None, float | None, float | None, str]:
    """(mean, standard deviation, lower, upper, p-value, note) of paired differences of values up to `scale`."""
    n = len(differences)
    if n == 0:
        return None, None, None, None, None, "no seed is in both arms"
    mean = math.fsum(differences) / n
    if n == 1:
        return mean, None, None, None, None, ""
    deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if n < MINIMUM_SEEDS:
        return mean, deviation, None, None, None, ""
    if deviation <= 1e-12 * scale:  # differences equal but for rounding
        sign_test = 2.0 ** (1 - n)
        if abs(mean) <= 1e-12 * scale:
            note, mean, p_value = "all differences are 0: check that the arms differ at all", 0.0, 1.0
        else:
            note = "all differences are equal: p is the sign test's; check that the seeds change anything"
            p_value = sign_test
        enough = sign_test <= 1.0 - confidence
        return mean, 0.0, mean if enough else None, mean if enough else None, p_value, note
    error = deviation / math.sqrt(n)
    half = critical_value(confidence, n - 1) * error
    return mean, deviation, mean - half, mean + half, two_sided_p(mean / error, n - 1), ""


def _listed(seeds: tuple[int, ...]) -> str:
    """Seeds as people write them: 0-4 for a whole range, else one by one."""
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(str(seed) for seed in seeds) or "none"
