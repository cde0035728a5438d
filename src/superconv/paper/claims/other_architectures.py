"""Networks that do not stand large learning rates: bottleneck ResNet and ResNeXt."""

from typing import Any

from ..claim import Claim, Effect, Experiment, Measure
from .base import ramp

_BOTTLENECK: dict[str, Any] = {
    "model": "bottleneck56",
    "batch_size": 800,
    "statistics_of": 100,
    "evaluate_with": "batch",
}
_RESNEXT: dict[str, Any] = {"model": "resnext56", "batch_size": 680, "statistics_of": 85, "evaluate_with": "batch"}
_END: Measure = "end of ramp over its peak"
_AT: Measure = "peak's learning rate over the ramp's last"
_PEAK = 0.25  # learning rate
_ENDS = {"bottleneck": 0.61, "resnext": 0.7}  # of the ramps in the figure
_CLIPPED = ("bottleneck-clip-2", "resnext-clip-2")  # in the authors' logs they peak at about .5 and .26

_TESTS = "test images are not mirrored, in the file they are"

CLAIM = Claim(
    "other-architectures",
    "Bottleneck ResNet-56 and ResNeXt-56 peak below LR 0.25 and lose their accuracy beyond; with clipped gradients "
    "they lose it before LR 3.",
    "arXiv 1708.07120v1, Fig. 11; the clipped runs are logs that the paper does not show",
    (
        Experiment(
            "other-architectures/bottleneck", "fig11a-bottleneck-lrrange", ramp(0.61, 50_000, **_BOTTLENECK), (_TESTS,)
        ),
        Experiment("other-architectures/resnext", "fig11b-resnext-lrrange", ramp(0.7, 50_000, **_RESNEXT)),
        *(
            Experiment(
                f"other-architectures/bottleneck-clip-{norm}", f"fig11a-extra-bottleneck-lrrange-clip{norm}",
                ramp(3, 20_000, clip_grad_norm=norm, **_BOTTLENECK), (_TESTS,),
            )
            for norm in (2, 5)
        ),
        *(
            Experiment(
                f"other-architectures/resnext-clip-{norm}{run}", f"fig11b-extra-resnext-lrrange-clip{norm}{run}",
                ramp(3, 20_000, clip_grad_norm=norm, **_RESNEXT),
            )
            for norm, run in ((2, ""), (5, ""), (10, "-run1"), (10, "-run2"))
        ),
    ),
    (
        *(Effect(name, threshold=0.8, sign=-1, measure=_END) for name in (*_ENDS, *_CLIPPED)),
        *(Effect(name, threshold=round(_PEAK / end, 3), sign=-1, measure=_AT) for name, end in _ENDS.items()),
    ),
)  # fmt: skip
