"""Finding experiments by name, figure, table and row, and what stands in their way."""

from pathlib import Path

import pytest

from superconv.paper.catalogue import entries, select
from superconv.paper.claims import CLAIMS


def names(word: str) -> list[str]:
    return [experiment.name for _, experiment in select(word)]


def test_by_claim_experiment_and_row() -> None:
    assert names("max-lr")[:2] == ["max-lr/3.5", "max-lr/3"]
    assert names("max-lr/3") == ["max-lr/3"]
    assert names("tab1-clr-max3") == ["max-lr/3"]
    for claim in CLAIMS:
        assert names(claim.name) == [experiment.name for experiment in claim.experiments]


FIRST = {"super-convergence/pclr", "super-convergence/clr"}  # without the controls of other claims
BATCH_SIZES = {f"batch-size/{size}" for size in (1536, 1000, 512, 256)}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Fig. 1a", FIRST),
        ("fig1a", FIRST),
        ("Figure 1A", FIRST),
        ("MAX-LR/3", {"max-lr/3"}),
        ("v1 Fig. 2b", {"range-test/5000", "range-test/20000", "range-test/100000"}),
        ("v1 fig 7", {"cifar100/range-test", "cifar100/pclr", "cifar100/clr"}),
        ("fig1a-clr", {"super-convergence/clr"}),
        ("Table 5", BATCH_SIZES),
        ("v3 Fig. 5a", BATCH_SIZES),
        ("v3 Fig. 5b", {"batch-size/1536", "batch-size/256"}),
        ("bn-global-stats", {"batch-statistics/batch-0.999", "batch-statistics/running-0.999"}),
    ],
)
def test_by_figure_and_table(word: str, expected: set[str]) -> None:
    assert set(names(word)) == expected


def test_versions_number_differently() -> None:
    assert any(name.startswith("regularisation") for name in names("v1 Fig. 4"))
    assert not any(name.startswith("regularisation") for name in names("v3 Fig. 4"))
    assert all(name.startswith(("wide", "dense", "mnist", "cifar100-1cycle")) for name in names("v3 Table 2"))


@pytest.mark.parametrize("word", ["max-rl", "Fig. 99", "v1 Table 2", "", "fig", "Fig. 1a and 1b"])
def test_unknown_words_answer_with_near_ones(word: str) -> None:
    with pytest.raises(ValueError, match="no experiment") as raised:
        select(word)
    assert "--list shows all" in str(raised.value)
    if word == "max-rl":
        assert "did you mean 'max-lr'" in str(raised.value)
    if word == "Fig. 99":
        assert "did you mean 'Fig. 9" in str(raised.value)
    if word == "v1 Table 2":
        assert "'v3 Table 2'" in str(raised.value)
    assert len(str(raised.value)) < 600  # the claims are listed, and not every experiment


def test_entries_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERCONV_DATA", str(tmp_path))
    found = {entry.experiment.name: entry for entry in entries(tmp_path)}
    headline = found["super-convergence/clr"]
    assert (headline.status, headline.why) == (
        "needs data", "cifar10 is not here: superconv data fetch cifar10"
    )  # fmt: skip
    assert found["failures/restarts"].status == "not buildable"
    plain = found["failures/restarts"].to_dict()
    assert plain["scales"] == []
    assert set(plain) == {"name", "claim", "figure", "status", "why", "chosen", "scales", "title"}
    own = found["fair-headline/cosine"].to_dict()
    assert (own["figure"], own["title"]) == ({}, "warm-up and cosine with crops, tuned")
    assert headline.to_dict()["figure"] == {"v1": "Fig. 1a; Table 1 (two rows)", "v3": "Fig. 1a; Table 6 (two rows)"}
