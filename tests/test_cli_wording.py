"""What the program says names its options, not the arguments of the library that they set."""

import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from program import TOY_TASK, Run

from superconv.cli import wording
from superconv.cli.app import estimate_lr, find, range_test, reproduce, train
from superconv.cli.wording import in_options, options_of


@pytest.fixture
def task(tmp_path: Path) -> str:
    (tmp_path / "toy.py").write_text(TOY_TASK)
    return f"{tmp_path / 'toy.py'}:make"


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Iterator[None]:
    wording._running.append(request.param)
    yield
    wording._running.pop()


@pytest.mark.parametrize("running", [train], indirect=True)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("remove it, or use corrupt='skip'", "remove it, or use --corrupt skip"),
        ("max_minutes must be positive, got -1", "--max-minutes must be positive, got -1"),
        ("give total_steps=3 or evaluate_every, or both.", "give --steps 3 or --evaluate-every, or both."),
        ("(statistics_of=None): arm='a b'", "(--statistics-of None): --arm 'a b'"),
        ("streaming=False with augment=True, compile=True", "--in-memory with --augment, --compile"),
        ("leave out streaming=True, mirror=False", "leave out --streaming, --no-mirror"),
        ("batch_size=(32, 64), or pass epochs=, a number", "--batch-size, or pass --epochs, a number"),
        ("the optimizer and the data: no arguments", "the optimizer and the data: no arguments"),
        ("sc.one_cycle(total_steps, max_lr=3)", "sc.one_cycle(total_steps, max_lr=3)"),
        ("runs/batch_size/seed0, superconv.total_steps(...)", "runs/batch_size/seed0, superconv.total_steps(...)"),
        ("unknown key 'batch_size'; --batch-size", "unknown key 'batch_size'; --batch-size"),
        ("precision: got 'fp8'; allowed", "--precision: got 'fp8'; allowed"),
        ("momentum: got 2.0, allowed is 0 <= momentum < 1", "--momentum: got 2.0, allowed is 0 <= momentum < 1"),
        ("mirror and crop_padding need pictures", "--mirror and --crop-padding need pictures"),
        ("optimizer 'x' is unknown", "--optimizer 'x' is unknown"),
        ("device 'x' cannot be used here", "--device 'x' cannot be used here"),
        ("arm is '../x'; it names a folder", "--arm is '../x'; it names a folder"),
        ("steps must be at least 2", "--steps must be at least 2"),
        ("task 'optimizer' must be", "task 'optimizer' must be"),
        ("optimizer and data must be", "optimizer and data must be"),
        ("the optimizer must be new", "the optimizer must be new"),
        ("one_cycle:max_lr=3,initial_lr=.1", "one_cycle:max_lr=3,initial_lr=.1"),
    ],
)
@pytest.mark.usefixtures("running")
def test_arguments_go_by_the_name_of_their_option(text: str, said: str) -> None:
    assert in_options(text) == said


def test_outside_of_a_verb_nothing_is_changed() -> None:
    assert in_options("max_minutes=3") == "max_minutes=3"


def test_options_that_are_called_otherwise() -> None:
    assert options_of(range_test)["keep_copy_on"].on == "--snapshot"
    assert all(options_of(verb)["total_steps"].on == "--steps" for verb in (range_test, train, find, estimate_lr))
    assert options_of(reproduce)["compile"].on == "--compile"
    assert (options_of(find)["workers"].on, options_of(train).get("workers")) == ("--workers", None)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --schedule constant:lr=.1 --steps 9 --batch-size 0", "--batch-size must be at least 1"),
        ("train --schedule constant:lr=.1 --steps 9 --batch-size 999", "--batch-size 999 is more than the 256 samples"),
        ("train --schedule constant:lr=1 --steps 2 --seed -2", "--seed"),
        ("train --schedule one_cycle:max_lr=1 --steps 2", "use --steps of 10 or more"),
        ("train --schedule constant:lr=.1 --steps 9 --evaluate-with x", "--evaluate-with x is unknown"),
        ("train --schedule constant:lr=.1 --steps 9 --statistics-of 1", "--statistics-of: got 1"),
        ("train --schedule constant:lr=.1 --epochs .001", "a smaller --batch-size or --accumulation-steps"),
        ("train --schedule constant:lr=.1 --epochs 1 --accumulation-steps 0", "--accumulation-steps"),
        ("range-test --eval-samples -1", "--eval-samples must be at least 1"),
        ("train --schedule constant:lr=.1 --steps 9 --max-minutes -1", "--max-minutes must be positive"),
        ("range-test --start-lr 2 --end-lr 1", "--start-lr 2 must be below --end-lr 1"),
        ("range-test --steps 10 --forks 20", "superconv: --forks must lie between 0 and --steps 10"),
        ("train --schedule constant:lr=.1 --steps 9 --precision fp8", "superconv: --precision: got 'fp8'"),
        (
            "train --schedule constant:lr=.1 --steps 9 --mirror --crop-padding 2",
            "superconv: --mirror and --crop-padding",
        ),
        ("compare --margin -1", "superconv: --margin must be positive and finite"),
        ("compare --ladder 1,1", "superconv: --steps must be at least 2 and the ladder"),
        ("find --steps 200 --dropouts 0,.1", "superconv: --dropouts were given"),
        ("range-test --shape x", "--shape x is unknown"),
        ("find --steps 200 --budget 1x", "--budget 1x is not understood"),
        ("find --steps 200 --strategy companion --batch-sizes 32,64", "give the largest that fits as --batch-size, or"),
    ],
)
def test_errors_name_options(run: Run, task: str, line: str, says: str) -> None:
    verb, *options = line.split()
    code, _, err = run(verb, "--task", task, *options, "-q")
    assert code == 2
    assert says in err
    rest = re.sub(r"one_cycle|cycle_fraction|\(in Python also: .*?\)", "", err)  # of schedules, and said to be Python's
    assert not re.search(r"\b[a-z]+_[a-z]+\b", rest)


