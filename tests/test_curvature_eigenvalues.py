import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from superconv.measure.curvature.eigenvalues import adam_preconditioner, extreme_eigenvalues
from superconv.measure.curvature.objective import BatchObjective
from superconv.models.batch_norm import NormalisedBatchNorm2d

IMAGES = torch.randn(24, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(24) % 3


def cnn() -> nn.Module:
    layers = [nn.Conv2d(1, 3, 3), NormalisedBatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3))


NETS = {"cnn with BatchNorm in train mode": cnn, "mlp with dropout": mlp}


@functools.cache
def trained(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = NETS[kind]().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()
    return model


@functools.cache
def dense(kind: str) -> Tensor:
    """The Hessian over all weights, through torch.func on one vector."""
    model = trained(kind)
    named = dict(model.named_parameters())
    sizes = [parameter.numel() for parameter in named.values()]

    def loss(vector: Tensor) -> Tensor:
        parts = zip(named.items(), vector.split(sizes), strict=True)
        weights = {name: part.reshape(parameter.shape) for (name, parameter), part in parts}
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        torch.manual_seed(0)
        return F.cross_entropy(functional_call(model, {**weights, **buffers}, (IMAGES,)), LABELS)

    start = torch.cat([parameter.detach().reshape(-1) for parameter in named.values()])
    return torch.autograd.functional.hessian(loss, start)


def objective(kind: str) -> BatchObjective:
    return BatchObjective(trained(kind), F.cross_entropy, [(IMAGES, LABELS)])


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("settings", [{}, {"reorthogonalise": False}, {"method": "finite_difference"}], ids=str)
def test_both_ends_are_within_a_hundredth_of_the_dense_hessian(kind: str, settings: dict[str, Any]) -> None:
    values = torch.linalg.eigvalsh(dense(kind))
    found = extreme_eigenvalues(objective(kind), **settings)
    assert found.converged
    assert (found.largest, found.smallest) == pytest.approx((float(values[-1]), float(values[0])), rel=0.01)
    assert found.smallest < 0 < found.largest
    assert found.errors[0] <= 0.01 * found.largest
    assert found.errors[1] <= -0.01 * found.smallest


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_in_float32_too(method: Any) -> None:
    values = torch.linalg.eigvalsh(dense("mlp with dropout"))
    model = mlp()
    model.load_state_dict(trained("mlp with dropout").state_dict())
    kept = BatchObjective(model, F.cross_entropy, [(IMAGES.float(), LABELS)])
    with torch.no_grad():  # the masks that double precision draws are others: compare without dropout's randomness
        model[3].p = trained("mlp with dropout")[3].p = 0.0
    try:
        double = extreme_eigenvalues(objective("mlp with dropout"), ends="largest")
        found = extreme_eigenvalues(kept, method=method, ends="largest")
    finally:
        trained("mlp with dropout")[3].p = 0.3
    assert found.largest == pytest.approx(double.largest, rel=0.01)
    assert values[-1] != double.largest


def test_the_sign_is_kept_where_the_negative_end_is_the_larger() -> None:
    weight = nn.Linear(2, 1, bias=False).double()
    inputs = torch.eye(2, dtype=torch.float64)
    curvatures = torch.tensor([[2.0], [-10.0]], dtype=torch.float64)
    loss = BatchObjective(weight, lambda out, _: (curvatures * out**2 / 2).sum(), [(inputs, torch.zeros(2))])
    found = extreme_eigenvalues(loss)
    assert (found.largest, found.smallest) == pytest.approx((2.0, -10.0))
    assert (found.products, found.converged) == (2, True)
    assert str(found).startswith("eigenvalues from -10 +- ")


def test_an_end_at_zero_is_found_too() -> None:
    values = torch.cat(
        [
            torch.linspace(0.1, 1, 60, dtype=torch.float64),
            torch.zeros(1, dtype=torch.float64),
            torch.tensor([3.0], dtype=torch.float64),
        ]
    )
    data = torch.diag(values.sqrt()), torch.zeros(62, 1, dtype=torch.float64)
    model = nn.Linear(62, 1, bias=False).double()
    found = extreme_eigenvalues(BatchObjective(model, lambda out, _: (out**2).sum() / 2, [data]))
    assert found.converged
    assert found.products < 60
    assert found.largest == pytest.approx(3.0)
    assert found.smallest == pytest.approx(0.0, abs=1e-4)


def test_only_the_largest_costs_less_and_unconverged_is_said() -> None:
    kind = "cnn with BatchNorm in train mode"
    both, largest = extreme_eigenvalues(objective(kind)), extreme_eigenvalues(objective(kind), ends="largest")
    assert largest.products < both.products
    assert largest.largest == pytest.approx(both.largest, rel=0.01)
    cut = extreme_eigenvalues(objective(kind), max_products=3, tolerance=1e-6)
    assert not cut.converged
    assert "not converged: allow more" in str(cut)
    assert abs(cut.largest - both.largest) <= 3 * cut.errors[0] + 0.01 * both.largest


def test_weight_decay_shifts_both_ends() -> None:
    plain = extreme_eigenvalues(objective("mlp with dropout"))
    shifted = extreme_eigenvalues(objective("mlp with dropout"), weight_decay=0.25)
    assert shifted.largest - plain.largest == pytest.approx(0.25, abs=0.02 * plain.largest)
    assert shifted.smallest - plain.smallest == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("settings", [{}, {"amsgrad": True}, {"betas": (0.5, 0.9), "eps": 1e-3}], ids=str)
@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.AdamW])
def test_adams_eigenvalues_equal_the_dense_preconditioned_ones(make: Any, settings: dict[str, Any]) -> None:
    kind = "mlp with dropout"
    model = trained(kind)
    optimizer = make(model.parameters(), lr=0.0, weight_decay=0.0, **settings)
    squares, largest = 0.0, 0.0
    beta1, beta2 = settings.get("betas", (0.9, 0.999))
    for step in range(3):
        torch.manual_seed(step)
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGES), LABELS).backward()
        gradient = torch.cat([parameter.grad.reshape(-1) for parameter in model.parameters()])  # type: ignore[union-attr]
        squares = beta2 * squares + (1 - beta2) * gradient**2
        largest = torch.maximum(torch.as_tensor(largest), squares)  # type: ignore[arg-type]
        optimizer.step()
    optimizer.zero_grad()
    second = (largest if settings.get("amsgrad") else squares) / (1 - beta2**3)
    p = (1 - beta1**3) * (torch.as_tensor(second).sqrt() + settings.get("eps", 1e-8))
    expected = torch.linalg.eigvalsh(dense(kind) / (p.sqrt()[:, None] * p.sqrt()[None, :]))
    own = objective(kind)
    preconditioner = adam_preconditioner(optimizer, own)
    assert torch.allclose(torch.cat([part.reshape(-1) for part in preconditioner]), p, rtol=1e-9)
    found = extreme_eigenvalues(own, preconditioner=preconditioner, max_products=200)
    assert found.preconditioned
    assert (found.largest, found.smallest) == pytest.approx((float(expected[-1]), float(expected[0])), rel=0.01)


