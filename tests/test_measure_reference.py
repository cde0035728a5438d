import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.measure.reference import GRID_FACTOR, GRID_POINTS, WARMUP, _warmed_up


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs = torch.randn(96, 6, generator=torch.Generator().manual_seed(0))
    targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
    return list(zip(inputs.split(16), targets.split(16), strict=True))


def ramp(**options: object) -> sc.RangeTest:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    given = {"eval_batches": batches(), "end_lr": 10.0, "total_steps": 40, "seed": 0, **options}
    return sc.lr_range_test(model, optimizer, F.cross_entropy, batches(), **given)


def test_a_grid_finds_the_best_constant_rate_and_changes_nothing_else() -> None:
    plain, measured = ramp(), ramp(reference_lr="grid")
    assert plain.reference_lr is None
    assert plain.train_loss.tolist() == measured.train_loss.tolist()
    grid = measured.settings["reference_grid"]
    assert len(grid["lr"]) == GRID_POINTS + 2
    assert grid["lr"] == sorted(grid["lr"])
    assert grid["lr"][-1] == pytest.approx(10.0)
    assert grid["lr"][0] == pytest.approx(10.0 / GRID_FACTOR ** (GRID_POINTS - 1))
    stable = [lr for lr, metric in zip(grid["lr"], grid["metric"], strict=True) if metric is not None]
    assert measured.reference_lr is not None
    assert stable[0] <= measured.reference_lr <= stable[-1]
    assert 0.01 < measured.reference_lr < 2.0  # a rate that this network learns at


def test_a_branch_of_the_grid_is_a_training_at_that_rate() -> None:
    grid = ramp(reference_lr="grid").settings["reference_grid"]
    lr = grid["lr"][2]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    history = sc.train(
        model, optimizer, F.cross_entropy, batches(), _warmed_up(40, lr), eval_batches=batches(), evaluate_with="batch"
    )
    assert history.final is not None
    assert history.final.metric == grid["metric"][2]


def test_the_warm_up_is_a_fifth_and_ends_at_the_rate() -> None:
    lrs = _warmed_up(50, 2.0).values()["lr"]
    assert lrs[round(WARMUP * 50) :].tolist() == [2.0] * 40
    assert (lrs[:10] < 2.0).all()
    assert (lrs > 0).all()
    for steps in (1, 2, 3):
        assert _warmed_up(steps, 2.0)(steps - 1) == {"lr": 2.0}


def test_given_rates_are_taken_and_a_grid_without_data_is_refused() -> None:
    assert ramp(reference_lr=0.3).reference_lr == 0.3
    with pytest.raises(ValueError, match="pass eval_batches"):
        ramp(reference_lr="grid", eval_batches=None)


def test_where_every_rate_diverges_there_is_no_reference() -> None:
    found = ramp(reference_lr="grid", end_lr=1e30, start_lr=1e-3)
    assert found.reference_lr is None
    assert found.settings["reference_grid"]["metric"] == [None] * GRID_POINTS  # no best one to refine around
    assert found.verdict().tolerance == "inconclusive"
