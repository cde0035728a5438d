"""Small real data: pictures at 16 pixels, the digits of scikit-learn, the text of Python's own documentation."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F

import superconv as sc
from superconv.data import Preparation

VALIDATION, TEST = 2000, 3000
TOKENS = 32
PICTURES = ("mnist5k", "digits", "cifar10-16px", "cifar100-16px")
NAMES = (*PICTURES, "text")


@functools.cache
def splits(name: str, samples: int | None = None, data_dir: str | Path | None = None) -> sc.Splits:
    """Train, validation and test of one of `NAMES`; `samples`: the size of the training part."""
    whole = {"mnist5k": _mnist5k, "digits": _digits, "text": _text}.get(name)
    found = whole() if whole else _reduced(name, data_dir)
    return found if samples is None else found.subset(min(samples, len(found.train)))


def _mnist5k() -> sc.Splits:
    return sc.data.load("mnist5k").with_validation(500)


def _reduced(name: str, data_dir: str | Path | None) -> sc.Splits:
    """CIFAR at 16 pixels: the mean over two by two, which cuts the cost of a convolution by four."""
    data = sc.data.load(name.removesuffix("-16px"), data_dir).with_validation(VALIDATION)

    def half(part: sc.data.Samples) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = part.inputs.float()  # type: ignore[attr-defined]
        return F.avg_pool2d(pictures, 2).round().to(torch.uint8), part.targets  # type: ignore[attr-defined]

    test = data.test.take(range(TEST))
    made = sc.Splits(half(data.train), half(data.validation), half(test), data.num_classes, name=name)
    pixels = made.train.inputs.double() / 255  # type: ignore[attr-defined]
    mean, deviation = (value.tolist() for value in (pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))))
    preparation = Preparation.per_channel(mean, deviation, mirror=True)
    return sc.Splits(made.train, made.validation, made.test, data.num_classes, name=name, preparation=preparation)


def _digits() -> sc.Splits:
    """1,797 digits of 8 by 8 pixels, doubled to 16 for networks with pooling."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1).repeat_interleave(2, 2)
    inputs, targets = pictures.repeat_interleave(2, 3) / 8 - 1, torch.tensor(found.target)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    parts = [(inputs[part], targets[part]) for part in order.split((1097, 300, 400))]
    return sc.Splits(*parts, 10, name="digits")


def _text() -> sc.Splits:
    """Python's help topics, cut into pieces of 33 characters: 32 to read, 32 to predict; rare ones become one."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    frequent = sorted({c for c in set(text) if text.count(c) >= 200})
    code = {c: index + 1 for index, c in enumerate(frequent)}
    encoded = torch.tensor([code.get(c, 0) for c in text])
    pieces = encoded[: len(encoded) // (TOKENS + 1) * (TOKENS + 1)].view(-1, TOKENS + 1)
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0))
    cut = (len(pieces) - 1300, 500, 800)
    parts = [(pieces[part, :-1].clone(), pieces[part, 1:].clone()) for part in order.split(cut)]
    return sc.Splits(*parts, len(frequent) + 1, name="text")
