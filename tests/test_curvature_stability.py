import doctest
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from superconv.analysis.curvature import stability
from superconv.analysis.curvature.stability import (
    StabilityLimit,
    adam_limit,
    heavy_ball_limit,
    nesterov_limit,
    stability_limit,
)
from superconv.training.caffe_sgd import CaffeSGD

LARGEST = 7.0
CURVATURES = torch.tensor([LARGEST, 1.0, 0.2], dtype=torch.float64)
CONVERGES, DIVERGES = 0.997, 1.003
STEPS = 600


def simulate(make: Any, lr: float, settings: dict[str, Any]) -> float:
    """Growth of |theta| over the second half of a real optimizer's updates on sum(curvature theta^2) / 2."""
    theta = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimizer = make([theta], lr=lr, **settings)
    norms = []
    for _ in range(STEPS):
        theta.grad = CURVATURES * theta.detach()
        optimizer.step()
        norms.append(float(theta.detach().norm()))
    return norms[-1] / norms[STEPS // 2]


SGD_SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_decay": 0.5},
    {"momentum": 0.9},
    {"momentum": 0.5, "weight_decay": 2.0},
    {"momentum": 0.9, "dampening": 0.9},
    {"momentum": 0.8, "dampening": 0.3, "weight_decay": 1.0},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.7, "nesterov": True, "weight_decay": 1.5},
    {"dampening": 0.5},  # torch dampens nothing without momentum
]


@pytest.mark.parametrize("settings", SGD_SETTINGS, ids=str)
def test_torchs_sgd_converges_just_below_the_limit_and_diverges_just_above(settings: dict[str, Any]) -> None:
    limit = stability_limit("SGD", settings, LARGEST).lr
    assert simulate(torch.optim.SGD, CONVERGES * limit, settings) < 0.5
    assert simulate(torch.optim.SGD, DIVERGES * limit, settings) > 2


