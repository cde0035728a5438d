"""One treatment against several opponents over planned lengths and paired seeds: differences, words, speed-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from .comparison import Outcome, PairedDifference, holm, outcome, paired_difference, sentence
from .speed_up import SpeedUp, speed_up

Values = Mapping[str, Mapping[int, Mapping[int, float]]]  # arm -> steps -> seed -> final metric, chance where diverged


@dataclass(frozen=True)
class Duel:
    """The treatment against one opponent.

    Args:
        opponent: its name.
        overall: paired difference of each seed's mean over the planned lengths: the primary outcome.
        word: what it supports, its p-value adjusted over the opponents (Holm).
        p_value: the adjusted one; None with too few seeds.
        by_length: steps -> paired difference there.
        words: steps -> what that supports, adjusted over opponents and lengths together.
        speed_up: ratio of steps at the accuracy that the opponent reaches at its longest length; None with one length.
    """

    opponent: str
    overall: PairedDifference
    word: Outcome
    p_value: float | None
    by_length: Mapping[int, PairedDifference]
    words: Mapping[int, Outcome]
    speed_up: SpeedUp | None


@dataclass(frozen=True)
class Contest:
    """What paired trainings show.

    Args:
        treatment: name of the arm that is asked about.
        duels: one an opponent, in the order given.
        rival: the strongest tuned opponent by validation data; None where no opponent was tuned.
        default: the common default among the opponents, or None.
        margin: smallest difference of the metric that matters, fixed beforehand.
        metric: what was measured.
    """

    treatment: str
    duels: tuple[Duel, ...]
    rival: str | None
    default: str | None
    margin: float
    metric: str

    def against(self, opponent: str) -> Duel:
        """The duel with that opponent."""
        return next(duel for duel in self.duels if duel.opponent == opponent)

    @property
    def opponent(self) -> str:
        """Whom the outcome is about: the strongest tuned opponent, without one the default, or else the first."""
        return self.rival or self.default or self.duels[0].opponent

    @property
    def opponent_in_words(self) -> str:
        """The same, with what it is: "the best tuned arm, cosine"."""
        if self.rival is not None:
            return f"the best tuned arm, {self.rival}"
        return "the common default" if self.opponent == self.default else self.opponent

    @property
    def outcome(self) -> Outcome:
        """The word against `opponent`."""
        return self.against(self.opponent).word

    @property
    def sentences(self) -> tuple[str, ...]:
        """Against `opponent`, and against the default where that is another, in a sentence each."""
        told = []
        for name in dict.fromkeys((self.opponent, self.default)):
            if name is not None:
                duel = self.against(name)
                called = self.opponent_in_words if name == self.opponent else "the common default"
                text = sentence(
                    duel.overall, margin=self.margin, p_value=duel.p_value, treatment=self.treatment,
                    baseline=called,
                    metric=f"mean {self.metric} over lengths", points=self.metric.endswith("accuracy"),
                )  # fmt: skip
                text, gain = text[0].upper() + text[1:], duel.speed_up
                told.append(text if gain is None else f"{text} Speed-up {gain.text}: {gain.outcome}.")
        if self.rival is None:
            told.append("No opponent was tuned, so this says nothing of ordinary training with good settings.")
        return tuple(told)


def contest(
    values: Values,
    treatment: str,
    *,
    margin: float,
    rival: str | None = None,
    default: str | None = None,
    higher_is_better: bool = True,
    metric: str = "accuracy",
    opponents: Sequence[str] | None = None,
) -> Contest:
    """Compare the treatment with every other arm, paired by seed.

    Primary: per seed the mean of the final metric over the planned lengths; Student's interval over seeds; Holm over
    the opponents. Secondary: every length by itself, Holm over opponents and lengths; the speed-up (`speed_up`).

    Args:
        values: final metric of every training; arms have the same lengths.
        margin, higher_is_better: as in `comparison.outcome`.
        rival, default: names among the opponents, see `Contest`.
        opponents: names in the order wanted; None: all other arms.
    Raises: ValueError: no such arm, no opponent, arms of different lengths.
    Reference: docs/method-comparison.md.
    """
    names = [name for name in values if name != treatment] if opponents is None else list(opponents)
    if treatment not in values or not names:
        raise ValueError(f"a comparison needs the treatment {treatment!r} and an opponent, got {', '.join(values)}")
    lengths = sorted(values[treatment])
    for name in names:
        if sorted(values[name]) != lengths:
            raise ValueError(f"{name!r} has lengths {sorted(values[name])}, {treatment!r} has {lengths}; plan the same")
    options = {"higher_is_better": higher_is_better}
    overall = {
        name: paired_difference(_means(values[treatment]), _means(values[name]), higher_is_better=higher_is_better)
        for name in names
    }
    single = {
        (name, steps): paired_difference(values[treatment][steps], values[name][steps], **options)
        for name in names
        for steps in lengths
    }
    adjusted = holm({name: difference.p_value for name, difference in overall.items()})
    each = holm({f"{name}/{steps}": difference.p_value for (name, steps), difference in single.items()})
    duels = []
    for name in names:
        words = {s: outcome(single[name, s], margin=margin, p_value=each[f"{name}/{s}"]) for s in lengths}
        duels.append(
            Duel(
                name, overall[name], outcome(overall[name], margin=margin, p_value=adjusted[name]), adjusted[name],
                {steps: single[name, steps] for steps in lengths}, words,
                speed_up(values[treatment], values[name], **options) if len(lengths) > 1 else None,
            )
        )  # fmt: skip
    return Contest(treatment, tuple(duels), rival, default, margin, metric)


def _means(by_length: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """Seed -> mean over lengths, of the seeds that all lengths have."""
    common = set.intersection(*(set(seeds) for seeds in by_length.values()))
    return {seed: fmean(by_length[steps][seed] for steps in by_length) for seed in sorted(common)}
