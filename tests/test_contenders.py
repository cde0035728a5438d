"""Contenders: one line with settings in it is an arm at any length, and all are searched alike."""

import pickle

import pytest

from superconv.experiments.contenders import CONTENDERS, Contender, Interval, contenders_named


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("steps", [20, 40, 1000])
def test_every_named_contender_is_an_arm_at_every_length_and_for_every_candidate(name, steps):
    contender = CONTENDERS[name]
    for settings in contender.candidates(16) if contender.tuned else [{}]:
        arm = contender.arm(steps, settings)
        assert arm.schedule.total_steps == steps
        rates = arm.schedule.values()["lr"]
        assert rates.max() == pytest.approx({**contender.fixed, **settings}["lr"], rel=1e-9)
        assert arm.optimizer_options["weight_decay"] == {**contender.fixed, **settings}["weight_decay"]
        sets_momentum = "momentum" in arm.schedule(0)
        assert sets_momentum != ("momentum" in arm.optimizer_options) or "momentum" not in contender.optimizer_options


def test_contenders_of_the_same_ranges_try_the_same_values():
    one, other = CONTENDERS["1cycle"].candidates(8), CONTENDERS["cosine"].candidates(8)
    pairs = list(zip(one, other, strict=True))
    assert len({tuple(a.items()) for a, _ in pairs}) == 8
    assert all(a["lr"] == b["lr"] for a, b in pairs)
    assert all(a["weight_decay"] == b["weight_decay"] for a, b in pairs)
    assert list(CONTENDERS["cosine"].candidates(4)) == list(CONTENDERS["cosine"].candidates(8))[:4]


def test_candidates_fill_their_ranges():
    contender = CONTENDERS["AdamW cosine"]
    found = list(contender.candidates(64))
    for name, interval in contender.space.items():
        values = [settings[name] for settings in found]
        assert interval.low <= min(values)
        assert max(values) <= interval.high
        middle = interval.at(0.5)
        assert sum(v < middle for v in values) in range(28, 37)


@pytest.mark.parametrize("interval", [Interval(2.0, 12.0, linear=True), Interval(0.01, 100.0)])
def test_shares_of_a_range_are_even_and_its_outer_tenths_its_edges(interval):
    shares = [0.0, 0.05, 0.15, 0.5, 0.85, 0.95, 1.0]
    values = [interval.at(share) for share in shares]
    if interval.linear:
        assert values == pytest.approx([2 + 10 * share for share in shares], rel=0.005)
    else:
        assert values == pytest.approx([0.01 * 10 ** (4 * share) for share in shares], rel=0.005)
    assert [interval.at_edge(value) for value in values] == [True, True, False, False, False, True, True]


def test_edges_are_flagged_but_for_no_warm_up():
    contender = CONTENDERS["cosine"]
    middle = {"lr": 0.1, "weight_decay": 3e-4, "warmup": 10.0}
    assert contender.edges(middle) == ()
    assert contender.edges({**middle, "lr": 9.0}) == ("lr",)
    assert contender.edges({**middle, "weight_decay": 1.1e-5}) == ("weight_decay",)
    assert contender.edges({**middle, "warmup": 0.0}) == ()
    assert contender.edges({**middle, "warmup": 19.9}) == ("warmup",)


def test_a_contender_pickles_and_keeps_its_options():
    contender = CONTENDERS["piecewise constant"]
    assert pickle.loads(pickle.dumps(contender)) == contender


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Contender("x", "constant:lr={lr}"), "neither searched nor fixed"),
        (lambda: Contender("x", "constant:lr=.1", {"lr": Interval(0.1, 1.0)}), "does not stand in"),
        (lambda: Contender("x", "constant:lr={lr}", {"lr": Interval(0.1, 1.0)}).arm(10), "needs values for lr"),
        (lambda: Contender("x", "constnt:lr=.1").arm(10), "constant"),
        (
            lambda: Contender("x", "one_cycle:max_lr=1", optimizer_options={"momentum": 0.9}).arm(10),
            "momentum in optimizer_options would be ignored",
        ),
        (
            lambda: Contender(
                "x", "constant:lr=1", fixed={"weight_decay": 1e-3}, optimizer_options={"weight_decay": 1e-4}
            ),
            "weight_decay in optimizer_options would be written over",
        ),
        (lambda: Interval(1.0, 0.1), "positive and increasing"),
        (lambda: Interval(0.0, 1.0), "positive and increasing"),
        (lambda: contenders_named(["1cyle"]), "1cycle"),
        (lambda: contenders_named(["cosine", "cosine"]), "named twice"),
    ],
)
def test_bad_contenders_say_what_is_wrong(make, says):
    with pytest.raises(ValueError, match=says):
        make()
