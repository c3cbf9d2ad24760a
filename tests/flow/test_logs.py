"""Logs: appended to, read from the end, followed until nothing more will come."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from foldsmith.flow import logs
from foldsmith.flow.logs import appended, find_log, follow, is_open_at, log_names, log_path, tail
from foldsmith.problem.errors import InputError
from foldsmith.problem.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_line_with_the_time_stands_above_what_is_appended(folder: Folder) -> None:
    for title in ("first", "second"):
        with appended(folder, "search", title) as log:
            log.write(f"of {title}\n")
    lines = log_path(folder, "search").read_text().splitlines()
    assert [re.sub(r"\d", "9", line) for line in lines[::2]] == [
        "--- 9999-99-99 99:99:99 +9999 first",
        "--- 9999-99-99 99:99:99 +9999 second",
    ]
    assert lines[1::2] == ["of first", "of second"]


def test_a_large_log_is_set_aside(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 100)
    for text in ("x" * 100, "young", "also young"):
        with appended(folder, "search", "search") as log:
            log.write(f"{text}\n")
    assert log_names(folder) == ["search", "search.old"]
    assert log_path(folder, "search").read_text().splitlines()[1::2] == ["young", "also young"]
    assert "x" * 100 in log_path(folder, "search.old").read_text()


def test_names(folder: Folder) -> None:
    with pytest.raises(InputError, match="there are no logs in .*logs yet; start a search first"):
        find_log(folder, "search")
    for name in ("driver", "worker-0", "search"):
        with appended(folder, name, name):
            pass
    assert log_names(folder) == ["search", "driver", "worker-0"]
    assert find_log(folder, "worker-0").name == "worker-0.log"
    with pytest.raises(InputError, match="unknown log 'worker-1'; did you mean 'worker-0'.* known: driver, search"):
        find_log(folder, "worker-1")


def test_which_descriptor_leads_there(folder: Folder) -> None:
    with appended(folder, "search", "x") as log:
        assert is_open_at(log.fileno(), log_path(folder, "search"))
        assert not is_open_at(log.fileno(), log_path(folder, "driver"))
        number = log.fileno()
    assert not is_open_at(number, log_path(folder, "search"))


@pytest.mark.parametrize("n_lines", [0, 1, 3, 400, 5000])
@pytest.mark.parametrize("end", ["\n", ""])
def test_the_last_lines(tmp_path: Path, n_lines: int, end: str) -> None:
    lines = [f"{number} {'ä' * (number % 90)}" for number in range(1000)]
    path = tmp_path / "log"
    path.write_text("\n".join(lines) + end)
    text, size = tail(path, n_lines)
    assert text.decode().splitlines() == lines[len(lines) - min(n_lines, len(lines)) :]
    assert size == path.stat().st_size


def test_of_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    assert tail(tmp_path / "log", 5) == (b"", 0)


def test_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while it is followed, also in a new file of that name, and what came with the end."""
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.0)
    path = tmp_path / "log"
    path.write_text("old\n")

    def append(text: str) -> None:
        with open(path, "a") as file:
            file.write(text)

    def replace() -> None:
        path.rename(tmp_path / "old")

    def begin() -> None:
        path.write_text("new\n")

    steps: list[Callable[[], object]] = [partial(append, "a\n"), lambda: None, partial(append, "b\n"), replace, begin]
    steps.append(partial(append, "last\n"))

    def goes_on() -> bool:
        steps.pop(0)()
        return bool(steps)

    assert list(follow(path, 4, goes_on)) == [b"a\n", b"b\n", b"new\n", b"last\n"]


def test_a_file_that_was_cut_is_read_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x\n")
    assert list(follow(tmp_path / "log", 1000, lambda: False)) == [b"x\n"]
