import copy
import doctest
import gc
import io
import warnings
from collections import OrderedDict

import pytest
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CyclicLR,
    ExponentialLR,
    LRScheduler,
    OneCycleLR,
    SequentialLR,
)

import superconv as sc
from superconv.schedules import Piecewise
from superconv.training import schedule_lr
from superconv.training.schedule_lr import resumed_schedule

TOTAL = 21
MODERATE = sc.one_cycle(TOTAL, max_lr=0.5, initial_lr=0.05)
PLAIN = sc.one_cycle(TOTAL, max_lr=0.5, initial_lr=0.05, max_momentum=None)


def parameter(value=1.0, shape=(3, 3)):
    return torch.nn.Parameter(torch.full(shape, value))


def sgd(groups=1, **options):
    options = {"lr": 0.1, "momentum": 0.9, **options}
    return torch.optim.SGD([{"params": [parameter()]} for _ in range(groups)], **options)


def update(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 0.01)
    optimizer.step(lambda: torch.tensor(1.0))  # LBFGS needs a closure, the others take one


def follow(optimizer, scheduler, steps):
    """The LR of every update."""
    found = []
    for _ in range(steps):
        found.append([float(group["lr"]) for group in optimizer.param_groups])
        update(optimizer)
        scheduler.step()
    return found


def first_lrs(schedule, start=0, stop=TOTAL + 5):
    return [[schedule(t)["lr"]] for t in range(start, stop)]


# ---- every torch optimizer --------------------------------------------------------------------------------------

OPTIMIZERS = sorted(
    name
    for name, value in vars(torch.optim).items()
    if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
)


