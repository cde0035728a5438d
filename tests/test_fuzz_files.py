"""Every file that is read, damaged in any way: a clear error or a value, never another error, never code that runs."""

import gzip
import io
import json
import os
import pickle
import pickletools
import shutil
import struct
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from damage import altered, clear, damaged_json, replaced
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import superconv as sc
from superconv.data.archive import read_members
from superconv.data.cifar import PIXELS, decode_binary, decode_python
from superconv.data.errors import DataError
from superconv.data.idx import read_idx
from superconv.data.safe_pickle import load_arrays
from superconv.experiments.demo_tuning import load_tuned
from superconv.experiments.recipe import FORMAT, Recipe
from superconv.report import build_report
from superconv.runs import RunError, find_runs, open_run
from superconv.training.checkpoint import DamagedCheckpoint

REMEDY = "fetch it again"
quick = settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# ---- data ----------------------------------------------------------------------------------------------------------

IDX = bytes([0, 0, 8, 3]) + struct.pack(">3I", 3, 4, 4) + bytes(48)


@quick
@given(altered(IDX), st.booleans())
@example(bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), False)
@example(bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1), False)
def test_idx(folder: Path, content: bytes, inflated: bool) -> None:
    path = folder / ("images.gz" if inflated else "images")
    path.write_bytes(gzip.compress(content) if inflated else content)
    said = clear(lambda: read_idx(path, 3, REMEDY), DataError)
    assert said.endswith(REMEDY) or not said


@quick
@given(altered(gzip.compress(IDX)))
def test_gzip(folder: Path, content: bytes) -> None:
    (folder / "images.gz").write_bytes(content)
    clear(lambda: read_idx(folder / "images.gz", 3, REMEDY), DataError)


@quick
@given(st.binary(max_size=20) | altered(bytes(2 * (1 + PIXELS))), st.sampled_from([1, 2]))
def test_cifar_binary(content: bytes, label_bytes: int) -> None:
    clear(lambda: decode_binary(content, label_bytes, "file", REMEDY), DataError)


BATCHES = [pickle.dumps({b"data": np.zeros((2, 4), np.uint8), "labels": [1, 2]}, protocol) for protocol in (0, 2, 4, 5)]


class Marker:
    """Pickled, it makes a folder when a careless reader loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@quick
@given(st.sampled_from(BATCHES).flatmap(altered))
@example(pickle.dumps({"data": np.zeros((1, PIXELS), np.uint8), "labels": [2**70]}))
@example(b"\x80\x02r\xff\xff\xff\x7f}.")  # LONG_BINPUT to entry 2**31 - 1: 32 GiB of memo
@example(b"\x80\x02N" + b"r\x00\x00\x00\x10" + b".")
def test_cifar_pickles(content: bytes) -> None:
    clear(lambda: decode_python(content, "file", REMEDY), DataError)


def test_a_pickle_cannot_ask_for_more_memo_than_it_uses() -> None:
    with pytest.raises(DataError, match="names memo entry 2147483647"):
        load_arrays(b"\x80\x02}r\xff\xff\xff\x7f.")


def test_containers_that_hold_each_other_many_times_take_no_time() -> None:
    content = b"\x80\x02]" + b"q\x00" + b"".join(
        b"]" + b"q" + bytes([level]) + b"(h" + bytes([level - 1]) + b"h" + bytes([level - 1]) + b"e"
        for level in range(1, 60)
    )  # fmt: skip
    value = load_arrays(content + b".")  # 2**59 empty lists, as a tree
    assert isinstance(value, list)
    assert value[0] is value[1]


@quick
@given(st.sampled_from([0, 2, 3, 4, 5]), st.data())
def test_no_altered_pickle_runs_code(folder: Path, protocol: int, data: st.DataObject) -> None:
    marker = folder / "ran"
    evil = pickletools.optimize(pickle.dumps({"data": Marker(marker), "labels": [0]}, protocol))
    clear(lambda: load_arrays(data.draw(altered(evil))), DataError)
    assert not marker.exists()


def archive(form: int, **changes: Any) -> bytes:
    """Two files, the first of them described by `changes`."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as made:
        for number, name in enumerate(("set/a.bin", "set/" + "l" * 120 + "ä.bin")):
            info = tarfile.TarInfo(name)
            info.size = 700
            for key, value in changes.items() if number == 0 else ():
                setattr(info, key, value)
            made.addfile(info, io.BytesIO(b"x" * 700) if info.isreg() else None)
    return content.getvalue()


