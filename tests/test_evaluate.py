import copy
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import superconv as sc
from superconv.training.evaluate import _no_lone_sample, check_metric


def setup() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Dropout(0.5), nn.Linear(7, 3))
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2)
    inputs, targets = torch.randn(33, 5) + 1, torch.randint(3, (33,))
    return model, list(zip(inputs.split(16), targets.split(16), strict=True))  # 16, 16, 1


def joined(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_weighted_by_true_sample_counts() -> None:  # pitfall 14
    model, batches = setup()
    result = sc.evaluate(model, batches, F.cross_entropy)
    inputs, targets = joined(batches)
    model.eval()
    outputs = model(inputs)
    assert result.samples == 33
    assert result.loss == pytest.approx(F.cross_entropy(outputs, targets).item(), rel=1e-6)
    assert result.metric == pytest.approx((outputs.argmax(1) == targets).float().mean().item())


def test_a_metric_may_be_a_mean_or_a_value_per_sample() -> None:
    model, batches = setup()
    values = [
        sc.evaluate(model, batches, F.cross_entropy, metric=metric).metric
        for metric in (
            "accuracy",
            lambda o, t: (o.argmax(1) == t).float().mean(),
            lambda o, t: o.argmax(1) == t,
            lambda o, t: (o.argmax(1) == t).numpy(),
            lambda o, t: (o.argmax(1) == t).tolist(),
            lambda o, t: (o.argmax(1) == t).numpy().mean(),
        )
    ]
    assert values == pytest.approx([values[0]] * 6)
    with pytest.raises(ValueError, match=r"\(5,\) for 16 samples"):
        sc.evaluate(model, batches, F.cross_entropy, metric=lambda o, t: torch.ones(5))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ({"accuracy": 1.0}, "the metric returned a dict; a metric is one number"),
        (None, "the metric returned a NoneType"),
        ("good", "the metric returned a str"),
        ((torch.ones(16), torch.ones(16)), "a tuple that does not hold one number a sample"),
    ],
)
def test_a_metric_that_returns_no_numbers_is_one_sentence(returned: object, words: str) -> None:
    model, batches = setup()
    with pytest.raises(ValueError, match=words):
        sc.evaluate(model, batches, F.cross_entropy, metric=lambda o, t: returned)


def test_batch_statistics_are_those_of_each_batch_and_a_lone_sample_joins() -> None:
    model, batches = setup()
    result = sc.evaluate(model, batches, F.cross_entropy, evaluate_with="batch")
    twin = copy.deepcopy(model).train()
    twin[3].eval()
    first = batches[0]
    second = joined(batches[1:])
    total = sum(F.cross_entropy(twin(x), y).item() * len(y) for x, y in (first, second))
    assert result.samples == 33
    assert result.loss == pytest.approx(total / 33, rel=1e-6)


def test_reestimated_statistics_are_the_average_over_the_training_batches() -> None:
    model, batches = setup()
    training = [(torch.randn(16, 5) * 2, torch.zeros(16, dtype=torch.long)) for _ in range(3)]
    result = sc.evaluate(model, batches, F.cross_entropy, evaluate_with="reestimated", training_batches=training)
    twin = copy.deepcopy(model).eval()
    hidden = [twin[0](x).detach() for x, _ in training]
    twin[1].running_mean = torch.stack([h.mean(0) for h in hidden]).mean(0)
    twin[1].running_var = torch.stack([h.var(0) for h in hidden]).mean(0)
    inputs, targets = joined(batches)
    assert result.loss == pytest.approx(F.cross_entropy(twin(inputs), targets).item(), rel=1e-5)
    with pytest.raises(ValueError, match="needs training batches"):
        sc.evaluate(model, batches, F.cross_entropy, evaluate_with="reestimated")


