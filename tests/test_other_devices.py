"""Training and measuring where tensors do not lie on the CPU, and where a device knows no float64 (Apple's GPUs)."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pretended_device import Elsewhere, pretended
from program import Run
from torch import nn

import superconv as sc
from superconv.double import double, widest
from superconv.experiments.device import device_settings
from superconv.experiments.stopping import StopSignal
from superconv.measure.curvature.probe import probe
from superconv.records import History, StopReason
from superconv.runs import find_runs
from superconv.task.metrics import CLASSES_SECOND
from superconv.training.optimizers import build_optimizer

DEVICES = ["cpu", "cuda:0", "mps:0"]
ELSEWHERE = DEVICES[1:]


def batches(ignored: bool = False) -> list[tuple[torch.Tensor, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 1, 6, 6, generator=draw, device="cpu")
    targets = (inputs.mean((1, 2, 3)) > 0).long()
    if ignored:
        targets[::3] = -100
    return list(zip(inputs.split(8), targets.split(8), strict=True))


def network(device: str) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(48, 2)]
    return nn.Sequential(*layers).to(device)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def everywhere(measure: Callable[[str], Any], device: str) -> tuple[Any, int]:
    """What it gives on the device, and how often the host waited."""
    if device == "cpu":
        return measure(device), 0
    with pretended(device) as place:
        return measure(device), place.reads


@pytest.mark.parametrize("device", ELSEWHERE)
def test_the_pretended_device_complains_as_real_ones_do(device: str) -> None:
    with pretended(device) as place:
        here = torch.ones(3).to(device)
        assert isinstance(here, Elsewhere)
        assert here.device == torch.device(device) == torch.zeros(2, device=device).device
        with pytest.raises(RuntimeError, match="same device"):
            here + torch.ones(3)
        with pytest.raises(TypeError, match="numpy"):
            here.numpy()
        assert (here * torch.tensor(2.0)).sum().item() == 6.0
        assert place.reads == 1
        if place.has_double:
            assert here.double().dtype == torch.float64
        else:
            with pytest.raises(TypeError, match="float64"):
                here.double()


@pytest.mark.parametrize("device", DEVICES)
def test_double(device: str) -> None:
    def measure(device: str) -> tuple[Any, ...]:
        wide = double(torch.full((2,), 0.1, device=device, requires_grad=True))
        return wide.dtype, wide.requires_grad, wide.tolist(), widest(torch.device(device))

    dtype, requires_grad, values, best = everywhere(measure, device)[0]
    assert (dtype, requires_grad) == (torch.float64, False)
    assert values == [float(torch.tensor(0.1))] * 2
    assert best is (torch.float32 if device == "mps:0" else torch.float64)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "evaluated": {"eval_batches": batches(), "evaluate_every": 4},
    "reestimated": {"eval_batches": batches(), "evaluate_with": "reestimated"},
    "by loss": {"eval_batches": batches(), "metric": "loss"},
    "in parts, ignored labels": {"accumulation_steps": 2, "eval_batches": batches(ignored=True)},
    "clipped": {"clip_grad_norm": 1.0},
}


@pytest.mark.filterwarnings("ignore:.*frobenius_norm")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("device", ELSEWHERE)
def test_training_is_that_of_a_cpu(device: str, options: dict[str, Any]) -> None:
    def measure(device: str) -> History:
        model = network(device)
        data = batches("ignored labels" in options)
        return sc.train(model, sgd(model), F.cross_entropy, data, sc.one_cycle(8, max_lr=0.1), **options)

    history, _ = everywhere(measure, device)
    on_cpu = measure("cpu")
    assert history.loss == pytest.approx(on_cpu.loss, rel=1e-5)
    for (step, found), (its_step, its) in zip(history.evaluations, on_cpu.evaluations, strict=True):
        assert step == its_step
        assert (found.loss, found.metric) == pytest.approx((its.loss, its.metric), rel=1e-5)


def test_training_waits_for_a_gpu_only_to_read_its_losses_and_evaluations() -> None:
    def measure(device: str) -> int:
        model = network(device)
        options: dict[str, Any] = {"eval_batches": batches(), "evaluate_every": 4}
        sc.train(model, sgd(model), F.cross_entropy, batches(), sc.one_cycle(12, max_lr=0.1), **options)
        return 0

    assert everywhere(measure, "cuda:0")[1] == 1 + 3


@pytest.mark.parametrize("name", ["caffe-sgd", "caffe-nesterov", "adamw", "adadelta"])
@pytest.mark.parametrize("device", ELSEWHERE)
def test_optimizers_by_name(device: str, name: str) -> None:
    def measure(device: str) -> Any:
        model = network(device)
        optimizer = build_optimizer(name, model, lr=0.01, weight_decay=0.01, bias_lr_scale=2.0)
        schedule = sc.one_cycle(6, max_lr=0.1, max_momentum=None)
        return sc.train(model, optimizer, F.cross_entropy, batches(), schedule).loss

    assert everywhere(measure, device)[0] == pytest.approx(measure("cpu"), rel=1e-5)


@pytest.mark.filterwarnings("ignore:.*frobenius_norm")
@pytest.mark.parametrize("keep_copy_on", [None, "cpu", "disk"])
@pytest.mark.parametrize("device", ELSEWHERE)
def test_range_test_finds_the_same_and_restores(device: str, keep_copy_on: str | None) -> None:
    def measure(device: str) -> tuple[Any, bool]:
        model = network(device)
        optimizer = sgd(model)
        before = [value.cpu().clone() for value in model.state_dict().values()]
        test = sc.lr_range_test(
            model, optimizer, F.cross_entropy, batches(), total_steps=12, start_lr=1e-3, end_lr=10.0, forks=2,
            fork_steps=3, eval_batches=batches(), evaluate_every=2, keep_copy_on=keep_copy_on, seed=3,
        )  # fmt: skip
        after = [value.cpu() for value in model.state_dict().values()]
        same = all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
        return test, same and not optimizer.state

    found, restored = everywhere(measure, device)[0]
    on_cpu, _ = measure("cpu")
    assert restored
    assert found.lr == pytest.approx(on_cpu.lr)
    assert found.train_loss == pytest.approx(on_cpu.train_loss, rel=1e-4)
    assert found.weight_norm == pytest.approx(on_cpu.weight_norm, rel=1e-4, nan_ok=True)
    assert [fork.metric for fork in found.forks] == [fork.metric for fork in on_cpu.forks]


@pytest.mark.filterwarnings("ignore:.*frobenius_norm")
@pytest.mark.parametrize("device", ELSEWHERE)
def test_curvature(device: str) -> None:
    def measure(device: str) -> list[float]:
        model = network(device)
        before = {name: value.detach() * 0.9 for name, value in model.named_parameters()}
        first, second = batches()[:2]
        products = probe(model, F.cross_entropy, first, second, previous=before, method="exact")
        return [getattr(products, field.name) for field in fields(products)]

    assert everywhere(measure, device)[0] == pytest.approx(measure("cpu"), rel=1e-3)


@pytest.mark.parametrize("device", ELSEWHERE)
def test_monitor(device: str) -> None:
    def measure(device: str) -> str:
        model = network(device)
        optimizer = sgd(model)
        with sc.LRMonitor(model, optimizer, F.cross_entropy, batches() * 2, every=5) as monitor:
            sc.train(model, optimizer, F.cross_entropy, batches(), sc.one_cycle(12, max_lr=0.1))
        return str(monitor.latest)

    assert everywhere(measure, device)[0] == measure("cpu")


@pytest.mark.parametrize(("settings", "tf32"), [((), True), (("ieee",), False), (("ieee", "tf32"), True)])
def test_a_gpus_convolutions_may_have_another_precision_than_its_recurrent_layers(
    settings: tuple[str, ...], tf32: bool
) -> None:
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has one setting for all of cuDNN")
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    try:
        for precision in settings:
            convolutions.fp32_precision = precision
        assert device_settings(torch.device("cuda:0"))["tf32"] is tf32
    finally:
        convolutions.fp32_precision = before
    assert device_settings(torch.device("cpu")) == {}


@pytest.mark.parametrize("device", DEVICES)
def test_classes_that_come_last_are_named(device: str) -> None:
    def measure(device: str) -> None:
        class Places(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.scores = nn.Embedding(5, 4)

            def forward(self, tokens: torch.Tensor) -> torch.Tensor:
                return self.scores(tokens)

        tokens = torch.randint(0, 4, (6, 4), generator=torch.Generator().manual_seed(0))
        model = Places().to(device)

        def last(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

        with pytest.raises(ValueError, match=CLASSES_SECOND.split(":")[0]):
            sc.evaluate(model, [(tokens, tokens)], last)

    everywhere(measure, device)


@pytest.mark.parametrize("device", ELSEWHERE)
def test_program(run: Run, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    data = ("--data", "mnist5k", "--model", "lenet-slim-bn", "--mirror", "--crop-padding", "2")
    length = ("--schedule", "one_cycle:max_lr=0.1", "--steps", "4", "--batch-size", "16", "--statistics-of", "8")
    with pretended(device):
        code, out, _ = run("train", *data, *length, "--device", device)
    assert code == 0
    assert "validation" in out


@pytest.mark.parametrize("name", ["super-convergence/clr", "hessian-free/300-clr", "mnist/1cycle-12"])
def test_reproduction_goes_on_and_does_not_wait_for_every_update(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    command = ("reproduce", name, "--scale", "smoke", "--seeds", "1", "--quiet", "--device", "cuda:0")
    asked = []

    def stopping(signal: StopSignal) -> StopReason | None:
        asked.append(signal)
        return StopReason.time_limit if len(asked) > 12 else None

    with pretended("cuda:0"), monkeypatch.context() as patch:
        patch.setattr(StopSignal, "reason", stopping)
        assert run(*command)[0] == 1
    (unfinished,) = find_runs("runs")
    done = sum("lr" in row for row in unfinished.rows())
    assert 0 < done < 20
    with pretended("cuda:0") as place:
        assert run(*command)[0] == 0
    (finished,) = find_runs("runs")
    assert finished.state == "finished"
    assert finished.info["tf32"] is True
    assert sum("lr" in row for row in finished.rows()) == 20
    assert place.reads < 20 - done or "hessian" in name  # which reads an estimate after every update, at this scale


@pytest.mark.filterwarnings("ignore:.*frobenius_norm")
def test_torchs_default_device_may_be_another_one() -> None:
    """Everything is made on it where nothing is said; what is drawn is drawn on the CPU, alike on every device."""

    def measure(device: str) -> tuple[Any, ...]:
        inputs, targets = (torch.cat(parts).to(device) for parts in zip(*batches(), strict=True))
        preparation = sc.data.Preparation.identity(mirror=True, crop_padding=1)
        splits = sc.data.Splits((inputs, targets), None, (inputs, targets), 2, preparation=preparation)
        model = network(device)
        optimizer = sgd(model)
        drawn = sc.data.Batches(splits.train, 8, seed=0, preparation=splits.preparation, device=device)
        evaluated = sc.data.Batches.for_evaluation(splits.test, device=device)
        with sc.LRMonitor(model, optimizer, F.cross_entropy, batches() * 2, every=5, eigenvalues_every=5) as monitor:
            history = sc.train(
                model, optimizer, F.cross_entropy, drawn, sc.one_cycle(12, max_lr=0.1), eval_batches=evaluated
            )
        assert monitor.latest is not None
        return *history.loss, history.evaluations[-1][1].metric

    with pretended("cuda:0", by_default=True):
        found = measure("cuda:0")
    assert found == pytest.approx(measure("cpu"), rel=1e-5)
