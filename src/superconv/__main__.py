"""`superconv` and `python -m superconv`: starts the command line program, or says what it needs."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the program; without the extra `cli` say in one line what to install."""
    try:
        from .cli.app import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "superconv":
            raise
        sys.exit(f"superconv: the command line program needs {error.name}; run: pip install 'superconv[cli]'")
    run()


if __name__ == "__main__":
    main()
