"""The answer to an unknown name: what it may have meant, and what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: object, allowed: Iterable[str]) -> str:
    """The end of an error message: "did you mean 'a' or 'b'? allowed are a, b, c".

    Args:
        name: what came; upper and lower case, "_" and "-" count as equal.
        allowed: every name there is, in the order to be shown.
    """
    names = list(allowed)
    return f"{meant(name, names)}allowed are {', '.join(names) or 'none'}"


def meant(name: object, allowed: Iterable[str]) -> str:
    """ "did you mean 'a' or 'b'? ", or nothing; where there are too many names to show them all.

    Args:
        name, allowed: as for `near`.
    """
    plain = {candidate.lower().replace("_", "-"): candidate for candidate in allowed}
    matches = difflib.get_close_matches(str(name).lower().replace("_", "-"), list(plain), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(plain[match]) for match in matches)}? " if matches else ""
