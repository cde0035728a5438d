"""What a guesser reaches, counted along with the metric."""

import pytest
import torch

from superconv.measure.chance import ChanceLevel


def fed(chance: ChanceLevel, *batches: torch.Tensor, classes: int = 4) -> ChanceLevel:
    for targets in batches:
        chance(torch.randn(len(targets), classes, *targets.shape[1:]), targets)
    return chance


def test_the_share_of_the_largest_class_over_all_batches() -> None:
    batches = torch.tensor([3, 3, 1]), torch.tensor([0, 0, 0, 3, 3]), torch.tensor([2])
    assert fed(ChanceLevel("accuracy", None), *batches).level() == pytest.approx(4 / 9)
    assert fed(ChanceLevel("accuracy", None), *batches, *batches).level() == pytest.approx(4 / 9)


def test_values_are_those_of_the_metric() -> None:
    outputs, targets = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), torch.tensor([0, 1, 1])
    assert ChanceLevel("accuracy", None)(outputs, targets).values.tolist() == [1.0, 1.0, 0.0]
    own = ChanceLevel(lambda o, t: torch.tensor(0.25), None)
    assert float(own.metric(outputs, targets)) == 0.25


def test_pixels_soft_targets_and_labels_to_be_ignored() -> None:
    pixels = torch.tensor([[[0, 1], [1, 1]], [[1, 2], [0, 0]]])
    assert fed(ChanceLevel("accuracy", None), pixels).level() == pytest.approx(4 / 8)
    soft = torch.eye(4)[[0, 2, 2, 1]]
    chance = ChanceLevel("accuracy", None)
    chance(torch.randn(4, 4), soft)
    assert chance.level() == pytest.approx(2 / 4)
    assert fed(ChanceLevel("accuracy", None), torch.tensor([-100, 1, 1, 0])).level() == pytest.approx(2 / 3)
    ignoring = ChanceLevel("accuracy", None, 255)
    assert fed(ignoring, torch.tensor([255, 255, 255, -1, 1, 1, 0])).level() == pytest.approx(2 / 3)
    assert fed(ChanceLevel("accuracy", None, 255), torch.tensor([255, -100])).level() is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.uint8])
def test_labels_may_be_of_any_type(dtype: torch.dtype) -> None:
    assert fed(ChanceLevel("accuracy", None), torch.tensor([3, 3, 1], dtype=dtype)).level() == pytest.approx(2 / 3)


def test_only_accuracy_is_counted_and_a_given_level_stands() -> None:
    targets = torch.tensor([0, 0, 1])
    assert ChanceLevel("accuracy", None).level() is None
    assert fed(ChanceLevel("accuracy", 0.3), targets).level() == 0.3
    assert fed(ChanceLevel("top5_accuracy", None), targets).level() is None
    for metric in ("loss", None):
        chance = ChanceLevel(metric, None)
        assert (chance.metric, chance.level()) == (metric, None)


def test_it_has_the_metrics_name() -> None:
    def score(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return outputs.sum() * 0

    names = [ChanceLevel(metric, None).name for metric in ("accuracy", "loss", None, score)]
    assert names == ["accuracy", "loss", "none", "score"]
