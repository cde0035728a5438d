"""Going on with a run: from its newest checkpoint, or from the one before where that is damaged."""

from __future__ import annotations

import warnings
from typing import Any

from ..runs import Run, RunError
from ..training.checkpoint import DamagedCheckpoint, TrainState, read_checkpoint
from ..training.distributed import is_distributed, on_first_rank
from .follower import Follower


def resume(run: Run, state: TrainState) -> list[dict[str, Any]]:
    """Bring `state` to where the run stands; rows that were written after its checkpoint are dropped, to be made again.

    A damaged checkpoint is said in a RuntimeWarning and removed where the one before can be read. Training from there
    gives the same as from the damaged one.

    Args:
        run: locked, unfinished.
        state: just built; stays so where there is no checkpoint.
    Returns: the rows that are kept.
    Raises:
        DamagedCheckpoint, a ValueError: none of the checkpoints can be read.
        ValueError: a checkpoint of another model or format.
        RunError: rows are damaged, or end before the checkpoint's step.
    """
    _load_newest(run, state)
    run.truncate_rows(state.step - 1)
    rows = run.rows()
    if state.scaler is None:  # with one, skipped updates have no rows
        _check_complete(run, rows, state.step)
    return rows


def resume_together(run: Run | Follower, state: TrainState) -> list[dict[str, Any]]:
    """`resume` by the first rank, which alone has the directory; the others get the state from it, and the rows.

    Raises: as `resume`, on every rank.
    """
    rows = on_first_rank(lambda: resume(run, state) if isinstance(run, Run) else [])
    if is_distributed() and on_first_rank(lambda: state.step > 0):
        saved = on_first_rank(lambda: read_checkpoint(run.checkpoints()[0]) if isinstance(run, Run) else None)
        if saved is not None and not isinstance(run, Run):
            state.load_state_dict(saved)
    return rows


def _load_newest(run: Run, state: TrainState) -> None:
    paths = run.checkpoints()
    for path in paths:
        try:
            state.load(path)
        except DamagedCheckpoint as error:
            if path == paths[-1]:
                raise
            damage = error
            continue
        if path != paths[0]:
            warnings.warn(
                f"{damage.args[0].partition(';')[0]}; going on from the checkpoint before it, at step {state.step}",
                RuntimeWarning,
                stacklevel=3,
            )
            paths[0].unlink()  # else the next checkpoint would take the readable one's place by it
        return


def _check_complete(run: Run, rows: list[dict[str, Any]], steps: int) -> None:
    last = max((row.get("step") or 0 for row in rows if "lr" in row), default=-1)
    if last != steps - 1:
        raise RunError(
            f"{run.path / 'rows.jsonl'} is damaged: it ends with step {last}, the checkpoint is of step {steps - 1}; "
            "delete the run directory and run it again"
        )
