"""Tasks: what they refuse, names, import paths, and a hash that sees every change."""

import dataclasses
import doctest
import functools
import math
import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import superconv as sc
from superconv.data import Splits
from superconv.models import NAMES
from superconv.task import (
    Task,
    cross_entropy,
    definition,
    load_task,
    named_task,
    source_hash,
)


def splits(num_classes: int = 2, shape: tuple[int, ...] = (4,), fill: float = 0.0, name: str = "tiny") -> Splits:
    part = torch.full((8, *shape), fill), torch.arange(8) % num_classes
    return Splits(part, None, part, num_classes, name)


def net() -> nn.Module:
    return nn.Linear(4, 2)


def task(**changes) -> Task:
    return Task(**{"name": "tiny", "model": net, "data": splits(), **changes})


# ---- the value


def test_defaults_and_frozen():
    assert task().loss is F.cross_entropy
    assert task().metric == "accuracy"
    with pytest.raises(dataclasses.FrozenInstanceError):
        task().name = "other"


def test_a_loss_is_better_when_lower():
    assert task().higher_is_better
    assert task(metric=None).higher_is_better
    assert task(metric=lambda o, t: o.sum()).higher_is_better
    assert not task(metric=lambda o, t: o.sum(), higher_is_better=False).higher_is_better
    assert not task(metric="loss").higher_is_better
    with pytest.raises(ValueError, match="metric='loss' with higher_is_better=True would choose the worst"):
        task(metric="loss", higher_is_better=True)
    assert source_hash(task()) == source_hash(task(higher_is_better=True))


def test_models_are_fresh_seeded_and_move_no_random_state():
    before = torch.get_rng_state()
    first, again, other = (task().build_model(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert first is not again
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    task().build_model()
    assert not torch.equal(before, torch.get_rng_state())  # without a seed it draws from the global state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "task name"),
        ({"model": net()}, "model is a module, a function that makes one is needed"),
        ({"model": None}, "model must be a function"),
        ({"loss": "cross_entropy"}, "loss must be a function"),
        ({"split": 3}, "split must be a function"),
        ({"count": 3}, "count must be a function"),
        ({"chance": math.nan}, "chance must be a finite number or None, got nan"),
        ({"chance": "0.1"}, "chance must be a finite number"),
        ({"data": [1, 2]}, "data must be superconv.Splits, got list"),
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"metric": 3}, "metric 3 is unknown"),
    ],
)
def test_wrong_parts_are_answered(changes, message):
    with pytest.raises(ValueError, match=message):
        task(**changes)


def test_a_factory_that_returns_no_module_is_answered():
    with pytest.raises(ValueError, match=r"must return a torch.nn.Module, got int"):
        task(model=lambda: 3).build_model(seed=0)


# ---- names


def test_label_smoothing():
    outputs, targets = torch.randn(6, 3), torch.arange(6) % 3
    expected = 0.8 * F.cross_entropy(outputs, targets) - 0.2 * F.log_softmax(outputs, 1).mean()
    torch.testing.assert_close(cross_entropy(0.2)(outputs, targets), expected)
    assert cross_entropy() is F.cross_entropy
    with pytest.raises(ValueError, match=r"label_smoothing: got 1\.0"):
        cross_entropy(1.0)


@pytest.fixture
def pictures(monkeypatch):
    """`superconv.data.load` answers with 16-pixel pictures, three channels, five classes."""
    asked = []

    def load(name, data_dir=None, **options):
        asked.append((name, data_dir, options))
        return splits(5, (3, 16, 16), name=name)

    monkeypatch.setattr("superconv.data.load", load)
    return asked


def test_named_tasks_fit_the_data(pictures):
    named = named_task("pics", "lenet-slim", data_dir="here", label_smoothing=0.1, data_options={"image_size": 16})
    assert pictures == [("pics", "here", {"image_size": 16})]
    assert named.name == "pics/lenet-slim"
    model = named.build_model(seed=0)
    assert model(torch.zeros(2, 3, 16, 16)).shape == (2, 5)
    assert named.loss.keywords == {"label_smoothing": 0.1}
    assert not named_task("pics", "mlp", metric="loss").higher_is_better
    wide = named_task("pics", "mlp", model_options={"widths": (7,)}).build_model(seed=0)
    assert wide.classifier.in_features == 7


def test_named_tasks_refuse_early(pictures, monkeypatch):
    with pytest.raises(ValueError, match="did you mean 'lenet'"):
        named_task("pics", "lenett")
    with pytest.raises(ValueError, match="label_smoothing"):
        named_task("pics", NAMES[0], label_smoothing=2)
    assert pictures == []  # no data was read
    monkeypatch.setattr("superconv.data.load", lambda *_, **__: splits(5, (3, 10, 10)))
    with pytest.raises(ValueError, match="at least 13x13"):
        named_task("pics", "lenet")
    monkeypatch.setattr("superconv.data.load", lambda *_, **__: splits(5, (7,)))
    with pytest.raises(ValueError, match=r"one sample has shape \(7,\)"):
        named_task("rows", "lenet")


