"""Named networks: parameter totals, blocks and fillers against the paper's files."""

import doctest
import math
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from superconv.models import NAMES, build_model, registry, seeded
from superconv.models.bottleneck import BottleneckBlock
from superconv.models.cifar3 import WithinChannelNorm
from superconv.models.companion import ProjectionBlock
from superconv.models.densenet import DenseLayer
from superconv.models.resnet import Block
from superconv.models.resnet50 import Bottleneck
from superconv.models.wide_resnet import WideBlock

GREY = ("lenet", "mlp")


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def images(name: str, samples: int = 2) -> torch.Tensor:
    shape = (1, 28, 28) if name.startswith(GREY) else (3, 32, 32)
    return torch.randn(samples, *shape, generator=torch.Generator().manual_seed(0))


# ---- totals and shapes, from the files of the paper's repository


@pytest.mark.parametrize(
    ("name", "classes", "total"),
    [
        ("resnet20", 10, 224_042),
        ("resnet56", 10, 808_682),
        ("resnet110", 10, 1_685_642),
        ("resnet56", 100, 808_682 + 90 * 65),
        ("resnet56-dropout", 10, 808_682),
        ("bottleneck56", 10, 586_826),
        ("resnext56", 10, 581_194),
        ("resnet56-companion", 10, 860_874),
        ("resnet56-companion", 100, 866_724),
        ("wide32", 10, 5_903_626),
        ("densenet40", 10, 1_019_722),
        ("wrn-28-10", 10, 36_479_194),
        ("wrn-32-4", 10, 7_399_130),
        ("resnet50", 1000, 25_557_032),
        ("lenet", 10, 431_080),
        ("cifar3", 10, 89_578),
    ],
)
def test_parameter_totals(name, classes, total):
    assert parameters(build_model(name, num_classes=classes)) == total


@pytest.mark.parametrize(("name", "total"), [("resnet20", 221_616), ("resnet56", 802_224), ("resnet110", 1_673_136)])
def test_convolution_weights_of_the_resnets(name, total):
    convolutions = [module for module in build_model(name).modules() if isinstance(module, nn.Conv2d)]
    assert sum(module.weight.numel() for module in convolutions) == total
    assert len(convolutions) + 1 == int(name.removeprefix("resnet"))


@pytest.mark.parametrize("name", [name for name in NAMES if "110" not in name and "56-" not in name])
def test_every_network_maps_images_to_logits_and_learns_from_them(name):
    model = build_model(name, num_classes=7, seed=0)
    logits = model(images(name))
    assert logits.shape == (2, 7)
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["lenet", "lenet-bn", "lenet-slim-bn", "mlp-bn"])
def test_lenet_and_mlp_take_colour_images_too(name):
    model = build_model(name, in_channels=3, image_size=32)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_resnets_take_smaller_and_oblong_images():
    model = build_model("resnet8", num_classes=3, image_size=(16, 24))
    assert model(torch.randn(2, 3, 16, 24)).shape == (2, 3)


@pytest.mark.parametrize(("name", "options"), [("densenet40", {"layers": 1}), ("wrn-32-4", {"blocks": 1, "widen": 1})])
def test_networks_without_a_multiple_take_grey_images_of_any_size_and_halve_it_rounding_up(name, options):
    model = build_model(name, in_channels=1, image_size=(9, 5), **options)
    x = torch.randn(2, 1, 9, 5)
    assert model(x).shape == (2, 10)
    assert model.body(model.stem(x)).shape[2:] == (3, 2)


def test_variants_leave_out_what_they_say():
    def count(name, kind):
        return sum(isinstance(module, kind) for module in build_model(name).modules())

    assert count("resnet20", nn.BatchNorm2d) == 19
    assert count("resnet20-nonorm", nn.BatchNorm2d) == 0
    assert count("lenet-bn", (nn.BatchNorm1d, nn.BatchNorm2d)) == 3
    assert count("lenet", (nn.BatchNorm1d, nn.BatchNorm2d)) == 0
    assert count("resnet56-dropout", nn.Dropout) == 27  # one module a block, used behind both of its convolutions
    for norm in build_model("bottleneck56").modules():
        assert not isinstance(norm, nn.BatchNorm2d) or norm.weight is None  # no Scale layers in these files