def make_optimizer(name):
    p = parameter()
    if name == "SparseAdam":
        return torch.optim.SparseAdam([p], lr=0.1), lambda: setattr(p, "grad", torch.eye(3).to_sparse())
    return getattr(torch.optim, name)([p], lr=0.1), lambda: setattr(p, "grad", torch.full_like(p, 0.01))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pitfall_22_every_torch_optimizer(name):
    optimizer, backward = make_optimizer(name)
    before = copy.deepcopy({k: v for k, v in optimizer.param_groups[0].items() if k != "params"})
    has_momentum = bool(before["betas"][0] if "betas" in before else before.get("momentum"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler = sc.ScheduleLR(optimizer, MODERATE)
    group = optimizer.param_groups[0]
    assert [w.category for w in caught] == ([] if has_momentum else [UserWarning])
    for step in range(TOTAL + 3):
        wanted = MODERATE(step)
        assert group["lr"] == wanted["lr"]
        if has_momentum:
            assert (group["betas"][0] if "betas" in group else group["momentum"]) == wanted["momentum"]
        changed = {key for key, value in before.items() if group[key] is not value and group[key] != value}
        assert changed <= {"lr", "betas" if "betas" in group else "momentum"}
        assert "betas" not in group or group["betas"][1:] == before["betas"][1:]
        backward()
        optimizer.step(lambda: torch.tensor(1.0))
        scheduler.step()


@pytest.mark.parametrize("options", [{"fused": True}, {"foreach": False}, {"nesterov": True}, {"capturable": True}])
def test_pitfall_22_implementations_and_tensor_lrs(options):
    p, q = parameter(), parameter()
    lr = torch.tensor(0.1)
    if "nesterov" in options:
        optimizer = torch.optim.SGD([{"params": [p]}, {"params": [q]}], lr=lr, momentum=0.9, **options)
    else:
        optimizer = torch.optim.Adam([{"params": [p]}, {"params": [q]}], lr=lr, **options)
    scheduler = sc.ScheduleLR(optimizer, MODERATE, group_scales=[1.0, 0.1])
    tensors = [group["lr"] for group in optimizer.param_groups]
    for step in range(TOTAL):
        wanted = torch.tensor(MODERATE(step)["lr"])
        assert all(g["lr"] is t for g, t in zip(optimizer.param_groups, tensors, strict=True))  # filled in place
        torch.testing.assert_close(tensors[0], wanted)
        torch.testing.assert_close(tensors[1], wanted * 0.1)
        if "capturable" not in options:  # its kernels need an accelerator
            update(optimizer)
        else:
            scheduler._position.after_update(optimizer, (), {})
        scheduler.step()
    assert optimizer.defaults["lr"] == lr == pytest.approx(0.1)  # not dragged along
    assert scheduler.get_last_lr() == [MODERATE(TOTAL)["lr"], pytest.approx(MODERATE(TOTAL)["lr"] * 0.1)]


# ---- against torch's schedulers ---------------------------------------------------------------------------------


def test_training_equals_torch_one_cycle_bit_for_bit_in_weights():
    peak, total = 45, 101
    ours, theirs = sgd(), sgd()
    scheduler = sc.ScheduleLR(ours, sc.one_cycle(total, max_lr=0.5))
    torchs = OneCycleLR(
        theirs, 0.5, total, pct_start=(peak + 1) / total, anneal_strategy="linear", div_factor=10,
        final_div_factor=1000, three_phase=True,
    )  # fmt: skip
    for step in range(total):
        assert ours.param_groups[0]["momentum"] == pytest.approx(theirs.param_groups[0]["momentum"], rel=1e-12)
        update(ours)
        update(theirs)
        scheduler.step()
        if step < total - 1:
            torchs.step()
    torch.testing.assert_close(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], rtol=1e-6, atol=1e-7)


def test_follows_torch_cyclic_lr():
    ours, theirs = sgd(), sgd()
    scheduler = sc.ScheduleLR(ours, sc.triangular(40, base_lr=0.1, max_lr=1, step_size=6, mode="triangular2"))
    torchs = CyclicLR(theirs, 0.1, 1.0, step_size_up=6, mode="triangular2", cycle_momentum=False)
    for mine, other in zip(follow(ours, scheduler, 40), follow(theirs, torchs, 40), strict=True):
        assert mine == pytest.approx(other, rel=1e-12)


def test_the_examples_run():
    outcome = doctest.testmod(schedule_lr)
    assert outcome.attempted > 0
    assert outcome.failed == 0


# ---- the course -------------------------------------------------------------------------------------------------


def test_pitfall_7_and_20_update_i_uses_step_i_and_the_last_value_holds():
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    assert isinstance(scheduler, LRScheduler)
    assert scheduler.last_epoch == 0
    assert follow(optimizer, scheduler, TOTAL + 5) == first_lrs(MODERATE)
    assert scheduler.get_last_lr() == scheduler.get_lr() == [MODERATE(TOTAL - 1)["lr"]]
    assert scheduler.last_epoch == TOTAL + 5


def test_pitfall_28_step_without_an_update_does_nothing():
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    scheduler.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == MODERATE(0)["lr"]
    update(optimizer)
    for _ in range(4):  # Accelerate calls once per process
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == MODERATE(1)["lr"]
    with pytest.raises(ValueError, match="counts optimizer updates by itself"):
        scheduler.step(5)


@pytest.mark.parametrize("fused", [False, True])
def test_pitfall_28_an_update_that_amp_skipped_does_not_count(fused):
    p = parameter()
    optimizer = torch.optim.SGD([p], lr=0.1, momentum=0.9, fused=fused)
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    good = 0
    for gradient in (1.0, float("inf"), 1.0, float("nan"), 1.0):
        before = p.detach().clone()
        p.grad = None
        scaler.scale((p * gradient).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        moved = not torch.equal(before, p.detach())
        assert moved == (gradient == 1.0)
        good += moved
        assert optimizer.param_groups[0]["lr"] == MODERATE(good)["lr"]
    assert good == 3


def test_several_updates_without_a_step_are_counted_and_warned_about_once():
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    for _ in range(4):
        update(optimizer)
    with pytest.warns(UserWarning, match="4 optimizer updates since.*interval='step'"):
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == MODERATE(4)["lr"]
    update(optimizer)
    update(optimizer)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == MODERATE(6)["lr"]


@pytest.mark.parametrize("place", [0, 1])
def test_a_part_of_a_sequence_is_refused_when_the_sequence_is_made(place):
    optimizer = sgd()
    parts = [ConstantLR(optimizer), sc.ScheduleLR(optimizer, MODERATE)]
    if place == 0:
        parts.reverse()
    with pytest.raises(ValueError, match="no part of a sequence; make one Schedule"):
        SequentialLR(optimizer, parts, [3])


def exponential(optimizer):
    return ExponentialLR(optimizer, 0.9)


def constant(optimizer):
    return sc.ScheduleLR(optimizer, sc.constant(8, lr=0.3))


@pytest.mark.parametrize("other", [exponential, constant])
@pytest.mark.parametrize("place", [0, 1])
def test_a_member_of_a_chain_says_that_it_composes_with_no_other(place, other):
    optimizer = sgd()
    parts = [other(optimizer), sc.ScheduleLR(optimizer, MODERATE)]
    if place == 0:
        parts.reverse()
    chain = ChainedScheduler(parts)
    with pytest.warns(UserWarning, match="ScheduleLR composes with no other, so make one Schedule"):
        follow(optimizer, chain, 2)


def test_a_learning_rate_that_the_user_writes_is_said_once_to_be_written_over():
    optimizer = sgd(2)
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 2)
    optimizer.param_groups[1]["lr"] = 7.0
    update(optimizer)
    with pytest.warns(UserWarning, match=r"learning rate 7 where ScheduleLR wrote 0\.") as seen:
        scheduler.step()
    assert seen[0].filename == __file__
    optimizer.param_groups[1]["lr"] = 7.0
    update(optimizer)
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [MODERATE(4)["lr"]] * 2


def test_a_chain_of_one_is_followed():
    optimizer = sgd()
    chain = ChainedScheduler([sc.ScheduleLR(optimizer, MODERATE)])
    assert follow(optimizer, chain, TOTAL) == first_lrs(MODERATE, 0, TOTAL)


@pytest.mark.parametrize("start", [0, 1, 9, TOTAL - 1, TOTAL + 3])
def test_a_start_step_is_where_as_many_updates_lead(start):
    optimizer, other = sgd(2), sgd(2)
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, start)
    started = sc.ScheduleLR(other, MODERATE, start_step=start)
    assert started.last_epoch == start
    assert started.get_last_lr() == started.get_lr() == scheduler.get_last_lr()
    assert other.param_groups[1]["momentum"] == MODERATE(start)["momentum"]
    other.load_state_dict(other.state_dict())  # what is loaded gives way to the schedule
    assert follow(other, started, 5) == follow(optimizer, scheduler, 5)
    assert started.state_dict() == scheduler.state_dict()