def test_the_same_seed_gives_the_same_value_and_nothing_is_changed() -> None:
    model = trained("cnn with BatchNorm in train mode")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    first, again, other = (
        extreme_eigenvalues(objective("cnn with BatchNorm in train mode"), seed=s) for s in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert other.largest == pytest.approx(first.largest, rel=0.02)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(random_state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_products": 1}, "max_products: got 1"),
        ({"tolerance": 0.0}, "tolerance: got 0.0"),
        ({"ends": "smallest"}, "ends: got 'smallest'"),
        ({"weight_decay": -1.0}, "weight_decay: got -1.0"),
        ({"method": "hvp"}, "method: got 'hvp'"),
        ({"preconditioner": [torch.ones(1)]}, "preconditioner: got shapes"),
    ],
)
def test_bad_settings_are_refused_in_words(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        extreme_eigenvalues(objective("mlp with dropout"), **settings)


def test_a_preconditioner_that_is_not_positive_is_refused() -> None:
    own = objective("mlp with dropout")
    with pytest.raises(ValueError, match="not positive"):
        extreme_eigenvalues(own, preconditioner=[torch.zeros_like(parameter) for parameter in own.parameters])


def test_preconditioners_need_an_adam_that_has_stepped() -> None:
    own = objective("mlp with dropout")
    with pytest.raises(ValueError, match="got SGD"):
        adam_preconditioner(torch.optim.SGD(own.parameters, lr=0.1), own)
    with pytest.raises(ValueError, match="take at least one step"):
        adam_preconditioner(torch.optim.Adam(own.parameters), own)
