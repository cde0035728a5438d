"""torch.compile: gradients of every network as without it, and layers that it differentiates wrongly are named."""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.data import Batches
from superconv.experiments.config import Arm
from superconv.experiments.runner import run_arm
from superconv.models import build_model, set_statistics_of
from superconv.training.compiled import compiled, wrongly_differentiated

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when its compiler is loaded
compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
POOLS = {
    "1d": (lambda **more: nn.AvgPool1d(3, 2, ceil_mode=True, **more), (2, 3, 8)),
    "2d": (lambda **more: nn.AvgPool2d(3, 2, ceil_mode=True, **more), (2, 3, 8, 8)),
}
NETWORKS = {
    "resnet8": {}, "bottleneck56": {"blocks": 1}, "resnext56": {"blocks": 1}, "wrn-32-4": {"blocks": 1, "widen": 1},
    "wide32": {"widths": (8, 8, 16), "blocks": (1, 1, 1)}, "densenet40": {"layers": 1, "dropout": 0.0},
    "cifar3": {}, "lenet": {},
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def gradients(forward: Callable[..., torch.Tensor], model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    F.cross_entropy(forward(images), torch.arange(len(images)) % 10).backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Norm of the difference over the whole gradient's norm: the largest of all parameters."""
    whole = torch.cat([gradient.flatten() for gradient in expected]).norm()
    return max(float((one - other).norm() / whole) for one, other in zip(found, expected, strict=True))


def test_pools_whose_windows_overhang_are_named() -> None:
    model = nn.Sequential(
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2),
        nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d(3, 2, ceil_mode=True, divisor_override=9),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Sequential(nn.AvgPool1d(3, 2, ceil_mode=True)),
    )
    assert wrongly_differentiated(model) == ["0", "5.0"]


@pytest.mark.parametrize("name", [name for name in sc.models.NAMES if not name.startswith("inception")])
def test_no_network_of_ours_has_one(name: str) -> None:
    with torch.device("meta"):
        assert wrongly_differentiated(build_model(name)) == []


def test_a_user_is_told_which_layers_and_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("superconv.training.compiled.torch_compile", lambda module, **options: module)
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(40, 1, 5, 5, generator=generator), torch.arange(40) % 2
    task = sc.Task(
        "images",
        lambda: nn.Sequential(nn.AvgPool2d(2, 2, ceil_mode=True), nn.Flatten(), nn.Linear(9, 2)),
        sc.Splits((images, labels), (images, labels), (images, labels), 2),
    )
    arm = Arm("a", sc.one_cycle(4, max_lr=0.1), batch_size=20, compile=True)
    with pytest.warns(UserWarning, match=r"pytorch issue 198119\): 0; give them count_include_pad=False"):
        run_arm(task, arm, 0, root=tmp_path, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(nn.Sequential(nn.AvgPool2d(2, 2)))


@pytest.mark.filterwarnings("ignore:Guards may run slower")  # torch's, of Python 3.13.0
def test_a_training_with_tests_of_another_size_is_compiled_once() -> None:
    graphs: list[list[Any]] = []

    def backend(graph: Any, examples: list[Any]) -> Any:
        graphs.append([size for example in examples for size in example.shape])
        return graph

    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(60, 3, 8, 8, generator=generator), torch.arange(60) % 2
    model = build_model("resnet8", 2, seed=0)
    forward = torch.compile(model, backend=backend, dynamic=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    batches, tests = Batches((images, labels), 20), Batches.for_evaluation((images, labels), batch_size=35)
    schedule = sc.constant(4, lr=0.01)
    steps = sc.train_steps(forward, optimizer, F.cross_entropy, batches, schedule, eval_batches=tests, evaluate_every=2)
    tested = [record.evaluation.metric for record in steps if record.evaluation is not None]
    assert len(tested) == 2
    assert len(graphs) == 1
    assert all(isinstance(size, int) for size in graphs[0]), "no size that varies"
    assert sc.evaluate(forward, tests, F.cross_entropy).metric == tested[-1]
    assert len(graphs) == 1


def test_a_claim_with_many_networks_stays_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    compiled(nn.Linear(2, 2))
    assert torch._dynamo.config.recompile_limit >= 64


@pytest.mark.slow
@compiler
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(NETWORKS))
def test_compiled_gradients_are_those_of_the_network_as_it_is(name: str) -> None:
    model = build_model(name, seed=0, **NETWORKS[name]).double().train()
    set_statistics_of(model, 4)
    side, channels = (28, 1) if name == "lenet" else (32, 3)
    images = torch.randn(8, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    other = copy.deepcopy(model)
    expected = gradients(model, model, images)
    assert difference(gradients(compiled(other), other, images), expected) < 1e-10


@pytest.mark.slow
@compiler
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dimensions", list(POOLS))
def test_the_fault_is_there_and_the_remedy_helps(dimensions: str) -> None:
    """When the first line fails, torch has mended it: then `wrongly_differentiated` can go."""
    make, shape = POOLS[dimensions]
    images = torch.randn(shape, dtype=torch.float64)

    def gradient(pool: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        given = images.clone().requires_grad_()
        pool(given).square().sum().backward()
        assert given.grad is not None
        return given.grad

    wrong, right = make(), make(count_include_pad=False)
    assert not torch.allclose(gradient(torch.compile(wrong)), gradient(wrong))
    torch.compiler.reset()
    assert torch.equal(right(images), wrong(images))
    assert torch.allclose(gradient(torch.compile(right)), gradient(wrong), rtol=1e-12)
