import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

# example -> (packages it needs, the final LR that its schedule ends with)
NEEDS = {
    "plain_loop": ((), 0.5 / 10 / 1000),
    "lr_monitor": ((), 0.01),
    "lightning_fit": (("lightning",), 0.5 / 10 / 1000),
    "hf_trainer": (("transformers", "accelerate"), 0.01 / 10 / 1000),
    "accelerate_loop": (("accelerate",), 0.5 / 10 / 1000),
}


def test_every_example_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_example_runs_and_ends_at_the_final_lr(name):
    packages, final = NEEDS[name]
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install {' '.join(missing)}")
    # A process of its own: the peers set global state, and their own warnings are not ours to fail on.
    command = [sys.executable, "-W", "error::UserWarning:superconv", str(EXAMPLES / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = re.search(r"final LR (\S+)", done.stdout)
    assert printed is not None, done.stdout
    assert float(printed[1]) == pytest.approx(final)
