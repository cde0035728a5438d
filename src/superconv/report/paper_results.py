"""Results files of `superconv reproduce` as chapters of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from ..paper.accuracies import table
from ..paper.claim import Claim
from ..paper.claims import CLAIMS
from ..paper.effects import effects_of
from ..paper.overview import COLUMNS, overview_rows, remarks
from ..paper.pictures import picture
from ..paper.reproduce import Reproduction
from ..paper.results import Look, looks_of
from ..paper.setting import KEPT
from .chapter import Chapter
from .paper_settings import difference_text, differences, papers_settings, used_settings
from .pictures import Picture, slug
from .stored_figures import SECTION
from .tables import Table, stored_tables

_EARLIER = "Measured with earlier settings: the claim's or the scale's were changed since."
_ORDER = {f"{claim.name}-{scale}": place for place, (claim, scale) in enumerate(product(CLAIMS, KEPT))}


def results_chapters(paths: Sequence[Path], *, strict: bool = False) -> list[Chapter]:
    """A chapter a results file, in the order of the claims and their scales; before several of them one about all.

    A file that cannot be read gets a chapter that says why, or stops everything (`strict`).

    Raises: ValueError: a file that cannot be read, where that is asked for.
    """
    chapters, read = [], []
    for path in sorted(paths, key=lambda path: (_ORDER.get(path.stem, len(_ORDER)), path.name)):
        try:
            looks = looks_of(path)
        except ValueError as error:
            if strict:
                raise
            chapters.append(_refused(path, str(error)))
        else:
            read.append(looks[-1])
            chapters.append(_chapter(path.stem, looks))
    return [_all(read), *chapters] if len(chapters) > 1 and read else chapters


def _chapter(name: str, looks: Sequence[Look]) -> Chapter:
    result, claim = looks[-1].result, looks[-1].result.claim
    runs = result.trainings
    tables = [_effects(result), _accuracies(result), _scaled(looks[-1]), _tuned(result), _looks(looks)]
    shared, differing = used_settings(looks[-1].settings)
    made = dict(result.environment)
    command = str(made.pop("command", "") or "").replace("__main__.py", "superconv", 1)
    versions = ", ".join(f"{key} {value}" for key, value in made.items() if isinstance(value, str))
    figures = picture(result)
    return Chapter(
        name=name, anchor=slug(name), title=f"{claim.name}, {result.scale} scale", sentence=result.sentence,
        findings=(*(() if looks[-1].is_current else (_EARLIER,)), *_chosen(claim, result)), ramps=(),
        pictures=(Picture("claim", SECTION, figures),) if figures.panels else (),
        tables=tuple(each for each in tables if each is not None), problems=None, shared=shared, differing=differing,
        note="; ".join(part for part in (claim.where, result.device, versions) if part), command=command,
        seconds=sum(run.seconds for run in runs), created="", count=Counter(run.stop for run in runs),
    )  # fmt: skip


def _all(looks: Sequence[Look]) -> Chapter:
    """The claims in a table."""
    results = [look.result for look in looks]
    words = Counter(result.word for result in results)
    told = ", ".join(f"{count} {_of_several(word) if count > 1 else word}" for word, count in words.most_common())
    claims = len({result.claim.name for result in results})
    counted = "results" if claims == len(results) else f"{len(results)} results, some at several scales"
    sentence = f"{claims} claim{'s' * (claims > 1)} with {counted}: {told}."
    rows = tuple(map(tuple, overview_rows(looks)))
    note = " ".join([*remarks(looks), "Test images are tested along the way; nothing is chosen by them."])
    return Chapter(
        name="all", anchor="all", title="All claims", sentence=sentence,
        findings=(), ramps=(), pictures=(), tables=(Table("", COLUMNS, rows, note),),
        problems=None, shared=None, differing=None, note="arXiv 1708.07120", command="", seconds=None, created="",
        count=sum((Counter(run.stop for run in result.trainings) for result in results), Counter()),
    )  # fmt: skip


def _of_several(word: str) -> str:
    """ "do not hold", "hold in direction"."""
    return word.replace("does", "do").replace("holds", "hold")


def _refused(path: Path, reason: str) -> Chapter:
    return Chapter(
        name=path.stem, anchor=slug(path.stem), title=path.stem, sentence="This file cannot be read.",
        findings=(reason.replace(str(path), path.name),), ramps=(), pictures=(), tables=(), problems=None, shared=None,
        differing=None, note="", command="", seconds=None, created="", count={},
    )  # fmt: skip


def _effects(result: Reproduction) -> Table | None:
    rows = tuple((shown.asserted, shown.effect.measure, shown.measured, shown.told) for shown in effects_of(result))
    note = "Per seed: treatment minus baseline, or the measure beside its threshold; 95% interval of Student's t."
    if result.scale != "paper":
        note += " Sizes are compared with the paper's at its own scale alone."
    columns = ("the paper's effect", "measure", "ours (95% interval)", "word")
    return Table("Effects", columns, rows, note) if rows else None


def _accuracies(result: Reproduction) -> Table:
    (found,) = stored_tables({"tables": [{**table(result), "title": "Accuracies"}]})
    return found


def _scaled(look: Look) -> Table | None:
    """What a smaller scale changed, for a claim at that scale; at the paper's, what the search for rates changed."""
    rows = tuple(differences(papers_settings(look.result.claim), look.settings))
    columns = ("setting", "conditions", "the paper's", "used")
    return Table("What differs from the paper's settings", columns, rows) if rows else None


def _tuned(result: Reproduction) -> Table | None:
    rows = tuple(
        (condition, tuned.factor, "; ".join(f"{factor:g}: {_percents(values)}" for factor, values in
                                            sorted(tuned.trials.items())))
        for condition, tuned in result.tuned.items()
    )  # fmt: skip
    note = "Factor of the schedule's learning rates with the highest mean accuracy on held-out training images."
    return Table("Learning rates", ("condition", "factor", "accuracies, percent"), rows, note) if rows else None


def _percents(values: Sequence[float]) -> str:
    return ", ".join(f"{100 * value:.1f}" for value in values)


def _looks(looks: Sequence[Look]) -> Table | None:
    """Every look in its order, where there is more than one."""
    if len(looks) < 2:
        return None
    rows = []
    for number, look in enumerate(looks):
        changed = difference_text(differences(looks[number - 1].settings, look.settings)) if number else ""
        seeds = sorted({seed for by_seed in look.result.runs.values() for seed in by_seed})
        effects = "; ".join(shown.line for shown in effects_of(look.result))
        rows.append((number + 1, look.result.word, effects, ", ".join(map(str, seeds)), look.result.device, changed))
    columns = ("look", "word", "effects", "seeds", "device", "what changed")
    return Table("Looks", columns, tuple(rows), "Earlier looks are kept; the last one counts.")


def _chosen(claim: Claim, result: Reproduction) -> tuple[str, ...]:
    """What was chosen by us in the conditions that were run, each sentence once."""
    found: dict[str, list[str]] = {}
    for experiment in claim.experiments:
        if experiment.condition in result.runs:
            for sentence in experiment.chosen:
                found.setdefault(sentence, []).append(experiment.condition)
    every = len(result.runs)
    return tuple(
        f"Chosen by us{'' if len(mine) == every else ' in ' + ', '.join(mine)}: {sentence}"
        for sentence, mine in found.items()
    )
