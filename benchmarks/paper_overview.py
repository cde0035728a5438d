"""The overview of the paper's claims, written where it is read: README.md, and results/paper with its pictures.

    python -m benchmarks.paper_overview

What stands between README's two marker comments is replaced by what `superconv reproduce --overview` prints, and
results/paper/README.md by what `--overview --long` prints. The pictures are drawn again from the results files.
"""

from __future__ import annotations

from pathlib import Path

from superconv.paper.overview import kept_in, long_overview, overview
from superconv.paper.results import draw
from superconv.runs import atomic_write

README = Path("README.md")
RESULTS = Path("results/paper")
BEGIN, END = "<!-- overview: begin (make overview) -->", "<!-- overview: end -->"


def between_markers(text: str) -> str:
    """What stands between the two marker comments. Raises: ValueError: not both of them, once each, in order."""
    return _parts(text)[1]


def replaced(text: str, content: str) -> str:
    """The text with other content between the marker comments. Raises: as `between_markers`."""
    before, _, after = _parts(text)
    return f"{before}{BEGIN}\n\n{content.strip()}\n\n{END}{after}"


def _parts(text: str) -> tuple[str, str, str]:
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(END) < text.index(BEGIN):
        raise ValueError(f"the text needs {BEGIN} and after it {END}, once each")
    before, rest = text.split(BEGIN)
    inside, after = rest.split(END)
    return before, inside.strip(), after


def main() -> None:
    """Write everything."""
    for kept in kept_in(RESULTS):
        print(f"wrote {draw(kept.path)}")
    for path, text in (
        (RESULTS / "README.md", long_overview(RESULTS) + "\n"),
        (README, replaced(README.read_text(encoding="utf-8"), overview(RESULTS))),
    ):
        print(f"wrote {atomic_write(path, text)}")


if __name__ == "__main__":
    main()
