"""Named data sets, splits, whole-batch preparation, and a batch order that resumes at any step.

Names are loaded when they are first used: what only lists or downloads data imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batches import Batches
    from .catalog import NAMES, Source
    from .download import fetch
    from .errors import DataError, DataNotFoundError
    from .folder_loading import FolderOptions
    from .loading import load
    from .location import data_folder, where
    from .preparation import Preparation
    from .random_crop import RandomCrop
    from .samples import Data, Samples
    from .splits import Splits
    from .streamed import StreamedPictures

__all__ = [
    "NAMES",
    "Batches",
    "Data",
    "DataError",
    "DataNotFoundError",
    "FolderOptions",
    "Preparation",
    "RandomCrop",
    "Samples",
    "Source",
    "Splits",
    "StreamedPictures",
    "data_folder",
    "fetch",
    "load",
    "where",
]

_MODULES = {
    "RandomCrop": "random_crop",
    "FolderOptions": "folder_loading",
    "StreamedPictures": "streamed",
    "NAMES": "catalog",
    "Batches": "batches",
    "Data": "samples",
    "DataError": "errors",
    "DataNotFoundError": "errors",
    "Preparation": "preparation",
    "Samples": "samples",
    "Source": "catalog",
    "Splits": "splits",
    "data_folder": "location",
    "fetch": "download",
    "load": "loading",
    "where": "location",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'superconv.data' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
