"""``[hooks]`` of foldsmith.toml: a person's own commands, told what happens in a search while nobody watches."""

import contextlib
import datetime
import json
import logging
import math
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal

from foldsmith.flow.logs import appended
from foldsmith.problem.contract import Problem
from foldsmith.results.members import MemberStore
from foldsmith.results.top import ranked
from foldsmith.search.processes import kill_tree
from foldsmith.search.snapshot import Snapshot

EventName = Literal["best", "finish", "fail"]

HOOK_SECONDS = 30.0
BEST_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Hooks:
    """Runs the hooks of one search in a thread, one after the other; no call waits for them or fails because of them.

    Of new best scores only the newest is told, ``best_seconds`` after the one before at the earliest. Leaving the
    context waits for what is pending, for a limited time.

    Args:
        limit_seconds: after which a hook is killed with its children.
    """

    def __init__(
        self, problem: Problem, *, limit_seconds: float = HOOK_SECONDS, best_seconds: float = BEST_SECONDS
    ) -> None:
        self._problem = problem
        self._commands: dict[EventName, str | None] = {
            "best": problem.config.hooks.on_best,
            "finish": problem.config.hooks.on_finish,
            "fail": problem.config.hooks.on_fail,
        }
        self._limit_seconds = limit_seconds
        self._best_seconds = best_seconds
        self._scores: dict[str, tuple[str | None, float, float]] = {}
        self._n_trials = 0
        self._told_closed: set[str] = set()
        self._news = threading.Condition()
        self._best: dict[str, dict[str, Any]] = {}
        self._queue: deque[tuple[EventName, dict[str, Any]]] = deque()
        self._best_at = -math.inf
        self._is_closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._last: tuple[EventName, dict[str, Any]] | None = None
        self.n_failed = 0

    def __enter__(self) -> "Hooks":
        if any(self._commands.values()):
            with self._guarded():
                self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
                self._thread.start()
                self._scores = self._stored_scores()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guarded():
            self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        """Tell how it ended, and let the thread end."""
        if isinstance(error, Exception):
            self._put("fail", ended="failed", message=str(error) or type(error).__name__)
        elif error is None and self._last is not None:
            self._put(self._last[0], **self._last[1])
        self._close(0.0 if error is not None and not isinstance(error, Exception) else 2 * self._limit_seconds + 5)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever goes wrong with hooks is counted and logged, and ends nothing."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.n_failed += 1
            logger.warning("hooks failed", exc_info=error)

    # --- what the search tells ---------------------------------------------------------------------------------

    def member(self, name: str) -> None:
        """A member was completed."""
        with self._guarded():
            self._tell_member(name)

    def _tell_member(self, name: str) -> None:
        if self._thread is None or self._commands["best"] is None:
            return
        found = MemberStore(self._problem.folder).get(name)
        if found.scores is not None:
            self._score("single", name, found.scores.value, found.scores.sem)

    def snapshot(self, snapshot: Snapshot) -> None:
        """The state of the search now; called often."""
        if self._thread is not None:
            with self._guarded():
                self._tell_snapshot(snapshot)

    def _tell_snapshot(self, snapshot: Snapshot) -> None:
        self._n_trials = snapshot.n_complete + snapshot.n_failed + snapshot.n_pruned
        if snapshot.ensemble is not None:
            self._score("ensemble", None, *snapshot.ensemble, size=snapshot.ensemble_size)
        for family in snapshot.closed:
            if family not in self._told_closed:
                self._told_closed.add(family)
                found = (message for message in reversed(snapshot.messages) if message.startswith(f"{family} "))
                why = next(found, f"{family} is left out from here on")
                self._put("fail", message=why)

    def ended(self, how: str, standing: tuple[float, float, int] | None) -> None:
        """The search ended by itself; told when the context is left, so that the hook may start another one.

        Args:
            how: ``done`` or ``out_of_time``.
            standing: nested score, standard error and size of the ensemble.
        """
        with self._guarded():
            self._tell_end(how, standing)

    def _tell_end(self, how: str, standing: tuple[float, float, int] | None) -> None:
        if standing is not None:
            value, sem, size = standing
            self._score("ensemble", None, value, sem, size=size)
            facts: dict[str, Any] = {"kind": "ensemble", "score": value, "sem": sem, "size": size}
        else:
            member, value, sem = self._scores.get("single", (None, math.nan, math.nan))
            facts = {"kind": "single", "member": member, "score": value, "sem": sem}
        message = f"{how.replace('_', ' ')} after {self._n_trials} trial{'' if self._n_trials == 1 else 's'}"
        self._last = "finish", {"ended": how, "message": message, **facts}

    def _score(self, kind: str, member: str | None, value: float, sem: float, **facts: Any) -> None:
        """Tell a score if it is better than all before it."""
        before = self._scores.get(kind)
        if math.isnan(value) or (before is not None and not self._problem.metric.better(value, before[1])):
            return
        self._scores[kind] = member, value, sem
        message = f"new best {kind}: {self._problem.metric.name} {value:.6g}" + (f" ({member})" if member else "")
        self._put("best", kind=kind, member=member, score=value, sem=sem, message=message, **facts)

    def _stored_scores(self) -> dict[str, tuple[str | None, float, float]]:
        """The best that earlier searches reached: no news."""
        members = MemberStore(self._problem.folder).all(contract=self._problem.contract, states=["complete"])
        best: dict[str, tuple[str | None, float, float]] = {}
        for kind, kinds in (("single", ("trial", "imported")), ("ensemble", ("blend",))):
            chosen = [member for member in members if member.kind in kinds and member.scores is not None]
            for member in ranked(chosen, greater_is_better=self._problem.metric.greater_is_better)[:1]:
                assert member.scores is not None
                best[kind] = member.id, member.scores.value, member.scores.sem
        return best

    # --- the thread --------------------------------------------------------------------------------------------

    def _put(self, event: EventName, **facts: Any) -> None:
        if self._thread is None or self._commands[event] is None:
            return
        record = {
            "event": event,
            "folder": str(self._problem.folder.root.resolve()),
            "metric": self._problem.metric.name,
            "greater_is_better": self._problem.metric.greater_is_better,
            "kind": None,
            "member": None,
            "score": None,
            "sem": None,
            "n_trials": self._n_trials,
            "ended": None,
            "message": "",
            "submission": str((self._problem.folder.submissions / "current.csv").resolve()),
            "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            **facts,
        }
        with self._news:
            if event == "best":
                self._best[record["kind"]] = record
            else:
                self._queue.append((event, record))
            self._news.notify()

    def _next(self) -> tuple[EventName, dict[str, Any]] | None:
        """Wait for the next event that is due; None when there will be none."""
        with self._news:
            while True:
                wait_seconds = self._best_at + self._best_seconds - time.monotonic()
                if self._best and (wait_seconds <= 0 or self._is_closing):
                    return "best", self._best.pop(next(iter(self._best)))
                if self._queue:
                    return self._queue.popleft()
                if self._is_closing:
                    return None
                self._news.wait(wait_seconds if self._best else None)

    def _work(self) -> None:
        while (due := self._next()) is not None:
            event, record = due
            if event == "best":
                self._best_at = time.monotonic()
            try:
                is_fine = self._run(event, record)
            except Exception as error:  # a full disk, no process to be had: the search goes on
                logger.warning("the hook on_%s could not be run: %s", event, error)
                is_fine = False
            self.n_failed += not is_fine

    def _run(self, event: EventName, record: dict[str, Any]) -> bool:
        """Run one hook and log what it said; whether it ended well."""
        command = self._commands[event]
        assert command is not None
        message = json.dumps({key: _plain(value) for key, value in record.items()}, allow_nan=False) + "\n"
        began = time.monotonic()
        with appended(self._problem.folder, "hooks", f"on_{event}: {command}") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self._problem.folder.root,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that it can be ended with all that it started
            )
            try:
                self._process.communicate(message.encode(), timeout=self._limit_seconds)
                how = f"exit code {self._process.returncode}"
            except subprocess.TimeoutExpired:
                kill_tree(self._process.pid)
                self._process.communicate()
                how = "killed: it took too long"
            log.write(f"{how} after {time.monotonic() - began:.1f} s\n")
        return self._process.returncode == 0

    def _close(self, wait_seconds: float) -> None:
        """Let the thread end after what is pending, for ``wait_seconds`` at most."""
        if self._thread is None:
            return
        with self._news:
            self._is_closing = True
            if wait_seconds <= 0:
                self._drop()
            self._news.notify()
        try:
            self._thread.join(wait_seconds)
        finally:  # nobody wants to wait longer
            if self._thread.is_alive():
                with self._news:
                    self._drop()
                if self._process is not None and self._process.returncode is None:
                    kill_tree(self._process.pid)
                self._thread.join(1.0)

    def _drop(self) -> None:
        self._best.clear()
        self._queue.clear()


def _plain(value: Any) -> Any:
    """JSON has no word for nan and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
