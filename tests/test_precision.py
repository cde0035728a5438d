"""Number and memory formats: what autocast and the scaler do, what is refused, that values stay."""

import contextlib

import pytest
import torch
from torch import nn

from superconv.models import build_model
from superconv.training.precision import autocast, fast_matmul, make_scaler, to_channels_last, wants_channels_last


def test_fp32_is_no_context_at_all():
    assert isinstance(autocast("fp32", "cpu"), contextlib.nullcontext)
    with autocast("fp32", "cpu"):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
@pytest.mark.parametrize("fast", [False, True])
def test_half_precision_on_a_cpu_works_and_warns_where_it_is_slow(precision, dtype, fast, monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_amx_fp16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: fast, raising=False)
    with contextlib.nullcontext() if fast else pytest.warns(UserWarning, match=f"'{precision}' on a CPU without"):
        context = autocast(precision, "cpu")
    layer = nn.Linear(3, 2)
    with context:
        assert layer(torch.randn(4, 3)).dtype is dtype
    assert layer(torch.randn(4, 3)).dtype is torch.float32


def test_a_torch_that_does_not_tell_what_the_cpu_has_gets_the_warning(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_fp16_supported", raising=False)
    with pytest.warns(UserWarning, match="slower"):
        autocast("fp16", "cpu")


def test_the_scaler_is_fp16s_alone():
    assert make_scaler("fp32", "cpu") is None
    assert make_scaler("bf16", "cpu") is None
    assert make_scaler("fp16", "cpu").is_enabled()


def test_the_scaler_steps_skips_and_halves_on_a_cpu():
    layer, scaler = nn.Linear(3, 1), make_scaler("fp16", "cpu")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    weights = layer.weight.detach().clone()
    for factor, moves in ((1.0, True), (float("inf"), False)):
        optimizer.zero_grad()
        scaler.scale(layer(torch.ones(2, 3)).sum() * factor).backward()
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        assert (not torch.equal(weights, layer.weight)) is moves
        assert (scaler.get_scale() == scale) is moves
        weights = layer.weight.detach().clone()


@pytest.mark.parametrize("precision", ["float16", "fp8", "", None])
def test_other_precisions_are_refused(precision):
    for function in (autocast, make_scaler):
        with pytest.raises(ValueError, match="allowed are fp32, bf16, fp16"):
            function(precision, "cpu")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("bfloat16", "bf16"), (torch.bfloat16, "bf16"), ("float16", "fp16"), ("torch.half", "fp16"), ("FP32", "fp32"),
        (torch.float32, "fp32"), ("bf16-mixed", "bf16"),
    ],
)  # fmt: skip
def test_the_names_of_others_are_answered_with_ours(name, ours):
    with pytest.raises(ValueError, match=rf"got .*; (that is|did you mean) '{ours}'.* allowed are fp32, bf16, fp16"):
        make_scaler(name, "cpu")


def test_channels_last_is_for_convolutions_on_cpu_and_cuda():
    assert wants_channels_last(build_model("resnet8"), "cpu")
    assert wants_channels_last(build_model("lenet"), torch.device("cuda", 1))
    assert not wants_channels_last(build_model("mlp"), "cpu")
    assert not wants_channels_last(build_model("resnet8"), "mps")


@pytest.mark.parametrize("name", ["resnet8", "lenet-slim-bn", "cifar3", "resnet8-plain-nonorm"])
def test_channels_last_computes_the_same_and_is_kept_to_the_end(name):
    grey = name.startswith("lenet")
    images = torch.randn(4, 1, 28, 28) if grey else torch.randn(4, 3, 32, 32)
    plain, converted = build_model(name, seed=0), to_channels_last(build_model(name, seed=0))
    assert [id(p) for p in converted.parameters()] == [id(p) for p in to_channels_last(converted).parameters()]
    kept = []
    for module in converted.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels > 1:
            module.register_forward_hook(
                lambda _, inputs, output: kept.append(output.is_contiguous(memory_format=torch.channels_last))
            )
    logits = converted(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(logits, plain(images), rtol=1e-4, atol=1e-4)
    assert kept
    assert all(kept)


def test_fast_matmul_puts_the_setting_back():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(KeyError), fast_matmul():
        {}[torch.get_float32_matmul_precision()]
    assert torch.get_float32_matmul_precision() == before
    with fast_matmul():
        assert torch.get_float32_matmul_precision() == "high"
    with fast_matmul(enabled=False):
        assert torch.get_float32_matmul_precision() == before
