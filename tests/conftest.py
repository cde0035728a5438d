"""Fixtures that several test files share."""

import sys
from pathlib import Path

import hypothesis
import pytest
from program import Run

hypothesis.settings.register_profile("superconv", deadline=None)  # speed is never tested: machines are busy
hypothesis.settings.load_profile("superconv")


@pytest.fixture(autouse=True)
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without instructions for half precision, so that every machine gives the same warnings."""
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_amx_fp16_supported"):
        monkeypatch.setattr(f"torch.cpu.{name}", lambda: False, raising=False)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in this process (torch takes seconds to import) as its user would, in a folder of its own."""
    from superconv.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("SUPERCONV_DEBUG", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["superconv", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call
