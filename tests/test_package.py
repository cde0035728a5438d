import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import superconv as sc

SOURCE = Path(sc.__file__)


def test_every_public_name_is_there_and_documented() -> None:
    assert set(sc.__all__) == {"__version__", *sc._NAMES}
    for name in sc.__all__:
        value = getattr(sc, name)
        assert name == "__version__" or (value.__doc__ or "").strip(), name
    assert set(sc.__all__) <= set(dir(sc))
    with pytest.raises(AttributeError, match="no attribute 'one_cicle'"):
        _ = sc.one_cicle


def test_editors_see_the_same_names() -> None:
    tree = ast.parse(SOURCE.read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    assert seen == set(sc._NAMES)


def test_the_pure_floors_import_no_torch() -> None:
    modules = "superconv superconv.figures superconv.schedules superconv.records superconv.analysis.range_test"
    modules += " superconv.analysis.comparison superconv.runs superconv.report superconv.cli.app"
    imports = "\n".join(f"import {module}" for module in modules.split())
    code = f"import sys\n{imports}\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_floors_import_only_the_floors_below() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=SOURCE.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_says_its_job() -> None:
    for path in SOURCE.parent.rglob("*.py"):
        first = ast.get_docstring(ast.parse(path.read_text()))
        assert first, path
        assert path.stem not in {"utils", "common", "helpers", "misc"}
    assert importlib.import_module("superconv.__main__").main
