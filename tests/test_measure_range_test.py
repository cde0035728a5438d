"""lr_range_test on live models; the numbers are those of the list of pitfalls in other tools."""

import functools
import itertools
import math
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import superconv as sc
from superconv.analysis.repeats import joint_verdict
from superconv.analysis.scout import upper_end
from superconv.analysis.smoothing import ewma
from superconv.data import Batches, Data
from superconv.measure.divergence import CROSS_ENTROPY_FLOOR, FACTOR, DivergenceRule, floor_of

SEEDS = range(3)


def make_data(samples: int = 96) -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, 6, generator=generator)
    return TensorDataset(inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long())


def setup(name: str = "sgd") -> tuple[nn.Module, torch.optim.Optimizer, DataLoader]:
    torch.manual_seed(0)
    layers = [nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)]
    model = nn.Sequential(*layers)
    make = {"sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), "adam": lambda p: torch.optim.Adam(p, 1e-3)}[name]
    generator = torch.Generator().manual_seed(3)
    return model, make(model.parameters()), DataLoader(make_data(), batch_size=16, shuffle=True, generator=generator)


def eval_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs, targets = make_data().tensors
    return list(zip(inputs.split(40), targets.split(40), strict=True))


def train_on(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader, steps: int) -> list[float]:
    """A plain loop that draws from every random state, and all of the state that it leaves."""
    done = 0
    while done < steps:
        for inputs, targets in loader:
            optimizer.zero_grad()
            noise = random.random() + np.random.rand()
            (F.cross_entropy(model(inputs), targets) * (1 + noise)).backward()
            optimizer.step()
            done += 1
            if done == steps:
                break
    tensors = [*model.parameters(), *model.buffers()]
    tensors += [v for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)]
    return [x for t in tensors for x in t.detach().flatten().tolist()]


def seed_all() -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize(
    "options",
    [
        {"end_lr": 3.0, "total_steps": 9},
        {"forks": 3, "eval_batches": "yes", "seed": 5},
        {"shape": "linear", "end_lr": 50.0, "precision": "fp16", "evaluate_with": "reestimated", "eval_batches": "yes"},
    ],
)
def test_training_after_two_range_tests_is_training_alone(name: str, options: dict) -> None:  # 1, 2, 6, 12
    finals = []
    for tests in (0, 2):
        model, optimizer, loader = setup(name)
        seed_all()
        train_on(model, optimizer, loader, 4)  # in the middle of a training: warm buffers, a moved generator
        keys = [list(group) for group in optimizer.param_groups]
        hooks = len(optimizer._optimizer_step_post_hooks), len(optimizer._optimizer_step_pre_hooks)
        for _ in range(tests):
            given = {**options, **({"eval_batches": eval_batches()} if "eval_batches" in options else {})}
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*fp16.*")
                ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given)
            assert len(ramp.lr) > 3
        assert [list(group) for group in optimizer.param_groups] == keys
        assert (len(optimizer._optimizer_step_post_hooks), len(optimizer._optimizer_step_pre_hooks)) == hooks
        finals.append(train_on(model, optimizer, loader, 9))
    assert finals[0] == finals[1]


