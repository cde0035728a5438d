"""Measure the range tests of results/range_tests: small networks with and without normalisation, several optimizers.

    python -m benchmarks.verdict.range_test_curves --data mnist5k --models lenet-slim-bn --optimizers sgd,adamw

Each curve: a grid of constant learning rates, each reached by a short warm-up (the reference LR, see
`best_constant`), and the ramp with accuracy along it. Linear ramps run from 0 to 8.6 times the reference, the multiple
at which the authors' networks were tested (3 / 0.35); exponential ones as `lr_range_test` makes them when
nothing is given. Existing files are left alone.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch

import superconv as sc
from superconv.analysis.reference import best_constant
from superconv.data import Batches
from superconv.measure.range_test import lr_range_test
from superconv.training.batch_source import BatchSource

LOSS = torch.nn.functional.cross_entropy
MULTIPLE = 3.0 / 0.35
SHAPES = ("exponential", "linear")


REFINED = 10**0.25  # the grid's half decades are halved once around its best


def make_optimizer(name: str, model: torch.nn.Module, lr: float) -> torch.optim.Optimizer:
    """Fresh, with momentum 0.9 and weight decay 1e-4 for "sgd", without either for "sgd-plain"."""
    if name == "sgd-plain":
        return sc.build_optimizer("sgd", model, lr=lr, momentum=0.0)
    options = {"momentum": 0.9, "weight_decay": 1e-4} if name == "sgd" else {}
    return sc.build_optimizer(name, model, lr=lr, **options)


class Bench:
    """One network, optimizer and data set: makes fresh ones for every measurement."""

    def __init__(self, splits, model: str, optimizer: str, steps: int, seed: int) -> None:
        self.splits, self.model, self.optimizer, self.steps, self.seed = splits, model, optimizer, steps, seed
        held_out = splits.validation.take(range(min(1000, len(splits.validation))))
        self.samples = len(held_out)
        self.evaluation = Batches.for_evaluation(held_out, preparation=splits.preparation)

    def fresh(self, lr: float = 1e-3):
        """The network as it starts, its optimizer, and its training batches from the first on."""
        model = sc.models.build_model(self.model, num_classes=self.splits.num_classes, seed=self.seed)
        train = Batches(self.splits.train, 128, seed=self.seed, augment=False, preparation=self.splits.preparation)
        return model, make_optimizer(self.optimizer, model, lr), train

    def ramp(self, **options) -> sc.RangeTest:
        """A range test of the fresh network."""
        model, optimizer, train = self.fresh()
        return lr_range_test(
            model, optimizer, LOSS, train, eval_batches=self.evaluation, total_steps=self.steps, seed=self.seed,
            evaluate_every=max(1, self.steps // 50), **options,
        )  # fmt: skip

    def constant(self, lr: float) -> float:
        """Accuracy after `steps` updates, the first fifth a linear warm-up; batch statistics; 0 where it diverged."""
        model, optimizer, train = self.fresh(lr)
        source, warm_up = BatchSource(train), max(1, self.steps // 5)
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1.0, (step + 1) / warm_up)
            inputs, targets = source.draw()
            loss = LOSS(model(inputs), targets)
            if not torch.isfinite(loss):
                return 0.0
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self.accuracy(model)

    def accuracy(self, model: torch.nn.Module) -> float:
        """On the held-out samples, with batch statistics."""
        model.train()
        with torch.no_grad():
            right = sum(int((model(x).argmax(1) == y).sum()) for x, y in self.evaluation)
        return right / self.samples

    def reference(self) -> tuple[float, dict[str, float]]:
        """Best constant LR: half decades from 1e-5 to 10 from the top down, then quarter decades around the best.

        Read by `best_constant`: LRs that tie are averaged.
        """
        tried: dict[float, float] = {}
        for k in range(2, -11, -1):
            tried[10 ** (k / 2)] = self.constant(10 ** (k / 2))
            if max(tried.values()) > 0.3 and max(list(tried.values())[-2:]) < max(tried.values()) - 0.1:
                break
        top = max(tried, key=tried.__getitem__)
        for lr in (top / REFINED, top * REFINED):
            tried[lr] = self.constant(lr)
        rates, values = list(tried), [value or None for value in tried.values()]
        reference = best_constant(rates, values, samples=self.samples)
        if reference is None:
            raise SystemExit(f"{self.model}: no constant learning rate trains it")
        return reference, {f"{lr:.4g}": v for lr, v in sorted(tried.items())}


def load_splits(data: str, data_dir: str | None, samples: int) -> sc.Splits:
    """A named data set with 1,000 validation samples and at most `samples` training samples."""
    splits = sc.data.load(data, data_dir).with_validation(1000)
    return sc.Splits(
        splits.train.take(range(min(samples, len(splits.train)))), splits.validation, splits.test,
        splits.num_classes, preparation=splits.preparation,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist5k")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--samples", type=int, default=4000, help="training samples")
    parser.add_argument("--models", default="lenet-slim,lenet-slim-bn,mlp,mlp-bn")
    parser.add_argument("--optimizers", default="sgd,adamw")
    parser.add_argument("--steps", default="100")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--forks", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results/range_tests"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    splits = load_splits(args.data, args.data_dir, args.samples)
    networks = product(args.models.split(","), args.optimizers.split(","), map(int, args.steps.split(",")))
    for (model, optimizer, steps), seed in product(list(networks), map(int, args.seeds.split(","))):
        bench = Bench(splits, model, optimizer, steps, seed)
        paths = {s: args.out / f"{args.data}-{model}-{optimizer}-{s}{steps}-seed{seed}.json" for s in SHAPES}
        if all(path.exists() for path in paths.values()):
            continue
        reference, grid = bench.reference()
        for shape, path in paths.items():
            options = {"end_lr": MULTIPLE * reference, "start_lr": 0.0} if shape == "linear" else {}
            options["forks"] = [reference * k for k in (1, 2, 4, 8)] if shape == "linear" else args.forks
            ramp = bench.ramp(shape=shape, reference_lr=reference, **options)
            ramp.settings.update(
                data=args.data, model=model, optimizer_name=optimizer, samples=args.samples, reference_tries=grid
            )
            ramp.save(path)
            verdict = ramp.verdict()
            print(f"{path.name}: {verdict.tolerance}, reference {reference:.3g}, {ramp.seconds:.0f} s", flush=True)
            print("   ", verdict.reasons[0], [(round(f.lr / reference, 1), f.metric) for f in ramp.forks], flush=True)


if __name__ == "__main__":
    main()