@pytest.mark.parametrize("how", ["batch", "reestimated", "running"])
def test_leaves_buffers_flags_and_random_states_alone(how: str) -> None:
    model, batches = setup()
    model[1].eval()
    model.register_buffer("hidden", torch.ones(1), persistent=False)
    loader = torch.utils.data.DataLoader([(x[0], y[0]) for x, y in batches], batch_size=2, shuffle=True)
    before = {name: value.clone() for name, value in model.named_buffers()}
    flags, momentum, rng = [m.training for m in model.modules()], model[1].momentum, torch.get_rng_state()
    sc.evaluate(model, loader, F.cross_entropy, evaluate_with=how, training_batches=batches[:2])
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())
    assert [m.training for m in model.modules()] == flags
    assert (model[1].momentum, model[1].track_running_stats) == (momentum, True)
    assert torch.equal(torch.get_rng_state(), rng)

    def explode(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        sc.evaluate(model, batches, explode, evaluate_with=how, training_batches=batches[:2])
    assert [m.training for m in model.modules()] == flags
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())


def test_a_frozen_norm_keeps_its_running_statistics() -> None:
    model, batches = setup()
    model.train()
    model[1].eval()
    results = [sc.evaluate(model, batches, F.cross_entropy, evaluate_with=how).loss for how in ("batch", "running")]
    assert results[0] == pytest.approx(results[1])


def test_empty_data_is_named() -> None:
    with pytest.raises(ValueError, match="evaluation data is empty"):
        sc.evaluate(setup()[0], [], F.cross_entropy)


def test_an_iterator_that_was_used_up_is_named() -> None:
    model, batches = setup()
    once = iter(batches)
    sc.evaluate(model, once, F.cross_entropy)
    with pytest.raises(ValueError, match="re-iterable where this iterator was used up"):
        sc.evaluate(model, once, F.cross_entropy)


def test_trying_a_metric_leaves_an_iterator_whole_and_the_model_alone() -> None:
    model, batches = setup()
    before = copy.deepcopy(model.state_dict())
    model.train()
    model[1].eval()
    random_state = torch.get_rng_state()
    back = check_metric(model, iter(batches), metric="accuracy")
    assert len(list(back)) == len(batches)
    assert check_metric(model, batches, metric="accuracy") is batches
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [True, False, True, True, True]
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_metric_is_not_tried_where_persistent_workers_would_move() -> None:
    class Persistent(list):
        persistent_workers = True

        def __iter__(self):
            raise AssertionError("read")

    model, batches = setup()
    kept = Persistent(batches)
    assert check_metric(model, kept, metric="accuracy") is kept


@pytest.mark.parametrize("kind", ["sparse", "expanded"])
def test_the_metric_is_tried_on_models_with_sparse_or_expanded_buffers(kind: str) -> None:
    model, batches = setup()
    model.register_buffer("fixed", torch.eye(4).to_sparse() if kind == "sparse" else torch.ones(1).expand(4))
    before = model.fixed.to_dense().clone()
    assert check_metric(model, batches, metric="accuracy") is batches
    assert torch.equal(model.fixed.to_dense(), before)