def summed(content: bytes) -> bytes:
    """With right header checksums, so that what else is wrong is read."""
    data = bytearray(content)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


PAX, GNU = archive(tarfile.PAX_FORMAT, pax_headers={"comment": "hallo"}), archive(tarfile.GNU_FORMAT)


@quick
@given(st.sampled_from([PAX, GNU]).flatmap(lambda whole: altered(whole[:2600]).map(lambda head: head + whole[2600:])))
def test_archives(folder: Path, content: bytes) -> None:
    path = folder / "set.tar.gz"
    path.write_bytes(gzip.compress(summed(content), 1))
    clear(lambda: read_members(path, ["a.bin"], REMEDY), DataError)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "/etc/a.bin"},
        {"name": "../../../a.bin"},
        {"name": "set/../../a.bin"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0},
        {"type": tarfile.LNKTYPE, "linkname": "../../secret", "size": 0},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5, "size": 0},
        {"type": tarfile.BLKTYPE, "size": 0},
        {"type": tarfile.FIFOTYPE, "size": 0},
        {"type": tarfile.DIRTYPE, "size": 0},
    ],
)
def test_no_member_of_an_archive_reaches_outside(tmp_path: Path, changes: dict[str, Any]) -> None:
    home = tmp_path / "deep" / "down"
    home.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (home / "set.tar.gz").write_bytes(gzip.compress(archive(tarfile.GNU_FORMAT, **{"name": "set/a.bin", **changes})))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    if "type" in changes:
        with pytest.raises(DataError, match=r"holds no a\.bin"):
            read_members(home / "set.tar.gz", ["a.bin"], REMEDY)
    else:
        assert read_members(home / "set.tar.gz", ["a.bin"], REMEDY) == {"a.bin": b"x" * 700}
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# ---- checkpoints ---------------------------------------------------------------------------------------------------


def state() -> sc.TrainState:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return sc.TrainState(model, optimizer, [(torch.ones(2, 3), torch.tensor([0, 1]))])


@pytest.fixture(scope="module")
def trained() -> sc.TrainState:
    made = state()
    for _ in sc.train_steps(
        made.model, made.optimizer, F.cross_entropy, made.source, sc.constant(2, lr=0.1), state=made
    ):
        pass
    return made


@quick
@given(st.data())
def test_checkpoints(folder: Path, trained: sc.TrainState, data: st.DataObject) -> None:
    path, whole = folder / "checkpoint.pt", folder / "whole.pt"
    trained.save(whole)
    path.write_bytes(data.draw(altered(whole.read_bytes())))
    fresh = state()
    if not clear(lambda: fresh.load(path), DamagedCheckpoint):  # nothing that matters was hit
        assert fresh.step == 2
        for one, other in zip(fresh.model.parameters(), trained.model.parameters(), strict=True):
            assert torch.equal(one, other)


@quick
@given(st.data())
def test_states_with_parts_of_other_kinds(trained: sc.TrainState, data: st.DataObject) -> None:
    plain = trained.state_dict()
    clear(lambda: state().load_state_dict(data.draw(replaced(plain))), ValueError)


def test_one_altered_bit_of_a_weight_is_noticed(tmp_path: Path, trained: sc.TrainState) -> None:
    trained.save(tmp_path / "c.pt")
    content = bytearray((tmp_path / "c.pt").read_bytes())
    at = bytes(content).find(trained.model[0].weight.detach().numpy().tobytes())
    content[at + 5] ^= 1
    (tmp_path / "c.pt").write_bytes(content)
    assert not torch.equal(
        torch.load(tmp_path / "c.pt", weights_only=True)["model"]["0.weight"], trained.model[0].weight
    )
    with pytest.raises(DamagedCheckpoint, match="checksum"):
        state().load(tmp_path / "c.pt")


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    for evil in (Marker(tmp_path / "ran"), {"format": 1, "model": Marker(tmp_path / "ran")}):
        torch.save(evil, tmp_path / "evil.pt")
        with pytest.raises(DamagedCheckpoint, match="not a readable checkpoint"):
            state().load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


# ---- measurements, recipes, schedules, run directories, reports ----------------------------------------------------


