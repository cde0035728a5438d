"""Every experiment against the settings that the authors' files, logs and papers state; their schedules: next door."""

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from superconv.models import build_model
from superconv.paper.build import arm_of
from superconv.paper.claim import Claim, Effect, Experiment
from superconv.paper.claims import CLAIMS
from superconv.paper.claims.base import cycle
from superconv.paper.claims.mnist import inverse
from superconv.paper.reference_numbers import Reference, curve, keys, reference
from superconv.paper.scale import EPOCHS, scaled
from superconv.paper.setting import SCALES, Setting
from superconv.training.caffe_sgd import CaffeSGD
from superconv.training.optimizers import build_optimizer

BUILT = [e for claim in CLAIMS for e in claim.experiments if e.setting is not None]
SMALLER = [scale for scale in SCALES if scale != "paper"]
OF_THE_PAPER = [e for e in BUILT if e.key is not None]
ENTRIES = json.loads((resources.files("superconv.paper") / "reference" / "experiments.json").read_text())["experiments"]

# ---- what the files state once for a data set, an optimizer or a network

INCEPTION = "timm/inception_resnet_v2"
DATA = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "MNIST": "mnist", "ImageNet (ILSVRC-2012)": "imagenet"}
SAMPLES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000}
MODELS = {
    "ResNet-56 (CIFAR)": "resnet56", "ResNet-20 (CIFAR)": "resnet20", "ResNet-110 (CIFAR)": "resnet110",
    "bottleneck ResNet-56": "bottleneck56", "ResNeXt-56 (32 groups)": "resnext56",
    "ResNet-56 variant of the companion repository (projection shortcuts, no ReLU after the sum)": "resnet56-companion",
    "wide ResNet, 32 layers, widths 16/64/256": "wide32", "DenseNet, 40 layers, growth 12": "densenet40",
    "3-layer (Caffe cifar10_full style)": "cifar3", "LeNet (Caffe example)": "lenet", "ResNet-50": "resnet50",
    "Inception-ResNet-v2": INCEPTION,
}  # fmt: skip
# Our name, its class, and Caffe's defaults; AdaDelta's decay is the momentum, which its solver file does not give.
OPTIMIZERS: dict[str, tuple[str, type[torch.optim.Optimizer], dict[str, Any]]] = {
    "SGD with momentum": ("caffe-sgd", CaffeSGD, {"nesterov": False}),
    "Nesterov": ("caffe-nesterov", CaffeSGD, {"nesterov": True}),
    "AdaDelta": ("adadelta", torch.optim.Adadelta, {"rho": 0.0, "eps": 1e-8}),
    "AdaGrad": ("adagrad", torch.optim.Adagrad, {"lr_decay": 0, "initial_accumulator_value": 0, "eps": 1e-8}),
    "Adam": ("adam", torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}),
}
# Where an entry is silent. V1: x.sh, solvers and networks of lnsmith54/super-convergence. Companion and ImageNet: those
# of lnsmith54/hyperParam1. MNIST: examples/mnist of BVLC/caffe.
V1: dict[str, Any] = {
    "steps": 10_000, "batch_size": 1000, "statistics_of": 125, "averaging_fraction": 0.95, "momentum": 0.9,
    "weight_decay": 1e-4, "test_images": 25_000, "evaluate_every": 100, "evaluate_with": "running",
    "preparation": "mean-image", "mirror": True, "crop_padding": 0, "clip_grad_norm": None, "train_samples": None,
    "model_options": {}, "estimate_spacing": None, "lr_factor": 1.0, "precision": "fp32",
    "gap_images": None,
}  # fmt: skip
COMPANION = {**V1, "test_images": 6_400, "evaluate_every": 200}
IMAGENET = {**V1, "test_images": 50_000, "evaluate_every": 5_000, "averaging_fraction": 0.9}  # the first two: chosen
FAMILIES = {
    "resnet56-companion": COMPANION, "wide32": COMPANION, "densenet40": COMPANION,
    "cifar3": {**COMPANION, "mirror": False, "test_images": 10_000},  # their 20,000 are the test set twice
    "lenet": {**V1, "mirror": False, "preparation": "scaled", "test_images": 10_000},
    "resnet50": IMAGENET, INCEPTION: IMAGENET,
}  # fmt: skip
# What a network has whatever an entry says: without BatchNorm no groups and no running statistics; ResNet-50's are
# never used; Inception-ResNet-v2 is normalised over the whole batch here, over a GPU's 28 pictures there.
NETWORKS: dict[str, dict[str, Any]] = {
    "cifar3": {"statistics_of": None, "averaging_fraction": None, "model_options": {"filler": "gaussian"}},
    "lenet": {"statistics_of": None, "averaging_fraction": None},
    "resnet50": {"averaging_fraction": None},
    INCEPTION: {"statistics_of": None, "model_options": {"drop_rate": 0.2}},
}
# What one experiment has.
OWN: dict[str, dict[str, Any]] = {
    "dropout/0.2": {"model": "resnet56-dropout"},
    "dropout/range-test": {"model": "resnet56-dropout"},
    "batch-statistics/batch-0.999": {"averaging_fraction": 0.999, "evaluate_with": "batch"},  # the entry's note
    "batch-statistics/running-0.999": {"averaging_fraction": 0.999},
    "companion/cifar100-resnet56": {"evaluate_every": 100},  # its log
    "batch-size/1536": {"gap_images": 10_000},  # of v3's Fig. 5b
    "batch-size/256": {"gap_images": 10_000},
    "hessian-free/300-constant": {"estimate_spacing": 1},
    "hessian-free/300-clr": {"estimate_spacing": 1},
    "hessian-free/10000-constant": {"estimate_spacing": 10},
    "hessian-free/10000-clr": {"estimate_spacing": 10},
}
FIELDS = {  # of an entry -> of a setting
    "momentum": "momentum", "weight_decay": "weight_decay", "batch_size": "batch_size", "test_images": "test_images",
    "averaging_fraction": "averaging_fraction", "clip_grad_norm": "clip_grad_norm",
    "batch_size_per_gpu": "statistics_of",
}  # fmt: skip
# lr_mult and decay_mult of the network files, by name of the parameter, or "biases"; (1, 1) where they have none.
RESNET = {"biases": (2, 0), "classifier.bias": (2, 1)}
MULTIPLIERS: dict[str, dict[str, tuple[float, float]]] = {
    "resnet20": RESNET, "resnet56": RESNET, "resnet56-dropout": RESNET, "resnet110": RESNET, "bottleneck56": RESNET,
    "resnext56": RESNET, "lenet": {"biases": (2, 1)}, "densenet40": {"classifier.bias": (2, 1)},
    "resnet56-companion": {"classifier.bias": (2, 0)}, "wide32": {"classifier.bias": (2, 0)},
    "resnet50": {"classifier.bias": (2, 0)}, INCEPTION: {"classif.bias": (2, 0)},
    "cifar3": {
        "conv1.bias": (2, 1), "conv2.bias": (2, 1), "classifier.weight": (1, 250), "classifier.bias": (2, 0),
    },
}  # fmt: skip
DECAYED = {"regularisation/resnet56-bias-decay-1": {"biases": (2, 1)}}  # Resnet56DM1


