"""Does tolerance of large learning rates, read off a ramp, tell anything of what 1cycle gains in training?

    python -m benchmarks.verdict.tolerance_and_gain --data-dir DATA

For every case (network, data, optimizer) two measurements that share no training. Tolerance: the LR range test with
its defaults, forks and a grid for the reference LR, six seeds. Gain: `superconv.compare` of 1cycle and piecewise
constant, both with the case's optimizer and tuned with the same budget on validation data, over planned lengths and
paired fresh seeds, on test data. What follows from the numbers: `verdict.analysis`. Existing cases of the
file are left alone; finished trainings in the folder of runs are found again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import torch

import superconv as sc
from superconv import runs
from superconv.analysis.repeats import joint_verdict
from superconv.analysis.thresholds import Thresholds
from superconv.analysis.verdict import Verdict
from superconv.experiments.compare import Comparison, compare
from superconv.experiments.contenders import ADAM_LR, CONTENDERS, Contender, Interval
from superconv.experiments.range_tests import RangeTestPlan, run_range_test
from superconv.experiments.tuning import Budget

from ..tasks.small_tasks import BATCH, CHEAP, OPTIMIZERS, SAMPLES, SmallTask
from .report import publish

TREATMENT, BASELINE = "1cycle", "piecewise constant"
SHORTEST = 100  # updates
COMMON = (1, 2, 4)  # times the shortest: lengths that every case has
BUDGET = Budget(trials=8, finalists=2, fresh_seeds=2)
RAMP_SEEDS = tuple(range(500, 506))  # no training of the comparison starts from these
JOINED = 2  # of them are judged together, as `superconv range-test` does when nothing is said
ADAM_DECAYS = Interval(1e-3, 1.0)


@dataclass(frozen=True)
class Case:
    """One point of the picture."""

    network: str
    data: str = "cifar10-16px"
    optimizer: str = "sgd"

    @property
    def name(self) -> str:
        """Unique, and fit for a folder."""
        return f"{self.data}-{self.network}-{self.optimizer}"

    @property
    def seeds(self) -> int:
        """Pairs; more where a training takes a second."""
        return 8 if self.network in CHEAP else 5

    @property
    def batch_size(self) -> int:
        """Half of the catalogue's where an update is dear."""
        return BATCH if self.network in CHEAP else BATCH // 2

    @property
    def ladder(self) -> tuple[int, ...]:
        """Planned lengths as multiples of the shortest; the fourth is for the speed-up of some alone."""
        fourth = self.network in CHEAP and (self.data, self.optimizer) == ("cifar10-16px", "sgd")
        return (*COMMON, 8) if fourth else COMMON

    def task(self, data_dir: str | None) -> sc.Task:
        """Data and network, as in the catalogue of small tasks."""
        return SmallTask(self.data, self.network, self.optimizer).task(data_dir)


CASES = (
    *(Case(network) for network in CHEAP),
    *(Case(network, "mnist5k") for network in ("lenet-slim", "mlp-bn")),
    *(Case(network, optimizer="adamw") for network in ("lenet-slim", "lenet-slim-bn", "mlp-bn", "mlp")),
    *(Case(network) for network in ("vit", "resnet8", "resnet8-nonorm", "convnext", "bottleneck", "resnext")),
    Case("resnet8-nonorm", optimizer="adamw"),
)


def contenders(optimizer: str, batch_size: int) -> list[Contender]:
    """1cycle and piecewise constant with this optimizer; AdamW has its own ranges, and 1cycle cycles its beta1."""
    found = [replace(CONTENDERS[name], batch_size=batch_size) for name in (TREATMENT, BASELINE)]
    if optimizer == "sgd":
        return found
    ranges = {"lr": Interval(*ADAM_LR), "weight_decay": ADAM_DECAYS}
    return [replace(c, optimizer="adamw", optimizer_options={}, space={**c.space, **ranges}) for c in found]


