"""Streaming sums over a model's iterates: one previous iterate and one previous difference, nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...analysis.curvature.iterates import (
    SMOOTHING,
    START,
    autocorrelation,
    noise_autocorrelation,
    noise_ratio,
    paper_estimate,
)
from ...analysis.curvature.jackknife import Estimate

READ_EVERY = 100  # triples whose sums wait on the device before they are read in one transfer
DEFAULT_WINDOW = 50


@dataclass(frozen=True)
class IterateReading:
    """The paper's estimate after the last triple, and what noise alone would make of it.

    Args:
        triples: seen so far.
        lr: of the first update of the last triple.
        smoothed: the estimate, smoothed as in the authors' scripts.
        noise_line: the pure-noise value, smoothed likewise.
        absolute, squared: over the last triples (the window), unsmoothed: sums of absolute values, root of squares.
        rho: lag-1 autocorrelation of the changes over the window.
        noise_rho: what pure noise would give.
    """

    triples: int
    lr: float
    smoothed: float
    noise_line: float
    absolute: float
    squared: float
    rho: Estimate
    noise_rho: float


class IterateSums:
    """Sums over all weights for every triple (i, i + k, i + 2k) of iterates, while they pass by.

    Memory: two copies of the parameters. Work per iterate: three passes in place and four norms, by foreach; the sums
    stay on the device until they are read.

    Args:
        parameters: name -> tensor, read at every update.
        spacing: k, updates between two iterates.
        window: triples that rho and the unsmoothed estimates look back over.
        batch_norm_of: a module whose BatchNorm layers' three stored blobs join the sums, as in the authors' scripts,
            which loop over every blob: Caffe's accumulated mean, accumulated variance and count (here: statistics times
            count; torch's layer has count 1/momentum). They are no iterates of a gradient method: with them the
            pure-noise value does not apply, rho stays without them.
    Raises: ValueError: no parameter, spacing or window out of range.
    Reference: arXiv 1708.07120v1, Sec. 5, eq. 8; see `superconv.analysis.curvature.iterates` for what it is worth.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        *,
        spacing: int = 1,
        window: int = DEFAULT_WINDOW,
        batch_norm_of: nn.Module | None = None,
    ) -> None:
        if not parameters:
            raise ValueError("parameters: got none to watch; set requires_grad on some, and give them to the optimizer")
        noise_autocorrelation(0.0, spacing)  # checks spacing
        if window < 8 or window % 1 != 0:
            raise ValueError(
                f"window is {window} triples, a whole number of at least 8 is needed for a standard error; 50 is usual"
            )
        self.spacing, self.window = int(spacing), int(window)
        layers = _averaging_layers(batch_norm_of)
        self._blobs = [f"{name}.{blob}" for name in layers for blob in ("mean", "var", "count")]
        self._layers = list(layers.values())
        self._smoothed = self._noise_line = START
        self._pending: list[tuple[float, float, Tensor]] = []
        self.watch(parameters)

    def watch(self, parameters: Mapping[str, Tensor]) -> None:
        """Sum over these from here on: begins again, the smoothed values stay."""
        self._read_pending()
        self.parameters = dict(parameters)
        self.names = [*self.parameters, *self._blobs]
        self.reset()

    def reset(self) -> None:
        """Begin again at the present parameters (they were loaded or averaged, say); the smoothed values stay."""
        self._previous = [tensor.clone() for tensor in self._iterate()]
        self._difference: list[Tensor] | None = None
        self._first: Tensor | None = None
        self._updates = self._triples = 0
        self._lrs: list[float] = []  # of the first update of the previous change and of this one
        self._lr = self._noise_rho = float("nan")
        self._pending = []
        self._window: deque[tuple[float, Any]] = deque(maxlen=self.window)

    @property
    def previous(self) -> dict[str, Tensor]:
        """The last iterate taken, by parameter name: before the present update where `spacing` is 1."""
        return dict(zip(self.parameters, self._previous, strict=False))

    def after_update(self, lr: float, momentum: float = 0.0, *, nesterov: bool = False) -> None:
        """Take the parameters after an update that used `lr`; every `spacing` of them is one iterate."""
        if self._updates % self.spacing == 0:
            self._lrs = [*self._lrs[-1:], float(lr)]
        self._updates += 1
        if self._updates % self.spacing:
            return
        sums = self._push()
        if sums is None:
            return
        self._triples += 1
        self._lr = self._lrs[0]
        self._noise_rho = noise_autocorrelation(momentum, self.spacing, nesterov=nesterov)
        self._pending.append((self._lr, noise_ratio(momentum, self.spacing, nesterov=nesterov), sums))
        if len(self._pending) >= READ_EVERY:
            self._read_pending()

    def read(self) -> IterateReading | None:
        """Where things stand; waits for the device. None before the first triple."""
        self._read_pending()
        if not self._window:
            return None
        lrs = np.array([lr for lr, _ in self._window])
        table = np.stack([sums for _, sums in self._window])  # (triples, 5, tensors)
        total, ours = table.sum(2), table[:, :, : len(self.parameters)].sum(2)
        absolute = paper_estimate(1.0, float(lrs @ total[:, 0]), float(total[:, 1].sum()))
        squared = paper_estimate(1.0, float(lrs**2 @ total[:, 2]) ** 0.5, float(total[:, 4].sum()) ** 0.5)
        with np.errstate(invalid="ignore"):  # inf - inf of a training that diverged; `autocorrelation` says so
            products = 0.5 * (ours[:, 2] + ours[:, 3] - ours[:, 4])
        rho = autocorrelation(ours[:, 2], ours[:, 3], products)
        return IterateReading(
            self._triples, self._lr, self._smoothed, self._noise_line, absolute, squared, rho, self._noise_rho
        )

    def layers(self) -> dict[str, float]:
        """The estimate of every layer (tensors of one module together) over the window, sums of absolute values."""
        self._read_pending()
        places: dict[str, list[int]] = {}
        for place, name in enumerate(self.names):
            places.setdefault(name.rpartition(".")[0] or name, []).append(place)
        first = sum((lr * sums[0] for lr, sums in self._window), np.zeros(len(self.names)))
        second = sum((sums[1] for _, sums in self._window), np.zeros(len(self.names)))
        return {
            layer: paper_estimate(1.0, float(first[own].sum()), float(second[own].sum()))
            for layer, own in places.items()
        }

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _iterate(self) -> list[Tensor]:
        tensors = [parameter.detach() for parameter in self.parameters.values()]
        for layer in self._layers:
            count = getattr(layer, "averaging_count", None)
            if count is None:
                fraction = layer.momentum or 0.0
                count = layer.running_mean.new_tensor(1.0 / fraction if fraction else 1.0)
            tensors += [layer.running_mean * count, layer.running_var * count, count]
        return tensors

    @torch.no_grad()
    def _push(self) -> Tensor | None:
        """(5, tensors): |d|_1, |d' - d|_1, |d|^2, |d'|^2, |d' - d|^2 of two changes d, d' in a row, per tensor."""
        now = self._iterate()
        torch._foreach_sub_(self._previous, now)  # the change, with its sign turned
        change, spare = self._previous, self._difference
        latest = _sizes(change)
        sums = None
        if spare is None:
            spare = [torch.empty_like(tensor) for tensor in change]
        else:
            assert self._first is not None
            torch._foreach_sub_(spare, change)
            second = _sizes(spare)
            sums = torch.stack([self._first[0], second[0], self._first[1], latest[1], second[1]])
        torch._foreach_copy_(spare, now)
        self._previous, self._difference, self._first = spare, change, latest
        return sums

    def _read_pending(self) -> None:
        if not self._pending:
            return
        tables = torch.stack([sums for _, _, sums in self._pending]).cpu().double().numpy()
        for (lr, ratio, _), sums in zip(self._pending, tables, strict=True):
            self._window.append((lr, sums))
            value = paper_estimate(lr, float(sums[0].sum()), float(sums[1].sum()))
            if np.isfinite(value):
                self._smoothed += SMOOTHING * (value - self._smoothed)
                self._noise_line += SMOOTHING * (lr * ratio - self._noise_line)
        self._pending.clear()


def _sizes(tensors: list[Tensor]) -> Tensor:
    """(2, tensors) float32: sums of absolute values and of squares, on the device of the first tensor."""
    device = tensors[0].device
    # half precision is summed in single, but torch does not sum double in less than double
    wide = torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32
    rows = []
    for order in (1, 2):
        norms = torch._foreach_norm(tensors, order, dtype=wide)
        rows.append(torch.stack([norm.to(device, torch.float32) for norm in norms]))
    return torch.stack([rows[0], rows[1].square()])


def _averaging_layers(module: nn.Module | None) -> dict[str, Any]:
    if module is None:
        return {}
    found = {name: layer for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    return {name: layer for name, layer in found.items() if layer.running_mean is not None}
