import dataclasses
import json
import math
import os

import numpy as np
import pytest

from superconv.analysis.fork_rules import Fork
from superconv.analysis.range_test import RangeTest
from superconv.analysis.range_test_text import number, summary
from superconv.figures.spec import Figure
from superconv.records import StopReason


def ramp(n=120, **about):
    lr = np.geomspace(1e-4, 2.0, n)
    accuracy = 0.1 + 0.7 / (1 + (0.01 / lr) ** 2) / (1 + (lr / 0.6) ** 12)
    accuracy[::2] = np.nan
    forks = tuple(
        Fork(i * 10, float(lr[i * 10]), float(m), 1.0 - m, 30, False) for i, m in enumerate([0.2, 0.5, 0.7, 0.9, 0.6])
    )
    values = {
        "lr": lr, "train_loss": 2.3 - accuracy, "metric": accuracy, "forks": forks, "chance": 0.1, "eval_samples": 1000,
        "reference_lr": 0.02, "evaluate_with": "batch", "shape": "exponential", "seconds": 38.0,
        "group_lrs": np.stack([lr, 10 * lr], axis=1), "weight_norm": np.linspace(12, 48, n),
        "settings": {"optimizer": "SGD", "seed": 3, "nested": {"a": [1, 2]}},
    }  # fmt: skip
    return RangeTest(**(values | about))


def test_arrays_are_read_only_copies_of_the_stated_length():
    lr = np.geomspace(1e-3, 1.0, 20)
    value = RangeTest(lr=lr, train_loss=np.ones(20))
    lr[0] = 7.0
    assert value.lr[0] == 1e-3
    with pytest.raises(ValueError, match="read-only"):
        value.train_loss[0] = 2.0
    assert np.isnan(value.metric).all()
    assert np.isnan(value.eval_loss).all()
    assert len(value) == 20


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"metric": np.ones(3)}, "metric must have shape"),
        ({"lr": np.full(120, np.nan)}, "lr must be finite"),
        ({"lr": np.full(120, -0.1)}, "lr must be finite and >= 0"),
        ({"shape": "cosine"}, "shape must be"),
        ({"reference_lr": 0.0}, "reference_lr must be"),
        ({"eval_samples": 0}, "eval_samples must be"),
        ({"chance": math.nan}, "chance must be"),
        ({"group_lrs": np.ones((3, 2))}, "group_lrs must have shape"),
    ],
)
def test_bad_input_is_refused(about, message):
    with pytest.raises(ValueError, match=message):
        ramp(**about)


def test_from_arrays_drops_rows_without_lr_and_counts_them():
    value = RangeTest.from_arrays(lr=[0.0, 0.1, np.nan], train_loss=[1.0, 2.0, 3.0], eval_accuracy=[0.1, np.nan, 0.5])
    assert value.train_loss.tolist() == [1.0, 2.0]
    assert value.settings["rows_without_lr"] == 1
    with pytest.raises(ValueError, match="divide percent by 100"):
        RangeTest.from_arrays(lr=[0.1], train_loss=[1.0], eval_accuracy=[92.0])
    with pytest.raises(ValueError, match="train_loss must have shape"):
        RangeTest.from_arrays(lr=[0.1, 0.2], train_loss=[1.0])


def test_equality_looks_at_every_field_and_takes_nan_for_equal():
    assert ramp() == ramp()
    assert ramp() != ramp(seconds=1.0)
    assert ramp() != dataclasses.replace(ramp(), metric=np.zeros(120))
    assert ramp() != 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(ramp())


def test_saved_and_loaded_it_is_the_same_and_the_file_is_strict_json(tmp_path):
    value = ramp(
        scout=ramp(forks=(), settings={}), stop=StopReason.diverged,
        forks=(Fork(1, 0.1, math.nan, math.nan, 5, True), Fork(2, 0.2, 0.5, 1.5, 5, False)),
    )  # fmt: skip
    path = value.save(tmp_path / "deep" / "ramp.json")
    assert RangeTest.load(path) == value
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"not strict JSON: {name}"))
    assert [p.name for p in path.parent.iterdir()] == ["ramp.json"]
    assert ramp(group_lrs=None, weight_norm=None).save(path) == path
    assert RangeTest.load(path) == ramp(group_lrs=None, weight_norm=None)
    empty = RangeTest.from_arrays(lr=[], train_loss=[])
    assert RangeTest.load(empty.save(path)) == empty


def test_infinite_losses_come_back_as_unmeasured(tmp_path):
    value = RangeTest(lr=[0.1, 0.2], train_loss=[1.0, math.inf])
    assert np.isnan(RangeTest.load(value.save(tmp_path / "r.json")).train_loss[1])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = ramp().save(tmp_path / "ramp.json")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        ramp(seconds=99.0).save(path)
    assert RangeTest.load(path).seconds == 38.0
    assert [p.name for p in tmp_path.iterdir()] == ["ramp.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read a range test"),
        ("{", "cannot read a range test"),
        ("[1, 2]", "no saved range test"),
        ('{"kind": "superconv range test", "format": 99}', "format 99"),
        ('{"kind": "superconv range test", "format": 1}', "damaged"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, text, message):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        RangeTest.load(path)
    with pytest.raises(ValueError, match="no range test at"):
        RangeTest.load(tmp_path / "absent.json")


