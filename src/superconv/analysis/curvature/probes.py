"""What one probe measured as plain numbers, and what several of them say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .expected_step import expected_step, signal_share
from .jackknife import Estimate
from .secant import Secant, secant


@dataclass(frozen=True)
class Probe:
    """Inner products from two batches A and B that had no part in the update.

    Args:
        product: gA.gB, the gradients at the present parameters.
        square_a, square_b: |gA|^2, |gB|^2.
        curvature: gB.H_A gB.
        ss: s.s, s the change of the parameters in the last update; None where none was given.
        sy: s.y, y the change of gA along s.
        yy: y.y.
    """

    product: float
    square_a: float
    square_b: float
    curvature: float
    ss: float | None = None
    sy: float | None = None
    yy: float | None = None


@dataclass(frozen=True)
class Conclusion:
    """The estimates that probes support: see `secant`, `expected_step` and `signal_share`."""

    secant: Secant
    expected_step: Estimate
    signal_share: Estimate


def conclude(probes: Sequence[Probe], *, equal_weight: bool = False) -> Conclusion:
    """Estimates with standard errors over probes; each None, with the reason, where they do not support it.

    Args:
        probes: at one point of the parameters, or along a training.
        equal_weight: divide each probe's products by its own (|gA|^2 + |gB|^2)/2 first, for probes along a training,
            where the gradient's size changes and the largest would decide alone. With few weights and much noise the
            mean of such quotients is biased; at one point leave it False.
    """
    scales = [0.5 * (p.square_a + p.square_b) if equal_weight else 1.0 for p in probes]
    scales = [scale if scale > 0 else 1.0 for scale in scales]  # both gradients are exactly 0

    def column(name: str) -> list[float]:
        return [getattr(each, name) / scale for each, scale in zip(probes, scales, strict=True)]

    steps = [(p.ss, p.sy, p.yy) for p in probes if p.ss is not None and p.sy is not None and p.yy is not None]
    products = column("product")
    return Conclusion(
        secant([ss for ss, _, _ in steps], [sy for _, sy, _ in steps], [yy for _, _, yy in steps]),
        expected_step(products, column("curvature")),
        signal_share(products, column("square_a"), column("square_b")),
    )
