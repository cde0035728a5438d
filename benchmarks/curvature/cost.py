"""Hessian products and the largest eigenvalue: cost in training steps, beside other tools, and what float32 loses."""

from __future__ import annotations

import copy
import importlib
import importlib.metadata
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.measure.curvature.eigenvalues import extreme_eigenvalues
from superconv.measure.curvature.iterates import IterateSums
from superconv.measure.curvature.objective import BatchObjective, Vector
from superconv.measure.curvature.probe import probe

from ..embedded_images import Tensors, images
from ..peers.packages import quiet
from ..table import Goal, Table
from ..timing import clock, interleaved, paired_difference, within

GOAL_STEPS = 1.1
GOAL_STREAMING, GOAL_AMORTISED, AMORTISED_OVER = 0.01, 0.025, 50
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LANCZOS_PRODUCTS = 20
LR = 0.01
STREAMING, PROBE = "sums of the paper's estimate", "probe on two quarter batches"
# relative error that eigenvalues are asked for
TOLERANCE = 0.01


def seconds(call: Callable[[], Any]) -> float:
    started = clock()
    call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def network(quick: bool) -> tuple[nn.Module, Tensors]:
    """ResNet-56 and a batch of 128 (quick: ResNet-8 and 32), five steps from initialisation."""
    name, samples = ("resnet8", 32) if quick else ("resnet56", 128)
    torch.manual_seed(0)
    model = sc.models.build_model(name, 10, seed=0).to(DEVICE)
    batch = torch.randn(samples, 3, 32, 32).to(DEVICE), torch.randint(10, (samples,)).to(DEVICE)
    train(model, batch, 5)
    return model, batch


