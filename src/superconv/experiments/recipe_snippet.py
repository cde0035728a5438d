"""A recipe as a program of plain PyTorch, with stand-ins for model and data, so that it runs as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..training.optimizers import build_optimizer
from ..training.param_groups import NORM_NAME

if TYPE_CHECKING:
    from .recipe import Recipe

_CLASSES = {
    "sgd": ("torch.optim.SGD", ""), "nesterov": ("torch.optim.SGD", ", nesterov=True"),
    "adam": ("torch.optim.Adam", ""), "adamw": ("torch.optim.AdamW", ""), "adagrad": ("torch.optim.Adagrad", ""),
    "adadelta": ("torch.optim.Adadelta", ""), "rmsprop": ("torch.optim.RMSprop", ""),
    "caffe-sgd": ("superconv.training.caffe_sgd.CaffeSGD", ""),
    "caffe-nesterov": ("superconv.training.caffe_sgd.CaffeSGD", ", nesterov=True"),
}  # fmt: skip
_GROUP_OPTIONS = ("weight_decay", "norm_weight_decay", "bias_weight_decay")


def snippet(recipe: Recipe) -> str:
    """The program as text; only model, batches and loss function are to be replaced."""
    return "\n".join([*_head(recipe), *_schedule(recipe), *_optimizer(recipe), *_loop(recipe)]) + "\n"


def _head(recipe: Recipe) -> list[str]:
    path, _ = _class_of(recipe)
    lines = [
        f'"""1cycle training by a recipe for {recipe.task}: {recipe.steps} updates of {recipe.batch_size} samples."""',
        "import re",
        "",
        "import torch",
        "from torch import nn",
    ]
    module, _, name = path.rpartition(".")
    if module != "torch.optim":
        lines.append(f"from {module} import {name}")
    lines += [
        "",
        f"TOTAL_STEPS, BATCH_SIZE = {recipe.steps}, {recipe.batch_size}",
        "",
        "# Yours: a model, batches and a loss. These stand-ins let the program run as it is.",
        "model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))",
        "loss_function = nn.functional.cross_entropy",
        "",
        "",
        "def endless_batches():",
        "    while True:",
        "        yield torch.randn(BATCH_SIZE, 8), torch.randint(4, (BATCH_SIZE,))",
        "",
        "",
    ]
    if recipe.dropout is not None:
        lines.insert(-2, f"# Build your model with dropout={recipe.dropout:g}: the recipe counts on it.")
    return lines


def _schedule(recipe: Recipe) -> list[str]:
    schedule = recipe.arm().schedule
    lines = [
        "def interpolated(step, knots):",
        '    """The value at `step` of straight lines through (step, value) knots."""',
        "    for (start, low), (stop, high) in zip(knots, knots[1:]):",
        "        if step <= stop:",
        "            return low + (high - low) * (step - start) / (stop - start)",
        "    return knots[-1][1]",
        "",
        "",
    ]
    last = schedule.total_steps - 1
    for key, curve in schedule.curves.items():
        steps = sorted({0, *(int(s) for s in curve.knots(last)), last})
        knots = ", ".join(f"({step}, {curve(step)!r})" for step in steps)
        lines.append(f"{'LR' if key == 'lr' else key.upper()} = [{knots}]")
    return lines


def _optimizer(recipe: Recipe) -> list[str]:
    path, extra = _class_of(recipe)
    options = dict(recipe.optimizer_options)
    decay = options.get("weight_decay", 0.0)
    of_norms, of_biases = (options.get(key) for key in _GROUP_OPTIONS[1:])
    rest = {key: value for key, value in options.items() if key not in _GROUP_OPTIONS}
    arguments = "".join(f", {key}={_plain(value)!r}" for key, value in rest.items() if key != "momentum")
    name = path if path.startswith("torch.optim.") else path.rpartition(".")[2]
    lines = ["", "weights, norms, biases = [], [], []", "for module in model.modules():",
             "    for key, parameter in module.named_parameters(recurse=False):",
             f'        if re.search(r"{NORM_NAME.pattern}", type(module).__name__):',
             "            norms.append(parameter)",
             "        else:",
             '            (biases if key.endswith("bias") else weights).append(parameter)']  # fmt: skip
    if "weight_decay" in options:
        lines += ["groups = ["]
        for group, own in (("weights", None), ("norms", of_norms), ("biases", of_biases)):
            lines.append(f'    {{"params": {group}, "weight_decay": {decay if own is None else own!r}}},')
        lines += ["]"]
    else:
        lines += ['groups = [{"params": weights + norms + biases}]']
    constant = f", momentum={rest['momentum']!r}" if "momentum" in rest and _takes_momentum(recipe) else ""
    start = ", momentum=MOMENTUM[0][1]" if recipe.policy.get("max_momentum") and _takes_momentum(recipe) else ""
    lines.append(
        f"optimizer = {name}([g for g in groups if g['params']], lr=LR[0][1]{constant or start}{extra}{arguments})"
    )
    if constant == start == "" and "momentum" in rest:  # beta1 of Adam
        lines += ["for group in optimizer.param_groups:",
                  f'    group["betas"] = ({rest["momentum"]!r}, group["betas"][1])']  # fmt: skip
    fraction = recipe.averaging_fraction(recipe.steps)
    if fraction is not None:
        lines += ["for module in model.modules():  # running statistics that fit the run's length",
                  "    if isinstance(module, nn.modules.batchnorm._BatchNorm):",
                  f"        module.momentum = {1 - fraction:.6g}"]  # fmt: skip
    return lines


def _loop(recipe: Recipe) -> list[str]:
    half = recipe.precision in ("bf16", "fp16")
    dtype = {"bf16": "torch.bfloat16", "fp16": "torch.float16"}.get(recipe.precision, "")
    device = "next(model.parameters()).device.type"
    lines = ["", f"scaler = torch.amp.GradScaler({device})"] if recipe.precision == "fp16" else [""]
    lines += ["model.train()", "for step, (inputs, targets) in zip(range(TOTAL_STEPS), endless_batches()):",
              "    for group in optimizer.param_groups:", '        group["lr"] = interpolated(step, LR)']  # fmt: skip
    if recipe.policy.get("max_momentum") is not None:
        if _takes_momentum(recipe):
            lines.append('        group["momentum"] = interpolated(step, MOMENTUM)')
        else:
            lines.append('        group["betas"] = (interpolated(step, MOMENTUM), group["betas"][1])')
    loss = "loss = loss_function(model(inputs), targets)"
    lines += [f"    with torch.autocast({device}, {dtype}):", f"        {loss}"] if half else [f"    {loss}"]
    lines.append("    optimizer.zero_grad()")
    scaled = recipe.precision == "fp16"
    lines.append("    scaler.scale(loss).backward()" if scaled else "    loss.backward()")
    if recipe.clip_grad_norm is not None:
        lines += ["    scaler.unscale_(optimizer)"] if scaled else []
        lines.append(f"    nn.utils.clip_grad_norm_(model.parameters(), {recipe.clip_grad_norm!r})")
    lines += ["    scaler.step(optimizer)", "    scaler.update()"] if scaled else ["    optimizer.step()"]
    return lines


def _class_of(recipe: Recipe) -> tuple[str, str]:
    plain = recipe.optimizer.lower().replace("_", "-")
    return _CLASSES.get(plain, (recipe.optimizer.replace(":", "."), ""))


def _takes_momentum(recipe: Recipe) -> bool:
    """Whether momentum is an argument of its own; else it is the first of betas."""
    parameter = nn.Parameter(torch.zeros(1))
    return "momentum" in build_optimizer(recipe.optimizer, [parameter], lr=1.0).defaults


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
