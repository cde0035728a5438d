"""The program with options that it cannot take: a sentence and a status, never a traceback, never a hang."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from program import TOY_TASK

from superconv.__main__ import main
from superconv.cli.app import app

BAD = [
    "", " ", "x", "-1", "0", "1", "2", "3.5", "0.5", "nan", "inf", "-inf", "1e400", "1e-300", "٣", "1_0", "0x1",
    "9" * 30, "a:b", "a=b", "../x", "/dev/null/x", "\x1b[0m", "1,2", "1,x", "{}", "--", "cpu", "meta", "cuda:99",
    "\ud800", "none", "grid", "%", "50%", "1e9min", "-5%", "sgd", "adamw", "lenet", "mnist5k", "ray2", "bf16",
    "torch.optim:SGD", "toy.py", "toy.py:nothing", "torch.nn:Linear", "constant:lr=1", "one_cycle:max_lr=1e30",
]  # fmt: skip
TASK = ("--task", "toy.py:make", "--device", "cpu", "--quiet")
SMALL = (*TASK, "--batch-size", "32")
GOOD: dict[str, tuple[str, ...]] = {
    "train": ("--schedule", "constant:lr=.1", "--steps", "4", *SMALL),
    "range-test": ("--steps", "40", "--forks", "4", "--seeds", "1", "--end-lr", "2", "--reference-lr", "none", *SMALL),
    "estimate-lr": ("--steps", "4", *SMALL),
    "find": ("--steps", "300", "--budget", "130", *SMALL),
    "compare": ("--arms", "1cycle,constant", "--steps", "8", "--ladder", "1", "--seeds", "1", "--trials", "1",
                "--finalists", "1", "--fresh-seeds", "1", "--workers", "1", *SMALL),
    "reproduce": ("max-lr/3", "--scale", "smoke", "--seeds", "1", "--workers", "1", "--quiet", "--device", "cpu"),
    "schedule": ("one_cycle:max_lr=1", "--steps", "20"),
    "report": ("runs",),
    "data": (),
}  # fmt: skip
LONG = {  # value that would only be long, not wrong
    ("train", "--epochs"), ("train", "--steps"), ("range-test", "--steps"), ("range-test", "--seeds"),
    ("range-test", "--forks"), ("range-test", "--fork-steps"), ("estimate-lr", "--steps"), ("find", "--steps"),
    ("find", "--budget"), ("compare", "--seeds"), ("compare", "--trials"), ("compare", "--steps"),
    ("compare", "--ladder"), ("compare", "--finalists"), ("compare", "--fresh-seeds"), ("compare", "--workers"),
    ("find", "--workers"), ("reproduce", "--workers"), ("reproduce", "--seeds"), ("schedule", "--steps"),
    ("find", "--batch-sizes"),
}  # fmt: skip
quick = settings(max_examples=12, suppress_health_check=list(HealthCheck), derandomize=True)
long = settings(quick, max_examples=150)


def options_of(verb: str) -> list[tuple[str, bool]]:
    """The options of a verb, and whether they take a value."""
    command: Any = typer.main.get_command(app)
    parameters = command.commands[verb].params
    return [
        (name, not each.is_flag)
        for each in parameters
        if hasattr(each, "is_flag")
        for name in (*each.opts, *each.secondary_opts)
        if name.startswith("--") and name not in ("--help", "--open")
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "toy.py").write_text(TOY_TASK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.delenv("SUPERCONV_DEBUG", raising=False)
        patch.setenv("SUPERCONV_DATA", str(tmp_path / "no data"))
        yield tmp_path


def call(verb: str, given_options: list[str], capture: Any) -> int:
    """Run the program; what it answers is a status and words, and the user's file is as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["superconv", verb, *GOOD[verb], *given_options])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    assert Path("toy.py").read_text() == TOY_TASK
    out, err = capture.readouterr()
    assert code in (0, 1, 2), (code, err)
    assert "Traceback" not in err + out
    assert code == 0 or err.strip() or out.strip(), "it failed without a word"
    return code


def drawn(verb: str, data: st.DataObject) -> list[str]:
    words: list[str] = []
    for _ in range(data.draw(st.integers(1, 2))):
        name, takes = data.draw(st.sampled_from(options_of(verb)))
        values = [each for each in BAD if (verb, name) not in LONG or each not in ("9" * 30, "inf", "1e9min", "50%")]
        words += [name, data.draw(st.sampled_from(values))] if takes else [name]
    return words


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", GOOD)
@quick
@given(data=st.data())
def test_bad_options_are_named(folder: Path, capsys: pytest.CaptureFixture[str], verb: str, data: Any) -> None:
    call(verb, drawn(verb, data), capsys)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", GOOD)
@long
@given(data=st.data())
def test_many_bad_options_are_named(folder: Path, capsys: pytest.CaptureFixture[str], verb: str, data: Any) -> None:
    call(verb, drawn(verb, data), capsys)


@pytest.mark.parametrize("verb", GOOD)
def test_the_good_options_are_good(folder: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    if verb == "report":
        call("train", [], capsys)
    assert call(verb, [], capsys) == 0
