import contextlib
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import superconv as sc
from superconv.schedules import POLICIES, parse_schedule


def test_parse_schedule():
    assert parse_schedule("one_cycle:max_lr=3,initial_lr=.1", 101) == sc.one_cycle(101, max_lr=3, initial_lr=0.1)
    assert parse_schedule(" cosine : max_lr=1e-1 , warmup_steps=5% ", 100) == sc.cosine(100, max_lr=0.1, warmup_steps=5)
    assert parse_schedule("piecewise_constant:lr=1,milestones=50+75%", 100) == sc.piecewise_constant(
        100, lr=1, milestones=[50, 75]
    )
    assert parse_schedule("one_cycle:max_lr=1,max_momentum=none,shape=caffe", 101) == sc.one_cycle(
        101, max_lr=1, max_momentum=None, shape="caffe"
    )
    assert parse_schedule("constant:lr=1", 1) == sc.constant(1, lr=1)


@given(st.integers(0, 100), st.integers(2, 400))
def test_a_percentage_is_rounded_to_the_nearest_step(percent, total):
    line = f"constant:lr=1,warmup_steps={percent}%"
    assume(percent * total % 100 != 50)  # a half may go either way
    nearest = round(Fraction(percent * total, 100))
    if nearest < total:
        assert parse_schedule(line, total) == sc.constant(total, lr=1, warmup_steps=nearest)
    else:
        with pytest.raises(ValueError, match="below total_steps"):
            parse_schedule(line, total)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("one_cicle:max_lr=3", f"did you mean 'one_cycle'.*{', '.join(POLICIES)}"),
        ("one_cycle:maxlr=3", "did you mean 'max_lr'.*allowed are max_lr, initial_lr, final_lr"),
        ("one_cycle:max_lr", "write max_lr=VALUE"),
        ("one_cycle:max_lr=3,max_lr=4", "given twice"),
        ("one_cycle", "write one_cycle:max_lr=..."),
        ("one_cycle:max_lr=x", "max_lr must be a number, got 'x'"),
        ("one_cycle:max_lr=1,", "unknown key of one_cycle ''"),
        ("cosine:max_lr=1,warmup_steps=1.5", "whole number of steps or a percentage"),
        ("cosine:max_lr=none", "must be a number"),
        ("one_cycle:max_lr=nan", "finite"),
        ("", "unknown schedule ''"),
    ],
)
def test_parse_schedule_refusals(text, says):
    with pytest.raises(ValueError, match=says):
        parse_schedule(text, 100)


@given(st.text(max_size=40) | st.from_regex(r"one_cycle:max_lr=[^\n]{0,10}", fullmatch=True))
@settings(max_examples=150)
def test_parse_schedule_never_fails_otherwise(text):
    with contextlib.suppress(ValueError):
        assert isinstance(parse_schedule(text, 100), sc.Schedule)
