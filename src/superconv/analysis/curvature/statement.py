"""LRReading: what watching a training says about its learning rate, as plain numbers and as one line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...runs.plain import plain
from .echo import ECHO, worth
from .jackknife import Estimate
from .probes import Conclusion


@dataclass(frozen=True)
class LRReading:
    """The state of all estimates after one update.

    Args:
        step: updates watched so far.
        lr: of the last update, of the first param group (estimates are in its units; groups keep their ratios).
        momentum: in use (beta1 for the Adam family).
        effective_lr: lr (1 - dampening) / (1 - momentum): what the secant, the expected-loss step and 1/curvature
            compare with. The Adam family averages gradients instead of adding them up: there it is lr.
        spacing: updates between iterates of the paper's estimate.
        paper_estimate: of arXiv 1708.07120v1, eq. 8, smoothed as in the authors' scripts; None before a triple.
        window_estimate, squared_estimate: over the last triples, unsmoothed: absolute values, root of squares.
        rho: lag-1 autocorrelation of the changes between iterates.
        noise_rho: the same for pure gradient noise, with the momentum and spacing in use.
        noise_value: what the paper's estimate is under pure noise, at this LR.
        noise_line: noise_value smoothed as the estimate is, so that the two can be drawn together.
        echo: whether rho is that of noise (`is_echo`); None where that cannot be told.
        probes: secant, expected-loss step and signal from independent batches; None without probe batches.
        noise_scale: the gradient-noise scale by those probes, in samples: up to about there a larger batch pays.
        largest_eigenvalue: of the Hessian on the probe batches, signed; of the preconditioned Hessian for Adam.
        stability_limit: the LR at which the optimizer becomes unstable on a quadratic with that eigenvalue and without
            noise (see `StabilityLimit`); no limit on the LR where weights are normalised.
        weight_norm: joint norm of the scale-invariant weights at that step, whose square the stiffness falls with; None
            where there are none.
        stability_label: "current stiffness" in a normalised network, else "stability limit".
        eigenvalue_step: the step at which these two were measured.
    """

    step: int
    lr: float
    momentum: float
    effective_lr: float
    spacing: int
    paper_estimate: float | None
    window_estimate: float | None
    squared_estimate: float | None
    rho: Estimate
    noise_rho: float
    noise_value: float
    noise_line: float | None
    echo: bool | None
    probes: Conclusion | None = None
    noise_scale: Estimate | None = None
    largest_eigenvalue: float | None = None
    stability_limit: float | None = None
    weight_norm: float | None = None
    stability_label: str = ""
    eigenvalue_step: int | None = None

    def __str__(self) -> str:
        head = f"step {self.step}: LR {self.lr:.3g}"
        if self.momentum:
            head += f", {self.effective_lr:.3g} with momentum {self.momentum:g}"
        parts = [head, self._paper()]
        if self.probes is not None:
            secant, step = self.probes.secant.quotient, self.probes.expected_step
            parts.append(_priced("secant", secant, "secant"))
            parts.append(_priced("expected-loss step", step, "expected_step"))
            share = self.probes.signal_share
            signal = "signal " + (f"{share.value:.0%} of a gradient" if share.value is not None else "not seen")
            if self.noise_scale is not None and self.noise_scale.value is not None:
                signal += f" (noise scale {self.noise_scale} samples)"
            parts.append(signal)
        if self.stability_limit is not None:
            limit = f"{self.stability_label}: LR {self.stability_limit:.3g} (largest eigenvalue"
            norm = "" if self.weight_norm is None else f", |w| {self.weight_norm:.3g}"
            parts.append(f"{limit} {self.largest_eigenvalue:.3g}{norm})" + worth("stability_limit"))
        return " | ".join(parts)

    def _paper(self) -> str:
        if self.paper_estimate is None:
            return "paper's estimate: too few updates"
        price = worth("paper_absolute" if self.spacing == 1 else "paper_spaced")
        text = f"paper's estimate {self.paper_estimate:.3g}{price}, noise alone gives {self.noise_line:.3g}"
        if self.echo:
            return f"{text}; {ECHO}"
        told = "not told apart from noise yet" if self.echo is None else "updates are not correlated as noise is"
        return f"{text}; {told}"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON, each estimate as a dict; a number that is not finite is None."""
        numbers: dict[str, Any] = plain({**asdict(self), "text": str(self)})
        return numbers


def _priced(name: str, estimate: Estimate, key: str) -> str:
    """An estimate with what it is worth; where there is none, that there is none."""
    if estimate.value is None:
        return f"{name} none ({estimate.reason.partition(':')[0]})"
    return f"{name} {estimate}" + worth(key)