def test_a_start_step_gives_way_to_a_saved_state():
    saved = sc.ScheduleLR(sgd(), MODERATE, start_step=4).state_dict()
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE, start_step=9)
    scheduler.load_state_dict(saved)
    assert scheduler.last_epoch == 4
    assert optimizer.param_groups[0]["lr"] == MODERATE(4)["lr"]
    for wrong in (-1, 2.5, "4"):
        with pytest.raises(ValueError, match="start_step must be"):
            sc.ScheduleLR(sgd(), MODERATE, start_step=wrong)


def test_a_position_that_is_written_is_refused():
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 5)
    for wrong in (40, 0, None):
        with pytest.raises(ValueError, match=rf"last_epoch of a ScheduleLR was set from 5 to {wrong}; .*start_step="):
            scheduler.last_epoch = wrong
    scheduler.last_epoch = 5
    assert scheduler.last_epoch == 5


def test_one_schedule_holds_all_phases_of_a_sequence():
    curve = Piecewise([0, 4, 5], [1.0, 5.0, 0.05], "linear")
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, sc.Schedule(8, {"lr": curve}))
    assert [lr for (lr,) in follow(optimizer, scheduler, 8)] == [1, 2, 3, 4, 5, 0.05, 0.05, 0.05]


# ---- param groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [False, True])
def test_pitfall_26_a_group_added_midway_is_scheduled_from_its_first_update(told):
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 5)
    optimizer.add_param_group({"params": [parameter()], "lr": 0.01})
    if told:  # else the update itself finds it
        scheduler.step()
        assert scheduler.get_last_lr() == pytest.approx([MODERATE(5)["lr"], MODERATE(5)["lr"] / 10])
    update(optimizer)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([MODERATE(5)["lr"], MODERATE(5)["lr"] / 10])
    assert optimizer.param_groups[1]["momentum"] == MODERATE(5)["momentum"]
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([MODERATE(6)["lr"], MODERATE(6)["lr"] / 10])
    # and a run that resumes from here finds the late group's scale, whatever its LR is by then
    other = sgd()
    resumed = sc.ScheduleLR(other, MODERATE)
    other.add_param_group({"params": [parameter()], "lr": 0.07})
    resumed.load_state_dict(scheduler.state_dict())
    assert [g["lr"] for g in other.param_groups] == pytest.approx(scheduler.get_last_lr())


def own_lrs(lrs):
    return torch.optim.SGD([{"params": [parameter()], "lr": lr, "weight_decay": lr / 100} for lr in lrs], lr=0.1)


def test_a_resumed_run_measures_a_late_group_by_the_saved_base():
    schedule = sc.constant(10, lr=0.5).replace(weight_decay=0.1)
    saved = sc.ScheduleLR(own_lrs([1.0, 10.0]), schedule).state_dict()
    for older in (False, True):
        optimizer = own_lrs([2.0, 20.0])  # set otherwise, with other ratios to what comes later
        scheduler = sc.ScheduleLR(optimizer, schedule)
        dropped = ("lr_base", "decay_base") if older else ()
        scheduler.load_state_dict({key: value for key, value in saved.items() if key not in dropped})
        optimizer.add_param_group({"params": [parameter()], "lr": 10.0, "weight_decay": 0.1})
        update(optimizer)
        scheduler.step()
        late = 0.5 if older else 1.0
        assert scheduler.get_last_lr() == pytest.approx([0.05, 0.5, 0.5 * late])
        assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.01, 0.1, 0.1 * late])


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def test_a_replaced_group_is_scheduled_and_the_last_lr_is_what_the_optimizer_has():
    optimizer = own_lrs([0.1, 1.0, 0.01])
    scheduler = sc.ScheduleLR(optimizer, sc.constant(50, lr=0.5))  # scales are over the default, .1

    def after(change):
        change(optimizer.param_groups)
        assert scheduler.get_last_lr() == rates(optimizer)  # also where nothing was written yet
        update(optimizer)
        found = rates(optimizer)  # as the update found them
        scheduler.step()
        assert scheduler.get_last_lr() == scheduler.get_lr() == rates(optimizer) == found
        return found

    assert after(lambda groups: None) == pytest.approx([0.5, 5.0, 0.05])

    def new_head(groups):
        groups.pop()
        optimizer.add_param_group({"params": [parameter()], "lr": 0.2})

    assert after(new_head) == pytest.approx([0.5, 5.0, 1.0])
    assert after(lambda groups: groups.reverse()) == pytest.approx([1.0, 5.0, 0.5])
    assert after(lambda groups: groups.__delitem__(0)) == pytest.approx([5.0, 0.5])
    assert after(lambda groups: groups.insert(1, {**groups[0], "lr": 9.0, "params": [parameter()]})) == pytest.approx(
        [5.0, 5.0, 0.5]  # a copy but for its parameters: made with the same `initial_lr`
    )
    # and what is saved is in this order
    del optimizer.param_groups[0]
    other = own_lrs([3.0, 3.0])
    sc.ScheduleLR(other, sc.constant(50, lr=0.5)).load_state_dict(scheduler.state_dict())
    assert rates(other) == pytest.approx([5.0, 0.5])


def test_a_group_exchanged_between_others_is_scheduled():
    optimizer = own_lrs([0.1, 1.0, 0.01])
    scheduler = sc.ScheduleLR(optimizer, PLAIN)
    optimizer.param_groups[1] = {**optimizer.param_groups[1], "lr": 7.0}
    update(optimizer)
    assert rates(optimizer) == pytest.approx([0.05, 0.5, 0.005])
    scheduler.step()
    assert rates(optimizer) == pytest.approx([PLAIN(1)["lr"] * scale for scale in (1, 10, 0.1)])


