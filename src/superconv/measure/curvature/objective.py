"""The mean loss over fixed batches as a function of a model's parameters: value, gradient, Hessian-vector product."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...data.moving import move
from ...double import double
from ...error_lines import line_of
from ...full_memory import is_out_of_memory
from ...models.synchronised import statistics_of_this_rank
from ...restore.buffers import buffers_restore
from ...restore.kept import Restore, nothing
from ...restore.preserve import preserved
from ...restore.random_states import seed_random_states
from ...restore.sharded import refuse_sharded
from ...task.loss_function import LossFunction, check_no_class, loss_module
from ...training.batch_source import Split, call_model, device_of, pair, sample_count
from ...training.distributed import inner_module
from ...training.forward_only import ForwardOnly

Method = Literal["finite_difference", "exact"]
METHODS = ("finite_difference", "exact")
COMPLEX = "complex: a real Hessian is not defined"
SPARSE = "its gradient is sparse; make the layer with sparse=False"
Vector = list[Tensor]
"""One tensor per parameter, in the order of `BatchObjective.names`."""

# A finite difference moves the parameters by this share of their norm, times sqrt(eps): 1.2e-4 in float32. Measured
# between 1e-6 and 1e-2 on nine networks: at 1e-3 fitted networks are no longer quadratic (Rayleigh quotients off by up
# to 9x); below 3e-5 rounding and kinks of ReLU and max-pooling grow. One share serves both forms.
SHARE_OF_ROOT_EPS = 1 / 3


class BatchObjective:
    """f(theta) = sum_b n_b loss_b(theta) / sum_b n_b: mean loss over fixed batches b of n_b samples, at the parameters.

    A deterministic function: the model runs in the mode it is in (BatchNorm in training mode normalises by each batch;
    its products are then those of the micro-batches, not of their union), and every pass over batch b starts from the
    same random state and buffers, so dropout masks do not change between calls.

    Every method leaves the model, and a loss that is a module, as they were, bit for bit: parameters, buffers, `.grad`,
    flags; and all random states; after an exception too. No graph outlives a call. The present parameters are read at
    every call. Call it between updates, not between a forward pass and its backward pass: writing the parameters back
    invalidates a graph that holds them.

    Args:
        model: a module; one wrapped in DistributedDataParallel is unwrapped, and each rank sees its own batches.
        loss_fn: loss_fn(outputs, targets), the mean over the batch's samples, a scalar.
        batches: a list of batches; each counts by its number of samples.
        split: batch -> (inputs, targets); by default a batch is that pair.
        seed: of the random state before each pass.
    Raises: ValueError: batches that cannot be passed over twice, none, or empty ones; no trainable parameter;
        parameters that are sharded over ranks. From the methods: a loss that is no scalar tensor or does not depend on
        the model. TypeError: a loss that is a class.
    Example:
        >>> line = nn.Linear(1, 1, bias=False)
        >>> batch = torch.ones(4, 1), torch.zeros(4, 1)
        >>> objective = BatchObjective(line, nn.functional.mse_loss, [batch])
        >>> [round(float(hv), 3) for hv in objective.product([torch.ones(1, 1)], method="exact")]
        [2.0]
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        batches: Sequence[Any],
        *,
        split: Split | None = None,
        seed: int = 0,
    ) -> None:
        if hasattr(batches, "__next__") or not isinstance(batches, Sequence):
            raise ValueError(
                f"batches: got a {type(batches).__name__}, allowed are lists of batches, because every product passes "
                "over the same ones again; take some: list(itertools.islice(loader, 4))"
            )
        if not batches:
            raise ValueError("batches: got none, at least one is needed; pass [batch]")
        check_no_class("loss_fn", loss_fn)
        self.model, self.loss_fn, self.seed = inner_module(model), loss_fn, seed
        refuse_sharded(self.model, "curvature")
        loss = loss_module(loss_fn)
        self._modules = [self.model] if loss is None else [self.model, loss]
        self._forward_only = ForwardOnly(*self._modules)
        self._split, self._batches = split or pair, list(batches)
        self.sizes = tuple(self._size(batch) for batch in self._batches)
        """Number of samples of every batch."""
        self._left_out: dict[str, str] = {}
        self._parameters = self._trainable()
        self._taking_part_is_known = False

    def _size(self, batch: Any) -> int:
        inputs, targets = self._split(batch)
        size = sample_count(targets, inputs)
        if size < 1:
            raise ValueError("batches: got one without samples, each needs at least one; leave it out")
        return size

    def _trainable(self) -> dict[str, nn.Parameter]:
        found = {}
        for name, parameter in self.model.named_parameters():
            if not parameter.requires_grad:
                self._left_out[name] = "frozen: requires_grad is False"
            elif parameter.is_complex():
                self._left_out[name] = COMPLEX
            else:
                found[name] = parameter
        if not found:
            raise ValueError(f"no parameter to differentiate by: {self._reasons()}; set requires_grad on some")
        return found

    def _reasons(self) -> str:
        shown = [f"{name} ({reason})" for name, reason in self._left_out.items()]
        return ", ".join(shown[:6]) + (", ..." if len(shown) > 6 else "") or "the model has none"

    # ---- what it is a function of ---------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that take part. Asked before any gradient was taken, it takes one."""
        return tuple(self._known())

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The model's own tensors, in the order of `names`."""
        return list(self._known().values())

    @property
    def left_out(self) -> dict[str, str]:
        """Parameters that do not take part, each with the reason."""
        self._known()
        return dict(self._left_out)

    def _known(self) -> dict[str, nn.Parameter]:
        if not self._taking_part_is_known:
            self.gradient()
        return self._parameters

    def _learn(self, gradients: Sequence[Tensor | None]) -> Vector:
        """Leave out what the first gradient shows to be unused or sparse; the others' gradients."""
        for (name, _), gradient in zip(list(self._parameters.items()), gradients, strict=True):
            if gradient is None:
                self._left_out[name] = "unused: the loss does not depend on it"
            elif gradient.layout != torch.strided:
                self._left_out[name] = SPARSE
        kept = [gradient for gradient in gradients if gradient is not None and gradient.layout == torch.strided]
        if not kept:
            raise ValueError(f"no parameter to differentiate by: {self._reasons()}")
        self._parameters = {name: p for name, p in self._parameters.items() if name not in self._left_out}
        self._taking_part_is_known = True
        return kept

    # ---- value and derivatives ------------------------------------------------------------------------------------

    def loss(self) -> float:
        """f at the present parameters: one forward pass over the batches."""
        total = 0.0
        with preserved(*self._modules):
            again = self._buffers()
            for index, size in enumerate(self.sizes):
                total += float(self._forward_only(partial(self._forward, index))) * size
                again()
        return total / sum(self.sizes)

    def gradient(self) -> Vector:
        """Its gradient: one forward and backward pass over the batches."""
        with preserved(*self._modules):
            return self._gradient()

    def batch_gradient(self, index: int) -> Vector:
        """The gradient of batch `index` alone (its mean loss); in the sum over batches it counts `sizes[index]`."""
        self._known()
        with preserved(*self._modules):
            return _filled(self._backward(index), self.parameters)

    def product(
        self, v: Sequence[Tensor], method: Method = "finite_difference", gradient: Sequence[Tensor] | None = None
    ) -> Vector:
        """The Hessian H of f at the present parameters, times `v`.

            exact         d/dtheta (grad f(theta) . v)                              backward through the backward pass
            central       (grad f(theta + h v) - grad f(theta - h v)) / 2h          two gradients
            one-sided     (grad f(theta + h v) - gradient) / h                      one gradient
            h = sqrt(eps) / 3 |theta| / |v|         eps: rounding of the parameters' type; |theta| = 0 counts as 1

        Without a gradient the finite difference is central: a one-sided one would need two gradients as well, and its
        error is of order h, not h^2. With a gradient it is one-sided: a single gradient more.

        Cost in training steps (ResNet-56, batch 128, one CPU thread of a shared machine, n = 7): one-sided 1.07 (95%
        interval .90 to 1.15), central 2.1, exact 4.6.

        Accuracy in float32 (against exact products in float64): v.Hv / v.v for the top eigenvector and the gradient
        is off by at most 0.5% one-sided and 0.05% central on smooth networks (tanh). With ReLU and max-pooling it is
        off by percents, at worst 33% and 60% (nine networks), and the vector Hv itself by as much as the largest
        eigenvalue: the difference crosses kinks, each a jump of the gradient that the exact product does not see.
        These jumps are curvature of the loss too, but few samples show them as noise, of order (samples x h)^(-1/2).
        In float64 a kink within h is rare, and the difference agrees with the exact product.

        Args:
            v: as `gradient()` returns it; its length does not matter to the finite differences.
            method: "finite_difference" or "exact".
            gradient: `gradient()` at these parameters, for a one-sided difference; an error with "exact", which
                would have no use for it.
        Returns: one tensor per parameter. Zeros where v is zero.
        Raises: ValueError: v or gradient of other shapes, a v that is not finite, an unknown method; an operation of
            the model that cannot be differentiated twice (exact).
        Reference: one-sided: Martens 2010, Deep learning via Hessian-free optimization, Sec. 3; exact: Pearlmutter
            1994, Fast exact multiplication by the Hessian, Neural Computation 6(1).
        """
        if method not in METHODS:
            raise ValueError(f"method: got {method!r}, allowed are {', '.join(map(repr, METHODS))}")
        if method == "exact" and gradient is not None:
            raise ValueError("gradient: it serves finite differences only; leave it out with method='exact'")
        self._check(v, "v")
        if gradient is not None:
            self._check(gradient, "gradient")
        length = _norm(v)
        if not math.isfinite(length):
            raise ValueError(f"v: its norm is {length}, it must be finite")
        if length == 0.0:
            return [torch.zeros_like(parameter) for parameter in self.parameters]
        with preserved(*self._modules) as rewind:
            if method == "exact":
                return self._exact(v)
            return self._difference(v, length, gradient, rewind)

    def _check(self, vector: Sequence[Tensor], name: str) -> None:
        shapes = [tuple(tensor.shape) for tensor in vector]
        allowed = [tuple(parameter.shape) for parameter in self.parameters]
        if shapes != allowed:
            raise ValueError(f"{name}: got shapes {shapes[:6]}, allowed is one tensor per name: {allowed[:6]}")

    def _step(self, length: float) -> float:
        size = _norm([parameter.detach() for parameter in self.parameters]) or 1.0
        coarsest = max(torch.finfo(parameter.dtype).eps for parameter in self.parameters)
        return SHARE_OF_ROOT_EPS * math.sqrt(coarsest) * size / length

    def _difference(
        self, v: Sequence[Tensor], length: float, gradient: Sequence[Tensor] | None, rewind: Restore
    ) -> Vector:
        step = self._step(length)
        start = [parameter.detach().clone() for parameter in self.parameters]
        ahead = self._moved_gradient(start, v, step)
        if gradient is not None:
            behind = list(gradient)
        else:
            rewind()  # both points with the same buffers
            behind = self._moved_gradient(start, v, -step)
        torch._foreach_sub_(ahead, behind)
        torch._foreach_mul_(ahead, 1.0 / step if gradient is not None else 0.5 / step)
        return ahead

    @torch.no_grad()
    def _moved_gradient(self, start: list[Tensor], v: Sequence[Tensor], step: float) -> Vector:
        """The gradient at start + step v; `preserved` puts the parameters back."""
        parameters: list[Tensor] = list(self.parameters)
        torch._foreach_copy_(parameters, start)
        torch._foreach_add_(parameters, list(v), alpha=step)
        return self._gradient()

    # ---- passes; the caller has put `preserved` around ------------------------------------------------------------

    def _buffers(self) -> Restore:
        """What brings buffers back for the next batch: a loss may be centred by an average that every pass moves.

        Not before the pass back, whose graph may hold them.
        """
        return buffers_restore(*self._modules) if len(self.sizes) > 1 else nothing

    def _forward(self, index: int) -> Tensor:
        inputs, targets = self._split(self._batches[index])
        device = device_of(self.model)
        seed_random_states(self.seed + index)
        with statistics_of_this_rank(self.model):  # every rank has its own batches, and perhaps not as many
            outputs = call_model(self.model, move(inputs, device))
        loss = self.loss_fn(outputs, move(targets, device))
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise ValueError(f"loss_fn must return one number per batch, a scalar tensor; got {got}; take its mean")
        return loss.reshape(())

    def _differentiable(self, index: int) -> Tensor:
        loss = self._forward(index)
        if not loss.requires_grad:
            raise ValueError(
                "the loss does not depend on the model's trainable parameters; check that loss_fn uses the outputs "
                "and that nothing in the model detaches them"
            )
        return loss

    @torch.enable_grad()
    def _backward(self, index: int) -> Sequence[Tensor | None]:
        inputs = list(self._parameters.values())
        return torch.autograd.grad(self._differentiable(index), inputs, allow_unused=True)

    def _gradient(self) -> Vector:
        total: list[Tensor | None] = [None] * len(self._parameters)
        again = self._buffers()
        for index, size in enumerate(self.sizes):
            share = size / sum(self.sizes)
            for place, gradient in enumerate(self._backward(index)):
                if gradient is not None:
                    held = total[place]
                    total[place] = gradient * share if held is None else held.add_(gradient, alpha=share)
            again()
        return _filled(total, self.parameters) if self._taking_part_is_known else self._learn(total)

    @torch.enable_grad()
    @sdpa_kernel(SDPBackend.MATH)  # the fused kernels of attention have no second derivative
    def _exact(self, v: Sequence[Tensor]) -> Vector:
        parameters = self.parameters
        total = [torch.zeros_like(parameter) for parameter in parameters]
        again = self._buffers()
        for index, size in enumerate(self.sizes):
            first = torch.autograd.grad(self._differentiable(index), parameters, create_graph=True, allow_unused=True)
            pairs = zip(first, v, strict=True)
            along = [(g * part).sum() for g, part in pairs if g is not None and g.requires_grad]
            if not along:  # linear in every parameter
                again()
                continue
            with _second_derivative():
                if index == 0:
                    _refuse_cut_graphs(along)
                second = torch.autograd.grad(torch.stack(along).sum(), parameters, allow_unused=True)
            for held, part in zip(total, second, strict=True):
                if part is not None:
                    held.add_(part, alpha=size / sum(self.sizes))
            again()
        return [held.detach() for held in total]


@contextmanager
def _second_derivative() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(
            f"the model cannot be differentiated twice ({line_of(error)}); use method='finite_difference' "
            "where there is a choice, and leave out eigenvalues, which need exact products"
        ) from error


def _refuse_cut_graphs(outputs: Sequence[Tensor]) -> None:
    """Raise where a custom function is differentiable once only: torch would skip it in silence, as if it were linear.

    autograd.grad runs only nodes that lead to its inputs, and the node that would raise leads nowhere.
    """
    seen, waiting = set(), [output.grad_fn for output in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name().endswith("::Error"):
            raise RuntimeError("a custom autograd function is marked once_differentiable")
        waiting += [child for child, _ in node.next_functions]


def _filled(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Vector:
    """Zeros where this batch does not reach a parameter that another one reaches."""
    return [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]


def _norm(vector: Sequence[Tensor]) -> float:
    return float(torch.stack([double(norm) for norm in torch._foreach_norm(list(vector))]).norm())
