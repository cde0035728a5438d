"""The list of experiments: its width, what it says once, its labels."""

from pathlib import Path

import pytest

from superconv.cli.paper_list import figure_label, list_lines
from superconv.paper.catalogue import Entry, entries, select
from superconv.paper.claims import CLAIMS


@pytest.fixture(scope="module")
def without_data(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERCONV_DATA", str(tmp_path_factory.mktemp("none")))
        return entries(tmp_path_factory.mktemp("empty"))


@pytest.mark.parametrize("width", [70, 80, 110])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_torn(without_data: list[Entry], width: int) -> None:
    lines = list_lines(without_data, width)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for claim in CLAIMS:
        assert f"{claim.name}: {claim.sentence}" in text
    for entry in without_data:
        assert f" {entry.experiment.name} " in text


def test_at_80_columns_an_experiment_has_one_line(without_data: list[Entry]) -> None:
    lines = list_lines(without_data, 80)
    for entry in without_data:
        (own,) = [line for line in lines if line.split()[:1] == [entry.experiment.name]]
        assert own.endswith(entry.status)


def test_reasons_and_missing_data_are_said_once(without_data: list[Entry]) -> None:
    text = " ".join(" ".join(list_lines(without_data, 80)).split())
    for claim in CLAIMS:
        own = " ".join(" ".join(list_lines([e for e in without_data if e.claim is claim], 80)).split())
        reasons = {r for e in claim.experiments for r in (*e.chosen, e.obstacle) if r}
        assert all(own.count(f": {reason}") == 1 for reason in reasons)
    missing = {entry.experiment.setting.data: entry.why for entry in without_data if entry.status == "needs data"}
    assert {"cifar10", "cifar100"} <= set(missing)
    for data, why in missing.items():
        assert text.count(f"{data} is not here, ") == 1
        told = [line for line in list_lines(without_data, 300) if line.startswith(f"{data} is not here, ")]
        assert [line.partition("need: ")[2] for line in told] == [why.partition(": ")[2]]


def test_a_reason_of_some_names_them() -> None:
    claim = select("mnist")[0][0]
    chosen = [Entry(experiment, claim, "has a setting chosen by us", "") for experiment in claim.experiments]
    lines = list_lines(chosen, 200)
    assert any(line.startswith("  chosen by us (step-85): ") for line in lines)
    assert any(line.startswith("  chosen by us: the optimizer") for line in lines)
    assert lines[-2] == f"{len(chosen)} experiments: {len(chosen)} with a setting chosen by us."


@pytest.mark.parametrize(
    ("figures", "label"),
    [
        ({"v1": "Fig. 1a", "v3": "Fig. 1a"}, "v1, v3 Fig. 1a"),
        ({"v1": "Fig. 1a; Table 1 (two rows)", "v3": "Fig. 1a"}, "v1 Fig. 1a, Table 1; v3 Fig. 1a"),
        ({"v1": "v1 Table 1 and Fig. 6a"}, "v1 Table 1, Fig. 6a"),
        ({"v1": "Sec. 6.2 (text)", "v3": "superseded by v3 Fig. 6"}, "v1 Sec. 6.2"),
        ({}, ""),
    ],
)
def test_figure_labels_have_no_remarks(figures: dict[str, str], label: str) -> None:
    assert figure_label(figures) == label


def test_the_list_of_some_counts_them(tmp_path: Path) -> None:
    claim, experiment = select("max-lr/3")[0]
    lines = list_lines([Entry(experiment, claim, "needs data", "cifar10 is not here: fetch it")], 80)
    assert lines[-2:] == [
        "1 experiment: 1 without their data.",
        "cifar10 is not here, which 1 of them need: fetch it",
    ]
    assert "v1 Table 1; v3 Table 6  needs data" in lines[2]
