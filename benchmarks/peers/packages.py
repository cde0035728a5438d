"""Which other tools can be imported here, and in which version; the reason for those that cannot."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

# distribution -> the module that has to import
MODULES = {
    "torch-lr-finder": "torch_lr_finder",
    "fastai": "fastai.callback.schedule",
    "lightning": "lightning.pytorch",
    "pytorch-ignite": "ignite.handlers",
    "accelerate": "accelerate",
    "skorch": "skorch",
}


def missing(distribution: str) -> str | None:
    """Why a peer cannot be used here; None where it can."""
    try:
        with quiet():
            importlib.import_module(MODULES[distribution])
    except Exception as error:  # a broken torchvision raises whatever it likes
        return f"{distribution} is left out: {type(error).__name__}: {str(error).splitlines()[0][:100]}"
    return None


def versions() -> dict[str, str]:
    """Version of every peer that imports."""
    return {name: importlib.metadata.version(name) for name in MODULES if missing(name) is None}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Peers' progress bars, log lines and warnings away from the tables."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    sink = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A fresh working directory with its own place for temporary files: tools may write where they like."""
    before, temporary = Path.cwd(), tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        work, temp = Path(folder, "work"), Path(folder, "temp")
        work.mkdir()
        temp.mkdir()
        os.chdir(work)
        tempfile.tempdir = str(temp)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)
            tempfile.tempdir = temporary
