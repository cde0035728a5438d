import enum
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from superconv.runs import dumps, identity, plain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Colour(enum.Enum):
    red = 1


@given(JSON)
def test_everything_plain_becomes_strict_json(value):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    text = dumps(value)
    assert "\n" not in text
    assert json.loads(text, parse_constant=refuse) == plain(value)


def test_numbers_of_numpy_and_torch_become_plain():
    value = {
        "a": np.float64(0.5),
        "b": np.int64(3),
        "c": np.array([[1.0, math.nan]]),
        "d": torch.tensor(2.5),
        "e": torch.arange(2),
        "f": np.bool_(True),
        "g": (1, Path("x") / "y"),
        "h": Colour.red,
        3: None,
    }
    expected = {
        "a": 0.5,
        "b": 3,
        "c": [[1.0, None]],
        "d": 2.5,
        "e": [0, 1],
        "f": True,
        "g": [1, os.path.join("x", "y")],
    }
    assert plain(value) == {**expected, "h": "red", "3": None}
    assert all(type(item) in (float, int, bool, list, str, type(None)) for item in plain(value).values())


def test_non_finite_numbers_are_null_in_rows_and_named_in_settings():
    assert plain([math.nan, math.inf, -math.inf]) == [None, None, None]
    assert plain([math.nan, math.inf, -math.inf], nonfinite="name") == ["NaN", "Infinity", "-Infinity"]
    assert len({identity({"x": x}) for x in (math.nan, math.inf, -math.inf, None, 0.0)}) == 5


def test_what_json_cannot_hold_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"a\.b\[1\] is a function"):
        plain({"a": {"b": [0, lambda: 0]}})
    with pytest.raises(ValueError, match="two keys that are '1' as text"):
        plain({1: 0, "1": 0})


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_identity_does_not_depend_on_the_order_of_keys_or_on_storing(config):
    shuffled = dict(reversed(list(config.items())))
    stored = json.loads(dumps(config, nonfinite="name"))
    assert identity(config) == identity(shuffled) == identity(stored)


def test_identity_tells_settings_apart_but_not_spellings_of_a_number():
    assert identity({"lr": 3}) == identity({"lr": 3.0}) == identity({"lr": np.float64(3)})
    assert identity({"x": 0.0}) == identity({"x": -0.0})
    distinct = [{"lr": 3}, {"lr": 3.1}, {"lr": "3"}, {"lr": True}, {"lr": 1}, {"LR": 3}, {"lr": [3]}, {}]
    assert len({identity(config) for config in distinct}) == len(distinct)


def test_identity_is_the_same_in_every_process():
    code = "from superconv.runs import identity; print(identity({'b': 1.5, 'a': [1, 'ü'], 'c': {'z': None}}))"
    expected = identity({"a": [1, "ü"], "b": 1.5, "c": {"z": None}})
    assert expected == "46610bf919"  # pinned: another value orphans every run on disk
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        output = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert output.stdout.strip() == expected


def test_a_path_that_is_no_utf8_is_written_and_read_back():
    path = os.fsdecode(b"runs-\xff")
    text = dumps({"command": path})
    assert json.loads(text.encode()) == {"command": path}
    assert len(identity({"data": path})) == 10
