import importlib.util
import random

import pytest
import torch

import superconv as sc
from superconv.training.group_scales import own_scales
from superconv.training.scheduled_groups import ScheduledGroups

TOTAL = 21
MODERATE = sc.one_cycle(TOTAL, max_lr=0.5, initial_lr=0.05)
PLAIN = sc.one_cycle(TOTAL, max_lr=0.5, initial_lr=0.05, max_momentum=None)


def parameter():
    return torch.nn.Parameter(torch.ones(3, 3))


def sgd(groups=1, **options):
    options = {"lr": 0.1, "momentum": 0.9, **options}
    return torch.optim.SGD([{"params": [parameter()]} for _ in range(groups)], **options)


def started(optimizer, schedule, **options):
    groups = ScheduledGroups(optimizer, schedule, **options)
    groups.write(0)
    return groups


def test_scheduled_groups_writes_and_reports():
    optimizer = torch.optim.AdamW([{"params": [parameter()]}, {"params": [parameter()], "lr": 0.01}], lr=0.1)
    groups = ScheduledGroups(optimizer, MODERATE)
    for step in (0, 9, 20, 1000):
        assert groups.write(step) == groups.values == MODERATE(step)
        assert groups.lrs == tuple(g["lr"] for g in optimizer.param_groups)
        assert all(g["betas"] == (MODERATE(step)["momentum"], 0.999) for g in optimizer.param_groups)
    groups.set({"lr": 0.3})
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.3, 0.03])
    assert not optimizer._optimizer_step_post_hooks


def test_tensor_betas_are_filled_in_place():
    beta1 = torch.tensor(0.9)
    options = {"betas": (beta1, torch.tensor(0.999)), "capturable": True, "foreach": False}
    optimizer = torch.optim.Adam([parameter()], lr=torch.tensor(0.1), **options)
    ScheduledGroups(optimizer, MODERATE).write(9)
    assert optimizer.param_groups[0]["betas"][0] is beta1
    assert float(beta1) == pytest.approx(0.85)
    assert float(optimizer.param_groups[0]["betas"][1]) == pytest.approx(0.999)


def test_pitfall_17_group_ratios_are_kept():
    lrs = [{"lr": 0.01}, {}, {"lr": 1.0}]
    optimizer = torch.optim.SGD([{"params": [parameter()], **lr} for lr in lrs], lr=0.1)
    assert own_scales(optimizer) == pytest.approx([0.1, 1.0, 10.0])
    groups = ScheduledGroups(optimizer, PLAIN)
    for step in range(TOTAL + 1):
        lr = groups.write(step)["lr"]
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([lr * s for s in (0.1, 1.0, 10.0)])
    # scales come from initial_lr, not from where the first schedule ended
    assert started(optimizer, PLAIN).lrs == pytest.approx((0.005, 0.05, 0.5))
    assert started(optimizer, PLAIN, group_scales=[1, 0, 2]).lrs == pytest.approx((0.05, 0.0, 0.1))


def test_scheduled_weight_decay_scales_by_group_and_zero_stays_zero():
    groups = [{"params": [parameter()]}, {"params": [parameter()], "weight_decay": 0.0},
              {"params": [parameter()], "weight_decay": 2e-3}]  # fmt: skip
    optimizer = torch.optim.AdamW(groups, lr=0.1, weight_decay=1e-3)
    schedule = PLAIN.replace(weight_decay=sc.cosine(TOTAL, max_lr=4e-3).curves["lr"])
    for _ in range(2):  # a second schedule finds the same ratios
        ScheduledGroups(optimizer, schedule).write(0)
        assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([4e-3, 0.0, 8e-3])
        ScheduledGroups(optimizer, schedule).write(TOTAL)
        assert [g["weight_decay"] for g in optimizer.param_groups] == [0.0, 0.0, 0.0]
    with pytest.warns(UserWarning, match="0 stays 0"):
        ScheduledGroups(sgd(), schedule).write(0)


@pytest.mark.parametrize(
    ("decays", "default", "wanted"),
    [
        ([0.1, 0.0], {}, [0.1, 0.0]),  # AdamW's own default, .01, is no group's
        ([0.1, 0.05, 0.0], {}, [0.1, 0.05, 0.0]),
        ([0.1], {}, [0.1]),
        ([0.1, 0.01], {}, [1.0, 0.1]),  # one group has the default
        ([0.1, 0.05, 0.0], {"weight_decay": 0.0}, [0.1, 0.05, 0.0]),
        ([0.1, 0.05], {"weight_decay": 0.0}, [0.1, 0.05]),
    ],
)
def test_weight_decay_is_over_the_largest_where_no_group_has_the_default(decays, default, wanted):
    groups = [{"params": [parameter()], "weight_decay": decay} for decay in decays]
    optimizer = torch.optim.AdamW(groups, lr=0.1, **default)
    started(optimizer, PLAIN.replace(weight_decay=0.1))
    assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx(wanted)


