"""Orders and choices that are pure functions of integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superconv.data.shuffling import choose, key, permutation

PERMUTATION = [2, 4, 7, 5, 0, 6, 3, 1]
KEY = 5064105440874769477
PLAIN = [0, 1, 2, 6, 11]
BY_CLASS = [0, 2, 6, 10, 11]


def test_orders_are_the_ones_they_always_were():
    # written down once: a run that is resumed after an upgrade of numpy must go on in the same order
    assert permutation(8, 1, 0, 0).tolist() == PERMUTATION
    assert key(2, 0, 0, 0) == KEY


def test_choices_are_the_ones_they_always_were():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    assert choose(5, 12, None, 3).tolist() == PLAIN
    assert choose(5, 12, labels, 3).tolist() == BY_CLASS


def test_orders_differ_and_are_uniform():
    assert permutation(100, 0, 1).tolist() != permutation(100, 1, 0).tolist()
    first = [permutation(5, seed)[0] for seed in range(2000)]
    counts = np.bincount(first, minlength=5)
    assert abs(counts - 400).max() < 5 * np.sqrt(400)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.data())
def test_a_choice_keeps_the_shares_of_the_classes(labels, data):
    labels = np.array(labels)
    count = data.draw(st.integers(0, len(labels)))
    chosen = choose(count, len(labels), labels, seed=data.draw(st.integers(0, 3)))
    assert len(chosen) == count == len(set(chosen.tolist()))
    for c in np.unique(labels):
        share = count * (labels == c).sum() / len(labels)
        assert np.floor(share) <= (labels[chosen] == c).sum() <= np.ceil(share)
    # the places that are left go to the largest remainders
    sizes = np.bincount(labels)
    more = np.bincount(labels[chosen], minlength=len(sizes)) - count * sizes // len(labels)
    left_over = count * sizes % len(labels)
    assert min(left_over[more == 1], default=len(labels)) >= max(left_over[more == 0], default=0)


def test_a_choice_without_labels_is_a_plain_one():
    assert choose(7, 7, None, 3).tolist() == list(range(7))
    assert len(set(choose(3, 7, None, 3).tolist())) == 3
    assert choose(20, 1000, None, 0).tolist() != choose(20, 1000, None, 1).tolist()


@pytest.mark.parametrize("parts", [(0,), (2**40, 3), (1, 2, 3, 4)])
def test_keys_fit_a_torch_generator(parts):
    assert 0 <= key(*parts) < 2**63
