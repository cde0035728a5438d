"""The learning rate up to which an optimizer is stable on a quadratic whose largest eigenvalue is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...near_names import near

NAMES = ("sgd", "nesterov", "caffe-sgd", "caffe-nesterov", "adam", "adamw")
"""Optimizers whose limit is known: the short names of `build_optimizer`, and the classes' own names in any case."""

ASSUMPTIONS = "a quadratic loss, its full gradient, a constant learning rate"


@dataclass(frozen=True)
class StabilityLimit:
    """A learning rate read off the curvature, and what may be said of it.

    Args:
        lr: where the recursion begins to diverge; infinite where no curvature is positive.
        rule: the formula, with the settings it was used with.
        largest: the eigenvalue it was computed from.
        normalised: whether the network is normalised (BatchNorm, LayerNorm, ...). There the curvature falls with the
            squared norm of the weights, which grow under a large learning rate until the step fits: the number is
            the current stiffness, as a learning rate, and no limit on the learning rate.
    """

    lr: float
    rule: str
    largest: float
    normalised: bool = False

    @property
    def is_limit(self) -> bool:
        """Whether larger learning rates diverge: not in a normalised network."""
        return not self.normalised

    @property
    def label(self) -> str:
        """A name for a legend or a column."""
        return "current stiffness" if self.normalised else "stability limit"

    def __str__(self) -> str:
        if math.isinf(self.lr):
            return (
                f"no {self.label}: the largest eigenvalue is {self.largest:.3g}, no curvature is positive ({self.rule})"
            )
        if self.normalised:
            return (
                f"current stiffness: lr {self.lr:.3g} ({self.rule}). No limit: in a normalised network the weights' "
                "norms, and with them the curvature, follow the learning rate"
            )
        return f"stability limit: lr {self.lr:.3g} ({self.rule}; {ASSUMPTIONS}; minibatch noise lowers it)"


