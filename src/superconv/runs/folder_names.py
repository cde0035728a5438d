"""Names that are folders: what is allowed in them, and one that is made of any text."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._+=@, -]*[A-Za-z0-9_+=@,-])?")
_OTHERS = re.compile(r"(?P<last>[^A-Za-z0-9._+=@, -]+$)|[^A-Za-z0-9._+=@, -]+-?")
_LONGEST = 120  # letters; file systems allow 255 bytes


def check_name(what: str, name: str) -> None:
    """Raises: ValueError: `name` is no folder name on every system. TypeError: it is no string."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a name, got {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{what} is {name!r}; it names a folder: use letters, digits, spaces and ._+=@,- only, a letter or digit "
            "first, no dot or space at the end"
        )


def folder_name(text: str) -> str:
    """A folder name that is like the text, of a task or of a folder elsewhere, which nobody has to change for it.

    Different texts may get one name: runs are told apart by the hash of their config.

    Example:
        >>> folder_name("folder:px (new)-resnet8"), folder_name("mine (v2)"), folder_name("../?")
        ('folder-px -new-resnet8', 'mine -v2', 'unnamed')
    """
    like = _OTHERS.sub(lambda found: "" if found["last"] else "-", text)
    return like.lstrip("._+=@, -")[:_LONGEST].rstrip(". ") or "unnamed"
