"""Two ranks with different data under DistributedDataParallel: one curve, one stop, no hang, the joined batch."""

import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from ranks import call_on_ranks
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import superconv as sc
from superconv.data import Batches
from superconv.measure.chance import ChanceLevel
from superconv.runs import RunError
from superconv.training.distributed import (
    agree_on,
    any_rank,
    copy_from_first_rank,
    gather_from_ranks,
    inner_module,
    is_distributed,
    largest_over_ranks,
    mean_over_ranks,
    on_first_rank,
    over_ranks,
    share_of,
    sum_over_ranks,
    together,
)

Batch = tuple[torch.Tensor, torch.Tensor]

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="needs gloo")


def make_model(norm: bool = False, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(16) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(6, 16), middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def make_samples(samples: int = 96, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def batches_of(part: Batch, size: int) -> list[Batch]:
    return list(zip(part[0].split(size), part[1].split(size), strict=True))


def shared(size: int, rank: int, world: int) -> list[Batch]:
    """A rank's part of every global batch of `size` samples."""
    return [(x.chunk(world)[rank], y.chunk(world)[rank]) for x, y in batches_of(make_samples(), size)]


def wrapped(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model) if is_distributed() else model


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def weights(model: nn.Module) -> list[float]:
    return [x for p in model.parameters() for x in p.detach().flatten().tolist()]


# ---- the machinery --------------------------------------------------------------------------------------------------


@pytest.fixture
def on_two_ranks(tmp_path: Path) -> Any:
    """Call a function (rank, world, ...) in two processes that know each other: both answers."""
    return partial(call_on_ranks, tmp_path / "meeting")


# ---- the LR range test -----------------------------------------------------------------------------------------------


def ramp_on(rank: int, world: int, options: dict[str, Any], bad_rank: int | None = None) -> dict[str, Any]:
    """A range test on this rank's share of every batch, of which one rank's loss may blow up; then plain training."""
    model = wrapped(make_model())
    optimizer = sgd(model)
    train = shared(32, rank, world)
    inputs, targets = make_samples(41, seed=1)
    held_out = batches_of((inputs[rank::world], targets[rank::world]), 8)  # 21 and 20 samples: 3 and 3 batches

    def loss_fn(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = F.cross_entropy(outputs, labels)
        return loss * math.inf if rank == bad_rank and optimizer.param_groups[0]["lr"] > 0.1 else loss

    sc.train(model, optimizer, F.cross_entropy, train, sc.constant(2, lr=0.1))
    before = weights(model), optimizer.state_dict()["param_groups"]
    ramp = sc.lr_range_test(
        model, optimizer, loss_fn, train, eval_batches=held_out, **{"start_lr": 1e-3, "total_steps": 20, **options}
    )
    assert (weights(model), optimizer.state_dict()["param_groups"]) == before
    sc.train(model, optimizer, F.cross_entropy, train, sc.constant(3, lr=0.1))
    return {
        "lr": ramp.lr.tolist(),
        "loss": ramp.train_loss.tolist(),
        "metric": ramp.metric.tolist(),
        "eval_loss": ramp.eval_loss.tolist(),
        "forks": [(fork.step, fork.metric, fork.loss) for fork in ramp.forks],
        "stop": ramp.stop,
        "chance": ramp.chance,
        "samples": (ramp.eval_samples, ramp.settings["batch_size"]),
        "afterwards": weights(model),
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "ramp with forks": {"end_lr": 0.5, "forks": 3, "fork_steps": 4, "evaluate_every": 3},
    "scout and grid": {"reference_lr": "grid", "total_steps": 8},
    "accumulated": {"end_lr": 0.5, "accumulation_steps": 3},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_one_curve_on_both_ranks_which_is_that_of_the_joined_batch(on_two_ranks: Any, name: str) -> None:  # pitfall 18
    first, second = on_two_ranks(ramp_on, OPTIONS[name])
    assert repr(first) == repr(second)
    alone = ramp_on(0, 1, OPTIONS[name])
    assert (first["samples"], first["stop"], first["chance"]) == (alone["samples"], alone["stop"], alone["chance"])
    assert first["samples"][0] == 41
    assert len(first["lr"]) == len(alone["lr"]) > 5
    for key in ("lr", "loss", "eval_loss", "afterwards"):
        # without a range given, its ends come from the scout, whose losses carry the rounding far
        tolerance = 1e-5 if name != "scout and grid" or key == "afterwards" else 1e-3
        assert np.allclose(first[key], alone[key], atol=tolerance, equal_nan=True), key
    assert np.allclose(first["metric"], alone["metric"], atol=1 / 41 + 1e-9, equal_nan=True)
    for ours, expected in zip(first["forks"], alone["forks"], strict=True):
        assert ours[0] == expected[0]
        assert ours[2] == pytest.approx(expected[2], abs=1e-5)


@pytest.mark.parametrize("bad_rank", [0, 1])
@pytest.mark.parametrize("stop_when_diverged", [True, False])
def test_what_blows_up_on_one_rank_stops_both_at_the_same_step(
    on_two_ranks: Any, bad_rank: int, stop_when_diverged: bool
) -> None:
    options = {"end_lr": 1.0, "stop_when_diverged": stop_when_diverged}
    first, second = on_two_ranks(ramp_on, options, bad_rank)
    assert repr(first) == repr(second)
    assert first["stop"] is sc.StopReason.diverged
    assert 0.05 < first["lr"][-1] <= 0.1
    assert np.isfinite(first["loss"]).all()


# ---- training and evaluation -----------------------------------------------------------------------------------------


def train_on(rank: int, world: int, accumulation: int, clip: float | None) -> tuple[list[float], list[float], int, int]:
    model = wrapped(make_model())
    synchronised = []
    if world > 1:
        model.register_comm_hook(None, counting(synchronised))
    state = sc.TrainState(model, sgd(model), shared(32 // accumulation, rank, world))
    steps = sc.train_steps(
        model,
        state.optimizer,
        F.cross_entropy,
        state.source,
        sc.constant(6, lr=0.2),
        accumulation_steps=accumulation,
        clip_grad_norm=clip,
        state=state,
    )
    losses = [float(record.loss) for record in steps]
    return losses, weights(model), state.samples, len(synchronised)


def counting(calls: list[int]) -> Callable[..., Any]:
    def hook(state: object, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        calls.append(1)
        done = dist.all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True).get_future()
        return done.then(lambda future: future.value()[0])

    return hook


@pytest.mark.parametrize(("accumulation", "clip"), [(1, None), (4, 0.3)])
def test_accumulation_on_two_ranks_equals_the_joined_batch(
    on_two_ranks: Any, accumulation: int, clip: float | None
) -> None:  # pitfall 15
    (losses, final, samples, synchronised), second = on_two_ranks(train_on, accumulation, clip)
    assert (losses, final) == second[:2]
    alone = train_on(0, 1, 1, clip)
    assert np.allclose(losses, alone[0], atol=1e-5)
    assert np.allclose(final, alone[1], atol=1e-5)
    assert samples == alone[2] == 6 * 32
    assert synchronised == 6  # once an update, not once a micro-batch


IGNORED = -100


def uneven(batch: Batch, rank: int, world: int) -> Batch:
    """20 samples of 32 are the first rank's; in the second's share of the first batch no label counts."""
    inputs, targets = batch
    targets = torch.where(torch.arange(32) % 3 == 0, IGNORED, targets)
    if float(inputs[0, 0]) == float(make_samples()[0][0, 0]):
        targets[20:] = IGNORED
    cut = slice(None) if world == 1 else slice(0, 20) if rank == 0 else slice(20, 32)
    return inputs[cut], targets[cut]


def counted(batch: Batch) -> int:
    return int((batch[1] != IGNORED).sum())


def hidden_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """A mean over the labels that count, of which nobody can know."""
    return F.nll_loss(F.log_softmax(outputs, 1), targets, ignore_index=IGNORED)


def train_unevenly(rank: int, world: int, accumulation: int, how: str) -> tuple[list[float], list[float], int]:
    batches = [uneven(batch, rank, world) for batch in batches_of(make_samples(), 32)]
    if how == "samples":
        batches = [(inputs, targets.clamp(min=0)) for inputs, targets in batches]
    parts = [part for x, y in batches for part in zip(x.chunk(accumulation), y.chunk(accumulation), strict=True)]
    state = sc.TrainState(model := wrapped(make_model()), sgd(model), parts)
    steps = sc.train_steps(
        model,
        state.optimizer,
        (lambda outputs, targets: hidden_loss(outputs, targets)) if how == "count" else F.cross_entropy,
        state.source,
        sc.constant(6, lr=0.2),
        accumulation_steps=accumulation,
        count=counted if how == "count" else None,
        state=state,
    )
    return [float(record.loss) for record in steps], weights(model), state.samples


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("how", ["samples", "labels", "count"])
def test_ranks_with_different_numbers_equal_the_joined_batch(on_two_ranks: Any, accumulation: int, how: str) -> None:
    alone = train_unevenly(0, 1, 1, how)
    for losses, final, samples in on_two_ranks(train_unevenly, accumulation, how):
        assert np.allclose(losses, alone[0], atol=1e-5)
        assert np.allclose(final, alone[1], atol=1e-5)
        assert samples == alone[2] == 6 * 32


def own_batches(rank: int, world: int) -> list[float]:
    """The project's own batches share every global batch among the ranks."""
    model = wrapped(make_model())
    batches = Batches(make_samples(), 32 // world, seed=3, rank=rank, world_size=world)
    return list(sc.train(model, sgd(model), F.cross_entropy, batches, sc.constant(7, lr=0.2)).loss)


def test_our_own_batches_give_the_same_training_on_two_ranks(on_two_ranks: Any) -> None:
    first, second = on_two_ranks(own_batches)
    assert first == second
    assert np.allclose(first, own_batches(0, 1), atol=1e-5)


def evaluate_on(rank: int, world: int, how: str) -> list[tuple[float, float, int]]:
    """A rank with nothing at all, then with one batch of five; the forward pass in training has buffers to spread."""
    model = wrapped(make_model(norm=True, dropout=0.2))
    sc.train(model, sgd(model), F.cross_entropy, shared(32, rank, world), sc.constant(5, lr=0.2))
    buffers = [buffer.clone() for buffer in model.buffers()]
    inputs, targets = make_samples(45, seed=2)
    found = []
    for cut in (0, 9):
        mine = [slice(0, cut), slice(cut, 45)][rank] if world > 1 else slice(0, 45)
        batches = batches_of((inputs[mine], targets[mine]), 9) if len(inputs[mine]) else []
        training = shared(32, rank, world)
        measured = sc.evaluate(model, batches, F.cross_entropy, evaluate_with=how, training_batches=training)
        found.append((measured.loss, measured.metric, measured.samples))
    assert all(map(torch.equal, buffers, model.buffers()))
    return found


@pytest.mark.parametrize("how", ["running", "batch", "reestimated"])
def test_evaluation_is_that_of_all_ranks_samples_however_many_each_has(on_two_ranks: Any, how: str) -> None:
    first, second = on_two_ranks(evaluate_on, how)
    assert first == second
    assert [samples for _, _, samples in first] == [45, 45]
    assert first[0] == pytest.approx(first[1], rel=1e-6)  # whoever holds the samples, the statistics are the same


def run_dry(rank: int, world: int) -> tuple[list[float], sc.StopReason]:
    model = wrapped(make_model())
    batches = shared(32, rank, world)[: 3 - rank]  # rank 1 runs dry first
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an iterator, which cannot be restarted
        history = sc.train(model, sgd(model), F.cross_entropy, iter(batches), sc.constant(9, lr=0.1))
    return list(history.loss), history.stop


def test_an_iterator_that_runs_dry_on_one_rank_ends_the_training_on_both(on_two_ranks: Any) -> None:
    first, second = on_two_ranks(run_dry)
    assert first == second
    assert (len(first[0]), first[1]) == (2, sc.StopReason.batches_exhausted)


def restore_on(rank: int, world: int) -> bool:
    """`preserved` around training under DistributedDataParallel, left by an error: training on is as without it."""
    finals = []
    for disturbed in (False, True):
        model = wrapped(make_model(norm=True, dropout=0.3))
        optimizer, train = sgd(model), shared(32, rank, world)
        torch.manual_seed(rank)
        sc.train(model, optimizer, F.cross_entropy, train, sc.constant(3, lr=0.2))
        if disturbed:
            reverse = [*train[::-1], (torch.zeros(1, 1), torch.zeros(1).long())]  # the last one does not fit
            with pytest.raises(RuntimeError, match="shapes"), sc.preserved(model, optimizer):
                sc.train(model, optimizer, F.cross_entropy, reverse, sc.constant(9, lr=0.9))
        sc.train(model, optimizer, F.cross_entropy, train, sc.constant(3, lr=0.2))
        buffers = [x for b in model.buffers() for x in b.flatten().tolist()]
        finals.append((weights(model), buffers, torch.get_rng_state().tolist()))
    return finals[0] == finals[1]


def test_preserved_restores_every_rank(on_two_ranks: Any) -> None:
    assert on_two_ranks(restore_on) == [True, True]


def weight_norm_on(rank: int, world: int) -> list[float]:
    model = wrapped(make_model(norm=True))
    ramp = sc.lr_range_test(
        model, sgd(model), F.cross_entropy, shared(32, rank, world), start_lr=1e-3, end_lr=1.0, total_steps=10
    )
    first = float(inner_module(model)[0].weight.detach().norm())
    return [first, *ramp.weight_norm.tolist()]


def test_scale_invariant_weights_are_the_same_on_both_ranks(on_two_ranks: Any) -> None:
    first, second = on_two_ranks(weight_norm_on)
    assert first == second
    assert first[1] == pytest.approx(first[0], rel=1e-3)


# ---- ranks apart -----------------------------------------------------------------------------------------------------


def warned(rank: int, world: int, kind: str) -> list[tuple[str, str]]:
    """Messages and files of the warnings of a training and of a range test."""
    model = make_model()
    if kind != "forgotten":
        model = DistributedDataParallel(model)
    if kind == "inside another module":
        model = nn.Sequential(model, nn.Identity())
    train = shared(32, rank, world)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        sc.train(model, sgd(model), F.cross_entropy, train, sc.constant(2, lr=0.1))
        sc.lr_range_test(model, sgd(model), F.cross_entropy, train, start_lr=1e-3, end_lr=0.1, total_steps=3)
    return [(str(each.message), Path(each.filename).name) for each in caught]


@pytest.mark.parametrize("kind", ["forgotten", "wrapped", "inside another module"])
def test_a_forgotten_wrapper_is_said_once_at_the_users_line(on_two_ranks: Any, kind: str) -> None:
    for messages in on_two_ranks(warned, kind):
        if kind != "forgotten":
            assert messages == []
            continue
        assert [file for _, file in messages] == ["test_distributed.py"] * 2, "one a call"
        assert all("2 ranks" in text and "a network of its own" in text for text, _ in messages)


# ---- what ranks know together ----------------------------------------------------------------------------------------


def know(rank: int, world: int) -> dict[str, Any]:
    chance = ChanceLevel("accuracy", None)
    for targets in ([torch.tensor([0, 0, 0, 1])], [torch.tensor([5, 5, 5, 5]), torch.tensor([0, 0])])[rank]:
        chance(torch.randn(len(targets), 6), targets)
    nothing = ChanceLevel("accuracy", None)
    mean, count = mean_over_ranks(torch.tensor([2.0, 5.0][rank]), [3, 1][rank])
    copied = torch.tensor([float(rank + 7)])
    copy_from_first_rank([copied])
    return {
        "chance": (chance.level(), nothing.level()),
        "sum": sum_over_ranks(torch.tensor([1.0, rank])).tolist(),
        "mean": (float(mean), count),
        "any": [any_rank(flag, torch.device("cpu")) for flag in (rank == 1, False)],
        "gathered": gather_from_ranks(f"rank {rank} of {world}"),
        "copied": copied.tolist(),
    }


def test_sums_means_flags_and_chance_are_those_of_all_ranks(on_two_ranks: Any) -> None:
    first, second = on_two_ranks(know)
    assert first == second
    assert first == {
        "chance": (pytest.approx(5 / 10), None),
        "sum": [2.0, 1.0],
        "mean": (3.5, 4),
        "any": [True, False],
        "gathered": ["rank 0 of 2", "rank 1 of 2"],
        "copied": [7.0],
    }


def fail(rank: int, world: int, failing: int) -> list[str]:
    told = []

    def work() -> int:
        if rank == failing:
            raise RunError(f"of rank {rank}")
        return rank

    for how in (together, on_first_rank):
        try:
            told.append(str(how(work)))
        except RunError as error:
            told.append(f"{type(error).__name__}: {error}")
    try:
        agree_on({"same": 1, "size": rank}, "config")
    except ValueError as error:
        told.append(str(error))
    try:
        told.append(str([share_of(6), share_of(7)]))
    except ValueError as error:
        told.append(str(error))
    return [*told, str(largest_over_ranks(3 - rank))]


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_on_one_rank_is_one_on_all(on_two_ranks: Any, failing: int) -> None:
    first, second = on_two_ranks(fail, failing)
    assert first == second
    assert first[0] == f"RunError: of rank {failing}"
    assert first[1] == ("RunError: of rank 0" if failing == 0 else "0")
    assert first[2].startswith("rank 1 has another config than rank 0: size is 1 instead of 0")
    assert first[3] == "batch_size 7 is not divisible by the 2 ranks; use 6 or 8, or other ranks"
    assert first[4] == "3"


def test_in_one_process_they_are_the_identity() -> None:
    assert (together(lambda: 5), on_first_rank(lambda: 6), share_of(7), largest_over_ranks(2)) == (5, 6, 7, 2)
    assert over_ranks(module := nn.Linear(1, 1)) is module
    value = torch.tensor(2.0)
    assert not is_distributed()
    assert sum_over_ranks(value) is value
    assert mean_over_ranks(value, 3) == (value, 3)
    assert gather_from_ranks("x") == ["x"]
    assert (any_rank(True, value.device), any_rank(False, value.device)) == (True, False)
    copy_from_first_rank([value])
    assert inner_module(module := nn.Linear(1, 1)) is module


def test_a_compiled_module_inside_of_ddp_is_unwrapped_as_one_around_it_is() -> None:
    def in_ddp(module: nn.Module) -> nn.Module:  # without a process group, which its constructor needs
        wrapper = DistributedDataParallel.__new__(DistributedDataParallel)
        nn.Module.__init__(wrapper)
        wrapper.module = module
        return wrapper

    module = nn.Linear(1, 1)
    assert inner_module(torch.compile(in_ddp(module), backend="eager")) is module
    assert inner_module(in_ddp(torch.compile(module, backend="eager"))) is module
