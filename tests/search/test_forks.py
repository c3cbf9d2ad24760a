"""Children that are forked while a search has handlers of its own for signals."""

import os
import signal
import subprocess
import sys

import pytest

# A process as a search is one: its handler waits for something that its children are no part of. Its children are
# slow to be made, as on a busy machine, so that the signal finds them half made.
SEARCH = """
import os, signal, sys, time
os.register_at_fork(after_in_child=lambda: time.sleep(0.5))
from foldsmith.search.forks import forked_children_end_as_told

number = signal.Signals(int(sys.argv[1]))
signal.signal(number, lambda *_: time.sleep(600))

def ended_by():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(7)
    os.kill(child, number)
    return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

with forked_children_end_as_told():
    assert ended_by() == number
assert callable(signal.getsignal(number))
assert number not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

after = os.fork()
if after == 0:
    os._exit(3 if callable(signal.getsignal(number)) else 4)
assert os.waitstatus_to_exitcode(os.waitpid(after, 0)[1]) == 3
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_half_made_child_ends_when_told(number: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SEARCH, str(int(number))], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == os.EX_OK, ended.stderr