class Lookahead(torch.optim.Optimizer):
    """A wrapper whose momentum, slow weights and count stand in other places than its own state."""

    def __init__(self, base: torch.optim.Optimizer) -> None:
        self._base_optimizer, self.done = base, 0
        self.param_groups, self.defaults, self.state = base.param_groups, base.defaults, {}
        self.slow = [parameter.detach().clone() for parameter in base.param_groups[0]["params"]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._base_optimizer.zero_grad(set_to_none)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        self._base_optimizer.step(closure)
        self.done += 1
        if self.done % 5 == 0:
            for parameter, slow in zip(self.param_groups[0]["params"], self.slow, strict=True):
                parameter.copy_(slow.lerp_(parameter, 0.5))

    def state_dict(self) -> dict:
        return {"base": self._base_optimizer.state_dict(), "slow": self.slow, "done": self.done}


@pytest.mark.parametrize("forks", [0, 2])
def test_training_after_a_range_test_of_a_wrapped_optimizer_is_training_alone(forks: int) -> None:
    finals = []
    for tests in (0, 1):
        model, base, loader = setup()
        optimizer = Lookahead(base)
        seed_all()
        train_on(model, optimizer, loader, 8)
        for _ in range(tests):
            sc.lr_range_test(model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=12, forks=forks)
        assert optimizer.done == 8
        finals.append((train_on(model, optimizer, loader, 9), [each.tolist() for each in optimizer.slow]))
    assert finals[0] == finals[1]


class Fault(Exception):
    pass


@pytest.mark.parametrize("error", [Fault, KeyboardInterrupt, torch.OutOfMemoryError])
@pytest.mark.parametrize("at", [0, 3, 17, 40])
def test_an_error_at_any_step_restores_everything(error: type[BaseException], at: int) -> None:  # 3
    finals = []
    for broken in (False, True):
        model, optimizer, loader = setup()
        seed_all()
        train_on(model, optimizer, loader, 3)
        if broken:
            calls = iter(range(10**6))

            def loss(outputs: torch.Tensor, targets: torch.Tensor, calls=calls) -> torch.Tensor:
                if next(calls) == at:
                    raise error("injected")
                return F.cross_entropy(outputs, targets)

            with pytest.raises(error):
                sc.lr_range_test(model, optimizer, loss, loader, end_lr=1.0, total_steps=30, forks=3)
        finals.append(train_on(model, optimizer, loader, 3))
    assert finals[0] == finals[1]


@pytest.fixture
def terminal_interrupts() -> Iterator[None]:
    """Ctrl-C as a terminal delivers it: a shell ignores SIGINT in what it starts in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.031, 0.057])
@pytest.mark.usefixtures("terminal_interrupts")
def test_a_real_ctrl_c_at_a_random_moment_restores_everything(delay: float) -> None:  # 3
    model, optimizer, loader = setup()
    seed_all()
    train_on(model, optimizer, loader, 3)
    entered = threading.Event()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        entered.set()
        return F.cross_entropy(outputs, targets)

    def press() -> None:
        entered.wait()
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        sc.lr_range_test(model, optimizer, loss, loader, end_lr=1e-3, total_steps=10**6)
    presser.join()
    interrupted = train_on(model, optimizer, loader, 3)
    model, optimizer, loader = setup()
    seed_all()
    train_on(model, optimizer, loader, 3)
    assert train_on(model, optimizer, loader, 3) == interrupted


def test_scaler_and_gradients_come_back() -> None:  # 4, 5
    model, optimizer, loader = setup()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    model[4].weight.grad = torch.ones_like(model[4].weight)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    before = scaler.state_dict()
    with pytest.warns(UserWarning, match="fp16"):
        sc.lr_range_test(
            model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=20, precision="fp16", scaler=scaler
        )
    assert scaler.state_dict() == before
    assert model[4].weight.grad.unique().tolist() == [1.0]
    assert model[4].bias.grad is None
    assert not model[0].bias.requires_grad
    assert model.training
    assert not model[1].training


@pytest.mark.parametrize("shape", ["linear", "exponential"])
@pytest.mark.parametrize("steps", [2, 3, 50])
def test_recorded_rates_are_those_that_were_used(shape: str, steps: int) -> None:  # 7
    model, optimizer, loader = setup()
    used: list[float] = []
    step = optimizer.step

    def watched(*arguments: object) -> object:
        used.append(optimizer.param_groups[0]["lr"])
        return step(*arguments)

    optimizer.step = watched  # type: ignore[method-assign]
    ramp = sc.lr_range_test(
        model, optimizer, F.cross_entropy, loader, start_lr=1e-4, end_lr=0.5, total_steps=steps, shape=shape
    )
    assert used == list(ramp.lr)
    assert (used[0], used[-1], len(used)) == (1e-4, 0.5, steps)
    assert ramp.stop is sc.StopReason.completed


def test_train_loss_is_the_forward_pass_before_the_update() -> None:
    model, optimizer, _ = setup()
    model[3].p = 0.0
    batches = eval_batches()
    with torch.no_grad():
        expected = F.cross_entropy(model(batches[0][0]), batches[0][1]).item()
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, batches, start_lr=1e-6, end_lr=0.1, total_steps=5)
    assert ramp.train_loss[0] == pytest.approx(expected)


@pytest.mark.parametrize("stop", [True, False])
def test_a_loss_that_leapt_ends_the_ramp_or_does_not_as_asked(stop: bool) -> None:
    model, optimizer, loader = setup()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs, targets) + 100 * (optimizer.param_groups[0]["lr"] > 0.01)

    given = {"start_lr": 0.001, "end_lr": 0.1, "total_steps": 20, "stop_when_diverged": stop}
    ramp = sc.lr_range_test(model, optimizer, loss, loader, **given)
    assert (ramp.stop, len(ramp.lr)) == ((sc.StopReason.diverged, 11) if stop else (sc.StopReason.completed, 20))


@pytest.mark.filterwarnings("ignore:.*fp16")
def test_updates_that_the_scaler_skipped_are_counted_and_are_no_points() -> None:
    model, optimizer, loader = setup()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    ramp = sc.lr_range_test(
        model, optimizer, F.cross_entropy, loader, end_lr=0.1, total_steps=5, precision="fp16", scaler=scaler
    )
    assert len(np.unique(ramp.lr)) == len(ramp.lr) == 5 < ramp.settings["updates"]


def test_a_start_at_or_above_what_the_scout_found_is_refused() -> None:
    model, optimizer, loader = setup()
    end = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, total_steps=2, seed=0).settings["end_lr"]
    with pytest.raises(ValueError, match=r"is not below .*, where the scout saw training break down"):
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=end, seed=0)
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=0.9 * end, total_steps=2, seed=0)
    assert (ramp.lr[0], ramp.lr[-1]) == pytest.approx((0.9 * end, end))


def test_a_non_finite_loss_ends_the_ramp_and_is_not_in_it() -> None:  # 9
    model, optimizer, loader = setup()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        value = F.cross_entropy(outputs, targets)
        return value * math.nan if optimizer.param_groups[0]["lr"] > 0.1 else value

    ramp = sc.lr_range_test(
        model, optimizer, loss, loader, start_lr=0.001, end_lr=1.0, total_steps=40, stop_when_diverged=False
    )
    assert ramp.stop is sc.StopReason.diverged
    assert np.isfinite(ramp.train_loss).all()
    assert ramp.lr[-1] <= 0.1
    with pytest.raises(ValueError, match="not finite at the first step"):
        sc.lr_range_test(model, optimizer, lambda o, t: o.sum() * math.nan, loader)


def test_divergence_is_measured_from_the_start_not_from_the_best() -> None:  # 8b
    rule = DivergenceRule()
    falling_then_up = [2.3] * 10 + [0.05] * 50 + [0.05 * 3.9] * 50 + [2.0] * 50
    assert not any(rule.observe(loss) for loss in falling_then_up)
    assert any(rule.observe(loss) for loss in [2.3 * (FACTOR + 0.5)] * 40)
    assert DivergenceRule().observe(math.inf)
    below_zero = DivergenceRule()
    assert not any(below_zero.observe(loss) for loss in [-5.0] * 20 + [4.0] * 40)


@pytest.mark.parametrize("seed", range(20))
def test_noise_around_a_loss_near_zero_is_no_divergence(seed: int) -> None:
    rule, noise = DivergenceRule(), 0.05 * np.random.default_rng(seed).standard_normal(200)
    assert not any(rule.observe(loss) for loss in 0.01 + noise)
    assert any(rule.observe(loss) for loss in 3.0 + noise)


def test_the_floor_is_that_of_cross_entropy_and_moves_no_untrained_networks_ramp() -> None:
    for loss in (F.cross_entropy, nn.CrossEntropyLoss(), functools.partial(F.cross_entropy, label_smoothing=0.1)):
        assert floor_of(loss) == pytest.approx(math.log(2))
    assert floor_of(F.mse_loss) == -math.inf
    rising = np.concatenate([np.full(10, 0.002), np.full(60, 0.5), np.full(60, 1.0)])
    floored = DivergenceRule(CROSS_ENTROPY_FLOOR)
    stops = [next(i for i, loss in enumerate(rising) if rule.observe(loss)) for rule in (DivergenceRule(), floored)]
    assert stops[0] < 20 < 70 < stops[1]
    for seed in range(20):  # as it was decided before there were scatter and floor
        rng = np.random.default_rng(seed)
        losses = math.log(3) * np.exp(np.linspace(0, rng.uniform(0, 4), 60)) + 0.15 * rng.standard_normal(60)
        smoothed = ewma(losses, 0.9)
        rule = DivergenceRule(CROSS_ENTROPY_FLOOR)
        said = [rule.observe(loss) for loss in losses]
        assert said[5:] == list(smoothed[5:] - smoothed[4] > (FACTOR - 1) * smoothed[4])


def test_a_trained_network_is_not_stopped_while_it_still_knows_its_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, inputs = torch.randn(10, 3, generator=generator), torch.randn(20, 64, 10, generator=generator)
    batches = [(x, (x @ weight).argmax(1)) for x in inputs]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    sc.train(model, optimizer, F.cross_entropy, batches, sc.cosine(400, max_lr=0.5))
    given = {"start_lr": 1e-4, "end_lr": 100.0, "total_steps": 60, "eval_batches": batches}
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, batches, **given)
    smoothed = ewma(ramp.train_loss, 0.9)
    assert smoothed[4] < 0.05
    assert ramp.diverged
    assert smoothed[-1] > math.log(2)


def test_a_network_that_blows_up_stops_the_ramp() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, eval_batches(), start_lr=1e-3, end_lr=100.0)
    assert ramp.stop is sc.StopReason.diverged
    assert ramp.lr[-1] < 100.0


def test_nothing_is_measured_that_was_not_asked_for() -> None:  # 13
    model, optimizer, loader = setup()
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=10)
    assert np.isnan(ramp.metric).all()
    assert ramp.evaluate_with is None
    assert ramp.scout is None
    assert ramp.forks == ()
    ramp = sc.lr_range_test(
        model,
        optimizer,
        F.cross_entropy,
        loader,
        end_lr=1.0,
        total_steps=10,
        eval_batches=eval_batches(),
        evaluate_every=4,
    )
    assert np.flatnonzero(np.isfinite(ramp.metric)).tolist() == [3, 7, 9]
    assert ramp.eval_samples == 96
    counts = np.bincount(make_data().tensors[1].numpy())
    assert ramp.chance == pytest.approx(counts.max() / counts.sum())


def test_with_the_end_alone_everything_else_has_its_default() -> None:
    model, optimizer, loader = setup()
    given = {"end_lr": 1.0, "eval_batches": eval_batches(), "forks": 2}
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given)
    assert (len(ramp.lr), ramp.shape, ramp.lr[0], ramp.lr[-1]) == (100, "exponential", pytest.approx(1e-4), 1.0)
    assert np.flatnonzero(np.isfinite(ramp.metric)).tolist() == list(range(3, 100, 4))
    assert [fork.steps for fork in ramp.forks] == [30, 30]
    assert (ramp.settings["fork_steps"], ramp.settings["batch_size"]) == (30, 16)
    assert np.flatnonzero(np.isfinite(ramp.weight_norm)).tolist() == list(range(0, 100, 2))
    assert 0 < ramp.seconds < 1000
    short = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=3, forks=1)
    assert short.forks[0].steps == 2
    none = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, shape="linear", end_lr=1.0, total_steps=3)
    assert (none.lr[0], none.settings["fork_steps"], none.eval_samples) == (0.0, None, None)
    scouted = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, total_steps=3)
    assert scouted.scout is not None
    assert (scouted.scout.lr[0], scouted.scout.settings) == (1e-6, {})
    assert scouted.scout.lr[1] == pytest.approx(1e-6 * 1e8 ** (1 / 59))


def test_every_update_is_told_and_counted() -> None:
    model, optimizer, loader = setup()
    told: list[tuple[str, int, int]] = []
    given = {"end_lr": 0.1, "total_steps": 6, "forks": 2, "fork_steps": 3, "eval_batches": eval_batches()}
    ramp = sc.lr_range_test(
        model, optimizer, F.cross_entropy, loader, progress=lambda *what: told.append(what[:3]), **given
    )  # fmt: skip
    branch = [("branch", done, 3) for done in (1, 2, 3)]
    steps = [("ramp", done, 6) for done in range(1, 7)]
    assert told == [*steps[:3], *branch, *steps[3:], *branch]
    assert ramp.settings["updates"] == len(told)


def test_the_batch_size_is_that_of_the_largest_batch() -> None:
    model, optimizer, _ = setup()
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, eval_batches(), end_lr=1.0, total_steps=3)
    assert ramp.settings["batch_size"] == 40 > len(eval_batches()[-1][0])


def test_a_seed_decides_the_ramp_whatever_came_before_it() -> None:
    losses = []
    for outside, before in ((1, {}), (2, {}), (1, {"reference_lr": "fixed-grid"}), (1, {"end_lr": None})):
        model, optimizer, _ = setup()
        torch.manual_seed(outside)
        batches = eval_batches()
        given = {"end_lr": 1.0, "total_steps": 8, "eval_batches": batches, "seed": 3, **before}
        ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, batches, **given)
        losses.append(ramp.train_loss[:1].tolist() if ramp.scout else ramp.train_loss.tolist())
    assert losses[0] == losses[1] == losses[2]
    assert losses[3] == losses[0][:1]


class Counting(nn.Module):
    """A loss with a state of its own, and a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.scale * F.cross_entropy(outputs, targets)


def test_a_loss_with_a_state_and_batches_with_a_place_come_back() -> None:
    model, _, _ = setup()
    loss = Counting()
    optimizer = torch.optim.SGD([*model.parameters(), loss.scale], lr=0.1)
    inputs, targets = make_data().tensors
    batches = Batches(Data(inputs, targets), 16, seed=1)
    next(iter(batches))
    place = batches.state_dict()
    sc.lr_range_test(model, optimizer, loss, batches, end_lr=1.0, total_steps=8, forks=2)
    assert (float(loss.calls), float(loss.scale.detach())) == (0.0, 1.0)
    assert batches.state_dict() == place


def test_clipping_and_counting_are_those_of_the_training() -> None:
    def losses(**options: object) -> list[float]:
        model, _, _ = setup()
        model[3].p = 0.0
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        given = {"start_lr": 0.1, "end_lr": 1.0, "total_steps": 6, **options}
        return sc.lr_range_test(model, optimizer, F.cross_entropy, eval_batches(), **given).train_loss.tolist()

    assert losses() != losses(clip_grad_norm=0.01)
    pair = {"accumulation_steps": 3}  # micro-batches of 40, 40 and 16
    assert losses(**pair, count=lambda batch: 1) != losses(**pair, count=lambda batch: len(batch[1]))
    assert losses(group_scales=[1.0]) == losses() != losses(group_scales=[0.5])


def test_forks_do_not_move_the_ramp_and_are_annealed_copies() -> None:
    curves = []
    for forks in (0, 4, [0.01, 0.1]):
        model, optimizer, loader = setup()
        ramp = sc.lr_range_test(
            model,
            optimizer,
            F.cross_entropy,
            loader,
            start_lr=1e-3,
            end_lr=1.0,
            total_steps=20,
            forks=forks,
            fork_steps=6 if forks else None,
            eval_batches=eval_batches(),
            seed=2,
        )
        curves.append((ramp.train_loss.tolist(), ramp.metric.tolist()))
    assert str(curves[0]) == str(curves[1]) == str(curves[2])
    assert [fork.lr for fork in ramp.forks] == pytest.approx([0.01, 0.1], rel=0.25)
    assert all(fork.steps == 6 and 0 <= fork.metric <= 1 and not fork.diverged for fork in ramp.forks)
    by_hand, optimizer, loader = setup()
    schedule = sc.lr_ramp(20, start_lr=1e-3, end_lr=1.0, shape="exponential")
    first = ramp.forks[0]
    torch.manual_seed(2)
    batches = loader
    state = sc.TrainState(by_hand, optimizer, batches)
    for record in sc.train_steps(by_hand, optimizer, F.cross_entropy, batches, schedule, state=state):
        if record.step == first.step:
            break
    anneal = sc.cosine(6, max_lr=first.lr, final_lr=0.0)
    twin = state.source.fork()
    final = sc.train(
        by_hand, optimizer, F.cross_entropy, twin, anneal, eval_batches=eval_batches(), evaluate_with="batch"
    )
    assert final.final is not None
    assert (final.final.metric, final.final.loss) == (first.metric, first.loss)


def test_a_scheduler_and_a_monitor_see_nothing_of_it_and_a_count_is_put_back() -> None:
    model, optimizer, loader = setup()
    calls: list[int] = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(100, max_lr=0.5))
    acting = set()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        acting.add((len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks)))
        return F.cross_entropy(outputs, targets)

    with sc.LRMonitor(model, optimizer) as monitor:
        sc.lr_range_test(model, optimizer, loss, loader, total_steps=20, end_lr=1.0, forks=2)
    assert acting == {(0, 1)}
    assert (calls, monitor.step, scheduler.last_epoch) == ([], 0, 0)
    optimizer.step()
    scheduler.step()
    assert (calls, scheduler.last_epoch) == ([1], 1)
    assert scheduler.get_last_lr() == [sc.one_cycle(100, max_lr=0.5)(1)["lr"]]
    with sc.preserved(model, optimizer) as rewind:
        inner = sc.ScheduleLR(optimizer, sc.constant(5, lr=0.2))
        optimizer.step()
        inner.step()
        assert inner.last_epoch == 1, "one that is made inside works"
        rewind()
        optimizer.step()
    optimizer.step()
    scheduler.step()
    assert (calls, scheduler.last_epoch) == ([1, 1], 2)