@pytest.fixture(scope="module")
def ramp(folder: Path) -> Any:
    rates = np.geomspace(1e-3, 1, 30)
    made = sc.RangeTest.from_arrays(
        lr=rates, train_loss=2 - rates, eval_accuracy=0.1 + 0.5 * rates, chance=0.1, eval_samples=100, reference_lr=0.1
    )
    return json.loads(made.save(folder / "ramp.json").read_text())


@quick
@given(st.data())
@example("[" * 100_000)
def test_range_tests(folder: Path, ramp: Any, data: Any) -> None:
    path = folder / "range_test.json"
    path.write_bytes(data.encode() if isinstance(data, str) else data.draw(damaged_json(ramp)))

    def use() -> None:
        loaded = sc.RangeTest.load(path)
        loaded.suggest()
        loaded.verdict()
        loaded.plot()

    clear(use, ValueError)


@pytest.mark.parametrize("rows", [0, -1, 0.5, "x", True, [1], 10**400])
def test_range_tests_know_how_many_updates_a_row_has(tmp_path: Path, ramp: Any, rows: Any) -> None:
    path = tmp_path / "range_test.json"
    path.write_text(json.dumps({**ramp, "settings": {**ramp["settings"], "updates_per_row": rows}}))
    with pytest.raises(ValueError, match=r"updates_per_row must be at least 1|no number of 64 bits"):
        sc.RangeTest.load(path)


RECIPE = {
    "format": FORMAT, "kind": "recipe", "optimizer": "sgd", "optimizer_options": {"weight_decay": 1e-4},
    "policy": {"max_lr": 0.4, "initial_lr": 0.04, "final_lr": 4e-05, "max_momentum": 0.95, "min_momentum": 0.85},
    "batch_size": 32, "clip_grad_norm": None, "precision": "fp32", "batch_norm": True, "dropout": None, "task": "toy",
    "steps": 30, "tolerance": "wide", "reasons": ["one"], "suggestion": "max_lr 0.4", "metric": "accuracy",
    "higher_is_better": True, "chosen_by": "mean", "confirmed": 2, "updates": 111, "budget": 116, "strategy": "balance",
    "samples": 256, "validation_samples": 64, "edges": [], "untried": ["dropout"],
    "evidence": [{"factor": "max lr", "settings": {"max_lr": 0.4, "weight_decay": 1e-4}, "steps": 30, "seed": 0,
                  "score": 0.7, "diverged": False}],
}  # fmt: skip


@quick
@given(damaged_json(RECIPE))
@example(json.dumps({**RECIPE, "optimizer": 3}).encode())
@example(json.dumps({**RECIPE, "policy": {**RECIPE["policy"], "max_lr": [1]}}).encode())
def test_recipes(folder: Path, content: bytes) -> None:
    path = folder / "recipe.json"
    path.write_bytes(content)

    def use() -> None:
        recipe = Recipe.load(path)
        recipe.arm(100)
        recipe.snippet()

    clear(use, ValueError)


def test_the_recipe_that_is_damaged_here_is_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    assert Recipe.load(tmp_path / "recipe.json").arm(100).schedule(45)["lr"] == pytest.approx(0.4)


TUNED = {"format": 1, "winners": [{"network": "a", "kind": "b", "steps": 3, "lr": 0.1, "weight_decay": 0.0}]}


@quick
@given(damaged_json(TUNED))
def test_tuned_settings(folder: Path, content: bytes) -> None:
    (folder / "tuned.json").write_bytes(content)
    clear(lambda: load_tuned(folder / "tuned.json"), ValueError)


SCHEDULES = [
    sc.one_cycle(50, max_lr=1.0).to_dict(),
    sc.triangular(50, base_lr=0.1, max_lr=1, step_size=5, mode="exp_range", gamma=0.9).to_dict(),
    sc.cosine(50, max_lr=1, warmup_steps=4).stretch(70, from_step=10).to_dict(),
    sc.lr_ramp(20, start_lr=0.1, end_lr=1, shape="exponential").to_dict(),
]


PIECE = {"kind": "piecewise", "steps": [0, 4], "values": [1, 0], "interpolation": ["linear"]}


