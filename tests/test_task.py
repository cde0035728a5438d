"""Tasks: what they refuse, names, import paths, and a hash that sees every change."""

import dataclasses
import doctest
import functools
import importlib
import logging
import math
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import superconv as sc
from superconv.data import Splits
from superconv.models import NAMES, build_model
from superconv.task import (
    Task,
    cross_entropy,
    definition,
    load_task,
    named_task,
    source_hash,
)
from superconv.task.description import described


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
        ({"metric": 3}, "metric 3 is unknown; pass a name"),
        ({"metric": ["accuracy", "loss"]}, r"metric \['accuracy', 'loss'\] is unknown; one metric is taken"),
        ({"metric": {"a": abs}}, "is unknown; one metric is taken, by which runs are judged"),
    ],
)
def test_wrong_parts_are_answered(changes, message):
    with pytest.raises(ValueError, match=message):
        task(**changes)


def test_a_full_memory_is_no_fault_of_the_tasks(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        task(model=lambda: nn.Linear(10**8, 10**7)).build_model(0)
    (tmp_path / "large.py").write_text("import numpy\ndef make():\n    return numpy.ones(10**15)\n")
    with pytest.raises(MemoryError):
        load_task(f"{tmp_path / 'large.py'}:make")
    (tmp_path / "at_once.py").write_text("import torch\nwhole = torch.empty(10**15)\n")
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        load_task(f"{tmp_path / 'at_once.py'}:whole")


def test_a_name_that_is_no_utf8_has_a_hash():
    names = [os.fsdecode(name) for name in (b"folder:p\xe9x", b"folder:p\xe8x")]
    hashes = {source_hash(task(name=name, data=splits(name=name))) for name in names}
    assert len(hashes) == 2


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
        if name.startswith(("user_", "beside", "later", "superconv_task_")):
            del sys.modules[name]
    added = sys.path[len(path) :]
    sys.path[:] = sys.path[: len(path)]
    assert sys.path == path
    assert added in ([], [str(tmp_path)])


@pytest.mark.parametrize(
    "where", ["user_tasks:make", "user_tasks.py:make", "user_tasks:ready", "./user_tasks.py:ready"]
)
def test_tasks_by_import_path(project, where):
    assert load_task(where).name == "mine"


def test_a_file_somewhere_else_finds_its_neighbours(project, monkeypatch):
    monkeypatch.chdir("/")
    assert load_task(f"{project}/user_tasks.py:make").build_model(seed=0).in_features == 4


LATER = """
    import torch
    import superconv as sc

    def net():
        import colorsys
        from later import Net
        assert hasattr(colorsys, "rgb_to_hsv"), "shadowed"
        return Net()

    def make():
        inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
        part = inputs, (inputs[:, 0] > 0).long()
        return sc.Task("later", net, sc.Splits(part, part, part, 2))
"""


def train_later(where: str, seed: int, root: str) -> float:
    """In a worker: the task is loaded there."""
    from superconv.experiments.config import Arm
    from superconv.experiments.runner import run_arm

    arm = Arm("a", sc.constant(2, lr=0.1), batch_size=20)
    return run_arm(load_task(where), arm, seed, root=root, device="cpu").summary["train_loss"]


def test_functions_may_import_what_lies_beside_the_file_when_they_are_called(project, monkeypatch):
    (project / "later.py").write_text("import torch\ndef Net(): return torch.nn.Linear(4, 2)\n")
    (project / "colorsys.py").write_text("")  # a name of the standard library's
    (project / "user_later.py").write_text(textwrap.dedent(LATER))
    monkeypatch.chdir("/")
    for _ in range(2):
        assert load_task(f"{project}/user_later.py:make").build_model(seed=0).in_features == 4
    assert sys.path.count(str(project)) == 1
    from superconv.experiments.workers import run_jobs

    jobs = [(f"{project}/user_later.py:make", seed, str(project / "runs")) for seed in (0, 1)]
    assert len(dict(run_jobs(train_later, jobs, workers=2))) == 2


def test_a_task_that_does_not_load_leaves_the_search_path_alone(project):
    path = list(sys.path)
    for where in ("user_broken.py:make", "user_tasks.py:broken", "user_tasks.py:nothing"):
        with pytest.raises(ValueError, match="task "):
            load_task(where)
    assert sys.path == path


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


FILES = {
    "mine.py": """
        import functools
        import torch
        import nets
        from nets import Net
        from torch import nn
        from torch.nn import ReLU as ACT
        from torch.utils.data import Dataset, default_collate
        from superconv.data import Splits
        from superconv.task import Task

        CONFIG = {"hidden": 64, "act": nn.ReLU, "sizes": [[1, 2], [3]]}
        NAMES = {"a", "b", "c", "d", "e", "f", "g", "h", ("i", frozenset({"j", "k", "l", "m"}))}
        CHOICE = Net
        LINEAR = functools.partial(nn.Linear, bias=True)
        TABLE = torch.tensor([1.0, 2.0])
        UNUSED = [1]

        class Options:
            __slots__ = ("rate",)
            def __init__(self):
                self.rate = 0.1

        OPTIONS = Options()

        class Base(nn.Module):
            def forward(self, x):
                return x * 2

        class Own(Base):
            '''A network.'''
            slope = CONFIG["hidden"]
            @property
            def twice(self):
                return doubled(self.slope)

        def doubled(x):
            return x * 2

        def scaled(factor):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(*given):
                    return function(*given) * factor
                return wrapper
            return decorate

        @scaled(len(UNUSED))
        def penalty(x):
            return x + 1

        @torch.no_grad()
        def offset():
            return 5

        @functools.cache
        def kept():
            return 7

        def net():
            '''Makes a network.'''
            return Own(), ACT(), LINEAR(CONFIG["hidden"], len(NAMES)), CHOICE(8), OPTIONS

        def loss(outputs, targets):
            return nets.loss(outputs, targets) * TABLE + penalty(kept()) * offset()

        class Listed(Dataset):
            def __init__(self, root):
                self.root, self.targets = root, [0, 1] * 1000
                self.samples = [(f"{root}/{number}", number % 2) for number in range(2000)]
            def __len__(self):
                return len(self.targets)
            def __getitem__(self, index):
                return torch.zeros(4), self.targets[index]

        def joined(samples):
            return default_collate(samples[::1])

        def make():
            return Task("mine", net, Splits(Listed("/here"), None, None, 2, collate_fn=joined), loss)
        """,
    "nets.py": """
        from torch import nn
        import layers

        class Net(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.layer = layers.layer(width)

        def loss(outputs, targets):
            return (outputs - targets).abs()
        """,
    "layers.py": """
        from torch import nn

        def layer(width):
            return nn.Linear(4, width)
        """,
}


def hash_of_files(folder: Path, file: str = "", old: str = "", new: str = "") -> str:
    """Of the task in `FILES`, in a folder of its own and as a new process would import it, after an edit."""
    folder.mkdir()
    for name, text in FILES.items():
        text = textwrap.dedent(text)
        assert name != file or text.count(old) == 1, "the edit is one"
        (folder / name).write_text(text.replace(old, new) if name == file else text)
    for module in ("nets", "layers"):
        sys.modules.pop(module, None)
    importlib.invalidate_caches()
    return source_hash(load_task(f"{folder}/mine.py:make"))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("mine.py", '"hidden": 64', '"hidden": 65', id="number in a dict"),
        pytest.param("mine.py", '"act": nn.ReLU', '"act": nn.Sigmoid', id="class in a dict"),
        pytest.param("mine.py", "[[1, 2], [3]]", "[[1], [2, 3]]", id="nesting"),
        pytest.param("mine.py", '"m"', '"n"', id="nested set"),
        pytest.param("mine.py", "CHOICE = Net", "CHOICE = nn.Sigmoid", id="alias"),
        pytest.param("mine.py", "ReLU as ACT", "Sigmoid as ACT", id="imported alias"),
        pytest.param("mine.py", "bias=True", "bias=False", id="partial"),
        pytest.param("mine.py", "tensor([1.0, 2.0])", "tensor([1.0, 2.5])", id="tensor"),
        pytest.param("mine.py", "self.rate = 0.1", "self.rate = 0.2", id="object with slots"),
        pytest.param("mine.py", "return x * 2\n\nclass Own", "return x * 3\n\nclass Own", id="base class"),
        pytest.param("mine.py", "def doubled(x):\n    return x * 2", "def doubled(x):\n    return x", id="property"),
        pytest.param("mine.py", 'slope = CONFIG["hidden"]', "slope = 63", id="class attribute"),
        pytest.param("mine.py", "* factor", "+ factor", id="decorator"),
        pytest.param("mine.py", "UNUSED = [1]", "UNUSED = [1, 2]", id="value that a decorator is given"),
        pytest.param("mine.py", "return x + 1", "return x + 2", id="decorated"),
        pytest.param("mine.py", "return 5", "return 6", id="decorated by a library"),
        pytest.param("mine.py", "return 7", "return 8", id="cached"),
        pytest.param("nets.py", "super().__init__()", "super().__init__(); self.width = width", id="other module"),
        pytest.param("nets.py", ".abs()", ".square()", id="attribute of another module"),
        pytest.param("layers.py", "Linear(4, width)", "Linear(5, width)", id="module of a module"),
        pytest.param("mine.py", "[0, 1] * 1000", "[0, 1] * 999 + [1, 1]", id="label"),
        pytest.param("mine.py", "number % 2)", "number // 1999)", id="label beside a path"),
        pytest.param("mine.py", "torch.zeros(4)", "torch.ones(4)", id="sample"),
        pytest.param("mine.py", "samples[::1]", "samples[::-1]", id="how samples are joined"),
    ],
)
def test_an_edit_of_what_a_task_comes_to_is_seen(tmp_path, file, old, new):
    assert hash_of_files(tmp_path / "a", file, old, new) != hash_of_files(tmp_path / "b")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        pytest.param("", "", "", id="another folder"),
        pytest.param("mine.py", "import functools", "# A comment.\n\n\nimport functools", id="lines above"),
        pytest.param("mine.py", "return 5", "return 5  # five\n", id="comment within"),
        pytest.param("mine.py", "Makes a network.", "Makes one.", id="docstring"),
        pytest.param("mine.py", "A network.", "One.", id="docstring of a class"),
        pytest.param("mine.py", "def make():", "def more():\n    return UNUSED\n\ndef make():", id="unused function"),
        pytest.param("mine.py", "TABLE = ", "OTHER = {}\nTABLE = ", id="unused name"),
        pytest.param("mine.py", '"a", "b", "c"', '"c", "b", "a"', id="order of a set"),
        pytest.param("mine.py", '"/here"', '"/there"', id="where the data lie"),
    ],
)
def test_what_does_not_change_a_task_does_not_change_its_hash(tmp_path, file, old, new):
    assert hash_of_files(tmp_path / "a", file, old, new) == hash_of_files(tmp_path / "b")