def test_a_scheduler_of_a_wrapped_optimizer_sees_nothing_of_it() -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, base: torch.optim.Optimizer) -> None:
            super().__init__(base.param_groups, base.defaults)
            self.param_groups, self.base = base.param_groups, base
            self.state = base.state

        def step(self, closure: Any = None) -> Any:
            return self.base.step(closure)

    model, base, loader = setup()
    optimizer, calls = Wrapper(base), []
    for each in (optimizer, base):
        each.register_step_post_hook(lambda *_: calls.append(1))
    scheduler = sc.ScheduleLR(optimizer, sc.one_cycle(100, max_lr=0.5))
    sc.lr_range_test(model, optimizer, F.cross_entropy, loader, total_steps=20, end_lr=1.0)
    scheduler.step()
    assert (calls, scheduler.last_epoch) == ([], 0)
    optimizer.step()
    scheduler.step()
    assert (calls, scheduler.last_epoch) == ([1, 1], 1)


def clip(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 0.05)


@pytest.mark.parametrize("forks", [0, 2])
def test_a_hook_that_clips_is_part_of_the_training_that_is_measured(forks: int) -> None:
    curves = {}
    for name in ("plain", "hook", "option", "hook of what is wrapped"):
        model, optimizer, loader = setup()
        if name.startswith("hook"):
            optimizer.register_step_pre_hook(clip)
        if name.endswith("wrapped"):
            optimizer = Lookahead(optimizer)
            optimizer.done = math.nan  # never time for slow weights
        given = {"end_lr": 3.0, "total_steps": 20, "forks": forks, "seed": 0, "eval_batches": eval_batches()}
        given |= {"clip_grad_norm": 0.05} if name == "option" else {}
        ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given)
        curves[name] = (ramp.train_loss.tolist(), [fork.loss for fork in ramp.forks])
    assert curves["plain"] != curves["option"] == curves["hook"] == curves["hook of what is wrapped"]


