"""Metrics by name against slow forms, and outputs that do not fit the targets."""

import pytest
import torch
import torch.nn.functional as F

import superconv as sc
from superconv.task import check_outputs, metric_function, metric_name


def test_accuracies_against_a_slow_form():
    generator = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(50, 8, generator=generator), torch.randint(8, (50,), generator=generator)
    ranks = [sorted(range(8), key=lambda c, row=row: -row[c]).index(t) for row, t in zip(outputs, targets, strict=True)]
    for name, places in (("accuracy", 1), ("top5_accuracy", 5)):
        values = metric_function(name)(outputs, targets)
        assert values.tolist() == [float(rank < places) for rank in ranks]
    assert metric_function("top5_accuracy")(outputs[:, :3], targets % 3).tolist() == [1.0] * 50


def test_accuracy_of_pixels_and_of_soft_targets():
    outputs = torch.tensor([[[2.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])  # (2 samples, 2 classes, 2 pixels)
    assert metric_function("accuracy")(outputs, torch.tensor([[0, 1], [1, 0]])).tolist() == [0.5, 0.0 + 1.0]
    soft = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert metric_function("accuracy")(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), soft).tolist() == [1.0, 0.0]


def test_classes_come_second():
    with pytest.raises(ValueError, match=r"got outputs \(2, 5, 3\) for targets \(2, 5\); classes come second"):
        metric_function("accuracy")(torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.long))
    check_outputs(torch.zeros(2, 5, 3), torch.zeros(2, 5, dtype=torch.long), 3)  # with a metric of its own it may be


class Tokens(torch.nn.Module):
    """Outputs (N, T, V), as a language model has them; V = T."""

    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.layer, self.transposed = torch.nn.Linear(6, 4), transposed

    def forward(self, x):
        return self.layer(x).transpose(1, 2) if self.transposed else self.layer(x)


def test_as_many_classes_as_places_are_told_by_the_loss():
    """Silently the wrong dimension before: accuracy .35 reported, .25 true."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(9, 4, 6, generator=generator), torch.randint(4, (9, 4), generator=generator)
    targets[0, 0] = -100
    flat = lambda outputs, targets: F.cross_entropy(outputs.flatten(0, 1), targets.flatten())  # noqa: E731
    batches = [(inputs, targets)]
    last = Tokens(transposed=False)
    with pytest.raises(ValueError, match="the loss has the classes last, the metric has them second"):
        sc.evaluate(last, batches, flat)
    optimizer = torch.optim.SGD(last.parameters(), 0.1)
    with pytest.raises(ValueError, match="the loss has the classes last, the metric has them second"):
        sc.lr_range_test(last, optimizer, flat, batches, end_lr=1.0, total_steps=4, eval_batches=batches)
    second = Tokens(transposed=True)
    expected = (second(inputs).argmax(1) == targets)[targets >= 0].double().mean().item()
    for loss_fn in (F.cross_entropy, lambda outputs, targets: flat(outputs.transpose(1, 2), targets)):
        assert sc.evaluate(second, batches, loss_fn).metric == pytest.approx(expected)
    own = lambda outputs, targets: (outputs.argmax(-1) == targets).float().mean(1)  # noqa: E731
    assert sc.evaluate(last, batches, flat, metric=own).metric > 0


def test_targets_of_several_classes_a_sample_are_no_soft_labels():
    """Taken for soft labels, a multi-label network that had learned scored below a "guesser" at .646."""
    half = torch.tensor([[0.9, 0.1], [1 / 3, 2 / 3]], dtype=torch.float16)
    for soft in (half, torch.tensor([[1, 0], [0, 1]]), torch.zeros(0, 2)):
        metric_function("accuracy")(torch.zeros(len(soft), 2), soft)
    for targets in (torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.randn(4, 3)):
        for name in ("accuracy", "top5_accuracy"):
            with pytest.raises(ValueError, match=r"targets look multi-label.*sum to .* pass metric=function"):
                metric_function(name)(torch.zeros(len(targets), 3), targets)


def test_multi_label_targets_are_named_before_anything_is_trained():
    inputs = torch.randn(32, 4)
    batches = [(inputs, (inputs[:, :3] > 0).float())]
    model = torch.nn.Linear(4, 3)
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), 0.1), torch.nn.BCEWithLogitsLoss()
    with pytest.raises(ValueError, match="multi-label"):
        sc.lr_range_test(model, optimizer, loss_fn, batches, eval_batches=batches, forks=2)
    ramp = sc.lr_range_test(
        model, optimizer, loss_fn, batches, eval_batches=batches, end_lr=10.0, total_steps=40, forks=5,
        metric=lambda outputs, targets: ((outputs > 0) == targets).float(), chance=0.5,
    )  # fmt: skip
    assert max(fork.metric for fork in ramp.forks) > 0.9


def test_other_metrics():
    own = lambda outputs, targets: (outputs - targets).abs()  # noqa: E731
    assert metric_function(own) is own
    assert metric_function(None) is None
    assert metric_function("loss") is None
    for outputs in (torch.zeros(4), torch.zeros(4, 1), [1, 2]):
        with pytest.raises(ValueError, match="two classes or more; pass metric='loss'"):
            metric_function("accuracy")(outputs, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"got targets \(3,\) for outputs \(4, 2\)"):
        metric_function("accuracy")(torch.zeros(4, 2), torch.zeros(3, dtype=torch.long))
    for targets in ((torch.zeros(4), torch.zeros(4)), {"labels": torch.zeros(4)}):
        for name in ("accuracy", "top5_accuracy"):
            with pytest.raises(ValueError, match=f"got targets that are a {type(targets).__name__}, it needs a tensor"):
                metric_function(name)(torch.zeros(4, 2), targets)


def test_outputs_that_do_not_fit_are_one_sentence():
    labels = torch.tensor([0, 1, 2, -100])
    check_outputs(torch.zeros(4, 3), labels, 3)
    check_outputs(torch.zeros(4, 3, 2), torch.zeros(4, 2, dtype=torch.long), 3)
    check_outputs(torch.zeros(4), torch.zeros(4), 3)  # regression: the loss decides
    check_outputs({"logits": 1}, labels, 3)
    check_outputs(torch.zeros(4, 5), labels, None)
    check_outputs(torch.zeros(4, 3), torch.tensor([0, 1, 2, 255]), 3, 255)
    for outputs, message in (
        (torch.zeros(4, 5), r"has 5 outputs .* 3 classes; build the model with num_classes=3"),
        (torch.zeros(4), "has 1 outputs"),
        (torch.zeros(2, 3), "ask for"),
    ):
        with pytest.raises(ValueError, match=message):
            check_outputs(outputs, labels, 3)
    with pytest.raises(ValueError, match="got 0 to 3, allowed are 0 to 2"):
        check_outputs(torch.zeros(2, 3), torch.tensor([0, 3]), 3)


def test_only_our_own_accuracies_are_taken_for_shares() -> None:
    def accuracy(outputs: object, targets: object) -> float:
        return 86.75

    assert metric_name("accuracy") == "accuracy"
    assert metric_name(accuracy) == "accuracy()"
    assert metric_name(lambda o, t: 0.0) == "<lambda>"