def stepper(model: nn.Module, batch: Tensors) -> Callable[[], None]:
    """A function that trains by one step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    return step


def train(model: nn.Module, batch: Tensors, steps: int) -> None:
    step = stepper(model, batch)
    for _ in range(steps):
        step()


def peer_products(model: nn.Module, batch: Tensors) -> dict[str, Callable[[], Any]]:
    """One product of each peer; BatchNorm in eval mode, the only one that they take."""
    model = copy.deepcopy(model).eval()
    found: dict[str, Callable[[], Any]] = {}
    for name, make in (("PyHessian", pyhessian_product), ("curvlinops", curvlinops_product)):
        with quiet():
            if importable(name):
                found[f"{name}, eval mode"] = make(model, batch)
    return found


def importable(name: str) -> bool:
    try:
        importlib.import_module(name.lower())
    except ImportError:
        return False
    return True


def pyhessian_product(model: nn.Module, batch: Tensors) -> Callable[[], Any]:
    pyhessian = importlib.import_module("pyhessian")
    utils = importlib.import_module("pyhessian.utils")

    def product() -> None:  # its own: the graph of the first derivative is made when the object is
        problem = pyhessian.hessian(model, nn.CrossEntropyLoss(), data=batch, cuda=DEVICE == "cuda")
        v = [torch.randn_like(parameter) for parameter in problem.params]
        utils.hessian_vector_product(problem.gradsH, problem.params, v)
        model.zero_grad()

    return product


def curvlinops_product(model: nn.Module, batch: Tensors) -> Callable[[], Any]:
    operator = curvlinops_operator(model, batch)
    v = torch.randn(operator.shape[1], device=DEVICE)
    return lambda: operator @ v


def curvlinops_operator(model: nn.Module, batch: Tensors) -> Any:
    curvlinops = importlib.import_module("curvlinops")
    parameters = list(model.parameters())
    loss = nn.CrossEntropyLoss()
    return curvlinops.HessianLinearOperator(model, loss, parameters, [batch], check_deterministic=False)


def products(quick: bool) -> Table:
    """Seconds of one product over those of one training step."""
    model, batch = network(quick)
    objective = BatchObjective(model, F.cross_entropy, [batch])
    gradient = objective.gradient()
    calls: dict[str, Callable[[], Any]] = {
        "training step (SGD, momentum)": stepper(copy.deepcopy(model), batch),
        "gradient": objective.gradient,
        "product, one-sided difference": partial(objective.product, gradient, gradient=gradient),
        "product, central difference": partial(objective.product, gradient),
        "product, exact": partial(objective.product, gradient, method="exact"),
        **watching(model, batch),
        **peer_products(model, batch),
    }
    for call in calls.values():
        with quiet():
            call()
    rounds = 6 if quick else 7
    with quiet():
        found = interleaved({name: partial(seconds, call) for name, call in calls.items()}, rounds)
    step = found["training step (SGD, momentum)"]
    rows, intervals = [], {}
    for name, values in found.items():
        ratios = [value / base for value, base in zip(values, step, strict=True)]
        intervals[name] = paired_difference(ratios, [0.0] * len(ratios))
        middle, low, high = intervals[name]
        rows.append([name, f"{statistics.median(values):.3g}", f"{middle:.3g}", f"{low:.3g} to {high:.3g}"])
    goals = [
        Goal(claim, "{:.4f} steps (95% interval {:.4f} to {:.4f})".format(*interval), within(most, interval))
        for claim, most, interval in (
            (
                f"a finite-difference product beside a known gradient takes at most {GOAL_STEPS} steps",
                GOAL_STEPS, intervals["product, one-sided difference"],
            ),
            (
                f"the paper's sums take at most {GOAL_STREAMING} of a step",
                GOAL_STREAMING, intervals[STREAMING],
            ),
            (
                f"a probe every {AMORTISED_OVER} steps takes at most {GOAL_AMORTISED} of a step",
                GOAL_AMORTISED, tuple(end / AMORTISED_OVER for end in intervals[PROBE]),
            ),
        )
    ]  # fmt: skip
    about = f"{'ResNet-8, batch 32' if quick else 'ResNet-56, batch 128'}, BatchNorm in training mode"
    notes = [f"{about}; n = {rounds} interleaved rounds, ratios within a round", *about_peers()]
    columns = ("what", "seconds", "steps", "95% interval")
    return Table("Hessian products, in training steps", columns, rows, goals, notes)


def watching(model: nn.Module, batch: Tensors) -> dict[str, Callable[[], Any]]:
    """What an LR monitor does after every update, and now and then."""
    watched = copy.deepcopy(model)
    parameters = dict(watched.named_parameters())
    sums = IterateSums(parameters)
    quarter = len(batch[0]) // 4
    a, b = ((batch[0][k : k + quarter], batch[1][k : k + quarter]) for k in (0, quarter))
    previous = {name: parameter.detach() + 1e-4 for name, parameter in parameters.items()}
    return {
        STREAMING: lambda: sums.after_update(LR, 0.9),
        PROBE: lambda: probe(watched, F.cross_entropy, a, b, previous=previous),
    }


def about_peers() -> list[str]:
    """The peers' versions, or that they are missing."""
    distributions = {"PyHessian": "pyhessian", "curvlinops": "curvlinops-for-pytorch"}
    return [
        f"{name} {importlib.metadata.version(distribution)}"
        if importable(name)
        else f"{name} is left out: not installed"
        for name, distribution in distributions.items()
    ]


def eigenvalues(quick: bool) -> Table:
    """The largest eigenvalue by every tool: value and steps of time, once."""
    model, batch = network(quick)
    stepping = stepper(copy.deepcopy(model), batch)
    step = statistics.median(seconds(stepping) for _ in range(5))
    objective = BatchObjective(model, F.cross_entropy, [batch])
    evaluated = copy.deepcopy(model).eval()
    in_eval = BatchObjective(evaluated, F.cross_entropy, [batch])
    ends: dict[str, Any] = {"ends": "largest", "tolerance": TOLERANCE}
    fixed: dict[str, Any] = {"max_products": LANCZOS_PRODUCTS, "tolerance": 1e-12}
    calls: dict[str, Callable[[], Any]] = {
        "superconv, to 1%": partial(extreme_eigenvalues, objective, **ends),
        "superconv, 20 products": partial(extreme_eigenvalues, objective, **fixed),
        "superconv, 20 differences": partial(extreme_eigenvalues, objective, method="finite_difference", **fixed),
        "superconv, to 1%, eval mode": partial(extreme_eigenvalues, in_eval, **ends),
        **peer_eigenvalues(evaluated, batch),
    }
    rows = []
    for name, call in calls.items():
        started = clock()
        with quiet():
            found = call()
        took = (clock() - started) / step
        known = getattr(found, "largest", found)
        details = f"{found.errors[0]:.1g}, {found.products} products" if hasattr(found, "products") else ""
        rows.append([name, f"{known:.4g}", details, f"{took:.1f}"])
    notes = [
        "n = 1; modes differ, and so do their eigenvalues; peers take eval mode only, PyHessian at its own tolerance"
    ]
    columns = ("tool", "largest eigenvalue", "estimated error, work", "steps")
    return Table("The largest Hessian eigenvalue, in training steps", columns, rows, [], [*notes, *about_peers()])


