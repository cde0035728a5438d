"""The results of a folder as Markdown: a line a claim, or all effects of each with its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .accuracies import readings, table
from .claims import CLAIMS
from .effects import AFTERWARDS, Shown, deciding, effects_of
from .measured import TF32, Run
from .reproduce import Reproduction
from .results import Look, file_of, looks_of
from .setting import KEPT

COLUMNS = ("claim", "the paper's effect", "ours (95% interval)", "word", "scale")
EARLIER = "earlier settings"
BY_SEED = "images by seed"
SMALLER = {
    "medium": "10,000 images, an hour or more on a CPU",
    "epochs": "the paper's passes over 1,000 images",
    "deep": "short with the paper's own networks",
    "rates": "short with the paper's own learning rates",
    "short": "2,500 images, minutes on a CPU",
}


@dataclass(frozen=True)
class Kept:
    """One results file."""

    path: Path
    look: Look

    @property
    def result(self) -> Reproduction:
        """What counts: the last look."""
        return self.look.result


def kept_in(folder: Path) -> list[Kept]:
    """The results files of a folder, in the order of the claims. Raises: ValueError: one cannot be read."""
    paths = [file_of(folder, claim, scale) for claim in CLAIMS for scale in KEPT]
    return [Kept(path, looks_of(path)[-1]) for path in paths if path.exists()]


def overview(folder: Path) -> str:
    """One line a claim and scale: the paper's effect, ours with interval and n, and the word. A claim is said once."""
    looks = [kept.look for kept in kept_in(folder)]
    if not looks:
        return f"No results in {folder} yet."
    rows = [[f"**{row[0].replace(':', '**:', 1)}" if row[0] else "", *row[1:]] for row in overview_rows(looks)]
    return "\n".join([*_markdown(COLUMNS, rows), "", *remarks(looks)])


def overview_rows(looks: Sequence[Look]) -> list[list[str]]:
    """Their lines, under `COLUMNS`; of several scales of one claim only the first says the claim."""
    rows = [overview_row(look) for look in looks]
    above = ["", *(row[0] for row in rows)]
    return [[row[0] if row[0] != before else "", *row[1:]] for before, row in zip(above, rows, strict=False)]


def overview_row(look: Look) -> list[str]:
    """A claim in a line, under `COLUMNS`: of several effects the one that its word rests on."""
    result = look.result
    shown = effects_of(result)
    effect = deciding(shown)
    asserted, measured = ("-", "-") if effect is None else (effect.asserted, effect.measured)
    if effect is not None and effect.effect.measure != "final accuracy":
        asserted += f" ({effect.effect.measure})"
    claim = f"{result.claim.name}: {result.claim.sentence}"
    compared = look.settings if effect is None else effect.effect.conditions
    called = [look.settings[condition] for condition in compared if condition in look.settings]
    chosen = [BY_SEED] if any(setting.get("subsets") == "by-seed" for setting in called) else []
    chosen += sorted({setting.get("precision", "fp32") for setting in called} - {"fp32"})
    scale = [result.scale, *chosen, *([] if look.is_current else [EARLIER])]
    return [claim, asserted, measured, _word(result, shown), ", ".join(scale)]


def _by_seed(look: Look) -> bool:
    return any(setting.get("subsets") == "by-seed" for setting in look.settings.values())


def _fixed(look: Look) -> bool:
    """Whether all seeds train on the same part of the training images."""
    reduced = [setting for setting in look.settings.values() if setting.get("train_samples") is not None]
    return any(setting.get("subsets", "fixed") == "fixed" for setting in reduced)


def _word(result: Reproduction, shown: Sequence[Shown]) -> str:
    """The claim's word, and of several effects how many agree with the paper's direction."""
    asserted = [each for each in shown if each.effect.asserts]
    effect = deciding(shown)
    asides = [AFTERWARDS] if effect is not None and effect.afterwards else []
    if len(asserted) > 1 and not result.word.startswith("holds"):
        asides.insert(0, f"{sum(each.word.startswith('holds') for each in asserted)} of {len(asserted)} hold")
    if result.left_out:
        asides.append(f"{result.left_out} not run")
    return f"{result.word} ({', '.join(asides)})" if asides else result.word


