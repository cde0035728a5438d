"""Two ranks that share the parameters out between them (FSDP's `fully_shard`), beside one process with all of them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import call_on_ranks
from torch import nn

import superconv as sc
from superconv.restore.copies import Copies
from superconv.restore.preserve import preserved
from superconv.restore.sharded import is_sharded, reshard, shard, whole
from superconv.restore.tensors import tensor_restore
from superconv.training.checkpoint import TrainState

Batch = tuple[torch.Tensor, torch.Tensor]

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")


def make_model(world: int) -> nn.Module:
    """Sizes that two ranks do not divide; the first layer's weight is scale-invariant."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 33, bias=False), nn.LayerNorm(33, eps=0), nn.ReLU(), nn.Linear(33, 3))
    if world > 1:
        from torch.distributed.fsdp import fully_shard

        mesh = dist.init_device_mesh("cpu", (world,))
        fully_shard(model[0], mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model


def make_batches(rank: int, world: int) -> list[Batch]:
    """This rank's share of six batches of 16 samples."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(96, 6, generator=generator)
    targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
    parts = [(x.chunk(world)[rank], y.chunk(world)[rank]) for x, y in zip(inputs.split(16), targets.split(16))]  # noqa: B905
    return parts


def make(rank: int, world: int) -> tuple[nn.Module, torch.optim.Optimizer, list[Batch]]:
    model = make_model(world)
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), make_batches(rank, world)


def update(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()


def averages(rank: int, world: int) -> bool:
    """Whether FSDP's gradients are means over the ranks, without anything of ours."""
    gradients = []
    for model in (make_model(world), make_model(1)):
        F.cross_entropy(model(torch.ones(2, 6)), torch.tensor([0, 1])).backward()
        gradients.append(whole(model[3].bias.grad))
    return bool(torch.allclose(*gradients))


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where torch adds gradients up over gloo (its issue 162338; in 2.7, not in 2.13)."""
    if not all(call_on_ranks(tmp_path_factory.mktemp("probe") / "meeting", averages)):
        pytest.skip(f"FSDP of torch {torch.__version__} adds gradients up over gloo")


def content(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """Parameters and momentum buffers, whole."""
    parameters = list(model.parameters())
    buffers = [state["momentum_buffer"] for parameter in parameters if (state := optimizer.state.get(parameter))]
    return [whole(tensor.detach()).clone() for tensor in (*parameters, *buffers)]


def trained(rank: int, world: int) -> tuple[list[float], list[Any], list[float], list[torch.Tensor]]:
    model, optimizer, batches = make(rank, world)
    schedule = sc.one_cycle(12, max_lr=0.2)
    options: dict[str, Any] = {"accumulation_steps": 2, "clip_grad_norm": 1.0, "evaluate_every": 4}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="this process group")  # these ranks do train together
        records = list(
            sc.train_steps(model, optimizer, F.cross_entropy, batches, schedule, eval_batches=batches, **options)
        )
    assert not any(is_sharded(record.grad_norm) for record in records)
    losses, norms = [float(record.loss) for record in records], [float(record.grad_norm) for record in records]
    evaluations = [(e.metric, e.samples) for record in records if (e := record.evaluation) is not None]
    return losses, evaluations, norms, content(model, optimizer)


@pytest.mark.usefixtures("averaged")
def test_a_training_is_that_of_one_process(tmp_path: Path) -> None:
    losses, evaluations, norms, after = trained(0, 1)
    for others, other_evaluations, other_norms, other_after in call_on_ranks(tmp_path / "meeting", trained):
        assert others == pytest.approx(losses, rel=1e-5)
        assert other_norms == pytest.approx(norms, rel=1e-5)
        assert other_evaluations == evaluations
        for one, other in zip(after, other_after, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def range_tested(rank: int, world: int, keep_copy_on: str | None) -> tuple[sc.RangeTest, float]:
    """A test in the middle of a training, right behind a pass that was only forward: does it leave traces?"""
    model, optimizer, batches = make(rank, world)
    update(model, optimizer, batches[0])
    with torch.no_grad():
        model(batches[0][0])
    unmeasured, other, _ = make(rank, world)
    update(unmeasured, other, batches[0])
    options: dict[str, Any] = {"total_steps": 30, "forks": 2, "eval_batches": batches, "keep_copy_on": keep_copy_on}
    found = sc.lr_range_test(model, optimizer, F.cross_entropy, batches, **options)
    for trained_on in (0, 1):  # as it was, and goes on as it would have gone
        pairs = zip(content(model, optimizer), content(unmeasured, other), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), trained_on
        update(model, optimizer, batches[1])
        update(unmeasured, other, batches[1])
    with torch.no_grad():
        loss = F.cross_entropy(model(batches[2][0]), batches[2][1])
        assert torch.equal(loss, F.cross_entropy(unmeasured(batches[2][0]), batches[2][1]))
    return found, float(found.weight_norm[0])


@pytest.mark.usefixtures("averaged")
@pytest.mark.parametrize("keep_copy_on", [None, "disk"])
def test_a_range_test_is_that_of_one_process_and_leaves_no_trace(tmp_path: Path, keep_copy_on: str | None) -> None:
    own, weight_norm = range_tested(0, 1, keep_copy_on)
    assert weight_norm > 0
    for found, other_norm in call_on_ranks(tmp_path / "meeting", range_tested, keep_copy_on):
        assert other_norm == pytest.approx(weight_norm, rel=1e-6)
        assert found.lr.tolist() == pytest.approx(own.lr.tolist(), rel=1e-4)
        assert found.train_loss.tolist() == pytest.approx(own.train_loss.tolist(), rel=1e-3)
        assert [fork.metric for fork in found.forks] == pytest.approx([fork.metric for fork in own.forks], abs=0.02)


class OfThisRank(Copies):
    """Takes no sharded tensors, which would need the other ranks, and their devices, again when they are read."""

    def keep(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        assert not is_sharded(tensor)
        return super().keep(tensor)


def looked_at(rank: int, world: int, folder: Path) -> None:
    model, optimizer, batches = make(rank, world)
    before = sc.evaluate(model, batches, F.cross_entropy).loss
    with torch.no_grad():
        for parameter in model.parameters():
            assert is_sharded(parameter)
            shard(parameter).mul_(2)
    changed = sc.evaluate(model, batches, F.cross_entropy).loss
    assert changed != before  # no whole parameters were kept

    with preserved(model), torch.no_grad():
        for parameter in model.parameters():
            shard(parameter).mul_(2)
        model(batches[0][0])
    assert sc.evaluate(model, batches, F.cross_entropy).loss == changed
    tensor_restore(next(model.parameters()), OfThisRank(None))

    schedule, state = sc.one_cycle(10, max_lr=0.2), TrainState(model, optimizer, batches)
    for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, schedule, state=state):
        if record.step == 4:
            state.save(folder / f"{rank}.pt")
    resumed, other, again = make(rank, world)
    state = TrainState(resumed, other, again)
    state.load(folder / f"{rank}.pt")
    sc.train(resumed, other, F.cross_entropy, again, schedule, state=state)
    pairs = zip(content(model, optimizer), content(resumed, other), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)

    with pytest.raises(ValueError, match=r"LRMonitor needs whole parameters .* 0.weight is sharded"):
        sc.LRMonitor(model, optimizer)
    assert shard(batches[0][0]) is batches[0][0]
    reshard(model)  # nothing is gathered: nothing happens


def test_evaluations_checkpoints_and_the_refusal_of_curvature(tmp_path: Path) -> None:
    call_on_ranks(tmp_path / "meeting", looked_at, tmp_path)
