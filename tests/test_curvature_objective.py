import copy
import doctest
import gc
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import superconv as sc
from superconv.measure.curvature import objective
from superconv.measure.curvature.objective import BatchObjective
from superconv.models.batch_norm import NormalisedBatchNorm2d


def smooth_net(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2),
        NormalisedBatchNorm2d(3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(27, 4),
    )
    return net.to(dtype)


def batch(samples: int = 12, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(samples, 1, 7, 7, generator=generator, dtype=dtype),
        torch.randint(4, (samples,), generator=generator),
    )


def like(vector: list[Any], seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in vector]


def flat(vector: list[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in vector])


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


def dense_hessian(model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(gradient, Hessian) over all parameters, by torch.func on one vector: another way through autograd."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    start = flat([parameter.detach() for parameter in model.parameters()])
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def loss(vector: Tensor) -> Tensor:
        parts = vector.split([shape.numel() for shape in shapes])
        weights = {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        torch.manual_seed(0)
        return F.cross_entropy(functional_call(model, {**weights, **buffers}, (inputs,)), targets)

    gradient = torch.autograd.functional.jacobian(loss, start)
    return gradient, torch.autograd.functional.hessian(loss, start)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_gradient_and_products_equal_the_dense_ones_with_batch_norm_and_dropout(training: bool) -> None:
    model, (inputs, targets) = smooth_net().train(training), batch()
    gradient, hessian = dense_hessian(model, inputs, targets)
    objective = BatchObjective(model, F.cross_entropy, [(inputs, targets)])
    own = objective.gradient()
    assert torch.allclose(flat(own), gradient, rtol=1e-10, atol=1e-14)
    v = like(own)
    expected = hessian @ flat(v)
    scale = expected.norm()
    assert (flat(objective.product(v, method="exact")) - expected).norm() < 1e-9 * scale
    assert (flat(objective.product(v)) - expected).norm() < 1e-6 * scale
    assert (flat(objective.product(v, gradient=own)) - expected).norm() < 1e-6 * scale


def test_float32_differences_reach_the_accuracy_that_is_documented_for_smooth_networks() -> None:
    objective = BatchObjective(smooth_net(torch.float32), F.cross_entropy, [batch(64, torch.float32)])
    inputs, targets = batch(64, torch.float32)
    exact = BatchObjective(smooth_net(), F.cross_entropy, [(inputs.double(), targets)])
    gradient = objective.gradient()
    doubles = [part.double() for part in gradient]
    curvature = flat(exact.product(doubles, method="exact")) @ flat(doubles)
    one_sided = flat(objective.product(gradient, gradient=gradient)).double() @ flat(doubles)
    central = flat(objective.product(gradient)).double() @ flat(doubles)
    assert abs(one_sided / curvature - 1) < 0.005
    assert abs(central / curvature - 1) < 0.0005


def test_a_quadratic_is_differenced_exactly_and_the_length_of_v_does_not_matter() -> None:
    model = nn.Linear(3, 1, bias=False).double()
    inputs = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=torch.float64)
    objective = BatchObjective(model, lambda out, _: (out**2).mean(), [(inputs, torch.zeros(3))])
    for length in (1e-6, 1.0, 1e6):
        v = [torch.ones(1, 3, dtype=torch.float64) * length]
        expected = torch.tensor([[1.0, 4, 9]], dtype=torch.float64) * 2 / 3 * length
        assert torch.allclose(objective.product(v)[0], expected, rtol=1e-6)
        assert torch.allclose(objective.product(v, gradient=objective.gradient())[0], expected, rtol=1e-6)


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_products_over_micro_batches_weighted_by_size_equal_the_whole_batch(method: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(49, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    inputs, targets = batch(10)
    whole = BatchObjective(model, F.cross_entropy, [(inputs, targets)])
    parts = [(inputs[a:b], targets[a:b]) for a, b in ((0, 1), (1, 4), (4, 10))]
    micro = BatchObjective(model, F.cross_entropy, parts)
    v = like(whole.gradient())
    assert micro.sizes == (1, 3, 6)
    assert micro.loss() == pytest.approx(whole.loss(), rel=1e-12)
    assert relative_error(micro.gradient(), whole.gradient()) < 1e-12
    assert relative_error(micro.product(v, method=method), whole.product(v, method=method)) < 1e-6
    mean = [
        sum(n * part for n, part in zip(micro.sizes, tensors, strict=True)) / 10
        for tensors in zip(*(micro.batch_gradient(index) for index in range(3)), strict=True)
    ]
    assert relative_error(mean, whole.gradient()) < 1e-12


# ---- properties -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact", "finite_difference"])
def test_products_are_deterministic_symmetric_and_linear(method: Any) -> None:
    objective = BatchObjective(smooth_net(), F.cross_entropy, [batch(), batch(5, seed=3)])
    u, v = like(objective.parameters, 1), like(objective.parameters, 2)
    hu, hv = objective.product(u, method=method), objective.product(v, method=method)
    assert all(torch.equal(a, b) for a, b in zip(hu, objective.product(u, method=method), strict=True))
    tolerance = 1e-6 * float(flat(hu).norm() * flat(v).norm())
    assert float(flat(v) @ flat(hu)) == pytest.approx(float(flat(u) @ flat(hv)), abs=tolerance)
    both = objective.product([2 * a - b for a, b in zip(u, v, strict=True)], method=method)
    assert relative_error(both, [2 * a - b for a, b in zip(hu, hv, strict=True)]) < 1e-6


def test_dropout_masks_are_fixed_by_the_seed_and_differ_between_batches() -> None:
    model, one = nn.Dropout(0.5), (torch.ones(4, 100), torch.zeros(4))
    scaled = nn.Sequential(nn.Linear(100, 100), model)
    seen: list[Tensor] = []

    def loss(outputs: Tensor, _: Tensor) -> Tensor:
        seen.append(outputs.detach() == 0)
        return outputs.mean()

    objective = BatchObjective(scaled, loss, [one, one])
    objective.loss(), objective.gradient()
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])
    other = BatchObjective(scaled, loss, [one], seed=7)
    other.loss()
    assert not torch.equal(seen[0], seen[4])


def test_zero_and_linear_directions_give_zeros() -> None:
    model = nn.Linear(3, 2)
    objective = BatchObjective(model, lambda out, _: out.mean(), [(torch.ones(4, 3), torch.zeros(4))])
    zeros = [torch.zeros_like(parameter) for parameter in objective.parameters]
    for found in (objective.product(zeros), objective.product(like(zeros), method="exact")):
        assert [part.count_nonzero().item() for part in found] == [0, 0]


def test_parameters_at_zero_still_have_finite_products() -> None:
    model = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(model.weight)
    objective = BatchObjective(model, lambda out, _: (out**2).mean(), [(torch.eye(3), torch.zeros(3))])
    assert torch.allclose(objective.product([torch.ones(1, 3)])[0], torch.full((1, 3), 2 / 3), rtol=1e-3)


def test_the_present_parameters_are_read_at_every_call() -> None:
    model = nn.Linear(1, 1, bias=False)
    objective = BatchObjective(model, lambda out, _: (out**3).mean(), [(torch.ones(1, 1), torch.zeros(1))])
    for value in (1.0, 2.0):
        nn.init.constant_(model.weight, value)
        assert objective.loss() == pytest.approx(value**3)
        assert float(objective.product([torch.ones(1, 1)], method="exact")[0]) == pytest.approx(6 * value)


def test_works_under_no_grad() -> None:
    objective = BatchObjective(smooth_net(), F.cross_entropy, [batch()])
    with torch.no_grad():
        v = objective.gradient()
        assert float(flat(objective.product(v, method="exact")).norm()) > 0
    assert not any(part.requires_grad for part in v)


# ---- everything as it was -------------------------------------------------------------------------------------------


def fingerprint(model: nn.Module) -> list[Any]:
    return [
        *((id(p), p.detach().clone(), p.requires_grad, id(p.grad), p.grad) for p in model.parameters()),
        *((id(b), b.clone()) for b in model.buffers()),
        *(module.training for module in model.modules()),
        torch.get_rng_state(),
        random.getstate(),
        str(np.random.get_state()),
    ]


def same(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)


CALLS: dict[str, Callable[[BatchObjective, list[Tensor]], Any]] = {
    "loss": lambda objective, v: objective.loss(),
    "gradient": lambda objective, v: objective.gradient(),
    "batch gradient": lambda objective, v: objective.batch_gradient(0),
    "central": lambda objective, v: objective.product(v),
    "one-sided": lambda objective, v: objective.product(v, gradient=v),
    "exact": lambda objective, v: objective.product(v, method="exact"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fails", [None, RuntimeError, KeyboardInterrupt])
def test_the_model_and_the_random_states_are_as_they_were(call: str, fails: type[BaseException] | None) -> None:
    model = smooth_net(torch.float32)
    F.cross_entropy(model(batch(dtype=torch.float32)[0]), batch()[1]).backward()
    model[0].bias.grad = None
    model[1].eval()
    passes = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        passes.append(1)
        if fails is not None and len(passes) > 3:
            raise fails
        return F.cross_entropy(outputs, targets)

    objective = BatchObjective(model, loss, [batch(dtype=torch.float32), batch(5, torch.float32)])
    v = like(objective.parameters)
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    before = fingerprint(model)
    if fails is None:
        CALLS[call](objective, v)
    else:
        passes[:] = [1] * (2 if call != "batch gradient" else 3)  # in the last pass: the parameters are moved
        with pytest.raises(fails):
            CALLS[call](objective, v)
    assert same(before, fingerprint(model))
    assert all(same(gradients[name], p.grad) for name, p in model.named_parameters())


def test_training_with_probes_is_bit_identical_to_training_without() -> None:
    finals = []
    for probing in (False, True):
        model = smooth_net(torch.float32)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        objective = BatchObjective(model, F.cross_entropy, [batch(dtype=torch.float32, seed=9)])
        for step in range(4):
            inputs, targets = batch(dtype=torch.float32, seed=step)
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            if probing:
                objective.product(objective.gradient())
                objective.product(like(objective.parameters), method="exact")
            optimizer.step()
        finals.append({name: value.clone() for name, value in model.state_dict().items()})
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_memory_is_flat_over_100_calls() -> None:
    objective = BatchObjective(smooth_net(), F.cross_entropy, [batch(3)])
    v = objective.gradient()

    def tensors() -> int:
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    gc.collect()
    before = tensors()
    for index in range(100):
        objective.product(v, method=("exact", "finite_difference")[index % 2])  # type: ignore[arg-type]
    assert tensors() == before  # without a collection: nothing waits in a cycle


# ---- what takes part ------------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """A used, a frozen, an unused, a complex and a sparse parameter, and two names for one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.frozen, self.unused = nn.Linear(3, 2), nn.Linear(2, 2), nn.Linear(2, 2, bias=False)
        self.frozen.requires_grad_(False)
        self.complex = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.table = nn.Embedding(4, 2, sparse=True)
        self.tied = self.used

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.used(x)) * self.complex.abs() + self.table(torch.tensor([1]))


def test_what_cannot_take_part_is_left_out_and_named() -> None:
    objective = BatchObjective(Odd(), F.cross_entropy, [(torch.ones(2, 3), torch.tensor([0, 1]))] * 2)
    assert objective.names == ("used.weight", "used.bias")
    reasons = {name: reason.split()[0] for name, reason in objective.left_out.items()}
    assert reasons == {
        "frozen.weight": "frozen:", "frozen.bias": "frozen:", "complex": "complex:", "unused.weight": "unused:",
        "table.weight": "its",
    }  # fmt: skip
    assert [len(v) for v in (objective.gradient(), objective.product(like(objective.parameters), "exact"))] == [2, 2]


def test_a_parameter_that_only_one_batch_reaches_takes_part() -> None:
    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.a**2 * x if x.sum() > 0 else self.b**2 * x

    batches = [(torch.ones(1), torch.zeros(1)), (-torch.ones(3), torch.zeros(3))]
    objective = BatchObjective(Either(), lambda out, _: out.mean(), batches)
    assert objective.names == ("a", "b")
    assert [float(g) for g in objective.gradient()] == pytest.approx([0.5, -1.5])
    assert [float(g) for g in objective.batch_gradient(0)] == [2.0, 0.0]
    ones = [torch.ones(1), torch.ones(1)]
    assert [float(g) for g in objective.product(ones, method="exact")] == pytest.approx([0.5, -1.5])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: BatchObjective(nn.Linear(1, 1), F.mse_loss, []), "got none"),
        (lambda: BatchObjective(nn.Linear(1, 1), F.mse_loss, iter([])), "list_iterator.*islice"),  # type: ignore[arg-type]
        (lambda: BatchObjective(nn.Flatten(), F.mse_loss, [(torch.ones(1), torch.ones(1))]), "the model has none"),
        (
            lambda: BatchObjective(nn.Linear(1, 1).requires_grad_(False), F.mse_loss, [(torch.ones(1), torch.ones(1))]),
            "weight .frozen",
        ),
        (lambda: BatchObjective(nn.Linear(1, 1), F.mse_loss, [torch.ones(1)]), "pair"),
        (lambda: BatchObjective(nn.Linear(1, 1), F.mse_loss, [(torch.ones(0, 1), torch.ones(0))]), "without samples"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_words(build: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        build()


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda out, _: torch.ones(()), "does not depend on the model"),
        (lambda out, _: out.detach().mean(), "does not depend on the model"),
        (lambda out, _: out, r"scalar tensor; got a tensor of shape \(4, 1\)"),
        (lambda out, _: 1.0, "got a float"),
    ],
)
def test_bad_losses_are_refused_in_words(loss: Any, says: str) -> None:
    objective = BatchObjective(nn.Linear(1, 1), loss, [(torch.ones(4, 1), torch.ones(4, 1))])
    with pytest.raises(ValueError, match=says):
        objective.gradient()


