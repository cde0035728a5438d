import copy

import pytest
import torch
from torch import nn

from superconv.analysis.curvature.probes import conclude
from superconv.measure.curvature.probe import probe, probe_pairs

SPECTRUM = torch.tensor([0.5, 1.0, 4.0])


class Quadratic(nn.Module):
    """0.5 sum h_i theta_i^2 + noise . theta, where a batch is (noise, unused)."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([2.0, -1.0, 0.5]))

    def forward(self, noise):
        return (0.5 * SPECTRUM * self.theta**2 + noise.mean(0) * self.theta).sum()


def loss_fn(outputs, targets):
    return outputs


def batch(noise):
    return torch.as_tensor(noise).reshape(1, 3), torch.zeros(1)


@pytest.mark.parametrize("method", ["finite_difference", "exact"])
def test_every_product_equals_its_closed_form(method):
    model = Quadratic()
    a, b = torch.tensor([0.3, -0.2, 0.1]), torch.tensor([-0.4, 0.5, 0.2])
    theta = model.theta.detach()
    previous = {"theta": theta + torch.tensor([0.1, 0.2, -0.3])}
    found = probe(model, loss_fn, batch(a), batch(b), previous=previous, method=method)
    g = SPECTRUM * theta
    ga, gb, s = g + a, g + b, theta - previous["theta"]
    wanted = [ga @ gb, ga @ ga, gb @ gb, gb @ (SPECTRUM * gb), s @ s, s @ (SPECTRUM * s), (SPECTRUM * s).square().sum()]
    assert [
        found.product, found.square_a, found.square_b, found.curvature, found.ss, found.sy, found.yy
    ] == pytest.approx([float(value) for value in wanted], rel=2e-3)  # fmt: skip


def test_estimates_on_a_noisy_quadratic():
    torch.manual_seed(0)
    model = Quadratic()
    batches = [batch(torch.randn(3)) for _ in range(400)]
    previous = {"theta": model.theta.detach() + torch.tensor([1.0, 0.0, 0.0])}
    found = conclude(probe_pairs(model, loss_fn, batches, previous=previous))
    g = SPECTRUM * model.theta.detach()
    wanted = float(g @ g / (g @ (SPECTRUM * g) + SPECTRUM.sum()))
    assert found.expected_step.value == pytest.approx(wanted, abs=3 * found.expected_step.standard_error)
    assert found.secant.quotient.value == pytest.approx(2.0, rel=1e-3)  # 1 / 0.5: the eigenvalue along the step
    assert found.secant.cosine.value == pytest.approx(1.0, rel=1e-3)
    share = float(g @ g / (g @ g + 3))
    assert found.signal_share.value == pytest.approx(share, abs=3 * found.signal_share.standard_error)


def test_without_a_previous_iterate_there_is_no_secant():
    found = conclude(probe_pairs(Quadratic(), loss_fn, [batch(torch.zeros(3))] * 16))
    assert found.secant.quotient.reason == "0 of 8 probes so far"
    assert found.expected_step.value is not None


def test_a_part_that_did_not_move_counts_as_still():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    data = torch.randn(4, 2), torch.randn(4, 1)
    previous = {"1.weight": model[1].weight.detach() + 1.0}
    found = probe(model, nn.functional.mse_loss, data, data, previous=previous)
    assert found.ss == pytest.approx(2.0)


def test_the_model_is_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    data = torch.randn(16, 4), torch.randint(2, (16,))
    nn.functional.cross_entropy(model(data[0]), data[1]).backward()
    gradients = [p.grad for p in model.parameters()]
    kept, before, state = [g.clone() for g in gradients], copy.deepcopy(model.state_dict()), torch.get_rng_state()
    previous = {name: p.detach() + 0.1 for name, p in model.named_parameters()}
    found = probe(model, nn.functional.cross_entropy, data, data, previous=previous)
    assert found.ss > 0
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(gradients, kept, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_the_weights_return_after_an_exception():
    model = Quadratic()
    calls = []

    def fails(outputs, targets):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("at the point before the update")
        return outputs

    before = model.theta.detach().clone()
    with pytest.raises(RuntimeError, match="before the update"):
        probe(model, fails, batch(torch.ones(3)), batch(torch.ones(3)), previous={"theta": before + 1})
    assert torch.equal(model.theta, before)


def test_a_diverged_model_gives_silence_and_no_exception():
    model = Quadratic()
    with torch.no_grad():
        model.theta.fill_(float("nan"))
    found = conclude(probe_pairs(model, loss_fn, [batch(torch.ones(3))] * 16, previous={"theta": torch.ones(3)}))
    assert found.expected_step.value is None
    assert found.secant.quotient.value is None
    with pytest.raises(ValueError, match="pairs of batches, got 1"):
        probe_pairs(model, loss_fn, [batch(torch.ones(3))])