class Owner:
    """Of a hook: counts in several ways, and stops the training where it has counted far."""

    def __init__(self) -> None:
        self.steps, self.norms, self.by_kind = 0, [], {"last": {"step": None}, "all": [[0]]}

    def hook(self, optimizer: torch.optim.Optimizer, *rest: object) -> None:
        self.steps += 1
        self.norms.append(float(optimizer.param_groups[0]["params"][0].detach().norm()))
        self.by_kind["last"]["step"] = self.steps
        self.by_kind["all"][0][0] += 1
        self.last = self.norms[-1]  # made late
        assert self.steps < 20

    def __call__(self, *rest: object) -> None:
        self.hook(*rest)  # type: ignore[arg-type]

    def counts(self) -> dict:
        return dict(vars(self))


class Watched(nn.Linear):
    """A module with a hook and a plain number."""

    steps = 0

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.steps = 0

    def hook(self, *rest: object) -> None:
        self.steps += 1


def hooks_that_count() -> dict:
    """Each with what it has counted."""
    owner, called, enclosed, given, module = Owner(), Owner(), Owner(), Owner(), Watched()
    count = 0

    def counting(*rest: object) -> None:
        nonlocal count
        count += 1
        counting.calls = getattr(counting, "calls", 0) + 1  # type: ignore[attr-defined]

    return {
        "method": (owner.hook, owner.counts),
        "object": (called, called.counts),
        "encloses an object": (lambda *rest: enclosed.hook(*rest), enclosed.counts),
        "partial": (functools.partial(Owner.hook, given), given.counts),
        "method of a module": (module.hook, lambda: module.steps),
        "variable": (counting, lambda: (count, dict(vars(counting)))),
    }


