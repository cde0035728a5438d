"""The program from outside: exit codes, what goes to stdout, and what a mistake answers."""

import fcntl
import io
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from program import TOY_TASK, Run

from superconv.analysis.range_test import RangeTest
from superconv.analysis.repeats import joint_verdict
from superconv.cli.range_test import _reference


@pytest.fixture
def task(tmp_path: Path) -> str:
    (tmp_path / "toy.py").write_text(TOY_TASK)
    return f"{tmp_path / 'toy.py'}:make"


def test_train_skips_what_is_finished_and_reports_it(run: Run, tmp_path: Path, task: str) -> None:
    command = ("train", "--task", task, "--schedule", "one_cycle:max_lr=.5", "--epochs", "10", "--batch-size", "32")
    code, out, _ = run(*command, "--json")
    first = json.loads(out)
    assert (code, first["stop"], first["summary"]["steps"]) == (0, "completed", 80)
    assert first["summary"]["test"]["metric"] > 0.8
    weights = torch.load(Path(first["path"]) / "weights.pt", weights_only=True)
    assert weights["3.weight"].shape == (3, 16)
    code, out, _ = run(*command)
    assert code == 0
    assert "found finished: completed after 80 steps" in out
    assert Path(out.splitlines()[-1]) == Path(first["path"])
    code, out, _ = run("report", "runs/train", "--png", "pictures")
    assert code == 0
    assert (tmp_path / "runs/train/report.html").stat().st_size > 1e6
    assert list((tmp_path / "pictures").glob("*.png"))
    code, out, _ = run("report", "runs/train", "--json")
    assert code == 0
    assert json.loads(out)