def heavy_ball_limit(
    largest: float,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> float:
    """Largest stable LR of m <- beta m + (1 - d) g, theta <- theta - lr m; momentum 0 is gradient descent.

        coupled w (g includes w theta)          2 (1 + beta) / ((1 - d) (lambda + w))
        decoupled (theta <- (1 - lr w) theta)   2 (1 + beta) / ((1 - d) lambda + (1 + beta) w)
        beta = d = w = 0                        2 / lambda

    Assumes a quadratic, its full gradient and a constant LR; noise of minibatches lowers it. Along one eigenvector the
    recursion of (m, theta) is a 2 x 2 matrix, stable while |det| < 1 and |trace| < 1 + det (Jury). Its trace is
    beta + a - lr (1 - d) L and its determinant beta a, with a = 1, L = lambda + w coupled and a = 1 - lr w, L = lambda
    decoupled; trace = -(1 + det) is the limit.

    Args:
        largest: lambda, the largest eigenvalue of the loss's Hessian, without weight decay.
        momentum: beta in [0, 1).
        dampening: d in [0, 1), as torch's SGD has it.
        weight_decay: w >= 0.
        decoupled: the second form.
    Returns: the limit; infinite where lambda + w <= 0 (no LR is too large there, a saddle is left at any).
    Raises: ValueError: a setting out of its range.
    Reference: B. Polyak, USSR Comp. Math. 4(5) (1964) 1; in networks: Cohen et al., arXiv 2103.00065. The
        forms with dampening and weight decay are derived here.
    Example:
        >>> heavy_ball_limit(10.0), round(heavy_ball_limit(10.0, momentum=0.9), 12)
        (0.2, 0.38)
    """
    _check(largest, momentum=momentum, dampening=dampening, weight_decay=weight_decay)
    if decoupled:
        return _ratio(2.0 * (1.0 + momentum), (1.0 - dampening) * largest + (1.0 + momentum) * weight_decay)
    return _ratio(2.0 * (1.0 + momentum), (1.0 - dampening) * (largest + weight_decay))


def nesterov_limit(largest: float, *, momentum: float, weight_decay: float = 0.0, decoupled: bool = False) -> float:
    """Largest stable LR of m <- beta m + g, theta <- theta - lr (g + beta m), torch's form of Nesterov's momentum.

        coupled     2 (1 + beta) / ((1 + 2 beta) (lambda + w))
        decoupled   2 (1 + beta) / ((1 + 2 beta) lambda + (1 + beta) w)

    Assumptions and notation as in `heavy_ball_limit`; here the trace is beta + a - lr (1 + beta) L and the determinant
    beta a - lr beta L.

    Raises: ValueError: a setting out of its range.
    Reference: Cohen et al., arXiv 2103.00065 (Nesterov's momentum); the forms with weight decay are derived here.
    Example:
        >>> round(nesterov_limit(10.0, momentum=0.9), 6)
        0.135714
    """
    _check(largest, momentum=momentum, weight_decay=weight_decay)
    if decoupled:
        return _ratio(2.0 * (1.0 + momentum), (1.0 + 2.0 * momentum) * largest + (1.0 + momentum) * weight_decay)
    return _ratio(2.0 * (1.0 + momentum), (1.0 + 2.0 * momentum) * (largest + weight_decay))


def adam_limit(largest: float, *, beta1: float, weight_decay: float = 0.0) -> float:
    """Largest stable LR of Adam with its preconditioner P held still: heavy ball with dampening beta1 on P^-1 H.

        2 (1 + beta1) / ((1 - beta1) lambda_P + (1 + beta1) w)       w = 0: (2 + 2 beta1) / ((1 - beta1) lambda_P)

    Assumptions of `heavy_ball_limit`, and that P moves slowly against theta (beta2 near 1). Adam shrinks P where
    gradients are small, so training drifts to this limit from either side.

    Args:
        largest: lambda_P, the largest eigenvalue of P^-1/2 H P^-1/2 (`extreme_eigenvalues` with `adam_preconditioner`).
        beta1: in [0, 1).
        weight_decay: decoupled (AdamW). A coupled one belongs into lambda_P: `extreme_eigenvalues(weight_decay=...)`.
    Raises: ValueError: a setting out of its range.
    Reference: Cohen et al., arXiv 2207.14484v2, abstract (38 / lr at beta1 = .9); decoupled decay is derived here.
    Example:
        >>> round(adam_limit(1000.0, beta1=0.9), 12)
        0.038
    """
    return heavy_ball_limit(largest, momentum=beta1, dampening=beta1, weight_decay=weight_decay, decoupled=True)


def stability_limit(
    optimizer: str, settings: Mapping[str, Any], largest: float, *, normalised: bool = False
) -> StabilityLimit:
    """The limit that belongs to an optimizer and one of its param groups.

    Measured echo exponent, by the largest eigenvalue found along a training with momentum .9: .53 (.14 to .93), since
    that eigenvalue adapts to the LR in use (arXiv 2103.00065); .05 (.03 to .07) over 24 steps from a common checkpoint
    (`echo.MEASURED`).

    Args:
        optimizer: "sgd", "nesterov", "adam", "adamw", "caffe-sgd", "caffe-nesterov", or `type(optimizer).__name__`.
        settings: a param group, or the settings in the same words: momentum, nesterov, dampening, weight_decay, betas,
            decoupled_weight_decay; what is missing counts as 0, betas as (0.9, ...). Where groups differ in these, no
            single formula holds; take the group that most weights are in. Where they differ in the LR, the formula
            holds for one group's with the eigenvalue scaled accordingly (`LRMonitor` does that).
        largest: largest eigenvalue of the Hessian; for Adam of the preconditioned one, a coupled weight decay in it.
        normalised: whether the network is normalised, see `StabilityLimit`.
    Raises: ValueError: an optimizer whose limit is not known, or a setting out of its range.
    Example:
        >>> stability_limit("SGD", {"momentum": 0.9, "nesterov": True}, 10.0).rule
        'Nesterov, momentum 0.9'
    """
    name = str(optimizer).lower().replace("_", "-")
    name = {"caffesgd": "caffe-sgd"}.get(name, name)
    if name not in NAMES:
        raise ValueError(f"optimizer {optimizer!r}: its stability limit is not known; {near(name, NAMES)}")
    if name in ("adam", "adamw"):
        lr, rule = _adam(name, settings, largest)
    else:
        lr, rule = _sgd(name, settings, largest)
    return StabilityLimit(lr, rule, largest, normalised)


def _sgd(name: str, settings: Mapping[str, Any], largest: float) -> tuple[float, str]:
    momentum, decay = float(settings.get("momentum") or 0.0), float(settings.get("weight_decay") or 0.0)
    if name.endswith("nesterov") or settings.get("nesterov"):
        lr, rule = nesterov_limit(largest, momentum=momentum, weight_decay=decay), f"Nesterov, momentum {momentum:g}"
    else:
        # torch dampens only where it keeps a momentum buffer
        dampening = float(settings.get("dampening") or 0.0) if momentum else 0.0
        lr = heavy_ball_limit(largest, momentum=momentum, dampening=dampening, weight_decay=decay)
        rule = f"heavy ball, momentum {momentum:g}" if momentum else "gradient descent"
        rule += f", dampening {dampening:g}" if dampening else ""
    return lr, rule + (f", weight decay {decay:g}" if decay else "")


def _adam(name: str, settings: Mapping[str, Any], largest: float) -> tuple[float, str]:
    beta1, decay = float(settings.get("betas", (0.9,))[0]), float(settings.get("weight_decay") or 0.0)
    decoupled = bool(settings.get("decoupled_weight_decay", name == "adamw"))
    lr = adam_limit(largest, beta1=beta1, weight_decay=decay if decoupled else 0.0)
    rule = f"{'AdamW' if name == 'adamw' else 'Adam'}, beta1 {beta1:g}, preconditioned eigenvalue"
    if decay:
        rule += f", weight decay {decay:g}" + ("" if decoupled else " in the eigenvalue")
    return lr, rule


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0.0 else math.inf


def _check(largest: float, *, weight_decay: float, **fractions: float) -> None:
    if not math.isfinite(largest):
        raise ValueError(f"largest: got {largest!r}, allowed are finite numbers: an eigenvalue that was measured")
    if not (math.isfinite(weight_decay) and weight_decay >= 0.0):
        raise ValueError(f"weight_decay: got {weight_decay!r}, allowed are numbers from 0")
    for name, value in fractions.items():
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name}: got {value!r}, allowed is 0 <= {name} < 1")