def tolerance(case: Case, task: sc.Task, root: Path) -> dict[str, Any]:
    """Edge over reference LR of every range test, and the word of the first two together, as a user gets it.

    The reference is one number a case: the geometric mean over the range tests that learned anything. One that did
    not (its peak is not clear of chance) has no ratio.
    """
    options = OPTIMIZERS[case.optimizer]
    plan = RangeTestPlan(optimizer=case.optimizer, optimizer_options=options, batch_size=case.batch_size)
    experiment = f"{case.name}-ramp"
    ramps = [run_range_test(task, plan, seed, root=root, experiment=experiment).ramp for seed in RAMP_SEEDS]
    joint = joint_verdict(ramps[:JOINED])
    alone = [ramp.verdict() for ramp in ramps]
    known = [ramp.reference_lr for ramp, told in zip(ramps, alone, strict=True) if _learned(told) and ramp.reference_lr]
    pooled = geometric_mean(known) if known else None
    each = [
        ramp.verdict(reference_lr=pooled) if _learned(told) else told for ramp, told in zip(ramps, alone, strict=True)
    ]
    evidence = [told.evidence if _learned(told) else {} for told in each]
    return {
        "seeds": list(RAMP_SEEDS),
        "updates": [ramp.settings["updates"] for ramp in ramps],
        "reference_lr": [_digits(ramp.reference_lr) for ramp in ramps],
        "pooled_reference_lr": _digits(pooled),
        "edge_ratio": [_digits(found.get("edge_ratio")) for found in evidence],
        "end_ratio": [_digits(found.get("last_ratio")) for found in evidence],
        "fell": [found.get("fell_beyond_edge") for found in evidence],
        "edge_from": [found.get("edge_from") for found in evidence],
        "peak_kappa": [_digits(told.evidence.get("peak_kappa")) for told in alone],
        "words": [told.tolerance for told in alone],
        "word": joint.tolerance,
        "reason": joint.reasons[0],
    }


def _learned(told: Verdict) -> bool:
    """Whether the peak is clear of chance by the verdict's own measure."""
    peak, error, limits = told.evidence.get("peak_kappa"), told.evidence.get("peak_kappa_error"), Thresholds()
    return peak is not None and peak >= max(limits.min_peak, limits.peak_errors * (error or 0.0))


def gain(case: Case, task: sc.Task, root: Path) -> dict[str, Any]:
    """Test accuracies of both arms over lengths and seeds, and what tuning chose."""
    found = compare(
        task, contenders(case.optimizer, case.batch_size), steps=SHORTEST, ladder=case.ladder, seeds=case.seeds,
        budget=BUDGET, root=root, experiment=case.name, device="cpu",
    )  # fmt: skip
    assert found is not None  # nothing here asks it to stop
    return raw(found)


def raw(found: Comparison) -> dict[str, Any]:
    """A comparison's numbers as plain data: test accuracy by arm, length and seed; the tuned settings."""
    chosen = {
        f"{name}/{steps}": {"settings": dict(t.settings), "validation": _digits(t.validation), "edges": list(t.edges)}
        for (name, steps), t in found.tuned.items()
    }
    values = {
        arm: {str(steps): {str(seed): round(v, 4) for seed, v in seeds.items()} for steps, seeds in lengths.items()}
        for arm, lengths in found.values.items()
    }
    tuning = sum(t.updates for t in found.tuned.values())
    return {
        "split": found.split, "values": values, "tuned": chosen, "tuning_updates": tuning, "updates": found.updates,
    }  # fmt: skip


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


PARTS: dict[str, Callable[[Case, sc.Task, Path], dict[str, Any]]] = {"tolerance": tolerance, "gain": gain}


def complete(entry: Mapping[str, Any], part: str) -> bool:
    """Whether a case's part is measured already, with every range test that is wanted."""
    if part not in entry:
        return False
    return part != "tolerance" or entry[part]["seeds"] == list(RAMP_SEEDS)


def settings() -> dict[str, Any]:
    """What all cases share."""
    return {
        "training_samples_at_most": SAMPLES, "shortest": SHORTEST, "common_ladder": COMMON,
        "budget": asdict(BUDGET), "ramp_seeds": RAMP_SEEDS, "joined": JOINED,
    }  # fmt: skip


def load(path: Path) -> dict[str, Any]:
    """What was measured before, or nothing yet."""
    return json.loads(path.read_text()) if path.exists() else {"cases": {}}


def save(path: Path, found: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    runs.atomic_write(path, json.dumps(found, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the trainings")
    parser.add_argument("--only", default=None, help="names of cases, separated by commas; none: measure nothing")
    parser.add_argument("--part", default=",".join(PARTS), help="what is measured")
    parser.add_argument("--out", type=Path, default=Path("results/verdict"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = args.out / "cases.json"
    found = load(path)
    for case in CASES:
        if args.only is not None and case.name not in args.only.split(","):
            continue
        entry = found["cases"].get(case.name, {})
        missing = [part for part in args.part.split(",") if not complete(entry, part)]
        if not missing:
            continue
        task = case.task(args.data_dir)
        described = {**asdict(case), "batch_size": case.batch_size, "ladder": case.ladder, "seeds": case.seeds}
        entry = {**described, **{part: entry[part] for part in PARTS if part in entry}}
        for part in missing:
            entry[part] = PARTS[part](case, task, args.runs)
            print(f"{case.name}: {part} measured", flush=True)
        environment = {
            **runs.environment(),
            "command": "python -m benchmarks.verdict.tolerance_and_gain --data-dir DATA",
        }
        found |= {"settings": settings(), "environment": environment}
        found["cases"][case.name] = entry
        save(path, found)
    publish(found, args.out)


if __name__ == "__main__":
    main()
