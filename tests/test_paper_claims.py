"""Every experiment against the settings that the authors' files, logs and papers state."""

from typing import Any

import numpy as np
import pytest

from superconv.models import build_model
from superconv.paper.build import arm_of
from superconv.paper.claim import Claim, Effect, Experiment
from superconv.paper.claims import CLAIMS
from superconv.paper.claims.base import cycle
from superconv.paper.claims.mnist import inverse
from superconv.paper.reference_numbers import Reference, curve, keys, reference
from superconv.paper.scale import scaled

BUILT = [e for claim in CLAIMS for e in claim.experiments if e.setting is not None]
OF_THE_PAPER = [e for e in BUILT if e.key is not None]
DATA = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000}
# What the experiments deliberately do otherwise than the stated setting, each said in `chosen` or in the claim's file.
STATED_OTHERWISE = {
    "cifar100-1cycle/step-100": "lr", "cifar100-1cycle/step-200": "lr", "cifar100-1cycle/step-400": "lr",
}  # fmt: skip


def test_every_experiment_of_the_paper_is_there_once_or_more() -> None:
    assert {e.key for claim in CLAIMS for e in claim.experiments if e.key is not None} == set(keys())
    assert len(keys()) == 138
    names = [e.name for claim in CLAIMS for e in claim.experiments]
    assert len(set(names)) == len(names)


def length(stated: dict[str, Any], experiment: Experiment) -> int | None:
    policy = stated["policy"]
    if "max_iter" in policy:
        return policy["max_iter"]
    if "max_epochs" in policy:
        return int(policy["max_epochs"] * DATA[experiment.setting.data] / stated["batch_size"])
    return None


@pytest.mark.parametrize("experiment", OF_THE_PAPER, ids=lambda e: e.name)
def test_settings_are_the_stated_ones(experiment: Experiment) -> None:
    stated, setting = dict(reference(experiment.key).setting), experiment.setting
    schedule, policy = setting.make_schedule(), dict(stated["policy"])
    lrs = schedule.values()["lr"]
    assert setting.steps == (length(stated, experiment) or setting.steps)
    if experiment.name not in STATED_OTHERWISE and "base_lr" in policy:
        assert lrs[0] == pytest.approx(policy["base_lr"], abs=1e-9)
    if setting.steps < policy.get("stepsize", 0):  # the beginning of a cycle
        rise = (policy["max_lr"] - policy["base_lr"]) * setting.steps / policy["stepsize"]
        assert lrs.max() == pytest.approx(policy["base_lr"] + rise)
    elif "max_lr" in policy:
        assert lrs.max() == pytest.approx(policy["max_lr"], rel=1e-3)
        if "stepsize" in policy:
            assert abs(int(lrs.argmax()) - policy["stepsize"]) <= 1
    for drop in policy.get("step_values", ())[:4]:
        assert lrs[drop - 3] > lrs[drop + 3], "a drop within three updates of the stated one"
    plain = {
        "weight_decay": setting.weight_decay, "batch_size": setting.batch_size, "test_images": setting.test_images,
        "averaging_fraction": setting.averaging_fraction, "clip_grad_norm": setting.clip_grad_norm,
        "batch_size_per_gpu": setting.statistics_of,
    }  # fmt: skip
    for name, value in plain.items():
        if name in stated and value is not None:
            assert value == stated[name], name
    if "momentum" in stated and "momentum" not in schedule(0):
        assert setting.momentum == stated["momentum"]
    if "train_samples" in stated:
        assert (setting.train_samples or DATA[setting.data]) == stated["train_samples"]
    if "current" in stated.get("statistics_in_test", "") and "compared" not in stated["statistics_in_test"]:
        assert setting.evaluate_with == "batch"


def momenta(stated: dict[str, Any]) -> tuple[float, float]:
    ends, middle = stated["momentum_cycle"].split(" ")[0].split("-")
    return float(ends), float(middle)


@pytest.mark.parametrize(
    "experiment", [e for e in OF_THE_PAPER if "momentum_cycle" in reference(e.key).setting], ids=lambda e: e.name
)
def test_momentum_goes_as_stated(experiment: Experiment) -> None:
    ends, middle = momenta(reference(experiment.key).setting)
    schedule = experiment.setting.make_schedule()
    values = schedule.values()["momentum"]
    peak = int(values.argmin() if middle < ends else values.argmax())
    assert (values[0], values[peak]) == pytest.approx((ends, min(middle, 0.999)), abs=2e-3)
    lrs = schedule.values()["lr"]
    if lrs.max() > lrs.min():
        assert abs(peak - int(lrs.argmax())) <= 0.01 * len(lrs)