def test_a_damaged_checkpoint_is_no_mistake_in_the_command(run: Run, task: str) -> None:
    command = ("train", "--task", task, "--schedule", "constant:lr=.1", "--steps", "8", "--batch-size", "32", "--quiet")
    assert run(*command, "--max-minutes", "1e-9")[0] == 1
    (checkpoint,) = Path("runs").glob("*/*/*/checkpoint.pt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    code, _, err = run(*command)
    assert (code, err.count("\n")) == (1, 1)
    assert "checkpoint.pt is not a readable checkpoint" in err
    checkpoint.unlink()
    assert run(*command)[0] == 0


def test_epochs_are_epochs_under_accumulation_too(run: Run, task: str) -> None:
    """256 samples in batches of 24 are 10 an epoch: 7 epochs in updates of 4 batches are 17.5, over their ends."""
    code, out, _ = run(
        "train", "--task", task, "--schedule", "constant:lr=.1", "--epochs", "7", "--batch-size", "24",
        "--accumulation-steps", "4", "-q", "--json",
    )  # fmt: skip
    assert (code, json.loads(out)["summary"]["steps"]) == (0, 18)


def test_range_test_says_what_to_do_first(run: Run, tmp_path: Path, task: str) -> None:
    command = ("range-test", "--task", task, "--batch-size", "32", "--steps", "60", "--forks", "5")
    code, out, _ = run(*command)
    assert code == 0
    assert out.startswith("max_lr ")
    assert "2 seeds" in out.splitlines()[0]
    assert out.splitlines()[1].startswith("schedule = sc.one_cycle(")
    assert "tolerance of large learning rates" in out
    assert "found finished" not in out
    first = out.splitlines()[0]
    code, out, _ = run(*command)
    assert (code, out.splitlines()[0]) == (0, f"found finished: {first}")
    _, out, _ = run(*command, "--seeds", "3", "--json")
    assert json.loads(out)["found_finished"] == [True, True, False]
    code, out, _ = run(*command, "--json")  # found finished: the same measurement
    result = json.loads(out)
    assert result["found_finished"] == [True, True]
    assert result["suggestion"]["rule"] == "best_fork"
    assert len(result["runs"]) == 2
    assert all(verdict["speed_up"] is None for verdict in result["verdicts"])
    ramps = [RangeTest.load(Path(path) / "range_test.json") for path in result["runs"]]
    assert result["verdict"]["tolerance"] == joint_verdict(ramps).tolerance


def test_schedule_and_data_print_and_list(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("schedule", "cosine:max_lr=1,warmup_steps=10", "--steps", "100", "--save", "s.png")
    assert code == 0
    assert "wrote s.png" in out
    code, out, _ = run("schedule", "constant:lr=1", "--json")
    assert json.loads(out)["total_steps"] == 1000
    code, out, _ = run("data", "--data-dir", str(tmp_path), "--json")
    assert {row["name"] for row in json.loads(out)["data_sets"]} >= {"mnist5k", "cifar10"}
    code, out, _ = run("data", "--data-dir", str(tmp_path))
    assert "nothing to fetch" in " ".join(out.split())
    code, out, _ = run("data", "--data-dir", str(tmp_path / "here"), "fetch", "mnist5k")
    assert (code, out.strip()) == (0, str(tmp_path / "here"))
    code, _, err = run("data", "--json", "fetch", "mnist5k")
    assert (code, "--json lists data sets" in err) == (2, True)
    code, out, _ = run("--version")
    assert out.startswith("superconv 0.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --schdule x", "No such option: --schdule"),
        ("tain", "No such command"),
        ("train --data mnist5k --model lenet --steps 5 --schedule one_cicle:max_lr=1", "did you mean 'one_cycle'"),
        ("train --data mnist5k --model lenet --steps 5 --schedule one_cycle:maxlr=1", "did you mean 'max_lr'"),
        ("train --data mnist5 --model lenet --steps 5 --schedule constant:lr=1", "did you mean 'mnist5k'"),
        (
            "train --data cifar10 --data-dir . --model lenet --steps 5 --schedule constant:lr=1",
            "superconv data fetch cifar10",
        ),
        ("train --model lenet --steps 5 --schedule constant:lr=1", "say what to train"),
        ("train --task TASK --data mnist --steps 5 --schedule constant:lr=1", "either --task"),
        ("train --task TASK --steps 5 --epochs 2 --schedule constant:lr=1", "not both"),
        ("train --task nowhere:make --steps 5 --schedule constant:lr=1", "nowhere"),
        ("train --task TASK --steps 5 --schedule constant:lr=1 --optimizer sdg", "did you mean 'sgd'"),
        ("train --task TASK --steps 5 --schedule constant:lr=1 --precision fp8", "fp16"),
        ("train --task TASK --steps 5 --schedule constant:lr=1 --batch-size 0", "--batch-size must be at least 1"),
        ("train --task TASK --steps 5 --schedule constant:lr=1 --batch-size 9999", "9999"),
        ("train --task TASK --steps 5 --schedule constant:lr=1 --evaluate-with runing", "'running'"),
        ("range-test --task TASK --start-lr 1 --end-lr .1", "must be below"),
        ("range-test --task TASK --reference-lr x", "'grid' or 'none'"),
        ("report nowhere", "not a folder of runs"),
        ("schedule one_cycle:max_lr=-1", "max_lr"),
        ("data fetch mnist5", "did you mean 'mnist5k'"),
        ("demo --tuned FILE", "tuned settings"),
        ("range-test --task TASK --optimizer sdg", "did you mean 'sgd'"),
        ("demo --tune --quick", "leave --quick out"),
        (
            "train --task TASK --steps 5 --schedule constant:lr=1 --evaluate-every 0",
            "--evaluate-every must be at least 1",
        ),
        ("range-test --task TASK --evaluate-every 0", "--evaluate-every must be at least 1"),
    ],
)
def test_a_mistake_is_one_clear_sentence(run: Run, tmp_path: Path, task: str, arguments: str, words: str) -> None:
    (tmp_path / "FILE").write_text("not what you think")
    code, out, err = run(*arguments.replace("TASK", task).split())
    assert code == 2
    assert out == ""
    assert words in err
    assert not list(tmp_path.glob("runs/*/*"))  # a mistake leaves no unfinished run behind
    assert len(err.strip().splitlines()) <= 4  # click prints usage and a hint around its own


def test_reference_rates_in_words() -> None:
    words = ("grid", "fixed-grid", "none", ".25")
    assert [_reference(word) for word in words] == ["grid", "fixed-grid", None, 0.25]


