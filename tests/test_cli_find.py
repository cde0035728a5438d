"""`superconv find` and `superconv train --recipe` from outside: what is printed, kept, and answered to a mistake."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from program import TOY_TASK, Run

from superconv.cli.find import _momenta, _print
from superconv.experiments.recipe import Recipe
from superconv.runs import read_rows

FIND = ("find", "--task", "toy.py:make", "--steps", "600", "--budget", "70%", "--batch-size", "32", "--weight-decays",
        "1e-4,1e-3", "--device", "cpu", "-q")  # fmt: skip
TRAIN = ("train", "--task", "toy.py:make", "--device", "cpu", "-q", "--json")


@pytest.fixture(autouse=True)
def _task_file(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY_TASK)


def test_from_a_task_to_a_trained_network(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(*FIND)
    recipe = Recipe.load(tmp_path / "runs/find/recipe.json")
    assert code == 0
    printed = out
    assert "Recipe for toy" in out
    assert f"of {recipe.budget} updates spent" in out
    assert recipe.updates <= recipe.budget == 420
    assert "Trials: weight decay" in out
    page = (tmp_path / "runs/find/report.html").read_text()
    assert "with which settings?" in page
    assert "what each setting is worth" in page
    code, out, err = run(*TRAIN, "--recipe", "runs/find/recipe.json", "--steps", "40")
    trained = json.loads(out)
    config = json.loads((Path(trained["path"]) / "run.json").read_text())["config"]
    assert (code, err, trained["stop"]) == (0, "", "completed")
    assert config["schedule"] == recipe.arm(40).schedule.to_dict()
    assert config["optimizer_options"] == recipe.optimizer_options
    assert (config["batch_size"], config["averaging_fraction"]) == (32, 0.8)
    assert not printed.startswith("found finished")
    assert run(*FIND)[1] == f"found finished: nothing was trained, all runs lie in {Path('runs/find')}\n{printed}"
    code, out, _ = run(*FIND, "--snippet")
    assert (code, out) == (0, recipe.snippet())
    code, out, _ = run(*FIND, "--json")
    assert json.loads(out)["schedule"] == recipe.schedule


@pytest.fixture
def recipe(tmp_path: Path, run: Run) -> Path:
    code, *_ = run(*FIND, "--budget", "116")
    assert code == 0
    return tmp_path / "runs/find/recipe.json"


def test_the_length_is_the_recipes_where_none_is_given(run: Run, recipe: Path) -> None:
    _, out, _ = run(*TRAIN, "--recipe", str(recipe))
    assert json.loads(out)["summary"]["steps"] == 600
    _, out, _ = run(*TRAIN, "--recipe", str(recipe), "--epochs", "3")
    assert json.loads(out)["summary"]["steps"] == 24  # of 256 samples in batches of 32


def test_what_is_given_explicitly_wins_and_is_told(run: Run, recipe: Path) -> None:
    code, out, err = run(*TRAIN, "--recipe", str(recipe), "--steps", "30", "--weight-decay", "0.02",
                         "--schedule", "constant:lr=.01", "--momentum", ".5", "--batch-size", "16",
                         "--label-smoothing", ".1")  # fmt: skip
    trained = json.loads(out)
    config = json.loads((Path(trained["path"]) / "run.json").read_text())["config"]
    assert code == 0
    assert config["optimizer_options"] == {"weight_decay": 0.02, "momentum": 0.5}
    assert (config["batch_size"], config["label_smoothing"]) == (16, 0.1)
    assert {row["lr"] for row in read_rows(Path(trained["path"])) if "lr" in row} == {0.01}
    told = err.splitlines()
    assert "superconv: --weight-decay 0.02 replaces the recipe's 0.0001" in told
    assert "superconv: --batch-size 16 replaces the recipe's 32" in told
    assert any("--schedule constant:lr=.01 replaces the recipe's one_cycle:" in line for line in told)


def test_the_command_that_trains_by_a_recipe_can_be_pasted(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _print(Recipe.load(recipe), Path("my runs/find/recipe.json"), Path("report.html"), False)
    command = capsys.readouterr().out.partition("(superconv ")[2].partition(" ...)")[0]
    assert shlex.split(command) == ["train", "--recipe", "my runs/find/recipe.json"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--optimizer", "adamw"), "--optimizer adamw contradicts the recipe"),
        (("--momentum", ".9"), "--momentum contradicts the recipe, which cycles the momentum"),
    ],
)
def test_conflicts_with_a_recipe_are_named(run: Run, recipe: Path, options: tuple[str, ...], words: str) -> None:
    code, out, err = run(*TRAIN, "--recipe", str(recipe), *options)
    assert (code, out) == (2, "")
    assert words in err


def test_a_recipe_of_another_task_is_told(run: Run, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace('"task": "', '"task": "another/'))
    code, _, err = run(*TRAIN, "--recipe", str(recipe), "--steps", "8")
    assert code == 0
    assert "superconv: the recipe was found for another/" in err


def test_a_momentum_that_the_schedule_writes_over_is_refused(run: Run) -> None:
    command = [each for each in TRAIN if each != "--json"]
    for verb, length in (("train", "8"), ("estimate-lr", "30")):
        code, _, err = run(
            verb, *command[1:], "--steps", length, "--schedule", "one_cycle:max_lr=.1", "--momentum", ".5"
        )
        assert code == 2
        assert "--momentum 0.5 would be ignored: the schedule sets the momentum" in err


def test_a_recipe_of_another_version_is_one_sentence(run: Run, recipe: Path) -> None:
    recipe.write_text(json.dumps({**json.loads(recipe.read_text()), "format": 7}))
    code, _, err = run(*TRAIN, "--recipe", str(recipe))
    assert code == 2
    assert "reads recipes of format 1, got 'recipe' of format 7" in err
    assert err.count("\n") == 1
    recipe.write_text("")
    code, _, err = run(*TRAIN, "--recipe", str(recipe))
    assert (code, err.count("\n")) == (1, 1)
    assert err.endswith("run superconv find again\n"), "there is no run directory to delete"
    code, _, err = run(*TRAIN, "--recipe", "none.json")
    assert (code, "there is no recipe none.json" in err) == (2, True)
    code, _, err = run(*TRAIN)
    assert (code, "--schedule one_cycle" in err) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "10%"), "--budget 10% allows 60 updates, one range test needs 116"),
        (("--weight-decays", "1e-4,-1"), "weight_decay: got -1.0"),
        (("--weight-decays", "1e-4,x"), "--weight-decays must be numbers joined by commas"),
        (("--momenta", ".9-.8-.7"), "--momenta must be numbers or ranges"),
        (("--momenta", "abc"), "joined by commas, such as .95-.85,.9; got 'abc'"),
        (("--batch-sizes", "3.5"), "--batch-sizes must be whole numbers"),
        (("--batch-sizes", "abc"), "such as 64,256; got 'abc'"),
        (("--dropouts", "abc"), "such as 0,.1,.2; got 'abc'"),
        (("--weight-decays", "abc"), "such as 1e-5,1e-4; got 'abc'"),
        (("--dropouts", "0,.1"), "takes no dropout"),
        (("--snippet", "--json"), "--json or --snippet"),
        (("--strategy", "companion", "--batch-sizes", "64"), "strategy 'companion' searches no batch sizes"),
    ],
)
def test_bad_usage_is_one_sentence(run: Run, options: tuple[str, ...], words: str) -> None:
    code, out, err = run(*FIND, *options)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_a_momentum_is_a_number_or_a_range() -> None:
    assert _momenta(".95-.85,.9,9e-1-85e-2") == [(0.95, 0.85), (0.9, 0.9), (0.9, 0.85)]


@pytest.mark.filterwarnings("always:.*will be replaced")
def test_another_tasks_recipe_is_replaced_not_without_a_word(run: Run, recipe: Path, tmp_path: Path) -> None:
    """And the page is of the last search, whatever was printed."""
    (tmp_path / "other.py").write_text(TOY_TASK.replace('"toy"', '"other"'))
    others = [option.replace("toy.py", "other.py") for option in (*FIND, "--budget", "116", "--snippet")]
    code, out, err = run(*others)
    assert (code, out) == (0, Recipe.load(recipe).snippet())
    assert f"{Path('runs/find/recipe.json')} was found for 'toy' and will be replaced by the recipe for 'other'" in err
    assert "another --experiment keeps both" in err
    assert "other: with which settings?" in (recipe.parent / "report.html").read_text()
    code, _, err = run(*others)
    assert (code, err) == (0, "")
    recipe.write_text("no recipe")
    assert run(*others)[::2] == (0, "")


def test_stopped_by_its_time_it_says_so(run: Run) -> None:
    for extra in ((), ("--json",)):
        code, out, err = run(*FIND, "--max-minutes", "1e-9", *extra)
        assert (code, out) == (1, "")
        assert "the time limit was reached; run the same command again" in err


def test_finished_work_stays_when_a_later_value_is_refused(run: Run, tmp_path: Path) -> None:
    assert run(*FIND)[0] == 0
    before = sorted(path.name for path in (tmp_path / "runs/find").rglob("summary.json"))
    assert run(*FIND, "--momenta", "1.5")[0] == 2
    assert sorted(path.name for path in (tmp_path / "runs/find").rglob("summary.json")) == before
    assert (tmp_path / "runs/find/recipe.json").exists()


def test_a_recipe_is_an_arm_of_a_comparison(run: Run, recipe: Path) -> None:
    recipe.write_text(recipe.read_text().replace('"task": "', '"task": "another/'))
    found = Recipe.load(recipe)
    contender, arm = found.contender(), found.arm(40)
    same = contender.arm(40)
    assert same.schedule == arm.schedule
    assert (same.optimizer, same.optimizer_options, same.batch_size) == (
        arm.optimizer, {k: v for k, v in arm.optimizer_options.items() if k != "momentum"}, arm.batch_size,
    )  # fmt: skip
    code, out, err = run(
        "compare", "--task", "toy.py:make", "--recipe", str(recipe), "--arms", "cosine,common default", "--steps", "8",
        "--ladder", "1,2", "--seeds", "1", "--trials", "1", "--finalists", "1", "--fresh-seeds", "1",
        "--workers", "1", "--device", "cpu", "-q", "--json",
    )  # fmt: skip
    assert code == 0, err
    sizes = {json.loads(path.read_text())["config"]["batch_size"] for path in Path("runs/compare").rglob("run.json")}
    assert sizes == {found.batch_size}, "every arm has the recipe's"
    assert "the recipe was found for another/" in err
    stored = json.loads(out)
    assert stored["tables"][0]["title"] == "recipe against the others"
    assert [row[0] for row in stored["tables"][1]["rows"]] == ["recipe", "cosine", "common default"]
    dropped = replace(found, dropout=0.1)
    with pytest.raises(ValueError, match=r"dropout 0\.1 cannot be one arm's"):
        dropped.contender()
