"""Tuning the demo's arms on validation data: equal trials each, and the file that keeps the winners."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from .. import runs
from ..task import Task, named_task
from .demo_arms import TUNED_ONE_CYCLE, TUNED_PIECEWISE, Settings, make_arm
from .runner import run_arm

FORMAT = 1
SHIPPED = Path(__file__).with_name("demo_tuned.json")  # beside this module, so that an installed package has it
PUBLISHED = Path("results/demo/tuning.json")  # of a checkout: every trial, with its cost
KINDS = (TUNED_PIECEWISE, TUNED_ONE_CYCLE)
TRIALS = 16
TRIAL_SEEDS = (100, 101)
FINALISTS = 3
FINAL_SEEDS = (102, 103, 104)  # fresh: the best of many trials is partly luck
LR_RANGE = (0.003, 3.0)
WEIGHT_DECAY_RANGE = (1e-5, 1e-2)

Tuned = Mapping[str, Mapping[str, Mapping[int, Settings]]]  # network -> kind -> steps -> settings
Report = Callable[[str, int, int, str], None]


def load_tuned(path: str | Path | None = None) -> Tuned:
    """The tuned settings; None: those that ship with the package.

    Raises: ValueError: no such file, or one of another format.
    """
    path = Path(path or SHIPPED)
    try:
        stored = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot read the tuned settings {path}: {error}; run superconv demo --tune") from None
    got = stored.get("format") if isinstance(stored, dict) else None
    if got != FORMAT:
        raise ValueError(f"{path} has format {got!r}, {FORMAT} is read; run superconv demo --tune")
    tuned: dict[str, dict[str, dict[int, Settings]]] = {}
    try:
        for row in stored["winners"]:
            settings = Settings(row["lr"], row["weight_decay"])
            tuned.setdefault(row["network"], {}).setdefault(row["kind"], {})[row["steps"]] = settings
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); run superconv demo --tune") from None
    return tuned


def tune(
    networks: tuple[str, ...],
    lengths: tuple[int, ...],
    *,
    data: str,
    root: str | Path,
    data_dir: str | Path | None = None,
    report: Report | None = None,
) -> dict[str, Any]:
    """Tune piecewise constant and 1cycle with the same trials, for every network and length.

    Per network, kind and length: the same `TRIALS` points of a Sobol sequence over log LR and log weight decay, two
    seeds each; the best three again on three fresh seeds; the best of those on the fresh seeds wins. Chosen by
    validation accuracy (a diverged run counts as chance); the test data is not read.

    Returns: plain data: winners, every trial, and the cost in steps and seconds.
    """
    started = time.perf_counter()
    cells = [(network, kind, steps) for network in networks for kind in KINDS for steps in lengths]
    winners, trials, updates = [], [], 0
    for index, (network, kind, steps) in enumerate(cells):
        task = named_task(data, network, data_dir=data_dir)
        scored = [
            (_score(task, network, kind, steps, settings, TRIAL_SEEDS, root), settings) for settings in _candidates()
        ]
        trials += [_row(network, kind, steps, s, score, TRIAL_SEEDS) for score, s in scored]
        finalists = [settings for _, settings in sorted(scored, key=lambda pair: -pair[0])[:FINALISTS]]
        final = [(_score(task, network, kind, steps, s, FINAL_SEEDS, root), s) for s in finalists]
        trials += [_row(network, kind, steps, s, score, FINAL_SEEDS) for score, s in final]
        score, best = max(final, key=lambda pair: pair[0])
        winners.append(_row(network, kind, steps, best, score, FINAL_SEEDS))
        updates += steps * (len(scored) * len(TRIAL_SEEDS) + len(final) * len(FINAL_SEEDS))
        if report is not None:
            report(
                "tuning", index + 1, len(cells), f"{network} {kind} {steps}: LR {best.lr:.3g}, validation {score:.2%}"
            )
    return {
        "format": FORMAT,
        "data": data,
        "search": {
            "trials": TRIALS,
            "trial_seeds": TRIAL_SEEDS,
            "finalists": FINALISTS,
            "final_seeds": FINAL_SEEDS,
            "lr_range": LR_RANGE,
            "weight_decay_range": WEIGHT_DECAY_RANGE,
            "sampler": "Sobol, log-uniform",
            "chosen_by": "validation accuracy",
        },
        "cost": {"updates": updates, "seconds": round(time.perf_counter() - started, 1)},
        "environment": runs.environment(),
        "winners": winners,
        "trials": trials,
    }


def store_tuned(found: Mapping[str, Any], output: Path, *, ship: bool = False) -> list[Path]:
    """Write everything to `output`; with `ship` also what the demo needs of it into the package, as its default.

    Returns: the files written.
    """
    kept = {key: value for key, value in found.items() if key != "trials"}
    files = {output: found, **({SHIPPED: kept} if ship else {})}
    for path, content in files.items():
        runs.atomic_write(path, runs.dumps(content, indent=1) + "\n", parents=True)
    return list(files)


def _candidates() -> Iterator[Settings]:
    """The same points for every arm and length: what one arm may try, the other may."""
    points = torch.quasirandom.SobolEngine(2, scramble=True, seed=0).draw(TRIALS).tolist()
    for u, v in points:
        yield Settings(_between(LR_RANGE, u), _between(WEIGHT_DECAY_RANGE, v))


def _between(bounds: tuple[float, float], share: float) -> float:
    low, high = map(math.log, bounds)
    return float(f"{math.exp(low + share * (high - low)):.3g}")


def _score(
    task: Task, network: str, kind: str, steps: int, settings: Settings, seeds: tuple[int, ...], root: str | Path
) -> float:
    """Mean validation accuracy over the seeds."""
    arm = make_arm(network, kind, steps, settings)
    summaries = [
        run_arm(task, arm, seed, root=root, experiment="demo-tuning", read_test=False).summary for seed in seeds
    ]
    classes = task.data.num_classes
    assert classes is not None
    return mean(accuracy(summary, "validation", classes) for summary in summaries)


def accuracy(summary: Mapping[str, Any] | None, split: str, num_classes: int) -> float:
    """A finished run's accuracy; chance where it diverged."""
    if summary is None or summary["stop"] != "completed" or summary[split] is None:
        return 1.0 / num_classes
    return float(summary[split]["metric"])


def _row(
    network: str, kind: str, steps: int, settings: Settings, score: float, seeds: tuple[int, ...]
) -> dict[str, Any]:
    return {
        "network": network,
        "kind": kind,
        "steps": steps,
        "lr": settings.lr,
        "weight_decay": settings.weight_decay,
        "validation_accuracy": round(score, 5),
        "seeds": seeds,
    }
