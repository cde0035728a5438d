"""Unpickles arrays of numbers and plain containers, and refuses everything else."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .errors import DataError

_NUMBERS = frozenset(["b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"])


def load_arrays(content: bytes) -> Any:
    """What a pickle holds, where it is built of dict, list, tuple, numbers, strings, bytes and numeric arrays.

    No class or function that the pickle names is ever called: numpy's names are answered by stand-ins of this
    file, and arrays are built from the stored bytes afterwards. Strings of Python 2 are read as Latin-1.

    Raises: DataError: truncated or damaged, or naming anything that is not a numeric numpy array.
    """
    try:
        _check_opcodes(content)
        value = _Unpickler(io.BytesIO(content), encoding="latin1").load()
        return _resolve(value, {})
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        raise DataError(f"not a readable pickle ({type(error).__name__}: {error})") from error


def _check_opcodes(content: bytes) -> None:
    """Refuse what would make the unpickler itself misbehave before it builds anything.

    It makes its memo as long as the largest index that is named, so that a file of ten bytes could ask for all memory;
    pickles number their memo from 0. That the content is whole is found here too.

    Raises: DataError; ValueError: truncated, or no pickle.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        entry = int(argument) if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") else 0  # type: ignore[arg-type]
        if not 0 <= entry <= count + 1:
            raise DataError(f"refused: it names memo entry {entry} after {count} steps")


class _Type:
    """Stands in for numpy.dtype: remembers the type's code."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if code not in _NUMBERS:
            raise DataError(f"holds an array of type {code!r}, not of plain numbers")
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = {">": ">", "<": "<"}.get(state[1], "=")

    def resolve(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stands in for numpy.ndarray: remembers shape, type and bytes."""

    shape: tuple[int, ...] = ()
    type: _Type | None = None
    column_major = False
    content: bytes = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, self.column_major, content = state
        if not isinstance(kind, _Type):
            raise DataError("holds an array without a type")
        self.shape, self.type = tuple(shape), kind
        self.content = content.encode("latin1") if isinstance(content, str) else bytes(content)

    def resolve(self) -> np.ndarray[Any, Any]:
        if self.type is None:
            raise DataError("holds an unfinished array")
        flat = np.frombuffer(self.content, dtype=self.type.resolve())
        return flat.reshape(self.shape, order="F" if self.column_major else "C")


def _reconstruct(subtype: object, shape: object, code: object) -> _Array:
    return _Array()


def _from_buffer(content: bytes, kind: _Type, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, kind, order == "F", content))
    return array


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 of Python 3 writes bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise DataError(f"holds bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _no_code(*args: object) -> NoReturn:
    raise DataError("names a class where an array should be")


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _no_code,  # only ever an argument of _reconstruct
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise DataError(f"refused: it names {module}.{name}, and only arrays and plain containers are read")
        return _STAND_INS[module, name]


def _resolve(value: Any, done: dict[int, Any]) -> Any:
    """The same containers with every stand-in replaced by the array it stands for.

    `done`: by identity, what was made of those met before: a few that hold each other twice would else take for ever.
    """
    if isinstance(value, dict | list | tuple | _Array):
        if id(value) not in done:
            done[id(value)] = _resolved(value, done)
        return done[id(value)]
    if value is None or isinstance(value, int | float | str | bytes | bytearray):
        return value
    raise DataError(f"holds a {type(value).__name__}, and only arrays and plain containers are read")


def _resolved(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        return value.resolve()
    if isinstance(value, dict):
        return {key: _resolve(item, done) for key, item in value.items()}
    return type(value)(_resolve(item, done) for item in value)
