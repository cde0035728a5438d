"""A recipe as a program of plain PyTorch, with stand-ins for model and data, so that it runs as it is."""

from __future__ import annotations

from collections.abc import Mapping
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
_GROUP_OPTIONS = ("weight_decay", "norm_weight_decay", "bias_weight_decay", "bias_lr_scale", "overrides")


def snippet(recipe: Recipe) -> str:
    """The program as text; only model, batches and loss function are to be replaced.

    Raises: ValueError: `overrides` with a learning rate, which the recipe's schedule has no ratio to.
    """
    if absolute := [name for name, own in _overrides(recipe.optimizer_options).items() if "lr" in own]:
        raise ValueError(f"overrides of {', '.join(absolute)}: a program needs lr_scale, a factor, in place of lr")
    return "\n".join([*_head(recipe), *_schedule(recipe), *_optimizer(recipe), *_loop(recipe)]) + "\n"


def _head(recipe: Recipe) -> list[str]:
    path, _ = _class_of(recipe)
    length = f"{recipe.steps} updates of {recipe.batch_size} samples"
    lines = [
        f'"""1cycle training by a recipe for {_quoted(recipe.task)}: {length}."""',
        *(["import fnmatch"] if _overrides(recipe.optimizer_options) else []),
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
    rest = {key: value for key, value in options.items() if key not in _GROUP_OPTIONS}
    arguments = "".join(f", {key}={_plain(value)!r}" for key, value in rest.items() if key != "momentum")
    name = path if path.startswith("torch.optim.") else path.rpartition(".")[2]
    overrides = _overrides(options)
    lines = ["", "SETTINGS = {", *(f'    "{kind}": {own!r},' for kind, own in _kinds(options).items()), "}"]
    if overrides:
        lines += ["OVERRIDES = {", *(f"    {pattern!r}: {dict(own)!r}," for pattern, own in overrides.items()), "}"]
    lines += ["groups, seen = {}, set()", "for path, module in model.named_modules():",
              f'    norm = re.search(r"{NORM_NAME.pattern}", type(module).__name__)',
              "    for key, parameter in module.named_parameters(recurse=False):",
              "        if parameter in seen or not parameter.requires_grad:",
              "            continue",
              "        seen.add(parameter)",
              '        kind = "norms" if norm else "biases" if key.endswith("bias") else "weights"',
              "        own = dict(SETTINGS[kind])"]  # fmt: skip
    if overrides:
        lines += ["        for pattern, override in OVERRIDES.items():",
                  '            if fnmatch.fnmatchcase(f"{path}.{key}" if path else key, pattern):',
                  "                own.update(override)"]  # fmt: skip
    lines.append('        groups.setdefault(repr(own), {"params": [], **own})["params"].append(parameter)')
    constant = f", momentum={rest['momentum']!r}" if "momentum" in rest and _takes_momentum(recipe) else ""
    start = ", momentum=MOMENTUM[0][1]" if recipe.policy.get("max_momentum") and _takes_momentum(recipe) else ""
    lines.append(f"optimizer = {name}(list(groups.values()), lr=LR[0][1]{constant or start}{extra}{arguments})")
    if constant == start == "" and "momentum" in rest:  # beta1 of Adam
        lines += ["for group in optimizer.param_groups:",
                  f'    group["betas"] = ({rest["momentum"]!r}, group["betas"][1])']  # fmt: skip
    fraction = recipe.averaging_fraction(recipe.steps)
    if fraction is not None:
        lines += ["for module in model.modules():  # running statistics that fit the run's length",
                  "    if isinstance(module, nn.modules.batchnorm._BatchNorm):",
                  f"        module.momentum = {1 - fraction:.6g}"]  # fmt: skip
    return lines


def _overrides(options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return options.get("overrides") or {}


def _kinds(options: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """What the param groups of weights, norms and biases have of their own."""
    kinds: dict[str, dict[str, float]] = {"weights": {}, "norms": {}, "biases": {}}
    decays = {"norms": options.get("norm_weight_decay"), "biases": options.get("bias_weight_decay")}
    if any(decay is not None for decay in (options.get("weight_decay"), *decays.values())):
        for kind, own in kinds.items():
            decay = decays.get(kind)
            own["weight_decay"] = options.get("weight_decay", 0.0) if decay is None else decay
    if options.get("bias_lr_scale", 1.0) != 1.0:
        kinds["biases"]["lr_scale"] = options["bias_lr_scale"]
    return kinds


def _loop(recipe: Recipe) -> list[str]:
    half = recipe.precision in ("bf16", "fp16")
    dtype = {"bf16": "torch.bfloat16", "fp16": "torch.float16"}.get(recipe.precision, "")
    device = "next(model.parameters()).device.type"
    lines = ["", f"scaler = torch.amp.GradScaler({device})"] if recipe.precision == "fp16" else [""]
    scales = "lr_scale" in repr((_kinds(recipe.optimizer_options), _overrides(recipe.optimizer_options)))
    scale = ' * group.get("lr_scale", 1.0)' if scales else ""
    lines += ["model.train()", "for step, (inputs, targets) in zip(range(TOTAL_STEPS), endless_batches()):",
              "    for group in optimizer.param_groups:",
              f'        group["lr"] = interpolated(step, LR){scale}']  # fmt: skip
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


def _quoted(name: str) -> str:
    """A name within the program's docstring: of a path on Windows the backslashes, too, are no escapes."""
    plain = " ".join(name.split()).encode(errors="replace").decode()
    return plain.replace("\\", r"\\").replace('"', r"\"")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
