"""The end of a failed trial's log in the table of failures: the lines that say where it happened."""

from foldsmith.cli.tables import _telling_lines

TRACEBACK = """Traceback (most recent call last):
  File "jobs.py", line 120, in run
    fitted = family.fit_fold(task)
  File "mine.py", line 7, in fit_fold
    raise ValueError("odd")
ValueError: odd
"""
CRASH = """Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "mine.py", line 9 in fit_fold
  File "jobs.py", line 120 in run
  File "local.py", line 99 in _serve
"""


def test_the_last_frame_of_a_traceback() -> None:
    assert _telling_lines(TRACEBACK, "ValueError: odd") == [
        'File "mine.py", line 7, in fit_fold',
        'raise ValueError("odd")',
    ]


def test_the_first_frame_of_a_crash() -> None:
    assert _telling_lines(CRASH, "the worker process died") == [
        'File "mine.py", line 9 in fit_fold',
        'File "jobs.py", line 120 in run',
    ]


def test_no_log_no_lines() -> None:
    assert _telling_lines("", "ended by the driver") == []
