"""Searching a recipe on a toy task: its budget, what it reads, going on, workers, and the recipe it leaves."""

import ast
import json
import math
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import superconv as sc
from superconv.analysis.judge import _EDGES
from superconv.analysis.range_test import RangeTest
from superconv.analysis.recipe.companion import MOMENTA
from superconv.analysis.recipe.reasons import NO_REFERENCE, of_search
from superconv.analysis.repeats import joint_verdict
from superconv.experiments import probing
from superconv.experiments.allowance import Allowance, parse_allowance
from superconv.experiments.find import RECIPE_FILE, _store, find
from superconv.experiments.recipe import Recipe
from superconv.experiments.recipe_tables import recipe_tables, sentences
from superconv.experiments.search_plan import takes_dropout
from superconv.experiments.stopping import StopSignal
from superconv.records import StopReason
from superconv.report.stored_figures import stored_pictures
from superconv.runs import RunError, find_runs
from superconv.schedules import parse_schedule
from superconv.task import named_task
from superconv.training.optimizers import build_optimizer

BUDGET = 520


def make_part(samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 6, generator=generator)
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))


def make_dropping_net(dropout: float = 0.5) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Dropout(dropout), nn.Linear(12, 3))


def make_task(**changes: Any) -> sc.Task:
    splits = sc.Splits(make_part(256, 1), make_part(64, 2), make_part(64, 3), 3)
    return sc.Task(**{"name": "toy", "model": make_net, "data": splits, **changes})


def run(root: Path, task: Any = None, **changes: Any) -> Recipe:
    options = {"steps": 600, "budget": BUDGET, "batch_size": 32, "weight_decays": (1e-4, 1e-3), **changes}
    found = find(task or make_task(), root=root, device="cpu", **options)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    root = tmp_path_factory.mktemp("searched")
    return root, run(root)


def made_updates(root: Path) -> int:
    """Updates that the run directories say were made."""
    total = 0
    for found in find_runs(root):
        ramp = found.path / "range_test.json"
        summary = json.loads((found.path / "summary.json").read_text())
        total += sc.RangeTest.load(ramp).total_updates if ramp.exists() else summary["steps"]
    return total


def test_a_recipe_says_what_to_use_and_why(searched: tuple[Path, Recipe]) -> None:
    root, recipe = searched
    assert (recipe.task, recipe.steps, recipe.batch_size, recipe.optimizer) == ("toy", 600, 32, "sgd")
    assert recipe.optimizer_options["weight_decay"] in (1e-4, 1e-3)
    assert recipe.averaging_fraction(600) == 0.8
    assert recipe.confirmed >= 1
    assert max(max(scores) for scores in recipe.reached.values()) > 0.6
    assert {trial.factor for trial in recipe.evidence} >= {"weight decay", "confirmation"}
    assert Recipe.load(root / "find" / RECIPE_FILE) == recipe
    with pytest.raises(RunError, match=r"recipe\.json"):
        recipe.save(root / "find" / RECIPE_FILE / "recipe.json")
    stored = json.loads((root / "find" / "experiment.json").read_text())
    assert stored["kind"] == "find"
    assert stored["sentence"] == sentences(recipe)[0]
    assert stored["tables"][0]["title"] == "Recipe for toy"


def test_updates_made_are_those_told_and_within_the_budget(searched: tuple[Path, Recipe]) -> None:
    root, recipe = searched
    assert made_updates(root) == recipe.updates <= recipe.budget == BUDGET


def test_really_made_updates_stay_within_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    own = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda *a, **k: (steps.append(1), own(*a, **k))[1])
    recipe = run(tmp_path, budget="50%", batch_sizes=(16, 64))
    assert recipe.budget == 300
    assert 0 < len(steps) == recipe.updates <= 300


class Unreadable(Dataset):
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("the test split was read")


def test_the_test_split_is_never_read(tmp_path: Path, searched: tuple[Path, Recipe]) -> None:
    task = make_task(data=sc.Splits(make_part(256, 1), make_part(64, 2), Unreadable(), 3))
    assert run(tmp_path, task).picked == searched[1].picked
    summaries = [json.loads(path.read_text()) for path in (tmp_path / "find").rglob("summary.json")]
    assert len(summaries) > 4
    assert all(summary["test"] is None for summary in summaries)


