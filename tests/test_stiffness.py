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


class Separate(nn.Module):
    """The same loss, every weight a parameter of its own."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in SCALES])

    def forward(self, inputs):
        return inputs @ torch.cat(list(self.weights))[:, None]


@pytest.mark.parametrize("ratios", [(1.0, 1.0, 1.0), (1.0, 10.0, 100.0), (1.0, 0.1, 0.0), (1.0, 10.0, 0.01)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}])
def test_groups_with_learning_rates_of_their_own_have_the_limit_of_the_first(ratios, options):
    _, batches = line()
    model = Separate()
    groups = [{"params": [w], "lr": 0.1 * ratio} for w, ratio in zip(model.weights, ratios, strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1, **options)
    found = Stiffness(model, F.mse_loss, batches, optimizer).measure()
    assert found.largest == pytest.approx(
        max(2 * float(s) ** 2 * r for s, r in zip(SCALES, ratios, strict=True)), rel=1e-3
    )
    assert ("groups with different learning rates" in found.rule) is (len(set(ratios)) > 1)
    for factor, stable in ((0.97, True), (1.03, False)):
        with torch.no_grad():
            for weight in model.weights:
                weight.fill_(1.0)
        groups = [{"params": [w], "lr": found.lr * factor * r} for w, r in zip(model.weights, ratios, strict=True)]
        optimizer = torch.optim.SGD(groups, lr=0.1, **options)
        for _ in range(600):
            optimizer.zero_grad()
            F.mse_loss(model(batches[0][0]), batches[0][1]).backward()
            optimizer.step()
        assert all(abs(float(weight.detach())) <= 1.0 for weight in model.weights) is stable


def test_no_limit_of_a_group_that_stands_still_beside_others():
    _, batches = line()
    model = Separate()
    groups = [{"params": [w], "lr": lr} for w, lr in zip(model.weights, (0.0, 0.1, 0.1), strict=True)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    stiffness = Stiffness(model, F.mse_loss, batches, optimizer)
    assert stiffness.measure() is None
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # the beginning of a warm-up
    assert stiffness.measure().largest == pytest.approx(8.0, rel=1e-3)


def test_adams_groups_count_by_their_learning_rates_too():
    _, batches = line()
    model = Separate()
    groups = [{"params": [w], "lr": 1e-3 * r} for w, r in zip(model.weights, (1.0, 10.0, 0.1), strict=True)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    F.mse_loss(model(batches[0][0]), batches[0][1]).backward()
    optimizer.step()
    with torch.no_grad():
        gradients = 2 * SCALES**2  # at ones
    scale = (1 - 0.9) * (gradients + 1e-8)
    expected = float((2 * SCALES**2 * torch.tensor([1.0, 10.0, 0.1]) / scale).max())
    assert Stiffness(model, F.mse_loss, batches, optimizer).measure().largest == pytest.approx(expected, rel=0.01)


def test_attention_is_differentiated_twice():
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.Linear(4, 12)

        def forward(self, inputs):
            query, key, value = self.read(inputs).chunk(3, -1)
            return F.scaled_dot_product_attention(query, key, value).mean(1)

    model, data = Attention(), [(torch.randn(8, 5, 4), torch.randint(4, (8,)))]
    limit = Stiffness(model, F.cross_entropy, data, torch.optim.SGD(model.parameters(), lr=0.1)).measure()
    assert limit.largest > 0


def test_what_it_does_not_see_is_refused():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.real, self.complex = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1, dtype=torch.complex64))
            self.table = nn.Embedding(3, 1, sparse=True)

        def forward(self, inputs):
            return self.real * inputs + self.complex.abs() ** 2 + self.table(torch.zeros(len(inputs), dtype=torch.long))

    model, data = Mixed(), [(torch.ones(4, 1), torch.zeros(4, 1))]
    with pytest.raises(
        ValueError, match=r"does not see complex \(complex: .*\), table.weight \(its gradient is sparse"
    ):
        Stiffness(model, F.mse_loss, data, torch.optim.SGD(model.parameters(), lr=0.1))
    only = torch.optim.SGD([model.real], lr=0.1)  # what is not trained counts for nothing
    assert Stiffness(model, F.mse_loss, data, only).measure().largest == pytest.approx(2.0)


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
