"""Searches without a terminal: started and left alone, watched, read and stopped from other shells."""

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from foldsmith.flow.heartbeat import driver_of, last_beat
from foldsmith.flow.status import status
from foldsmith.problem.contract import Problem
from foldsmith.problem.files import read_json
from foldsmith.problem.folder import Folder
from foldsmith.results.members import MemberStore
from foldsmith.search.locks import FolderLock

Foldsmith = Callable[..., Any]


@pytest.fixture
def comp(make_problem: Callable[..., Problem], slow_family: str) -> Iterator[Folder]:
    """A competition with the slow family; what searches there in the end is killed."""
    folder = make_problem(metric="log_loss").folder
    folder.code.mkdir()
    (folder.code / "mine.py").write_text(slow_family)
    yield folder
    if (driver := driver_of(folder)) is not None:
        os.kill(driver, signal.SIGKILL)


def words(comp: Folder, *command: object) -> list[str]:
    """A command line for another process."""
    return [sys.executable, "-m", "foldsmith", "-C", str(comp.root), *map(str, command)]


SEARCH = ("search", "mine:Slow", "--trials", 2, "--executor", "local", "--workers", 1)


def until(condition: Callable[[], object]) -> None:
    """Waits for something that another process does."""
    give_up = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.02)


def has_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def audit(comp: Folder, n_trials: int) -> None:
    """Every trial is complete, and no fold was fitted twice."""
    assert Counter(member.state for member in MemberStore(comp).all()) == {"complete": n_trials}
    fits = (comp.logs / "fits.log").read_text().splitlines()
    assert len(fits) == len(set(fits)) == 3 * n_trials


class Shell:
    """A login shell in a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvp("bash", ["bash", "-l"])
        self.said = ""

    def say(self, line: str) -> None:
        os.write(self.terminal, line.encode() + b"\n")

    def read_until(self, pattern: str) -> re.Match[str]:
        give_up = time.monotonic() + 600
        while (found := re.search(pattern, self.said)) is None:
            assert time.monotonic() < give_up, self.said
            self.said += os.read(self.terminal, 4096).decode(errors="replace")
        return found

    def close(self) -> None:
        """As when the window is closed or the connection breaks."""
        os.close(self.terminal)
        try:
            os.kill(self.pid, signal.SIGHUP)
        finally:
            os.waitpid(self.pid, 0)


@pytest.fixture
def shell() -> Iterator[Shell]:
    made = Shell()
    yield made
    if not has_gone(made.pid):
        made.close()


def test_a_search_outlives_its_shell(comp: Folder, shell: Shell, foldsmith: Foldsmith) -> None:
    shell.say(shlex.join(words(comp, *SEARCH, "--time-budget", "10m", "--detach")))
    pid = int(shell.read_until(r"process (\d+) searches by itself")[1])
    shell.read_until(rf"foldsmith -C {comp.root} stop ")
    shell.close()
    until((comp.code / "waits").exists)
    assert driver_of(comp) == pid == os.getsid(pid)
    process = Path(f"/proc/{pid}")
    assert os.readlink(process / "fd" / "0") == "/dev/null"
    ignored = int(re.search(r"SigIgn:\s*(\w+)", (process / "status").read_text())[1], 16)  # type: ignore[index]
    assert ignored >> (signal.SIGHUP - 1) & 1
    os.kill(pid, signal.SIGHUP)

    until(lambda: last_beat(comp) is not None)
    started = read_json(comp.launch)["request"]["started"]
    assert started == pytest.approx(psutil.Process(pid).create_time())  # not when the command was given
    assert foldsmith("-C", comp.root, "status").out.count(f"process {pid} is searching") == 1
    log = foldsmith("-C", comp.root, "logs").out.splitlines()
    assert log[0].startswith("--- ") and "search mine:Slow --trials 2" in log[0] and "--detach" in log[0]
    assert any(line.endswith("searching   1 trial · 1 running") or "1 of 2 trials" in line for line in log)
    (comp.code / "go").touch()
    until(lambda: driver_of(comp) is None and has_gone(pid))
    assert status(comp.root).phase == "idle"
    audit(comp, 2)
    assert "done in " in foldsmith("-C", comp.root, "logs").out
    assert foldsmith("-C", comp.root, "logs", "-n", 1).out.count("\n") == 1


@pytest.fixture
def detached(comp: Folder, foldsmith: Foldsmith) -> int:
    """A detached search whose second fold runs."""
    outcome = foldsmith("-C", comp.root, *SEARCH, "--detach")
    assert outcome.code == 0, outcome.err
    until((comp.code / "waits").exists)
    driver = driver_of(comp)
    assert driver is not None
    assert f"process {driver} searches by itself; this terminal may be closed\n" in outcome.out
    return driver


def start(comp: Folder, *command: object, **options: Any) -> "subprocess.Popen[str]":
    """A command in another process, with its output in a pipe."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
    return subprocess.Popen(words(comp, *command), text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, **streams)