@pytest.mark.parametrize("kind", hooks_that_count())
def test_what_a_hook_counts_in_is_put_back(kind: str) -> None:
    seen = []
    for tests in (0, 1):
        model, optimizer, loader = setup()
        hook, counted = hooks_that_count()[kind]
        optimizer.register_step_post_hook(hook)
        seed_all()
        train_on(model, optimizer, loader, 3)
        for _ in range(tests):
            sc.lr_range_test(model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=12, forks=2)
        seen.append((train_on(model, optimizer, loader, 3), str(counted())))
    assert seen[0] == seen[1]


def test_what_the_owner_of_a_hook_keeps_beside_it_stays() -> None:
    model, optimizer, loader = setup()

    class Trainer:
        def __init__(self) -> None:
            self.updates, self.best = 0, 0.0
            optimizer.register_step_pre_hook(self.count)

        def count(self, *rest: object) -> None:
            self.updates += 1

        def measure(self) -> None:
            with sc.preserved(model, optimizer):
                train_on(model, optimizer, loader, 3)
                self.best, self.result = 0.5, "found"

    trainer = Trainer()
    trainer.measure()
    assert vars(trainer) == {"updates": 0, "best": 0.5, "result": "found"}


class Average:
    """Of the weights, in tensors of its own."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]

    def update(self, *rest: object) -> None:
        for average, parameter in zip(self.weights, self.model.parameters(), strict=True):
            average.data.lerp_(parameter.detach(), 1 - self.decay)


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_tensors_that_a_hook_changes_are_named(decay: float) -> None:
    model, optimizer, loader = setup()
    average = Average(model, decay)
    optimizer.register_step_post_hook(average.update)
    train_on(model, optimizer, loader, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=5)
    said = [f"step hook {Average.update.__qualname__} acted" in str(each.message) for each in caught]
    assert said == ([] if decay == 1.0 else [True])
    assert all(each.filename == __file__ for each in caught)


def test_a_hook_that_writes_learning_rates_is_named() -> None:
    model, optimizer, loader = setup()

    def warm_up(optimizer: torch.optim.Optimizer, *rest: object) -> None:
        optimizer.param_groups[0]["lr"] = 0.123

    handle = optimizer.register_step_pre_hook(warm_up)
    given = {"end_lr": 1.0, "total_steps": 5, "forks": 1}
    with pytest.warns(
        UserWarning, match=r"rate 0\.123 after an update for which the range test wrote 0\.0001"
    ) as caught:
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given)
    assert [each.filename for each in caught] == [__file__]
    handle.remove()
    sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given)


def test_group_ratios_are_kept_and_recorded() -> None:  # 17
    model, _, loader = setup()
    groups = [
        {"params": model[0].parameters(), "lr": 0.001},
        {"params": model[1].parameters(), "lr": 0.01},
        {"params": model[4].parameters()},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=0.0, end_lr=1.0, shape="linear")  # 16
    assert ramp.group_lrs is not None
    assert ramp.lr[0] == 0.0
    assert np.allclose(ramp.group_lrs, ramp.lr[:, None] * [0.01, 0.1, 1.0])
    assert [group["lr"] for group in optimizer.param_groups] == [0.001, 0.01, 0.1]
    assert "initial_lr" not in optimizer.param_groups[0]


def test_accumulated_micro_batches_give_the_same_curve() -> None:  # 15
    inputs, targets = make_data(64).tensors
    curves = []
    for size, accumulation in ((32, 1), (8, 4)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        batches = list(zip(inputs.split(size), targets.split(size), strict=True))
        ramp = sc.lr_range_test(
            model, optimizer, F.cross_entropy, batches, end_lr=0.5, total_steps=20, accumulation_steps=accumulation
        )
        curves.append(ramp.train_loss)
    assert np.allclose(*curves, atol=1e-5)


def test_with_no_numbers_given_a_scout_finds_the_range() -> None:
    model, optimizer, loader = setup()
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, eval_batches=eval_batches(), forks=5, seed=0)
    assert ramp.scout is not None
    assert 0.05 < ramp.lr.max() <= 100
    assert ramp.lr[0] == pytest.approx(ramp.settings["end_lr"] / 1e4)
    suggestion = ramp.suggest()
    assert suggestion.rule == "best_fork"
    assert suggestion.lr is not None
    assert 1e-3 < suggestion.lr < 100
    assert ramp.summary().startswith("max_lr ")


def test_scale_invariant_weights_are_found_and_grow() -> None:
    model, optimizer, loader = setup()
    ramp = sc.lr_range_test(
        model, optimizer, F.cross_entropy, loader, start_lr=1e-4, end_lr=3.0, total_steps=40, seed=0
    )
    norms = ramp.weight_norm[np.isfinite(ramp.weight_norm)]
    assert norms[0] == pytest.approx(float(model[0].weight.detach().norm()), rel=1e-3)
    assert norms[-1] > norms[0]
    plain = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    ramp = sc.lr_range_test(plain, torch.optim.SGD(plain.parameters(), 0.1), F.cross_entropy, loader, end_lr=0.1)
    assert np.isnan(ramp.weight_norm).all()


def test_batches_that_run_dry_keep_their_points() -> None:
    model, optimizer, _ = setup()
    with pytest.warns(UserWarning, match="iterator"):
        ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, iter(eval_batches()), end_lr=1.0, total_steps=20)
    assert (ramp.stop, len(ramp.lr)) == (sc.StopReason.batches_exhausted, 3)


@pytest.mark.parametrize("batches", [1, 2, 3, 4])
def test_a_fork_that_runs_dry_is_dropped(batches: int) -> None:
    model, optimizer, _ = setup()
    given = iter((eval_batches() * 2)[:batches])
    options = {"end_lr": 1.0, "total_steps": 20, "forks": 20, "fork_steps": 2, "eval_batches": eval_batches()}
    with pytest.warns(UserWarning, match="iterator"):
        ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, given, **options)
    assert ramp.stop is sc.StopReason.batches_exhausted
    assert [fork.step for fork in ramp.forks] == ([0] if batches >= 3 else [])
    assert all(math.isfinite(fork.metric) for fork in ramp.forks)


def test_a_loss_that_is_not_finite_at_first_is_an_error_with_a_range_given_too() -> None:
    model, optimizer, loader = setup()
    with pytest.raises(ValueError, match="not finite at the first step"):
        sc.lr_range_test(model, optimizer, lambda o, t: o.sum() * math.nan, loader, end_lr=1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_lr": 1.0, "end_lr": 0.1}, "must be below"),
        ({"start_lr": 0.0, "end_lr": 0.1}, "shape='linear' may start at 0"),
        ({"start_lr": -1.0, "end_lr": 0.1, "shape": "linear"}, "must not be negative"),
        ({"end_lr": math.inf}, "positive and finite"),
        ({"shape": "log"}, "'linear' or 'exponential'"),
        ({"total_steps": 1}, "at least 2 steps"),
        ({"forks": -1}, "forks must lie between"),
        ({"forks": [0.1, -3.0]}, "positive, finite learning rates"),
        ({"forks": [0.1, math.inf]}, "positive, finite learning rates"),
        ({"fork_steps": 1}, "fork_steps must be at least 2"),
        ({"evaluate_with": "runing"}, "'running'"),
        ({"start_lr": 1e3}, "not below"),
    ],
)
def test_impossible_arguments_are_named(options: dict, words: str) -> None:
    model, optimizer, loader = setup()
    with pytest.raises(ValueError, match=words):
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **options)


def test_no_batches_and_strange_batches_are_named() -> None:
    model, optimizer, _ = setup()
    with pytest.raises(ValueError, match="yielded nothing"):
        sc.lr_range_test(model, optimizer, F.cross_entropy, [], end_lr=1.0)
    with pytest.raises(ValueError, match="pair"):
        sc.lr_range_test(model, optimizer, F.cross_entropy, [torch.ones(3, 6)], end_lr=1.0)


def test_forks_share_the_upper_decades_and_end_with_the_ramp() -> None:
    model, optimizer, loader = setup()
    common = {"end_lr": 1.0, "total_steps": 100, "fork_steps": 2, "seed": 0}
    given = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=1e-6, forks=10, **common).forks
    assert len(given) == 10  # over four decades: the end that was given may lie far above what the network stands
    assert given[-1].lr == 1.0
    assert np.allclose(np.diff(np.log10([fork.lr for fork in given])), 0.4, atol=0.07)
    scouted = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, forks=10, **(common | {"end_lr": None}))
    places = [fork.step for fork in scouted.forks]
    assert places == [38 + round(6.2 * (i + 1)) - 1 for i in range(len(places))]  # the upper 2.5 of 4 decades
    crowded = sc.lr_range_test(
        model, optimizer, F.cross_entropy, loader, forks=15, **(common | {"end_lr": None, "total_steps": 20})
    )
    assert [fork.step for fork in crowded.forks] == list(range(5, 20)), "one a step, where the upper decades are short"
    every = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=1e-4, forks=100, **common).forks
    assert [fork.step for fork in every] == list(range(100))
    linear = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, shape="linear", forks=4, **common).forks
    assert [fork.step for fork in linear] == [24, 49, 74, 99]


def made_scout(loss: np.ndarray) -> sc.RangeTest:
    return sc.RangeTest(lr=np.geomspace(1e-6, 100.0, len(loss)), train_loss=loss, shape="exponential")


def learning_curve(noise: float, seed: int) -> np.ndarray:
    """Learns from LR 1e-3 on, breaks at 0.3: losses of small batches scatter around it."""
    lr = np.log(np.geomspace(1e-6, 100.0, 60))
    clean = np.interp(lr, np.log([1e-3, 3e-2, 0.2, 0.3, 1.0]), [2.4, 1.9, 1.8, 2.6, 9.0])
    return clean + noise * np.random.default_rng(seed).standard_normal(60)


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("seed", range(20))
def test_small_batches_do_not_end_the_ramp_before_anything_is_learned(noise: float, seed: int) -> None:
    assert 4 * 0.02 < upper_end(made_scout(learning_curve(noise, seed))) <= 4 * 0.5


def test_a_lucky_batch_is_no_learning_and_an_unlucky_one_no_blow_up() -> None:
    loss = learning_curve(0.05, 0)
    loss[3:5] = 1.7  # as low as the best: the median of five points may see it, three in a row do not
    loss[8] = 2.7
    assert 4 * 0.02 < upper_end(made_scout(loss)) <= 4 * 0.5


def test_a_scout_that_learned_nothing_ends_where_its_loss_rises() -> None:
    noise = 0.02 * np.random.default_rng(0).standard_normal(60)
    flat = made_scout(2.3 + noise)
    assert upper_end(flat) == 100.0
    lr = np.log(np.geomspace(1e-6, 100.0, 60))
    rising = made_scout(np.interp(lr, np.log([0.05, 0.2]), [2.3, 3.5]) + noise)
    assert upper_end(rising) < 4 * 0.2


@pytest.mark.parametrize("learned", [True, False])
def test_a_scout_of_losses_below_zero_is_read_like_one_above(learned: bool) -> None:
    lr = np.log(np.geomspace(1e-6, 100.0, 60))
    best = 1.0 if learned else 2.0
    loss = np.interp(lr, np.log([1e-3, 0.3, 0.5, 5.0, 20.0]), [2.0, best, 2.0, 2.1, 40.0])
    loss += 0.05 * np.random.default_rng(0).standard_normal(60)
    above = upper_end(made_scout(loss))
    assert not learned or above >= 4 * 0.3
    assert upper_end(made_scout(loss - 4.0)) == above


@pytest.mark.parametrize("dead", [2.31, 2.9])
def test_a_scout_that_broke_and_went_constant_ends_the_ramp_where_it_broke(dead: float) -> None:
    """An MLP begins above ln 10; once it is dead its loss is ln 10, lower than where it began."""
    lr = np.geomspace(1e-6, 100.0, 60)
    loss = np.interp(np.log(lr), np.log([1e-4, 1e-2, 5e-2, 0.1, 0.3, 0.5]), [2.9, 2.4, 2.3, 2.8, 5.0, dead])
    scout = sc.RangeTest(lr=lr, train_loss=loss, shape="exponential")
    assert 4 * 0.05 < upper_end(scout) < 4 * 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference_lr": "grd"}, "reference_lr='grd' is unknown; did you mean 'grid'"),
        ({"reference_lr": -1.0}, "reference_lr must be finite, above 0"),
        ({"end_lr": "1"}, "end_lr must be a number or None, got '1'"),
        ({"start_lr": "1"}, "start_lr must be a number or None, got '1'"),
        ({"forks": "10"}, "how many .* or a sequence of positive learning rates, got '10'"),
        ({"forks": 2.5}, "how many .* or a sequence of positive learning rates, got 2.5"),
        ({"fork_steps": "5"}, "fork_steps must be a whole number.*got '5'"),
        ({"evaluate_every": "5"}, "evaluate_every must be a whole number.*got '5'"),
        ({"accumulation_steps": "2"}, "accumulation_steps must be a whole number.*got '2'"),
        ({"seed": "a"}, "seed must be a whole number or None, got 'a'"),
        ({"evaluate_every": 2}, "evaluate_every=2 would be ignored without eval_batches"),
        ({"fork_steps": 5}, "fork_steps=5 without forks would be ignored"),
        ({"forks": [0.1, 50.0], "end_lr": 1.0}, "forks at 50 lie beyond the ramp's end_lr=1; leave them out"),
        ({"reference_lr": "grid", "metric": None, "eval_batches": eval_batches()}, "pass eval_batches and a metric"),
        ({"metric": lambda o, t: o[:3], "eval_batches": eval_batches(), "end_lr": 1.0}, "one value per sample"),
        ({"eval_batches": iter(eval_batches())}, "eval_batches is an iterator .*but 25 evaluations"),
        ({"eval_batches": iter(eval_batches()), "total_steps": 30, "evaluate_every": 7, "forks": 3}, "but 8 evaluat"),
        ({"eval_batches": iter(eval_batches()), "forks": [0.1], "reference_lr": "fixed-grid"}, "but 34 evaluations"),
    ],
)
def test_arguments_of_another_kind_are_named_before_anything_is_measured(options: dict, words: str) -> None:
    model, optimizer, loader = setup()
    reports: list[object] = []
    with pytest.raises(ValueError, match=words):
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, progress=lambda *a: reports.append(a), **options)
    assert not reports


def test_an_optimizer_whose_learning_rate_acts_once_is_refused() -> None:
    model, _, loader = setup()
    with pytest.raises(ValueError, match="got Rprop, whose step sizes follow the signs"):
        sc.lr_range_test(model, torch.optim.Rprop(model.parameters(), lr=0.01), F.cross_entropy, loader)


def test_an_optimizer_of_another_model_or_of_frozen_parameters_is_refused() -> None:
    model, optimizer, loader = setup()
    with pytest.raises(ValueError, match=r"trains no parameter of this model: .*not in the optimizer"):
        sc.lr_range_test(setup()[0], optimizer, F.cross_entropy, loader)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"trains no parameter of this model: .*frozen"):
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader)


def test_an_optimizer_with_a_closure_or_no_loss_is_refused() -> None:
    model, optimizer, loader = setup()
    with pytest.raises(ValueError, match=r"got LBFGS, whose step.* needs a closure"):
        sc.lr_range_test(model, torch.optim.LBFGS(model.parameters()), F.cross_entropy, loader)
    with pytest.raises(TypeError, match="loss_fn must be a function"):
        sc.lr_range_test(model, optimizer, None, loader)


@pytest.mark.parametrize("count", [0, 6, 30])
def test_a_scout_that_takes_all_batches_of_an_iterator_says_so(count: int) -> None:
    model, optimizer, _ = setup()
    given = iter((eval_batches() * 20)[:count])
    words = "train_batches is an iterator that ran dry after .* before the ramp began: the scout"
    with pytest.warns(UserWarning, match="iterator"), pytest.raises(ValueError, match=words):
        sc.lr_range_test(model, optimizer, F.cross_entropy, given, split=one_hot)


def one_hot(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return batch[0], F.one_hot(batch[1], 3).float()


def test_trying_the_metric_counts_no_sample_twice() -> None:
    model, optimizer, loader = setup()
    classes = torch.bincount(make_data().tensors[1])
    ramp = sc.lr_range_test(
        model, optimizer, F.cross_entropy, loader, end_lr=1.0, total_steps=4, eval_batches=eval_batches()
    )
    assert ramp.chance == pytest.approx(float(classes.max() / classes.sum()))


def test_one_range_test_instead_of_a_list_is_named() -> None:
    ramp = made_scout(learning_curve(0.0, 0))
    with pytest.raises(TypeError, match=r"takes a list of range tests.* pass \[ramp\], or use ramp.suggest"):
        sc.suggest(ramp)
    with pytest.raises(TypeError, match=r"takes a list of range tests.* pass \[ramp\], or use ramp.verdict"):
        joint_verdict(ramp)


def test_a_loss_as_the_metric_is_better_when_lower() -> None:
    model, optimizer, loader = setup()
    given = {"start_lr": 1e-4, "end_lr": 0.1, "total_steps": 20, "forks": 4, "seed": 0, "eval_batches": eval_batches()}
    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric="loss", **given)
    assert not ramp.higher_is_better
    said = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric="loss", higher_is_better=False, **given)
    assert ramp.suggest() == said.suggest()
    best = min(ramp.forks, key=lambda fork: fork.metric)
    assert ramp.suggest().lr == pytest.approx(best.lr, rel=1.0)
    with pytest.raises(ValueError, match="higher_is_better=True would choose the worst"):
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric="loss", higher_is_better=True, **given)
    assert sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given).higher_is_better


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_persistent_workers_are_warned_about_once() -> None:
    model, optimizer, _ = setup()
    loader = DataLoader(make_data(), batch_size=16, num_workers=1, persistent_workers=True)
    options = {"start_lr": 1e-3, "end_lr": 1.0, "total_steps": 4, "forks": 2, "fork_steps": 2}
    with pytest.warns(UserWarning, match="persistent workers keeps random states") as caught:
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **options)
    ours = [warning for warning in caught if issubclass(warning.category, UserWarning)]  # Python's own is of the fork
    assert [warning.filename for warning in ours] == [__file__]


@pytest.mark.filterwarnings("ignore:.*fp16")
@pytest.mark.parametrize("always", [False, True])
def test_an_update_that_the_scaler_skipped_condemns_no_fork_but_a_scaler_that_gave_up_does(always: bool) -> None:
    model, optimizer, loader = setup()
    batches = list(loader)
    start = 12  # the ramp's own updates, of which the last one is forked
    seen = itertools.count()

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        call = next(seen)
        value = F.cross_entropy(outputs.float(), targets)
        return value * math.inf if call == start + 3 or (always and call > start) else value

    ramp = sc.lr_range_test(
        model, optimizer, loss, batches, start_lr=1e-3, end_lr=0.1, total_steps=start, forks=1, fork_steps=6,
        precision="fp16", scaler=torch.amp.GradScaler("cpu", init_scale=4.0),
    )  # fmt: skip
    (fork,) = ramp.forks
    assert fork.diverged is always
    assert math.isfinite(fork.loss) is not always


def test_forks_that_share_a_step_are_named() -> None:
    model, optimizer, loader = setup()
    given = {"start_lr": 1e-3, "end_lr": 1.0, "total_steps": 20, "fork_steps": 2}
    with pytest.warns(
        UserWarning, match=r"4 forks were asked for, 2 are made.* for 0.92, 0.95; pass a larger"
    ) as caught:
        ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, forks=[0.95, 0.1, 0.92, 1.0], **given)
    assert caught[0].filename == __file__
    assert [fork.lr for fork in ramp.forks] == pytest.approx([0.1, 1.0], rel=0.2)
    sc.lr_range_test(model, optimizer, F.cross_entropy, loader, forks=[0.1, 1.0], **given)


def test_forks_outside_a_ramp_whose_end_was_found_are_named() -> None:
    model, optimizer, loader = setup()
    given = {"total_steps": 20, "fork_steps": 2, "forks": [1e-30, 0.1, 1e9]}
    with pytest.warns(UserWarning, match=r"forks at 1e-30, 1e\+09 are made at its end that is closer") as caught:
        ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, **given)
    assert caught[0].filename == __file__
    assert len(ramp.forks) == 3


def error_rate(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Share of wrong answers."""
    return (outputs.argmax(1) != targets).float()


