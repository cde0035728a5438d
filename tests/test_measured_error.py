"""The standard error of a metric, from its scatter over samples, and what forks make of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ignored_labels import CLASSES, joined, make
from torch import nn

import superconv as sc
from superconv.analysis.fork_rules import Fork, best_fork, fork_edge
from superconv.analysis.reference import best_constant


def test_the_measured_error_of_a_metric() -> None:
    model, batches = make(-100, share=0.3)
    result = sc.evaluate(model, batches, F.cross_entropy)
    inputs, targets = joined(batches[:2])
    kept = (targets >= 0).flatten(1).double()
    right = ((model(inputs).argmax(1) == targets) & (targets >= 0)).flatten(1).double()
    counted, values = kept.sum(1), right.sum(1) / kept.sum(1)
    scatter = (counted**2 * (values - result.metric) ** 2).sum() * 16 / 15
    assert result.metric_error == pytest.approx(float(scatter.sqrt() / counted.sum()), rel=1e-5)
    per_sample = sc.evaluate(model, batches, F.cross_entropy, metric=lambda o, t: o.mean((1, 2, 3)))
    own = model(joined(batches)[0]).mean((1, 2, 3)).double()
    assert per_sample.metric_error == pytest.approx(float(own.detach().std() / 20**0.5), rel=1e-5)
    for metric in ("loss", None, lambda o, t: o.mean()):
        assert sc.evaluate(model, batches, F.cross_entropy, metric=metric).metric_error is None


def test_values_of_0_and_1_keep_the_binomial_error() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(20, 6), torch.randint(CLASSES, (20,))
    assert sc.evaluate(nn.Linear(6, CLASSES), [(inputs, targets)], F.cross_entropy).metric_error is None


def test_many_pixels_an_image_are_more_than_one_trial_each(tmp_path) -> None:
    """Accuracy .921 of 32 images was refused against a guesser's .84, as if each image were right or wrong."""
    metrics = [0.85, 0.9, 0.921, 0.9, 0.86]
    plain = [Fork(k, 10.0 ** (k - 4), metric, 0.2, 30) for k, metric in enumerate(metrics)]
    measured = [Fork(k, 10.0 ** (k - 4), metric, 0.2, 30, error=0.005) for k, metric in enumerate(metrics)]
    assert best_fork(plain, eval_samples=32, chance=0.84).lr is None
    found = best_fork(measured, eval_samples=32, chance=0.84)
    assert found.lr == pytest.approx(1e-2, rel=0.3)
    collapsed = [Fork(k, 10.0 ** (k - 4), 0.84 - 0.01 * k, 0.2, 30, error=0.0) for k in range(5)]
    assert "told from a guesser" in best_fork(collapsed, eval_samples=32, chance=0.84).reason
    worse = [Fork(k, 10.0 ** (k - 4), m, 0.2, 30, error=0.005) for k, m in enumerate([0.85, 0.93, 0.9, 0.86])]
    assert fork_edge(worse, chance=0.84, eval_samples=32).lr == pytest.approx(1e-3)

    ramp = sc.RangeTest(lr=[1e-3], train_loss=[0.5], forks=(plain[0], measured[1]))
    path = ramp.save(tmp_path / "ramp.json")
    assert path.read_text().count('"error"') == 1  # files of accuracies over 0 and 1 are as ever
    assert sc.RangeTest.load(path) == ramp


def test_references_and_verdicts_take_the_measured_error() -> None:
    lrs, metrics = [0.01, 0.1, 1.0], [0.80, 0.90, 0.85]
    wide = best_constant(lrs, metrics, samples=32)
    narrow = best_constant(lrs, metrics, samples=32, measured=0.004)
    assert abs(narrow - 0.1) < abs(wide - 0.1)
    assert narrow == pytest.approx(0.1, rel=0.01)
    assert best_constant(lrs, metrics, samples=32, measured=None) == wide

    lr = np.geomspace(1e-3, 10.0, 60)
    accuracy = np.where(lr < 3.0, 0.92, 0.5) - 0.08 * np.exp(-lr / 0.01)
    forks = [Fork(k, rate, 0.92, 0.2, 30, error=0.004) for k, rate in enumerate((0.1, 0.5, 2.0))]
    known = {"chance": 0.84, "eval_samples": 32, "reference_lr": 0.01}
    plain = sc.RangeTest(lr=lr, train_loss=lr, metric=accuracy, **known)
    assert plain.verdict().evidence["peak_kappa_error"] == pytest.approx((0.92 * 0.08 / 32) ** 0.5 / 0.16, rel=0.01)
    measured = sc.RangeTest(lr=lr, train_loss=lr, metric=accuracy, forks=tuple(forks), **known)
    assert measured.verdict().evidence["peak_kappa_error"] == pytest.approx(0.004 / 0.16)


@pytest.mark.parametrize("size", [1, 8])
def test_a_lone_sample_does_not_hide_the_error_of_all(size: int) -> None:
    inputs = torch.randn(17, 3)
    batches = list(zip(inputs.split(size), inputs.sum(1, keepdim=True).split(size), strict=True))
    result = sc.evaluate(nn.Linear(3, 1), batches, F.mse_loss, metric=lambda o, t: (o - t).abs())
    assert result.metric_error is not None
    whole = sc.evaluate(nn.Identity(), [(inputs, inputs)], F.mse_loss, metric=lambda o, t: o.mean(1, keepdim=True)[:1])
    assert whole.metric_error is None  # a mean, in a tensor of one number
