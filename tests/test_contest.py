"""A contest: primary difference over lengths, Holm over opponents, the rival and the words."""

import numpy as np
import pytest

from superconv.analysis.comparison import holm, outcome, paired_difference
from superconv.analysis.contest import contest

LENGTHS, SEEDS = (100, 200, 400), range(6)


def values(gain, spread=0.002, seed=0):
    """Metric of one arm: shared seed effects, own noise."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).normal(0, 0.01, len(SEEDS))
    return {
        steps: {s: 0.8 + 0.03 * k + common[s] + gain + rng.normal(0, spread) for s in SEEDS}
        for k, steps in enumerate(LENGTHS)
    }


@pytest.fixture
def arms():
    return {"1cycle": values(0.0, seed=1), "cosine": values(0.0, seed=2), "default": values(-0.05, seed=3)}


def test_the_primary_difference_is_that_of_means_over_lengths(arms):
    found = contest(arms, "1cycle", margin=0.005, rival="cosine", default="default")
    means = [{s: np.mean([arms[name][steps][s] for steps in LENGTHS]) for s in SEEDS} for name in ("1cycle", "default")]
    expected = paired_difference(*means)
    duel = found.against("default")
    assert duel.overall.mean == pytest.approx(expected.mean)
    assert duel.overall.lower == pytest.approx(expected.lower)
    assert duel.word == "faster"
    assert found.against("cosine").word == "no gain"
    assert found.outcome == "no gain"  # against the strongest tuned opponent


def test_p_values_are_adjusted_over_opponents_and_over_opponents_and_lengths(arms):
    found = contest(arms, "1cycle", margin=0.005, rival="cosine")
    raw = {duel.opponent: duel.overall.p_value for duel in found.duels}
    assert {duel.opponent: duel.p_value for duel in found.duels} == holm(raw)
    noisy = {**arms, **{f"twin {k}": values(-0.004, 0.003, seed=10 + k) for k in range(8)}}
    many = contest(noisy, "1cycle", margin=0.001)
    alone = contest({k: noisy[k] for k in ("1cycle", "twin 0")}, "1cycle", margin=0.001)
    assert many.against("twin 0").p_value > alone.against("twin 0").p_value


def test_words_by_length_are_those_of_p_values_adjusted_over_opponents_and_lengths(arms):
    crowd = {**arms, **{f"twin {k}": values(-0.004, 0.003, seed=10 + k) for k in range(8)}}
    found = contest(crowd, "1cycle", margin=0.001)
    single = {(duel.opponent, steps): duel.by_length[steps] for duel in found.duels for steps in LENGTHS}
    adjusted = holm({f"{name} {steps}": each.p_value for (name, steps), each in single.items()})
    said = {(duel.opponent, steps): duel.words[steps] for duel in found.duels for steps in LENGTHS}
    expected = {key: outcome(single[key], margin=0.001, p_value=adjusted[f"{key[0]} {key[1]}"]) for key in single}
    assert said == expected
    assert said != {key: outcome(each, margin=0.001) for key, each in single.items()}  # else this tests nothing


def test_one_length_has_no_speed_up_and_the_order_of_lengths_does_not_matter(arms):
    one = {name: {100: by[100]} for name, by in arms.items()}
    alone = contest(one, "1cycle", margin=0.005)
    assert [duel.speed_up for duel in alone.duels] == [None, None]
    assert not any("Speed-up" in told for told in alone.sentences)
    turned = {name: dict(reversed(by.items())) for name, by in arms.items()}
    assert contest(turned, "1cycle", margin=0.005) == contest(arms, "1cycle", margin=0.005)


def test_sentences_name_default_and_rival(arms):
    rival, default = contest(arms, "1cycle", margin=0.005, rival="cosine", default="default").sentences
    assert default.startswith("1cycle is better than the common default")
    assert "the best tuned arm, cosine" in rival
    assert "no gain that matters" in rival
    assert "Speed-up" in rival


def test_adjusted_p_values_and_untuned_opponents_are_told(arms):
    told = contest(arms, "1cycle", margin=0.005, rival="cosine", default="default").sentences
    assert len(told) == 2
    assert "adjusted for all that was tested" in told[1]
    alone = contest({k: arms[k] for k in ("1cycle", "default")}, "1cycle", margin=0.005, default="default")
    assert (alone.opponent, alone.opponent_in_words) == ("default", "the common default")
    assert len(alone.sentences) == 2
    assert "adjusted" not in alone.sentences[0], "one opponent: nothing to adjust"
    assert "No opponent was tuned" in alone.sentences[1]
    neither = contest(arms, "1cycle", margin=0.005)
    assert neither.opponent == neither.opponent_in_words == "cosine"
    assert "gain that matters over cosine" in neither.sentences[0]


def test_few_seeds_and_losses(arms):
    few = {
        name: {steps: {s: v for s, v in seeds.items() if s < 3} for steps, seeds in by.items()}
        for name, by in arms.items()
    }
    assert contest(few, "1cycle", margin=0.005).outcome == "too few seeds"
    losses = {
        name: {steps: {s: 1 - v for s, v in seeds.items()} for steps, seeds in by.items()} for name, by in arms.items()
    }
    lower = contest(losses, "1cycle", margin=0.005, default="default", higher_is_better=False, metric="loss")
    assert lower.outcome == "faster"  # against the default, where nothing was tuned


def test_without_a_rival_the_default_decides_else_the_first(arms):
    assert contest(arms, "1cycle", margin=0.005, default="default").outcome == "faster"
    assert contest(arms, "1cycle", margin=0.005).outcome == "no gain"  # cosine stands first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda arms: {"cosine": arms["cosine"]}, "needs the treatment '1cycle'"),
        (lambda arms: {"1cycle": arms["1cycle"]}, "and an opponent"),
        (lambda arms: {**arms, "cosine": {100: arms["cosine"][100]}}, "plan the same"),
    ],
)
def test_arms_that_cannot_be_compared(arms, change, says):
    with pytest.raises(ValueError, match=says):
        contest(change(arms), "1cycle", margin=0.005)