@pytest.mark.parametrize("experiment", BUILT, ids=lambda e: e.name)
def test_arms_and_smaller_scales_can_be_made(experiment: Experiment) -> None:
    assert arm_of(experiment.setting).schedule.total_steps == experiment.setting.steps
    for scale in ("medium", "short", "smoke"):
        setting = scaled(experiment.setting, scale)
        arm = arm_of(setting)
        own, small = experiment.setting.make_schedule().values()["lr"], arm.schedule.values()["lr"]
        assert arm.schedule.total_steps == setting.steps <= experiment.setting.steps
        assert small.max() == pytest.approx(own.max() * setting.lr_factor, rel=0.12)
        if len(small) > 100:  # the same shape
            at = np.round(np.linspace(0, len(own) - 1, len(small))).astype(int)
            close = np.isclose(small, own[at] * setting.lr_factor, atol=0.05 * small.max())
            assert close.mean() > 0.97


@pytest.mark.parametrize("experiment", BUILT, ids=lambda e: e.name)
def test_an_update_is_the_same_at_smaller_scales(experiment: Experiment) -> None:
    own = experiment.setting
    for scale in ("medium", "short", "smoke"):
        small = scaled(own, scale)
        assert small.lr_factor * small.weight_decay == pytest.approx(own.weight_decay)
        if own.optimizer.startswith("caffe-"):
            assert small.batch_size / own.batch_size == pytest.approx(small.lr_factor, rel=0.15)
        assert (small.momentum, small.optimizer) == (own.momentum, own.optimizer)


@pytest.mark.parametrize("name", sorted({e.setting.model for e in BUILT}))
def test_networks_of_every_scale_can_be_built(name: str) -> None:
    for experiment in BUILT:
        if experiment.setting.model == name:
            for scale in ("medium", "short", "smoke"):
                setting = scaled(experiment.setting, scale)
                build_model(setting.model, 10, **setting.model_options)
            return


def test_what_cannot_be_built_says_why() -> None:
    for claim in CLAIMS:
        for experiment in claim.experiments:
            assert (experiment.setting is None) == bool(experiment.obstacle)


def test_reference_numbers() -> None:
    headline = reference("fig1a-clr")
    assert isinstance(headline, Reference)
    assert (headline.published, headline.figures["v1"]) == (0.924, "Fig. 1a; Table 1 (two rows)")
    assert headline.log == pytest.approx(0.924, abs=0.001)
    log = curve(headline.curve)
    assert log.iteration[-1] == 10_000
    assert log.test_accuracy[-1] == pytest.approx(headline.log, abs=1e-3)
    assert max(lr for lr in log.lr if lr is not None) == pytest.approx(3.0, abs=0.1)
    with pytest.raises(ValueError, match="no reference numbers"):
        reference("fig99")
    with pytest.raises(ValueError, match="no curve"):
        curve("fig99")


@pytest.mark.parametrize("key", [key for key in keys() if reference(key).curve])
def test_curves_end_where_the_logs_do(key: str) -> None:
    log = curve(reference(key).curve)
    assert len(log.iteration) <= 160
    assert list(log.iteration) == sorted(log.iteration)
    if reference(key).log is not None:
        assert log.test_accuracy[-1] == pytest.approx(reference(key).log, abs=2e-3)


def test_caffes_inverse_decay() -> None:
    schedule = inverse(9960)
    exact = 0.01 * (1 + 1e-4 * np.arange(9960)) ** -0.75
    assert np.abs(schedule.values()["lr"] - exact).max() < 1e-6
    assert inverse(3).total_steps == 3


def test_impossible_claims_are_refused() -> None:
    good = Experiment("a/b", "fig1a-clr", cycle())
    with pytest.raises(ValueError, match="needs a setting, or the obstacle"):
        Experiment("a/b", "fig1a-clr", None)
    with pytest.raises(ValueError, match="a key of the authors' numbers, or a title"):
        Experiment("a/b", None, cycle())
    with pytest.raises(ValueError, match="must be named a/CONDITION"):
        Claim("a", "", "", (good, good))
    with pytest.raises(ValueError, match="no condition 'c'"):
        Claim("a", "", "", (good,), (Effect("b", "c"),))
    with pytest.raises(ValueError, match="a baseline or a threshold"):
        Effect("b")
    with pytest.raises(ValueError, match="against its sign"):
        Effect("b", "c", sign=-1, size=0.1)
    with pytest.raises(ValueError, match="against its sign"):
        Effect("b", "c", sign=0, size=0.1)