def test_bad_vectors_and_methods_are_refused_in_words() -> None:
    objective = BatchObjective(nn.Linear(2, 1), F.mse_loss, [(torch.ones(4, 2), torch.ones(4, 1))])
    v = objective.gradient()
    with pytest.raises(ValueError, match="'exact'"):
        objective.product(v, method="hvp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one tensor per name"):
        objective.product(v[:1])
    with pytest.raises(ValueError, match="gradient: got shapes"):
        objective.product(v, gradient=v[:1])
    with pytest.raises(ValueError, match="leave it out"):
        objective.product(v, method="exact", gradient=v)
    with pytest.raises(ValueError, match="finite"):
        objective.product([part * float("nan") for part in v])


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * ctx.saved_tensors[0] * gradient


def test_what_cannot_be_differentiated_twice_says_so_and_still_has_differences() -> None:
    model = nn.Linear(2, 1, bias=False)
    twin = copy.deepcopy(model)
    data = [(torch.tensor([[1.0, 2.0]]), torch.zeros(1))]
    objective = BatchObjective(model, lambda out, _: (Once.apply(out) ** 2).mean(), data)
    v = [torch.ones(1, 2)]
    with pytest.raises(ValueError, match="use method='finite_difference'"):
        objective.product(v, method="exact")
    exact = BatchObjective(twin, lambda out, _: (out**4).mean(), data).product(v, method="exact")
    assert relative_error(objective.product(v), exact) < 1e-2


