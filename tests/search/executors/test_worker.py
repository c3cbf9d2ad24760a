"""What is read of a worker's log after it died."""

from pathlib import Path

from foldsmith.problem.folder import Folder
from foldsmith.search.executors.worker import log_tail


def write_log(root: Path, text: str) -> None:
    """The log of slot 1."""
    Folder(root).logs.mkdir(parents=True)
    (Folder(root).logs / "worker-1.log").write_text(text)


def test_no_log_yet(tmp_path: Path) -> None:
    assert log_tail(tmp_path, 1) == ""


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    write_log(tmp_path, "".join(f"line {number}\n" for number in range(5000)))
    tail = log_tail(tmp_path, 1, size=100)
    assert len(tail) == 100
    assert tail.endswith("line 4998\nline 4999")


def test_the_frames_of_a_crash_are_not_pushed_out(tmp_path: Path) -> None:
    modules = ", ".join(f"package.module{number}" for number in range(300))
    write_log(
        tmp_path, f"Fatal Python error: Segmentation fault\n  File a.py, line 1\n\nExtension modules: {modules}\n"
    )
    assert log_tail(tmp_path, 1) == "Fatal Python error: Segmentation fault\n  File a.py, line 1\n"