class StopAt(StopSignal):
    """Says so at the n-th question."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self.left = questions

    def reason(self) -> StopReason | None:
        self.left -= 1
        return StopReason.interrupted if self.left < 0 else None


@pytest.mark.parametrize("questions", [30, 170, 270])  # in the range test, in the trainings
def test_stopped_it_goes_on_to_the_same_recipe(
    questions: int, tmp_path: Path, searched: tuple[Path, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(make_task(), steps=600, budget=BUDGET, batch_size=32, weight_decays=(1e-4, 1e-3), root=tmp_path,
                device="cpu", stop=StopAt(questions)) is None  # fmt: skip
    assert not (tmp_path / "find" / RECIPE_FILE).exists()
    assert run(tmp_path) == searched[1]


def test_again_nothing_is_trained(searched: tuple[Path, Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.SGD, "step", None)
    assert run(searched[0]) == searched[1]


def test_what_is_tried_and_why_is_told(tmp_path: Path, searched: tuple[Path, Recipe]) -> None:
    told: list[tuple[int, int, str]] = []
    assert run(tmp_path, report=lambda what, *rest: told.append(rest)) == searched[1]
    done = [entry[0] for entry in told]
    assert done == sorted(done)
    assert max(done) <= BUDGET == told[0][1]
    assert "range test: where learning rates become too large" in told[0][2]
    assert any("weight decay: lr" in text and "balances" in text for *_, text in told)


def test_workers_change_nothing(tmp_path: Path) -> None:
    options: dict[str, Any] = {"budget": 330, "strategy": "companion", "weight_decays": ()}  # one batch: one start
    alone, together = run(tmp_path / "1", **options), run(tmp_path / "2", partial(make_task), workers=2, **options)
    assert len(alone.evidence) == 4
    assert {tuple(trial.settings["momentum"]) for trial in alone.evidence} == set(MOMENTA)
    assert alone == together


def test_one_value_is_used_and_not_searched(tmp_path: Path) -> None:
    """By the companion's procedure too, whose own momenta are tried where none are given."""
    own: dict[str, Any] = {"momenta": ((0.9, 0.9),), "weight_decays": (5e-4,), "batch_sizes": (32,)}
    recipe = run(tmp_path / "1", strategy="companion", budget=330, **own)
    (trial,) = recipe.evidence
    assert (trial.settings["momentum"], trial.settings["weight_decay"]) == ([0.9, 0.9], 5e-4)
    assert (recipe.policy["max_momentum"], recipe.optimizer_options["momentum"]) == (None, 0.9)
    recipe = run(tmp_path / "2", **own)
    assert {trial.settings["weight_decay"] for trial in recipe.evidence} == {5e-4}
    assert len({trial.settings["max_lr"] for trial in recipe.evidence}) >= 3
    assert recipe.optimizer_options == {"momentum": 0.9, "weight_decay": 5e-4}


def test_the_grid_of_a_search_has_the_eight_trainings_that_its_budget_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measure(task: sc.Task, plan: Any, *rest: Any, **options: Any) -> Any:
        asked.append(plan)
        raise ValueError("enough")

    monkeypatch.setattr(probing, "run_range_test", measure)
    for budget in (1049, 1050):
        with pytest.raises(ValueError, match="enough"):
            run(tmp_path, budget=budget, steps=4000)
    assert [plan.reference_lr for plan in asked] == [None, "fixed-grid"]


def test_dropout_is_searched_where_the_model_takes_it(tmp_path: Path) -> None:
    task = make_task(model=make_dropping_net)
    options: dict[str, Any] = {"weight_decays": (1e-4,), "momenta": ((0.95, 0.85),), "batch_sizes": (32,)}
    recipe = run(tmp_path, task, budget=900, dropouts=(0.0, 0.4), **options)
    assert {trial.settings["dropout"] for trial in recipe.evidence} == {0.0, 0.4}
    assert recipe.dropout in (0.0, 0.4)
    assert recipe.applied(task).build_model()[2].p == recipe.dropout
    assert recipe.averaging_fraction(600) is None  # no BatchNorm


@pytest.mark.slow
def test_dropout_in_processes_is_what_it_is_here(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "weight_decays": (1e-4,), "momenta": ((0.95, 0.85),), "batch_sizes": (32,), "dropouts": (0.0, 0.4),
        "budget": 900,
    }  # fmt: skip
    maker = partial(make_task, model=make_dropping_net)
    alone, together = run(tmp_path / "1", maker(), **options), run(tmp_path / "2", maker, workers=2, **options)
    assert alone == together
    assert {trial.settings["dropout"] for trial in together.evidence} == {0.0, 0.4}


