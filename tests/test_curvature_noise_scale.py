from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from superconv.analysis.curvature.noise_scale import noise_scale
from superconv.measure.curvature.noise_scale import gradient_noise_scale
from superconv.measure.curvature.objective import BatchObjective

DIMENSIONS, SAMPLES = 40, 4


def gram(batches: int, norm: float, spread: float, seed: int) -> np.ndarray:
    """Micro-batches of SAMPLES gradients G + noise, |G| = norm, tr(Sigma) = DIMENSIONS spread^2."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(batches, SAMPLES, DIMENSIONS)).mean(axis=1) * spread
    gradients = noise + np.eye(DIMENSIONS)[0] * norm
    return gradients @ gradients.T


def test_the_sums_are_unbiased_and_the_standard_errors_are_right() -> None:
    """Over 400 draws: means within three standard errors of the truth, 1.96 stated errors cover it in 88 to 99%."""
    found = [noise_scale(gram(16, 3.0, 1.0, seed), SAMPLES) for seed in range(400)]
    squared = np.array([each.squared_norm.value for each in found], dtype=float)
    trace = np.array([each.trace for each in found])
    assert abs(squared.mean() - 9.0) < 3 * squared.std() / 20
    assert abs(trace.mean() - DIMENSIONS) < 3 * trace.std() / 20
    errors = np.array([each.squared_norm.standard_error for each in found], dtype=float)
    assert errors.mean() == pytest.approx(squared.std(), rel=0.15)
    size = np.array([each.batch_size.value for each in found], dtype=float)
    size_errors = np.array([each.batch_size.standard_error for each in found], dtype=float)
    assert np.mean(np.abs(size - DIMENSIONS / 9) < 1.96 * size_errors) == pytest.approx(0.935, abs=0.055)


def test_the_form_of_two_batch_sizes_is_the_same_number() -> None:
    products = gram(10, 2.0, 0.5, 1)
    found = noise_scale(products, SAMPLES)
    small, big = np.diag(products).mean(), products.mean()  # |g|^2 at n samples and at 10 n
    squared = (10 * SAMPLES * big - SAMPLES * small) / (10 * SAMPLES - SAMPLES)
    trace = (small - big) / (1 / SAMPLES - 1 / (10 * SAMPLES))
    assert found.squared_norm.value == pytest.approx(squared)
    assert found.trace == pytest.approx(trace)
    assert found.batch_size.value == pytest.approx(trace / squared)


def test_pure_noise_gives_no_batch_size_but_a_reason() -> None:
    silent = [noise_scale(gram(12, 0.0, 1.0, seed), SAMPLES) for seed in range(50)]
    assert sum(each.batch_size.value is None for each in silent) >= 45
    one = next(each for each in silent if each.batch_size.value is None)
    assert "not clear of zero" in str(one)
    assert one.trace == pytest.approx(DIMENSIONS, rel=0.5)


def test_equal_gradients_have_no_noise() -> None:
    found = noise_scale(np.full((8, 8), 4.0), SAMPLES)
    assert (found.batch_size.value, found.squared_norm.value, found.trace) == pytest.approx((0.0, 4.0, 0.0), abs=1e-12)


def test_the_live_model_gives_the_per_sample_truth() -> None:
    """A linear model over its whole data: tr(Sigma) and |G|^2 from the gradients of single samples."""
    torch.manual_seed(0)
    model = nn.Linear(6, 1).double()
    inputs = torch.randn(4096, 6, dtype=torch.float64)
    targets = inputs.sum(dim=1, keepdim=True) + torch.randn(4096, 1, dtype=torch.float64)
    residual = 2 * (model(inputs) - targets).detach()
    single = torch.cat([residual * inputs, residual], dim=1)
    truth = float(single.var(dim=0).sum() / single.mean(dim=0).square().sum())
    pieces = list(zip(inputs.chunk(128), targets.chunk(128), strict=True))
    found = gradient_noise_scale(BatchObjective(model, F.mse_loss, pieces))
    assert found.batch_size.value is not None
    assert found.batch_size.standard_error is not None
    assert abs(found.batch_size.value - truth) < 3 * found.batch_size.standard_error
    assert found.batch_size.standard_error < 0.2 * truth
    assert str(found).startswith("gradient-noise scale (samples): ")


def test_nothing_is_changed() -> None:
    model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    pieces = [(torch.ones(4, 6) * index, torch.tensor([0, 1, 1, 0])) for index in range(8)]
    gradient_noise_scale(BatchObjective(model, F.cross_entropy, pieces))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def batches(sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    return [(torch.ones(size, 2), torch.ones(size, 1)) for size in sizes]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: gradient_noise_scale(BatchObjective(nn.Linear(2, 1), F.mse_loss, batches([4] * 7))), "got 7.*chunk"),
        (
            lambda: gradient_noise_scale(BatchObjective(nn.Linear(2, 1), F.mse_loss, batches([4] * 8 + [3]))),
            r"\[3, 4\]",
        ),
        (lambda: noise_scale(np.ones((8, 7)), 1), r"got shape \(8, 7\)"),
        (lambda: noise_scale(np.full((8, 8), np.nan), 1), "finite"),
        (lambda: noise_scale(np.ones((7, 7)), 1), "got 7 micro-batches"),
        (lambda: noise_scale(np.ones((8, 8)), 0), "samples: got 0"),
    ],
)
def test_bad_input_is_refused_in_words(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
