"""Optimizers by name: Caffe's rule against its formula and torch, groups, import paths, refusals."""

import copy
import doctest
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from superconv.training import optimizers
from superconv.training.caffe_sgd import CaffeSGD
from superconv.training.optimizers import build_optimizer, default_lr, describe
from superconv.training.param_groups import is_norm, kinds


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))


def updates(model: nn.Module, optimizer: torch.optim.Optimizer, lrs: list[float]) -> list[torch.Tensor]:
    """Weights after one update at each learning rate, on fixed data."""
    generator = torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype
    inputs = torch.randn(8, 1, 6, 6, generator=generator, dtype=dtype)
    targets = torch.arange(8) % 3
    for lr in lrs:
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


# ---- Caffe's rule


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_caffe_follows_its_formula_under_a_changing_rate(nesterov, momentum):
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = CaffeSGD([weight], lr=1.0, momentum=momentum, weight_decay=0.01, nesterov=nesterov)
    w, v = weight.detach().clone(), torch.zeros(2, dtype=torch.float64)
    for step in range(12):
        lr = 0.01 * (step + 1) if step < 6 else 0.001
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = 3.0 * weight.detach() + step
        gradient = 3.0 * w + step + 0.01 * w
        old, v = v, momentum * v + lr * gradient
        w = w - ((1 + momentum) * v - momentum * old if nesterov else v)
        optimizer.step()
        torch.testing.assert_close(weight.detach(), w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_caffe_is_torchs_sgd_at_a_constant_rate_and_not_after_a_drop(nesterov):
    def weights(build, lrs):
        model = network().double()
        return updates(
            model, build(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=nesterov), lrs
        )

    constant, dropped = [0.05] * 10, [0.05] * 5 + [0.005] * 5
    torch.testing.assert_close(weights(CaffeSGD, constant), weights(torch.optim.SGD, constant), rtol=1e-10, atol=1e-12)
    pairs = zip(weights(CaffeSGD, dropped), weights(torch.optim.SGD, dropped), strict=True)
    assert max((ours - theirs).abs().max() for ours, theirs in pairs) > 1e-3


def test_caffe_takes_a_tensor_rate_and_resumes_bit_for_bit():
    first, second = network(), network()
    optimizers = [CaffeSGD(model.parameters(), lr=torch.tensor(0.1)) for model in (first, second)]
    updates(first, optimizers[0], [torch.tensor(0.1)] * 4)
    second.load_state_dict(first.state_dict())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    rest = [0.2, 0.01]
    for ours, theirs in zip(updates(first, optimizers[0], rest), updates(second, optimizers[1], rest), strict=True):
        assert torch.equal(ours, theirs)


def test_caffe_skips_what_has_no_gradient_and_refuses_sparse_ones():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = CaffeSGD([used, unused], lr=0.1)
    assert optimizer.step(lambda: 7.0) == 7.0
    used.grad = torch.ones(2)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    torch.testing.assert_close(used.detach(), torch.full((2,), 0.9))
    embedding = nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse gradient"):
        CaffeSGD(embedding.parameters()).step()


@pytest.mark.parametrize("bad", [{"lr": -1.0}, {"lr": math.nan}, {"momentum": 1.0}, {"weight_decay": -1.0}])
def test_caffe_refuses_settings_out_of_range(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CaffeSGD([nn.Parameter(torch.ones(1))], **bad)


# ---- names


TORCH = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "caffe-sgd": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=1e-3),
    "caffe-nesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=1e-3),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.02, weight_decay=1e-3),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.02, weight_decay=1e-3),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.02, weight_decay=1e-3),
    "torch.optim:NAdam": lambda p: torch.optim.NAdam(p, lr=0.02, weight_decay=1e-3),
    "torch.optim.RAdam": lambda p: torch.optim.RAdam(p, lr=0.02, weight_decay=1e-3),
}


