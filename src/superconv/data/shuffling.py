"""Random orders and choices that depend on integers alone: the same with every release of numpy and torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def key(*parts: int) -> int:
    """A 63-bit hash of non-negative integers: a seed that shares nothing with that of neighbouring integers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def permutation(count: int, *parts: int) -> NDArray[np.int64]:
    """A uniformly random order of range(count), a pure function of the integers in `parts`.

    The order that sorts `count` raw 64-bit numbers of PCG64. numpy keeps SeedSequence and the raw stream of a bit
    generator the same from release to release, which it does not promise for `Generator.permutation`
    (NEP 19); neither does torch for `randperm`. A resumed run must not depend on it.
    """
    raw = np.random.PCG64(np.random.SeedSequence(parts)).random_raw(count)
    return np.argsort(raw, kind="stable").astype(np.int64, copy=False)


def choose(count: int, total: int, labels: NDArray[np.int64] | None, seed: int) -> NDArray[np.int64]:
    """`count` of range(total) at random, in ascending order; each class keeps its share where labels are given.

    Class c of n_c samples gives floor(count n_c / total) of them, and the places that are left go to the largest
    remainders, equal ones at random. So where all classes are equally frequent their counts differ by one at most.

    Args:
        count: how many, 0 <= count <= total.
        total: of how many.
        labels: class of each sample, (total,), or None for a plain random choice.
        seed: non-negative integer; same arguments, same choice.
    """
    order = permutation(total, seed, 1)
    if labels is None:
        return np.sort(order[:count])
    _, member_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    quota = count * sizes // total
    remainder = count * sizes % total
    tie_break = permutation(len(sizes), seed, 2)
    favoured = np.lexsort((tie_break, -remainder))[: count - int(quota.sum())]
    quota[favoured] += 1
    by_class = order[np.argsort(member_of[order], kind="stable")]  # in the random order within each class
    starts = np.cumsum(sizes) - sizes
    chosen = [by_class[start : start + number] for start, number in zip(starts, quota, strict=True)]
    return np.sort(np.concatenate(chosen)) if chosen else order[:0]
