"""A verb on a machine that is lent for minutes: it ends in time, and what it left is packed."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from importlib import util
from io import BytesIO
from pathlib import Path

import pytest

_spec = util.spec_from_file_location("within_minutes", Path(__file__).parents[1] / "benchmarks/within_minutes.py")
assert _spec is not None
assert _spec.loader is not None
within = util.module_from_spec(_spec)  # benchmarks/ is no part of what is installed
_spec.loader.exec_module(within)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def packed() -> dict[str, bytes]:
    parts = sorted(Path("kept").iterdir())
    with tarfile.open(fileobj=BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


def test_what_a_verb_leaves_is_packed_in_parts(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    old = Path("results/old.json")
    old.parent.mkdir()
    old.write_text("{}")
    os.utime(old, (1, 1))
    monkeypatch.setattr(within, "PART", 500)
    verb = ["reproduce", "super-convergence/clr", "--scale", "smoke", "--seeds", "1", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["within", "--cudnn-benchmark", "5", "kept", *verb])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert within.main() == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "ResNet-56 reaches" in capfd.readouterr().out
    assert len(list(Path("kept").iterdir())) > 1
    found = packed()
    assert {Path(name).name for name in found} == {"run.json", "rows.jsonl", "summary.json", ".lock"}
    assert b'"superconv reproduce super-convergence/clr' in next(found[n] for n in found if n.endswith("run.json"))
    assert b"--max-minutes 3.80" in next(found[n] for n in found if n.endswith("run.json"))


@pytest.mark.parametrize(
    ("deaf", "status", "minutes", "after"),
    [(False, {-signal.SIGINT, 1}, 0.62, 1.2), (True, {-signal.SIGKILL}, 0.06, 0.05)],  # killed after 19 and 2.9 s
)
def test_what_does_not_end_is_told_and_then_killed(
    deaf: bool,
    status: set[int],
    minutes: float,
    after: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = Path("runs/paper/arm/seed0-x/rows.jsonl")
    rows.parent.mkdir(parents=True)
    rows.write_text('{"step": 0}\n{"step": 1}\n')
    monkeypatch.setattr(within, "AFTER", after)  # told after 1.2 and 2.1 s
    monkeypatch.setattr(within, "LOOK_EVERY", 0.5)
    answer = "SIG_IGN" if deaf else "default_int_handler"  # a shell's background jobs begin deaf
    code = f"from signal import *; import time; signal(SIGINT, {answer}); open('ready', 'w').close(); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not Path("ready").exists():
        time.sleep(0.01)
    assert within.watch(process, minutes) in status
    assert 'seed0-x  {"step": 1}' in capsys.readouterr().out


def test_nothing_has_run_yet() -> None:
    assert within.how_far() == "no rows yet"
    Path("kept").mkdir()
    within.pack(0.0, Path("kept"))
    assert packed() == {}