@pytest.mark.parametrize("name", [*optimizers.NAMES, "torch.optim:NAdam", "torch.optim.RAdam"])
def test_each_name_updates_as_torchs_class(name):
    ours, theirs = network().double(), network().double()
    mine = build_optimizer(name, ours, lr=0.02, weight_decay=1e-3)
    lrs = [0.02] * 5
    expected = updates(theirs, TORCH[name](theirs.parameters()), lrs)
    torch.testing.assert_close(updates(ours, mine, lrs), expected, rtol=1e-9, atol=1e-11)
    assert len(mine.param_groups) == 1
    assert "initial_lr" not in mine.param_groups[0]


def test_default_rates():
    assert [default_lr(name) for name in ("sgd", "adam", "adadelta")] == [0.1, 1e-3, 1.0]
    assert default_lr("torch.optim:NAdam") == 2e-3


def test_no_weight_decay_unless_asked():
    assert build_optimizer("adamw", network(), lr=0.1).defaults["weight_decay"] == 0.0


@pytest.mark.parametrize("name", ["adam", "adamw", "torch.optim:NAdam"])
def test_momentum_is_beta1_of_the_adam_family(name):
    assert build_optimizer(name, network(), lr=0.1, momentum=0.8).defaults["betas"] == (0.8, 0.999)


def test_momentum_reaches_sgd_and_rmsprop():
    assert build_optimizer("sgd", network(), lr=0.1, momentum=0.0).defaults["momentum"] == 0.0
    assert build_optimizer("rmsprop", network(), lr=0.1).defaults["momentum"] == 0.0
    assert build_optimizer("rmsprop", network(), lr=0.1, momentum=0.7).defaults["momentum"] == 0.7


def test_fused_kernels_are_a_default_on_a_cpu_and_no_more():
    assert build_optimizer("sgd", network(), lr=0.1).defaults["fused"] is True
    assert build_optimizer("sgd", network(), lr=0.1, foreach=True).defaults["fused"] is None
    assert build_optimizer("sgd", network(), lr=0.1, fused=False).defaults["fused"] is False
    sparse = nn.Embedding(4, 2, sparse=True)
    optimizer = build_optimizer("sgd", sparse, lr=0.1, momentum=0.0)
    sparse(torch.tensor([1])).sum().backward()
    optimizer.step()  # fused kernels would refuse the sparse gradient


# ---- param groups


def settings(optimizer):
    return {
        group["kind"]: (group["lr"], group["weight_decay"], len(group["params"])) for group in optimizer.param_groups
    }


def test_groups_for_norms_and_biases():
    model = network()
    optimizer = build_optimizer(
        "sgd", model, lr=0.1, weight_decay=1e-3, norm_weight_decay=1e-4, bias_weight_decay=0.0, bias_lr_scale=2.0
    )
    assert settings(optimizer) == {"weights": (0.1, 1e-3, 2), "norms": (0.1, 1e-4, 2), "biases": (0.2, 0.0, 2)}
    assert {id(p) for g in optimizer.param_groups for p in g["params"]} == {id(p) for p in model.parameters()}
    joined = build_optimizer("sgd", model, lr=0.1, weight_decay=1e-3, norm_weight_decay=0.0, bias_weight_decay=0.0)
    assert settings(joined) == {"weights": (0.1, 1e-3, 2), "norms+biases": (0.1, 0.0, 4)}


def test_caffes_bias_factors_act():
    model = nn.Linear(2, 1)
    optimizer = build_optimizer("sgd", model, lr=0.1, weight_decay=0.5, bias_weight_decay=0.0, bias_lr_scale=2.0)
    before = [parameter.detach().clone() for parameter in (model.weight, model.bias)]
    model.weight.grad, model.bias.grad = torch.ones(1, 2), torch.ones(1)
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before[0] - 0.1 * (1 + 0.5 * before[0]))
    torch.testing.assert_close(model.bias.detach(), before[1] - 0.2)


def test_many_kinds_of_layers_are_told_apart():
    class RMSNorm2d(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4))

    layers = nn.ModuleDict(
        {
            "attention": nn.MultiheadAttention(4, 2),
            "layer": nn.LayerNorm(4),
            "group": nn.GroupNorm(2, 4),
            "own": RMSNorm2d(),
            "embedding": nn.Embedding(3, 4),
        }
    )
    found = {name: kind for name, (kind, _) in kinds(layers).items()}
    assert {name for name, kind in found.items() if kind == "biases"} == {
        "attention.in_proj_bias",
        "attention.out_proj.bias",
    }
    assert {name.split(".")[0] for name, kind in found.items() if kind == "norms"} == {"layer", "group", "own"}


