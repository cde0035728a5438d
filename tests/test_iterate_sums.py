import numpy as np
import pytest
import torch
from torch import nn

from superconv.analysis.curvature.iterates import noise_ratio, paper_estimates, smoothed
from superconv.measure.curvature.iterates import READ_EVERY, IterateSums
from superconv.models.batch_norm import NormalisedBatchNorm1d


def flat(tensors):
    return torch.cat([t.detach().flatten() for t in tensors]).double().numpy().copy()


@pytest.mark.parametrize("spacing", [1, 3])
@pytest.mark.parametrize("steps", [9, 30, READ_EVERY * 3 + 7])
def test_streaming_equals_the_stored_iterates(spacing, steps):
    torch.manual_seed(0)
    tensors = {"a.weight": torch.randn(8, 3), "a.bias": torch.randn(4), "b": torch.randn(())}
    sums = IterateSums(tensors, spacing=spacing, window=12)
    course, lrs = [flat(tensors.values())], []
    for step in range(steps):
        for tensor in tensors.values():
            tensor.add_(torch.randn_like(tensor), alpha=0.1)
        lrs.append(0.1 + 0.01 * step)
        sums.after_update(lrs[-1], momentum=0.5)
        course.append(flat(tensors.values()))
    values = paper_estimates(course, lrs, spacing=spacing)
    found = sums.read()
    assert found.triples == len(values)
    assert found.smoothed == pytest.approx(smoothed(values)[-1], rel=1e-5)
    used = np.array(lrs)[::spacing][: len(values)]
    assert found.lr == used[-1]
    assert found.noise_line == pytest.approx(smoothed(used * noise_ratio(0.5, spacing))[-1])
    picked = np.array(course)[::spacing]
    change, second = np.diff(picked, axis=0)[:-1], np.diff(picked, n=2, axis=0)
    recent = slice(-12, None)
    pooled = (used[:, None] * np.abs(change))[recent].sum() / np.abs(second)[recent].sum()
    assert found.absolute == pytest.approx(pooled, rel=1e-5)
    squared = ((used[:, None] * change)[recent] ** 2).sum() / (second[recent] ** 2).sum()
    assert found.squared == pytest.approx(squared**0.5, rel=1e-5)
    if found.triples >= 8:
        all_changes = np.diff(picked, axis=0)
        a, b = all_changes[:-1][recent], all_changes[1:][recent]
        assert found.rho.value == pytest.approx(2 * (a * b).sum() / ((a**2).sum() + (b**2).sum()), abs=1e-5)
    per_layer = (used[:, None] * np.abs(change))[recent][:, :28].sum() / np.abs(second)[recent][:, :28].sum()
    assert sums.layers()["a"] == pytest.approx(per_layer, rel=1e-5)
    assert set(sums.layers()) == {"a", "b"}


def test_keeps_two_copies_and_no_more():
    tensors = {"w": torch.zeros(1000)}
    sums = IterateSums(tensors)
    held = set()
    for _ in range(10):
        tensors["w"].add_(torch.randn(1000))
        sums.after_update(0.1)
        held |= {t.data_ptr() for t in (*sums._previous, *(sums._difference or []))}
    assert len(held) == 2
    assert tensors["w"].data_ptr() not in held


def test_batch_norm_blobs_are_caffes():
    """Per layer: accumulated mean and variance (statistics times count) and the count itself."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), NormalisedBatchNorm1d(4))
    sums = IterateSums({"0.weight": model[0].weight}, batch_norm_of=model)
    own = IterateSums({"0.weight": model[0].weight})
    assert sums.names == ["0.weight", "1.mean", "1.var", "1.count"]

    def blobs():
        norm, count = model[1], model[1].averaging_count
        return flat([model[0].weight, norm.running_mean * count, norm.running_var * count, count])

    course = [blobs()]
    for _ in range(12):
        model(torch.randn(16, 3))
        with torch.no_grad():
            model[0].weight.add_(torch.randn(4, 3), alpha=0.1)
        sums.after_update(0.1)
        own.after_update(0.1)
        course.append(blobs())
    found = sums.read()
    assert found.smoothed == pytest.approx(smoothed(paper_estimates(course, [0.1] * 12))[-1], rel=1e-4)
    assert found.smoothed != own.read().smoothed
    assert found.rho == own.read().rho


def test_torchs_batch_norm_has_its_limiting_count():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, track_running_stats=False))
    sums = IterateSums(dict(model.named_parameters()), batch_norm_of=model)
    assert [name for name in sums.names if "count" in name] == ["1.count"]
    assert float(sums._iterate()[-1]) == pytest.approx(10.0)


def test_still_weights_have_no_estimate_and_keep_the_smoothed_one():
    sums = IterateSums({"w": torch.ones(3)})
    assert sums.read() is None
    for _ in range(9):
        sums.after_update(0.1)
    found = sums.read()
    assert found.smoothed == 0.1
    assert np.isnan(found.absolute)
    assert found.rho.reason == "the weights did not move"


def test_reset_begins_a_new_sequence():
    tensors = {"w": torch.zeros(5)}
    sums = IterateSums(tensors)
    tensors["w"].fill_(1e6)  # a checkpoint was loaded
    sums.reset()
    for i in range(12):
        tensors["w"].add_(float(i % 3))
        sums.after_update(0.1)
    assert sums.read().triples == 11
    assert sums.read().absolute < 0.2


def test_half_precision_parameters_are_summed_in_single():
    tensors = {"w": torch.zeros(70_000, dtype=torch.float16)}
    sums = IterateSums(tensors)
    for i in range(4):
        tensors["w"].add_(1.0 + i % 2)
        sums.after_update(0.1)
    assert sums.read().absolute == pytest.approx(0.1 * (1 + 2 + 1) / (1 + 1 + 1), rel=1e-5)
    assert np.isfinite(sums.read().squared)


def test_bad_input():
    with pytest.raises(ValueError, match="got none to watch"):
        IterateSums({})
    with pytest.raises(ValueError, match="spacing is 0"):
        IterateSums({"w": torch.ones(1)}, spacing=0)
    with pytest.raises(ValueError, match="window is 7"):
        IterateSums({"w": torch.ones(1)}, window=7)


@pytest.mark.parametrize(
    "dtypes",
    [[torch.float64] * 2, [torch.float64, torch.float32], [torch.float32, torch.float64], [torch.bfloat16] * 2,
     [torch.float16, torch.float64]],
)  # fmt: skip
def test_any_precision_alone_or_mixed(dtypes):
    tensors = {name: torch.zeros(64, dtype=dtype) for name, dtype in zip("ab", dtypes, strict=True)}
    single = {name: torch.zeros(64) for name in "ab"}
    found = []
    for watched in (tensors, single):
        sums = IterateSums(watched, window=12)
        generator = torch.Generator().manual_seed(0)
        for _ in range(12):
            for tensor in watched.values():  # whole numbers, which every precision holds
                tensor.add_(torch.randint(-3, 4, (64,), generator=generator).to(tensor.dtype))
            sums.after_update(0.1)
        found.append(sums.read())
    assert found[0].squared == pytest.approx(found[1].squared, rel=1e-6)
    assert found[0].absolute == pytest.approx(found[1].absolute, rel=1e-6)
    assert found[0].rho.value == pytest.approx(found[1].rho.value, rel=1e-5)