def test_named_tasks_read_the_shape_of_a_dataset(monkeypatch):
    class Lazy(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return torch.zeros(1, 20, 20), index % 2

    monkeypatch.setattr("superconv.data.load", lambda *_, **__: Splits(Lazy(), None, Lazy(), 2))
    assert named_task("lazy", "mlp").build_model(seed=0)(torch.zeros(1, 1, 20, 20)).shape == (1, 2)


# ---- import paths

SOURCE = """
    import torch
    from torch import nn
    from superconv.data import Splits
    from superconv.task import Task
    from beside import WIDTH

    def net():
        return nn.Linear(WIDTH, 2)

    def make():
        part = torch.zeros(8, WIDTH), torch.arange(8) % 2
        return Task("mine", net, Splits(part, None, part, 2))

    ready = make()
    number = 3

    def nothing():
        return None

    def broken():
        return 1 / 0
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a module of the user's, as the working directory."""
    (tmp_path / "beside.py").write_text("WIDTH = 4\n")
    (tmp_path / "user_tasks.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / "user_broken.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "user_syntax.py").write_text("def make(:\n")
    monkeypatch.chdir(tmp_path)

    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("user_", "beside", "superconv_task_")):
            del sys.modules[name]
    assert sys.path == path


@pytest.mark.parametrize(
    "where", ["user_tasks:make", "user_tasks.py:make", "user_tasks:ready", "./user_tasks.py:ready"]
)
def test_tasks_by_import_path(project, where):
    assert load_task(where).name == "mine"


def test_a_file_somewhere_else_finds_its_neighbours(project, monkeypatch):
    monkeypatch.chdir("/")
    assert load_task(f"{project}/user_tasks.py:make").build_model(seed=0).in_features == 4


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("user_tasks", "allowed are package.module:function"),
        (":make", "allowed are"),
        ("user_task:make", "there is no module 'user_task'"),
        ("no_package.module:make", "there is no module 'no_package'"),
        ("user_task.py:make", "there is no file"),
        ("user_tasks:mak", "has no 'mak'; did you mean 'make'"),
        ("user_tasks:number", "it is a int, allowed are"),
        ("user_tasks:nothing", "it returned a NoneType"),
        ("user_tasks:broken", r"calling it failed with ZeroDivisionError: .* \(line \d+ of user_tasks.py\)"),
        ("user_broken:make", "importing it failed with ModuleNotFoundError: .*a_package_that_is_not_there"),
        ("user_broken.py:make", "importing it failed with ModuleNotFoundError"),
        ("user_syntax:make", "importing it failed with SyntaxError"),
    ],
)
def test_wrong_import_paths_are_answered(project, where, message):
    with pytest.raises(ValueError, match=message):
        load_task(where)


# ---- identity


def make_of_width(width: int):
    return lambda: nn.Linear(4, width)


def adaptable(width: int = 2) -> nn.Module:
    return nn.Linear(4, width)


def test_equal_tasks_have_equal_hashes_and_changes_are_seen():
    changes = [
        {},
        {"name": "other"},
        {"model": adaptable},
        {"model": functools.partial(adaptable, 2)},
        {"model": functools.partial(adaptable, width=3)},
        {"model": make_of_width(2)},
        {"model": make_of_width(3)},
        {"loss": F.mse_loss},
        {"loss": cross_entropy(0.1)},
        {"loss": cross_entropy(0.2)},
        {"loss": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))},
        {"loss": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 3.0]))},
        {"metric": None},
        {"higher_is_better": False},
        {"split": lambda batch: (batch[0], batch[1])},
        {"chance": 0.1},
        {"chance": 0.2},
        {"count": lambda batch: len(batch[1])},
        {"data": splits(fill=1.0)},
        {"data": splits(name="other")},
    ]
    hashes = [source_hash(task(**change)) for change in changes]
    assert len(set(hashes)) == len(changes)
    assert hashes[0] == source_hash(task())
    assert hashes[6] == source_hash(task(model=make_of_width(3)))
    assert len(hashes[0]) == 64


def test_an_edit_of_a_class_that_the_factory_uses_is_seen(tmp_path):
    text = textwrap.dedent(
        """
        import torch
        from torch import nn
        from superconv.data import Splits
        from superconv.task import Task
        DEPTH = 1
        class Net(nn.Module):
            def forward(self, x):
                return helper(x)
        def helper(x):
            return x * 2
        def unused():
            return 1
        def make():
            part = torch.zeros(8, 4), torch.arange(8) % 2
            return Task("mine", lambda: Net() if DEPTH else None, Splits(part, None, part, 2))
        """
    )
    hashes = []
    for number, (old, new) in enumerate(
        [("", ""), ("x * 2", "x * 3"), ("DEPTH = 1", "DEPTH = 2"), ("return 1", "return 5")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "user_edited.py").write_text(text.replace(old, new) if old else text)
        hashes.append(source_hash(load_task(f"{folder}/user_edited.py:make")))
    assert len(set(hashes[:3])) == 3
    assert hashes[3] == hashes[0]  # what the task does not use does not matter


def test_the_hash_does_not_move_when_checksums_were_read():
    data = splits()
    model = functools.partial(lambda held: nn.Linear(4, 2), data)
    before = source_hash(task(data=data, model=model))
    assert source_hash(task(data=data, model=model)) == before


def test_tasks_and_metrics_in_the_documentation_run():
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, names)
    assert names["make_task"]().data.num_classes == 2
    regression = names["make_regression"]()
    assert (regression.data.num_classes, regression.higher_is_better) == (None, False)
    batches = [(regression.data.train.inputs, regression.data.train.targets)]
    result = sc.evaluate(regression.build_model(0), batches, F.mse_loss, metric=names["R2"]())
    assert -1.0 < result.metric < 1.0


@pytest.mark.parametrize("module", [definition])
def test_examples_in_docstrings_run(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
