"""What a process does that goes on without a terminal."""

import os
import subprocess
import sys

import pytest

from foldsmith.flow.detach import MARK, take_mark

LET_GO = """
import os, pty, sys
from foldsmith.flow.detach import Terminal
ours, theirs = pty.openpty()
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.dup2(theirs, 1)
terminal = Terminal()
os.close(ours)
try:
    os.write(theirs, b"nobody reads this")
except OSError as error:
    print("lost:", error.strerror, file=sys.stderr)
terminal.let_go()
os.write(1, b"x")
os.write(theirs, b"x")
os.write(log, b"kept")
print(os.readlink("/proc/self/fd/1"), os.get_inheritable(theirs), file=sys.stderr)
terminal.let_go()
"""


def test_a_terminal_that_is_gone_is_let_go(tmp_path: object) -> None:
    """Files and pipes stay as they are."""
    words = [sys.executable, "-c", LET_GO, f"{tmp_path}/log"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["lost: Input/output error", "/dev/null False"]
    with open(f"{tmp_path}/log") as log:
        assert log.read() == "kept"


def test_the_mark_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert take_mark() is None
    monkeypatch.setenv(MARK, "12.5")
    assert take_mark() == 12.5
    assert MARK not in os.environ and take_mark() is None
