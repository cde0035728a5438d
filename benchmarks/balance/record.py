"""The trainings of one balance experiment and their accuracies, in a JSON file that interruption does not harm."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from superconv import runs

from .training import Setting, trained

FOLDER = Path("results/balance")


class Record:
    """Accuracies by training; what the file holds already is not trained again.

    Args:
        path: the JSON file; it need not exist.
        about: settings that all its trainings share, and what varies.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        found = json.loads(path.read_text()) if path.exists() else {}
        self.trainings: dict[str, list[float]] = found.get("trainings", {})
        self.conclusion: dict[str, Any] = found.get("conclusion", {})
        self.about = {**found.get("about", {}), **about}
        self.environment = found.get("environment") or stated_environment()

    def measure(self, settings: Sequence[Setting], data_dir: str | None) -> None:
        """Train every setting that is not there yet, in their order; the file is written after each."""
        missing = [setting for setting in settings if setting.key not in self.trainings]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for index, setting in enumerate(missing, 1):
            self.trainings[setting.key] = list(trained(setting, data_dir))
            self.write()
            print(f"{self.path.stem} {index}/{len(missing)} {setting.key} {self.trainings[setting.key]}", flush=True)

    def validation(self, setting: Setting) -> float:
        """Accuracy on validation data."""
        return self.trainings[setting.key][0]

    def test(self, setting: Setting) -> float:
        """Accuracy on test data."""
        return self.trainings[setting.key][1]

    def table(self, rows: Sequence[Sequence[Sequence[Setting]]], split: str) -> NDArray[np.float64]:
        """Accuracies of a nested list of settings, as an array of its shape."""
        read = {"validation": self.validation, "test": self.test}[split]
        return np.array([[[read(setting) for setting in row] for row in block] for block in rows])

    def conclude(self, part: str, conclusion: dict[str, Any]) -> None:
        """Keep what a part shows beside the numbers that it was computed from."""
        self.conclusion[part] = conclusion
        self.write()
        print(json.dumps({part: conclusion}, indent=1))

    def write(self) -> None:
        """The whole file, at once."""
        content = {
            "about": self.about, "environment": self.environment, "conclusion": self.conclusion,
            "columns": ["validation accuracy", "test accuracy"],
        }  # fmt: skip
        text = json.dumps(content, indent=1).removesuffix("\n}")
        rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in self.trainings.items())
        runs.atomic_write(self.path, f'{text},\n "trainings": {{\n{rows}\n }}\n}}\n')


def stated_environment() -> dict[str, Any]:
    """Versions, machine and command; folders are left out of the command."""
    found = runs.environment()
    words = found["command"].split()
    for option, stands_for in (("--data-dir", "DATA"), ("--runs", "RUNS"), ("--out", "OUT")):
        if option in words:
            words[words.index(option) + 1] = stands_for
    return {**found, "command": " ".join(words)}


def options(description: str | None, network: str, parts: Sequence[str]) -> argparse.Namespace:
    """The command line that all balance experiments have: which network, which part, where the data are."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default=network, help="a name of the catalogue of small tasks")
    parser.add_argument("--part", choices=[*parts, "all"], default="all")
    parser.add_argument("--seeds", type=int, default=None, help="how many; the experiment's own number")
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--out", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.parts = list(parts) if chosen.part == "all" else [chosen.part]
    return chosen