@pytest.mark.parametrize(
    "settings", [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 1.0}], ids=str
)
def test_caffes_form_has_the_same_limit(settings: dict[str, Any]) -> None:
    limit = stability_limit("CaffeSGD", settings, LARGEST).lr
    assert simulate(CaffeSGD, CONVERGES * limit, settings) < 0.5
    assert simulate(CaffeSGD, DIVERGES * limit, settings) > 2


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("beta1", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_adam_with_its_preconditioner_held_still(name: str, beta1: float, decay: float) -> None:
    """An eps far above the gradients holds P at eps, through the first steps' large moves too."""
    eps = 1e40
    settings = {"betas": (beta1, 0.999), "eps": eps, "weight_decay": decay}
    make = getattr(torch.optim, name)
    if name == "Adam":  # its decay is part of the gradient
        limit = stability_limit(name, settings, (LARGEST + decay) / eps).lr
    else:
        limit = stability_limit(name, {**settings, "weight_decay": decay / eps}, LARGEST / eps).lr
        settings["weight_decay"] = decay / eps  # on the scale of its LR, which is huge here
    assert simulate(make, CONVERGES * limit, settings) < 0.5
    assert simulate(make, DIVERGES * limit, settings) > 2


def test_the_group_of_a_real_optimizer_is_understood() -> None:
    weight = [torch.zeros(1, requires_grad=True)]
    sgd = torch.optim.SGD(weight, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    assert stability_limit(type(sgd).__name__, sgd.param_groups[0], 10.0).lr == nesterov_limit(
        10.0, momentum=0.9, weight_decay=0.1
    )
    for optimizer, decay in ((torch.optim.AdamW(weight, weight_decay=0.1), 0.1), (torch.optim.Adam(weight), 0.0)):
        found = stability_limit(type(optimizer).__name__, optimizer.param_groups[0], 10.0)
        assert found.lr == adam_limit(10.0, beta1=0.9, weight_decay=decay)


@pytest.mark.parametrize("kind", ["heavy ball", "nesterov"])
@given(
    largest=st.floats(0.1, 100),
    momentum=st.floats(0, 0.97),
    decay=st.floats(0, 2),
    dampening=st.floats(0, 0.9),
    decoupled=st.booleans(),
)
def test_the_recursions_spectral_radius_crosses_one_at_the_limit(
    kind: str, largest: float, momentum: float, decay: float, dampening: float, decoupled: bool
) -> None:
    if kind == "nesterov":
        dampening = 0.0
        lr = nesterov_limit(largest, momentum=momentum, weight_decay=decay, decoupled=decoupled)
    else:
        lr = heavy_ball_limit(largest, momentum=momentum, dampening=dampening, weight_decay=decay, decoupled=decoupled)

    def radius(rate: float) -> float:
        shrink, curvature = (1 - rate * decay, largest) if decoupled else (1.0, largest + decay)
        # columns: what becomes of m = 1 and of theta = 1
        m = torch.tensor([momentum, (1 - dampening) * curvature], dtype=torch.float64)
        moved = m * momentum + torch.tensor([0, curvature], dtype=torch.float64) if kind == "nesterov" else m
        theta = torch.tensor([0, shrink], dtype=torch.float64) - rate * moved
        return float(torch.linalg.eigvals(torch.stack([m, theta])).abs().max())

    assert radius(0.999 * lr) < 1 < radius(1.001 * lr)


def test_the_known_forms() -> None:
    assert heavy_ball_limit(8.0) == 0.25
    assert heavy_ball_limit(8.0, momentum=0.9) == pytest.approx(2 * 1.9 / 8)
    assert nesterov_limit(8.0, momentum=0.9) == pytest.approx(2 * 1.9 / (8 * 2.8))
    assert nesterov_limit(8.0, momentum=0.0) == heavy_ball_limit(8.0)
    assert adam_limit(8.0, beta1=0.9) == pytest.approx(38 / 8)


@pytest.mark.parametrize("largest", [0.0, -3.0])
def test_without_positive_curvature_there_is_no_limit(largest: float) -> None:
    found = stability_limit("sgd", {"momentum": 0.9}, largest)
    assert found.lr == math.inf
    assert "no stability limit" in str(found)
    assert heavy_ball_limit(-1.0, weight_decay=2.0) == 2.0  # the decay makes it convex


def test_in_a_normalised_network_it_is_called_current_stiffness() -> None:
    plain = stability_limit("sgd", {"momentum": 0.9, "weight_decay": 1e-4}, 10.0)
    assert (plain.is_limit, plain.label) == (True, "stability limit")
    assert str(plain).startswith("stability limit: lr 0.38 (heavy ball, momentum 0.9, weight decay 0.0001; a quadratic")
    normalised = stability_limit("sgd", {"momentum": 0.9}, 10.0, normalised=True)
    assert isinstance(normalised, StabilityLimit)
    assert (normalised.is_limit, normalised.label) == (False, "current stiffness")
    assert normalised.lr == pytest.approx(plain.lr, rel=1e-4)
    assert "stability limit" not in str(normalised)
    assert "No limit" in str(normalised)


def test_rules_name_what_was_used() -> None:
    assert stability_limit("sgd", {}, 1.0).rule == "gradient descent"
    assert (
        stability_limit("sgd", {"momentum": 0.9, "dampening": 0.5}, 1.0).rule
        == "heavy ball, momentum 0.9, dampening 0.5"
    )
    assert stability_limit("nesterov", {"momentum": 0.9}, 1.0).rule == "Nesterov, momentum 0.9"
    assert stability_limit("adam", {"weight_decay": 0.1}, 1.0).rule.endswith("weight decay 0.1 in the eigenvalue")
    assert stability_limit("adamw", {"weight_decay": 0.1}, 1.0).rule.endswith("weight decay 0.1")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: stability_limit("lamb", {}, 1.0), "'lamb'.*not known.*allowed are sgd"),
        (lambda: stability_limit("sgd", {"momentum": 1.0}, 1.0), "momentum: got 1.0"),
        (lambda: stability_limit("sgd", {"weight_decay": -1.0}, 1.0), "weight_decay: got -1.0"),
        (lambda: stability_limit("adam", {"betas": (1.5, 0.9)}, 1.0), "momentum: got 1.5|beta1: got 1.5"),
        (lambda: heavy_ball_limit(math.nan), "largest: got nan"),
        (lambda: heavy_ball_limit(1.0, dampening=1.0), "dampening: got 1.0"),
    ],
)
def test_bad_input_is_refused_in_words(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


def test_the_docstrings_examples_run() -> None:
    outcome = doctest.testmod(stability)
    assert outcome.attempted > 0
    assert outcome.failed == 0