def interrupted(process: "subprocess.Popen[str]") -> str:
    """What it says to Ctrl-C; the first one may come where Python can only note it, and is then given again."""
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=30)[0]
    raise AssertionError("it hears no Ctrl-C")


def test_watched_and_followed_until_it_is_stopped(comp: Folder, detached: int, foldsmith: Foldsmith) -> None:
    watching = start(comp, "watch")
    following = start(comp, "logs", "--follow")
    impatient = start(comp, "watch")
    for process in (watching, following, impatient):
        assert process.stdout is not None
        assert process.stdout.readline()
    said = interrupted(impatient)
    assert impatient.returncode == 0
    assert f"process {detached} searches on; 'foldsmith stop' would stop it" in said
    assert driver_of(comp) == detached

    stopping = start(comp, "stop")
    until(lambda: status(comp.root).phase == "stopping")
    (comp.code / "go").touch()
    said, _ = stopping.communicate(timeout=600)
    assert stopping.returncode == 0
    assert said.splitlines() == [
        f"process {detached} lets its running folds end; 'foldsmith stop' again ends it at once",
        f"stopped process {detached}; go on with 'foldsmith resume'",
    ]
    said, _ = watching.communicate(timeout=600)
    assert watching.returncode == 130
    assert "the search was stopped; go on with 'foldsmith resume'\n" in said
    assert "interrupted; go on with 'foldsmith resume'" in said
    said, _ = following.communicate(timeout=600)
    assert following.returncode == 0
    assert "stopping" in said and said.endswith("the search was stopped; go on with 'foldsmith resume'\n")
    assert MemberStore(comp).all()[0].state == "running"

    resumed = foldsmith("-C", comp.root, "resume", "--detach", "--json")
    assert resumed.code == 0, resumed.err
    until(lambda: driver_of(comp) is None)
    audit(comp, 2)


def test_a_second_stop_ends_it_at_once(comp: Folder, detached: int, foldsmith: Foldsmith) -> None:
    first = start(comp, "stop")
    until(lambda: status(comp.root).phase == "stopping")
    outcome = foldsmith("-C", comp.root, "stop")
    assert outcome.code == 0
    assert outcome.err == f"process {detached} was asked before: ending it at once\n"
    assert outcome.out.startswith(f"ended process {detached} at once: finished folds are kept, those that ran are lost")
    said, _ = first.communicate(timeout=600)
    assert "at once: finished folds are kept" in said  # it does not claim that the folds ended
    assert status(comp.root).states == {"running": 1}  # the first fold is kept
    again = foldsmith("-C", comp.root, "stop")
    assert again.code == 2
    assert "nothing to stop; the last one did not come to its end, go on with 'foldsmith resume'" in again.err