def test_a_group_added_later_has_its_scale_over_what_the_others_have():
    optimizer = torch.optim.SGD(
        [{"params": [parameter()], "lr": lr, "weight_decay": lr / 100} for lr in (1.0, 10.0)], lr=0.1
    )
    groups = started(optimizer, sc.constant(10, lr=0.5).replace(weight_decay=0.1))
    for lr in (10.0, 1.0, 20.0):
        optimizer.add_param_group({"params": [parameter()], "lr": lr, "weight_decay": lr / 100})
        groups.write(1)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.5, 0.5, 0.05, 1.0])
    assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.01, 0.1, 0.1, 0.01, 0.2])


@pytest.mark.parametrize("given", [None, [1.0]])
def test_what_is_added_to_a_lone_group_keeps_the_ratio_that_both_would_have_together(given):
    def adamw(*lrs):
        return torch.optim.AdamW([{"params": [parameter()], "lr": lr} for lr in lrs])

    together, lone = adamw(1e-2, 1e-4), adamw(1e-2)
    groups = started(lone, PLAIN, group_scales=given)
    lone.add_param_group({"params": [parameter()], "lr": 1e-4})
    groups.write(9)
    assert groups.lrs == pytest.approx((0.5, 0.005))
    if given is None:
        assert ScheduledGroups(together, PLAIN).write(9)
        assert [g["lr"] for g in lone.param_groups] == pytest.approx([g["lr"] for g in together.param_groups])


def test_what_is_added_where_no_scale_is_1_is_over_the_default():
    optimizer = sgd(2)
    groups = started(optimizer, PLAIN, group_scales=[0.5, 0.25])
    optimizer.add_param_group({"params": [parameter()], "lr": 0.3})
    groups.write(9)
    assert groups.lrs == pytest.approx((0.25, 0.125, 1.5))


def test_groups_of_an_optimizer_without_a_default_are_over_the_largest():
    class Own(torch.optim.SGD):
        def __init__(self, groups):
            super().__init__(groups)
            self.defaults = {}

    optimizer = Own([{"params": [parameter()], "lr": lr} for lr in (0.01, 1.0)])
    assert started(optimizer, PLAIN).lrs == pytest.approx((0.0005, 0.05))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("given", [None, [1.0, 0.7, 0.2]])
def test_whatever_happens_to_groups_each_keeps_its_own_scale(given, seed):
    """Against a book of the scale of every group, by its parameter."""
    chance, scales = random.Random(seed), {}

    def fresh(p=None):
        p = parameter() if p is None else p
        scales[id(p)] = scale = 10 ** chance.uniform(-2, 1)
        return {"params": [p], "lr": 0.1 * scale, "weight_decay": 0.01 * scale}

    first = [{"params": [parameter()]}, fresh(), fresh()]
    decay_scales = [1.0] + [scales[id(group["params"][0])] for group in first[1:]]
    if given:  # of learning rates alone
        scales.update({id(group["params"][0]): scale for group, scale in zip(first, given, strict=True)})
    else:
        scales[id(first[0]["params"][0])] = 1.0
    decays = {**scales, **{id(g["params"][0]): scale for g, scale in zip(first, decay_scales, strict=True)}}
    optimizer = torch.optim.AdamW(first, lr=0.1, weight_decay=0.01)
    groups = started(optimizer, MODERATE.replace(weight_decay=0.3), group_scales=given)

    def add(at, p=None):
        optimizer.add_param_group(group := fresh(p))
        decays[id(group["params"][0])] = scales[id(group["params"][0])]

    def replace(at):
        del optimizer.param_groups[at]
        add(at)

    def remake(at):  # the same parameters with another LR, on purpose
        add(at, optimizer.param_groups.pop(at)["params"][0])

    def load(at):  # other dicts, which `present` is to hold
        optimizer.load_state_dict(optimizer.state_dict())
        present[:] = optimizer.param_groups
        optimizer.param_groups = present

    def exchange(at):  # a copy that was scheduled before
        optimizer.param_groups[at] = {**optimizer.param_groups[at], "lr": 7.0}

    changes = [
        add,
        replace,
        remake,
        exchange,
        load,
        lambda at: present.reverse(),
        lambda at: present.insert(0, present.pop(at)),
        lambda at: present.__delitem__(at) if len(present) > 2 else None,
    ]
    present = optimizer.param_groups
    for step in range(1, 40):
        chance.choice(changes)(chance.randrange(len(present)))
        lr = groups.write(step)["lr"]
        ids = [id(group["params"][0]) for group in optimizer.param_groups]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([lr * scales[at] for at in ids])
        assert groups.lrs == tuple(groups.present_lrs) == tuple(group["lr"] for group in optimizer.param_groups)
        assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.3 * decays[at] for at in ids])
        assert all(group["betas"][0] == MODERATE(step)["momentum"] for group in optimizer.param_groups)