def test_forks_have_the_standard_error_of_a_metric_a_sample() -> None:
    model, optimizer, loader = setup()
    given = {"end_lr": 0.1, "total_steps": 4, "forks": 2, "fork_steps": 2, "eval_batches": eval_batches()}

    def cost(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 2 * error_rate(outputs, targets)

    ramp = sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric=cost, higher_is_better=False, **given)
    for fork in ramp.forks:
        assert fork.error == pytest.approx(math.sqrt(fork.metric * (2 - fork.metric) / 96), rel=0.02)
        assert fork.error > 0


def test_an_error_that_is_read_as_better_when_higher_is_named() -> None:
    model, optimizer, loader = setup()
    given = {"end_lr": 1.0, "total_steps": 30, "forks": 4, "eval_batches": eval_batches(), "seed": 0}
    with pytest.warns(
        UserWarning, match="metric 'error_rate' rises and falls with the loss.*higher_is_better=False"
    ) as w:
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric=error_rate, **given)
    assert w[0].filename == __file__
    for said in (True, False):  # warnings are errors
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric=error_rate, higher_is_better=said, **given)
    accuracy = lambda outputs, targets: 1.0 - error_rate(outputs, targets)  # noqa: E731
    sc.lr_range_test(model, optimizer, F.cross_entropy, loader, metric=accuracy, **given)


