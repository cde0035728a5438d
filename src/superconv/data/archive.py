"""Reads single members out of a .tar.gz archive, without unpacking it."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from .errors import DataError


def read_members(path: Path, filenames: Iterable[str], remedy: str) -> dict[str, bytes]:
    """The contents of the regular files in an archive whose last path component is asked for.

    Nothing is written anywhere, so no member's path can lead outside; links and devices are passed over. The
    whole stream is read, so that gzip's own checksum is compared.

    Args:
        path: a .tar.gz archive.
        filenames: last path components.
        remedy: what to do about a damaged archive; ends every message.
    Raises: DataError: unreadable, truncated or corrupted, or without one of the files.
    """
    wanted = set(filenames)
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path, "rb") as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if member.isreg() and name in wanted and (file := archive.extractfile(member)) is not None:
                        found[name] = file.read()
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is truncated or corrupted ({error}); {remedy}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    missing = sorted(wanted - set(found))
    if missing:
        raise DataError(f"{path} holds no {', '.join(missing)}; {remedy}")
    return found
