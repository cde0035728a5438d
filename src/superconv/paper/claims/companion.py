"""Single runs of the companion's repository that have a log and belong to no table."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from ..reference_numbers import reference
from .companion_base import CHOSEN, CIFAR3, one_cycle

_THREE: dict[str, Any] = {**CIFAR3, "data": "cifar100", "weight_decay": 0.0006, "test_images": 20_000}

_KEYS = {
    "cifar10-resnet56": "companion-cifar10-resnet56-1cycle-mom095",
    "wide-resnet-1e-5": "companion-wideresnet-1cycle-ep100-wd1e-5",
    "cifar100-resnet56": "companion-cifar100-resnet56-1cycle-max1.2-ep145",
    "cifar100-3layer": "companion-cifar100-3layer-1cycle-max0.02-ep50",
}


def _log(key: str) -> float:
    log = reference(key).log
    assert log is not None
    return log


CLAIM = Claim(
    "companion",
    "Runs behind arXiv 1803.09820: constant momentum, less weight decay, CIFAR-100 at a larger batch, a small network.",
    "github.com/lnsmith54/hyperParam1",
    (
        Experiment(
            "companion/cifar10-resnet56", "companion-cifar10-resnet56-1cycle-mom095",
            one_cycle(95, 4003, 0.08, 0.8, None, steps=9277, momentum=0.95), CHOSEN,
        ),
        Experiment(
            "companion/wide-resnet-1e-5", "companion-wideresnet-1cycle-ep100-wd1e-5",
            one_cycle(100, 4394, 0.1, 1.0, weight_decay=1e-5, model="wide32"), CHOSEN,
        ),
        Experiment(
            "companion/cifar100-resnet56", "companion-cifar100-resnet56-1cycle-max1.2-ep145",
            one_cycle(145, 3417, 0.1, 1.2, steps=7080, data="cifar100", batch_size=1036, statistics_of=259,
                evaluate_every=100),
            CHOSEN,
        ),
        Experiment(
            "companion/cifar100-3layer", "companion-cifar100-3layer-1cycle-max0.02-ep50",
            one_cycle(50, 2246, 0.002, 0.02, (0.95, 0.8), **_THREE), CHOSEN,
        ),
    ),
    # nothing is asserted of them: ours beside the log
    tuple(Effect(condition, threshold=_log(key), sign=0) for condition, key in _KEYS.items()),
)  # fmt: skip
