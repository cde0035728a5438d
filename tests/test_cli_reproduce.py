"""The verb `reproduce`: the list, a run, results, mistakes."""

import json
from pathlib import Path

import pytest
from program import Run

from superconv.paper.claims import CLAIMS
from superconv.paper.results import save
from superconv.runs import find_runs
from superconv.runs.lock import FolderLock


def test_the_list_and_its_json(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("reproduce", "--list", "--json", "--data-dir", str(tmp_path))
    found = json.loads(out)
    assert (code, len(found)) == (0, sum(len(claim.experiments) for claim in CLAIMS))
    assert {"name", "claim", "figure", "status", "scales"} <= set(found[0])
    assert {entry["status"] for entry in found} >= {"not buildable"}
    code, out, _ = run("reproduce", "--list", "--data-dir", str(tmp_path))
    assert code == 0
    assert f"{len(found)} experiments" in out


def test_the_list_of_a_selection(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("reproduce", "--list", "--json", "max-lr/3", "Table 5", "--data-dir", str(tmp_path))
    assert [entry["name"] for entry in json.loads(out)] == [
        "max-lr/3", *(f"batch-size/{size}" for size in (1536, 1000, 512, 256))
    ]  # fmt: skip
    assert code == 0
    code, out, _ = run("reproduce", "--list", "max-lr/3", "--data-dir", str(tmp_path))
    assert (code, "max-lr/3 " in out, "max-lr/3.5" in out) == (0, True, False)
    code, _, err = run("reproduce", "--list", "max-rl")
    assert (code, "did you mean 'max-lr'" in err) == (2, True)


def test_a_smoke_run_says_its_words_and_keeps_no_results(run: Run, tmp_path: Path) -> None:
    where = ["--runs-dir", str(tmp_path / "runs"), "--out", str(tmp_path / "results"), "--workers", "1", "--quiet"]
    code, out, err = run("reproduce", "momentum/0.9", "momentum/0.95", "--scale", "smoke", "--seeds", "3", *where)
    assert (code, err) == (0, "")
    assert "0.95 below 0.9 by 1.7 points" in out
    assert "at smoke scale" in out
    assert "the images are noise" in " ".join(out.split())
    assert not (tmp_path / "results").exists()
    code, out, _ = run("reproduce", "momentum/0.9", "--scale", "smoke", "--seeds", "1", "--json", *where)
    found = json.loads(out)
    assert (code, found[0]["word"], found[0]["results"]) == (0, "not run", None)  # the effect needs both arms


def test_a_time_limit_ends_with_a_sentence(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "reproduce", "max-lr", "--scale", "smoke", "--max-minutes", "0.0001", "--workers", "1", "--quiet", "--json",
        "--runs-dir", str(tmp_path),
    )  # fmt: skip
    assert code == 1
    assert isinstance(json.loads(out), list)  # nothing but JSON
    assert "the time limit was reached" in err


def test_the_overview_is_markdown(run: Run, tmp_path: Path) -> None:
    from test_paper_reproduce import headline

    save(headline(), tmp_path)
    code, out, _ = run("reproduce", "--overview", "--out", str(tmp_path))
    assert code == 0
    assert out.startswith("| claim | the paper's effect |")
    code, out, _ = run("reproduce", "--overview", "--long", "--out", str(tmp_path))
    assert (code, "## super-convergence, paper scale: holds" in out) == (0, True)


def test_what_the_results_hold_is_not_run_again(run: Run, tmp_path: Path) -> None:
    from test_paper_reproduce import headline

    path = save(headline(3), tmp_path)
    before = path.read_bytes()
    command = ("reproduce", "super-convergence", "--scale", "paper", "--out", str(tmp_path), "--data-dir", "nowhere")
    code, out, err = run(*command, "--quiet")
    assert (code, err) == (0, f"already in {tmp_path} and not run again: 6 (another --out runs them)\n")
    assert "Holds." in out
    assert path.read_bytes() == before
    path.with_suffix(".png").unlink()  # killed before it was drawn
    assert run(*command, "--quiet")[0] == 0
    assert path.with_suffix(".png").stat().st_size > 1000
    code, out, _ = run(*command, "--seeds", "2", "--quiet")
    assert "n=3: holds" in out, "of all seeds that are there"
    code, _, err = run(*command, "--max-minutes", "0.0001", "--quiet")  # over when everything is there
    assert (code, "time limit" in err) == (0, False)
    for more in (("--seeds", "4"), ("--precision", "bf16")):  # what is missing needs its data
        code, _, err = run(*command, *more, "--quiet")
        assert code == 2
        assert "superconv data fetch cifar10" in err


def test_a_run_that_another_process_holds_is_left_alone_and_said(run: Run, tmp_path: Path) -> None:
    command = ["reproduce", "max-lr/3", "--scale", "smoke", "--workers", "1", "--quiet", "--runs-dir", str(tmp_path)]
    run(*command, "--seeds", "1")
    (held,) = find_runs(tmp_path)
    (held.path / "summary.json").unlink()
    before = {path.name: path.read_bytes() for path in held.path.iterdir()}
    lock = FolderLock(held.path)
    lock.acquire()
    try:
        code, out, err = run(*command, "--seeds", "2")
        after = {path.name: path.read_bytes() for path in held.path.iterdir() if path.name in before}
    finally:
        lock.release()
    assert (code, "(n=1)" in out, before == after) == (1, True, True)
    assert err == (
        "Another process is at max-lr/3, seed 0: left to it. The same command finds what it finishes.\n"
    )  # fmt: skip
    code, out, err = run(*command, "--seeds", "2")
    assert (code, "(n=2)" in out, err) == (0, True, "")


def test_what_another_process_added_to_the_results_is_not_missing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_paper_reproduce import headline

    def elsewhere(*_: object, **__: object) -> list[object]:
        save(headline(3), tmp_path)
        return [headline(1)]  # seed 0 alone was trained here

    monkeypatch.setattr("superconv.paper.reproduce.reproduce", elsewhere)
    code, out, err = run("reproduce", "super-convergence", "--scale", "paper", "--out", str(tmp_path), "--quiet")
    assert (code, "n=3: holds" in out, err) == (0, True, "")


def test_results_of_another_version_are_refused_before_the_run(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "results"
    out.mkdir()
    (out / "max-lr-short.json").write_text('{"format": 99, "claim": "max-lr"}')
    for command in (["max-lr/3", "--scale", "short", "--data-dir", "nowhere"], ["--overview"]):
        code, _, err = run("reproduce", *command, "--out", str(out), "--runs-dir", str(tmp_path / "runs"))
        assert (code, len(err.splitlines())) == (2, 1)
        assert "max-lr-short.json has format 99, this version reads 1; move it away" in err
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in ("file", "file/below"):
        command = ["max-lr/3", "--scale", "short", "--data-dir", "nowhere", "--out", str(tmp_path / out)]
        code, _, err = run("reproduce", *command, "--runs-dir", str(tmp_path / "runs"))
        assert (code, len(err.splitlines())) == (1, 1)
        assert f"cannot write {tmp_path / out}: a file stands where a directory is needed" in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_missing_data_name_the_command(run: Run, tmp_path: Path) -> None:
    code, _, err = run(
        "reproduce", "max-lr/3", "--data-dir", str(tmp_path), "--seeds", "1", "--workers", "1", "--quiet"
    )
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"superconv data fetch cifar10 --data-dir {tmp_path}" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to reproduce"),
        (["fig1a-crl"], "no experiment 'fig1a-crl'; did you mean 'fig1a-clr'"),
        (["max-lr", "--long"], "--long goes with --overview"),
        (["--overview", "--json"], "--json does not go with --overview"),
        (["--overview", "--list"], "--list does not go with --overview"),
        (["max-lr", "--overview"], "a name does not go with --overview"),
        (
            ["max-lr", "--scale", "epoch"],
            "did you mean 'epochs'? allowed are paper, medium, epochs, deep, rates, short, smoke",
        ),
    ],
)
def test_mistakes_are_one_sentence(run: Run, arguments: list[str], message: str) -> None:
    code, _, err = run("reproduce", *arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_what_cannot_be_built_says_why(run: Run) -> None:
    code, _, err = run("reproduce", "failures/restarts", "--scale", "smoke")
    assert code == 2
    assert "failures/restarts cannot be built: schedule, length and accuracy are not given" in err
    code, out, err = run(
        "reproduce", "depth/sweep", "depth/resnet20-clr", "--scale", "smoke", "--seeds", "1", "--quiet"
    )
    assert code == 0
    assert "depth/sweep cannot be built: 20 + 9n layers" in err
    assert "resnet20-clr" in out
