"""Every public entry point with values that it cannot take: a ValueError or TypeError that says so, nothing else."""

import atexit
import functools
import inspect
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from damage import clear
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import superconv as sc
from superconv.data import Batches, Preparation, load
from superconv.experiments.config import Arm
from superconv.experiments.contenders import Interval
from superconv.experiments.tuning import Budget
from superconv.models import build_model
from superconv.schedules import parse_schedule

BAD = [
    None, 0, -1, 1, 2, 3, 0.5, float("inf"), float("nan"), -0.0, "x", "", True, [], {}, [1, 2], np.int64(3), object(),
    torch.tensor(0.1), "cuda:99", "bf16", "linear", b"x", 1j, lambda *values: None,
]  # fmt: skip
HUGE = [2**70, 10**400, 1e308, 1e-300]
BATCHES = [(torch.randn(6, 3), torch.randint(2, (6,))) for _ in range(2)]
SAMPLES = (torch.randn(20, 3), torch.randint(2, (20,)))
RATES = np.geomspace(1e-3, 1, 20)

quick = settings(max_examples=30, suppress_health_check=list(HealthCheck), derandomize=True)


def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def range_test(**options: Any) -> None:
    model, optimizer = make()
    sc.lr_range_test(model, optimizer, F.cross_entropy, BATCHES, **options)


def train(**arguments: Any) -> None:
    model, optimizer = make()
    if isinstance(given := arguments.get("model"), torch.nn.Module):
        optimizer = torch.optim.SGD(given.parameters(), lr=0.1)  # of that one, or it would get no gradients
    sc.train(**{"model": model, "optimizer": optimizer, **arguments})


def range_test_of(**arrays: Any) -> None:
    ramp = sc.RangeTest.from_arrays(**arrays)
    ramp.suggest()
    ramp.verdict()
    ramp.plot()


def task(**parts: Any) -> None:
    sc.Task(**parts).build_model(0)


def optimizer(name: Any, model: Any, **options: Any) -> None:
    sc.build_optimizer(name, model, **options)


def state(model: Any, optimizer: Any, batches: Any) -> None:
    sc.TrainState(model, optimizer, batches).state_dict()


def steps(**options: Any) -> None:
    model, optimizer = make()
    for _ in sc.train_steps(model, optimizer, F.cross_entropy, BATCHES, **options):
        pass


def scheduler(**arguments: Any) -> None:
    _, optimizer = make()
    if arguments["optimizer"] == "its own":
        arguments["optimizer"] = optimizer
    sc.ScheduleLR(**arguments).step()


def kept(thing: Any, keep_copy_on: Any) -> None:
    with sc.preserved(make()[0] if thing == "a model" else thing, keep_copy_on=keep_copy_on):
        pass


def searched(search: Callable[..., Any], arguments: dict[str, Any]) -> None:
    if arguments.get("root") == "a new one":
        with tempfile.TemporaryDirectory() as root:
            search(**{**arguments, "root": root})
    else:
        search(**arguments)


def monitor(**arguments: Any) -> None:
    model, optimizer = make()
    if arguments["model"] == "its own":
        arguments["model"] = model
    with sc.LRMonitor(optimizer=optimizer, **arguments):
        model(BATCHES[0][0]).sum().backward()
        optimizer.step()


def batches(**arguments: Any) -> None:
    made = Batches(**arguments)
    next(iter(made))
    made.state_dict()


def loaded(name: Any, data_dir: Any, **options: Any) -> None:
    splits = load(name, data_dir, **options)
    next(iter(Batches(splits.train, 2)))


def prepared(make: Callable[..., Preparation], arguments: dict[str, Any]) -> None:
    make(**arguments)(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))


@functools.cache
def folder() -> str:
    """A folder of a few pictures, which goes with the process."""
    root = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, root)
    for part in ("train", "val"):
        for kind in ("a", "b"):
            os.makedirs(f"{root}/{part}/{kind}")
            for index in range(3):
                Image.new("RGB", (6, 5), (index, 9, 9)).save(f"{root}/{part}/{kind}/{index}.png")
    return root


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