def test_warnings_and_reasons_name_options(run: Run, task: str) -> None:
    """A ramp far too low, whose forks have no step of their own."""
    low = ("--start-lr", "1e-6", "--end-lr", "1e-5", "--steps", "20", "--seeds", "1", "--batch-size", "32")
    _, out, _ = run("range-test", "--task", task, *low, "--no-plot", "-q")
    assert "lower --end-lr, use more steps, or pass --reference-lr" in out


def test_what_only_a_task_can_be_given_is_said_of_the_task(run: Run, tmp_path: Path) -> None:
    line = "data=sc.Splits(part(256), part(64), part(64), 3), metric=lambda o, y: -10.0 * (o.argmax(1) != y))"
    (tmp_path / "toy.py").write_text(TOY_TASK.replace("data=sc.Splits(part(256), part(64), part(64), 3))", line))
    ramp = ("--steps", "30", "--end-lr", "1", "--reference-lr", ".1", "--seeds", "1", "--batch-size", "32")
    _, out, _ = run("range-test", "--task", "toy.py:make", *ramp, "--no-plot", "-q")
    assert "is unknown: give your Task(chance=...), its value for a network that learned nothing" in out


@pytest.mark.parametrize("running", [range_test], indirect=True)
@pytest.mark.usefixtures("running")
def test_a_metric_is_the_tasks_too() -> None:
    reason = "no metric was measured along the ramp: pass eval_batches= (or eval_accuracy= to from_arrays)"
    assert in_options(reason) == "no metric was measured along the ramp: give your Task(metric=...)"


def test_a_library_that_is_missing_is_said_in_options(run: Run, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = run("compare", "--task", task, "--steps", "4", "--batch-size", "32", "--workers", "ray", "-q")
    assert (code, "superconv: --workers ray needs Ray; run: pip install 'superconv[ray]'" in err) == (2, True)


@pytest.mark.parametrize("lr", ["0.1", "3"])
def test_a_learning_rate_is_a_schedule(run: Run, task: str, lr: str) -> None:
    code, out, err = run("train", "--task", task, "--lr", lr)
    assert (code, out) == (2, "")
    assert f"--schedule constant:lr={lr}" in err
    assert "--lr " not in run("train", "--help")[1]


def test_a_warning_names_options(capsys: pytest.CaptureFixture[str]) -> None:
    from superconv.cli.app import _show_warning

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        wording.worded(_verb)(end_lr=1.0)
    assert capsys.readouterr().err == "superconv: pass a larger --end-lr\n"


def _verb(end_lr: float = 0.0) -> None:
    warnings.warn("pass a larger end_lr", stacklevel=1)


def test_a_corrupt_picture_is_refused_in_the_words_of_the_command_line(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / name / "1.png")
        (tmp_path / "pictures" / name / "2.png").write_bytes(b"no picture")
    data = ("--data", f"folder:{tmp_path / 'pictures'}", "--model", "resnet8", "--schedule", "constant:lr=.1")
    code, _, err = run("train", *data, "-q")
    assert code == 2
    assert "remove them, or use --corrupt skip" in err