def test_every_experiment_of_the_paper_is_there_once_or_more() -> None:
    assert {e.key for claim in CLAIMS for e in claim.experiments if e.key is not None} == set(keys())
    assert len(keys()) == 138
    names = [e.name for claim in CLAIMS for e in claim.experiments]
    assert len(set(names)) == len(names)
    assert set(OWN) | set(DECAYED) <= set(names)


def optimizer_of(experiment: Experiment) -> tuple[str, type[torch.optim.Optimizer], dict[str, Any]]:
    stated = ENTRIES[experiment.key]["setting"].get("optimizer", "SGD with momentum")  # MNIST: Caffe's default
    return OPTIMIZERS[stated.partition(" (")[0]]


def steps(experiment: Experiment) -> int | None:
    """None: not stated."""
    stated = ENTRIES[experiment.key]["setting"]
    policy = stated["policy"]
    if "max_iter" in policy or "max_epochs" not in policy:
        return policy.get("max_iter")
    return int(policy["max_epochs"] * stated["train_samples"] / stated["batch_size"])


def expected(experiment: Experiment) -> dict[str, Any]:
    """The setting's fields as the entry states them, or else as the tables above do."""
    entry = ENTRIES[experiment.key]
    stated, model, data = entry["setting"], MODELS[entry["architecture"]], DATA[entry["dataset"]]
    optimizer = optimizer_of(experiment)[0]
    wanted = {**FAMILIES.get(model, V1), "model": model, "data": data, "optimizer": optimizer}
    wanted |= {ours: stated[theirs] for theirs, ours in FIELDS.items() if theirs in stated}
    wanted["steps"] = steps(experiment) or wanted["steps"]
    if "momentum_cycle" in stated or optimizer in ("adadelta", "adagrad"):
        wanted["momentum"] = None
    if stated.get("train_samples") != SAMPLES.get(data):
        wanted["train_samples"] = stated["train_samples"]
    if stated.get("statistics_in_test", "").startswith("current"):
        wanted["evaluate_with"] = "batch"
    return {**wanted, **NETWORKS.get(model, {}), **OWN.get(experiment.name, {})}