PARTS = sc.Splits(SAMPLES, SAMPLES, SAMPLES, 2)
TASK = sc.Task("t", lambda: make()[0], PARTS)
ARM2 = sc.Contender("cosine", "cosine:max_lr={lr}", {"lr": Interval(0.01, 1.0)}, batch_size=4)
LENGTHS = {10: {0: 0.5, 1: 0.52, 2: 0.51}, 20: {0: 0.6, 1: 0.63, 2: 0.61}}
ARM = sc.Contender("constant", "constant:lr={lr}", {"lr": Interval(0.01, 1.0)}, batch_size=4)
CASES: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "lr_range_test": (
        range_test,
        {**defaults(sc.lr_range_test), "end_lr": 1.0, "total_steps": 4, "eval_batches": BATCHES},
    ),
    "train": (
        train,
        {
            "model": make()[0], "loss_fn": F.cross_entropy, "batches": BATCHES, "schedule": sc.constant(2, lr=0.1),
            "accumulation_steps": 1, "precision": "fp32", "clip_grad_norm": None, "eval_batches": BATCHES,
            "evaluate_every": 1,
        },
    ),
    "RangeTest": (
        range_test_of,
        {**defaults(sc.RangeTest.from_arrays), "lr": RATES, "train_loss": 2 - RATES, "eval_accuracy": 0.5 * RATES,
         "chance": 0.1, "eval_samples": 100},
    ),
    "Splits": (sc.Splits, {"train": SAMPLES, "validation": SAMPLES, "test": SAMPLES, "num_classes": 2}),
    "Task": (
        task,
        {"name": "t", "model": lambda: make()[0], "data": PARTS, "loss": F.cross_entropy, "metric": "accuracy",
         "higher_is_better": True, "split": None},
    ),
    "Arm": (Arm, {**defaults(Arm), "name": "a", "schedule": sc.constant(5, lr=0.1), "optimizer_options": {}}),
    "build_optimizer": (optimizer, {"name": "sgd", "model": make()[0], "lr": 0.1, "momentum": 0.9}),
    "build_model": (build_model, {**defaults(build_model), "name": "lenet"}),
    "TrainState": (state, {"model": make()[0], "optimizer": make()[1], "batches": BATCHES}),
    "evaluate": (
        sc.evaluate,
        {"model": make()[0], "batches": BATCHES, "loss_fn": F.cross_entropy, "evaluate_with": "batch"},
    ),
    "train_steps": (
        steps,
        {"schedule": sc.constant(2, lr=0.1), "accumulation_steps": 1, "precision": "fp32", "clip_grad_norm": 1.0,
         "eval_batches": BATCHES, "evaluate_every": 1, "evaluate_with": "running", "metric": "accuracy", "split": None,
         "state": None, "cycle_momentum": None, "group_scales": [1.0]},
    ),
    "ScheduleLR": (
        scheduler,
        {"optimizer": "its own", "schedule": sc.constant(2, lr=0.1), "cycle_momentum": None, "group_scales": [1.0]},
    ),
    "Schedule": (sc.Schedule, {"total_steps": 5, "curves": {"lr": 0.1}}),
    "preserved": (kept, {"thing": "a model", "keep_copy_on": None}),
    "Contender": (
        sc.Contender,
        {"name": "a", "schedule": "constant:lr={lr}", "space": ARM.space, "fixed": {}, "optimizer": "sgd",
         "optimizer_options": {}, "batch_size": 4, "evaluate_with": "running", "common": False},
    ),
    "paired_difference": (
        sc.paired_difference,
        {"treatment": LENGTHS[20], "baseline": LENGTHS[10], "confidence": 0.95, "higher_is_better": True},
    ),
    "speed_up": (
        sc.speed_up,
        {"treatment": LENGTHS, "baseline": LENGTHS, "target": None, "margin": 1.1, "confidence": 0.95,
         "higher_is_better": True, "resamples": 100, "seed": 0},
    ),
    "compare": (
        lambda **given: searched(sc.compare, given),
        {"task": TASK, "contenders": [ARM, ARM2], "steps": 2, "ladder": (1,), "seeds": 1,
         "budget": Budget(1, 1, 1), "treatment": None, "margin": None, "root": "a new one", "experiment": "c",
         "device": "cpu", "workers": 1},
    ),
    "find": (
        lambda **given: searched(sc.find, given),
        {**defaults(sc.find), "task": TASK, "steps": 300, "budget": 140, "batch_size": 4, "device": "cpu",
         "root": "a new one"},
    ),
    "LRMonitor": (
        monitor,
        {**defaults(sc.LRMonitor.__init__), "model": "its own", "loss_fn": F.cross_entropy,
         "probe_batches": 8 * BATCHES, "every": 1},
    ),
    "Batches": (batches, {**defaults(Batches.__init__), "data": SAMPLES, "batch_size": 4}),
    "load": (
        loaded,
        {"name": f"folder:{folder()}", "data_dir": None, "image_size": 4, "streaming": True, "crop_scale": (0.5, 1.0),
         "corrupt": "refuse", "workers": 1},
    ),
    "Preparation.scaled": (
        lambda **given: prepared(Preparation.scaled, given), {"factor": 0.5, "mirror": True, "crop_padding": 1}
    ),
    "Preparation.per_channel": (
        lambda **given: prepared(Preparation.per_channel, given),
        {"mean": [0.1] * 3, "std": [0.2] * 3, "mirror": True, "crop_padding": 1},
    ),
    "suggest": (sc.suggest, {"ramps": [sc.RangeTest.from_arrays(lr=RATES, train_loss=2 - RATES)], "rule": None}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs go to a folder of their own: "x" is a bad value to some arguments and a folder's name to others."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CASES)
@quick
@given(data=st.data())
def test_bad_values_are_named(name: str, data: st.DataObject) -> None:
    call, good = CASES[name]
    keys = data.draw(st.lists(st.sampled_from(list(good)), min_size=1, max_size=2, unique=True))
    values = {**good, **{key: data.draw(st.sampled_from(BAD)) for key in keys}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clear(lambda: call(**values), ValueError, TypeError, ImportError)


@pytest.mark.parametrize("name", CASES)
def test_the_good_values_are_good(name: str) -> None:
    call, good = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(**good)


POLICIES = ("one_cycle", "triangular", "piecewise_constant", "lr_ramp", "cosine", "warmup_stable_decay", "constant")


@pytest.mark.parametrize("name", POLICIES)
@settings(quick, max_examples=120)
@given(data=st.data())
def test_policies(name: str, data: st.DataObject) -> None:
    policy = getattr(sc, name)
    odd = st.sampled_from([*BAD, *HUGE])
    arguments = {}
    for key, parameter in list(inspect.signature(policy).parameters.items())[1:]:
        if parameter.default is parameter.empty or data.draw(st.booleans()):
            arguments[key] = data.draw(st.sampled_from([1, 2, 0.1, 5]) | odd)

    def use() -> None:
        schedule = policy(data.draw(st.sampled_from([1, 2, 50]) | odd), **arguments)
        for step in (0, 1, schedule.total_steps - 1, 10**9):
            assert all(np.isfinite(value) and value >= 0 for value in schedule(step).values())

    clear(use, ValueError, TypeError)


@settings(quick, max_examples=200)
@given(
    st.sampled_from(POLICIES), st.lists(st.tuples(st.sampled_from(["max_lr", "lr", "initial_lr", "base_lr", "end_lr",
    "start_lr", "step_size", "milestones", "warmup_steps", "decay_steps", "shape", "x"]), st.sampled_from(["1", "0.1",
    "-1", "1e400", "nan", "inf", "", "x", "None", "5%", "300%", "1+2", "٣", "1_0", "0x1", "9" * 400])), max_size=4),
    st.sampled_from([1, 2, 50]),
)  # fmt: skip
def test_schedules_in_a_line(policy: str, items: list[tuple[str, str]], total_steps: int) -> None:
    line = f"{policy}:" + ",".join(f"{key}={value}" for key, value in items)
    clear(lambda: parse_schedule(line, total_steps)(0), ValueError)


@settings(quick, max_examples=200)
@given(st.text(max_size=40))
def test_any_line(line: str) -> None:
    clear(lambda: parse_schedule(line, 50), ValueError)


@settings(quick, max_examples=150)
@given(*(st.sampled_from([1, 2, 0.5, *BAD, *HUGE]) for _ in range(3)))
def test_total_steps(epochs: Any, samples: Any, batch_size: Any) -> None:
    clear(lambda: sc.total_steps(epochs, samples, batch_size), ValueError, TypeError)