def test_a_run_with_a_lone_group_resumes_with_one_more_in_their_ratio():
    def adamw(*lrs):
        return torch.optim.AdamW([{"params": [parameter()], "lr": lr} for lr in lrs])

    schedule = sc.constant(9, lr=0.5)
    first = adamw(1e-2)
    scheduler = sc.ScheduleLR(first, schedule)
    follow(first, scheduler, 3)
    optimizer = adamw(1e-2, 1e-4)
    resumed = sc.ScheduleLR(optimizer, schedule)
    resumed.load_state_dict(scheduler.state_dict())
    assert resumed.get_last_lr() == rates(optimizer) == pytest.approx([0.5, 0.005])


def test_what_else_reads_a_scheduler_of_torchs():
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 2)
    assert scheduler._last_lr == scheduler.get_last_lr() == [MODERATE(2)["lr"]]
    optimizer.add_param_group({"params": [parameter()], "lr": 0.01})
    assert scheduler.base_lrs == [0.1, 0.01]
    assert scheduler._last_lr == rates(optimizer)


# ---- optimizers in optimizers -----------------------------------------------------------------------------------


class Wrapped(torch.optim.Optimizer):
    """As Accelerate's: an optimizer by class, all of which is in another one."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)
    defaults = property(lambda self: self.optimizer.defaults)

    def step(self, closure=None):
        self.optimizer.step(closure)


def test_updates_of_a_wrapped_optimizer_count():
    optimizer = Wrapped(Wrapped(sgd()))
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    assert follow(optimizer, scheduler, TOTAL + 5) == first_lrs(MODERATE)


class TwoStepSAM(torch.optim.Optimizer):
    """As davda54's and pytorch_optimizer's: the base takes over the groups, and `step` needs a closure."""

    def __init__(self, params, base, **options):
        super().__init__(params, {"rho": 0.05, **options})
        self.anything = base(self.param_groups, **options)
        self.param_groups = self.anything.param_groups

    def first_step(self):
        with torch.no_grad():
            for p in self.parameters():
                p.add_(p.grad, alpha=0.05)

    def second_step(self):
        with torch.no_grad():
            for p in self.parameters():
                p.sub_(p.grad, alpha=0.05)
        self.anything.step()

    def step(self, closure):
        self.first_step()
        closure()
        self.second_step()

    def parameters(self):
        return [p for group in self.param_groups for p in group["params"]]

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.anything.param_groups = self.param_groups


class Lookahead(torch.optim.Optimizer):
    """As timm's: `Optimizer.__init__` is not called, and the first of its versions makes two tables of hooks alone."""

    def __init__(self, base, tables=("step_pre", "step_post")):
        for name in tables:
            setattr(self, f"_optimizer_{name}_hooks", OrderedDict())
        self._base_optimizer = base
        self.param_groups = base.param_groups
        self.defaults = base.defaults
        self.state = {}

    def step(self, closure=None):
        return self._base_optimizer.step(closure)

    def load_state_dict(self, state_dict):
        self._base_optimizer.load_state_dict(state_dict)
        self.param_groups = self._base_optimizer.param_groups


ALL_TABLES = [
    f"{name}{when}"
    for name, when in [("step", "_pre"), ("step", "_post")]
    + [(name, when) for name in ("state_dict", "load_state_dict") for when in ("_pre", "_post")]
]


class Accumulating(torch.optim.Optimizer):
    """A wrapper with hooks of its own, every second step of which is an update."""

    def __init__(self, base):
        super().__init__(base.param_groups, base.defaults)
        self.param_groups, self.inner, self.calls = base.param_groups, [base], 0

    def step(self, closure=None):
        self.calls += 1
        if self.calls % 2 == 0:
            self.inner[0].step(closure)


class InTurn(torch.optim.Optimizer):
    """Several optimizers, one of which makes an update."""

    def __init__(self, *parts):
        groups = [group for part in parts for group in part.param_groups]
        super().__init__(groups, {"lr": 0.1})
        self.param_groups, self.parts, self.turn = groups, dict(enumerate(parts)), 0

    def step(self, closure=None):
        self.parts[self.turn % len(self.parts)].step()
        self.turn += 1


class PartsWithoutHooks(torch.optim.Optimizer):
    """One optimizer a group, as Muon beside AdamW; `Optimizer.__init__` is not called."""

    def __init__(self, *parts):
        self.parts = parts

    param_groups = property(lambda self: [group for part in self.parts for group in part.param_groups])

    def step(self, closure=None):
        for part in self.parts:
            part.step()


class Neighbour(torch.optim.SGD):
    """It knows the optimizer of another network, as a GAN's may."""

    def __init__(self, params, other, **options):
        super().__init__(params, **options)
        self.other = other

    def step(self, closure=None):
        self.other.step()
        return super().step(closure)


class PlainHolder:
    """No torch optimizer by class; it has nothing but a step."""

    def __init__(self, base):
        self.base = base

    def step(self, closure=None):
        self.base.step()


def two_steps(optimizer):
    optimizer.first_step()
    optimizer.second_step()


def base_alone(optimizer):
    optimizer._base_optimizer.step()


def one_step(optimizer):
    optimizer.step(lambda: torch.tensor(1.0))


def two_calls(optimizer):
    optimizer.step()
    optimizer.step()