def test_the_hash_is_the_same_in_another_process(tmp_path):
    here = hash_of_files(tmp_path / "a")
    code = f"from superconv.task import *; print(source_hash(load_task({f'{tmp_path}/a/mine.py:make'!r})))"
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        there = subprocess.run(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        assert there.stdout.strip() == here


def test_an_edit_after_the_import_is_not_taken_for_what_was_imported(tmp_path):
    old = hash_of_files(tmp_path / "a")
    hashed, unhashed = (load_task(f"{tmp_path}/a/mine.py:make") for _ in range(2))
    assert source_hash(hashed) == old
    file = tmp_path / "a" / "nets.py"
    file.write_text(file.read_text().replace(".abs()", ".square()"))
    assert source_hash(hashed) == old
    assert source_hash(unhashed) not in (old, hash_of_files(tmp_path / "b", "nets.py", ".abs()", ".square()"))


def test_what_a_training_counts_does_not_change_the_hash():
    counted = {"calls": 0}

    def loss(outputs, targets):
        counted["calls"] += 1
        return F.cross_entropy(outputs, targets)

    made = task(loss=loss)
    before = source_hash(made)
    made.loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    assert source_hash(made) == before
    assert source_hash(task(loss=loss)) != before  # at that moment it is another value


def test_what_cannot_be_described_is_left_out():
    class Shy:
        def __getattribute__(self, name):
            raise RuntimeError("no")

        def __repr__(self):
            raise RuntimeError("no")

    endless: list = [Shy(), logging.getLogger("superconv"), open(os.devnull), torch.empty(2, device="meta")]  # noqa: SIM115
    endless.append(endless)
    nested: list = []
    for _ in range(5000):
        nested = [nested]
    try:
        hashes = [source_hash(task(loss=lambda o, t, held=held: o)) for held in (endless, nested)]
        assert [*described([Shy()])] != [*described([1])]
    finally:
        endless[2].close()
    assert len(set(hashes)) == 2


def test_tasks_of_the_librarys_parts_keep_the_hash_that_stored_runs_have():
    model = functools.partial(build_model, "lenet", 2, in_channels=1, image_size=(28, 28), filler="gaussian")
    whole = task(name="tiny/lenet", model=model, loss=cross_entropy(0.1))
    assert source_hash(whole) == "82b26f634f06c2c0dc69f951dbf302adccf0362688bd99df44d85698ead4910d"


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
