import pytest
import torch
from torch import nn

import superconv as sc
from superconv.training.step_nesting import StepNesting

RAMP = sc.lr_ramp(5, start_lr=1.0, end_lr=5.0)


def parameter():
    return nn.Parameter(torch.ones(2))


def nested(depth=1):
    """An SGD whose hooks run in `depth` more places an update; by torch's patch of every class that was used."""

    class Base(torch.optim.SGD):
        fail = False

        def step(self, closure=None):
            if self.fail:
                raise RuntimeError("out of memory")
            return super().step(closure)

    kinds = [Base]
    for _ in range(depth):
        kinds.append(type("Derived", (kinds[-1],), {}))

        def step(self, closure=None, kind=kinds[-1]):
            return super(kind, self).step(closure)

        kinds[-1].step = step
    torch.optim.SGD([parameter()], lr=0.1)
    for kind in kinds[:-1]:
        kind([parameter()], lr=0.1)
    return kinds[-1]([parameter()], lr=0.1)


def update(optimizer):
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()


@pytest.mark.parametrize("depth", [1, 3])
def test_an_update_whose_class_calls_super_step_counts_once(depth):
    optimizer = nested(depth)
    weights = nn.ParameterList(optimizer.param_groups[0]["params"])
    scheduler, lrs = sc.ScheduleLR(optimizer, RAMP), []
    hooks = []
    optimizer.register_step_post_hook(lambda *_: hooks.append(1))
    with sc.LRMonitor(weights, optimizer) as monitor:
        for _ in range(5):
            lrs.append(optimizer.param_groups[0]["lr"])
            update(optimizer)
            scheduler.step()
    assert len(hooks) == 5 * (depth + 2)  # else this tests nothing
    assert lrs == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])
    assert scheduler.last_epoch == monitor.step == 5
    assert monitor.read().paper_estimate is not None
    assert len(optimizer._optimizer_step_pre_hooks) == 1  # the monitor's is gone


@pytest.mark.parametrize("depth", [1, 3])
def test_a_step_that_raised_does_not_count_and_those_after_it_do(depth):
    optimizer = nested(depth)
    weights = nn.ParameterList(optimizer.param_groups[0]["params"])
    scheduler = sc.ScheduleLR(optimizer, RAMP)
    with sc.LRMonitor(weights, optimizer) as monitor:
        for made, fail in enumerate([False, True, True, False, False]):
            type(optimizer).fail = fail
            if fail:
                with pytest.raises(RuntimeError, match="out of memory"):
                    update(optimizer)
            else:
                update(optimizer)
            scheduler.step()
            assert scheduler.last_epoch == monitor.step == (1, 1, 1, 2, 3)[made]


def test_steps_of_another_optimizer_within_are_not_mixed_up():
    inner, nesting, done = nested(), StepNesting(), []

    class Outer(torch.optim.SGD):
        def step(self, closure=None):
            update(inner)
            return super().step(closure)

    outer = Outer([parameter()], lr=0.1)
    inner.register_step_pre_hook(lambda optimizer, *_: nesting.enter(optimizer))
    inner.register_step_post_hook(lambda *_: done.append(nesting.leave()))
    nesting.enter(inner)  # as a step that raised would leave it
    update(outer)
    assert done == [False, False, True]
