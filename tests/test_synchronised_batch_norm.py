"""BatchNorm over ranks equals BatchNorm of the joined batch: outputs, gradients, running statistics."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ranks import call_on_ranks
from torch import nn

from superconv.models import NormalisedBatchNorm1d, NormalisedBatchNorm2d
from superconv.models.synchronised import SynchronisedBatchNorm, synchronise_batch_norm

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")

LAYERS: dict[str, Any] = {
    "torch's, of pictures": (lambda: nn.BatchNorm2d(3), (3, 4, 4)),
    "torch's, without affine parameters": (lambda: nn.BatchNorm1d(3, affine=False), (3,)),
    "torch's, plain mean over batches": (lambda: nn.BatchNorm1d(3, momentum=None), (3,)),
    "torch's, without running statistics": (lambda: nn.BatchNorm1d(3, track_running_stats=False), (3,)),
    "ours, of pictures": (lambda: NormalisedBatchNorm2d(3), (3, 4, 4)),
    "ours, of features": (lambda: NormalisedBatchNorm1d(3), (3,)),
}
SIZES = (5, 3)  # samples of the ranks


def train_on(rank: int, world: int, name: str, channels_last: bool) -> dict[str, Any]:
    """Three batches through a layer with random weights, and the gradients of a loss that is not symmetric."""
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    model = nn.Sequential(make()).double()
    if world > 1:
        synchronise_batch_norm(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    found: dict[str, Any] = {"outputs": [], "grads": []}
    for _ in range(3):
        inputs = 100.0 + torch.randn(sum(SIZES), *shape, dtype=torch.double)  # a mean that sums of squares drown in
        weights = torch.randn(sum(SIZES), *shape, dtype=torch.double)
        mine = slice(None) if world == 1 else [slice(0, SIZES[0]), slice(SIZES[0], None)][rank]
        own = inputs[mine].clone()
        own = own.contiguous(memory_format=torch.channels_last) if channels_last and own.ndim == 4 else own
        own.requires_grad_()
        outputs = model(own)
        (outputs * weights[mine]).pow(2).sum().backward()
        found["outputs"].append(outputs.detach().contiguous())
        assert own.grad is not None
        found["grads"].append(own.grad.contiguous())
    found["parameters"] = [parameter.grad for parameter in model.parameters()]
    found["state"] = model.state_dict()
    found["evaluated"] = model.eval()(inputs[:2]).detach()
    return found


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_two_ranks_are_the_joined_batch(tmp_path: Path, name: str, channels_last: bool) -> None:
    first, second = call_on_ranks(tmp_path / "meeting", train_on, name, channels_last)
    alone = train_on(0, 1, name, channels_last)
    close = partial(torch.allclose, rtol=1e-7, atol=1e-9)
    for part in ("outputs", "grads"):
        for ours, theirs, expected in zip(first[part], second[part], alone[part], strict=True):
            assert close(torch.cat([ours, theirs]), expected), part
    for ours, theirs, expected in zip(first["parameters"], second["parameters"], alone["parameters"], strict=True):
        assert close(ours + theirs, expected)  # a rank has the part of its own samples
    assert list(first["state"]) == list(alone["state"])
    for key, expected in alone["state"].items():
        assert close(first["state"][key].double(), expected.double()), key
        assert torch.equal(first["state"][key], second["state"][key]), key
    assert close(first["evaluated"], alone["evaluated"])


def test_in_one_process_nothing_changes() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(NormalisedBatchNorm2d(4)))
    inputs = torch.randn(5, 3, 6, 6)
    expected, before = model(inputs), {key: value.clone() for key, value in model.state_dict().items()}
    for layer in model.modules():
        if hasattr(layer, "reset_running_stats"):
            layer.reset_running_stats()
    parameters = dict(model.named_parameters())
    assert synchronise_batch_norm(model) is model
    assert isinstance(model[1], SynchronisedBatchNorm)
    assert all(parameters[name] is value for name, value in model.named_parameters())
    assert torch.equal(model(inputs), expected)
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert isinstance(synchronise_batch_norm(nn.BatchNorm1d(2).eval()), SynchronisedBatchNorm)
    assert not synchronise_batch_norm(nn.BatchNorm1d(2).eval()).training


def single_value(rank: int, world: int) -> str:
    model = synchronise_batch_norm(nn.BatchNorm1d(2))
    try:
        model(torch.randn(1 - rank, 2))
    except ValueError as error:
        return str(error)
    return ""


def test_a_single_value_is_refused_on_all(tmp_path: Path) -> None:
    answers = call_on_ranks(tmp_path / "meeting", single_value)
    assert answers == ["BatchNorm needs more than one value a channel, over all ranks; use a larger batch"] * 2
