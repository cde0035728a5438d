"""BatchNorm with Caffe's normalised average: against the formula, against torch's layer, through state dicts."""

import doctest

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from superconv.models import averaging_fraction_for, batch_norm, build_model, set_averaging_fraction, set_statistics_of
from superconv.models.batch_norm import NormalisedBatchNorm1d, NormalisedBatchNorm2d


def caffe_statistics(batches, fraction):
    """S <- f S + batch statistic, count <- f count + 1; a test uses S / count. In float64."""
    sums, count = [0.0, 0.0], 0.0
    for batch in batches:
        values = batch.double().transpose(0, 1).flatten(1)
        sums = [fraction * sums[0] + values.mean(1), fraction * sums[1] + values.var(1, unbiased=True)]
        count = fraction * count + 1
    return sums[0] / count, sums[1] / count


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_statistics_of_half_precision_are_in_single(kind):
    torch.manual_seed(0)
    layer, batch = NormalisedBatchNorm2d(3), (torch.randn(16, 3, 8, 8) + 5).to(kind)
    layer(batch)
    assert layer.running_mean.dtype == torch.float32
    torch.testing.assert_close(layer.running_mean, batch.double().mean((0, 2, 3)).float(), rtol=1e-4, atol=0)
    torch.testing.assert_close(layer.running_var, batch.double().var((0, 2, 3)).float(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("length", [1, 2, 30])
def test_running_statistics_are_caffes(fraction, length):
    torch.manual_seed(0)
    layer = NormalisedBatchNorm2d(3, momentum=1 - fraction)
    batches = [torch.randn(8, 3, 4, 4) * 3 + k for k in range(length)]
    for batch in batches:
        layer(batch)
    mean, variance = caffe_statistics(batches, fraction)
    torch.testing.assert_close(layer.running_mean.double(), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.running_var.double(), variance, rtol=1e-5, atol=1e-5)
    assert layer.num_batches_tracked.item() == length


def test_fraction_may_change_in_the_middle():
    torch.manual_seed(0)
    layer, batches = NormalisedBatchNorm1d(2, momentum=0.5), [torch.randn(6, 2) for _ in range(2)]
    layer(batches[0])
    set_averaging_fraction(layer, 0.25)
    layer(batches[1])
    expected = (0.25 * batches[0].mean(0) + batches[1].mean(0)) / 1.25
    torch.testing.assert_close(layer.running_mean, expected)


@pytest.mark.parametrize("affine", [True, False])
def test_outputs_and_gradients_are_torchs(affine):
    torch.manual_seed(0)
    ours, theirs = NormalisedBatchNorm2d(3, affine=affine), nn.BatchNorm2d(3, affine=affine)
    for training in (True, False):
        x = torch.randn(8, 3, 4, 4)
        xs = [x.clone().requires_grad_() for _ in range(2)]
        if not training:
            theirs.running_mean.copy_(ours.running_mean)
            theirs.running_var.copy_(ours.running_var)
        outputs = [layer.train(training)(x) for layer, x in zip((ours, theirs), xs, strict=True)]
        assert torch.equal(*outputs)
        for output in outputs:
            output.pow(3).sum().backward()
        assert torch.equal(xs[0].grad, xs[1].grad)


def test_plain_mean_with_momentum_none_and_nothing_with_momentum_zero():
    torch.manual_seed(0)
    ours, theirs = NormalisedBatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, momentum=None)
    for _ in range(5):
        batch = torch.randn(8, 3, 4, 4)
        ours(batch), theirs(batch)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    before = ours.running_var.clone()
    ours.momentum = 0.0
    ours(torch.randn(8, 3, 4, 4) * 10)
    assert torch.equal(ours.running_var, before)


def test_reset_forgets_every_batch():
    layer = NormalisedBatchNorm2d(3)
    layer(torch.randn(8, 3, 4, 4) + 100)
    layer.reset_running_stats()
    assert layer.averaging_count.item() == 0
    assert (layer.running_var == 1).all()
    batch = torch.randn(8, 3, 4, 4)
    layer(batch)
    torch.testing.assert_close(layer.running_mean, batch.mean((0, 2, 3)))


def test_state_dict_goes_on_bit_for_bit():
    torch.manual_seed(0)
    first, second = (build_model("lenet-slim-bn", seed=seed) for seed in (0, 1))
    batches = [torch.randn(8, 1, 28, 28) for _ in range(4)]
    for batch in batches[:2]:
        first(batch)
    second.load_state_dict(first.state_dict())
    for batch in batches[2:]:
        assert torch.equal(first(batch), second(batch))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_state_dict_of_torchs_layer_loads():
    theirs, ours = nn.BatchNorm2d(3, momentum=0.5), NormalisedBatchNorm2d(3, momentum=0.5)
    for _ in range(3):
        theirs(torch.randn(8, 3, 4, 4))
    state = theirs.state_dict()
    ours.load_state_dict(state)
    assert ours.averaging_count.item() == pytest.approx(1 + 0.5 + 0.25)
    assert "averaging_count" not in state  # the caller's dict is as it was
    batch = torch.randn(8, 3, 4, 4)
    theirs.eval(), ours.eval()
    assert torch.equal(ours(batch), theirs(batch))


def test_update_bn_of_torch_reestimates():
    model = build_model("lenet-slim-bn", seed=0)
    batches = [torch.randn(8, 1, 28, 28) for _ in range(3)]
    model(batches[0] * 50)
    torch.optim.swa_utils.update_bn(batches, model)
    expected = torch.stack([model.features.conv1(batch).mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(model.features.norm1.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert model.features.norm1.momentum == pytest.approx(0.1)


def test_setting_the_fraction():
    model = build_model("resnet20", averaging_fraction=0.95)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {round(norm.momentum, 12) for norm in norms} == {0.05}
    assert set_averaging_fraction(model, 0.8) == 19
    assert {round(norm.momentum, 12) for norm in norms} == {0.2}
    assert set_averaging_fraction(build_model("lenet"), 0.8) == 0
    for bad in (1.0, -0.1, "0.9", float("nan"), True):
        with pytest.raises(ValueError, match="averaging_fraction"):
            set_averaging_fraction(model, bad)


def test_fraction_for_the_length_fits_table_1():
    table = {2000: 0.80, 4000: 0.85, 6000: 0.90, 8000: 0.93, 10000: 0.95, 20000: 0.97}
    for steps, fraction in table.items():
        assert averaging_fraction_for(steps) == pytest.approx(fraction, abs=0.0101)
    lengths = [1, 10, 500, 2000, 5000, 80_000, 10**7]
    fractions = [averaging_fraction_for(steps) for steps in lengths]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.8
    assert fractions[-1] == 0.999
    with pytest.raises(ValueError, match="total_steps: got 0"):
        averaging_fraction_for(0)


@pytest.mark.parametrize("module", [batch_norm])
def test_examples_in_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def grouped(layer: nn.Module, inputs: torch.Tensor, size: int, strided: bool) -> torch.Tensor:
    """Oracle: torch's batch norm on every group by itself."""
    groups = len(inputs) // size
    output = torch.empty_like(inputs)
    for g in range(groups):
        own = torch.arange(g, len(inputs), groups) if strided else torch.arange(g * size, (g + 1) * size)
        output[own] = F.batch_norm(inputs[own], None, None, layer.weight, layer.bias, True, 0.0, layer.eps)
    return output


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_groups_of_a_batch_have_statistics_of_their_own(channels_last: bool, affine: bool) -> None:
    layer = NormalisedBatchNorm2d(3, affine=affine).double()
    if affine:
        nn.init.uniform_(layer.weight)
        nn.init.normal_(layer.bias)
    assert set_statistics_of(nn.Sequential(layer), 4) == 1
    inputs = torch.randn(12, 3, 2, 5, dtype=torch.float64)
    if channels_last:
        inputs = inputs.to(memory_format=torch.channels_last)
    inputs.requires_grad_()
    wanted, output = grouped(layer, inputs, 4, strided=not channels_last), layer(inputs)
    assert torch.allclose(output, wanted, rtol=0, atol=1e-12)
    weights = torch.randn_like(wanted)
    leaves = [inputs, *layer.parameters()]
    for ours, oracle in zip(
        torch.autograd.grad(output, leaves, weights), torch.autograd.grad(wanted, leaves, weights), strict=True
    ):
        assert torch.allclose(ours, oracle, rtol=0, atol=1e-12)
    first = (inputs[:4] if channels_last else inputs[::3]).detach()
    assert torch.allclose(layer.running_mean, first.mean((0, 2, 3)))
    assert torch.allclose(layer.running_var, first.var((0, 2, 3)))


def test_groups_leave_evaluation_alone_and_can_be_taken_back() -> None:
    layer, plain = NormalisedBatchNorm1d(4), NormalisedBatchNorm1d(4)
    inputs = torch.randn(10, 4)
    set_statistics_of(layer, 5)
    assert not torch.equal(layer(inputs), plain(inputs))
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer.eval()(inputs), plain.eval()(inputs))
    set_statistics_of(layer, None)
    assert torch.equal(layer.train()(inputs), plain.train()(inputs))
    assert set_statistics_of(layer, 2) == 1  # the fewest that have a variance
    set_statistics_of(layer, 64)  # a batch that is smaller than a group is one
    assert torch.equal(layer(inputs), plain(inputs))


def test_groups_that_cannot_be_made_are_refused() -> None:
    layer = NormalisedBatchNorm1d(4)
    with pytest.raises(ValueError, match="allowed are 2 samples or more"):
        set_statistics_of(layer, 1)
    with pytest.raises(ValueError, match="BatchNorm1d of torch"):
        set_statistics_of(nn.Sequential(nn.BatchNorm1d(4)), 8)
    assert set_statistics_of(nn.Sequential(nn.BatchNorm1d(4)), None) == 1


def test_a_batch_that_does_not_divide_falls_into_nearly_equal_groups() -> None:
    layer = NormalisedBatchNorm1d(4, affine=False).double()
    set_statistics_of(layer, 4)
    inputs = torch.randn(10, 4, dtype=torch.float64)
    parts = [
        (part - part.mean(0)) / (part.var(0, unbiased=False) + layer.eps).sqrt() for part in inputs.split((4, 3, 3))
    ]
    assert torch.allclose(layer(inputs), torch.cat(parts), rtol=0, atol=1e-12)


def steps_back(tensor: torch.Tensor) -> set[str]:
    """The names of the autograd nodes that the tensor's gradient goes through."""
    names, ahead = set(), [tensor.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None:
            names.add(type(node).__name__)
            ahead += [following for following, _ in node.next_functions]
    return names


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_relu_in_place_behind_it_copies_nothing(channels_last: bool, size: int | None) -> None:
    """In place on a view of what BatchNorm gave, it took a third of a ResNet-8 step for copies backward."""
    layer = NormalisedBatchNorm2d(3).double()
    set_statistics_of(layer, size)
    form = torch.channels_last if channels_last else torch.contiguous_format
    inputs = torch.randn(12, 3, 2, 5, dtype=torch.float64).to(memory_format=form).requires_grad_()
    output = F.relu(layer(inputs), inplace=True)
    assert steps_back(output).isdisjoint({"CopySlices", "AsStridedBackward0"})
    weights = torch.randn_like(output)
    (ours,) = torch.autograd.grad(output, inputs, weights)
    (oracle,) = torch.autograd.grad(F.relu(layer(inputs)), inputs, weights)
    assert torch.equal(ours, oracle)
