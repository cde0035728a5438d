"""Labels that a loss ignores: accuracy, loss and chance are those of the labels that count."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from ignored_labels import CLASSES, joined, make
from torch import nn

import superconv as sc
from superconv.task import Counted, metric_function
from superconv.task.labels import ignored_label, label_count


@pytest.mark.parametrize("places", [(4, 5), ()], ids=["pixels", "classes"])
@pytest.mark.parametrize("ignored", [255, -100])
def test_evaluations_are_those_of_the_labels_that_count(ignored: int, places: tuple[int, ...]) -> None:
    model, batches = make(ignored, places=places)
    loss_fn = nn.CrossEntropyLoss(ignore_index=ignored)
    result = sc.evaluate(model, batches, loss_fn)
    inputs, targets = joined(batches)
    outputs = model(inputs)
    kept = targets != ignored
    right = (outputs.argmax(1) == targets)[kept].double()
    assert result.metric == pytest.approx(right.mean().item(), rel=1e-6)
    assert result.loss == pytest.approx(loss_fn(outputs, targets).item(), rel=1e-6)
    assert result.samples == 20
    top = sc.evaluate(model, batches, loss_fn, metric="top5_accuracy")
    assert top.metric == pytest.approx(1.0)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_with_weights_by_class_the_loss_is_torchs_of_the_whole_set(share: float) -> None:
    torch.manual_seed(0)
    model, inputs, targets = nn.Linear(6, CLASSES), torch.randn(20, 6), torch.arange(20) * CLASSES // 20
    targets[torch.rand(20) < share] = -100
    loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 50.0, 3.0]))
    batches = list(zip(inputs.split(8), targets.split(8), strict=True))
    whole = loss_fn(model(inputs), targets).item()
    assert sc.evaluate(model, batches, loss_fn).loss == pytest.approx(whole, rel=1e-6)
    by_samples = sum(loss_fn(model(x), y).item() * len(y) for x, y in batches) / 20
    assert abs(by_samples - whole) > 0.01, "that would be another number"


def test_without_ignored_labels_nothing_changes() -> None:
    model, batches = make(255, share=0.0)
    batches = [*batches[:2], (batches[2][0], batches[2][1] % CLASSES)]
    result = sc.evaluate(model, batches, nn.CrossEntropyLoss(ignore_index=255))
    loss = metric = torch.zeros((), dtype=torch.double)
    with torch.no_grad():
        for inputs, targets in batches:
            outputs = model(inputs)
            loss = loss + F.cross_entropy(outputs, targets).double() * len(targets)
            metric = metric + (outputs.argmax(1) == targets).flatten(1).float().mean(1).double().sum()
    assert (result.loss, result.metric) == (float(loss) / 20, float(metric) / 20)


def test_the_metric_by_itself_names_samples_without_a_label() -> None:
    outputs = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    values = metric_function("accuracy")(outputs, torch.tensor([0, -100, 1]))
    assert values[[0, 2]].tolist() == [1.0, 0.0]
    assert math.isnan(values[1])


def test_a_metric_of_ones_own_may_say_what_counts() -> None:
    model, batches = make(-100)

    def share_of_class_1(outputs: torch.Tensor, targets: torch.Tensor) -> Counted:
        kept = (targets >= 0).flatten(1)
        found = ((outputs.argmax(1) == 1) & (targets >= 0)).flatten(1)
        return Counted(found.sum(1) / kept.sum(1), kept.sum(1), kept.shape[1])

    inputs, targets = joined(batches)
    expected = (model(inputs).argmax(1) == 1)[targets >= 0].double().mean().item()
    result = sc.evaluate(model, batches, F.cross_entropy, metric=share_of_class_1)
    assert result.metric == pytest.approx(expected, rel=1e-6)


def test_which_label_a_loss_ignores() -> None:
    assert ignored_label(nn.CrossEntropyLoss(ignore_index=255)) == 255
    assert ignored_label(F.cross_entropy) == ignored_label(F.nll_loss) == -100
    assert ignored_label(functools.partial(F.cross_entropy, ignore_index=7)) == 7
    assert ignored_label(functools.partial(nn.CrossEntropyLoss(ignore_index=9))) == 9
    for other in (nn.MSELoss(), F.mse_loss, lambda outputs, targets: 0.0, None):
        assert ignored_label(other) is None


def test_what_a_mean_loss_is_divided_by() -> None:
    targets = torch.tensor([0, 1, 255, 2])
    by_class = torch.tensor([1.0, 2.0, 4.0])
    found = label_count(nn.CrossEntropyLoss(ignore_index=255, weight=by_class), targets)
    assert found is not None
    assert (float(found.weight), int(found.counted), found.places) == (7.0, 3, 4)
    assert label_count(nn.CrossEntropyLoss(reduction="sum"), targets) is None
    assert label_count(F.cross_entropy, torch.eye(3)) is None
    assert label_count(F.mse_loss, targets) is None


def test_chance_and_forks_of_a_range_test() -> None:
    """70% of the labels ignored: once, chance was the share of the ignored label, and nothing was ever learned."""
    torch.manual_seed(0)
    inputs = torch.randn(64, 6)
    targets = (inputs[:, 0] > 0).long()
    targets[torch.rand(64) < 0.7] = 255
    batches = [(inputs, targets)]
    model = nn.Linear(6, 2)
    ramp = sc.lr_range_test(
        model, torch.optim.SGD(model.parameters(), 0.1), nn.CrossEntropyLoss(ignore_index=255), batches,
        eval_batches=batches, start_lr=1e-3, end_lr=10.0, total_steps=40, forks=5, fork_steps=20,
    )  # fmt: skip
    counts = torch.bincount(targets[targets != 255])
    assert ramp.chance == pytest.approx((counts.max() / counts.sum()).item())
    assert max(fork.metric for fork in ramp.forks) > 0.95
    assert ramp.suggest().lr is not None


def test_a_batch_without_a_label_that_counts_is_no_divergence() -> None:
    """Torch's mean over no labels is NaN, its gradient 0: a plain loop trains on."""
    model, order = make(-100)  # of the third batch all labels are ignored
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = sc.train(model, optimizer, F.cross_entropy, order, sc.constant(6, lr=0.1))
    assert history.stop is sc.StopReason.completed
    assert [loss == 0.0 for loss in history.loss] == [False, False, True] * 2

    plain, _ = make(-100)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    for inputs, targets in order * 2:
        optimizer.zero_grad()
        F.cross_entropy(plain(inputs), targets).backward()
        optimizer.step()
    assert torch.equal(model.weight, plain.weight)

    ramp = sc.lr_range_test(plain, optimizer, F.cross_entropy, order, end_lr=1.0, total_steps=8, metric=None)
    assert len(ramp) == 8
    assert not ramp.diverged


def test_an_update_of_micro_batches_without_a_label_that_counts_is_none_either() -> None:
    model, (first, second, nothing) = make(-100)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    order = [first, second, nothing, nothing]
    history = sc.train(model, optimizer, F.cross_entropy, order, sc.constant(3, lr=0.1), accumulation_steps=2)
    assert history.stop is sc.StopReason.completed
    assert [loss == 0.0 for loss in history.loss] == [False, True, False]


def test_defaults_of_a_loss_are_found_where_its_signature_has_them() -> None:
    def by_name(outputs: object, targets: object, scale: float = 2.0, *, ignore_index: int = 7) -> None: ...

    @functools.wraps(by_name)
    def wrapped(*arguments: object, **options: object) -> None: ...

    assert [ignored_label(each) for each in (by_name, wrapped, F.nll_loss, len)] == [7, 7, -100, None]
