"""Setting: everything about one training of the paper, with what the files imply and the text does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..near_names import near
from ..schedules import Piecewise, Schedule, Triangular, parse_schedule

Subsets = Literal["fixed", "by-seed"]
SUBSETS: tuple[Subsets, ...] = ("fixed", "by-seed")
ScaleName = Literal["paper", "medium", "epochs", "deep", "rates", "short", "smoke"]
CLASSES = {"cifar10": 10, "cifar100": 100, "mnist": 10, "imagenet": 1000, "imagenette": 10}
SCALES: tuple[ScaleName, ...] = ("paper", "medium", "epochs", "deep", "rates", "short", "smoke")
KEPT: tuple[ScaleName, ...] = tuple(scale for scale in SCALES if scale != "smoke")  # whose results are kept: no noise


@dataclass(frozen=True)
class Setting:
    """One training, in this package's terms. The defaults are those of the CIFAR experiments of v1.

    Args:
        schedule: a line of `parse_schedule` whose lengths are percentages, so that it fits any number of steps; or a
            function of the number of steps, for what no policy describes.
        steps: length in updates (the paper's iterations).
        data, model, model_options: by name.
        data_options: of `data.load`, for folders of pictures.
        optimizer, optimizer_options: of `build_optimizer`. Caffe's momentum keeps the learning rate inside its buffer.
        momentum: constant; None where the schedule sets it, or the optimizer has none.
        weight_decay: of weights, and of BatchNorm's scale and shift; biases of convolutions have none.
        bias_lr_scale: factor of the biases' learning rate.
        batch_size: samples per update, over all GPUs.
        statistics_of: samples per GPU, which BatchNorm normalises together; None: the network has no BatchNorm.
        averaging_fraction: of BatchNorm's running statistics.
        evaluate_with: whose statistics a test uses: the running ones, or those of a test batch of one GPU's size.
        multipliers: parameter (a pattern, as in a shell) -> factors of its learning rate and weight decay (lr_mult and
            decay_mult of the files), where they are not those of its kind.
        train_samples: size of a reduced training set; None: all.
        subsets: its images: the same for all seeds, or drawn by each seed, whose spread then covers the choice.
        clip_grad_norm: of the extra runs.
        preparation, mirror, crop_padding: pictures; the mean image is subtracted and 0 to 255 kept.
        test_images: of one test, of which the paper's are more than the test set has.
        evaluate_every: steps between tests.
        gap_images: training images that are tested as well, at the end and as they are, for the generalisation gap.
        lr_factor: of all learning rates; 1 but for smaller scales.
        precision, compile, channels_last: ours alone, for speed: "bf16", torch.compile, the memory format.
        estimate_spacing: updates between the iterates of the paper's curvature estimate; None: it is not made.
        least_steps: updates below which smaller scales do not go.
    """

    schedule: str | Callable[[int], Schedule]
    steps: int
    data: str = "cifar10"
    model: str = "resnet56"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    optimizer: str = "caffe-sgd"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    momentum: float | None = 0.9
    weight_decay: float = 1e-4
    bias_lr_scale: float = 2.0
    batch_size: int = 1000
    statistics_of: int | None = 125
    averaging_fraction: float | None = 0.95
    evaluate_with: Literal["running", "batch"] = "running"
    multipliers: Mapping[str, tuple[float, float]] = field(default_factory=lambda: {"classifier.bias": (2.0, 1.0)})
    train_samples: int | None = None
    clip_grad_norm: float | None = None
    preparation: str = "mean-image"
    mirror: bool = True
    crop_padding: int = 0
    test_images: int = 25_000
    evaluate_every: int = 100
    lr_factor: float = 1.0
    precision: str = "fp32"
    compile: bool = False
    channels_last: bool | None = None
    estimate_spacing: int | None = None
    least_steps: int = 0
    data_options: Mapping[str, Any] = field(default_factory=dict)
    subsets: Subsets = "fixed"
    gap_images: int | None = None

    @property
    def chance(self) -> float:
        """Accuracy of a guesser."""
        return 1.0 / CLASSES[self.data]

    @property
    def is_ramp(self) -> bool:
        """Whether it is an LR range test."""
        return isinstance(self.schedule, str) and self.schedule.startswith("lr_ramp")

    def make_schedule(self) -> Schedule:
        """The schedule at this length, its learning rates times `lr_factor`."""
        made = self.schedule(self.steps) if callable(self.schedule) else parse_schedule(self.schedule, self.steps)
        return made if self.lr_factor == 1.0 else made.replace(lr=_times(made.curves["lr"], self.lr_factor))

    def replace(self, **changes: Any) -> Setting:
        """A copy with other values."""
        return replace(self, **changes)

    def called_with(self, precision: str, subsets: str) -> Setting:
        """A copy with what a caller may choose; `subsets` where the training set is reduced.

        Raises: ValueError: unknown subsets.
        """
        if subsets not in SUBSETS:
            raise ValueError(f"subsets {subsets!r} is unknown; {near(subsets, SUBSETS)}")
        return replace(self, precision=precision, subsets="fixed" if self.train_samples is None else subsets)


def _times(curve: Any, factor: float) -> Piecewise | Triangular:
    if isinstance(curve, Triangular):
        return replace(curve, base=factor * curve.base, max=factor * curve.max)
    assert isinstance(curve, Piecewise)
    return Piecewise(curve.steps, [factor * height for height in curve.heights], curve.interpolation)
