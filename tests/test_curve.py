import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CyclicLR

from superconv.schedules import Piecewise, Stretched, Triangular
from superconv.schedules.curve import curve_from_dict

RULES = ["linear", "cosine", "exponential", "constant"]


@st.composite
def piecewise(draw):
    count = draw(st.integers(1, 6))
    gaps = draw(st.lists(st.integers(1, 50), min_size=count - 1, max_size=count - 1))
    steps = [0]
    for gap in gaps:
        steps.append(steps[-1] + gap)
    heights = draw(st.lists(st.floats(1e-6, 10), min_size=count, max_size=count))
    rules = draw(st.lists(st.sampled_from(RULES), min_size=count - 1, max_size=count - 1))
    return Piecewise(steps, heights, rules)


triangular = st.builds(
    Triangular,
    st.floats(0, 0.5),
    st.floats(0.5, 5),
    st.integers(1, 40),
    st.sampled_from(["triangular", "triangular2"]),
) | st.builds(
    Triangular, st.floats(0, 0.5), st.floats(0.5, 5), st.integers(1, 40), st.just("exp_range"), st.floats(0.5, 1)
)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_triangular_equals_torch_cyclic_lr(mode):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    gamma = 0.99 if mode == "exp_range" else 1.0
    torchs = CyclicLR(optimizer, 0.1, 3.0, step_size_up=7, mode=mode, gamma=gamma, cycle_momentum=False)
    curve = Triangular(0.1, 3.0, 7, mode, gamma)
    for step in range(60):
        assert curve(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        torchs.step()


# lr column of curves printed by the authors' logs (Results/ of their repository: Fig. 1a and Fig. 8b), stepsize 5,000.
@pytest.mark.parametrize(
    ("step", "printed"),
    [(0, 0.1), (100, 0.158), (200, 0.216), (2500, 1.55), (4800, 2.884), (4900, 2.942), (5000, 3.0), (5100, 2.942),
     (7500, 1.55), (9900, 0.158)],
)  # fmt: skip
def test_triangular_equals_the_authors_logs(step, printed):
    assert Triangular(0.1, 3, 5000)(step) == pytest.approx(printed, rel=1e-12)


def test_triangular_meets_its_bounds_exactly():
    curve = Triangular(0.1, 0.7, 3)
    assert [curve(t) for t in (0, 3, 6, 9, 12)] == [0.1, 0.7, 0.1, 0.7, 0.1]


def test_knots_end_where_they_are_asked_to():
    curves = [Triangular(0.1, 0.7, 3), Piecewise([0, 3, 6, 9], [0.1, 0.7, 0.1, 0.7])]
    for until, knots in ((0, [0]), (2, [0]), (3, [0, 3]), (7.5, [0, 3, 6]), (9, [0, 3, 6, 9])):
        assert [list(curve.knots(until)) for curve in curves] == [knots, knots]


def test_piecewise_against_formulas():
    a, b, n, t = 0.5, 2.0, 8, 3
    u = t / n
    expected = {
        "linear": a + (b - a) * u,
        "cosine": a + (b - a) * (1 - math.cos(math.pi * u)) / 2,
        "exponential": a * (b / a) ** u,
        "constant": a,
    }
    for rule, value in expected.items():
        assert Piecewise([0, n], [a, b], rule)(t) == pytest.approx(value, rel=1e-14)


def test_jump_approaches_the_left_value_and_holds_the_right_one():
    curve = Piecewise([0, 4, 4], [1.0, 0.0, 0.5])
    assert [curve(t) for t in range(7)] == [1.0, 0.75, 0.5, 0.25, 0.5, 0.5, 0.5]


@given(piecewise())
def test_piecewise_meets_knots_and_stays_within_neighbours(curve):
    last = curve.steps[-1]
    assert [curve(s) for s in curve.steps] == list(curve.heights)
    assert curve(last + 1) == curve(last + 10**9) == curve.heights[-1]
    for i, (start, stop) in enumerate(zip(curve.steps, curve.steps[1:], strict=False)):
        low, high = sorted(curve.heights[i : i + 2])
        assert all(low <= curve(t) <= high for t in range(start, stop))


@given(piecewise() | triangular)
@settings(max_examples=60)
def test_values_is_the_scalar_evaluation(curve):
    steps = np.arange(0, 120)
    one_by_one = np.array([curve(int(t)) for t in steps])
    np.testing.assert_allclose(curve.values(steps), one_by_one, rtol=1e-13, atol=0)
    assert curve(np.int64(17)) == curve(17)


def test_numpy_scalars_give_the_same_bits_as_numbers():
    decay = Triangular(0.0, 1.0, 1, "exp_range", 0.83)  # found by the property above
    fall = Piecewise([0, 40], [1.0, 1e-3], "exponential")
    for curve in (decay, fall):
        assert [curve(t) for t in np.arange(60)] == [curve(t) for t in range(60)]


def test_values_gives_the_same_bits_for_linear_pieces():
    curve = Piecewise([0, 33, 97, 140], [0.1, 1.7, 0.3, 1e-4], ["linear", "linear", "constant"])
    assert curve.values(np.arange(200)).tolist() == [curve(t) for t in range(200)]


@given(piecewise() | triangular)
@settings(max_examples=50)
def test_a_curve_is_a_value(curve):
    again = curve_from_dict(json.loads(json.dumps(curve.to_dict())))
    assert again == curve
    assert hash(again) == hash(curve)
    copy = pickle.loads(pickle.dumps(curve))
    assert copy == curve
    assert copy(5) == curve(5)
    with pytest.raises(AttributeError):
        curve.anything = 1


def test_stretched_is_the_identity_before_and_meets_old_knots_after():
    curve = Piecewise([0, 4, 10], [0.0, 1.0, 0.2], "cosine")
    stretched = Stretched(curve, new=[2, 8, 30], old=[2, 4, 10])
    assert [stretched(t) for t in range(3)] == [curve(t) for t in range(3)]
    assert (stretched(8), stretched(30), stretched(99)) == (1.0, 0.2, 0.2)
    assert stretched(19) == pytest.approx(curve(7))
    np.testing.assert_allclose(stretched.values(np.arange(40)), [stretched(t) for t in range(40)], rtol=1e-13)
    assert curve_from_dict(json.loads(json.dumps(stretched.to_dict()))) == stretched
    assert stretched.levels() == curve.levels()
    assert stretched.knots(99) == (0, 2, 8, 30)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Piecewise([], []), "a knot at least"),
        (lambda: Piecewise([0, 1], [1.0]), "one value a knot"),
        (lambda: Piecewise([0, 5, 3], [1, 2, 3]), "must not decrease"),
        (lambda: Piecewise([0, 5, 5, 5], [1, 2, 3, 4]), "more than two"),
        (lambda: Piecewise([0, 5], [1, 2], "linar"), "did you mean 'linear'"),
        (lambda: Piecewise([0], [1], "linar"), "did you mean 'linear'"),
        (lambda: Piecewise([0, 5], [1, 2], ["linear", "cosine"]), "1 pieces, got 2"),
        (lambda: Piecewise([0, 5], [0, 2], "exponential"), "above 0"),
        (lambda: Piecewise([0, 5], [0, math.nan]), "finite"),
        (lambda: Triangular(2, 1, 5), "swap them"),
        (lambda: Triangular(0, 1, 5, "triangle"), "did you mean 'triangular'"),
        (lambda: Triangular(0, 1, 5, gamma=0.9), "exp_range"),
        (lambda: Triangular(0, 1, 5, "exp_range", 1.1), "gamma must be finite, above 0 and at most 1"),
        (lambda: Triangular(0, 1, 2.5), "whole number"),
        (lambda: Triangular(0, 1, 0), "at least 1"),
        (lambda: Stretched(Piecewise([0], [1]), [0, 0], [0, 1]), "steps that grow"),
        (lambda: Stretched(Piecewise([0], [1]), [1], [0]), "equal at the first"),
        (lambda: curve_from_dict({"kind": "piecewize"}), "did you mean 'piecewise'"),
        (lambda: curve_from_dict({"kind": "piecewise", "step": [0]}), "did you mean 'steps'"),
        (lambda: curve_from_dict({"kind": "piecewise", "steps": [0]}), "lacks values"),
        (lambda: curve_from_dict([1, 2]), "must be a dict"),
    ],
)
def test_bad_input_says_what_is_wrong(make, says):
    with pytest.raises(ValueError, match=says):
        make()