# ---- forward passes against a slow form in the notation of the paper's files: C, BN (with S where there is one), FC


def C(layer: nn.Conv2d, x: torch.Tensor, stride: int = 1, padding: int | None = None) -> torch.Tensor:
    _, inputs, kernel, _ = layer.weight.shape
    padding = (1 if kernel == 3 else 0) if padding is None else padding
    return F.conv2d(x, layer.weight, layer.bias, stride, padding, groups=x.shape[1] // inputs)


def BN(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, nn.Identity):
        return x
    x = x.movedim(1, -1)
    batch = x.flatten(0, -2)
    mean, variance = layer.running_mean, layer.running_var
    if layer.training:
        mean, variance = batch.mean(0), batch.var(0, unbiased=False)
    y = (x - mean) / (variance + 1e-5).sqrt()
    return (y if layer.weight is None else y * layer.weight + layer.bias).movedim(-1, 1)


def C_BN(pair: nn.Sequential, x: torch.Tensor, stride: int = 1, padding: int | None = None) -> torch.Tensor:
    convolution, norm = pair
    return BN(norm, C(convolution, x, stride, padding))


def FC(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return x @ layer.weight.T + layer.bias


def pooled(x: torch.Tensor, statistic) -> torch.Tensor:
    """3x3 windows at stride 2, sizes rounded up; only the pixels that a window really covers count."""
    rows, columns = (range(0, -(-(side - 3) // 2) * 2 + 1, 2) for side in x.shape[2:])
    windows = [[statistic(x[:, :, i : i + 3, j : j + 3], (2, 3)) for j in columns] for i in rows]
    return torch.stack([torch.stack(row, dim=-1) for row in windows], dim=-2)


def locally_normalised(x: torch.Tensor, alpha: float = 5e-5, beta: float = 0.75) -> torch.Tensor:
    squares, (h, w) = F.pad(x * x, (1, 1, 1, 1)), x.shape[2:]
    energy = sum(squares[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9
    return x * (1 + alpha * energy) ** -beta


def standard(block, x, stride=1, *, dropout=0.0, shortcut=True):
    y = F.relu(F.dropout(C_BN(block.first, x, stride), dropout, block.training))
    y = F.dropout(C_BN(block.second, y), dropout, block.training)
    if stride == 1:
        return F.relu(y + x if shortcut else y)
    z = F.relu(y + pooled(x, torch.mean) if shortcut else y)
    return torch.cat((z, torch.zeros_like(z)), dim=1)


def bottleneck(block, x, stride=1, *, project=False):
    y = C(block.conv1, F.relu(BN(block.norm1, x)), stride)
    y = C(block.conv2, F.relu(BN(block.norm2, y)))
    y = C(block.conv3, F.relu(BN(block.norm3, y)))
    return y + (C(block.shortcut, x, stride) if project else x)


def companion(block, x, stride=1):
    y = C_BN(block.second, F.relu(C_BN(block.first, x, stride)))
    return y + (x if stride == 1 else C_BN(block.shortcut, x, 2))


def dense(layer, x, *, dropout=0.2, append=True):
    y = F.dropout(C(layer.convolution, F.relu(BN(layer.norm, x))), dropout, layer.training)
    return torch.cat((x, y), dim=1) if append else y


def wide(block, x, stride=1, *, dropout=0.0, project=False):
    activated = F.relu(BN(block.norm1, x))
    y = F.dropout(F.relu(BN(block.norm2, C(block.conv1, activated, stride))), dropout, block.training)
    return C(block.conv2, y) + (C(block.project, activated, stride) if project else x)


def imagenet(block, x, stride=1, *, project=False):
    y = F.relu(C_BN(block.spatial, F.relu(C_BN(block.reduce, x)), stride))
    return F.relu(C_BN(block.expand, y) + (C_BN(block.shortcut, x, stride) if project else x))


STRIDES = (1, 1, 2, 1, 2, 1)  # three stages of two blocks
FIRST = (True, False) * 3  # of its stage


def resnet_reference(model, x, **options):
    x = F.relu(C_BN(model.stem, x))
    for block, stride in zip(model.body, STRIDES, strict=True):
        x = standard(block, x, stride, **options)
    return FC(model.classifier, F.avg_pool2d(x, 8).flatten(1))


def bottleneck_reference(model, x):
    x = C(model.stem, x)
    for block, stride, first in zip(model.body, STRIDES, FIRST, strict=True):
        x = bottleneck(block, x, stride, project=first)
    return FC(model.classifier, F.avg_pool2d(F.relu(BN(model.norm, x)), 8).flatten(1))


def companion_reference(model, x):
    x = F.relu(C_BN(model.stem, x))
    for block, stride in zip(model.body, STRIDES, strict=True):
        x = companion(block, x, stride)
    return FC(model.classifier, x.mean((2, 3)))


def densenet_reference(model, x):
    x = C(model.stem, x)
    layers = [module for module in model.body if isinstance(module, DenseLayer)]
    for layer, transition in zip(layers, (False, False, True) * 2 + (False, False), strict=True):
        x = dense(layer, x, append=not transition)
        x = F.avg_pool2d(x, 2) if transition else x
    return FC(model.classifier, F.relu(BN(model.norm, x)).mean((2, 3)))


def wide_reference(model, x, **options):
    x = C(model.stem, x)
    for block, stride, first in zip(model.body, STRIDES, FIRST, strict=True):
        x = wide(block, x, stride, project=first, **options)
    return FC(model.classifier, F.relu(BN(model.norm, x)).mean((2, 3)))


def resnet50_reference(model, x):
    x = F.max_pool2d(F.relu(C_BN(model.stem, x, 2, padding=3)), 3, stride=2, padding=1)
    for block, stride, first in zip(model.body, STRIDES, FIRST, strict=True):
        x = imagenet(block, x, stride, project=first)
    return FC(model.classifier, x.mean((2, 3)))


def cifar3_reference(model, x):
    x = locally_normalised(F.relu(pooled(C(model.conv1, x, padding=2), torch.amax)))
    x = locally_normalised(pooled(F.relu(C(model.conv2, x, padding=2)), torch.mean))
    x = pooled(F.relu(C(model.conv3, x, padding=2)), torch.mean)
    return FC(model.classifier, x.flatten(1))


def lenet_reference(model, x):
    layers = model.features
    x = F.max_pool2d(BN(layers.norm1, C(layers.conv1, x)), 2)
    x = F.max_pool2d(BN(layers.norm2, C(layers.conv2, x)), 2)
    return FC(model.classifier, F.relu(BN(model.norm, FC(model.hidden, x.flatten(1)))))


def mlp_reference(model, x):
    linear = [module for module in model.layers if isinstance(module, nn.Linear)]
    norms = [module for module in model.layers if isinstance(module, nn.BatchNorm1d)] or [nn.Identity()] * len(linear)
    x = x.flatten(1)
    for layer, norm in zip(linear, norms, strict=True):
        x = F.relu(BN(norm, FC(layer, x)))
    return FC(model.classifier, x)


def ragged(model: nn.Module) -> nn.Module:
    """In float64, with no bias at 0, no scale at 1 and no running statistic at its start: no layer is left unseen."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in (*model.double().named_parameters(), *model.named_buffers()):
        if tensor.dim() == 1:
            low = -1.0 if name.endswith(("bias", "running_mean")) else 0.5
            tensor.data.uniform_(low, low + 2.0, generator=generator)
    return model


@pytest.fixture
def dropout_that_shows(monkeypatch):
    """Dropout without chance that commutes with nothing, where a mask would pass through a ReLU: its place shows."""

    def shifted(x, p=0.5, training=True, inplace=False):
        return x + p * x.cos() if training else x

    monkeypatch.setattr(F, "dropout", shifted)


@pytest.mark.usefixtures("dropout_that_shows")
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    ("make", "reference"),
    [
        (partial(Block, 4, downsample=False), standard),
        (partial(Block, 4, downsample=False, shortcut=False), partial(standard, shortcut=False)),
        (partial(Block, 4, downsample=False, dropout=0.2), partial(standard, dropout=0.2)),
        (partial(Block, 4, downsample=True), partial(standard, stride=2)),
        (partial(Block, 4, downsample=True, dropout=0.2), partial(standard, stride=2, dropout=0.2)),
        (partial(BottleneckBlock, 4, 2, 4, stride=1, groups=1, project=False), bottleneck),
        (
            partial(BottleneckBlock, 4, 4, 8, stride=2, groups=2, project=True),
            partial(bottleneck, stride=2, project=True),
        ),
        (partial(ProjectionBlock, 4, 4, 1), companion),
        (partial(ProjectionBlock, 4, 8, 2), partial(companion, stride=2)),
        (partial(DenseLayer, 4, 3, 3, 0.2, append=True), dense),
        (partial(DenseLayer, 4, 4, 1, 0.2, append=False), partial(dense, append=False)),
        (partial(WideBlock, 4, 4, 1, 0.3), partial(wide, dropout=0.3)),
        (partial(WideBlock, 4, 4, 2, 0.0), partial(wide, stride=2, project=True)),
        (partial(WideBlock, 4, 8, 2, 0.3), partial(wide, stride=2, dropout=0.3, project=True)),
        (partial(Bottleneck, 4, 1, 1), imagenet),
        (partial(Bottleneck, 4, 2, 2), partial(imagenet, stride=2, project=True)),
    ],
    ids=lambda value: getattr(value, "func", value).__name__,
)
def test_every_kind_of_block_computes_its_formula(make, reference, training):
    with seeded(0):
        block = ragged(make()).train(training)
    x = torch.randn(3, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = reference(block, x)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.usefixtures("dropout_that_shows")
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    ("name", "options", "reference"),
    [
        ("resnet56", {"blocks": 2}, resnet_reference),
        ("resnet56-dropout", {"blocks": 2}, partial(resnet_reference, dropout=0.2)),
        ("resnet56-plain-nonorm", {"blocks": 2}, partial(resnet_reference, shortcut=False)),
        ("bottleneck56", {"blocks": 2}, bottleneck_reference),
        ("resnext56", {"blocks": 2}, bottleneck_reference),
        ("resnet56-companion", {"blocks": (2, 2, 2)}, companion_reference),
        ("wide32", {"blocks": (2, 2, 2), "widths": (4, 16, 64)}, companion_reference),
        ("densenet40", {"layers": 2}, densenet_reference),
        ("wrn-32-4", {"blocks": 2, "widen": 2}, wide_reference),
        ("wrn-32-4", {"blocks": 2, "widen": 2, "dropout": 0.3}, partial(wide_reference, dropout=0.3)),
        ("resnet50", {"blocks": (2, 2, 2), "width": 8}, resnet50_reference),
        ("cifar3", {}, cifar3_reference),
        ("lenet-slim", {}, lenet_reference),
        ("lenet-slim-bn", {}, lenet_reference),
        ("mlp", {}, mlp_reference),
        ("mlp-bn", {}, mlp_reference),
    ],
)
def test_every_network_computes_what_its_file_says(name, options, reference, training):
    model = ragged(build_model(name, num_classes=7, seed=0, **options)).train(training)
    x = images(name, 3).double()
    expected = reference(model, x)
    torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_downsample_block_keeps_the_memory_format(layout):
    torch.manual_seed(0)
    block = Block(4, downsample=True).eval().to(memory_format=layout)
    x = torch.randn(2, 4, 8, 8).to(memory_format=layout)
    out = block(x)
    torch.testing.assert_close(out, standard(block, x, stride=2))
    assert out.is_contiguous(memory_format=layout)


def test_within_channel_norm_against_numpy():
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    alpha, beta = 0.5, 0.75
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.empty(x.shape)
    for i in range(5):
        for j in range(6):
            energy = (padded[:, :, i : i + 3, j : j + 3] ** 2).sum((2, 3)) / 9
            expected[:, :, i, j] = x.numpy()[:, :, i, j] * (1 + alpha * energy) ** -beta
    np.testing.assert_allclose(WithinChannelNorm(3, alpha, beta)(x).numpy(), expected, rtol=1e-12)


def test_fillers():
    resnet = build_model("resnet56", seed=3)
    for module in resnet.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * 9
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.15)
            assert not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
    bound = math.sqrt(3 / 64)
    largest = resnet.classifier.weight.abs().max().item()
    assert 0.95 * bound < largest <= bound
    lenet = build_model("lenet", seed=3)
    for layer, inputs in ((lenet.features.conv2, 500), (lenet.hidden, 800), (lenet.classifier, 500)):
        assert 0.95 * math.sqrt(3 / inputs) < layer.weight.abs().max().item() <= math.sqrt(3 / inputs)


def test_the_three_layer_network_starts_as_its_file_says_where_asked():
    network = build_model("cifar3", seed=3, filler="gaussian")
    layers = (network.conv1, network.conv2, network.conv3, network.classifier)
    assert [layer.weight.std().item() for layer in layers] == pytest.approx([1e-4, 0.01, 0.01, 0.01], rel=0.05)
    assert not any(layer.bias.any() for layer in layers)
    xavier = build_model("cifar3", seed=3, filler="xavier").conv1.weight
    assert 0.95 * math.sqrt(3 / 75) < xavier.abs().max().item() <= math.sqrt(3 / 75)


@pytest.mark.parametrize(("name", "options"), [("densenet40", {"layers": 3}), ("wrn-32-4", {"blocks": 1})])
def test_fillers_of_networks_whose_convolutions_have_no_bias(name, options):
    model = build_model(name, seed=3, **options)
    deviations = [
        module.weight.std().item() / math.sqrt(2 / (module.in_channels * math.prod(module.kernel_size)))
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= 400
    ]
    assert len(deviations) > 5
    assert deviations == pytest.approx([1.0] * len(deviations), abs=0.15)
    weight = model.classifier.weight
    bound = math.sqrt(3 / weight.shape[1])
    assert 0.95 * bound < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)  # uniform
    assert not model.classifier.bias.any()


# ---- seeds


def test_a_seed_decides_the_weights_and_moves_no_random_state():
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5)
    np.random.seed(5)
    first, again, other = (build_model("lenet-slim", seed=seed).classifier.weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()


def test_seeded_restores_after_an_exception():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(3):
        {}[torch.rand(1)]
    assert torch.equal(before, torch.get_rng_state())
    for bad in (-1, 2**32, 1.5, "a"):
        with pytest.raises(ValueError, match="seed: got"), seeded(bad):
            pass


# ---- bad input


@pytest.mark.parametrize(("name", "least"), [("lenet", 13), ("cifar3", 8)])
def test_the_smallest_images_that_a_refusal_names_are_taken(name, least):
    model = build_model(name, image_size=least)
    assert model(torch.zeros(2, model.in_channels, least, least)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("resnet65", {}, "did you mean 'resnet56'"),
        ("ResNet_20", {}, "did you mean 'resnet20'"),
        ("zzz", {}, r"unknown; allowed are lenet, .*timm/NAME"),
        ("resnet20", {"dropuot": 0.1}, "no option 'dropuot'; did you mean 'dropout'"),
        ("lenet", {"num_classes": 0}, "num_classes: got 0"),
        ("lenet", {"num_classes": 2.5}, "num_classes: got 2.5"),
        ("lenet", {"in_channels": 0}, "in_channels: got 0"),
        ("lenet", {"image_size": 12}, "at least 13x13"),
        ("lenet", {"image_size": (12, 28)}, "at least 13x13"),
        ("lenet", {"image_size": (28, 12)}, "at least 13x13"),
        ("lenet", {"image_size": (28, 0)}, "image_size: got"),
        ("lenet", {"image_size": (1, 2, 3)}, "image_size: got"),
        ("cifar3", {"image_size": 2}, "cifar3 needs"),
        ("cifar3", {"image_size": (7, 32)}, "at least 8x8"),
        ("cifar3", {"image_size": (32, 7)}, "at least 8x8"),
        ("cifar3", {"filler": "gauss"}, "got 'gauss'; did you mean 'gaussian'"),
        ("resnet20", {"image_size": 30}, "multiples of 4"),
        ("resnet20", {"averaging_fraction": 1}, "averaging_fraction: got 1"),
        ("resnet20", {"blocks": 0}, "blocks: got 0"),
        ("resnext56", {"groups": 5}, "groups: got 5"),
        ("wide32", {"blocks": (1, 2)}, "widths, blocks"),
        ("wrn-32-4", {"blocks": 0}, "blocks, widen: got 0 and 4"),
        ("wrn-32-4", {"widen": 0}, "blocks, widen: got 5 and 0"),
        ("wrn-32-4", {"dropout": 1.0}, "dropout: got 1.0"),
        ("wrn-32-4", {"dropout": -0.1}, "dropout: got -0.1"),
        ("densenet40", {"layers": -1}, "layers, growth: got -1 and 12"),
        ("densenet40", {"growth": 0}, "layers, growth: got 12 and 0"),
    ],
)
def test_bad_settings_are_answered(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **keywords)


@pytest.mark.parametrize(
    ("name", "batch", "message"),
    [
        (
            "lenet",
            torch.zeros(2, 1, 32, 32),
            r"got 32x32 pixels, the network was built for 28x28; .*image_size=\(32, 32\)",
        ),
        (
            "lenet",
            torch.zeros(2, 3, 28, 28),
            "got 3 channels, the network was built for 1; build it with in_channels=3",
        ),
        ("mlp", torch.zeros(2, 784), r"got shape \(2, 784\)"),
        ("resnet8", torch.zeros(2, 3, 32, 32, dtype=torch.uint8), r"got torch.uint8"),
        ("resnet8", torch.zeros(2, 3, 30, 32), "multiples of 4"),
        ("cifar3", torch.zeros(2, 3, 28, 28), "built for 32x32"),
        ("densenet40", torch.zeros(2, 1, 32, 32), "got 1 channels, the network was built for 3"),
        ("wrn-32-4", torch.zeros(2, 1, 32, 32), "got 1 channels, the network was built for 3"),
    ],
)
def test_images_that_do_not_fit_are_answered(name, batch, message):
    with pytest.raises(ValueError, match=message):
        build_model(name)(batch)


@pytest.mark.parametrize("side", range(1, 30))
def test_smallest_images_are_an_answer_or_a_network(side):
    for name in ("lenet-slim", "cifar3"):
        try:
            model = build_model(name, image_size=side, in_channels=1)
        except ValueError:
            assert side < 13
        else:
            assert model(torch.zeros(1, 1, side, side)).shape == (1, 10)


def test_timm_missing_is_one_sentence():
    try:
        import timm  # noqa: F401
    except Exception:
        with pytest.raises(ValueError, match=r"'timm/resnet18' needs the package timm.*superconv\[timm\]"):
            build_model("timm/resnet18")
    else:
        with pytest.raises(ValueError, match="timm has no such model; did you mean"):
            build_model("timm/resnet18x")
        model = build_model("timm/resnet18", num_classes=3, in_channels=1, averaging_fraction=0.8)
        assert model(torch.zeros(2, 1, 64, 64)).shape == (2, 3)
        assert model.bn1.momentum == pytest.approx(0.2)


def test_inception_resnet_v2_takes_classes_channels_and_dropout(monkeypatch):
    try:
        import timm  # noqa: F401
    except Exception as error:  # as in build_timm: a torchvision that does not fit torch fails with a RuntimeError
        pytest.skip(f"timm/inception_resnet_v2 needs the package timm, which does not import here ({error})")
    whole = build_model("timm/inception_resnet_v2", num_classes=1000)
    assert sum(parameter.numel() for parameter in whole.parameters()) == 55_843_464
    model = build_model("timm/inception_resnet_v2", num_classes=7, in_channels=1, drop_rate=0.2)
    dropped = []

    def recorded(x, p=0.5, training=True, inplace=False):
        dropped.append((tuple(x.shape), p, training))
        return x

    monkeypatch.setattr(F, "dropout", recorded)
    assert model(torch.randn(2, 1, 96, 96)).shape == (2, 7)
    assert dropped == [((2, 1536), 0.2, True)]  # once, between the pooled features and the classifier


def test_importing_the_package_imports_no_torch():
    code = "import superconv, sys; assert 'torch' not in sys.modules; superconv.models; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", [registry])
def test_examples_in_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