def sam(groups=1):
    return TwoStepSAM([{"params": [parameter()]} for _ in range(groups)], torch.optim.SGD, lr=0.1, momentum=0.9)


def local_sgd(base):
    module = pytest.importorskip("torch.distributed.optim")
    averager = type("NoAveraging", (), {"average_parameters": lambda self, params: None, "step": 0})
    return module.PostLocalSGDOptimizer(base, averager())


WRAPPERS = {
    "two-step SAM": (sam, two_steps),
    "SAM with a closure": (sam, one_step),
    "an early Lookahead": (lambda: Lookahead(sgd()), one_step),
    "a late Lookahead": (lambda: Lookahead(sgd(), ALL_TABLES), one_step),
    "Lookahead's base by itself": (lambda: Lookahead(sgd()), base_alone),
    "Lookahead over SAM": (lambda: Lookahead(sam()), one_step),
    "torch's PostLocalSGD": (lambda: local_sgd(sgd()), lambda optimizer: optimizer.step()),
    "accumulating": (lambda: Accumulating(sgd()), two_calls),
    "parts in turn": (lambda: InTurn(sgd(), sgd(), sgd()), one_step),
    "parts without hooks": (lambda: PartsWithoutHooks(sgd(), sgd(), sgd()), one_step),
    "a neighbour": (lambda: Neighbour([parameter()], sgd(), lr=0.1, momentum=0.9), one_step),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_update_is_counted_once_whatever_of_a_wrapper_makes_it(name):
    make, make_update = WRAPPERS[name]
    optimizer = make()
    weights = torch.nn.ParameterList(p for group in optimizer.param_groups for p in group["params"])
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    found = []
    with sc.LRMonitor(weights, optimizer) as monitor:
        for step in range(TOTAL + 3):
            assert scheduler.last_epoch == monitor.step == step
            found.append([float(group["lr"]) for group in optimizer.param_groups])
            for p in weights:
                p.grad = torch.full_like(p, 0.01)
            before = [p.detach().clone() for p in weights]
            make_update(optimizer)
            assert not all(map(torch.equal, before, weights))  # else this tests nothing
            scheduler.step()
    assert found == [[MODERATE(step)["lr"]] * len(optimizer.param_groups) for step in range(TOTAL + 3)]
    assert all(group["momentum"] == MODERATE(TOTAL)["momentum"] for group in optimizer.param_groups)


def test_a_holder_of_another_class_stands_for_the_one_optimizer_that_it_holds():
    holder = PlainHolder(sgd())
    scheduler = sc.ScheduleLR(holder, MODERATE)
    assert scheduler.optimizer is holder.base
    for step in range(TOTAL):
        assert holder.base.param_groups[0]["lr"] == MODERATE(step)["lr"]
        update(holder.base)
        scheduler.step()
    for wrong in (PlainHolder(None), PlainHolder([sgd(), sgd()])):
        with pytest.raises(TypeError, match="got a PlainHolder; pass the inner one"):
            sc.ScheduleLR(wrong, MODERATE)


def test_an_optimizer_whose_updates_cannot_be_counted_is_refused():
    optimizer = Lookahead(sgd())
    optimizer._base_optimizer = None
    with pytest.raises(ValueError, match="updates of Lookahead cannot be counted: its class never calls"):
        sc.ScheduleLR(optimizer, MODERATE)


@pytest.mark.parametrize("order", ["optimizer first", "scheduler first"])
@pytest.mark.parametrize("name", ["two-step SAM", "a late Lookahead"])
def test_a_wrapper_is_resumed_in_any_order(name, order):
    make, make_update = WRAPPERS[name]
    optimizer = make()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)

    def follow_wrapped(optimizer, scheduler, steps):
        found = []
        for _ in range(steps):
            for group in optimizer.param_groups:
                group["params"][0].grad = torch.full((3, 3), 0.01)
            make_update(optimizer)
            found.append(optimizer.param_groups[0]["lr"])  # as the update found it
            scheduler.step()
        return found

    follow_wrapped(optimizer, scheduler, 5)
    saved = [copy.deepcopy(each.state_dict()) for each in (getattr(optimizer, "_base_optimizer", optimizer), scheduler)]
    saved[0]["param_groups"][0]["lr"] = 99.0  # gives way to the schedule
    other = make()
    resumed = sc.ScheduleLR(other, MODERATE)
    pairs = [(other, saved[0]), (resumed, saved[1])]
    for each, state in pairs if order == "optimizer first" else reversed(pairs):
        each.load_state_dict(state)
    if name == "two-step SAM":  # timm's Lookahead takes its groups over only after its base's hook
        assert rates(other) == [MODERATE(5)["lr"]]
    assert follow_wrapped(other, resumed, 8) == [MODERATE(step)["lr"] for step in range(5, 13)]


@pytest.mark.parametrize("wrap", [local_sgd, lambda base: Lookahead(base, ALL_TABLES)])
def test_groups_of_a_wrapper_are_measured_by_the_default_of_what_it_wraps(wrap):
    base = torch.optim.SGD([{"params": [parameter()]}, {"params": [parameter()], "lr": 1.0}], lr=0.1)
    scheduler = sc.ScheduleLR(wrap(base), sc.constant(9, lr=0.5))
    assert scheduler.get_last_lr() == pytest.approx([0.5, 5.0])


class Hidden(torch.optim.Optimizer):
    """A wrapper whose base no attribute shows."""

    def __init__(self, base):
        super().__init__(base.param_groups, base.defaults)
        self.param_groups = base.param_groups
        self.second_step = lambda: base.step()