def test_what_the_machine_refuses_is_a_failure_not_a_mistake(run: Run, tmp_path: Path, task: str) -> None:
    (tmp_path / "FILE").write_text("in the way")
    code, _, err = run("train", "--task", task, "--steps", "5", "--schedule", "constant:lr=1", "--runs-dir", "FILE")
    assert code == 1
    assert "FILE" in err


def test_an_optimizer_without_momentum_takes_a_cycle(run: Run, task: str) -> None:
    command = ("train", "--task", task, "--optimizer", "adagrad", "--schedule", "one_cycle:max_lr=.1", "--steps", "20")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = run(*command, "--batch-size", "32")
    assert code == 0
    assert err.count("made without it and is left alone") == 1
    assert "completed after 20 steps" in out


def test_a_model_with_the_wrong_number_of_outputs_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY_TASK.replace("nn.Linear(16, 3)", "nn.Linear(16, 2)"))
    for verb in (("train", "--steps", "5", "--schedule", "constant:lr=1"), ("range-test",)):
        code, _, err = run(verb[0], "--task", "toy.py:make", "--batch-size", "32", *verb[1:])
        assert code == 2
        assert "2" in err
        assert "3" in err


def test_divergence_is_an_outcome_with_a_remedy(run: Run, tmp_path: Path, task: str) -> None:
    options = ("--task", task, "--batch-size", "32", "--steps", "60", "--optimizer", "sgd")
    code, out, _ = run("train", *options, "--schedule", "constant:lr=1e30")
    assert code == 1
    assert "diverged" in out
    assert "smaller learning rate" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on_where_it_stopped(
    run: Run, tmp_path: Path, task: str, number: signal.Signals
) -> None:
    command = ("train", "--task", task, "--schedule", "one_cycle:max_lr=.5", "--steps", "3000", "--batch-size", "32")
    line = [sys.executable, "-m", "superconv", *command, "--arm", "stopped"]
    process = subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    rows = tmp_path / "runs/train/stopped"
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in rows.glob("*/rows.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopped at step" in out
    assert "run the same command again" in out
    assert shlex.join(["superconv", *command, "--arm", "stopped"]) in out
    _, resumed, _ = run(*command, "--arm", "stopped", "--json")
    _, whole, _ = run(*command, "--arm", "whole", "--json")
    one, other = json.loads(resumed)["summary"], json.loads(whole)["summary"]
    assert one["steps"] == other["steps"] == 3000
    assert (one["test"], one["validation"], one["train_loss"]) == (
        other["test"],
        other["validation"],
        other["train_loss"],
    )


def test_a_training_whose_terminal_is_closed_ends_at_a_checkpoint_and_goes_on(
    run: Run, tmp_path: Path, task: str
) -> None:
    command = ("train", "--task", task, "--schedule", "one_cycle:max_lr=.5", "--steps", "3000", "--batch-size", "32")
    master, slave = os.openpty()

    def in_the_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup

    line = [sys.executable, "-m", "superconv", *command, "--arm", "closed"]
    process = subprocess.Popen(line, stdin=slave, stdout=slave, stderr=slave, preexec_fn=in_the_terminal)
    os.close(slave)
    rows = tmp_path / "runs/train/closed"
    deadline = time.monotonic() + 120
    while not any(path.stat().st_size for path in rows.glob("*/rows.jsonl")):
        assert time.monotonic() < deadline
        if select.select([master], [], [], 0.02)[0]:
            os.read(master, 65536)  # a full terminal would make it wait
    os.kill(process.pid, signal.SIGHUP)  # the shell's; the system's comes next
    os.close(master)
    assert process.wait(60) != -signal.SIGHUP
    assert list(rows.glob("*/checkpoint.pt"))
    _, resumed, _ = run(*command, "--arm", "closed", "--json")
    assert json.loads(resumed)["summary"]["steps"] == 3000


def test_ctrl_c_in_a_range_test_says_what_is_kept(run: Run, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("superconv.experiments.range_tests.lr_range_test", interrupted)
    code, out, err = run("range-test", "--task", task, "--batch-size", "32")
    assert (code, out) == (130, "")
    assert "superconv: interrupted; what was finished is kept" in err
    assert f"    superconv range-test --task {task} --batch-size 32\n" in err


def test_sigterm_in_a_range_test_is_the_same(run: Run, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminated(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("superconv.experiments.range_tests.lr_range_test", terminated)
    code, out, err = run("range-test", "--task", task, "--batch-size", "32")
    assert (code, out) == (130, "")
    assert "superconv: interrupted" in err
    assert signal.getsignal(signal.SIGTERM) is before


FAKE_TORCH = """
import os, signal, time

try:
    os.kill(os.getpid(), signal.{number})
    time.sleep(0.2)
except BaseException as error:
    print("lost", repr(error))  # as torch does where its import of numpy fails, whatever the reason
"""
IMPORTING = """
import time
from superconv.cli.interrupt import interruptible

@interruptible
def verb():
    import torch
    print("imported")
    time.sleep(60)

try:
    verb()
except BaseException as error:
    print(type(error).__name__, error.exit_code)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_during_the_import_of_torch_is_not_lost(tmp_path: Path, number: str) -> None:
    (tmp_path / "torch.py").write_text(FAKE_TORCH.format(number=number))
    (tmp_path / "importing.py").write_text(IMPORTING)
    line = [sys.executable, str(tmp_path / "importing.py")]
    done = subprocess.run(line, text=True, capture_output=True, timeout=30, preexec_fn=terminal_interrupts)
    assert done.stdout.splitlines() in (["imported", "Exit 130"], ["Exit 130"])
    assert "superconv: interrupted" in done.stderr


def terminal_interrupts() -> None:
    """Signals as a terminal delivers them: a shell ignores SIGINT in what it starts in the background, nohup SIGHUP."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def test_without_a_length_it_is_thirty_epochs_and_two_lengths_are_refused(run: Run, task: str) -> None:
    options = ("train", "--task", task, "--batch-size", "32", "--schedule", "one_cycle:max_lr=.1")
    code, out, _ = run(*options, "--json")
    assert code == 0
    assert json.loads(out)["summary"]["steps"] == 30 * 256 // 32
    code, _, err = run(*options, "--steps", "5", "--epochs", "5")
    assert code == 2
    assert "not both" in err


def test_a_diverged_run_says_what_was_measured(run: Run, task: str) -> None:
    code, out, _ = run("train", "--task", task, "--batch-size", "32", "--steps", "60", "--schedule", "constant:lr=1e30")
    assert code == 1
    assert "loss not finite, 64 samples" in out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--json", "--markdown"), "--markdown"),
        (("--json", "--output", "x"), "--output"),
        (("--markdown", "--open"), "--open"),
    ],
)
def test_a_printed_report_refuses_options_of_a_page(
    run: Run, tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    (tmp_path / "runs").mkdir()
    code, out, err = run("report", *options)
    assert (code, out) == (2, "")
    assert f"superconv: {named} does not go with" in err


@pytest.mark.parametrize(
    ("task_line", "says"),
    [
        ('metric="loss", higher_is_better=False', r"test loss \d\.\d{4} \(64 samples\); validation loss \d"),
        ("metric=None", r"test loss \d\.\d{4} \(64 samples\)"),
        ("metric=mae, higher_is_better=False", r"test mae \d\.\d+ \(loss \d\.\d{4}, 64 samples\)"),
        ('metric="top5_accuracy"', r"test 100\.00% \(loss"),
    ],
)
def test_only_an_accuracy_is_in_percent(run: Run, tmp_path: Path, task_line: str, says: str) -> None:
    mae = "\ndef mae(outputs, targets):\n    return (outputs.argmax(1) - targets).abs().float()\n"
    (tmp_path / "toy.py").write_text(TOY_TASK.replace("part(64), 3)", f"part(64), 3), {task_line}") + mae)
    options = ("--task", "toy.py:make", "--batch-size", "32", "--steps", "9", "--schedule", "constant:lr=.01")
    code, out, err = run("train", *options)
    assert code == 0
    assert re.search(says, out)
    assert ("%" in out) == ("%" in err) == ("accuracy" in task_line)
    assert "nan" not in out + err


def test_a_schedule_is_printed_as_json_and_saved_as_well(run: Run, tmp_path: Path) -> None:
    code, out, err = run("schedule", "constant:lr=1", "--json", "--save", "s.txt")
    assert (code, json.loads(out)["total_steps"], err) == (0, 1000, "wrote s.txt\n")
    assert (tmp_path / "s.txt").exists()


def test_a_schedule_of_any_length_is_shown_as_wide_as_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    code, out, _ = run("schedule", "one_cycle:max_lr=3,initial_lr=.1", "--steps", str(10**12))
    assert code == 0
    assert "lr: starts 0.1, from" in out
    assert "to 3, ends" in out
    assert max(len(line) for line in out.splitlines() if "lr:" not in line and "momentum:" not in line) <= 60


def test_a_range_test_ends_alike_as_text_and_as_json(run: Run, task: str) -> None:
    command = ("range-test", "--task", task, "--batch-size", "32", "--steps", "20", "--forks", "0", "--seeds", "1",
               "--reference-lr", "none", "--start-lr", "1e-9", "--end-lr", "1e-8")  # fmt: skip
    code, _, _ = run(*command)
    same, out, _ = run(*command, "--json")
    assert json.loads(out)["suggestion"]["lr"] is None
    assert (code, same) == (1, 1)


@pytest.mark.parametrize("verb", ["train --steps 9", "train --epochs 1", "estimate-lr --steps 9"])
def test_a_misspelt_schedule_is_told_before_the_data_are_loaded(run: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "toy.py").write_text("def make():\n    raise RuntimeError('loaded')\n")
    for schedule, word in (("one_cicle:max_lr=1", "'one_cycle'"), ("one_cycle:maxlr=1", "'max_lr'")):
        code, _, err = run(*verb.split(), "--task", "toy.py:make", "--schedule", schedule)
        assert (code, f"did you mean {word}" in err) == (2, True)


@pytest.mark.parametrize("columns", [60, 80])
def test_progress_keeps_its_numbers_and_cuts_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    from superconv.cli.progress import bar

    monkeypatch.setenv("COLUMNS", str(columns))
    with bar() as display:
        display.show("finalists on fresh seeds", 128, 4096, "warmup-stable-decay, 12800 steps, seed 12 " * 2)
    line = capsys.readouterr().err.strip()
    assert len(line.splitlines()) == 1
    assert len(line) <= columns
    assert re.search(r"128/4096 left -:--:-- warmup-.*…$", line)


@pytest.mark.parametrize("columns", [80, 200])
def test_the_progress_line_fits_its_screen(run: Run, task: str, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    options = (
        "--task",
        task,
        "--batch-size",
        "32",
        "--steps",
        "60",
        "--schedule",
        "piecewise_constant:lr=.1,milestones=50%",
    )
    _, _, err = run("train", *options)
    line = err.strip()
    assert len(line) <= columns
    assert "60/60" in line
    assert "left 0:00:00" in line
    assert "lr 0.01" in line
    assert line.endswith("%")


def test_without_the_extra_the_program_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no typer', name='typer')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "superconv"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == ("superconv: the command line program needs typer; run: pip install 'superconv[cli]'")


def test_preparation_reaches_the_training_and_its_identity(run: Run) -> None:
    options = ["train", "--data", "mnist5k", "--model", "lenet-slim", "--steps", "2", "--schedule", "constant:lr=1e-5"]
    found = {}
    for more in ([], ["--preparation", "mean-image"], ["--preparation", "scaled", "--mirror", "--crop-padding", "2"]):
        code, out, err = run(*options, "-q", "--json", *more)
        assert code == 0, err
        result = json.loads(out)
        found[result["path"]] = result["summary"]["train_loss"]
    assert len(found) == len(set(found.values())) == 3  # another preparation is another run, with another loss
    code, _, err = run(*options, "--preparation", "mean-imge")
    assert code == 2
    assert "mean-image" in err


@pytest.mark.parametrize("verb", ["train", "range-test", "find", "compare", "estimate-lr"])
def test_every_verb_that_trains_takes_the_options_of_data(run: Run, verb: str) -> None:
    length = ("--steps", "10") if verb == "find" else ()
    schedule = ("--schedule", "constant:lr=.1") if verb == "train" else ()
    code, _, err = run(verb, "--task", "toy.py:make", "--image-size", "8", "--in-memory", *length, *schedule)
    assert code != 0
    assert "--image-size, --in-memory: of --data alone; a --task has its data already" in err
    code, _, err = run(verb, "--model", "lenet", *length, *schedule)
    assert code != 0
    assert "say what to train: --data NAME --model NAME" in err


def test_a_range_test_of_a_folder_of_pictures(run: Run, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 24), ("val", 6)):
        for name in ("dark", "light"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = torch.randint(128, (10, 12, 3), generator=generator, dtype=torch.uint8)
                pixels += 127 if name == "light" else 0
                Image.fromarray(pixels.numpy()).save(tmp_path / "pictures" / split / name / f"{index}.png")
    options = ("--data", f"folder:{tmp_path / 'pictures'}", "--model", "mlp", "--image-size", "8", "--mirror")
    ramp = ("--steps", "24", "--batch-size", "8", "--forks", "2", "--seeds", "1", "--reference-lr", "none")
    code, out, err = run("range-test", *options, *ramp, "--json")
    first = json.loads(out)
    assert code == (first["suggestion"]["lr"] is None), err
    _, out, _ = run("range-test", *options, "--streaming", *ramp, "--json")
    assert json.loads(out) != first  # other pixels: another test, in a directory of its own


# ---- terminals and systems that lack something ----------------------------------------------------------------------


def test_what_a_terminal_cannot_show_is_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    from superconv.__main__ import main

    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["superconv", "schedule", "one_cycle:max_lr=3,initial_lr=.1", "--steps", "50"])
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert ended.value.code == 0
    assert b"???" in screen.getvalue()
    assert b"lr: starts 0.1" in screen.getvalue()


def test_a_path_that_is_no_utf8_is_used_and_printed_as_it_is(
    tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from superconv.__main__ import main

    screen, folder = io.BytesIO(), os.fsdecode(b"runs-\xff")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="utf-8"))
    line = f"train --task {task} --schedule constant:lr=.1 --steps 3 --batch-size 32 --quiet --runs-dir {folder}"
    monkeypatch.setattr(sys, "argv", ["superconv", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    sys.stdout.flush()
    assert ended.value.code == 0
    assert b"runs-\xff/train/constant/seed0-" in screen.getvalue()
    assert len(list(Path(folder).glob("*/*/*/summary.json"))) == 1


CLOSED = """
import os
os.close(0), os.close(1), os.close(2)
from superconv.cli.app import _prepare_streams
_prepare_streams()
os._exit(0 if os.open("rows", os.O_CREAT | os.O_WRONLY) > 2 else 1)
"""


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """A C library's words on stderr would stand among a run's rows."""
    assert subprocess.run([sys.executable, "-c", CLOSED], cwd=tmp_path, timeout=120).returncode == 0


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_anywhere_is_one_sentence(
    run: Run, task: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def too_much(*_: object) -> None:
        raise error

    monkeypatch.setattr("superconv.task.load_task", too_much)
    code, out, err = run("train", "--task", task, "--schedule", "constant:lr=.1", "--steps", "3")
    assert (code, out) == (1, "")
    assert err.startswith("superconv: out of memory; use fewer workers")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("import torch\n", "import sys\nsys.exit(0)\n", r"importing it failed with SystemExit: 0 \(line 3 of toy.py\)"),
        ("def make():\n", "def make():\n    raise SystemExit\n", "calling it failed with SystemExit"),
        ("model = lambda: nn", "model = lambda: exit(0) or nn", r"model\(\) ended the program \(SystemExit: 0\)"),
    ],
)
def test_a_task_that_ends_the_program_is_a_failure(
    run: Run, tmp_path: Path, task: str, old: str, new: str, words: str
) -> None:
    """In silence and with status 0 it would look like a training that was done."""
    assert old in TOY_TASK
    (tmp_path / "toy.py").write_text(TOY_TASK.replace(old, new))
    code, _, err = run("train", "--task", task, "--schedule", "constant:lr=.1", "--steps", "3", "--batch-size", "32")
    assert code == 2
    assert re.search(words, err), err
