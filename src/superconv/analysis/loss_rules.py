"""Suggestion rules that read the training loss alone: steepest fall, minimum, and the LR where it blows up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .found import Found, nowhere
from .smoothing import block_average, local_median, noise_level

Floats = NDArray[np.float64]

MIN_POINTS = 10
NEIGHBOURS = 5  # points that the running median holds at least
HALF_WIDTH = 0.15  # its half width in log LR: +-15%
DENSER = "use an exponential ramp, or more steps"
SAFETY = 3.0  # blow-up LR over max_lr


@dataclass(frozen=True)
class _LossCurve:
    """The usable part of a loss curve, ascending in LR, with its smoothed version and the place of its minimum."""

    lr: Floats
    loss: Floats
    smooth: Floats
    lowest: int
    noise: float
    anchor: Floats  # losses at LR 0: the level before anything was learned
    start: float  # that level, or the first losses'
    ended: bool  # in a divergence: what lies beyond is no place to look for more

    @property
    def error(self) -> float:
        """Standard error of one smoothed value, about."""
        return self.noise / NEIGHBOURS**0.5

    @property
    def bottom_end(self) -> int:
        """Last position whose smoothed loss is within one standard error of the minimum: the blow-up lies beyond."""
        return int(np.flatnonzero(self.smooth <= self.smooth[self.lowest] + self.error)[-1])

    @property
    def fall(self) -> float:
        """From the starting level down to the smoothed minimum."""
        return self.start - float(self.smooth[self.lowest])


def _read(lr: ArrayLike, loss: ArrayLike, diverged: bool) -> _LossCurve | Found:
    """Trim and smooth: everything from the first non-finite loss on is dropped, whatever comes after it.

    Losses are clipped at the starting level plus a quarter of the fall before smoothing, so that a blow-up to 1e6
    does not bend the curve before it.
    """
    x, y = np.asarray(lr, dtype=np.float64), np.asarray(loss, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(y))
    after = int(np.isfinite(y[broken[0] :]).sum()) if len(broken) else 0
    if len(broken):
        x, y = x[: broken[0]], y[: broken[0]]
    anchor = y[x == 0.0]
    order = np.argsort(x[x > 0.0], kind="stable")
    x, y = x[x > 0.0][order], y[x > 0.0][order]
    if len(x) < MIN_POINTS:
        few = f"{len(x)} usable losses at positive LRs, {MIN_POINTS} are needed: use more steps, or a lower end_lr"
        gap = f"; {after} more come after one that is no number, which ends the curve: leave out rows without a loss"
        return nowhere(few + gap * (after > 0))
    if np.ptp(x) <= 0.0:
        return nowhere(f"every loss was taken at one LR ({x[0]:.3g}): a range test needs a ramp")
    log_lr, y = block_average(np.log(x), y)
    dense = log_lr[2] - log_lr[0] < 1.0  # else the second point may lie well down the slope already
    start = float(anchor.mean()) if len(anchor) else float(np.median(y[:3]) if dense else y[0])
    low = float(np.median(np.sort(y)[:3]))
    ended = diverged or len(broken) > 0
    if np.ptp(y) <= 1e-12 * (1.0 + abs(start)):
        remedy = "use more steps" if ended else "raise end_lr"
        return nowhere(f"the loss is flat: no LR of this ramp changed it; {remedy}, or check that the model learns")
    clipped = np.minimum(y, max(start, low) + 0.25 * max(start - low, 0.0))
    smooth = local_median(log_lr, clipped, half_width=HALF_WIDTH, points=NEIGHBOURS)
    lowest = int(np.argmin(smooth))
    noise = noise_level(clipped[: max(lowest + 1, 3)])
    curve = _LossCurve(np.exp(log_lr), clipped, smooth, lowest, noise, anchor, start, ended)
    least = max(4.0 * curve.error, 0.02 * float(np.ptp(clipped)), 1e-3 * abs(start))
    if lowest == 0 or curve.fall <= least:
        return nowhere("the loss never falls clearly below its start: lower start_lr, use more steps or larger batches")
    return curve


def steepest(lr: ArrayLike, loss: ArrayLike, *, diverged: bool = False) -> Found:
    """Where the training loss falls fastest, per unit of log LR.

    Variable: loss over log LR (never over LR itself: a slope against linear LR points at the left edge).
    Trimming: all from the first non-finite loss on, and all beyond the smoothed minimum (where it blows up).
    Smoothing: a falling sigmoid is fitted instead of differentiating noise,

        loss = a + b / (1 + (lr / c)^(1/w)),   b > 0,   whose steepest point over log LR is c;

    (a, b) by least squares for every (c, w) of a grid, and c is averaged in log LR with weights
    exp(-(SSE - min SSE) / (2 s^2)), s^2 the residual variance: a noisy curve does not jump between neighbours.
    interval: the central 90% of those weights. It takes the sigmoid for true and the noise for white.

    None where the steepest point is not inside the ramp (the fall has not bent on both sides: the curve goes on
    falling to the end, or fell from the first step) or lies in a gap between its points, where the fall is not
    clear of the noise, or where the interval spans more than a factor of 100.

    The onset of learning follows the *summed* LR, so a longer ramp puts this point lower, about in proportion to
    1 / length: it says where this ramp learns fastest, not where the network's limit lies.

    Args:
        lr: (n,) LR of each update; loss: (n,) training loss of that update. LR 0 only fixes the starting level.
        diverged: the ramp ended because training diverged at its last LR, whether the losses show it or not.
    Differs: torch-lr-finder and Lightning take the point of steepest descent of causally averaged losses, which
    lags by the average's memory; fastai's "steep" likewise, against index.
    """
    curve = _read(lr, loss, diverged)
    if isinstance(curve, Found):
        return curve
    x, y = np.log(curve.lr[: curve.bottom_end + 1]), curve.loss[: curve.bottom_end + 1]
    if len(x) < 4:
        return nowhere("the loss falls within the first few points of the ramp: lower start_lr")
    fit = _fit_sigmoid(x, y, curve.anchor)
    gap = _unresolved(fit.centre, curve.lr, bool(len(curve.anchor)))
    if gap is not None:
        return nowhere(f"the loss falls between LR {gap[0]:.3g} and {gap[1]:.3g}, without a point there: {DENSER}")
    if fit.contrast_low > 0.7:
        return nowhere("the loss falls fastest at the start of the ramp: lower start_lr")
    if fit.contrast_high > 0.7 or np.log(fit.centre) > x[-1]:
        text = "the loss falls to the end of the ramp, ever faster or at one rate"
        return nowhere(f"{text}, where training diverges: use more steps" if curve.ended else f"{text}: raise end_lr")
    if fit.gain < 10.0:
        return nowhere("the fall of the loss is not clear of its noise: use more steps or larger batches")
    if fit.high / fit.low > 100.0:
        return nowhere(f"noise leaves the steepest point open between LR {fit.low:.1g} and {fit.high:.1g}: repeat it")
    text = f"the training loss falls fastest, per log LR, at {fit.centre:.3g}"
    return Found(fit.centre, (fit.low, fit.high), text + "; this point moves down as ramps get longer")


def _unresolved(centre: float, lr: Floats, from_zero: bool) -> tuple[float, float] | None:
    """The gap of more than a factor of 8 whose lower half (in LR) holds `centre`: a fit there is extrapolation."""
    above = int(np.searchsorted(lr, centre))
    if above == len(lr) or (above == 0 and not from_zero):
        return None
    low, high = (float(lr[above - 1]) if above else 0.0), float(lr[above])
    return (low, high) if high > 8.0 * low and centre < 0.45 * high else None


@dataclass(frozen=True)
class _Sigmoid:
    centre: float
    low: float
    high: float
    contrast_low: float  # slope at the first and last position over the steepest slope
    contrast_high: float
    gain: float  # F statistic of the fit against a constant


def _fit_sigmoid(x: Floats, y: Floats, anchor: Floats) -> _Sigmoid:
    span = float(x[-1] - x[0])
    below = 2.0 if len(anchor) else 0.1 * span  # with a loss at LR 0 the fall may begin before the first positive LR
    centres = np.linspace(x[0] - below, x[-1] + 0.1 * span, 121)
    widths = np.geomspace(0.15, max(0.6, span / 2.0), 14)
    c, w = (g.ravel() for g in np.meshgrid(centres, widths, indexing="ij"))
    basis = 1.0 / (1.0 + np.exp(np.clip((x[None, :] - c[:, None]) / w[:, None], -60.0, 60.0)))
    basis = np.concatenate([basis, np.ones((len(c), len(anchor)))], axis=1)
    values = np.concatenate([y, anchor])
    centred = basis - basis.mean(1, keepdims=True)
    target = values - values.mean()
    norm = (centred**2).sum(1)
    slope = np.clip(np.divide(centred @ target, norm, out=np.zeros_like(norm), where=norm > 1e-9), 0.0, None)
    error = (target**2).sum() - 2.0 * slope * (centred @ target) + slope**2 * norm
    best = float(error.min())
    variance = max(best / max(len(values) - 4, 1), 1e-9 * float(target @ target), 1e-300)
    weight = np.exp(-0.5 * (error - best) / variance)
    per_centre = weight.reshape(len(centres), -1).sum(1)
    cumulative = np.cumsum(per_centre) / per_centre.sum()
    mean = float((centres * per_centre).sum() / per_centre.sum())
    ranks = np.minimum(np.searchsorted(cumulative, (0.05, 0.95)), len(centres) - 1)
    low, high = float(centres[ranks[0]]), float(centres[ranks[1]])
    width = float((w * weight).sum() / weight.sum())
    at_low = 0.0 if len(anchor) else _relative_slope((x[0] - mean) / width)
    gain = ((target @ target) - best) / 3.0 / variance
    return _Sigmoid(
        float(np.exp(mean)), float(np.exp(min(low, mean))), float(np.exp(max(high, mean))),
        at_low, _relative_slope((x[-1] - mean) / width), float(gain),
    )  # fmt: skip


def _relative_slope(z: float) -> float:
    """Slope of the sigmoid at z widths from its centre over its steepest slope: 4 f (1 - f)."""
    f = 1.0 / (1.0 + np.exp(np.clip(z, -60.0, 60.0)))
    return float(4.0 * f * (1.0 - f))


def minimum(lr: ArrayLike, loss: ArrayLike, *, diverged: bool = False) -> Found:
    """A tenth of the LR at which the smoothed training loss is lowest.

    Variable: loss over log LR. Smoothing: centred running median (`smoothing.local_median`, +-15% in LR, 5 points).
    Trimming: all from the first non-finite loss on. Interval: a tenth of the LRs whose smoothed loss is within two
    noise standard errors of the lowest. None where the loss still falls at the ramp's end, if nothing diverges there.

    Args: lr, loss, diverged: as in `steepest`.
    Reference: the convention of fastai's "minimum" suggestion, one tenth of the LR at the minimum.
    """
    curve = _read(lr, loss, diverged)
    if isinstance(curve, Found):
        return curve
    if curve.lowest >= len(curve.lr) - 2 and not curve.ended:
        return nowhere("the loss is lowest at the end of the ramp: raise end_lr")
    margin = 2.0 * curve.error
    near = curve.lr[curve.smooth <= curve.smooth[curve.lowest] + margin]
    lowest = float(curve.lr[curve.lowest])
    text = f"the smoothed training loss is lowest at LR {lowest:.3g}; max_lr is a tenth of that"
    return Found(lowest / 10.0, (float(near[0]) / 10.0, float(near[-1]) / 10.0), text)


def blow_up(lr: ArrayLike, loss: ArrayLike, *, diverged: bool = False) -> Found:
    """A third of the LR at which the training loss blows up: the loss-only relative of "plateau_edge".

    Variable: loss over log LR. Smoothing and trimming as in `minimum`.

        edge = last LR up to which the smoothed loss stays below  minimum + 0.2 x (start - minimum)
        lr   = edge / 3;   interval: edge/10 ... edge

    The LR where a network blows up hardly depends on the ramp's length; where it starts to learn does. A ramp that
    diverged so fast that the smoothed loss does not show it has its edge at the last loss that stays below. None where
    the loss never rises.

    Args: lr, loss, diverged: as in `steepest`.
    """
    curve = _read(lr, loss, diverged)
    if isinstance(curve, Found):
        return curve
    level = curve.smooth[curve.lowest] + max(0.2 * curve.fall, 2.0 * curve.error)
    above = np.flatnonzero(curve.smooth[curve.lowest :] > level)
    if not len(above) and not curve.ended:
        return nowhere("the loss does not rise again within the ramp: raise end_lr")
    last = int(np.flatnonzero(curve.loss <= level)[-1])
    edge = float(curve.lr[curve.lowest + int(above[0]) - 1 if len(above) else last])
    seen = "the training loss rises again from" if len(above) else "training diverges right behind"
    text = f"{seen} LR {edge:.3g}; max_lr is a third of that"
    return Found(edge / SAFETY, (edge / 10.0, edge), text)