def test_a_driver_that_hears_nothing_is_killed(comp: Folder, detached: int) -> None:
    """As one that is stuck in C code: here it is halted."""
    from foldsmith.flow.status import Stopped, stop

    os.kill(detached, signal.SIGTERM)
    until(lambda: status(comp.root).phase == "stopping")
    os.kill(detached, signal.SIGSTOP)
    assert stop(comp.root, kill_after_seconds=0.5) == [Stopped(detached, "killed")]


def test_a_stop_that_nobody_waits_for(comp: Folder, detached: int, foldsmith: Foldsmith) -> None:
    asking = start(comp, "stop")
    until(lambda: status(comp.root).phase == "stopping")
    asking.send_signal(signal.SIGINT)
    said, _ = asking.communicate(timeout=600)
    assert asking.returncode == 1
    assert f"error: process {detached} still lets its folds end; nobody waits for it any more" in said
    assert driver_of(comp) == detached


def test_watch_says_that_it_died(comp: Folder, detached: int) -> None:
    """On a terminal there is a picture, and old messages are not all repeated."""
    terminal, other_end = pty.openpty()
    watching = start(comp, "watch", stderr=other_end)
    os.close(other_end)
    drawn = ""
    while "waits" not in drawn and "fold 2/3" not in drawn:
        drawn += os.read(terminal, 4096).decode(errors="replace")
    os.kill(detached, signal.SIGKILL)
    said, _ = watching.communicate(timeout=600)
    os.close(terminal)
    assert watching.returncode == 1
    assert said.startswith("the search's process was killed or crashed; go on with 'foldsmith resume'\n")
    assert "slow-0001" in drawn


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_terminal_that_goes_away_drains_the_search(
    comp: Folder, shell: Shell, foldsmith: Foldsmith, executor: str
) -> None:
    """Without --detach: the fold that runs is kept, and what is written to the terminal breaks nothing."""
    shell.say(shlex.join(words(comp, "search", "mine:Slow", "--trials", 2, "--workers", 1, "--executor", executor)))
    shell.read_until("searching|submission on disk")
    until((comp.code / "waits").exists)
    driver = driver_of(comp)
    assert driver is not None
    shell.close()
    (comp.code / "go").touch()
    until(lambda: has_gone(driver))
    assert status(comp.root).phase == "interrupted"
    assert (comp.logs / "fits.log").read_text() == "slow-0001 0 0\nslow-0001 0 1\n"
    assert (comp.logs / "search.log").read_text().splitlines()[-1] == "ended: interrupted"
    assert "Traceback" not in (comp.logs / "search.log").read_text()
    resumed = foldsmith("-C", comp.root, "resume")
    assert resumed.code == 0, resumed.err
    audit(comp, 2)


def test_hangups_drain_and_never_kill(comp: Folder) -> None:
    process = start(comp, "search", "mine:Slow", "--trials", 2, "--executor", "inline")
    until((comp.code / "waits").exists)
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.05)
    (comp.code / "go").touch()
    process.communicate(timeout=600)
    assert process.returncode == 130
    assert status(comp.root).phase == "interrupted"
    assert (comp.logs / "fits.log").read_text() == "slow-0001 0 0\nslow-0001 0 1\n"


