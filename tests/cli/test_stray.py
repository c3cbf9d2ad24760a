"""Libraries that print, from Python or from C, while a search shows its progress."""

import subprocess
import sys
from pathlib import Path

import pytest

from foldsmith.cli.stray import StrayOutput


def test_everything_that_is_printed_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "driver.log"
    program = """
import os, subprocess, sys, warnings
from pathlib import Path
from foldsmith.cli.stray import StrayOutput
print("before")
with StrayOutput(Path(sys.argv[1])) as stray:
    print("from python")
    warnings.warn("a warning")
    os.write(1, b"from c\\n")
    os.write(2, b"error from c\\n")
    subprocess.run(["echo", "from a child"])
    print("to the screen", file=stray.screen)
print("after")
print("error after", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program, log], capture_output=True, text=True, check=True, timeout=900)
    assert done.stdout == "before\nafter\n"
    assert done.stderr == "to the screen\nerror after\n"
    text = log.read_text()
    for words in ("from python", "a warning", "from c", "error from c", "from a child"):
        assert words in text


def test_the_streams_are_back_after_an_error(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from foldsmith.cli.stray import StrayOutput
try:
    with StrayOutput(Path(sys.argv[1])):
        raise RuntimeError("broken")
except RuntimeError as error:
    print("caught", error)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    assert done.stdout == "caught broken\n"


def test_streams_that_are_no_files_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StrayOutput(tmp_path / "log") as stray:
        print("to the screen", file=stray.screen)
    assert capsys.readouterr().err == "to the screen\n"
    assert not (tmp_path / "log").exists()
