"""Scales: the settings as they were, what of them a CPU can do in minutes or hours, and seconds to see that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .setting import ScaleName, Setting


@dataclass(frozen=True)
class Scale:
    """How a setting is made smaller.

    Args:
        steps: factor of the number of updates, of which there are at least `least`.
        least: smallest number of updates.
        batch: factor of the batch size, and of the learning rates of SGD with it (`rates`), so that the noise of an
            update stays (Goyal et al., arXiv 1706.02677, Sec. 2.1); weight decay is divided by it, so that what an
            update takes off the weights (learning rate x weight decay) stays as well. Groups of BatchNorm keep their
            size where they fit.
        max_samples: training samples, at most; a reduced training set is reduced by the same factor.
        networks: network -> the smaller one in its place, and its options.
        pictures: data set of a folder -> how its pictures are read.
        tests: a run's tests along the way, and their images.
        ramp_tests: likewise of an LR range test, which is read off its course and not off its end alone.
        rates: whether learning rates follow the batch size. Where curvature breaks a ramp it does so at one
            rate, whatever the batch.
    """

    steps: float
    least: int
    batch: float
    max_samples: int | None
    tests: tuple[int, int]
    ramp_tests: tuple[int, int]
    networks: Mapping[str, tuple[str, dict[str, object]]] = field(default_factory=dict)
    pictures: Mapping[str, dict[str, object]] = field(default_factory=dict)
    rates: bool = True

    def apply(self, setting: Setting) -> Setting:
        """The smaller setting: schedules keep their shape, momentum its value; an update is the same, on fewer data."""
        steps = max(self.least, round(self.steps * setting.steps), setting.least_steps if self.steps else 0)
        model, options = self.networks.get(setting.model, (setting.model, dict(setting.model_options)))
        batch = round(setting.batch_size * self.batch)
        factor = self.batch if self.rates and setting.optimizer.startswith("caffe-") else 1.0
        samples = setting.train_samples
        if self.max_samples is not None:
            samples = self.max_samples if samples is None else max(batch, round(samples / 50_000 * self.max_samples))
        spacing = setting.estimate_spacing
        group = None if setting.statistics_of is None else min(setting.statistics_of, batch)
        tests, images = self.ramp_tests if setting.is_ramp else self.tests
        return setting.replace(
            steps=steps, model=model, model_options=options, batch_size=batch,
            data_options=self.pictures.get(setting.data, setting.data_options), statistics_of=group,
            train_samples=samples, evaluate_every=max(1, steps // tests), test_images=images,
            lr_factor=factor, weight_decay=setting.weight_decay / factor,
            averaging_fraction=self._averaging(setting.averaging_fraction),
            gap_images=None if setting.gap_images is None else min(setting.gap_images, samples or setting.gap_images),
            estimate_spacing=None if spacing is None else max(1, round(spacing * steps / setting.steps)),
        )  # fmt: skip

    def _averaging(self, fraction: float | None) -> float | None:
        """Running statistics look back over the same share of a run: 1 / (1 - fraction) batches, five at least."""
        return None if fraction is None else round(1.0 - 1.0 / max(5.0, self.steps / (1.0 - fraction)), 4)


_PICTURES: dict[str, tuple[str, dict[str, object]]] = {  # networks of large pictures, which are small here
    "resnet50": ("resnet50", {"width": 16, "blocks": (1, 1, 1, 1)}),
    "timm/inception_resnet_v2": ("resnet50", {"width": 16, "blocks": (1, 1, 1, 1)}),
}
_NARROW: dict[str, tuple[str, dict[str, object]]] = {
    "resnet110": ("resnet110", {"blocks": 5}), "resnet56": ("resnet8", {}),  # 32 layers, where ResNet-20 is itself
    "resnet56-dropout": ("resnet8", {"dropout": 0.2}),
    "resnet56-companion": ("resnet56-companion", {"blocks": (1, 1, 1)}),
    "bottleneck56": ("bottleneck56", {"blocks": 1}),
    "resnext56": ("resnext56", {"blocks": 1}),
    "densenet40": ("densenet40", {"layers": 4}),
    "wide32": ("wide32", {"widths": (16, 32, 64), "blocks": (1, 1, 1)}),
    **_PICTURES,
}  # fmt: skip
_TINY: dict[str, tuple[str, dict[str, object]]] = {"resnet20": ("resnet8", {}), "resnet110": ("resnet8", {})}
_SMALL: dict[str, dict[str, object]] = {
    "imagenet": {"image_size": 32, "streaming": True}, "imagenette": {"image_size": 32, "streaming": False},
}  # fmt: skip

SHORT = Scale(0.03, 60, 1 / 8, 2_500, (10, 10_000), (30, 2_500), _NARROW, _SMALL)
MEDIUM = Scale(0.1, 200, 1 / 8, 10_000, (20, 10_000), (60, 2_500), _NARROW, _SMALL)
EPOCHS = Scale(0.16, 200, 1 / 8, 1_000, (10, 10_000), (60, 2_500), _NARROW, _SMALL)  # .16 / 8 = 1,000 / 50,000
DEEP = Scale(0.03, 60, 1 / 8, 2_500, (10, 10_000), (30, 2_500), _PICTURES, _SMALL)
RATES = Scale(0.03, 60, 1 / 8, 2_500, (10, 10_000), (30, 2_500), _NARROW, _SMALL, rates=False)
SMOKE = Scale(0.0, 20, 1 / 64, 64, (2, 32), (4, 32), {**_NARROW, **_TINY}, _SMALL)


_SMALLER: dict[ScaleName, Scale] = {
    "medium": MEDIUM, "epochs": EPOCHS, "deep": DEEP, "rates": RATES, "short": SHORT, "smoke": SMOKE,
}  # fmt: skip


def scaled(setting: Setting, scale: ScaleName) -> Setting:
    """A setting of the paper at one of its scales."""
    return setting if scale == "paper" else _SMALLER[scale].apply(setting)