class Both(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


NESTS = {
    "mapping": (lambda x, y: {"x": x, "y": y}, lambda batch: (batch["x"], batch["y"])),
    "nested": (lambda x, y: ((x,), {"labels": [y]}), lambda batch: (batch[0], batch[1]["labels"][0])),
    "named tuple": (Both, lambda batch: (batch.x, batch.y)),
}


@pytest.mark.parametrize("nest", NESTS)
def test_a_lone_sample_joins_in_any_nest(nest: str) -> None:
    model, batches = setup()
    make, split = NESTS[nest]
    expected = sc.evaluate(model, batches, F.cross_entropy, evaluate_with="batch")
    nests = [make(x, y) for x, y in batches]
    assert sc.evaluate(model, nests, F.cross_entropy, evaluate_with="batch", split=split) == expected


@pytest.mark.parametrize("nest", ["pair", *NESTS])
def test_a_lone_first_sample_joins_the_next_batch(nest: str) -> None:
    model, batches = setup()
    make, split = {**NESTS, "pair": (lambda x, y: (x, y), None)}[nest]
    first, second = batches[0], batches[1]
    expected = sc.evaluate(model, [joined([batches[2], first]), second], F.cross_entropy, evaluate_with="batch")
    lone_first = [make(x, y) for x, y in (batches[2], first, second)]
    assert sc.evaluate(model, lone_first, F.cross_entropy, evaluate_with="batch", split=split) == expected


def test_one_sample_alone_has_no_batch_statistics() -> None:
    model, batches = setup()
    with pytest.raises(ValueError, match=r"evaluate_with='batch': a batch of one sample.*evaluate on more samples"):
        sc.evaluate(model, batches[2:], F.cross_entropy, evaluate_with="batch")
    assert sc.evaluate(model, batches[2:], F.cross_entropy, evaluate_with="running").samples == 1


def test_a_lone_sample_that_does_not_fit_stands_alone() -> None:
    """Sequences are padded to the longest of their batch; without BatchNorm one sample is as good as any."""
    sizes = []

    def measure(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        sizes.append(len(targets))
        return targets

    batches = [(torch.zeros(4, 7), torch.ones(4)), (torch.zeros(1, 3), torch.ones(1))]
    result = sc.evaluate(nn.Identity(), batches, lambda o, t: o.sum() * 0, metric=measure, evaluate_with="batch")
    assert (sizes, result.samples) == ([4, 1], 5)


@pytest.mark.parametrize(("sizes", "joins"), [
    ([1] * 5, [2, 3]), ([1] * 4, [2, 2]), ([4, 1, 4, 1], [4, 6]), ([4, 4, 1], [4, 5]), ([1, 4], [5]), ([1, 1, 1], [3]),
    ([4, 1, 1], [4, 2]), ([1], [1]), ([], []),
])  # fmt: skip
def test_lone_samples_join_one_neighbour_each(sizes: list[int], joins: list[int]) -> None:
    samples = torch.arange(float(sum(sizes))).split(sizes) if sizes else ()
    found = list(_no_lone_sample([(part, part) for part in samples], "batch"))
    assert torch.cat([x for x, _ in found] or [torch.zeros(0)]).tolist() == list(range(sum(sizes)))
    assert [len(x) for x, _ in found] == joins


def test_a_model_without_batch_norm_draws_no_batches_for_its_statistics() -> None:
    layer = nn.Linear(5, 2)
    drawn = []

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(9):
            drawn.append(1)
            yield torch.randn(6, 5), torch.zeros(6, dtype=torch.long)

    evaluated = [(torch.randn(6, 5), torch.zeros(6, dtype=torch.long))]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match="batches is an iterator"):
        history = sc.train(
            layer, optimizer, F.cross_entropy, batches(), sc.constant(4, lr=0.1), eval_batches=evaluated,
            evaluate_every=1, evaluate_with="reestimated", metric="accuracy",
        )  # fmt: skip
    assert (len(drawn), history.stop.value) == (4, "completed")


class InWrapper:
    def __init__(self, inner: sc.data.Batches) -> None:
        self.inner = inner

    def __iter__(self) -> Iterator[object]:
        yield from self.inner


@pytest.mark.parametrize("wrapped", [False, True])
def test_batches_that_a_training_stands_in_are_evaluated_as_a_whole_and_not_moved(wrapped: bool) -> None:
    """The rest of the epoch alone was measured, and the training went on with the next one."""

    def trained(evaluate_every: int | None) -> tuple[torch.Tensor, list[int]]:
        model, batches = setup()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        drawn = sc.data.Batches(joined(batches), 3)
        source = InWrapper(drawn) if wrapped else drawn
        measured = {} if evaluate_every is None else {"eval_batches": source, "evaluate_every": evaluate_every}
        steps = sc.train_steps(model, optimizer, F.cross_entropy, source, sc.constant(12, lr=0.1), **measured)
        samples = [record.evaluation.samples for record in steps if record.evaluation is not None]
        assert not drawn.whole_passes
        return model[0].weight.detach(), samples

    expected, _ = trained(None)
    weights, samples = trained(5)
    assert samples == [33, 33, 33]
    assert torch.equal(weights, expected)
