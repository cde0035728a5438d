"""Every experiment's learning rate and momentum, update by update: against the authors' logs, and against formulas."""

import math
import re
from typing import Any

import numpy as np
import pytest

from superconv.paper.claim import Experiment
from superconv.paper.claims import CLAIMS
from superconv.paper.reference_numbers import curve, reference

OF_THE_PAPER = [e for claim in CLAIMS for e in claim.experiments if e.setting is not None and e.key is not None]
WITH_A_LOG = [e for e in OF_THE_PAPER if reference(e.key).curves]
DIGITS = 4  # to which the packaged logs are rounded, from 6
ROUNDING = 1e-9  # of ours, relative
EPOCHS = 2  # updates: a half cycle in epochs is no whole number of them, so that a cycle's end may be two updates off

# What no file and no text says, and what is deliberately otherwise; each is said in `chosen` or in the claim's file.
CHOSEN: dict[str, dict[str, Any]] = {
    "cifar100-1cycle/step-100": {"base_lr": 0.1},  # the companion's job history; the table prints .005
    "cifar100-1cycle/step-200": {"base_lr": 0.1},
    "cifar100-1cycle/step-400": {"base_lr": 0.1},
    "optimizers/adadelta-clr": {"base_lr": 0.1, "max_lr": 3.0, "stepsize": 5_000},
    "optimizers/adagrad-clr": {"base_lr": 0.01, "max_lr": 0.3, "stepsize": 5_000},
    "optimizers/adam-clr": {"base_lr": 1e-3, "max_lr": 3e-2, "stepsize": 5_000},
    "mnist/step-85": {"step_values": [4_980, 7_470], "gamma": 0.1},
    "mnist/inv-85": {"gamma": 1e-4, "power": 0.75},  # Caffe's LeNet example
    "mnist/1cycle-25": {"stepsize": 1_405},  # the share of the run, rounded; 12 epochs are 1,406.25 updates
}
LARGEST = 0.999  # momentum: a cycle up to 1 stops here
SLOW = 10  # Inception-ResNet-v2's solver files: a half cycle of 1,080,000 updates in place of 108,000


def policy(experiment: Experiment) -> dict[str, Any]:
    return {**reference(experiment.key).setting["policy"], **CHOSEN.get(experiment.name, {})}


def updates(experiment: Experiment, epochs: float) -> int:
    stated = reference(experiment.key).setting
    return int(epochs * stated["train_samples"] / stated["batch_size"])


def half_cycle(experiment: Experiment) -> int:
    """In updates: as stated, or from epochs, which for momentum at a constant rate are in the notes."""
    stated = policy(experiment)
    if "stepsize" in stated:
        return stated["stepsize"]
    noted = re.search(r"Half-cycle of the momentum in epochs: (\d+)", reference(experiment.key).notes)
    return updates(experiment, stated["stepsize_epochs"] if "stepsize_epochs" in stated else int(noted[1]))


def slack(experiment: Experiment) -> int:
    stated = policy(experiment)
    return 0 if "stepsize" in stated or "step_values" in stated else EPOCHS


# ---- formulas (method.md, sections 1 to 3), each of the update t


def triangle(t: np.ndarray, low: float, high: float, size: int) -> np.ndarray:
    cycle = np.floor(1 + t / (2 * size))
    return low + (high - low) * np.maximum(0, 1 - np.abs(t / size - 2 * cycle + 1))


def ramp(t: np.ndarray, low: float, high: float, size: int) -> np.ndarray:
    """A triangle's rise, cut off after len(t) of `size` updates.

    Ours reaches the end in the last update; Caffe's would one update later.
    """
    end = low + (high - low) * len(t) / size
    return low + (end - low) * t / (len(t) - 1)


def drops(t: np.ndarray, lr: float, at: list[int], factor: float) -> np.ndarray:
    """Caffe takes one step of its list an update, and looks at no step before the one in front of it."""
    taken: list[int] = []
    for step in at:
        taken.append(max(step, taken[-1] + 1) if taken else step)
    return lr * factor ** np.searchsorted(taken, t, side="right")


def one_cycle(t: np.ndarray, low: float, high: float, size: int) -> np.ndarray:
    rise, fall = low + (high - low) * t / size, high * (2 * size - t) / size
    return np.where(t <= size, rise, np.where(t < 2 * size, fall, low / 1000))


def momentum_of_one_cycle(t: np.ndarray, ends: float, middle: float, size: int) -> np.ndarray:
    down, up = ends - (ends - middle) * t / size, middle + (ends - middle) * (t - size) / size
    again = ends - (ends - middle) * (t - 2 * size) / (2 * size)
    return np.where(t <= size, down, np.where(t <= 2 * size, up, again))


