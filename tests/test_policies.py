import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR, OneCycleLR
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import superconv as sc

SHAPES = ["linear", "cosine", "caffe"]


def lrs(schedule):
    return [schedule(t)["lr"] for t in range(schedule.total_steps)]


def torch_values(make, steps, key="lr", **options):
    """What a torch scheduler sets, update by update, to its last good step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], **{"lr": 1.0, "momentum": 0.9, **options})
    scheduler, found = make(optimizer), []
    for step in range(steps):
        found.append(optimizer.param_groups[0][key])
        optimizer.step()
        if step < steps - 1:
            scheduler.step()
    return found


# ---- oracles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "torchs"), [("linear", "linear"), ("cosine", "cos")])
@pytest.mark.parametrize("key", ["lr", "momentum"])
def test_one_cycle_equals_torch_in_three_phases(ours, torchs, key):
    total, peak = 101, 45

    def make(optimizer):  # pct_start puts torch's peak at pct_start * total - 1
        return OneCycleLR(
            optimizer,
            2.0,
            total,
            pct_start=(peak + 1) / total,
            anneal_strategy=torchs,
            div_factor=10,
            final_div_factor=1000,
            three_phase=True,
        )

    schedule = sc.one_cycle(total, max_lr=2.0, shape=ours)
    mine = [schedule(t)[key] for t in range(total)]
    np.testing.assert_allclose(mine, torch_values(make, total, key), rtol=1e-9, atol=1e-15)


def test_cosine_equals_torch():
    total = 60
    expected = torch_values(lambda o: CosineAnnealingLR(o, total - 1, eta_min=0.01), total, lr=0.7)
    np.testing.assert_allclose(lrs(sc.cosine(total, max_lr=0.7, final_lr=0.01)), expected, rtol=1e-9)


def test_piecewise_constant_equals_torch():
    expected = torch_values(lambda o: MultiStepLR(o, [5, 12, 13], gamma=0.2), 20, lr=0.3)
    schedule = sc.piecewise_constant(20, lr=0.3, milestones=[5, 12, 13], factor=0.2)
    np.testing.assert_allclose(lrs(schedule), expected, rtol=1e-12)


# Columns iteration, lr, momentum as the authors' 1cycle logs print them (lnsmith54/hyperParam1, curves behind v3
# Table 2, the CIFAR-100 ResNet-56 and ImageNet ResNet-50 runs). Printed with six digits.
LOGS = {
    "wide ResNet, 50 epochs": (
        {"peak": 2246, "max_lr": 1.0, "initial_lr": 0.1, "min_momentum": 0.85, "max_momentum": 0.95},
        [(0, 0.1, 0.95), (200, 0.180142, 0.941095), (1000, 0.500712, 0.905476), (2000, 0.901425, 0.860953),
         (2200, 0.981567, 0.852048), (2400, 0.931434, 0.856857), (3000, 0.664292, 0.883571),
         (4000, 0.219056, 0.928094), (4400, 0.0409617, 0.945904), (4600, 0.0001, 0.947596), (4800, 0.0001, 0.943143)],
    ),
    "DenseNet, 50 epochs": (
        {"peak": 2148, "max_lr": 4.0, "initial_lr": 0.1, "min_momentum": 0.8, "max_momentum": 0.9},
        [(0, 0.1, 0.9), (200, 0.463129, 0.890689), (1000, 1.91564, 0.853445), (2000, 3.73129, 0.80689),
         (2200, 3.90317, 0.802421), (2400, 3.53073, 0.811732), (3000, 2.41341, 0.839665), (4000, 0.55121, 0.88622),
         (4200, 0.178771, 0.895531), (4400, 0.0001, 0.897579), (4800, 0.0001, 0.888268)],
    ),
    "CIFAR-100 ResNet-56": (
        {"peak": 3417, "max_lr": 1.2, "initial_lr": 0.1, "min_momentum": 0.85, "max_momentum": 0.95},
        [(0, 0.1, 0.95), (100, 0.132192, 0.947073), (1700, 0.647264, 0.900249), (3400, 1.19453, 0.850498),
         (3500, 1.17085, 0.852429), (5000, 0.644074, 0.896327), (6700, 0.0470588, 0.946078),
         (6800, 0.0119403, 0.949005), (6900, 0.0001, 0.949034), (7000, 0.0001, 0.947571)],
    ),
    "ImageNet ResNet-50": (
        {"peak": 75000, "max_lr": 1.0, "initial_lr": 0.05, "min_momentum": 0.85, "max_momentum": 0.95},
        [(0, 0.05, 0.95), (500, 0.0563333, 0.949333), (50000, 0.683333, 0.883333), (75000, 1.0, 0.85),
         (75500, 0.993333, 0.850667), (120000, 0.4, 0.91), (149500, 0.00666666, 0.949333), (150000, 5e-05, 0.95),
         (199500, 5e-05, 0.917)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("log", LOGS)
def test_caffe_shape_equals_the_authors_logs(log):
    settings, rows = LOGS[log]
    peak, total = settings["peak"], rows[-1][0] + 1
    rest = {key: value for key, value in settings.items() if key != "peak"}
    schedule = sc.one_cycle(total, cycle_fraction=2 * peak / (total - 1), shape="caffe", **rest)
    for step, lr, momentum in rows:
        assert schedule(step)["lr"] == pytest.approx(lr, rel=6e-6)
        assert schedule(step)["momentum"] == pytest.approx(momentum, abs=6e-7)


# ---- properties -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.3, 0.5, 2 / 3, 0.75, 0.9, 0.95, 0.99, 1.0])
def test_pitfall_19_every_short_length_is_correct_or_refused_with_a_remedy(shape, fraction):
    for total in range(1, 51):
        peak = round(fraction * (total - 1) / 2)
        fits = peak >= 1 and 2 * peak <= total - 2
        if not fits:
            with pytest.raises(ValueError, match=r"use (cycle_fraction=|total_steps of)"):
                sc.one_cycle(total, max_lr=1.0, cycle_fraction=fraction, shape=shape)
            continue
        schedule = sc.one_cycle(total, max_lr=1.0, cycle_fraction=fraction, shape=shape)
        found = lrs(schedule)
        assert found[0] == 0.1
        assert found[peak] == 1.0 == max(found)
        assert found[-1] == 1e-4
        assert min(found) > 0
        assert found[: peak + 1] == sorted(found[: peak + 1])
        # pitfall 20: for ever after, no jump, no negative rate, momentum within its range
        assert schedule(total) == schedule(total + 10**6) == schedule(total - 1)
        momenta = [schedule(t)["momentum"] for t in range(total + 5)]
        assert momenta[peak] == 0.85 == min(momenta)
        assert max(momenta) == 0.95


@pytest.mark.parametrize(("total", "fraction"), [(5, 0.9), (3, 0.9), (7, 1.0), (50, 0.001), (23, 0.99)])
def test_pitfall_19_the_remedy_of_the_refusal_works(total, fraction):
    with pytest.raises(ValueError, match=r"shorter than one step|need a step each") as refusal:
        sc.one_cycle(total, max_lr=1.0, cycle_fraction=fraction)
    if "cycle_fraction=" in str(refusal.value).split("use ")[1]:
        advised = float(str(refusal.value).split("use cycle_fraction=")[1].split(",")[0])
        sc.one_cycle(total, max_lr=1.0, cycle_fraction=advised)
    else:
        sc.one_cycle(4, max_lr=1.0, cycle_fraction=fraction)


@given(st.integers(4, 60), st.floats(0.001, 1.0))
def test_the_advised_fraction_puts_the_peak_at_the_nearest_step_that_fits(total, fraction):
    wanted = round(fraction * (total - 1) / 2)
    nearest = min(range(1, (total - 2) // 2 + 1), key=lambda peak: abs(peak - wanted))
    if nearest != wanted:
        with pytest.raises(ValueError, match="use cycle_fraction=") as refusal:
            sc.one_cycle(total, max_lr=1.0, cycle_fraction=fraction)
        fraction = float(str(refusal.value).split("use cycle_fraction=")[1].split(",")[0])
    assert sc.one_cycle(total, max_lr=1.0, cycle_fraction=fraction)(nearest)["lr"] == 1.0


def test_pitfall_21_phases_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        sc.warmup_stable_decay(20, max_lr=1.0, warmup_steps=10, decay_steps=10)
    with pytest.raises(ValueError, match=r"at most 1, got 1\.2"):
        sc.one_cycle(20, max_lr=1.0, cycle_fraction=1.2)
    with pytest.raises(ValueError, match="no step for the descent"):
        sc.cosine(5, max_lr=1.0, warmup_steps=4)


def test_pitfall_31_documented_levels_are_the_levels():
    schedule = sc.one_cycle(1001, max_lr=2.0)
    assert (schedule(0)["lr"], schedule(450)["lr"], schedule(900)["lr"]) == (0.2, 2.0, 0.2)
    assert schedule(1000)["lr"] == 0.2 / 1000
    assert "max_lr / 10" in sc.one_cycle.__doc__
    assert "initial_lr / 1000" in sc.one_cycle.__doc__
    caffe = sc.one_cycle(1001, max_lr=2.0, shape="caffe")
    assert caffe(899)["lr"] == pytest.approx(2.0 / 450)
    assert caffe(900)["lr"] == caffe(1000)["lr"] == 0.2 / 1000


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 50))
def test_warmup_stable_decay_at_any_length(total, warmup, decay):
    if warmup + decay > total - 1:
        with pytest.raises(ValueError, match=f"total_steps of {warmup + decay + 1}"):
            sc.warmup_stable_decay(total, max_lr=1.0, warmup_steps=warmup, decay_steps=decay)
        return
    found = lrs(sc.warmup_stable_decay(total, max_lr=1.0, warmup_steps=warmup, decay_steps=decay, final_lr=0.01))
    assert found[warmup] == found[total - 1 - decay] == 1.0
    assert found[-1] == 0.01
    assert all(0 <= lr <= 1 for lr in found)
    assert found.count(1.0) == total - warmup - decay


@given(st.integers(1, 50), st.integers(0, 50))
def test_cosine_at_any_length(total, warmup):
    if warmup > total - 2:
        with pytest.raises(ValueError, match="no step for the descent"):
            sc.cosine(total, max_lr=1.0, warmup_steps=warmup)
        return
    found = lrs(sc.cosine(total, max_lr=1.0, warmup_steps=warmup, final_lr=0.01))
    assert found[: warmup + 1] == pytest.approx([t / warmup for t in range(warmup)] + [1.0])
    assert found[-1] == 0.01
    assert found[warmup:] == sorted(set(found[warmup:]), reverse=True)


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_pitfall_16_ramp(shape):
    found = lrs(sc.lr_ramp(11, start_lr=0.01, end_lr=1.0, shape=shape))
    assert (found[0], found[-1]) == (0.01, 1.0)
    differences = np.diff(np.log(found) if shape == "exponential" else found)
    np.testing.assert_allclose(differences, differences[0], rtol=1e-9)
    assert lrs(sc.lr_ramp(3, start_lr=0, end_lr=1.0)) == [0.0, 0.5, 1.0]
    for start, end in ((1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="below end_lr"):
            sc.lr_ramp(11, start_lr=start, end_lr=end, shape=shape)
    with pytest.raises(ValueError, match="cannot start at 0"):
        sc.lr_ramp(11, start_lr=0, end_lr=1.0, shape="exponential")


def test_constant_and_triangular():
    assert set(lrs(sc.constant(7, lr=0.3))) == {0.3}
    schedule = sc.triangular(11, base_lr=0.1, max_lr=3, step_size=5)
    assert (schedule(5)["lr"], schedule(10)["lr"], schedule(99)["lr"]) == (3.0, 0.1, 0.1)
    with pytest.raises(ValueError, match="peak to be reached"):
        sc.triangular(5, base_lr=0.1, max_lr=3, step_size=5)


def test_pitfall_29_numpy_integers_and_total_steps():
    assert sc.one_cycle(np.int64(101), max_lr=1.0) == sc.one_cycle(101, max_lr=1.0)
    for step in (0, 45, 200):
        assert sc.one_cycle(101, max_lr=1.0)(np.int32(step)) == sc.one_cycle(101, max_lr=1.0)(step)
    assert sc.total_steps(3, 1000, 32) == 3 * 32
    assert sc.total_steps(3, 1000, 32, drop_last=True) == 3 * 31
    assert sc.total_steps(3, 1000, 32, accumulation_steps=4) == 3 * 8
    assert sc.total_steps(3, 1000, 32, accumulation_steps=4, drop_last=True) == 3 * 7
    assert sc.total_steps(2, 1001, 100, world_size=2) == 2 * 6
    assert sc.total_steps(2, 1001, 100, world_size=2, drop_last=True) == 2 * 5
    assert sc.total_steps(0.5, np.int64(1000), np.int64(100)) == 5
    with pytest.raises(ValueError, match=r"no update at 32 samples an update .*drop_last=False"):
        sc.total_steps(3, 20, 32, drop_last=True)
    with pytest.raises(ValueError, match="whole number"):
        sc.total_steps(3, 1000, 32.5)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("samples", [150, 160, 31])
def test_total_steps_are_those_of_a_data_loader(samples, drop_last):
    loader = DataLoader(TensorDataset(torch.zeros(samples)), batch_size=32, drop_last=drop_last)
    updates = sum(1 for _ in range(10) for _ in loader)
    if not updates:
        with pytest.raises(ValueError, match="length must be at least 1"):
            sc.total_steps(10, loader)
        return
    assert sc.total_steps(10, loader) == updates
    assert sc.total_steps(10, samples, 32, drop_last=drop_last) == updates
    assert sc.total_steps(10, samples, 32) == 10 * -(-samples // 32), "a DataLoader's own default"


def test_total_steps_of_a_loader():
    batches = [[1, 2], [3, 4], [5]]
    assert sc.total_steps(2, batches) == 6
    assert sc.total_steps(2, batches, accumulation_steps=2) == 4
    assert sc.total_steps(2, batches, accumulation_steps=2, drop_last=True) == 2
    with pytest.raises(ValueError, match="no update at 4 batches an update"):
        sc.total_steps(2, batches, accumulation_steps=4, drop_last=True)
    for ignored in ({"batch_size": 32}, {"world_size": 2}):
        with pytest.raises(ValueError, match="would be ignored"):
            sc.total_steps(2, batches, **ignored)
    data = TensorDataset(torch.zeros(150))
    with pytest.raises(TypeError, match="got a TensorDataset, whose length is no number of batches"):
        sc.total_steps(2, data)
    with pytest.raises(ValueError, match="batch_size is missing"):
        sc.total_steps(2, 150)

    class Endless(IterableDataset):
        def __iter__(self):
            return iter([])

    with pytest.raises(ValueError, match="does not know its length"):
        sc.total_steps(2, DataLoader(Endless(), batch_size=4))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: sc.one_cycle(100, max_lr=-1), "max_lr must be finite, above 0, got -1"),
        (lambda: sc.one_cycle(100, max_lr=math.inf), "finite"),
        (lambda: sc.one_cycle(100, max_lr="3"), "must be a number"),
        (lambda: sc.one_cycle(100.0, max_lr=1), "whole number"),
        (lambda: sc.one_cycle(True, max_lr=1), "whole number"),
        (lambda: sc.one_cycle(100, max_lr=1, initial_lr=2), "initial_lr must not be above"),
        (lambda: sc.one_cycle(100, max_lr=1, final_lr=0.5), "final_lr must not be above"),
        (lambda: sc.one_cycle(100, max_lr=1, shape="cosin"), "did you mean 'cosine'"),
        (lambda: sc.one_cycle(100, max_lr=1, shape="exponential"), "allowed are linear, cosine, caffe"),
        (lambda: sc.one_cycle(100, max_lr=1, max_momentum=0.8), "swap them"),
        (lambda: sc.one_cycle(100, max_lr=1, max_momentum=1.0), "stay below 1"),
        (lambda: sc.one_cycle(100, max_lr=1, max_momentum=None, min_momentum=0.8), "needs a max_momentum"),
        (lambda: sc.one_cycle(100, max_lr=1, min_momentum=None), "needs a min_momentum"),
        (lambda: sc.cosine(10, max_lr=1, initial_lr=0.1), "needs a warm-up"),
        (lambda: sc.cosine(10, max_lr=1, final_lr=2), "final_lr must not be above"),
        (lambda: sc.piecewise_constant(10, lr=0, milestones=[5]), "lr must be finite, above 0"),
        (lambda: sc.piecewise_constant(10, lr=1, milestones=[]), "use constant"),
        (lambda: sc.piecewise_constant(10, lr=1, milestones=[5, 5]), "must increase"),
        (lambda: sc.piecewise_constant(10, lr=1, milestones=[5, 10]), "stay below total_steps=10"),
        (lambda: sc.piecewise_constant(10, lr=1, milestones=5), r"milestones=\[5\]"),
        (lambda: sc.lr_ramp(1, start_lr=0, end_lr=1), "at least 2"),
        (lambda: sc.constant(0, lr=1), "at least 1"),
    ],
)
def test_bad_input_says_what_is_wrong(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_constant_rates_and_step_decay_take_a_warm_up():
    flat = sc.constant(10, lr=0.5, warmup_steps=5)
    assert [flat(step)["lr"] for step in (0, 1, 4, 5, 9)] == pytest.approx([0.0, 0.1, 0.4, 0.5, 0.5])
    drops = sc.piecewise_constant(10, lr=0.5, milestones=[6, 8], warmup_steps=5)
    assert [drops(step)["lr"] for step in (0, 1, 5, 6, 8)] == pytest.approx([0.0, 0.1, 0.5, 0.05, 0.005])
    assert sc.piecewise_constant(10, lr=0.5, milestones=[6]) == sc.piecewise_constant(
        10, lr=0.5, milestones=[6], warmup_steps=0
    )
    with pytest.raises(ValueError, match="before the first milestone"):
        sc.piecewise_constant(10, lr=0.5, milestones=[5], warmup_steps=5)
    with pytest.raises(ValueError, match="below total_steps=10"):
        sc.constant(10, lr=0.5, warmup_steps=10)
