import pytest
import torch
from torch import nn

import superconv as sc
from superconv.error_lines import kind_and_line_of, line_of


def test_an_error_says_one_line_or_its_kind() -> None:
    error = RuntimeError("\nfirst\n  last ")
    assert (line_of(error), line_of(error, which=-1)) == ("first", "last")
    assert kind_and_line_of(error) == "RuntimeError: first"
    for silent in (ValueError(), ValueError(""), ValueError("\n")):
        assert line_of(silent) == kind_and_line_of(silent) == "ValueError"


def test_a_model_that_refuses_a_checkpoint_without_a_word(tmp_path, monkeypatch) -> None:
    model = nn.Linear(2, 2)
    state = sc.TrainState(model, torch.optim.SGD(model.parameters(), lr=0.1), [])
    state.save(tmp_path / "c.pt")

    def refuse(_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(model, "load_state_dict", refuse)
    with pytest.raises(ValueError, match="belongs to another model: RuntimeError"):
        state.load(tmp_path / "c.pt")
