import pytest
import torch
from torch import Tensor

from superconv.analysis.curvature.ritz import ritz_values
from superconv.measure.curvature.lanczos import Lanczos


def matrix(values: Tensor, seed: int = 0) -> Tensor:
    """A symmetric matrix with these eigenvalues."""
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    return turn @ torch.diag(values.double()) @ turn.T


def start(n: int, seed: int = 1) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def run(h: Tensor, steps: int, **settings: bool) -> Lanczos:
    recursion = Lanczos(lambda v: h @ v, start(len(h)), **settings)
    for _ in range(steps):
        if not recursion.invariant:
            recursion.step()
    return recursion


@pytest.mark.parametrize("reorthogonalise", [True, False])
def test_both_ends_are_found_with_their_signs(reorthogonalise: bool) -> None:
    values = torch.cat([torch.tensor([-10.0, 2.0]), torch.linspace(-1, 1, 98)])
    found = ritz_values(run(matrix(values), 30, reorthogonalise=reorthogonalise).projected)
    assert found.values[0] == pytest.approx(-10, rel=1e-9)
    assert found.values[-1] == pytest.approx(2, rel=1e-9)
    assert found.errors[[0, -1]].max() < 1e-6


def test_without_reorthogonalisation_only_two_vectors_are_held_and_the_ends_stay_right() -> None:
    values = torch.cat([torch.tensor([-7.0, 100.0]), torch.linspace(-1, 1, 298)])
    recursion = run(matrix(values).float().double(), 200, reorthogonalise=False)
    assert len(recursion._basis) <= 2
    found = ritz_values(recursion.projected)
    assert (found.values[0], found.values[-1]) == pytest.approx((-7, 100), rel=1e-5)
    assert found.values[-2] == pytest.approx(100, rel=1e-5)  # the copy that its docstring speaks of


def test_coefficients_are_those_of_the_basis() -> None:
    h = matrix(torch.linspace(-3, 5, 40))
    recursion = run(h, 25)
    basis = torch.stack(recursion._basis)
    assert torch.allclose(basis @ basis.T, torch.eye(26, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(basis @ h @ basis[:-1].T, torch.from_numpy(recursion.projected), atol=1e-12)


def test_an_invariant_basis_ends_the_recursion_with_exact_values() -> None:
    values = torch.tensor([4.0, 4, 4, 1, 1, -2, -2, 0])  # four different ones: four products
    recursion = run(matrix(values), 20)
    assert recursion.products == 4
    assert recursion.invariant
    found = ritz_values(recursion.projected)
    assert found.values == pytest.approx([-2, 0, 1, 4], abs=1e-9)
    assert found.errors.max() < 1e-9
    with pytest.raises(RuntimeError, match="no further step"):
        recursion.step()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_no_more_products_than_dimensions(n: int) -> None:
    h = matrix(torch.arange(1.0, n + 1))
    recursion = Lanczos(
        lambda v: h.float() @ v + 1e-3 * torch.rand(n), start(n).float()
    )  # noisy: never closed by itself
    while not recursion.invariant:
        recursion.step()
    assert recursion.products == n


def test_a_product_that_returns_its_argument_does_no_harm() -> None:
    recursion = Lanczos(lambda v: v, start(6))
    recursion.step()
    assert recursion.invariant
    assert ritz_values(recursion.projected).values == pytest.approx([1.0])


def test_noisy_products_do_not_inflate_the_largest_value() -> None:
    """Noise as large as the largest value in every product: a plain tridiagonal matrix would say 1.6 and more."""
    values = torch.zeros(4000)
    values[0] = 1.0
    generator = torch.Generator().manual_seed(3)

    def noisy(v: Tensor) -> Tensor:
        noise = torch.randn(4000, generator=generator, dtype=torch.float64)
        return values.double() * v + noise / noise.norm()

    recursion = Lanczos(noisy, values.double() + 0.01 * start(4000))
    for _ in range(10):
        recursion.step()
    found = ritz_values(recursion.projected)
    assert 0.7 < found.values[-1] < 1.05
    assert found.errors[-1] > 0.3
    plain = torch.from_numpy(recursion.projected[:10]).tril(0)
    plain = plain + plain.tril(-1).T
    assert float(torch.linalg.eigvalsh(plain)[-1]) > 1.6


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_start_without_direction_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="start: its norm"):
        Lanczos(lambda v: v, torch.full((3,), bad))


def test_a_product_that_is_not_finite_is_refused() -> None:
    recursion = Lanczos(lambda v: v * float("nan"), start(3))
    with pytest.raises(ValueError, match="product 1 is not finite"):
        recursion.step()


def test_without_reorthogonalisation_as_many_steps_as_dimensions_are_not_the_end() -> None:
    values = torch.logspace(-3, 3, 50, dtype=torch.float64)
    recursion = run(matrix(values), 50, reorthogonalise=False)
    found = ritz_values(recursion.projected)
    assert found.values[0] > 2e-3  # the smallest is not found yet
    assert not recursion.invariant
    for _ in range(250):
        recursion.step()
    assert ritz_values(recursion.projected).values[0] == pytest.approx(1e-3, rel=1e-3)
    assert run(matrix(values), 50).invariant
