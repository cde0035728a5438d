"""Runs of one arm name with different settings are never taken for seeds of one arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_runs import ramp, summary_of, training_rows, write_run

from superconv.report import chapter, read
from superconv.report.variants import told_apart
from superconv.schedules import one_cycle

TASK = {"name": "mnist5k/mlp", "hash": "ad82"}


def write_training(root: Path, folder: str, seed: int, max_lr: float, steps: int = 40, **settings: object) -> None:
    schedule = one_cycle(steps, max_lr=max_lr)
    rows = training_rows(schedule, 1.0, 0.9, np.random.default_rng(seed))
    config = {"task": TASK, "schedule": schedule.to_dict(), "batch_size": 128, **settings}
    write_run(root / "train" / "one_cycle" / folder, "one_cycle", seed, config, rows, summary_of(rows, steps))


def write_ramp(root: Path, folder: str, seed: int, **settings: object) -> None:
    path = root / "range-test" / "net" / folder
    write_run(path, "net", seed, {"task": TASK, **settings}, [], {"stop": "completed", "steps": 120})
    ramp(True, seed).save(path / "range_test.json")


def only_chapter(root: Path) -> chapter.Chapter:
    (experiment,) = read.read_tree(root)
    return chapter.build_chapter(experiment, "a")


def final_rows(root: Path) -> dict[str, str]:
    (table,) = only_chapter(root).tables
    return {row[table.columns.index("arm")]: row[table.columns.index("runs")] for row in table.rows}


def test_peaks_are_told_apart_and_seeds_are_not(tmp_path):
    for seed in (0, 1, 2):
        write_training(tmp_path, f"seed{seed}-aaaaaaaaaa", seed, 0.5)
    write_training(tmp_path, "seed0-bbbbbbbbbb", 0, 0.02)
    assert final_rows(tmp_path) == {"one_cycle · peak LR 0.5": "3", "one_cycle · peak LR 0.02": "1"}


def test_settings_that_are_alike_as_far_as_they_are_shown_are_no_seeds_of_one_arm(tmp_path):
    write_training(tmp_path, "seed0-aaaaaaaaaa", 0, 0.123456)
    write_training(tmp_path, "seed0-bbbbbbbbbb", 0, 0.123457)
    assert final_rows(tmp_path) == {"one_cycle · aaaaaaaaaa": "1", "one_cycle · bbbbbbbbbb": "1"}


def test_one_set_of_settings_keeps_its_name(tmp_path):
    for seed in (0, 1):
        write_training(tmp_path, f"seed{seed}-aaaaaaaaaa", seed, 0.5)
    write_training(tmp_path, "seed0-cccccccccc", 0, 0.5, steps=80)  # another length is another group
    (experiment,) = read.read_tree(tmp_path)
    assert told_apart(experiment.runs) == experiment.runs


def test_too_many_differences_are_named_by_their_folder(tmp_path):
    write_training(tmp_path, "seed0-aaaaaaaaaa", 0, 0.5, batch_size=64, augment=True, optimizer="a.long.import:Path")
    write_training(tmp_path, "seed0-bbbbbbbbbb", 0, 0.5, batch_size=32, augment=False, optimizer="sgd")
    assert final_rows(tmp_path) == {"one_cycle · aaaaaaaaaa": "1", "one_cycle · bbbbbbbbbb": "1"}


def test_range_tests_of_two_optimizers_are_not_combined(tmp_path):
    for seed in (0, 1):
        write_ramp(tmp_path, f"seed{seed}-aaaaaaaaaa", seed, optimizer="sgd")
    write_ramp(tmp_path, "seed0-bbbbbbbbbb", 0, optimizer="adamw")
    groups = only_chapter(tmp_path).ramps
    assert {group.arm: len(group.ramps) for group in groups} == {"net · optimizer sgd": 2, "net · optimizer adamw": 1}


@pytest.mark.parametrize("arm", ["mlp one-cycle 40 steps", "mlp-one-cycle-40"])
def test_the_short_name_keeps_what_differs(tmp_path, arm):
    for letter, max_lr in (("a", 0.5), ("b", 0.02)):
        schedule = one_cycle(40, max_lr=max_lr)
        rows = training_rows(schedule, 1.0, 0.9, np.random.default_rng(0))
        config = {"task": TASK, "schedule": schedule.to_dict()}
        write_run(tmp_path / "demo" / arm / f"seed0-{letter * 10}", arm, 0, config, rows, summary_of(rows, 40))
    assert set(final_rows(tmp_path)) == {"one-cycle · peak LR 0.5", "one-cycle · peak LR 0.02"}