def peer_eigenvalues(model: nn.Module, batch: Tensors) -> dict[str, Callable[[], float]]:
    found: dict[str, Callable[[], float]] = {}
    if importable("PyHessian"):
        pyhessian = importlib.import_module("pyhessian")

        def by_power_iteration() -> float:
            problem = pyhessian.hessian(model, nn.CrossEntropyLoss(), data=batch, cuda=DEVICE == "cuda")
            values, _ = problem.eigenvalues(top_n=1)
            model.zero_grad()
            return float(values[0])

        found["PyHessian, eval mode"] = by_power_iteration
    if importable("curvlinops"):
        linalg = importlib.import_module("scipy.sparse.linalg")

        def by_arpack() -> float:
            operator = curvlinops_operator(model, batch).to_scipy()
            return float(linalg.eigsh(operator, k=1, which="LA", tol=TOLERANCE, return_eigenvectors=False)[0])

        found["curvlinops + ARPACK, to 1%, eval mode"] = by_arpack
    return found


def smooth() -> nn.Module:
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(1, 8, 5, 2), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 16, 3, 2), nn.BatchNorm2d(16)]
    return nn.Sequential(*convolutions, nn.Tanh(), nn.Flatten(), nn.Linear(400, 10))


def inner(u: Vector, v: Vector) -> float:
    return float(sum((a.double() * b.double()).sum() for a, b in zip(u, v, strict=True)))


def lost(model: nn.Module, batch: Tensors) -> list[str]:
    """Relative errors of v.Hv along the gradient, and of the largest eigenvalue, in float32 against float64."""
    double = BatchObjective(copy.deepcopy(model).double(), F.cross_entropy, [(batch[0].double(), batch[1])])
    single = BatchObjective(model, F.cross_entropy, [batch])
    gradient = single.gradient()
    exact_v = [part.double() for part in gradient]
    truth = inner(double.product(exact_v, method="exact"), exact_v)
    settings: list[dict[str, Any]] = [{"method": "exact"}, {"gradient": gradient}, {}]
    cells = [f"{inner(single.product(gradient, **each), gradient) / truth - 1:+.1e}" for each in settings]
    largest = extreme_eigenvalues(double, tolerance=1e-4, ends="largest", max_products=100).largest
    for method in ("exact", "finite_difference"):
        found = extreme_eigenvalues(single, method=method, ends="largest", max_products=LANCZOS_PRODUCTS)
        cells.append(f"{found.largest / largest - 1:+.1e}{'' if found.converged else ' unconverged'}")
    return cells


def accuracy(quick: bool) -> Table:
    """What float32 products lose, on networks with and without kinks."""
    (inputs, targets), _ = images()
    chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:128]
    batch = inputs[chosen], targets[chosen]
    builds = {"tanh, BatchNorm": smooth}
    for name in ("mlp", "lenet") if quick else ("mlp", "lenet", "lenet-bn"):
        builds[f"{name} (ReLU)"] = partial(sc.models.build_model, name, 10, seed=0)
    rows = []
    for name, build in builds.items():
        for steps in (0, 30):
            model = build()
            train(model, batch, steps)
            rows.append([name, str(steps), *lost(model, batch)])
    columns = ("network", "steps", "exact", "one-sided", "central", "largest, exact", "largest, differences")
    notes = [
        f"128 embedded MNIST images, seed 0, SGD at {LR}; relative error of v.Hv for v the gradient, then of the "
        f"largest eigenvalue (to 1%, at most {LANCZOS_PRODUCTS} products), against exact products in float64"
    ]
    return Table("Hessian products in float32: relative errors", columns, rows, [], notes)


def run(quick: bool = False) -> list[Table]:
    """The three tables."""
    return [products(quick), eigenvalues(quick), accuracy(quick)]