TORCHS_NORMS = [nn.BatchNorm1d(4), nn.BatchNorm3d(4), nn.SyncBatchNorm(4), nn.LazyBatchNorm2d(), nn.InstanceNorm2d(4),
                nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), nn.LocalResponseNorm(2)]  # fmt: skip
FOREIGN_NORMS = [
    "LayerNorm2d", "FrozenBatchNorm2d", "LlamaRMSNorm", "T5LayerNorm", "RmsNorm2d", "RmsNormAct2d", "RmsNorm2dFp32",
    "RMSNormGated", "FP32LayerNorm", "MyBatchNorm2D", "PreNorm",
]  # fmt: skip
NO_NORMS = ["Normalize", "NormFreeNet", "UnNormalize", "Normal", "NormHead", "LayerNormalizer", "NormedLinear"]


@pytest.mark.parametrize("layer", TORCHS_NORMS, ids=lambda layer: type(layer).__name__)
def test_torchs_normalisation_layers_are_known_and_their_subclasses_whatever_their_name(layer):
    assert is_norm(layer)
    layer.__class__ = type("Mine" if not isinstance(layer, nn.LocalResponseNorm) else "MyNorm", (type(layer),), {})
    assert is_norm(layer)


@pytest.mark.parametrize("name", FOREIGN_NORMS + NO_NORMS)
def test_other_layers_are_normalisation_by_how_their_name_ends(name):
    module = type(name, (nn.Module,), {})()
    module.w = nn.Parameter(torch.ones(2))
    assert is_norm(module) is (name in FOREIGN_NORMS)
    assert kinds(module)["w"][0] == ("norms" if name in FOREIGN_NORMS else "weights")


def test_shared_parameters_once_and_frozen_ones_not_at_all():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[2].weight.requires_grad_(False)
    optimizer = build_optimizer("sgd", model, lr=0.1, bias_weight_decay=0.0, weight_decay=1.0)
    assert settings(optimizer) == {"weights": (0.1, 1.0, 1), "biases": (0.1, 0.0, 3)}
    with pytest.raises(ValueError, match="no trainable parameter"):
        build_optimizer("sgd", model.requires_grad_(False), lr=0.1)


def test_overrides_by_name():
    optimizer = build_optimizer("sgd", network(), lr=0.1, weight_decay=1e-4, overrides={"4.*": {"weight_decay": 0.025}})
    assert settings(optimizer) == {"weights+norms+biases": (0.1, 1e-4, 4), "weights+biases": (0.1, 0.025, 2)}
    with pytest.raises(ValueError, match=r"'5.\*' meets no trainable parameter; names are 0.weight"):
        build_optimizer("sgd", network(), lr=0.1, overrides={"5.*": {"lr": 1.0}})
    with pytest.raises(ValueError, match="has no 'weight_deacy'; did you mean 'weight_decay'"):
        build_optimizer("sgd", network(), lr=0.1, overrides={"4.*": {"weight_deacy": 1.0}})
    with pytest.raises(ValueError, match="lr_scale: got -1"):
        build_optimizer("sgd", network(), lr=0.1, overrides={"4.*": {"lr_scale": -1}})
    scaled = build_optimizer("sgd", network(), lr=0.1, bias_lr_scale=2.0, overrides={"4.*": {"lr_scale": 3.0}})
    assert sorted({round(group["lr"], 9) for group in scaled.param_groups}) == [0.1, 0.2, 0.3]


def test_lists_and_groups_of_parameters_work():
    model = network()
    assert len(build_optimizer("sgd", model.parameters(), lr=0.1).param_groups[0]["params"]) == 6
    groups = [{"params": list(model[0].parameters()), "lr": 1.0}, {"params": list(model[4].parameters())}]
    assert [group["lr"] for group in build_optimizer("adam", groups, lr=0.1).param_groups] == [1.0, 0.1]
    with pytest.raises(ValueError, match="pass the model"):
        build_optimizer("sgd", model.parameters(), lr=0.1, norm_weight_decay=0.0)
    with pytest.raises(ValueError, match="empty list"):
        build_optimizer("sgd", [], lr=0.1)


