import pytest
import torch
import torch.nn.functional as F
from torch import nn

from superconv.measure.curvature.stiffness import Stiffness

SCALES = torch.tensor([0.5, 1.0, 2.0])  # loss sum_i (scale_i w_i)^2: the Hessian is 2 diag(scale^2)


def line():
    return nn.Linear(3, 1, bias=False), [(torch.diag(SCALES) * 3**0.5, torch.zeros(3, 1))]


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_sgd_is_stable_below_and_not_above_the_limit(momentum, nesterov, decay):
    model, batches = line()
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    found = Stiffness(model, F.mse_loss, batches, optimizer).measure()
    assert found.largest == pytest.approx(8.0, rel=1e-3)
    assert found.label == "stability limit"
    for factor, stable in ((0.97, True), (1.03, False)):
        with torch.no_grad():
            model.weight.fill_(1.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=found.lr * factor, **options)
        for _ in range(600):
            optimizer.zero_grad()
            F.mse_loss(model(batches[0][0]), batches[0][1]).backward()
            optimizer.step()
        assert (float(model.weight.detach().norm()) < 1.0) is stable


def test_adam_sees_the_preconditioned_hessian():
    model, batches = line()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    stiffness = Stiffness(model, F.mse_loss, batches, optimizer)
    assert stiffness.measure() is None  # no second moment yet
    F.mse_loss(model(batches[0][0]), batches[0][1]).backward()
    gradient = model.weight.grad.clone()
    optimizer.step()
    scale = (1 - 0.9) * (gradient.abs() + 1e-8)  # after one step v / (1 - beta2) = g^2
    largest = float((2 * SCALES**2 / scale).max())
    found = stiffness.measure()
    assert found.largest == pytest.approx(largest, rel=0.01)
    assert found.lr == pytest.approx(2 * 1.9 / (0.1 * largest), rel=0.01)


def test_a_network_that_only_normalises_its_inputs_has_a_limit():
    class Normalize(nn.Module):
        def forward(self, inputs):
            return (inputs - 0.1) / 0.3

    model, batches = line()
    for first, label in ((Normalize(), "stability limit"), (nn.LayerNorm(3), "current stiffness")):
        both = nn.Sequential(first, model)
        optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
        assert Stiffness(both, F.mse_loss, batches, optimizer).measure().label == label


def test_a_normalised_network_has_no_limit_but_a_current_stiffness():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, affine=False), nn.Tanh(), nn.Linear(8, 2))
    data = [(torch.randn(16, 4), torch.randint(2, (16,)))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    stiffness = Stiffness(model, F.cross_entropy, data, optimizer)
    assert stiffness.measure().label == "current stiffness"
    assert stiffness.weight_norm() == pytest.approx(
        float(model[0].weight.detach().norm())
    )  # the last layer has a scale
    with torch.no_grad():
        model[0].weight.mul_(3.0)
    assert stiffness.weight_norm() == pytest.approx(float(model[0].weight.detach().norm()))
    plain, batches = line()
    assert Stiffness(plain, F.mse_loss, batches, torch.optim.SGD(plain.parameters(), lr=0.1)).weight_norm() is None


def test_what_is_not_finite_is_none():
    model, batches = line()
    stiffness = Stiffness(model, F.mse_loss, batches, torch.optim.SGD(model.parameters(), lr=0.1))
    with torch.no_grad():
        model.weight.fill_(float("inf"))
    assert stiffness.measure() is None


def test_bad_input_is_seen_before_training():
    model, batches = line()
    two = nn.Sequential(model, nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"1\.weight"):
        Stiffness(two, F.mse_loss, batches, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ValueError, match="stability limit is not known"):
        Stiffness(model, F.mse_loss, batches, torch.optim.RMSprop(model.parameters(), lr=0.1))
