"""How far suggestions are from the truth on curves of known shape: our rules beside those of other tools.

    python -m benchmarks.suggestions.error [--curves 200] [--json PATH]

Two families (`superconv.analysis.synthetic`): a fixed centre, and an onset that follows the summed LR. For each rule
the median and the 95% quantile of |log2(suggested / truth)|, 1 being a factor of two, and how often it said nothing.
Truth: the steepest point for rules that look for it (of the noise-free curve of that very ramp), a third of the
blow-up LR for "blow_up". "minimum" has no truth here: shown is its spread, as the error from its own median.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from superconv.analysis import loss_rules, synthetic

LENGTHS = (50, 100, 300, 1000)
NOISES = (0.01, 0.05, 0.15)
RAMPS = (("exponential", 1e-6, 1.0), ("exponential", 1e-4, 10.0), ("linear", 0.0, 0.3), ("linear", 1e-5, 1.0))
Rule = Callable[[np.ndarray, np.ndarray], float | None]


def ours() -> dict[str, tuple[Rule, str]]:
    """Rule -> (function, the truth it is measured against)."""
    return {
        "steepest": (lambda lr, y: loss_rules.steepest(lr, y).lr, "steepest"),
        "blow_up": (lambda lr, y: loss_rules.blow_up(lr, y).lr, "blow_up"),
        "minimum": (lambda lr, y: loss_rules.minimum(lr, y).lr, "own median"),
    }


def peers() -> dict[str, tuple[Rule, str]]:
    """Suggestions of other tools on the same arrays, where they are installed; what is missing is said."""
    found: dict[str, tuple[Rule, str]] = {}
    for module, add in (
        ("fastai.callback.schedule", _fastai), ("lightning.pytorch.tuner.lr_finder", _lightning),
        ("torch_lr_finder", _torch_lr_finder), ("ignite.handlers.lr_finder", _ignite),
    ):  # fmt: skip
        try:
            found |= add(importlib.import_module(module))
        except Exception as error:  # a peer that cannot run here is reported, not fatal
            print(f"{module}: not run ({type(error).__name__}: {str(error)[:80]})", file=sys.stderr)
    return found


def _fastai(module) -> dict[str, tuple[Rule, str]]:
    import torch

    def rule(suggest):
        def run(lr, loss):
            lrs, losses = torch.tensor(lr).float(), torch.tensor(loss).float()
            # valley compares all pairs in Python: minutes on a tensor, seconds on a list
            return float(suggest(lrs, losses.tolist() if suggest.__name__ == "valley" else losses, len(lr))[0])

        return run

    names = ("steep", "valley", "slide", "minimum")
    return {f"fastai {name}": (rule(getattr(module, name)), "steepest") for name in names}


def _lightning(module) -> dict[str, tuple[Rule, str]]:
    def run(lr, loss):
        finder = module._LRFinder("exponential", float(lr[0]), float(lr[-1]), len(lr))
        smooth, average = [], 0.0
        for step, value in enumerate(loss):  # as its callback averages while training
            average = 0.98 * average + 0.02 * float(value)
            smooth.append(average / (1 - 0.98 ** (step + 2)))
        finder.results = {"lr": list(map(float, lr)), "loss": smooth}
        return finder.suggestion(skip_begin=10, skip_end=1)

    return {"lightning": (run, "steepest")}


def _torch_lr_finder(module) -> dict[str, tuple[Rule, str]]:
    def run(lr, loss):
        smooth = [float(loss[0])]
        for value in loss[1:]:  # smooth_f = 0.05, its default
            smooth.append(0.05 * float(value) + 0.95 * smooth[-1])
        return float(lr[int(np.gradient(np.array(smooth)).argmin())])

    return {"torch-lr-finder": (run, "steepest")}


def _ignite(module) -> dict[str, tuple[Rule, str]]:
    def run(lr, loss):
        finder = module.FastaiLRFinder()
        smooth, average = [], 0.0
        for step, value in enumerate(loss):
            average = 0.98 * average + 0.02 * float(value)
            smooth.append(average / (1 - 0.98 ** (step + 1)))
        finder._history = {"lr": [[float(v)] for v in lr], "loss": smooth}
        found = finder.lr_suggestion()
        return float(found[0] if isinstance(found, list) else found)

    return {"ignite": (run, "steepest")}


def truth(family: str, kind: str, lr: np.ndarray) -> float:
    """The LR that a rule of this kind should find on this ramp."""
    if kind == "blow_up":
        return synthetic.BLOW_UP / loss_rules.SAFETY
    return synthetic.CENTRE if family == "fixed centre" else synthetic.summed_lr_steepest(lr)


def errors(family: str, rule: Rule, kind: str, noise: float, curves: int) -> tuple[list[float], int]:
    """|log2(suggested / truth)| over ramps, lengths and seeds, and how often nothing was said."""
    make = synthetic.fixed_centre if family == "fixed centre" else synthetic.summed_lr
    said, silent = [], 0
    for (shape, start, end), n in product(RAMPS, LENGTHS):
        lr = np.linspace(start, end, n) if shape == "linear" else np.geomspace(start, end, n)
        target = truth(family, kind, lr)
        for seed in range(max(1, curves // (len(RAMPS) * len(LENGTHS)))):
            try:
                found = rule(lr, make(lr, noise, np.random.default_rng(seed)))
            except Exception:  # counted as no answer: several peers crash on short or linear ramps
                found = None
            if found is None or not (math.isfinite(found) and found > 0):
                silent += 1
            else:
                said.append(math.log2(found / target))
    shift = float(np.median(said)) if kind == "own median" and said else 0.0
    return [abs(e - shift) for e in said], silent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=160, help="curves per rule, family and noise")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for (name, (rule, kind)), family in product((ours() | peers()).items(), ("fixed centre", "summed LR")):
        for noise in NOISES:
            found, silent = errors(family, rule, kind, noise, args.curves)
            middle, high = np.quantile(found, (0.5, 0.95)) if found else (math.nan, math.nan)
            rows.append((name, family, kind, noise, len(found) + silent, silent, round(middle, 3), round(high, 3)))
    print("| rule | family | truth | noise | curves | silent | median, octaves | 95% |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    if args.json:
        keys = ("rule", "family", "truth", "noise", "curves", "silent", "median_octaves", "q95_octaves")
        args.json.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