def expected_lr(experiment: Experiment) -> np.ndarray:
    stated = policy(experiment)
    name, base, t = stated["name"], stated["base_lr"], np.arange(experiment.setting.steps, dtype=float)
    if name.startswith("constant"):
        return np.full_like(t, base)
    if name.startswith("inv"):
        return base * (1 + stated["gamma"] * t) ** -stated["power"]
    if name == "step (exponential)":
        return base * stated["gamma"] ** (t // stated["stepsize"])
    if "step_values" in stated:
        return drops(t, base, stated["step_values"], stated["gamma"])
    top, size = stated["max_lr"], half_cycle(experiment)
    if name == "1cycle":
        return one_cycle(t, base, top, size)
    return ramp(t, base, top, size) if len(t) <= size else triangle(t, base, top, size)


def expected_momentum(experiment: Experiment) -> np.ndarray | None:
    """None: it is constant, and the schedule leaves it alone.

    DenseNet's is the table's, .9 to .85; the log of 50 epochs, whose momentum is not packaged, has .9 to .8.
    """
    stated = reference(experiment.key).setting.get("momentum_cycle")
    if stated is None:
        return None
    ends, middle = (float(value) for value in stated.split(" ")[0].split("-"))
    t, size = np.arange(experiment.setting.steps, dtype=float), half_cycle(experiment)
    size *= SLOW if "nominal" in stated else 1
    return momentum_of_one_cycle(t, ends, min(middle, LARGEST), size)


# ---- checks of one experiment


def check_against(values: np.ndarray, wanted: np.ndarray, shift: int, tolerance: float) -> None:
    """Every value lies between those wanted at most `shift` updates before and after."""
    near = np.lib.stride_tricks.sliding_window_view(np.pad(wanted, shift, mode="edge"), 2 * shift + 1)
    low, high = near.min(axis=1), near.max(axis=1)
    outside = np.flatnonzero((values < low - tolerance * np.abs(low)) | (values > high + tolerance * np.abs(high)))
    first = [(int(t), float(values[t]), float(wanted[t])) for t in outside[:3]]
    assert not len(outside), f"{len(outside)} of {len(values)} updates; the first (update, ours, theirs): {first}"


def check_lr(experiment: Experiment) -> None:
    lrs, is_inverse = experiment.setting.make_schedule().values()["lr"], "inv" in policy(experiment)["name"]
    tolerance = 1e-5 if is_inverse else ROUNDING  # ours is straight between 200 of its points
    check_against(lrs, expected_lr(experiment), slack(experiment), tolerance)


def check_lr_against_log(experiment: Experiment) -> None:
    log, lrs = curve(reference(experiment.key).curves[0]), experiment.setting.make_schedule().values()["lr"]
    rows = [(t, lr) for t, lr in zip(log.iteration, log.lr, strict=True) if lr is not None]
    assert len(rows) > 20
    assert rows[-1][0] < len(lrs)
    # a range test's end is reached in our last update, and one update later in theirs
    pace = 1 - 1 / len(lrs) if "LR range test" in policy(experiment)["name"] else 1.0
    for t, lr in rows:
        unit = 10.0 ** (math.floor(math.log10(lr)) - DIGITS + 1)
        assert lrs[t] * pace == pytest.approx(lr, abs=0.51 * unit), f"update {t}"


def check_momentum(experiment: Experiment) -> None:
    values, wanted = experiment.setting.make_schedule().values(), expected_momentum(experiment)
    assert set(values) == ({"lr"} if wanted is None else {"lr", "momentum"})
    if wanted is not None:
        check_against(values["momentum"], wanted, slack(experiment), 1e-6)


@pytest.mark.parametrize("experiment", WITH_A_LOG, ids=lambda e: e.name)
def test_learning_rates_are_those_of_the_logs(experiment: Experiment) -> None:
    check_lr_against_log(experiment)


@pytest.mark.parametrize("experiment", OF_THE_PAPER, ids=lambda e: e.name)
def test_learning_rates_follow_the_stated_policy(experiment: Experiment) -> None:
    check_lr(experiment)


@pytest.mark.parametrize("experiment", OF_THE_PAPER, ids=lambda e: e.name)
def test_momentum_follows_the_stated_cycle(experiment: Experiment) -> None:
    check_momentum(experiment)


def test_every_choice_is_of_an_experiment() -> None:
    assert set(CHOSEN) <= {e.name for e in OF_THE_PAPER}
