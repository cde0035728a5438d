"""The program: its verbs, and how an error ends it (0 done, 1 failed, 2 bad usage, 130 interrupted)."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .. import __version__
from ..training.allocator import keep_large_blocks
from ..training.launched import launched
from .compare import compare
from .data import app as data
from .demo import demo
from .estimate_lr import estimate_lr
from .find import find
from .interrupt import interruptible
from .range_test import range_test
from .report import report
from .reproduce import reproduce
from .schedule import schedule
from .train import train
from .wording import in_options, worded

if TYPE_CHECKING:
    from ..training.launched import Rank

EXIT_FAILED, EXIT_USAGE = 1, 2

app = typer.Typer(
    name="superconv",
    help="Can this network be trained much faster with very large learning rates? With which settings? Really?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _name, _verb in (
    ("demo", demo),
    ("range-test", range_test),
    ("find", find),
    ("train", train),
    ("compare", compare),
    ("reproduce", reproduce),
    ("estimate-lr", estimate_lr),
    ("schedule", schedule),
    ("report", report),
):
    app.command(_name)(worded(interruptible(_verb)))
app.add_typer(data, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"superconv {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the program. What a user did wrong is one sentence on stderr; SUPERCONV_DEBUG=1 shows the traceback."""
    _prepare_streams()
    warnings.showwarning = _show_warning
    keep_large_blocks()  # before torch makes its first tensor
    try:
        if not launched():
            app()
        else:
            _run_on_ranks()
    except (ValueError, ModuleNotFoundError) as error:  # bad input: the message says what, allowed, and remedy
        from ..runs import RunError

        # A full disk, a directory in use, a killed worker: the command itself was right.
        _end(str(error), EXIT_FAILED if isinstance(error, RunError) else EXIT_USAGE)
    except (MemoryError, RuntimeError) as error:
        from ..full_memory import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        remedy = "use fewer workers, a smaller batch size or less data, then run the same command again"
        _end(f"out of memory; {remedy}: what was finished is kept", EXIT_FAILED)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _end(f"{error.strerror or error}{where}", EXIT_FAILED)


def _prepare_streams() -> None:
    """What the terminal cannot show is shown as "?": text must not end a run whose work is done.

    A standard stream that was closed (`>&-`) becomes the null device: else the next file that is opened, a run's rows
    perhaps, takes its number, and what a C library prints to stderr.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a path that is no UTF-8 is printed as the bytes that it has
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "replace")


def _run_on_ranks() -> None:
    """The same among the ranks that torchrun started: one run directory, one display, and an error ends all."""
    from ..training.launched import Rank

    code: Any = 0
    rank = Rank()
    _ranks.append(rank)
    try:
        with rank.joined(sys.argv[1:]):
            try:
                app()
            except SystemExit as end:
                code = end.code
    except (ValueError, ModuleNotFoundError, OSError):
        raise
    except Exception as error:
        lost = rank.lost_others(error)
        if not lost:
            traceback.print_exc(file=rank.stderr)
        message = rank.sentence(None if lost else f"{type(error).__name__}: {error}")
        _leave(message, EXIT_FAILED, rank.stderr)
    _leave(None, code if isinstance(code, int) else 0 if code is None else EXIT_FAILED)


def _leave(message: str | None, code: int, stderr: Any = None) -> NoReturn:
    """End a rank, at once: threads of the process group may still run, and an interpreter's end around them aborts."""
    if message is not None:
        print(f"superconv: {message}", file=stderr or sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning is a sentence too: a line of source code tells the user of a program nothing."""
    print(f"superconv: {in_options(str(message))}", file=sys.stderr)


def _end(message: str, code: int) -> None:
    if os.environ.get("SUPERCONV_DEBUG"):
        raise
    if _ranks:
        _leave(_ranks[0].sentence(message), code)
    print(f"superconv: {message}", file=sys.stderr)
    sys.exit(code)


_ranks: list[Rank] = []  # this process's, where it is one of several