@pytest.mark.parametrize("cut", [10, 200, 1000])
def test_a_truncated_file_is_refused(tmp_path, cut):
    path = ramp().save(tmp_path / "r.json")
    path.write_text(path.read_text()[:cut])
    with pytest.raises(ValueError, match="cannot read a range test"):
        RangeTest.load(path)


def test_settings_that_are_no_json_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="plain JSON"):
        ramp(settings={"model": object()}).save(tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_first_line_is_what_to_do_and_the_second_can_be_pasted():
    lines = ramp().summary().splitlines()
    assert lines[0] == "max_lr 0.0012 (0.00083-0.0018, 1 seed), 270 steps, 38 s"
    assert lines[1].startswith("schedule = sc.one_cycle(total_steps, max_lr=")
    assert "initial_lr=" in lines[1]
    two = summary([ramp(), ramp(settings={"seed": 4})]).splitlines()
    assert two[0].endswith("2 seeds), 540 steps, 76 s")


def test_the_pasted_line_runs():
    import superconv as sc

    line = ramp().summary().splitlines()[1]
    scope = {"sc": sc, "total_steps": 100}
    exec(line, scope)
    highest = max(scope["schedule"](step)["lr"] for step in range(100))
    assert highest == pytest.approx(float(line.split("max_lr=")[1].split(",")[0]))


def test_repeats_that_disagree_are_said_to():
    collapses = ramp(forks=(), reference_lr=0.3)
    holds = dataclasses.replace(collapses, metric=np.full(len(collapses), 0.9))
    assert collapses.verdict().tolerance != holds.verdict().tolerance
    assert "the repeats disagree" in summary([collapses, holds])


def test_a_diverged_ramp_says_so():
    assert "the ramp ended at LR 2: the loss became non-finite" in ramp(stop=StopReason.diverged).summary()


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5"), (0.4999, "0.5"), (2.985, "3"), (0.000123, "0.00012"), (12.3, "12")]
)
def test_two_figures(value, text):
    assert number(value) == text


def test_counted_updates_win_over_the_sum_of_what_is_recorded():
    assert ramp().total_updates == 120 + 5 * 30
    assert ramp(scout=ramp(forks=())).total_updates == 120 + 5 * 30 + 120
    assert ramp(settings={"updates": 1234}).total_updates == 1234


def test_plot_has_losses_metric_forks_and_the_suggested_range():
    value = ramp()
    figure = value.plot()
    assert isinstance(figure, Figure)
    loss, metric = figure.panels
    suggestion = value.suggest()
    assert {line.name for line in metric.lines} == {"accuracy", "accuracy, smoothed", "forks, annealed to LR 0"}
    assert {line.name for line in loss.lines} == {"training loss", "training loss, smoothed"}
    assert (loss.spans[0].start, loss.spans[0].stop) == (suggestion.min_lr, suggestion.max_lr)
    assert loss.x_scale == "log"
    assert all("LR" in text for line in metric.lines for text in line.hover)
    assert ramp(shape="linear").plot().panels[0].x_scale == "linear"
    assert ramp(metric_name="meanIoU").plot().panels[1].title.startswith("MeanIoU along the ramp")


def test_plot_of_next_to_nothing():
    assert RangeTest.from_arrays(lr=[], train_loss=[]).plot().panels[0].lines[0].x == ()
    assert len(RangeTest.from_arrays(lr=[0.0, 0.1], train_loss=[2.0, np.nan]).plot().panels) == 1


def test_its_text_is_a_line_however_long_the_ramp():
    lr = np.linspace(0.0, 3.0, 1000)
    accuracy = np.where(np.arange(1000) % 10 == 0, 0.5, np.nan)
    text = repr(RangeTest.from_arrays(lr=lr, train_loss=np.ones(1000), eval_accuracy=accuracy))
    assert text == "<RangeTest: 1000 updates, LR 0 to 3, accuracy at 100, 0 forks; completed>"
    assert repr(RangeTest.from_arrays(lr=[], train_loss=[])).startswith("<RangeTest: 0 updates, accuracy at 0")


def test_settings_that_json_does_not_know_are_kept_by_name_or_as_plain_numbers(tmp_path):
    settings = {"clip_grad_norm": math.inf, "fork_steps": np.int64(3), "start_lr": np.float32(0.5), "seed": None}
    kept = RangeTest.load(ramp(settings=settings).save(tmp_path / "r.json"))
    assert kept.settings == {"clip_grad_norm": "Infinity", "fork_steps": 3, "start_lr": 0.5, "seed": None}
    with pytest.raises(ValueError, match="settings of a range test must be plain JSON data"):
        ramp(settings={"model": object()}).save(tmp_path / "other.json")
