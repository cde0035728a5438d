"""What an LR range test costs beyond as many bare updates, and what it leaves changed: ours beside peers'."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

import superconv as sc

from ..peers.finders import Finder, Subject, available, subject
from ..peers.packages import quiet, scratch_directory
from ..table import Goal, Table
from ..timing import clock, interleaved, median_with_quartiles, paired_difference, within
from .footprint import FileWatch, nbytes, peak_bytes
from .restoration import ASPECTS, changed, state, warm_subject

GOAL_MICROSECONDS = 100.0
CASES_OF_STATE = {"fresh": "", "momentum": "momentum", "momentum and gradients": "gradients"}
GOAL_COPIES = 1.01  # of the state, beyond the bare updates' peak
STEPS = 100
FAIL_AT = 20


def linear() -> Subject:
    """A model whose step costs next to nothing."""
    torch.manual_seed(0)
    return subject(nn.Linear(16, 4), torch.randn(640, 16), torch.randint(4, (640,)), batch_size=32, seed=0)


def lenet() -> Subject:
    """A small convolutional network with BatchNorm, on pixels of noise: only time is measured."""
    torch.manual_seed(0)
    model = sc.models.build_model("lenet-slim-bn", 10, seed=0)
    return subject(model, torch.randn(1280, 1, 28, 28), torch.randint(10, (1280,)), batch_size=64, seed=0)


def wide(warm: str) -> Subject:
    """A million weights and small batches, so that memory is the state's. `warm`: "", "momentum" or "gradients"."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1000, 1000), nn.BatchNorm1d(1000), nn.ReLU(), nn.Linear(1000, 10))
    what = subject(model, torch.randn(256, 1000), torch.randint(10, (256,)), batch_size=8, seed=0)
    if warm:
        what.train(3)
        what.loss.calls.clear()
    if warm == "momentum":
        what.optimizer.zero_grad(set_to_none=True)
    return what


def seconds_per_update(finder: Finder, make: Callable[[], Subject]) -> float:
    """The whole call, set-up and restoring included, over the updates it made."""
    what = make()
    with quiet():
        start = clock()
        finder(what, 1e-7, 1e-3, STEPS)
        seconds = clock() - start
    if not STEPS - 1 <= len(what.loss.calls) <= STEPS + 1:
        raise RuntimeError(f"{finder} made {len(what.loss.calls)} updates, not {STEPS}")
    return seconds / len(what.loss.calls)


def cost(name: str, make: Callable[[], Subject], rounds: int) -> Table:
    """Time of the test against bare updates from the same loader."""
    finders, left_out = available()
    blocks = {tool: partial(seconds_per_update, finder, make) for tool, finder in finders.items()}
    with scratch_directory():
        for block in blocks.values():
            block()  # imports, first allocations
        seconds = interleaved(blocks, rounds)
    bare = seconds["bare updates"]
    rows = []
    for tool, values in seconds.items():
        middle, low, high = (1e6 * value for value in median_with_quartiles(values))
        more, least, most = (1e6 * value for value in paired_difference(values, bare))
        ratio = statistics.median(a / b for a, b in zip(values, bare, strict=True))
        difference = [f"{more:+.0f}", f"{least:+.0f} to {most:+.0f}"]
        rows.append([tool, f"{middle:.0f}", f"{low:.0f}-{high:.0f}", f"{ratio:.2f}", *difference])
    ours = paired_difference(seconds["superconv"], bare)
    goal = Goal(
        f"at most {GOAL_MICROSECONDS:.0f} microseconds an update more than bare updates ({name})",
        "{:.0f} more (95% interval {:.0f} to {:.0f})".format(*(1e6 * value for value in ours)),
        within(1e-6 * GOAL_MICROSECONDS, ours),
    )
    notes = [
        f"{name}; exponential ramp of {STEPS} updates, 1e-7 to 1e-3, so that nobody stops early; n = {rounds} "
        "interleaved rounds; the whole call is counted, with saving and restoring (fastai's with reading off "
        "its suggestions, which is one call); ratio and 'more' are medians of paired rounds",
        *left_out,
    ]
    columns = ("tool", "median", "quartiles", "ratio to bare", "more than bare", "95% interval")
    return Table(f"LR range test on {name}, microseconds an update", columns, rows, [goal], notes)


