"""Loss curves of known shape, on which suggestion rules are tried: centre and blow-up are set, only noise varies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CENTRE = 1e-2
BLOW_UP = 0.16
TOP, FALL, WIDTH = 2.3, 2.0, 0.7  # nats; the width is in units of log LR


def fixed_centre(lr: ArrayLike, noise: float, rng: np.random.Generator) -> Floats:
    """Loss that falls as a sigmoid in log LR centred at 1e-2 and blows up from LR 0.16.

    loss = 2.3 - 2 / (1 + (0.01 / lr)^(1/0.7)) + 3 max(0, ln(lr / 0.16))^2 + noise N(0, 1)

    Args:
        lr: (n,); 0 is allowed.
        noise: standard deviation from step to step.
        rng: the noise's generator.
    """
    x = _log(lr)
    return _curve(x - np.log(CENTRE), x, noise, rng)


def summed_lr(lr: ArrayLike, noise: float, rng: np.random.Generator, total: float = 0.5) -> Floats:
    """Loss whose onset follows the *summed* LR, as real ramps do: its centre falls as the ramp gets longer.

    The sigmoid of `fixed_centre` in s(t) = sum of lr before step t, centred at s = `total`; the same blow-up.

    Args:
        lr, noise, rng: as in `fixed_centre`; lr in the order of the steps.
        total: summed LR at which half the loss is gone.
    """
    rates = np.asarray(lr, dtype=np.float64)
    return _curve(_log(np.cumsum(rates) - rates) - np.log(total), _log(rates), noise, rng)


def summed_lr_steepest(lr: ArrayLike, total: float = 0.5) -> float:
    """Where the noise-free `summed_lr` curve of this ramp falls fastest per log LR: what "steepest" should find."""
    rates = np.asarray(lr, dtype=np.float64)
    fine = np.interp(np.linspace(0, len(rates) - 1, 20001), np.arange(len(rates)), rates)
    done = np.cumsum(fine) * (len(rates) - 1) / 20000
    keep = fine > 0
    z = (np.log(done[keep]) - np.log(total)) / WIDTH
    fall = FALL / (1.0 + np.exp(-np.clip(z, -60, 60)))
    x = np.log(fine[keep])
    slope = np.gradient(fall, x)
    return float(np.exp(x[int(np.argmax(slope))]))


def _curve(z: Floats, log_lr: Floats, noise: float, rng: np.random.Generator) -> Floats:
    fall = FALL / (1.0 + np.exp(np.clip(-z / WIDTH, -60.0, 60.0)))
    rise = 3.0 * np.maximum(log_lr - np.log(BLOW_UP), 0.0) ** 2
    return TOP - fall + rise + noise * rng.standard_normal(len(z))


def _log(lr: ArrayLike) -> Floats:
    return np.log(np.maximum(np.asarray(lr, dtype=np.float64), 1e-30))
