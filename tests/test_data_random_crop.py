"""Random-resized crops: inside the picture, of the area and ratio asked for, a function of their draws alone."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from superconv.data import DataError, RandomCrop
from superconv.data.picture import centre_box

SIDES = st.integers(1, 900)


def draws(seed, count=1):
    return RandomCrop().draw(count, torch.Generator().manual_seed(seed)).tolist()


@given(SIDES, SIDES, st.integers(0, 10**6))
@settings(max_examples=200)
def test_a_box_lies_in_the_picture(width, height, seed):
    left, upper, right, lower = RandomCrop().box(width, height, draws(seed)[0])
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height


@given(st.integers(200, 900), st.integers(200, 900), st.integers(0, 10**6))
@settings(max_examples=100)
def test_area_and_ratio_are_within_their_ranges(width, height, seed):
    crop = RandomCrop((0.2, 0.5), (0.8, 1.25))
    left, upper, right, lower = crop.box(width, height, draws(seed)[0])
    if (right - left, lower - upper) != (width, height):  # else no box fitted, and the middle was taken
        assert 0.2 - 0.02 <= (right - left) * (lower - upper) / (width * height) <= 0.5 + 0.02
        assert 0.8 - 0.02 <= (right - left) / (lower - upper) <= 1.25 + 0.02


def test_area_ratio_and_place_are_uniform():
    """Of a square picture nearly every first box fits, so the moments are those of the uniform distributions."""
    boxes = [RandomCrop((0.1, 0.4)).box(1000, 1000, each) for each in draws(3, 4000)]
    left, upper, right, lower = torch.tensor(boxes, dtype=torch.float32).T
    area = (right - left) * (lower - upper) / 1e6
    ratio = torch.log((right - left) / (lower - upper))
    place = torch.stack([left / (1000 - right + left), upper / (1000 - lower + upper)], 1)
    torch.testing.assert_close(area.mean(), torch.tensor(0.25), rtol=0, atol=0.006)
    torch.testing.assert_close(area.std(), torch.tensor(0.3 / math.sqrt(12)), rtol=0, atol=0.004)
    torch.testing.assert_close(ratio.mean(), torch.tensor(0.0), rtol=0, atol=0.012)
    torch.testing.assert_close(ratio.std(), torch.tensor(2 * math.log(4 / 3) / math.sqrt(12)), rtol=0, atol=0.006)
    torch.testing.assert_close(place.mean(0), torch.full((2,), 0.5), rtol=0, atol=0.02)


@pytest.mark.parametrize(("width", "height", "box"), [(1000, 100, (433, 0, 566, 100)), (100, 1000, (0, 433, 100, 566))])
def test_a_panorama_is_cut_in_its_middle(width, height, box):
    assert RandomCrop((0.9, 1.0)).box(width, height, draws(0)[0]) == box


def test_later_tries_are_taken_only_where_earlier_ones_do_not_fit():
    first, *rest = draws(1)[0]
    box = RandomCrop().box(500, 500, [first, *rest])
    assert RandomCrop().box(500, 500, [first, *reversed(rest)]) == box
    wide = [0.999, 0.999, 0.5, 0.5]  # the whole area at ratio 4/3 does not fit into a square
    assert RandomCrop().box(500, 500, [wide, first, *rest]) == box


@pytest.mark.parametrize(
    ("scale", "ratio"),
    [
        ((0, 1), (1, 1)),
        ((0.5, 0.2), (1, 1)),
        ((0.5, 1.1), (1, 1)),
        ((0.5,), (1, 1)),
        ((0.5, 1), (-1, 1)),
        (0.5, (1, 1)),
    ],
)
def test_impossible_ranges_are_refused(scale, ratio):
    with pytest.raises(DataError, match="crop_"):
        RandomCrop(scale, ratio)


def test_the_middle_square():
    assert centre_box(400, 300) == (50, 0, 350, 300)
    assert centre_box(300, 400, 0.5) == (75, 125, 225, 275)