def test_which_models_take_dropout() -> None:
    assert takes_dropout(make_task(model=make_dropping_net))
    assert not takes_dropout(make_task())
    assert not takes_dropout(named_task("mnist5k", "lenet-slim"))
    assert takes_dropout(make_task(model=partial(sc.models.build_model, "resnet8")))


def test_minutes_are_kept(tmp_path: Path) -> None:
    recipe = run(tmp_path, budget="0.2min", steps=60)
    took = sum(json.loads(p.read_text())["seconds"] for p in (tmp_path / "find").rglob("summary.json"))
    assert took <= 12.0
    assert recipe.updates <= recipe.budget
    assert recipe.budget > 116


def test_when_time_is_up_what_is_known_has_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter(range(10**6))
    late = 2600  # two full range tests take 2520 updates at most; the trainings after them, many more
    monkeypatch.setattr(
        probing.Deadline, "reason", lambda self: StopReason.time_limit if next(asked) > late else self.outer.reason()
    )
    recipe = run(tmp_path, budget="10min", steps=4000)
    assert recipe.confirmed == 0
    assert "range test alone" in recipe.chosen_by
    assert 100 < recipe.updates < 2600 < recipe.budget


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": 100}, "allows 100 updates, one range test needs 116; allow 116 updates or more (20% of 600 steps)"),
        ({"budget": "5%"}, "allows 30 updates"),
        ({"budget": "0.00001min"}, "one range test needs 140; allow"),
        ({"budget": "soon"}, "budget='soon' is not understood"),
        ({"strategy": "balanced"}, "strategy 'balanced' is unknown"),
        ({"steps": 1}, "steps must be at least 2"),
        ({"weight_decays": (1e-4, -1.0)}, "weight_decay: got -1.0, allowed are finite numbers from 0"),
        ({"momenta": ((0.95, 0.85), (1.0, 0.8))}, "momentum"),
        ({"dropouts": (0.1, 0.2)}, "takes no dropout argument"),
        ({"batch_sizes": (0,)}, "batch_size must be at least 1"),
        ({"optimizer": "sdg"}, "optimizer 'sdg' is unknown"),
        ({"optimizer_options": {"weight_decay": 0.05}},
         "weight_decay=0.05 would be written over; give what to try as weight_decays, 0.05 alone as "
         "weight_decays=(0.05,)"),
        ({"optimizer_options": {"momentum": 0.5}},
         "momentum=0.5 would be written over; give what to try as momenta, 0.5 alone as momenta=((0.5, 0.5),)"),
        ({"optimizer_options": {"lr": 0.1}}, "lr=0.1 would be written over; max_lr is what is looked for"),
        ({"strategy": "companion", "batch_sizes": (32, 64)}, "strategy 'companion' searches no batch sizes"),
        ({"strategy": "companion", "dropouts": (0.1, 0.2)}, "takes no dropout argument"),
        ({"strategy": "companion", "dropouts": (0.1, 0.2), "task": make_task(model=make_dropping_net)},
         "strategy 'companion' searches no dropout"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_before_anything_is_trained(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        run(tmp_path, **changes)
    assert not list(tmp_path.rglob("range_test.json"))


def failing_net() -> nn.Module:
    raise RuntimeError("no such layer")


def nan_metric(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return outputs[:, 0] * math.nan


def test_tasks_that_cannot_be_trained_or_judged(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\(\) failed with RuntimeError: no such layer"):
        run(tmp_path, make_task(model=failing_net))
    with pytest.raises(ValueError, match="the metric 'nan_metric' is not a number on validation data"):
        run(tmp_path, make_task(metric=nan_metric))
    with pytest.raises(ValueError, match="no metric to choose by"):
        run(tmp_path, make_task(metric=None))
    with pytest.raises(ValueError, match="empty"):
        run(tmp_path, make_task(data=sc.Splits(make_part(256, 1), make_part(0, 2), None, 3)))


def test_a_loss_can_choose(tmp_path: Path) -> None:
    recipe = run(tmp_path, make_task(metric="loss", higher_is_better=False))
    scores = {t.settings["weight_decay"]: t.score for t in recipe.evidence if t.factor == "weight decay"}
    assert recipe.metric == "loss"
    assert min(recipe.reached[max(recipe.reached)]) <= max(scores.values())
    assert "%" not in sentences(recipe)[1]


def test_adamw_has_ranges_of_its_own(tmp_path: Path) -> None:
    recipe = run(tmp_path, optimizer="adamw", weight_decays=None, optimizer_options={"norm_weight_decay": 0.0})
    decays = {trial.settings["weight_decay"] for trial in recipe.evidence}
    assert {1e-3, 1e-2, 1e-1, 1.0} <= decays
    assert recipe.optimizer_options["norm_weight_decay"] == 0.0
    assert recipe.arm().schedule(0)["momentum"] == recipe.policy["max_momentum"]


class Descent(torch.optim.Optimizer):
    """Gradient descent with a learning rate and nothing else."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.add_(parameter.grad, alpha=-group["lr"])


def test_an_optimizer_without_momentum_or_decay(tmp_path: Path) -> None:
    recipe = run(tmp_path, optimizer=f"{__name__}.Descent", weight_decays=None, budget=400)
    assert recipe.policy["max_momentum"] is None
    assert "weight_decay" not in recipe.optimizer_options


# ---- the value -------------------------------------------------------------------------------------------------------


def test_the_arm_trains_under_the_recipe(searched: tuple[Path, Recipe]) -> None:
    recipe = searched[1]
    arm = recipe.arm(90)
    assert arm.schedule == parse_schedule(recipe.schedule, 90)
    assert arm.schedule.values()["lr"].max() == pytest.approx(recipe.policy["max_lr"], rel=0.03)
    assert (arm.batch_size, arm.averaging_fraction) == (recipe.batch_size, 0.8)
    assert arm.optimizer_options == recipe.optimizer_options
    assert recipe.arm().schedule.total_steps == 600


def test_the_noise_of_a_score_is_told(searched: tuple[Path, Recipe]) -> None:
    recipe = searched[1]
    best = max(trial.score for trial in recipe.evidence if trial.score is not None)
    assert recipe.noise == pytest.approx(math.sqrt(best * (1 - best) / 64))
    assert "With 64 validation samples" in " ".join(sentences(recipe))
    assert replace(recipe, metric="loss").noise is None


def test_diverged_trials_are_counted_and_reach_nothing(searched: tuple[Path, Recipe]) -> None:
    recipe = searched[1]
    picked = [trial for trial in recipe.evidence if dict(trial.settings) == recipe.picked]
    best = max(trial.score for trial in recipe.evidence if trial.score is not None)
    broken = replace(picked[0], score=0.999, diverged=True)  # chance, on data of one class
    more = replace(recipe, evidence=(*recipe.evidence, broken))
    assert (more.reached, more.noise) == (recipe.reached, recipe.noise)
    assert f"Of {len(more.evidence)} trial trainings 1 diverged." in sentences(more)
    assert not any("diverged" in sentence for sentence in sentences(recipe))
    assert best < 0.999
    nothing = replace(recipe, evidence=(broken,), chosen_by="every trial training diverged: max_lr 0.1, untested")
    assert nothing.reached == {}
    told = " ".join(sentences(nothing))
    assert "No trial training with these settings ended well: every trial training diverged: max_lr 0.1" in told


def test_memory_in_epochs(searched: tuple[Path, Recipe]) -> None:
    recipe = replace(
        searched[1], policy={**searched[1].policy, "max_lr": 0.5}, optimizer_options={"weight_decay": 1e-3}
    )
    assert recipe.memory_epochs == pytest.approx(2000 * 32 / 256)
    assert replace(recipe, optimizer_options={"weight_decay": 0.0}).memory_epochs is None


def test_another_format_is_one_sentence(searched: tuple[Path, Recipe], tmp_path: Path) -> None:
    data = searched[1].to_dict()
    with pytest.raises(ValueError, match="reads recipes of format 1, got 'recipe' of format 2"):
        Recipe.from_dict({**data, "format": 2})
    with pytest.raises(ValueError, match="the recipe lacks policy"):
        Recipe.from_dict({key: value for key, value in data.items() if key != "policy"})
    with pytest.raises(ValueError, match="there is no recipe"):
        Recipe.load(tmp_path / "none.json")


VARIANTS: list[dict[str, Any]] = [
    {},
    {"optimizer": "adamw", "optimizer_options": {"weight_decay": 0.1, "norm_weight_decay": 0.0}},
    {"optimizer": "nesterov", "clip_grad_norm": 1.0, "precision": "bf16", "dropout": 0.1},
    {"optimizer_options": {"momentum": 0.9, "weight_decay": 1e-3}, "batch_norm": False,
     "policy": {"max_lr": 0.5, "initial_lr": 0.05, "final_lr": 5e-5, "max_momentum": None}},
    {"optimizer": "adam", "optimizer_options": {"momentum": 0.8, "betas": None, "weight_decay": 0.0},
     "policy": {"max_lr": 0.01, "initial_lr": 0.001, "final_lr": 1e-6, "max_momentum": None}},
    {"optimizer": "caffe-sgd"},
    {"optimizer": "torch.optim:Adagrad", "optimizer_options": {},
     "policy": {"max_lr": 0.01, "initial_lr": 0.001, "final_lr": 1e-6, "max_momentum": None}},
]  # fmt: skip


def test_the_snippet_has_the_groups_that_the_recipe_was_found_with(searched: tuple[Path, Recipe]) -> None:
    options = {
        "weight_decay": 1e-3, "bias_lr_scale": 2.0, "norm_weight_decay": 0.0,
        "overrides": {"3.*": {"lr_scale": 0.5, "weight_decay": 0.1}, "*.bias": {"weight_decay": 0.0}},
    }  # fmt: skip
    recipe = replace(searched[1], optimizer_options=options, steps=60)
    found: list[Any] = []
    text = recipe.snippet().replace("optimizer.step()", "optimizer.step(); found[:] = [optimizer, model, step]")
    exec(compile(text, "snippet", "exec"), {"found": found})
    written, model, step = found
    lr = recipe.arm().schedule(step)["lr"]
    ours = build_optimizer(recipe.optimizer, model, lr=lr, **options)

    def by_parameter(optimizer: torch.optim.Optimizer) -> dict[int, tuple[float, float]]:
        return {
            id(p): (float(f"{g['lr']:.9g}"), g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
        }

    assert by_parameter(written) == by_parameter(ours)
    assert len(set(by_parameter(written).values())) == 5
    with pytest.raises(ValueError, match=r"overrides of 3\.weight: a program needs lr_scale"):
        replace(recipe, optimizer_options={"overrides": {"3.weight": {"lr": 0.1}}}).snippet()


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_snippet_runs_as_it_is(
    changes: dict[str, Any], searched: tuple[Path, Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(changes.get("optimizer_options", {"weight_decay": 1e-3}))
    options.pop("betas", None)
    recipe = replace(searched[1], **{**changes, "optimizer_options": options}, steps=60)
    used: list[dict[str, Any]] = []
    text = recipe.snippet()
    ast.parse(text)
    watched = text.replace("optimizer.step()", "optimizer.step(); used.append(dict(optimizer.param_groups[0]))")
    exec(compile(watched, "snippet", "exec"), {"used": used})
    expected = recipe.arm().schedule.values()
    assert np.allclose([group["lr"] for group in used], expected["lr"], rtol=1e-12)
    momentum = [group["betas"][0] if "betas" in group else group.get("momentum") for group in used]
    if "momentum" in expected:
        assert np.allclose(momentum, expected["momentum"], rtol=1e-12)
    elif "momentum" in options:
        assert set(momentum) == {options["momentum"]}
    assert used[0].get("weight_decay", 0) == options.get("weight_decay", 0)
    assert "superconv" not in text or recipe.optimizer == "caffe-sgd"


def test_the_snippet_in_fp16_scales_and_unscales(searched: tuple[Path, Recipe]) -> None:
    text = replace(searched[1], precision="fp16", clip_grad_norm=1.0).snippet()
    ast.parse(text)
    order = ["scaler.scale(loss).backward()", "scaler.unscale_(optimizer)", "clip_grad_norm_", "scaler.step(optimizer)"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


@pytest.mark.parametrize("name", [r"folder:C:\Users\me", 'a """b""" \\', "two\nlines", "caf\udce9"])
def test_the_snippet_is_a_program_whatever_the_task_is_called(searched: tuple[Path, Recipe], name: str) -> None:
    """A path on Windows holds what Python reads as an escape."""
    compile(replace(searched[1], task=name).snippet().encode(), "snippet", "exec")


def test_the_report_shows_the_figure(searched: tuple[Path, Recipe]) -> None:
    info = json.loads((searched[0] / "find" / "experiment.json").read_text())
    (picture,) = stored_pictures(info)
    assert picture.figure == searched[1].plot()
    assert picture.slug == "toy-what-each-setting-is-worth"
    assert stored_pictures({"figures": [{"title": "half"}, {"panels": 3}, 7]}) == []
    assert stored_pictures({}) == []


def test_a_search_that_trained_nothing_has_no_empty_figure(searched: tuple[Path, Recipe], tmp_path: Path) -> None:
    """Of a range test alone, also where an earlier version stored the empty figure."""
    recipe = replace(searched[1], evidence=())
    assert not recipe.plot().panels
    assert stored_pictures({"figures": [asdict(recipe.plot())]}) == []
    _store(recipe, make_task(), tmp_path, 1.0)
    assert json.loads((tmp_path / "experiment.json").read_text())["figures"] == []


def test_a_search_names_no_argument_of_a_range_test() -> None:
    bare = joint_verdict([RangeTest.from_arrays(lr=[0.1 * k for k in range(1, 30)], train_loss=[1.0] * 29,
                                                eval_accuracy=[0.5] * 29, chance=0.1)])  # fmt: skip
    assert "pass reference_lr=" in bare.reasons[0]
    assert of_search(bare.reasons) == (NO_REFERENCE,)
    for edge in _EDGES.values():
        (told,) = of_search([edge])
        assert edge.startswith(told)
        assert "_lr" not in told


def test_tables_and_figure_show_the_trials(searched: tuple[Path, Recipe]) -> None:
    recipe = searched[1]
    first, *more = recipe_tables(recipe)
    assert dict(first["rows"])["batch size"] == "32"
    assert sum(len(table["rows"]) for table in more) == len(recipe.evidence)
    figure = recipe.plot()
    (panel,) = [panel for panel in figure.panels if panel.title == "Weight decay"]
    assert {value for line in panel.lines for value in line.x} == {1e-4, 1e-3}
    trial = recipe.evidence[0]
    line = next(line for line in panel.lines if f", {trial.steps} steps" in line.name)
    alike = [t.score for t in recipe.evidence if (t.settings, t.steps) == (trial.settings, trial.steps)]
    assert line.y[line.x.index(trial.settings["weight_decay"])] == pytest.approx(np.mean(alike))
    assert panel.marks[0].x == recipe.optimizer_options["weight_decay"]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (400, Allowance(400, None)), ("400", Allowance(400, None)), (0.1, Allowance(100, None)),
        ("10%", Allowance(100, None)), ("250%", Allowance(2500, None)), ("2.5min", Allowance(None, 150.0)),
        ("5 minutes", Allowance(None, 300.0)), ("0.25", Allowance(250, None)), ("1MIN", Allowance(None, 60.0)),
        ("2e3", Allowance(2000, None)), (2000, Allowance(2000, None)), ("100%", Allowance(1000, None)),
        ("0.29%", Allowance(2, None)), (0.0019, Allowance(1, None)),
    ],
)  # fmt: skip
def test_budgets_in_every_form(budget: Any, expected: Allowance) -> None:
    assert parse_allowance(budget, 1000) == expected


def test_a_share_of_few_steps_is_not_one_less_for_the_sake_of_rounding() -> None:
    assert 0.29 * 100 < 29
    assert parse_allowance(0.29, 100) == parse_allowance("29%", 100) == Allowance(29, None)


@pytest.mark.parametrize("budget", [1.0, 1.5, "1.5"])
def test_a_number_that_could_be_a_share_or_updates_is_given_back_as_both(budget: Any) -> None:
    share = float(budget)
    with pytest.raises(ValueError, match=f"could be a share or updates; write '{100 * share:g}%' or {int(share)}$"):
        parse_allowance(budget, 1000)


@pytest.mark.parametrize("budget", [0, -5, "0%", "ten", "5h", "nan", 2.0, 1.5, True, math.inf, ""])
def test_budgets_that_are_none(budget: Any) -> None:
    with pytest.raises(ValueError, match=r"budget="):
        parse_allowance(budget, 1000)