def footprint() -> Table:
    """Peak tensor memory and files."""
    finders, left_out = available()
    extra: dict[str, list[float]] = {tool: [] for tool in finders}
    files: dict[str, str] = {}
    for warm in CASES_OF_STATE.values():
        size = _state_bytes(wide(warm))
        peaks = {tool: _peak(finder, warm) for tool, finder in finders.items()}
        for tool, (peak, written) in peaks.items():
            extra[tool].append((peak - peaks["bare updates"][0]) / size)
            files[tool] = written
    rows = [[tool, *(f"{copies:.2f}" for copies in extra[tool]), files[tool]] for tool in finders]
    goals = [
        *(
            Goal(f"one copy of the state more than bare updates ({case})", f"{copies:.2f}", copies <= GOAL_COPIES)
            for case, copies in zip(CASES_OF_STATE, extra["superconv"], strict=True)
        ),
        Goal("no file written", files["superconv"], files["superconv"] == "none"),
    ]
    notes = [
        f"a network of 1,013,010 weights, batch 8, {STEPS} updates, range given (without one, our scout holds a second "
        "copy while it runs). Peak of torch's CPU allocator above the bare updates' peak, in units of the state as it "
        "stood before the test: parameters, buffers, momentum, gradients. Files in the working and the temporary "
        "directory, removed later or not",
        *left_out,
    ]
    columns = ("tool", *(f"copies, {case}" for case in CASES_OF_STATE), "files (with momentum)")
    return Table("LR range test: memory and files", columns, rows, goals, notes)


def _state_bytes(what: Subject) -> int:
    parameters = list(what.model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    kept = [v for values in what.optimizer.state.values() for v in values.values() if isinstance(v, torch.Tensor)]
    return nbytes([*parameters, *what.model.buffers(), *gradients, *kept])


def _peak(finder: Finder, warm: str) -> tuple[int, str]:
    """Peak bytes (of two runs the larger: a busy machine makes the profiler lose events) and what was written."""
    with scratch_directory() as folder, quiet():
        watch = FileWatch(folder)

        def call() -> None:
            what = wide(warm)
            what.loss.watch = watch.look
            finder(what, 1e-7, 1e-3, STEPS)

        return max(peak_bytes(call), peak_bytes(call)), watch.verdict()


def restored() -> Table:
    """What is as it was: after the test, after two in a row, after an exception and after Ctrl-C inside it."""
    finders, left_out = available()
    found = {tool: [left_changed(finder, *case) for case in CASES.values()] for tool, finder in finders.items()}
    rows = [
        [aspect, *("".join("-" if aspect in case else "+" for case in cases) for cases in found.values())]
        for aspect in ASPECTS
    ]
    bad = sorted({aspect for case in found["superconv"] for aspect in case})
    goal = Goal(
        "everything is restored, in all four cases", ", ".join(bad) + " left changed" if bad else "all +", not bad
    )
    notes = [
        f"four signs: after the test; after two in a row; after an exception in update {FAIL_AT + 1}; after Ctrl-C "
        "there. + bit for bit as before, - changed. The training was warm, with a frozen BatchNorm, dropout, a frozen "
        "weight and a buffer outside the state_dict. 'bare updates' restores nothing: a + there says that updates do "
        "not touch it. torch-lr-finder restores when its reset() is called, which the two last cases do not reach",
        *left_out,
    ]
    return Table("LR range test: what was restored", ("state", *found), rows, [goal], notes)


CASES: dict[str, tuple[int, type[BaseException] | None]] = {
    "test": (1, None),
    "two tests": (2, None),
    "exception": (1, RuntimeError),
    "Ctrl-C": (1, KeyboardInterrupt),
}


def left_changed(finder: Finder, times: int, error: type[BaseException] | None) -> list[str]:
    """The aspects that differ after `times` tests, the last of which fails with `error`."""
    what = warm_subject()
    before = state(what)
    if error is not None:
        what.loss.fail_at, what.loss.error = FAIL_AT, error
    with scratch_directory(), quiet():
        for _ in range(times):
            try:
                finder(what, 1e-5, 10.0, STEPS)
            except (RuntimeError, KeyboardInterrupt, SystemExit):  # Lightning leaves with SystemExit
                if error is None:
                    raise
    return changed(before, state(what))


def run(quick: bool = False) -> list[Table]:
    """Cost on two networks, memory and files, restoration."""
    rounds = 6 if quick else 15
    tables = [
        cost("a linear model, batch 32", linear, rounds),
        cost("LeNet-slim with BatchNorm, batch 64", lenet, rounds),
    ]
    return [*tables, footprint(), restored()]