# ---- plain data


def test_description_is_plain_and_stable():
    def build(lr):
        return build_optimizer("adam", network(), lr=lr, weight_decay=1e-3, bias_weight_decay=0.0, bias_lr_scale=2.0)

    text = json.dumps(describe(build(0.1)))
    assert text == json.dumps(describe(build(0.1)))
    assert text != json.dumps(describe(build(0.2)))
    data = json.loads(text)
    assert data["name"] == "torch.optim.adam:Adam"
    assert data["defaults"]["betas"] == [0.9, 0.999]
    assert data["groups"][1] == {"tensors": 2, "elements": 7, "kind": "biases", "lr": 0.2, "weight_decay": 0.0}
    assert describe(CaffeSGD(network().parameters(), lr=torch.tensor(0.5)))["defaults"]["lr"] == 0.5


# ---- bad input


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("sdg", {}, "'sdg' is unknown; did you mean 'sgd'"),
        ("NAdam", {}, "use its import path, 'torch.optim:NAdam'"),
        ("nothing.here:SGD", {}, "'nothing.here' does not import"),
        ("torch.optim:Sgd", {}, "has no 'Sgd'; did you mean 'SGD'"),
        ("torch.nn:Linear", {}, "allowed are subclasses"),
        ("sgd", {"dampning": 0.1}, "no option 'dampning'; did you mean 'dampening'"),
        ("sgd", {"lr": 0.0}, "lr: got 0.0"),
        ("sgd", {"lr": "0.1"}, "lr: got '0.1'"),
        ("sgd", {"weight_decay": -1e-4}, "weight_decay: got -0.0001"),
        ("sgd", {"bias_weight_decay": math.inf}, "bias_weight_decay: got inf"),
        ("sgd", {"bias_lr_scale": 0.0}, "bias_lr_scale: got 0.0"),
        ("sgd", {"momentum": 1.0}, "momentum: got 1.0"),
        ("nesterov", {"momentum": 0.0}, "use 'sgd'"),
        ("adagrad", {"momentum": 0.9}, "'adagrad' has none; leave it out"),
        ("adadelta", {"momentum": 0.9}, "its averaging constant is rho"),
        ("adam", {"momentum": 0.9, "betas": (0.9, 0.99)}, "momentum and betas"),
        ("torch.optim:LBFGS", {"weight_decay": 0.1}, "weight_decay: optimizer 'torch.optim:LBFGS' has none"),
    ],
)
def test_bad_settings_are_answered(name, keywords, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(name, network(), **{"lr": 0.1, **keywords})


class Talking(torch.optim.SGD):
    def __init__(self, *arguments, **options):
        print("Using decoupled weight decay")
        super().__init__(*arguments, **options)


def test_what_a_class_prints_is_no_result(capsys):
    build_optimizer(f"{__name__}:Talking", nn.Linear(1, 1), lr=0.1)
    assert capsys.readouterr() == ("", "Using decoupled weight decay\n")


def test_a_class_that_wants_more_is_answered():
    with pytest.raises(ValueError, match="does not start with these settings"):
        build_optimizer(f"{__name__}:Demanding", network(), lr=0.1)
    with pytest.raises(ValueError, match="no default learning rate"):
        default_lr(f"{__name__}:Demanding")


class Demanding(torch.optim.SGD):
    def __init__(self, params, lr, wish):
        super().__init__(params, lr=lr + wish)


@pytest.mark.parametrize("module", [optimizers])
def test_examples_in_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_tensor_learning_rates_are_told_apart_to_the_last_digit() -> None:
    model = nn.Linear(3, 2)
    rate = torch.tensor(1e-3)
    optimizer = build_optimizer("adam", model, lr=rate, bias_lr_scale=1.00002)
    assert [float(group["lr"]) for group in optimizer.param_groups] == [float(rate), float(rate * 1.00002)]