def skipped_by_amp(optimizer, scaler):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None
    scaler.scale((optimizer.param_groups[0]["params"][0] * float("inf")).sum()).backward()
    scaler.step(optimizer)
    scaler.update()


def test_updates_that_are_never_seen_are_said_once_at_the_callers_line():
    optimizer = Hidden(sgd())
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    (p,) = optimizer.param_groups[0]["params"]
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(5):  # neither the first updates that AMP skips nor micro-batches are a sign; a warning is an error
        skipped_by_amp(optimizer, scaler)
        scheduler.step()
    with torch.no_grad():
        p.fill_(2.0)  # weights are loaded
    for _ in range(8):
        scheduler.step()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for made in range(1, 9):
            p.grad = torch.ones_like(p)
            optimizer.second_step()
            scheduler.step()
            assert len(caught) == (made >= 2)  # the third change
    assert "none of its steps was seen, so the schedule stays at step 0" in str(caught[0].message)
    assert (caught[0].filename, caught[0].category) == (__file__, UserWarning)


class AmpAware(torch.optim.SGD):
    """It is called on an overflow as well, and writes what stands there, as third-party fused optimizers may."""

    _step_supports_amp_scaling = True

    def step(self, closure=None):
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.sub_(torch.nan_to_num(p.grad, nan=0.0, posinf=0.0) * (1 - self.found_inf))


def test_updates_that_an_amp_aware_optimizer_skips_are_no_sign():
    optimizer = AmpAware([parameter()], lr=0.1, momentum=0.9)
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    versions, scaler = set(), torch.amp.GradScaler("cpu")
    for _ in range(6):
        skipped_by_amp(optimizer, scaler)
        scheduler.step()
        versions.add(optimizer.param_groups[0]["params"][0]._version)
    assert len(versions) == 6  # else this tests nothing
    assert scheduler.last_epoch == 0


def test_a_schedule_without_momentum_leaves_it_as_an_interrupted_cycle_did():
    optimizer = sgd()
    follow(optimizer, sc.ScheduleLR(optimizer, MODERATE), 9)
    sc.ScheduleLR(optimizer, sc.constant(9, lr=0.1))
    assert optimizer.param_groups[0]["momentum"] == MODERATE(9)["momentum"] != 0.9
    sc.ScheduleLR(optimizer, sc.constant(9, lr=0.1).replace(momentum=0.9))  # as the docstring has it
    assert optimizer.param_groups[0]["momentum"] == 0.9


# ---- saving and resuming ----------------------------------------------------------------------------------------


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def saved_at(step, schedule=MODERATE):
    optimizer = sgd(2)
    scheduler = sc.ScheduleLR(optimizer, schedule)
    follow(optimizer, scheduler, step)
    return through_a_file(optimizer.state_dict()), through_a_file(scheduler.state_dict())


def resumed(saved, schedule, order):
    optimizer = sgd(2)
    if order == "scheduler made last":
        optimizer.load_state_dict(saved[0])
    scheduler = sc.ScheduleLR(optimizer, schedule)
    if order == "optimizer first":
        optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    if order == "scheduler first":
        optimizer.load_state_dict(saved[0])
    return optimizer, scheduler


ORDERS = ["optimizer first", "scheduler first", "scheduler made last"]


@pytest.mark.parametrize("order", ORDERS)
def test_pitfall_23_resume_at_every_step_in_any_order(order):
    for step in range(TOTAL + 2):
        optimizer, scheduler = resumed(saved_at(step), MODERATE, order)
        assert optimizer.param_groups[0]["momentum"] == MODERATE(step)["momentum"]
        rest = [lrs[:1] for lrs in follow(optimizer, scheduler, TOTAL + 5 - step)]
        assert rest == first_lrs(MODERATE, step)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("step", [0, 1, 7, 15, TOTAL - 1, TOTAL + 3])
@pytest.mark.parametrize("total", [TOTAL * 2, TOTAL - 2])
@pytest.mark.parametrize("shape", ["linear", "caffe"])
def test_pitfall_24_resume_with_another_length_does_not_jump(order, step, total, shape):
    old = sc.one_cycle(TOTAL, max_lr=0.5, shape=shape)
    new = sc.one_cycle(total, max_lr=0.5, shape=shape)
    optimizer, scheduler = resumed(saved_at(step, old), new, order)
    if step < min(TOTAL, total) - 1:
        assert optimizer.param_groups[0]["lr"] == old(step)["lr"]
        assert max(lrs[0] for lrs in follow(optimizer, scheduler, total)) == (0.5 if step < 9 else old(step)["lr"])
    assert scheduler.schedule.total_steps == total
    follow(optimizer, scheduler, total)
    assert optimizer.param_groups[0]["lr"] == new(total)["lr"]


def test_pitfall_24_stretched_twice_goes_on_unchanged():
    longer = sc.one_cycle(2 * TOTAL, max_lr=0.5, initial_lr=0.05)
    optimizer, scheduler = resumed(saved_at(7), longer, "scheduler first")
    follow(optimizer, scheduler, 5)
    state = scheduler.state_dict()
    other = sc.ScheduleLR(sgd(2), longer)
    other.load_state_dict(state)
    assert other.schedule == scheduler.schedule == MODERATE.stretch(2 * TOTAL, from_step=7)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("old_total", "new_total"), [(100, 200), (201, 401), (20, 60)])
