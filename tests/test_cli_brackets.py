"""Text of others is printed as it is: brackets, colons and dollars in names are neither markup nor in the way."""

from pathlib import Path

import pytest
from program import TOY_TASK, Run

from superconv.cli.tables import column_widths, print_tables
from superconv.runs import folder_name

NAMES = ("my [red]net[x]", "net[/x]", r"a\[b] :smile: $x", "[bold]")
SMALL = ("--batch-size", "32")
VERBS = {
    "train": ("--schedule", "constant:lr=.1", "--steps", "4", *SMALL),
    "estimate-lr": ("--steps", "4", *SMALL),
    "range-test": ("--steps", "12", "--forks", "3", "--end-lr", "1", "--seeds", "1", "--reference-lr", "none", *SMALL),
    "find": ("--steps", "400", "--budget", "200", *SMALL),
    "compare": (
        "--steps", "4", "--ladder", "1", "--seeds", "1", "--trials", "1", "--finalists", "1", "--fresh-seeds", "1",
        "--workers", "1", *SMALL,
    ),
}  # fmt: skip


def task_called(name: str, tmp_path: Path) -> str:
    (tmp_path / "toy.py").write_text(TOY_TASK.replace('"toy"', repr(name)))
    return "toy.py:make"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", NAMES[:2])
def test_no_verb_stumbles_over_a_name(run: Run, tmp_path: Path, verb: str, name: str) -> None:
    """With the progress display, which shows names too."""
    code, out, err = run(verb, "--task", task_called(name, tmp_path), *VERBS[verb])
    assert "Error" not in err
    assert code in (0, 1)  # 1: a ramp this short suggests nothing
    assert out
    if verb == "find":
        assert f"Recipe for {name}" in out
    if verb == "estimate-lr":
        assert "expected-loss" in out
        assert folder_name(f"{name} constant lr 0.1") in err


def test_data_says_what_to_install(run: Run, tmp_path: Path) -> None:
    _, out, _ = run("data", "--data-dir", str(tmp_path))
    assert "pip install 'superconv[demo]'" in " ".join(out.split())


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("columns", [30, 200])
def test_tables_lose_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [[f"row {text}", f"cell {text}"] * 3]
    print_tables([{"title": f"title {text}", "columns": [f"column {text}"] * 6, "rows": rows, "note": f"note {text}"}])
    out = " ".join(capsys.readouterr().out.split())
    assert all(f"{what} {text}" in out for what in ("title", "row", "cell", "note", "column"))


@pytest.mark.parametrize("text", NAMES)
def test_the_progress_display_loses_nothing(capsys: pytest.CaptureFixture[str], text: str) -> None:
    from superconv.cli.progress import bar

    with bar() as display:
        display.show(f"doing {text}", 1, 2, f"now {text}")
    err = capsys.readouterr().err
    assert f"doing {text}" in err
    assert f"now {text}" in err


@pytest.mark.parametrize("room", [20, 40, 60, 80, 120, 300])
def test_no_word_of_a_table_is_broken(
    room: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(room))
    cell = "+8.59 (+0.25 to +16.94): inconclusive"
    columns = ["opponent", "all lengths", "40 steps", "80 steps", "speed-up"]
    print_tables([{"title": "t", "columns": columns, "rows": [["piecewise constant", *[cell] * 4]], "note": ""}])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= room
    assert out.split().count("inconclusive") == 4


def test_widths_fit_the_room_and_their_words() -> None:
    cells = [["a", "column"], ["longest-word", "many short words that can be wrapped anywhere"]]
    assert column_widths(cells, 200) == [12, 45]
    narrow = column_widths(cells, 40)
    assert narrow is not None
    assert (narrow[0], sum(narrow)) == (12, 35)
    assert column_widths(cells, 20) is None
    path = column_widths([["where"], ["/a" * 500]], 80)  # longer than any screen: it is broken
    assert path is not None
    assert path[0] <= 78


def test_a_folder_name_is_made_of_any_text() -> None:
    assert folder_name("folder:px-resnet8") == "folder-px-resnet8"
    assert folder_name("a b_c+1=@,.x") == "a b_c+1=@,.x"
    assert (folder_name("net[/x]"), folder_name(" (v2)")) == ("net-x", "v2")
    assert (folder_name(""), folder_name("."), folder_name("ü")) == ("unnamed",) * 3
    assert len(folder_name("x" * 1000)) < 200