@settings(quick, max_examples=200)
@given(st.sampled_from(SCHEDULES).flatmap(replaced))
@example({"format": 1, "total_steps": 5, "curves": {"lr": {"kind": "piecewise", "steps": [0], "values": [10**400]}}})
@example({"format": 1, "total_steps": 5, "curves": {"lr": {**PIECE, "interpolation": None}}})
@example({"format": 1, "total_steps": 5, "curves": {"lr": {**PIECE, "interpolation": [[]]}}})
@example({"format": 1, "total_steps": 5, "curves": {"lr": {**PIECE, "values": None}}})
@example({"format": 1, "total_steps": 5, "curves": {"lr": {"kind": "stretched", "curve": PIECE, "new": 1, "old": [0]}}})
def test_schedules(data: Any) -> None:
    def use() -> None:
        schedule = sc.Schedule.from_dict(data)
        assert all(np.isfinite(value) for value in (*schedule(0).values(), *schedule(10**9).values()))

    clear(use, ValueError)


CONFIG = {"lr": 1.0, "task": {"name": "toy"}, "schedule": SCHEDULES[0]}


@pytest.fixture(scope="module")
def whole_run(folder: Path) -> Any:
    with open_run(folder / "runs", "demo", "arm", 0, CONFIG, {"metric": "accuracy"}) as run:
        for step in range(5):
            run.append({"step": step, "lr": 0.1, "loss": 1 / (step + 1), "seconds": 0.1})
        run.append({"step": 4, "split": "validation", "eval_loss": 1.0, "metric": 0.5, "samples": 3, "seconds": 0.1})
        run.append({"step": 4, "curvature": {"step": 4, "lr": 1.0, "probes": {"secant": {"quotient": {"value": 3}}}}})
        part = {"loss": 1.0, "metric": 0.5, "samples": 3}
        run.finish({"stop": "completed", "steps": 5, "seconds": 1.0, "train_loss": 0.3, "validation": part})
    return run.path, {name: (run.path / name).read_bytes() for name in ("run.json", "rows.jsonl", "summary.json")}


def damage_a_file(whole_run: Any, data: st.DataObject) -> None:
    path, contents = whole_run
    for name, content in contents.items():
        (path / name).write_bytes(content)
    name = data.draw(st.sampled_from(list(contents)))
    if name == "rows.jsonl" and data.draw(st.booleans()):
        rows = data.draw(replaced([json.loads(line) for line in contents[name].splitlines()]))
        (path / name).write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    elif name == "rows.jsonl":
        (path / name).write_bytes(data.draw(altered(contents[name])))
    else:
        (path / name).write_bytes(data.draw(damaged_json(json.loads(contents[name]))))


@quick
@given(st.data())
def test_run_directories(folder: Path, whole_run: Any, data: st.DataObject) -> None:
    damage_a_file(whole_run, data)

    def use() -> None:
        for found in find_runs(folder / "runs"):
            found.rows()
        run = open_run(folder / "runs", "demo", "arm", 0, CONFIG)
        run.summary()
        (run.path / "summary.json").unlink()
        with run:
            run.truncate_rows(2)
            run.append({"step": 3})
            assert [row["step"] for row in run.rows() if "step" in row][-1] == 3

    clear(use, RunError)


@pytest.mark.parametrize("step", ['"3"', "[3]", '{"a": 3}'])
def test_a_step_that_is_no_number_is_damage(tmp_path: Path, step: str) -> None:
    run = open_run(tmp_path, "demo", "arm", 0, CONFIG)
    (run.path / "rows.jsonl").write_text(f'{{"step": 0}}\n{{"step": {step}}}\n{{"step": 2}}\n')
    with run, pytest.raises(RunError, match="line 2 is damaged"):
        run.truncate_rows(1)


@pytest.mark.parametrize("name", ["run.json", "summary.json", "rows.jsonl"])
def test_json_that_is_too_deep_is_damage(whole_run: Any, tmp_path: Path, name: str) -> None:
    path = shutil.copytree(whole_run[0], tmp_path / "demo" / "arm" / whole_run[0].name)
    for each, content in whole_run[1].items():
        (path / each).write_bytes(content)
    (path / name).write_bytes(b"[" * 100_000 + b"\n" + b'{"step": 1}\n' * (name == "rows.jsonl"))
    with pytest.raises(RunError, match="is damaged"):
        [found.rows() for found in find_runs(tmp_path) if found.problem == ""] or open_run(
            tmp_path, "demo", "arm", 0, CONFIG
        ).summary()


@settings(quick, max_examples=25)
@given(st.data())
def test_reports(folder: Path, whole_run: Any, data: st.DataObject) -> None:
    damage_a_file(whole_run, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arrays that hold nothing but NaN
        assert build_report(folder / "runs").stat().st_size > 1000
