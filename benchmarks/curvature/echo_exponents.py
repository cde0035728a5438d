"""d log(estimate) / d log(LR) of every learning-rate estimate: 0 is the network's own curvature, 1 is an echo."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

import superconv as sc
from superconv.analysis.curvature.echo import over_seeds, slope
from superconv.analysis.curvature.probes import Probe
from superconv.data import Batches
from superconv.measure.curvature.eigenvalues import extreme_eigenvalues
from superconv.measure.curvature.iterates import IterateSums
from superconv.measure.curvature.objective import BatchObjective
from superconv.measure.curvature.probe import probe, probe_pairs

from ..table import Table

REFERENCES = {"lenet-slim-bn": 0.15, "lenet-slim": 0.025, "mlp-bn": 0.2}  # best constant LR of a grid, momentum .9
FACTORS = [10 ** (half / 2) for half in (-3, -2, -1, 0, 1)]
STEPS, COMMON_STEPS, FORK_STEPS = 200, 60, 24
BATCH = 128
PAIRS = 13  # all disjoint pairs of 3,500 images
EIGENVALUE_BATCHES = 4
COLUMNS = {
    "paper_absolute": "paper, sums of |.|",
    "paper_squared": "paper, squares",
    "paper_spaced": "paper, every 10th",
    "secant": "s.s / s.y",
    "secant_magnitude": "|s| / |y|",
    "own_batch": "g.g / g.Hg, one batch",
    "expected_step": "gA.gB / gB.H gB",
    "stability_limit": "2 (1 + beta) / lambda",
}

Values = dict[str, float]


class Bench:
    """One network and seed; trainings begin afresh or from a copy."""

    def __init__(self, name: str, seed: int) -> None:
        splits = sc.data.load("mnist5k")
        self.name, self.seed, self.splits = name, seed, splits
        # drawn in another order than the training's; the images are the training's, so that nothing but the LR differs
        self.probes = list(self._batches(seed + 1000))[: 2 * PAIRS]

    def _batches(self, seed: int) -> Batches:
        return Batches(self.splits.train, BATCH, seed=seed, augment=False, preparation=self.splits.preparation)

    def train(self, lr: float, steps: int, state: Any = None) -> tuple[torch.nn.Module, Any, Values] | None:
        """Train at a constant LR, then every estimate; None where the loss diverged."""
        model = sc.models.build_model(self.name, self.splits.num_classes, seed=self.seed)
        optimizer = sc.build_optimizer("sgd", model, lr=lr, momentum=0.9, weight_decay=1e-4)
        if state is not None:
            model.load_state_dict(state[0])
            optimizer.load_state_dict(state[1])
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] = lr  # schedules scale groups by the latter
        parameters = dict(model.named_parameters())
        close, spaced = IterateSums(parameters), IterateSums(parameters, spacing=10)
        batches = self._batches(self.seed + (0 if state is None else 500))
        previous: dict[str, torch.Tensor] = {}
        for record in sc.train_steps(model, optimizer, F.cross_entropy, batches, sc.constant(steps, lr=lr)):
            if record.step + 1 == steps:
                previous = {name: tensor.clone() for name, tensor in close.previous.items()}
            close.after_update(record.lr[0], 0.9)
            spaced.after_update(record.lr[0], 0.9)
            if not math.isfinite(float(record.loss)):
                return None
        values = self._estimates(model, previous)
        for key, sums in (("paper_absolute", close), ("paper_spaced", spaced)):
            found = sums.read()
            if found is not None:
                values[key] = found.absolute
                if key == "paper_absolute":
                    values["paper_squared"] = found.squared
        return model, optimizer, values

    def _estimates(self, model: torch.nn.Module, previous: dict[str, torch.Tensor]) -> Values:
        pairs = probe_pairs(model, F.cross_entropy, self.probes, previous=previous)
        own = [probe(model, F.cross_entropy, batch, batch) for batch in self.probes[:PAIRS]]
        values = {
            "secant": _ratio(pairs, "ss", "sy"),
            "secant_magnitude": _ratio(pairs, "ss", "yy") ** 0.5,
            "expected_step": _ratio(pairs, "product", "curvature"),
            "own_batch": _ratio(own, "product", "curvature"),
        }
        objective = BatchObjective(model, F.cross_entropy, self.probes[:EIGENVALUE_BATCHES])
        largest = extreme_eigenvalues(objective, tolerance=0.03, ends="largest").largest
        return values | {"stability_limit": 2.0 * 1.9 / largest if largest > 0 else math.nan}


def _ratio(probes: list[Probe], top: str, bottom: str) -> float:
    """Ratio of sums, stated or not: silence would select; NaN where it is not positive."""
    a, b = (sum(getattr(each, key) for each in probes) for key in (top, bottom))
    return a / b if a > 0 and b > 0 else math.nan


def along(name: str, seed: int) -> Iterator[tuple[float, Values]]:
    """Estimates after a training at each LR."""
    bench = Bench(name, seed)
    for factor in FACTORS:
        lr = REFERENCES[name] * factor
        done = bench.train(lr, STEPS)
        yield lr, done[2] if done else {}


def from_common(name: str, seed: int) -> Iterator[tuple[float, Values]]:
    """Estimates from a few updates at each LR, all from one checkpoint of a training at a third of the reference."""
    bench = Bench(name, seed)
    start = bench.train(REFERENCES[name] / 3, COMMON_STEPS)
    assert start is not None
    state = start[0].state_dict(), start[1].state_dict()
    for factor in FACTORS:
        lr = REFERENCES[name] * factor
        done = bench.train(lr, FORK_STEPS, state)
        yield lr, done[2] if done else {}


def table(title: str, regime: Any, seeds: int) -> Table:
    """One row an estimate, one column a network, and all networks together."""
    slopes: dict[tuple[str, str], list[float]] = defaultdict(list)
    lost = 0
    for name in REFERENCES:
        for seed in range(seeds):
            found = list(regime(name, seed))
            lost += sum(not values for _, values in found)
            for key in COLUMNS:
                lrs = [lr for lr, values in found if key in values]
                slopes[key, name].append(slope(lrs, [values[key] for _, values in found if key in values]))
    rows = []
    for key, label in COLUMNS.items():
        cells = [over_seeds(slopes[key, name]) for name in REFERENCES]
        # the interval over networks and seeds together: seeds of one network are averaged first
        means = [sum(found) / len(found) for seed in range(seeds) if (found := _finite(slopes, key, seed))]
        rows.append([label, *map(_cell, [*cells, over_seeds(means)])])
    notes = [
        f"mnist5k, 3,500 images, SGD with momentum 0.9 and weight decay 1e-4, batch {BATCH}; LRs half a decade apart, "
        f"from 10^-1.5 to 10^0.5 times {REFERENCES}; slope by least squares, mean and 95% t interval over n = {seeds} "
        f"seeds; {lost} trainings diverged and are left out; {2 * PAIRS} probe batches; values that were not positive "
        "are left out"
    ]
    return Table(title, ("estimate", *REFERENCES, "all"), rows, (), notes)


def _finite(slopes: dict[tuple[str, str], list[float]], key: str, seed: int) -> list[float]:
    return [value for name in REFERENCES if math.isfinite(value := slopes[key, name][seed])]


def _cell(found: Any) -> str:
    return "none" if found is None else f"{found} (n = {found.n})"


def run(quick: bool = False) -> list[Table]:
    """Both regimes."""
    seeds = 1 if quick else 3
    return [
        table(f"Echo exponents after {STEPS} steps at each LR", along, seeds),
        table(
            f"Echo exponents over {FORK_STEPS} steps from one checkpoint (after {COMMON_STEPS} at a third of the LR)",
            from_common,
            seeds,
        ),
    ]