class TestWhatIsWrong:
    """It is said at once, with its exit code, and nothing searches."""

    @pytest.mark.parametrize(
        ("command", "code", "message"),
        [
            (["search", "lightgmb", "--trials", 1], 2, "unknown family 'lightgmb'; did you mean 'lightgbm'"),
            (["search", "linear"], 2, "a search needs an end; give --trials or --time-budget"),
            (["search", "linear", "--until", "soon"], 2, "'soon' is not a time; write it as 07:30"),
            (["search", "linear", "--until", "2020-01-01T07:30"], 2, "has passed; give one that is still ahead"),
            (["search", "linear", "--time-budget", "0s"], 2, "is not positive"),
            (["resume"], 2, "no search was started in .* yet"),
            (["run", "--metric", "rmse"], 3, "is set up with --metric log_loss, not --metric rmse"),
        ],
    )
    def test_before_it_begins(
        self, comp: Folder, foldsmith: Foldsmith, command: Sequence[object], code: int, message: str
    ) -> None:
        outcome = foldsmith("-C", comp.root, *command, "--detach")
        assert (outcome.code, outcome.out) == (code, "")
        assert re.fullmatch(rf"error: .*{message}.*\n", outcome.err), outcome.err
        assert not comp.logs.exists()

    def test_another_driver(self, comp: Folder, foldsmith: Foldsmith) -> None:
        with FolderLock(comp.driver_lock):
            outcome = foldsmith("-C", comp.root, *SEARCH, "--detach")
        assert outcome.code == 3
        assert f"error: another foldsmith (process {os.getpid()}) works in" in outcome.err
        assert not comp.logs.exists()

    def test_what_only_the_search_finds_out(self, comp: Folder, foldsmith: Foldsmith) -> None:
        outcome = foldsmith("-C", comp.root, "search", "mine:Nothing", "--trials", 1, "--detach")
        assert outcome.code == 2
        assert "error: none of the families can take this problem (mine:Nothing: it takes nothing)" in outcome.err
        assert "Traceback" not in outcome.err
        assert driver_of(comp) is None

    def test_new_competitions_are_set_up_here(
        self, foldsmith: Foldsmith, options: Sequence[object], tmp_path: Path
    ) -> None:
        wrong = foldsmith("run", *options, "--metric", "acu", "--out", tmp_path / "new", "--detach")
        assert wrong.code == 2 and "unknown metric 'acu'" in wrong.err
        assert not (tmp_path / "new").exists()


