"""How files get damaged, for tests that read what is left: bytes cut, altered, inserted; JSON values replaced."""

import copy
import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

ODD = [
    None, True, False, -1, 0, 1, 2**70, 10**400, 0.5, -0.5, float("inf"), float("nan"), "", "x", "../..", "\ud800", [],
    {}, [1], {"a": 1}, [[[]]],
]  # fmt: skip


@st.composite
def altered(draw: Any, content: bytes) -> bytes:
    """The content after one to three accidents."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        at, how = draw(st.integers(0, len(data) - 1)), draw(st.sampled_from(["cut", "set", "insert", "remove"]))
        if how == "cut":
            del data[at:]
        elif how == "set":
            data[at] = draw(st.integers(0, 255))
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
        else:
            del data[at : at + draw(st.integers(1, 30))]
    return bytes(data)


@st.composite
def replaced(draw: Any, value: Any) -> Any:
    """The JSON value (or nest of dicts and lists) after one or two of its parts were replaced, removed or added."""
    whole = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        part = whole
        while isinstance(part, dict | list) and part:
            key = draw(st.sampled_from(list(part) if isinstance(part, dict) else range(len(part))))
            if isinstance(part[key], dict | list) and part[key] and draw(st.integers(0, 3)):
                part = part[key]
                continue
            how = draw(st.sampled_from(["remove", "add", "replace", "replace", "replace"]))
            if how == "remove":
                part.pop(key)
            elif how == "add" and isinstance(part, dict):
                part["unknown"] = copy.deepcopy(draw(st.sampled_from(ODD)))
            else:
                part[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
            break
    return whole


def damaged_json(value: Any) -> st.SearchStrategy[bytes]:
    """A file that held `value` as JSON."""
    content = json.dumps(value).encode()
    return st.one_of(replaced(value).map(lambda each: json.dumps(each).encode()), altered(content))


def clear(call: Callable[[], Any], *allowed: type[Exception]) -> str:
    """What `call` says in an error of `allowed` (ValueError), as a user may read it; "" where there was nothing to say.

    Errors of Python's own readers (JSON, Unicode) say where in a file, and not which: they do not count.
    """
    kinds = allowed or (ValueError,)
    said: Exception | None = None
    try:
        call()
    except kinds as error:
        said = error
    if said is None:
        return ""
    assert not isinstance(said, json.JSONDecodeError | UnicodeError), said
    assert len(str(said)) > 10, f"{type(said).__name__} says nothing: {said}"
    return str(said)