def test_named_models_run_in_their_own_mode() -> None:
    model = sc.models.build_model("lenet-bn", 10, seed=0)
    objective = BatchObjective(model, F.cross_entropy, [(torch.randn(8, 1, 28, 28), torch.arange(8))])
    training = objective.loss()
    model.eval()
    assert objective.loss() != training


def test_the_docstrings_examples_run() -> None:
    outcome = doctest.testmod(objective)
    assert outcome.attempted > 0
    assert outcome.failed == 0


class Failing(torch.autograd.Function):
    """x, which can be differentiated `times` - 1 times; then `fail` is called."""

    @staticmethod
    def forward(ctx, x, times, fail):
        ctx.times, ctx.fail = times, fail
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if ctx.times == 1:
            ctx.fail()
        return Failing.apply(gradient, ctx.times - 1, ctx.fail), None, None


def say_nothing() -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("fail", "error", "words"),
    [
        (lambda: torch.empty(10**15), RuntimeError, "can't allocate memory"),  # is no lack of the model
        (say_nothing, ValueError, r"cannot be differentiated twice \(NotImplementedError\)"),
    ],
)
def test_a_second_derivative_that_fails_says_why(fail, error, words):
    model = nn.Linear(3, 2)
    batch = torch.ones(4, 3), torch.zeros(4)
    objective = BatchObjective(model, lambda outputs, _: Failing.apply(outputs, 2, fail).square().mean(), [batch])
    objective.gradient()
    with pytest.raises(error, match=words):
        objective.product([torch.ones_like(parameter) for parameter in model.parameters()], method="exact")
