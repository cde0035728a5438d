"""README and results/paper/README.md hold what the program prints of the results that are there."""

from importlib import util
from pathlib import Path

import pytest
from program import Run

ROOT = Path(__file__).parents[1]
_spec = util.spec_from_file_location("paper_overview", ROOT / "benchmarks/paper_overview.py")
assert _spec is not None
assert _spec.loader is not None
_module = util.module_from_spec(_spec)  # benchmarks/ is no part of what is installed
_spec.loader.exec_module(_module)
BEGIN, END = _module.BEGIN, _module.END
REMEDY = "the results have changed since: make overview"


@pytest.mark.parametrize(("options", "file"), [([], "README.md"), (["--long"], "results/paper/README.md")])
def test_texts_are_what_the_program_prints_now(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], file: str
) -> None:
    monkeypatch.chdir(ROOT)
    code, out, err = run("reproduce", "--overview", *options)
    assert (code, err) == (0, "")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert (text if options else _module.between_markers(text)).strip() == out.strip(), REMEDY


def test_every_results_file_has_its_picture() -> None:
    files = [path for path in (ROOT / "results/paper").glob("*.json") if not path.with_suffix(".png").exists()]
    assert files == [], REMEDY


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = _module.replaced(text, "\nnew\n")
    assert new == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert _module.between_markers(new) == "new"
    assert _module.replaced(new, "new") == new


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_markers_that_are_not_a_pair_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"needs .* and after it .*, once each"):
        _module.between_markers(text)