def test_another_schedule_may_set_other_keys():
    optimizer = torch.optim.AdamW([parameter()], lr=0.1, weight_decay=0.01)
    groups = started(optimizer, PLAIN)
    groups.schedule = MODERATE.replace(weight_decay=0.3)
    groups.write(9)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"][0], group["weight_decay"]) == (0.5, 0.85, 0.3)
    groups.schedule = PLAIN
    group["weight_decay"] = 0.7
    groups.write(9)
    assert group["weight_decay"] == 0.7


@pytest.mark.parametrize("total", [12, 15, 20])
def test_a_cycle_that_was_cut_off_holds_its_last_value(total):
    schedule = sc.triangular(total, base_lr=0.1, max_lr=1.0, step_size=5)
    groups = started(sgd(), schedule)
    for step in (total - 1, total, total + 1, total + 7):
        assert groups.write(step) == schedule(step) == schedule(total - 1)


def test_exchanged_groups_are_written_from_the_next_update_on():
    optimizer = sgd()
    groups = started(optimizer, PLAIN)
    optimizer.param_groups = [{**group, "lr": 9.0} for group in optimizer.param_groups]
    assert groups.stale
    groups.write(10)
    assert optimizer.param_groups[0]["lr"] == PLAIN(10)["lr"]
    assert not groups.stale


def test_ratios_that_are_not_defined_are_refused():
    groups = [{"params": [parameter()], "lr": 0.1}, {"params": [parameter()]}]
    with pytest.raises(ValueError, match=r"default is 0.*pass group_scales"):
        ScheduledGroups(torch.optim.SGD(groups, lr=0.0), PLAIN)
    assert started(sgd(2, lr=0.0), PLAIN).lrs == (0.05, 0.05)
    for scales, says in [([1.0], "2 groups, got 1"), ([1.0, -1.0], "not negative"), ([1, float("nan")], "finite")]:
        with pytest.raises(ValueError, match=says):
            ScheduledGroups(sgd(2), PLAIN, group_scales=scales)


# ---- momentum ---------------------------------------------------------------------------------------------------


def test_pitfall_22_momentum_is_left_alone_where_the_optimizer_has_none():
    optimizer = sgd(momentum=0.0)
    with pytest.warns(UserWarning, match="left alone") as caught:
        groups = ScheduledGroups(optimizer, MODERATE)
    assert len(caught) == 1
    optimizer.add_param_group({"params": [parameter()]})
    groups.write(9)  # a second warning would be an error
    assert [group["momentum"] for group in optimizer.param_groups] == [0.0, 0.0]
    forced = sgd(momentum=0.0)
    started(forced, MODERATE, cycle_momentum=True)
    assert forced.param_groups[0]["momentum"] == 0.95
    kept = sgd(momentum=0.9)
    started(kept, MODERATE, cycle_momentum=False)
    assert kept.param_groups[0]["momentum"] == 0.9


def test_momentum_that_cannot_be_cycled_is_refused():
    with pytest.raises(ValueError, match="Adagrad has no momentum"):
        ScheduledGroups(torch.optim.Adagrad([parameter()]), MODERATE, cycle_momentum=True)
    with pytest.raises(ValueError, match="sets no momentum"):
        ScheduledGroups(sgd(), PLAIN, cycle_momentum=True)
    with pytest.raises(ValueError, match="None, True or False"):
        ScheduledGroups(sgd(), PLAIN, cycle_momentum="yes")
    with pytest.raises(TypeError, match="Optimizer is needed"):
        ScheduledGroups(object(), PLAIN)
    with pytest.raises(TypeError, match="Schedule is needed"):
        ScheduledGroups(sgd(), lambda step: 0.1)


class SGDScheduleFree(torch.optim.SGD):
    pass


def schedule_free():
    if importlib.util.find_spec("schedulefree"):
        import schedulefree

        return schedulefree.SGDScheduleFree([parameter()], lr=0.1, momentum=0.9)
    return SGDScheduleFree([parameter()], lr=0.1, momentum=0.9)


def test_pitfall_30_schedule_free_momentum_is_not_cycled():
    for cycle in (None, True):
        with pytest.raises(ValueError, match="schedule-free"):
            ScheduledGroups(schedule_free(), MODERATE, cycle_momentum=cycle)
    assert started(schedule_free(), MODERATE, cycle_momentum=False).lrs == (0.05,)
    assert started(schedule_free(), PLAIN).lrs == (0.05,)