def test_a_longer_run_does_not_rise_again_where_both_schedules_cross(old_total, new_total, shape):
    old, new = (sc.one_cycle(total, max_lr=0.5, shape=shape) for total in (old_total, new_total))
    fallen = [step for step in range(old_total) if old(step)["lr"] < 0.5 and step > 0.5 * old_total]
    assert shape == "cosine" or new_total == 60 or any(old(step) == new(step) for step in fallen)
    for step in fallen[:-1]:
        lrs = [resumed_schedule(old, new, step)(each)["lr"] for each in range(step, new_total)]
        assert lrs[0] == max(lrs) == old(step)["lr"]


@pytest.mark.parametrize("step", [0, 20, 49])
def test_what_both_schedules_did_so_far_is_agreement(step):
    """A drop that is still to come is where the new one has it."""
    old, new = (sc.piecewise_constant(total, lr=0.1, milestones=[total // 2]) for total in (100, 200))
    assert resumed_schedule(old, new, step) == new
    assert resumed_schedule(old, new, 60) == old.stretch(200, from_step=60)


@pytest.mark.parametrize("shape", ["linear", "caffe"])
@pytest.mark.parametrize("past", [-1, 0, 5])
def test_a_finished_run_that_goes_on_holds_its_last_values(past, shape):
    old, new, newer = (sc.one_cycle(total, max_lr=0.5, shape=shape) for total in (TOTAL, 2 * TOTAL, 3 * TOTAL))
    last = old(TOTAL - 1)
    optimizer, scheduler = resumed(saved_at(TOTAL + past, old), new, "optimizer first")
    assert optimizer.param_groups[0]["momentum"] == last["momentum"]
    assert follow(optimizer, scheduler, TOTAL - 10) == [[last["lr"]] * 2] * (TOTAL - 10)
    for again in (new, newer):  # and so it does when it is resumed once more
        other_optimizer, other = resumed((optimizer.state_dict(), scheduler.state_dict()), again, "scheduler first")
        assert follow(other_optimizer, other, 3 * TOTAL) == [[last["lr"]] * 2] * 3 * TOTAL


@pytest.mark.parametrize("step", [12, 13])
def test_a_longer_run_of_cycles_goes_on_after_the_shorter_one_was_over(step):
    old, new = (sc.triangular(total, base_lr=0.1, max_lr=0.5, step_size=3) for total in (13, 26))
    optimizer, scheduler = resumed(saved_at(step, old), new, "optimizer first")
    assert [lrs[:1] for lrs in follow(optimizer, scheduler, 10)] == first_lrs(new, step, step + 10)


@pytest.mark.parametrize("shape", ["linear", "caffe"])
@pytest.mark.parametrize("left", range(-2, 5))
def test_a_shorter_run_ends_with_the_last_values_however_few_steps_are_left(left, shape):
    old = sc.one_cycle(TOTAL, max_lr=0.5, shape=shape)
    for step in range(6, TOTAL + 2):
        total = step + left
        if total in (7, 9) or total < 6:
            continue  # no one_cycle has this length
        optimizer, scheduler = resumed(saved_at(step, old), sc.one_cycle(total, max_lr=0.5, shape=shape), ORDERS[0])
        lrs = [lr for lr, _ in follow(optimizer, scheduler, max(left, 1) + 2)]
        if step < TOTAL - 1:
            assert lrs[0] == (old(step)["lr"] if left > 1 else old(TOTAL)["lr"])
        assert lrs[-1] == lrs[max(left, 1) - 1] == old(TOTAL)["lr"]


@pytest.mark.parametrize("order", ORDERS)
def test_pitfall_25_resume_with_another_max_lr_is_honoured(order):
    new = sc.one_cycle(TOTAL, max_lr=0.2, initial_lr=0.05)
    optimizer, scheduler = resumed(saved_at(7), new, order)
    assert [lrs[:1] for lrs in follow(optimizer, scheduler, TOTAL - 2)] == first_lrs(new, 7)


def test_pitfall_27_state_is_plain_copied_data_and_loads_twice():
    optimizer = sgd(2)
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 4)
    state = scheduler.state_dict()
    kept = copy.deepcopy(state)
    follow(optimizer, scheduler, 3)
    assert state == kept == through_a_file(state)
    for _ in range(2):
        scheduler.load_state_dict(state)
        assert state == kept
        assert scheduler.get_last_lr() == [MODERATE(4)["lr"]] * 2
    for foreign in ({"last_epoch": 3}, {"format": 1, "step": 3}):  # torch's, and a TrainState's
        with pytest.raises(ValueError, match="no state of ScheduleLR"):
            scheduler.load_state_dict(foreign)
    assert scheduler.get_last_lr() == [MODERATE(4)["lr"]] * 2


def test_explicit_choices_win_over_saved_ones():
    _, state = saved_at(4)
    optimizer = sgd(2)
    scheduler = sc.ScheduleLR(optimizer, MODERATE, group_scales=[1.0, 0.5], cycle_momentum=False)
    scheduler.load_state_dict(state)
    assert scheduler.get_last_lr() == [MODERATE(4)["lr"], MODERATE(4)["lr"] * 0.5]
    assert optimizer.param_groups[0]["momentum"] == 0.9


def test_momentum_that_was_cycled_is_cycled_on():
    before = sgd()
    saved = sc.ScheduleLR(before, MODERATE)
    follow(before, saved, 4)
    optimizer = sgd(momentum=0.0)
    with pytest.warns(UserWarning, match="made without it"):
        scheduler = sc.ScheduleLR(optimizer, MODERATE)
    scheduler.load_state_dict(saved.state_dict())
    assert optimizer.param_groups[0]["momentum"] == MODERATE(4)["momentum"]


def test_a_deep_copy_counts_on_its_own():
    optimizer = sgd()
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 3)
    other_optimizer, other = copy.deepcopy((optimizer, scheduler))
    assert follow(other_optimizer, other, 4) == first_lrs(MODERATE, 3, 7)
    assert optimizer.param_groups[0]["lr"] == MODERATE(3)["lr"]
    assert follow(optimizer, scheduler, 4) == first_lrs(MODERATE, 3, 7)


def test_a_copy_counts_on_its_own():
    optimizer = sgd(2)
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    follow(optimizer, scheduler, 3)
    other = copy.copy(scheduler)
    assert other.optimizer is optimizer
    assert follow(optimizer, scheduler, 4) == [lr * 2 for lr in first_lrs(MODERATE, 3, 7)]
    assert scheduler.last_epoch == 7
    assert other.last_epoch == 3
    with pytest.warns(UserWarning, match="4 optimizer updates since"), pytest.warns(UserWarning, match="another sched"):
        other.step()
    assert other.last_epoch == 7
    del scheduler
    gc.collect()
    assert follow(optimizer, other, 3) == [lr * 2 for lr in first_lrs(MODERATE, 7, 10)]


def test_a_scheduler_that_is_gone_leaves_no_hook_and_no_patch():
    optimizer = sgd()
    step = optimizer.step.__func__
    scheduler = sc.ScheduleLR(optimizer, MODERATE)
    assert optimizer.step.__func__ is step
    assert len(optimizer._optimizer_step_post_hooks) == 1
    del scheduler
    gc.collect()
    assert not optimizer._optimizer_step_post_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_load_state_dict_post_hooks


def edited(optimizer):
    for group in optimizer.param_groups:
        group["lr"] = 0.7
    return optimizer


def loaded():
    low, high = sgd(lr=1e-5), sgd(lr=0.1)
    high.load_state_dict(low.state_dict())
    return high


def after_another_scheduler():
    optimizer = sgd(lr=0.1)
    OneCycleLR(optimizer, max_lr=1.0, total_steps=100)
    return optimizer


@pytest.mark.parametrize(
    "make",
    [lambda: edited(sgd()), loaded, after_another_scheduler],
    ids=["edited", "loaded", "after another scheduler"],
)
def test_a_single_group_gets_what_the_schedule_says_whatever_was_written_into_it(make):
    optimizer = make()
    lrs = follow(optimizer, sc.ScheduleLR(optimizer, MODERATE), TOTAL)
    assert [lr for (lr,) in lrs] == pytest.approx([MODERATE(step)["lr"] for step in range(TOTAL)])


def test_groups_that_all_have_their_own_lr_keep_their_ratio_under_the_schedules_maximum():
    groups = [{"params": [parameter()], "lr": lr} for lr in (0.01, 0.1)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    lrs = follow(optimizer, sc.ScheduleLR(optimizer, MODERATE), TOTAL)
    assert max(lrs) == pytest.approx([0.05, 0.5])
    lrs = follow(edited(three := sgd(3)), sc.ScheduleLR(three, MODERATE), TOTAL)
    assert max(lrs) == pytest.approx([0.5, 0.5, 0.5])


def test_frameworks_that_pass_last_epoch_are_served():
    for last_epoch, start_step in ((-1, 0), (4, 5)):
        by_torchs_word = sc.ScheduleLR(sgd(1), MODERATE, last_epoch=last_epoch)
        assert by_torchs_word.get_last_lr() == sc.ScheduleLR(sgd(1), MODERATE, start_step=start_step).get_last_lr()
    with pytest.raises(ValueError, match="start_step and last_epoch say the same thing"):
        sc.ScheduleLR(sgd(1), MODERATE, last_epoch=3, start_step=4)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (lambda: [sgd(1), sgd(1)], "one optimizer is needed, got a list of them; make a scheduler for each"),
        (lambda: {"d": sgd(1)}, "one optimizer is needed, got a dict of them"),
        (lambda: torch.optim.SGD, "an optimizer is needed, got the class SGD"),
    ],
)
def test_what_is_no_optimizer_is_told_apart(given, words):
    with pytest.raises(TypeError, match=words):
        sc.ScheduleLR(given(), MODERATE)
    with pytest.raises(TypeError, match=words):
        next(iter(sc.train_steps(torch.nn.Linear(1, 1), given(), torch.nn.functional.mse_loss, [], MODERATE)))


def test_an_optimizer_that_sets_its_own_steps_is_refused():
    optimizer = sgd(1)
    optimizer.param_groups[0]["relative_step"] = True  # as Adafactor of transformers
    with pytest.raises(ValueError, match="SGD with relative_step=True, which sets its step sizes by itself"):
        sc.ScheduleLR(optimizer, MODERATE)


def test_lazy_layers_may_get_their_parameters_after_the_scheduler_was_made():
    model = torch.nn.Sequential(torch.nn.LazyLinear(4), torch.nn.LazyLinear(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = sc.ScheduleLR(optimizer, PLAIN)
    for step in range(3):
        assert scheduler.get_last_lr() == [PLAIN(step)["lr"]]
        scheduler.step()  # as before a first batch: no update, and nothing to see
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