def test_a_run_that_needs_no_second(
    foldsmith: Foldsmith, options: Sequence[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set up in the foreground; what has ended by then is shown. The child does not detach itself again."""
    monkeypatch.setenv("FOLDSMITH_RUN_DETACH", "1")
    new = tmp_path / "new"
    small = ["--trials", 1, "--folds", 2, "--families", "linear", "--executor", "inline", "--out", new]
    outcome = foldsmith("run", *options, *small, "--json")
    assert outcome.code == 0, outcome.err
    until(lambda: driver_of(Folder(new)) is None and list((new / "submissions").glob("0001_*.csv")))
    lines = (new / ".foldsmith" / "logs" / "search.log").read_text().splitlines()
    assert len([line for line in lines if line.startswith("--- ")]) == 1
    record = json.loads(next(line for line in outcome.out.splitlines() if line.startswith("{")))
    assert set(record) >= {"n_members"} or set(record) == {"pid", "log"}
    again = foldsmith("-C", new, "resume", "--detach")
    assert again.code == 0, again.err


def test_nothing_runs(comp: Folder, foldsmith: Foldsmith) -> None:
    outcome = foldsmith("-C", comp.root, "watch")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"error: no search is running in {comp.root}; see 'foldsmith status', or start one\n"
    outcome = foldsmith("-C", comp.root, "logs")
    assert outcome.code == 2 and "there are no logs in" in outcome.err


def test_nothing_runs_any_more(foldsmith: Foldsmith, searched: Path) -> None:
    outcome = foldsmith("-C", searched, "logs", "-f")
    assert outcome.code == 0 and outcome.err == "no search is running\n"
    assert outcome.out.startswith("--- ") and outcome.out.endswith("ended: done\n")


def test_logs_by_name(foldsmith: Foldsmith, searched: Path) -> None:
    logs = searched / ".foldsmith" / "logs"
    (logs / "worker-3.log").write_text("of worker 3\n")
    assert foldsmith("-C", searched, "logs", "--list").out.split() == ["search", "fits", "worker-3"]
    assert foldsmith("-C", searched, "logs", "--worker", 3).out == "of worker 3\n"
    assert foldsmith("-C", searched, "logs", "worker-3").out == "of worker 3\n"
    assert foldsmith("-C", searched, "logs", "fits", "-n", 2).out.count("\n") == 2
    outcome = foldsmith("-C", searched, "logs", "--worker", 1)
    assert outcome.code == 2 and "unknown log 'worker-1'; did you mean 'worker-3'" in outcome.err
    outcome = foldsmith("-C", searched, "logs", "fits", "--worker", 1)
    assert outcome.code == 2 and "--worker 1 and 'fits' name two logs; give one of them" in outcome.err


def test_service(comp: Folder, foldsmith: Foldsmith) -> None:
    outcome = foldsmith("-C", comp.root, "service")
    assert outcome.code == 0
    assert f'ExecStart="{sys.executable}" -P -m foldsmith -C "{comp.root}" resume\n' in outcome.out
    assert "note: no search was started here yet" in outcome.err
    for line in (
        f"  foldsmith -C {comp.root} service 2>/dev/null > ~/.config/systemd/user/foldsmith-comp.service",
        "  systemctl --user enable --now foldsmith-comp.service",
        "  loginctl enable-linger",
    ):
        assert f"{line}\n" in outcome.err


def test_a_finished_search_is_not_restarted(comp: Folder, foldsmith: Foldsmith) -> None:
    """What the unit runs after a reboot ends with 0, or with a code that systemd does not answer with a restart."""
    (comp.code / "go").touch()
    assert foldsmith("-C", comp.root, "search", "mine:Slow", "--trials", 1, "--executor", "inline").code == 0
    unit = foldsmith("-C", comp.root, "service")
    assert "note:" not in unit.err
    prevented = re.search(r"RestartPreventExitStatus=(.*)", unit.out)
    assert prevented is not None
    assert foldsmith("-C", comp.root, "resume").code == 0
    search = ["search", "mine:Slow", "--executor", "inline"]
    assert foldsmith("-C", comp.root, *search, "--time-budget", "0.1s").code == 0
    assert str(foldsmith("-C", comp.root, "resume").code) in prevented[1].split()


def test_what_readme_says_of_the_night(comp: Folder, tmp_path: Path) -> None:
    """Its commands and its table of hooks, with other words where a night would be too long."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme.partition("### Overnight\n")[2].partition("\n### ")[0]
    commands, hooks = re.findall(r"```(?:bash|toml)\n(.*?)```", section, re.DOTALL)
    hooks = re.sub(r'on_best = ".*"', 'on_best = "cat >> best.jsonl"', hooks)
    hooks = re.sub(r'on_fail = ".*"', 'on_fail = "cat >> fail.jsonl"', hooks)
    comp.config.write_text(f"{comp.config.read_text()}\n{hooks}")
    (comp.code / "go").touch()
    commands = commands.replace("search --until", "search mine:Slow --trials 2 --executor local --workers 1 --until")
    commands = commands.replace("foldsmith watch", "foldsmith watch || test $? = 2")  # it may be over by then
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", commands], cwd=comp.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    until(lambda: driver_of(comp) is None and (comp.root / "finished.jsonl").exists())
    until(lambda: (comp.root / "finished.jsonl").read_text().endswith("\n"))
    record = json.loads((comp.root / "finished.jsonl").read_text())
    named = re.search(r"JSON object on stdin:\n(.*?)\.\n", section, re.DOTALL)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) <= set(record)
    assert (record["event"], record["ended"], record["n_trials"]) == ("finish", "done", 2)
    assert not (comp.root / "fail.jsonl").exists()
    assert re.search(r"--until 07:30 --detach$", (comp.logs / "search.log").read_text().splitlines()[0])
    end = read_json(comp.launch)["request"]["until"]
    assert time.localtime(end)[3:5] == (7, 30) and 0 < end - time.time() <= 25 * 3600