def test_a_head_that_the_optimizer_alone_holds_is_restored_and_not_trained_by_forks() -> None:
    ramps = []
    for forks in (0, 3):
        torch.manual_seed(0)
        encoder, head = nn.Linear(6, 16), nn.Linear(16, 3)
        parameters = [*encoder.parameters(), *head.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        before = [parameter.detach().clone() for parameter in parameters]

        def loss_fn(hidden: torch.Tensor, targets: torch.Tensor, head: nn.Module = head) -> torch.Tensor:
            return F.cross_entropy(head(hidden), targets)

        loader = DataLoader(make_data(), batch_size=16)
        options = {"total_steps": 12, "start_lr": 0.01, "end_lr": 3.0, "metric": None, "reference_lr": None}
        ramps.append(sc.lr_range_test(encoder, optimizer, loss_fn, loader, forks=forks, **options))
        assert all(map(torch.equal, parameters, before))
        assert all(parameter.grad is None for parameter in parameters)
        assert not optimizer.state
    assert len(ramps[1].forks) == 3
    assert np.array_equal(ramps[0].train_loss, ramps[1].train_loss), "a fork leaves the head as it was"
    assert ramps[0].train_loss[0] != ramps[0].train_loss[6], "the ramp does train it"


@pytest.mark.parametrize("mixed", [True, False])
def test_evaluation_batches_sorted_by_class_are_named_where_their_statistics_count(mixed: bool) -> None:
    """An ImageFolder without shuffle: batch statistics of one class at a time, and forks that seem to learn nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(128) % 4
    inputs = torch.randn(128, 8, generator=generator) + 2.0 * F.one_hot(labels, 8)
    order = torch.randperm(128, generator=generator) if mixed else labels.argsort()
    train = DataLoader(TensorDataset(inputs, labels), 32, shuffle=True, generator=generator)
    evaluation = DataLoader(TensorDataset(inputs[order], labels[order]), 32)

    def test(*layers: nn.Module, **options: object) -> None:
        model = nn.Sequential(nn.Linear(8, 8), *layers, nn.Linear(8, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sc.lr_range_test(
            model,
            optimizer,
            F.cross_entropy,
            train,
            end_lr=1.0,
            total_steps=10,
            eval_batches=evaluation,
            seed=0,
            **options,
        )

    test()  # warnings are errors
    test(nn.BatchNorm1d(8), evaluate_with="reestimated")
    if mixed:
        test(nn.BatchNorm1d(8))
    else:
        with pytest.warns(UserWarning, match=r"sorted by class \(100% of a batch is one class, 25% of all") as warned:
            test(nn.BatchNorm1d(8))
        assert warned[0].filename == __file__


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("seed", range(5))
def test_a_constant_in_the_loss_does_not_move_the_ramps_end_where_nothing_was_learned(seed: int, shift: float) -> None:
    """Policy gradients and critics have losses around zero, where twice the start is noise."""
    lr = np.geomspace(1e-6, 100.0, 60)
    noise = np.random.default_rng(seed).normal(0.0, 0.1, 60)
    blown_up = np.where(lr > 1.0, 5.0, 0.0)
    far, near = (
        upper_end(sc.RangeTest.from_arrays(lr=lr, train_loss=constant + noise + blown_up, updates_per_row=1))
        for constant in (10.0, shift)
    )
    assert near == far
    assert 1.0 < near < 8.0


def test_an_adafactor_that_caps_its_rate_is_named() -> None:
    model, _, loader = setup()
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    with pytest.warns(
        UserWarning, match=r"no learning rate above 1 / sqrt\(step\), 0\.22 in step 20: the ramp goes to 1"
    ):
        sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=1e-3, end_lr=1.0, total_steps=20)
    sc.lr_range_test(model, optimizer, F.cross_entropy, loader, start_lr=1e-3, end_lr=0.2, total_steps=20)