def check_setting(experiment: Experiment) -> None:
    wanted = expected(experiment)
    assert {name: getattr(experiment.setting, name) for name in wanted} == wanted


def check_arm(experiment: Experiment) -> None:
    """That the setting's choices get to the runner."""
    arm = arm_of(experiment.setting)
    names = ("optimizer", "batch_size", "averaging_fraction", "clip_grad_norm", "statistics_of", "evaluate_every",
             "evaluate_with", "precision")  # fmt: skip
    wanted = expected(experiment)
    assert {name: getattr(arm, name) for name in names} == {name: wanted[name] for name in names}
    assert arm.schedule == experiment.setting.make_schedule()


@cache
def network(name: str) -> nn.Module:
    """Without memory for its weights; timm's, which may not be installed, in miniature."""
    with torch.device("meta"):
        if name != INCEPTION:
            return build_model(name)
        model = nn.Sequential(nn.Conv2d(3, 8, 1, bias=False), nn.BatchNorm2d(8))
        model.add_module("classif", nn.Linear(8, 2))
        return model


def check_dropout(experiment: Experiment) -> None:
    stated, setting = ENTRIES[experiment.key]["setting"], experiment.setting
    found = {module.p for module in network(setting.model).modules() if isinstance(module, nn.Dropout)}
    found |= {setting.model_options["drop_rate"]} if setting.model == INCEPTION else set()
    assert found - {0.0} == {stated.get("dropout", 0)} - {0}


