"""Other optimizers under PC-LR, and whether they super-converge."""

from typing import Any

from ..claim import Claim, Effect, Experiment
from .base import cycle, piecewise

_NESTEROV: dict[str, Any] = {"optimizer": "caffe-nesterov"}
_ADAPTIVE: dict[str, Any] = {
    "adadelta": {"optimizer": "adadelta", "momentum": None, "optimizer_options": {"rho": 0.0, "eps": 1e-8}},
    "adagrad": {"optimizer": "adagrad", "momentum": None, "optimizer_options": {"eps": 1e-8}},
    "adam": {
        "optimizer": "adam", "momentum": 0.9,
        "schedule": "piecewise_constant:lr=0.0035,milestones=62.5%+87.5%",
    },
}  # fmt: skip
_BOUNDS = {"adadelta": (0.1, 3.0), "adagrad": (0.01, 0.3), "adam": (1e-3, 3e-2)}

_AS_THE_OTHERS = "updates, batch, weight decay and averaging fraction as in the other cycles: the text has none"


def _cycled(name: str) -> Experiment:
    low, high = _BOUNDS[name]
    schedule = f"triangular:base_lr={low:g},max_lr={high:g},step_size=50%"
    bounds = f"the cycle's bounds, {low:g} to {high:g}: the paper says that it used suitable ones"
    return Experiment(
        f"optimizers/{name}-clr", f"clr-{name}", cycle(**{**_ADAPTIVE[name], "schedule": schedule}),
        chosen=(bounds, _AS_THE_OTHERS),
    )  # fmt: skip


CLAIM = Claim(
    "optimizers",
    "With CLR Nesterov momentum, AdaDelta and AdaGrad super-converge and Adam does not; with PC-LR the adaptive ones "
    "stay below Nesterov momentum.",
    "arXiv 1708.07120v1, Fig. 8 and Sec. 6.1; v3, Fig. 9",
    (
        Experiment("optimizers/nesterov-pclr", "fig8a-nesterov", piecewise(**_NESTEROV)),
        *(Experiment(f"optimizers/{n}-pclr", f"fig8a-{n}", piecewise(**c)) for n, c in _ADAPTIVE.items()),
        Experiment("optimizers/nesterov-clr", "fig8b-nesterov-clr", cycle(**_NESTEROV)),
        *(_cycled(name) for name in _ADAPTIVE),
    ),
    (
        Effect("nesterov-clr", "nesterov-pclr", size=0.012),
        *(Effect(f"{name}-pclr", "nesterov-pclr", sign=-1) for name in _ADAPTIVE),
        *(Effect(f"{name}-clr", f"{name}-pclr") for name in ("adadelta", "adagrad")),
        Effect("adam-clr", "nesterov-clr", sign=-1),
    ),
)
