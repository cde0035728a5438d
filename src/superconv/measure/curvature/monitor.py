"""LRMonitor: learning-rate estimates from curvature while a training runs, which it does not change."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ...analysis.curvature.echo import is_echo
from ...analysis.curvature.expected_step import noise_scale_from_share
from ...analysis.curvature.iterates import effective_lr, noise_autocorrelation, noise_ratio
from ...analysis.curvature.jackknife import MINIMUM_PROBES, Estimate
from ...analysis.curvature.probes import Probe, conclude
from ...analysis.curvature.stability import StabilityLimit
from ...analysis.curvature.statement import LRReading
from ...callers_level import callers_level
from ...error_lines import kind_and_line_of
from ...restore.loader_order import LoaderOrder
from ...restore.loaders_within import stateful_loaders
from ...restore.preserve import preserved
from ...restore.sharded import refuse_sharded
from ...restore.step_hooks import off_while_preserved
from ...task.loss_function import LossFunction
from ...training.batch_source import Split, device_of
from ...training.distributed import inner_module
from ...training.inner_optimizer import counted_optimizer, torch_optimizer
from ...training.step_nesting import StepNesting
from ..trained_parameters import trained_parameters
from .iterates import DEFAULT_WINDOW, IterateSums
from .objective import METHODS, BatchObjective, Method
from .probe import probe
from .stiffness import Stiffness

EIGENVALUE_BATCHES = 4


class LRMonitor:
    """Watches a training through its optimizer's step hooks: any loop, three lines.

        with sc.LRMonitor(model, optimizer, loss_fn, probe_batches) as monitor:
            ...                                                             # train as always
            print(monitor.latest)

    After every update it adds to the sums of the paper's estimate. Every `every` updates it makes one probe on two of
    the probe batches and a reading from the last `probes` probes: so the estimates with standard errors begin after
    8 * every updates, and average over as many. Nothing is changed: a training with it is bit for bit the training
    without it (weights, optimizer state, buffers, gradients, random states; those of a loss that is a module, too).

    Cost: the sums take 0.5% of a ResNet-56 step at batch 128 (CPU). A probe is four gradients of a probe batch, so a
    share of 4 (probe batch / batch) / every of the training: 2% for probe batches of a quarter of the batch every 50.
    An eigenvalue takes 4 to 16 exact products, each of four to six gradients of four probe batches.

    The updates of the first param group count as the LR; a tensor LR on a GPU is waited for at every update. Where
    parameters are frozen or unfrozen on the way, the estimates begin again with those that are trained then, as seen at
    the next reading or eigenvalue.
    Not seen: forward hooks of one's own that count passes, and plain attributes that a forward pass changes.

    Args:
        model: what is trained.
        optimizer: its optimizer; updates that a gradient scaler skipped do not count.
        loss_fn: (outputs, targets) -> mean loss; needed for probes alone.
        probe_batches: batches that take no part in the updates (from held-out data: on training data the estimates
            learn of the fit, too). The first `2 * probes` are kept (and needed). None: the paper's estimate alone.
        every: updates between probes and readings.
        probes: that an estimate pools, at least 8.
        spacing: updates between iterates of the paper's estimate (1 and 10 in the paper).
        window: triples that rho looks back over.
        include_batch_norm: add BatchNorm's stored blobs to the paper's sums, as in the authors' scripts.
        eigenvalues_every: updates between measurements of the largest eigenvalue, on four probe batches; None: none.
        method: of the probes' Hessian product: "finite_difference" (one gradient) or "exact" (four to six).
        split: batch -> (inputs, targets), where a batch is no pair.
        seed: of dropout masks in the probes.
    Warns: probes or eigenvalues failed on the way; they are measured no more, and the training goes on.
    Raises: ValueError: nothing to watch, too few probe batches, an option out of range or without effect; parameters
        that are sharded over ranks (FSDP).
    """

    latest: LRReading | None
    """The last reading; `read()` makes one now."""
    rows: list[dict[str, Any]]
    """Every reading so far, as plain data."""
    left_out: dict[str, str]
    """Parameters that are not watched, each with the reason."""
    _stiffness: Stiffness | None
    _limit: StabilityLimit | None
    _limit_step: int | None
    _weight_norm: float | None

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss_fn: LossFunction | None = None,
        probe_batches: Iterable[Any] | None = None,
        *,
        every: int = 50,
        probes: int = MINIMUM_PROBES,
        spacing: int = 1,
        window: int = DEFAULT_WINDOW,
        include_batch_norm: bool = False,
        eigenvalues_every: int | None = None,
        method: Method = "finite_difference",
        split: Split | None = None,
        seed: int = 0,
    ) -> None:
        device_of(model)  # refuses what is no model
        _check(every, probes, loss_fn, probe_batches, split, method, eigenvalues_every)
        self.model, self.loss_fn = inner_module(model), loss_fn
        refuse_sharded(self.model, "LRMonitor")
        self.every = every
        self._options: dict[str, Any] = {"split": split, "method": method}
        self._seed = seed
        self._optimizer = _counted(optimizer)
        self._batches = [] if probe_batches is None else _take(probe_batches, 2 * probes)
        watched, self.left_out = trained_parameters(self.model, self._optimizer, real_only=True)
        if self._batches:
            assert self.loss_fn is not None
            objective = BatchObjective(self.model, self.loss_fn, self._batches[:1], split=split)
            self.left_out |= objective.left_out
            self._probe_samples = objective.sizes[0]
        self._sums = IterateSums(
            watched, spacing=spacing, window=window, batch_norm_of=self.model if include_batch_norm else None
        )
        self._probes: deque[Probe] = deque(maxlen=probes)
        self._stiffness = self._limit = self._weight_norm = None
        self._eigenvalues_every, self._limit_step = eigenvalues_every, None
        self._stiffness_batches = self._batches[:EIGENVALUE_BATCHES]
        if eigenvalues_every is not None:
            self._stiffness = self._stiffness_now()
        self.step = 0
        self._used = _settings(self._optimizer)
        noise_autocorrelation(self._used[1])  # checks the momentum
        self.latest, self.rows = None, []
        self._nesting = StepNesting()
        self._handles: list[Any] = [
            self._optimizer.register_step_pre_hook(self._before_update),
            self._optimizer.register_step_post_hook(self._after_update),
        ]

    def __enter__(self) -> LRMonitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the hooks away; readings stay."""
        for handle in self._handles:
            handle.remove()

    def reset(self) -> None:
        """Begin the iterates again, after parameters were loaded, averaged or swapped by something else."""
        self._sums.reset()

    def read(self) -> LRReading:
        """A reading now; waits for the device. It does not join `rows`."""
        lr, momentum, dampening, nesterov = self._used
        spacing, found = self._sums.spacing, self._sums.read()
        rho = found.rho if found else Estimate(None, None, 0, "no triple of iterates yet")
        noise_rho = found.noise_rho if found else noise_autocorrelation(momentum, spacing, nesterov=nesterov)
        probes = conclude(list(self._probes), equal_weight=True) if self._batches else None
        return LRReading(
            step=self.step,
            lr=lr,
            momentum=momentum,
            effective_lr=effective_lr(lr, momentum, dampening),
            spacing=spacing,
            paper_estimate=found.smoothed if found else None,
            window_estimate=found.absolute if found else None,
            squared_estimate=found.squared if found else None,
            rho=rho,
            noise_rho=noise_rho,
            noise_value=lr * noise_ratio(momentum, spacing, nesterov=nesterov),
            noise_line=found.noise_line if found else None,
            echo=is_echo(rho, noise_rho),
            probes=probes,
            noise_scale=noise_scale_from_share(probes.signal_share, self._probe_samples) if probes else None,
            largest_eigenvalue=self._limit.largest if self._limit else None,
            stability_limit=self._limit.lr if self._limit else None,
            stability_label=self._limit.label if self._limit else "",
            weight_norm=self._weight_norm,
            eigenvalue_step=self._limit_step,
        )

    def layers(self) -> dict[str, float]:
        """The paper's estimate of every layer over the window, unsmoothed; echoes like the whole."""
        return self._sums.layers()

    # ---- the hooks ------------------------------------------------------------------------------------------------

    @off_while_preserved
    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._nesting.enter(optimizer)

    @off_while_preserved
    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._nesting.leave():
            return  # of `super().step()`: the update goes on
        found_inf = optimizer.__dict__.get("found_inf")  # a fused optimizer under a GradScaler calls hooks regardless
        if found_inf is not None and float(found_inf):
            return
        self.step += 1
        due = self.step % self.every == 0
        if due and self._batches and not self._goes_well("probes", self._probe):
            self._batches = []
        self._used = lr, momentum, _, nesterov = _settings(optimizer)
        self._sums.after_update(lr, momentum, nesterov=nesterov)
        due_too = self._stiffness is not None and self._eigenvalues_every and self.step % self._eigenvalues_every == 0
        if due or due_too:
            self._follow()
        if due_too and not self._goes_well("eigenvalues", self._measure):
            self._stiffness = self._limit = self._limit_step = self._weight_norm = None
        if due:
            self.latest = self.read()
            self.rows.append(self.latest.to_dict())

    def _goes_well(self, what: str, measure: Callable[[], None]) -> bool:
        """Whether it does. Where not, a warning says why: an error from a step hook would end the training."""
        try:
            measure()
        except (RuntimeError, ValueError, NotImplementedError, TypeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            warnings.warn(
                f"LRMonitor: the {what} failed after update {self.step} ({kind_and_line_of(error)}) and are not "
                "measured any more; the training goes on",
                RuntimeWarning,
                stacklevel=callers_level(),
            )
            return False
        return True

    def _follow(self) -> None:
        """Watch what is trained now: on the way parameters are frozen, or unfrozen and given to the optimizer."""
        try:
            watched, left_out = trained_parameters(self.model, self._optimizer, real_only=True)
        except ValueError:  # none at the moment: nothing moves
            return
        before = self._sums.parameters
        if list(map(id, watched.values())) == list(map(id, before.values())):
            return
        unused = {name: reason for name, reason in self.left_out.items() if name in before and name in watched}
        self.left_out = left_out | unused
        self._sums.watch(watched)
        self._probes.clear()  # they are of other parameters
        self._stiffness_is_old = True

    def _stiffness_now(self) -> Stiffness:
        assert self.loss_fn is not None
        self._stiffness_is_old = False
        split, seed = self._options["split"], self._seed
        return Stiffness(self.model, self.loss_fn, self._stiffness_batches, self._optimizer, split=split, seed=seed)

    def _measure(self) -> None:
        if self._stiffness_is_old:
            self._stiffness = self._stiffness_now()
        assert self._stiffness is not None
        self._limit, self._limit_step = self._stiffness.measure(), self.step
        self._weight_norm = self._stiffness.weight_norm()

    def _probe(self) -> None:
        assert self.loss_fn is not None
        index = self.step // self.every - 1
        pair = 2 * index % len(self._batches)
        a, b = self._batches[pair], self._batches[pair + 1]
        previous = self._sums.previous
        found = probe(self.model, self.loss_fn, a, b, previous=previous, seed=self._seed + index, **self._options)
        self._probes.append(found)


def _check(
    every: int,
    probes: int,
    loss_fn: LossFunction | None,
    batches: Iterable[Any] | None,
    split: Split | None,
    method: str,
    eigenvalues_every: int | None,
) -> None:
    if eigenvalues_every is not None and (eigenvalues_every < 1 or batches is None):
        raise ValueError(
            f"eigenvalues_every is {eigenvalues_every} with {'no' if batches is None else 'some'} probe_batches; "
            "allowed are integers from 1 (updates between measurements) where there are probe batches, or None"
        )
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, allowed are {', '.join(map(repr, METHODS))}")
    if every < 1:
        raise ValueError(f"every is {every}, allowed are integers from 1 (updates between readings); 50 is usual")
    if probes < MINIMUM_PROBES:
        raise ValueError(
            f"probes is {probes}, at least {MINIMUM_PROBES} are needed for a standard error; make `every` smaller for "
            "earlier estimates"
        )
    if batches is not None and loss_fn is None:
        raise ValueError("probe_batches need the loss function to probe with, got loss_fn=None; pass it")
    if batches is None and (loss_fn is not None or split is not None):
        raise ValueError(
            "loss_fn and split serve the probes alone, got no probe_batches; pass some, or leave these out to watch "
            "the paper's estimate only"
        )


def _take(batches: Iterable[Any], count: int) -> list[Any]:
    """The first `count` batches, with all random states left as they were."""
    with preserved(LoaderOrder(batches), *stateful_loaders(batches).values()):
        kept = list(islice(batches, count))
    if len(kept) < count:
        raise ValueError(
            f"probe_batches: got {len(kept)} batches, {count} are needed (two a probe, so that their noise is "
            "independent); pass more or smaller batches, and a re-iterable where an iterator is used up"
        )
    return kept


def _counted(optimizer: Any) -> Optimizer:
    """The optimizer that makes the updates: a wrapper's own steps may be none, or not be hooked."""
    try:
        return counted_optimizer(torch_optimizer(optimizer))
    except TypeError as error:
        raise ValueError(f"optimizer: {error}") from None


def _settings(optimizer: Optimizer) -> tuple[float, float, float, bool]:
    """LR, momentum, dampening and whether the momentum is Nesterov's, of the first group.

    Momentum is SGD's and RMSprop's, or the first of Adam's betas; 0 where there is neither. Betas are of averages,
    so they are their own dampening; SGD dampens only where it has a momentum.
    """
    group = optimizer.param_groups[0]
    if "momentum" in group:
        momentum = float(group["momentum"])
        dampening = float(group.get("dampening", 0.0)) if momentum else 0.0
    else:
        momentum = dampening = float(group.get("betas", (0.0,))[0])
    return float(group["lr"]), momentum, dampening, bool(group.get("nesterov", False))