def check_optimizer(experiment: Experiment) -> None:
    """Class, options, and learning rate and weight decay of every single parameter."""
    wanted, (_, kind, options) = expected(experiment), optimizer_of(experiment)
    arm, model, decay = arm_of(experiment.setting), network(wanted["model"]), wanted["weight_decay"]
    optimizer = build_optimizer(arm.optimizer, model, lr=1.0, **arm.optimizer_options)
    if kind is CaffeSGD and wanted["momentum"] is not None:
        options = {**options, "momentum": wanted["momentum"]}
    assert type(optimizer) is kind
    assert {name: optimizer.defaults[name] for name in options} == options
    groups = {
        id(p): (g["lr"], round(g["weight_decay"] / decay, 9)) for g in optimizer.param_groups for p in g["params"]
    }
    factors = {**MULTIPLIERS[wanted["model"]], **DECAYED.get(experiment.name, {})}
    biases = {id(m.bias) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for name, parameter in model.named_parameters():
        unnamed = factors.get("biases", (1, 1)) if id(parameter) in biases else (1, 1)
        assert groups[id(parameter)] == factors.get(name, unnamed), name


@pytest.mark.parametrize("experiment", OF_THE_PAPER, ids=lambda e: e.name)
def test_settings_are_the_stated_ones(experiment: Experiment) -> None:
    check_setting(experiment)
    check_arm(experiment)
    check_dropout(experiment)


@pytest.mark.parametrize("experiment", OF_THE_PAPER, ids=lambda e: e.name)
def test_parameters_learn_and_decay_as_in_the_network_files(experiment: Experiment) -> None:
    check_optimizer(experiment)


def test_imagenet_pictures_are_cropped_to_the_stated_size() -> None:
    sizes = {e.setting.data_options["image_size"] for e in OF_THE_PAPER if e.setting.data == "imagenet"}
    assert sizes == {230}


@pytest.mark.parametrize("experiment", BUILT, ids=lambda e: e.name)
def test_arms_and_smaller_scales_can_be_made(experiment: Experiment) -> None:
    assert arm_of(experiment.setting).schedule.total_steps == experiment.setting.steps
    for scale in SMALLER:
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
    for scale in SMALLER:
        small = scaled(own, scale)
        assert small.lr_factor * small.weight_decay == pytest.approx(own.weight_decay)
        if own.optimizer.startswith("caffe-") and scale != "rates":
            assert small.batch_size / own.batch_size == pytest.approx(small.lr_factor, rel=0.15)
        assert (small.momentum, small.optimizer) == (own.momentum, own.optimizer)


@pytest.mark.parametrize("experiment", [e for e in BUILT if e.setting.data.startswith("cifar")], ids=lambda e: e.name)
def test_scale_epochs_keeps_the_passes_over_the_data(experiment: Experiment) -> None:
    def passes(setting: Setting) -> float:
        return setting.steps * setting.batch_size / (setting.train_samples or 50_000)

    own, small = experiment.setting, scaled(experiment.setting, "epochs")
    if small.steps == round(EPOCHS.steps * own.steps):  # not the least number of them
        assert passes(small) == pytest.approx(passes(own), rel=0.02)


@pytest.mark.parametrize("experiment", [e for e in BUILT if e.setting.data.startswith("cifar")], ids=lambda e: e.name)
def test_scale_deep_is_short_with_the_networks_as_they_are(experiment: Experiment) -> None:
    own, short, deep = experiment.setting, scaled(experiment.setting, "short"), scaled(experiment.setting, "deep")
    assert (deep.model, deep.model_options) == (own.model, own.model_options)
    assert deep == short.replace(model=own.model, model_options=own.model_options)


@pytest.mark.parametrize("experiment", [e for e in BUILT if e.setting.data.startswith("cifar")], ids=lambda e: e.name)
def test_scale_rates_is_short_with_the_learning_rates_as_they_are(experiment: Experiment) -> None:
    own, short, rates = experiment.setting, scaled(experiment.setting, "short"), scaled(experiment.setting, "rates")
    assert (rates.lr_factor, rates.weight_decay) == (1.0, own.weight_decay)
    assert rates == short.replace(lr_factor=1.0, weight_decay=own.weight_decay)


@pytest.mark.parametrize("name", sorted({e.setting.model for e in BUILT}))
def test_networks_of_every_scale_can_be_built(name: str) -> None:
    for experiment in BUILT:
        if experiment.setting.model == name:
            for scale in SMALLER:
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
    log = curve(headline.curves[0])
    assert log.iteration[-1] == 10_000
    assert log.test_accuracy[-1] == pytest.approx(headline.log, abs=1e-3)
    assert max(lr for lr in log.lr if lr is not None) == pytest.approx(3.0, abs=0.1)
    with pytest.raises(ValueError, match="no reference numbers"):
        reference("fig99")
    with pytest.raises(ValueError, match="no curve"):
        curve("fig99")


@pytest.mark.parametrize("key", [key for key in keys() if reference(key).curves])
def test_curves_end_where_the_logs_do(key: str) -> None:
    log = curve(reference(key).curves[0])
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
    with pytest.raises(ValueError, match="either equal or has a sign"):
        Effect("b", "c", equal=True)
