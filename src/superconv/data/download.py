"""Downloads published data sets, with checksums, into the data folder."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from .archive import read_members
from .catalog import NAMES, Download, Source, source_named
from .embedded import CACHE_NAME, mnist5k
from .errors import DataError
from .location import data_folder, where

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 18


def fetch(name: str, data_dir: str | Path | None = None, progress: Any = False) -> Path:
    """Download a data set, unless a copy lies there already.

    Every file is written beside its place, compared with its known MD5, and only then moved there: an interrupted or
    wrong download leaves nothing behind. Archives are replaced by the files that they hold.

    Args:
        name: one of `NAMES`.
        data_dir: data folder; None: $SUPERCONV_DATA, else ~/.cache/superconv.
        progress: True shows a bar on stderr (with tqdm); an object with `total`, `update`, `reset` and `close` is
            used as the bar.
    Returns: the folder from which `load` reads.
    Raises: DataError: unknown name, a set that is not handed out, no address that gave the right file, or a folder that
        cannot be written.
    """
    if name.startswith("folder:"):
        raise DataError(f"{name} lies on your disk; there is nothing to download")
    source = source_named(name)
    root = data_folder(data_dir)
    if source is NAMES["mnist5k"]:
        return _cache_embedded(root)
    present = where(name, data_dir)
    if present is not None:
        return present
    if source.instruction:
        raise DataError(f"{name} cannot be downloaded from here; {source.instruction} ({root})")
    layout = source.layouts[0]
    folder = root / layout.folders[0]
    try:
        if layout.archive is None:
            for download in source.downloads:
                _fetch_file(source, download, folder, progress)
        else:
            _fetch_archive(source, root, folder, progress)
    except OSError as error:
        raise DataError(
            f"{name}: {error.filename or folder} cannot be written ({error.strerror or error}); free space or mend its "
            "permissions, or choose another folder with --data-dir"
        ) from error
    return folder


def _cache_embedded(root: Path) -> Path:
    mnist5k(root)
    if not (root / CACHE_NAME).is_file():
        raise DataError(f"{root} cannot be written; mend its permissions, or choose another folder with --data-dir")
    return root


def _fetch_archive(source: Source, root: Path, folder: Path, progress: Any) -> None:
    """Download an archive and put the files that it holds into `folder`, all of them or none."""
    layout = source.layouts[0]
    archive = _fetch_file(source, source.downloads[0], root, progress)
    members = read_members(archive, layout.train + layout.test, f"run `superconv data fetch {source.name}` again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    unpacked = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        for filename, content in members.items():
            (unpacked / filename).write_bytes(content)
        unpacked.chmod(0o755)
        if folder.is_dir():  # a part of the files lay there
            for path in unpacked.iterdir():
                os.replace(path, folder / path.name)
        else:
            os.replace(unpacked, folder)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    archive.unlink()


def _fetch_file(source: Source, download: Download, folder: Path, progress: Any) -> Path:
    """One published file, from the first address that gives it as it was published."""
    pooch = _import_pooch()
    import requests

    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in download.urls:
        downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS)
        try:
            found = pooch.retrieve(
                url, f"md5:{download.md5}", fname=download.filename, path=folder, downloader=downloader
            )
        except (requests.exceptions.RequestException, ValueError) as error:
            failures.append(f"{url}: {_reason(error)}")
        else:
            return Path(found)
    raise DataError(
        f"{source.name}: {download.filename} could not be downloaded ({'; '.join(failures)}); check the network, or "
        f"put the file from {source.homepage} into {folder}"
    )


def _reason(error: Exception) -> str:
    """What went wrong with a download, in a few words."""
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code}"
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {_TIMEOUT_SECONDS} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    if isinstance(error, requests.exceptions.RequestException):
        return type(error).__name__
    if "hash" in str(error):
        return "the file has another checksum than the published one"
    return str(error)


def _import_pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise DataError("downloads need pooch; run: pip install 'superconv[cli]'") from error
    pooch.get_logger().setLevel(logging.WARNING)
    return pooch
