import doctest
import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import superconv as sc
from superconv.schedules import Piecewise

SHAPES = ["linear", "cosine", "caffe"]


def lrs(schedule):
    return [schedule(t)["lr"] for t in range(schedule.total_steps)]


SCHEDULES = {
    "one_cycle": sc.one_cycle(50, max_lr=1.0),
    "cosine cycle": sc.one_cycle(50, max_lr=1.0, shape="cosine", max_momentum=None),
    "caffe": sc.one_cycle(50, max_lr=1.0, shape="caffe"),
    "triangular": sc.triangular(50, base_lr=0.1, max_lr=1.0, step_size=10, mode="exp_range", gamma=0.99),
    "steps": sc.piecewise_constant(50, lr=1.0, milestones=[20, 40]),
    "ramp": sc.lr_ramp(50, start_lr=1e-3, end_lr=1.0, shape="exponential"),
    "cosine": sc.cosine(50, max_lr=1.0, warmup_steps=5),
    "stable": sc.warmup_stable_decay(50, max_lr=1.0, warmup_steps=5, decay_steps=10),
    "constant": sc.constant(50, lr=0.1).replace(weight_decay=Piecewise([0, 49], [1e-3, 1e-4])),
    "stretched": sc.one_cycle(40, max_lr=1.0).stretch(50, from_step=11),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_a_value(name):
    schedule = SCHEDULES[name]
    again = sc.Schedule.from_dict(json.loads(json.dumps(schedule.to_dict())))
    assert again == schedule
    assert hash(again) == hash(schedule)
    assert again != schedule.replace(lr=0.5)
    for key, values in schedule.values().items():
        np.testing.assert_allclose(values, [schedule(t)[key] for t in range(50)], rtol=1e-13)


@pytest.mark.parametrize("name", SCHEDULES)
def test_plot_shows_what_the_schedule_says(name):
    schedule = SCHEDULES[name]
    figure = schedule.plot()
    line = figure.panels[0].lines[0]
    assert list(line.y) == schedule.values(np.asarray(line.x, int))["lr"].tolist()
    assert len(line.x) == 50
    assert len(figure.panels) == (2 if "weight_decay" in schedule.curves else 1)
    assert any(other.right for other in figure.panels[0].lines) == ("momentum" in schedule.curves)


def test_plot_names_the_phases_and_stays_small():
    spans = sc.one_cycle(101, max_lr=1.0).plot().panels[0].spans
    assert [(s.label, s.start, s.stop) for s in spans] == [("rise", 0, 45), ("fall", 45, 90), ("annihilation", 90, 100)]
    spans = sc.one_cycle(101, max_lr=1.0, shape="caffe").plot().panels[0].spans
    assert [s.label for s in spans] == ["rise", "fall", "hold"]
    long = sc.one_cycle(1_000_000, max_lr=1.0).plot().panels[0].lines[0]
    assert len(long.x) < 2000
    assert max(long.y) == 1.0


def test_a_plot_of_more_cycles_than_can_be_seen_stays_small():
    for steps in (10_000, 1_000_000_000):
        panel = sc.triangular(steps, base_lr=0.1, max_lr=1.0, step_size=2).plot().panels[0]
        assert len(panel.lines[0].x) <= 1500
        assert len(panel.spans) == 0
    few = sc.triangular(10_000, base_lr=0.1, max_lr=1.0, step_size=10).plot().panels[0].lines[0]
    assert max(few.y) == 1.0, "1,000 knots are drawn, every one"


def test_from_dict_refuses_what_it_does_not_know():
    stored = sc.constant(5, lr=0.1).to_dict()
    for change, says in [
        ({"format": 99}, "format 1, got 99"),
        ({"total_step": 5}, "did you mean 'total_steps'"),
        ({"curves": {"learning_rate": {}}}, "unknown hyper-parameter"),
        ({"curves": 3}, "must map keys"),
    ]:
        with pytest.raises(ValueError, match=says):
            sc.Schedule.from_dict({**stored, **change})
    with pytest.raises(ValueError, match="lacks total_steps"):
        sc.Schedule.from_dict({k: v for k, v in stored.items() if k != "total_steps"})


def test_replace_and_refusals_of_a_schedule():
    schedule = sc.one_cycle(50, max_lr=1.0)
    assert schedule.replace(weight_decay=1e-4)(3)["weight_decay"] == 1e-4
    assert set(schedule.replace(momentum=None)(3)) == {"lr"}
    for make, says in [
        (lambda: schedule.replace(weight_dekay=1), "did you mean 'weight_decay'"),
        (lambda: schedule.replace(total_steps=9), "use stretch"),
        (lambda: schedule.replace(lr=None), "needs a curve for 'lr'"),
        (lambda: schedule.replace(lr=Piecewise([0, 5], [1.0, -1.0])), "goes down to -1"),
        (lambda: schedule(-1), "at least 0"),
        (lambda: schedule(2.5), "whole number"),
        (lambda: schedule.values([-1]), "at least 0"),
    ]:
        with pytest.raises(ValueError, match=says):
            make()


@given(st.integers(20, 120), st.integers(0, 119), st.integers(0, 200), st.sampled_from(SHAPES))
@settings(max_examples=60)
def test_longer_stretch_keeps_the_past_is_continuous_and_meets_peak_and_end(total, start, more, shape):
    schedule = sc.one_cycle(total, max_lr=1.0, shape=shape, cycle_fraction=0.8)
    start = min(start, total - 1)
    longer = schedule.stretch(total + more, from_step=start)
    assert longer.total_steps == total + more
    assert [longer(t) for t in range(start + 1)] == [schedule(t) for t in range(start + 1)]
    assert longer(total + more - 1) == schedule(total - 1)
    found = lrs(longer)
    np.testing.assert_allclose(longer.values()["lr"], found, rtol=1e-13)
    assert max(found) == 1.0
    assert max(abs(np.diff(found))) <= 1.1 * max(abs(np.diff(lrs(schedule))))


def test_stretch_scales_every_phase():
    longer = sc.one_cycle(101, max_lr=1.0).stretch(201)
    np.testing.assert_allclose(lrs(longer)[::2], lrs(sc.one_cycle(101, max_lr=1.0)), rtol=1e-12)
    shorter = sc.one_cycle(101, max_lr=1.0).stretch(51, from_step=10)
    assert (max(lrs(shorter)), shorter(50)["lr"]) == (1.0, 1e-4)
    assert sc.constant(9, lr=0.1).stretch(30) == sc.constant(30, lr=0.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((4, 0), "too few"),
        ((30, 40), "total_steps must be above from_step"),
        ((300, 101), "from_step must be below"),
        ((0, 0), "at least 1"),
    ],
)
def test_stretch_refusals(arguments, says):
    with pytest.raises(ValueError, match=says):
        sc.one_cycle(101, max_lr=1.0).stretch(arguments[0], from_step=arguments[1])


@pytest.mark.parametrize(
    "module",
    ["schedules.curve", "schedules.schedule", "schedules.policies", "schedules.steps", "schedules.parse",
     "training.schedule_lr"],
)  # fmt: skip
def test_examples_in_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"superconv.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_many_values_are_asked_for_by_the_rules_of_one():
    schedule = sc.one_cycle(21, max_lr=0.5)
    for odd in (2.5, float("nan"), float("inf"), True, "3", None):
        for steps in ([odd], [0, odd], np.array([[1], [odd]], dtype=object)):
            if np.asarray(steps).dtype.kind == "i":
                continue  # numpy made a 1 of True
            with pytest.raises(ValueError, match="whole numbers of optimizer updates"):
                schedule.values(steps)
    for steps in ([3, 40], np.array([3.0, 40.0]), np.array([3, 40], dtype=np.uint8)):
        assert schedule.values(steps)["lr"].tolist() == [schedule(3)["lr"], schedule(40)["lr"]]
    assert schedule.values([])["lr"].shape == (0,)
    assert schedule.values(7)["lr"] == schedule(7)["lr"]
