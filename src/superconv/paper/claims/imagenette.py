"""The paper's ImageNet comparison on ten classes of ImageNet, which fit on one GPU and into an hour: ours."""

from __future__ import annotations

from typing import Any

from ..claim import Claim, Effect, Experiment
from ..setting import Setting
from .imagenet import one_cycle, resnet50, step_decay

_EPOCH = 74  # updates: 9,469 pictures in batches of 128
_HALF = 0.5  # of the updates at scale "short": 3% of them would be less than one pass over its pictures
_CHOSEN = (
    "everything but data, length and weight decay: as the paper's ResNet-50 on ImageNet",
    "the pictures: random-resized crops of 35 to 100% of the area at 128 pixels",
)


def _setting(schedule: Any, epochs: int, **changes: Any) -> Setting:
    return resnet50(
        schedule, epochs * _EPOCH, data="imagenette", test_images=3_925, evaluate_every=2 * _EPOCH,
        data_options={"image_size": 128, "crop_scale": (0.35, 1.0)}, least_steps=round(_HALF * epochs * _EPOCH),
        **changes,
    )  # fmt: skip


def _cycle(wd: str) -> Experiment:
    return Experiment(
        f"imagenette/1cycle-{wd}", None, _setting(one_cycle(0.95), 20, momentum=None, weight_decay=float(wd)), _CHOSEN,
        title=f"ResNet-50 on Imagenette, 1cycle over 20 epochs, weight decay {wd}",
    )  # fmt: skip


CLAIM = Claim(
    "imagenette",
    "On ten classes of ImageNet 20 epochs of 1cycle with weight decay 3e-6 beat 100 epochs of step decay.",
    "ours, after arXiv 1708.07120v3, Fig. 6a",
    (
        Experiment(
            "imagenette/step-100", None, _setting(step_decay, 100), _CHOSEN,
            title="ResNet-50 on Imagenette, step decay over 100 epochs, weight decay 1e-4",
        ),
        *(_cycle(wd) for wd in ("3e-6", "1e-5", "1e-4")),
    ),
    (Effect("1cycle-3e-6", "step-100"), Effect("1cycle-3e-6", "1cycle-1e-4")),
)  # fmt: skip