def remarks(looks: Sequence[Look]) -> list[str]:
    """What a table of these claims leaves out."""
    found = [look.result for look in looks]
    names = {result.claim.name for result in found}
    waiting = [claim for claim in CLAIMS if claim.name not in names]
    built = [c.name for c in waiting if any(e.setting is not None for e in c.experiments)]
    other = [claim.name for claim in waiting if claim.name not in built]
    notes = []
    if any(len(result.claim.effects) > 1 for result in found):
        notes.append(
            "A claim's word is that of its weakest effect, which is the one shown; where none that asserts something "
            "was run, the first that was."
        )
    smaller = [f"{name} ({what})" for name, what in SMALLER.items() if any(result.scale == name for result in found)]
    if smaller:
        notes.append(f"Only the direction is judged at smaller scales: {'; '.join(smaller)}.")
    if any(map(_fixed, looks)):
        notes.append(
            "Seeds differ in initial weights and order and train on one set of images where these are reduced"
            + (f", but for {BY_SEED}." if any(map(_by_seed, looks)) else ".")
        )
    if not all(look.is_current for look in looks):
        notes.append(f"{EARLIER.capitalize()}: of the claim or its scale, which were changed since.")
    if any(result.asked_afterwards for result in found):
        notes.append(
            f"{AFTERWARDS.capitalize()}: the effect was written, or changed, when the runs were known already."
        )
    if built:
        notes.append(f"No results yet: {', '.join(built)}.")
    if other:
        notes.append(f"Not buildable: {', '.join(other)}.")
    return notes


def long_overview(folder: Path) -> str:
    """The overview, then a section a claim and scale: every effect, accuracies, how it was made, and the picture."""
    found = kept_in(folder)
    title = "# The paper's claims, measured"
    return "\n\n".join([title, overview(folder), *(_section(kept) for kept in found)]).strip()


def _section(kept: Kept) -> str:
    result, claim = kept.result, kept.result.claim
    lines = [
        f"## {claim.name}, {result.scale} scale: {result.word}{'' if kept.look.is_current else f' ({EARLIER})'}",
        "",
        f"{claim.sentence} ({claim.where})",
        "",
    ]
    if claim.effects:
        lines += _markdown(
            ["effect", "measure", "ours (95% interval)", "word"],
            [[s.asserted, s.effect.measure, s.measured, s.told] for s in effects_of(result)],
        )
    else:
        lines.append("No effect of an accuracy is asserted; the figure is the answer.")
    accuracies = table(result)
    lines += ["", *_markdown(accuracies["columns"], accuracies["rows"]), "", _made(result)]
    lines[-1] += "".join(f" In {name}: {', '.join(run)}." for name, run in _in_other_precisions(kept.look).items())
    if readings(result):
        lines += ["", " ".join(readings(result))]
    if kept.path.with_suffix(".png").exists():
        lines += ["", f"![{claim.name}]({kept.path.with_suffix('.png').name})"]
    return "\n".join(lines)


def _in_other_precisions(look: Look) -> dict[str, list[str]]:
    """Conditions by what they were run in, but for single precision: one look may hold several, of other effects."""
    found: dict[str, list[str]] = {}
    for condition, setting in look.settings.items():
        found.setdefault(setting.get("precision", "fp32"), []).append(condition)
    found.pop("fp32", None)
    return found


def _made(result: Reproduction) -> str:
    seeds = sorted({seed for by_seed in result.runs.values() for seed in by_seed})
    runs = result.trainings
    devices = sorted({_device(run, result.device) for run in runs})
    versions = [
        f"{key} {', '.join(sorted({str(run.made.get(key, result.environment.get(key))) for run in runs}))}"
        for key in ("superconv", "torch")
        if key in result.environment or any(key in run.made for run in runs)
    ]
    parts = [
        f"{len(runs)} runs, seeds {', '.join(map(str, seeds))}", f"{sum(run.seconds for run in runs) / 60:.0f} minutes",
        ", ".join(devices), *versions,
    ]  # fmt: skip
    command = result.environment.get("command")
    called = str(command).replace("__main__.py", "superconv", 1)
    return "; ".join(parts) + "." + (f" Last command: `{called}`" if command else "")


def _device(run: Run, otherwise: str) -> str:
    """The card, whether in TF32; a CPU with its model and instructions, where the run has them."""
    device, processor = run.made.get("device", otherwise), run.made.get("processor")
    if device == "cpu" and processor:
        return f"{device} ({processor})"
    return device + (", TF32" if TF32 in run.made else "")


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return lines + [f"| {' | '.join(map(_cell, row))} |" for row in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
