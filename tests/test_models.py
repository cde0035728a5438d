"""Named networks: parameter totals, blocks and fillers against the paper's files."""

import doctest
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from superconv.models import NAMES, build_model, registry, seeded
from superconv.models.cifar3 import WithinChannelNorm
from superconv.models.resnet import Block

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


# ---- blocks against a slow form written from the definition


def downsample_reference(block: Block, x: torch.Tensor) -> torch.Tensor:
    y = F.relu(block.first(x))
    y = block.second(y)
    n, c, h, w = x.shape
    pooled = torch.zeros(n, c, h // 2, w // 2)
    for i in range(h // 2):
        for j in range(w // 2):
            window = x[:, :, 2 * i : min(2 * i + 3, h), 2 * j : min(2 * j + 3, w)]  # averaged over real pixels alone
            pooled[:, :, i, j] = window.mean((2, 3))
    z = F.relu(y + pooled)
    return torch.cat((z, torch.zeros_like(z)), dim=1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_downsample_block_is_the_papers(layout):
    torch.manual_seed(0)
    block = Block(4, downsample=True).eval().to(memory_format=layout)
    x = torch.randn(2, 4, 8, 8).to(memory_format=layout)
    out = block(x)
    torch.testing.assert_close(out, downsample_reference(block, x))
    assert out.is_contiguous(memory_format=layout)


def test_standard_and_plain_blocks():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    for shortcut in (True, False):
        block = Block(4, downsample=False, shortcut=shortcut).eval()
        y = block.second(F.relu(block.first(x)))
        torch.testing.assert_close(block(x), F.relu(y + x if shortcut else y))


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
        ("lenet", {"image_size": (28, 0)}, "image_size: got"),
        ("lenet", {"image_size": (1, 2, 3)}, "image_size: got"),
        ("cifar3", {"image_size": 2}, "cifar3 needs"),
        ("cifar3", {"filler": "gauss"}, "got 'gauss', allowed are msra and xavier"),
        ("resnet20", {"image_size": 30}, "multiples of 4"),
        ("resnet20", {"averaging_fraction": 1}, "averaging_fraction: got 1"),
        ("resnet20", {"blocks": 0}, "blocks: got 0"),
        ("resnext56", {"groups": 5}, "groups: got 5"),
        ("wide32", {"blocks": (1, 2)}, "widths, blocks"),
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


def test_importing_the_package_imports_no_torch():
    code = "import superconv, sys; assert 'torch' not in sys.modules; superconv.models; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("module", [registry])
def test_examples_in_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
