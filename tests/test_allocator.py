"""The setting of the C library's allocator: done where it can be, left alone where someone chose, in workers too."""

import ctypes
import os
import resource
import subprocess
import sys

import pytest

from superconv.experiments.workers import run_jobs
from superconv.training import allocator
from superconv.training.allocator import keep_large_blocks

FAULTS = """
import resource, sys
from superconv.training.allocator import keep_large_blocks
done = keep_large_blocks() if sys.argv[1] == "keep" else False
assert "torch" not in sys.modules
import numpy
for _ in range(15):
    numpy.ones(5 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    numpy.ones(5 << 20)
print(int(done), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
CHOICES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")
HERE = allocator._is_glibc() and not allocator._chosen()


@pytest.mark.skipif(not HERE, reason="another C library, or an allocator that someone has chosen")
def test_large_temporaries_are_not_mapped_anew() -> None:
    counts = {}
    for how in ("keep", "leave"):
        answer = subprocess.run(
            [sys.executable, "-c", FAULTS, how], env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        counts[how] = int(answer[1])
        assert int(answer[0]) == (how == "keep")
    assert counts["keep"] < 100  # 40 MiB arrays, five times; the heap needs a few to settle
    assert counts["leave"] > 10 * max(counts["keep"], 1)


def faults_of_large_tensors() -> int:
    import torch

    for _ in range(15):
        torch.ones(9 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(9 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not HERE, reason="another C library, or an allocator that someone has chosen")
def test_workers_have_it_too() -> None:
    ((_, faults),) = run_jobs(faults_of_large_tensors, [()], workers=1)
    assert faults < 100


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What mallopt was asked for, in a process that has not chosen and whose C library is glibc."""
    calls: list[tuple[int, int]] = []

    class Library:
        @staticmethod
        def mallopt(option: int, value: int) -> int:
            calls.append((option, value))
            return 1

    for name in (*CHOICES, "GLIBC_TUNABLES", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator, "_is_glibc", lambda: True)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    return calls


def test_both_thresholds_are_set_to_what_an_int_holds(asked: list[tuple[int, int]]) -> None:
    assert keep_large_blocks()
    assert asked == [(-1, 2**31 - 1), (-3, 2**31 - 1)] or asked == [(-3, 2**31 - 1), (-1, 2**31 - 1)]


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, "1") for name in CHOICES), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1"),
     ("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")],
)  # fmt: skip
def test_who_has_chosen_is_left_alone(
    asked: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert not keep_large_blocks()
    assert asked == []


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: str) -> str:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "confstr", unknown)
    assert not keep_large_blocks()
