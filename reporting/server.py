"""A local page over out-of-fold predictions: sorted, filtered and searched on the server, shared by its address."""

import html
import io
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIServer

import numpy as np
import pandas as pd

from foldsmith.flow.dashboard import App, serve_on
from foldsmith.problem.errors import FoldsmithError, InputError
from foldsmith.reporting.facts import Facts, Predictions
from foldsmith.reporting.rows import cell_text

PAGE = 50
MAX_PAGE = 500
OWN = ("row", "fold", "true", "predicted", "right", "sure", "error")


class RowIndex:
    """One member's rows as a table that can be filtered and sorted.

    Args:
        facts: the competition.
        member: whose predictions.
    """

    def __init__(self, facts: Facts, member: str) -> None:
        self._facts = facts
        self._found = facts.predictions_of(member)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """Row number, fold, truth, prediction, right, confidence and error, then the file's own columns."""
        facts, found = self._facts, self._found
        own: dict[str, Any] = {"row": found.rows + 1, "fold": facts.problem.plan.valid_fold[0][found.rows] + 1}
        if facts.is_classification:
            names = np.array([str(name) for name in facts.classes], dtype=object)
            own |= {
                "true": names[np.asarray(found.y, np.int64)],
                "predicted": names[found.labels],
                "right": found.right,
            }
        else:
            own |= {"true": np.asarray(found.y, np.float64), "predicted": found.values[:, 0]}
        if len(found.confidence):
            own["sure"] = found.confidence
        own["error"] = found.losses
        made = pd.DataFrame(own)
        target = facts.problem.data.target.name
        columns = facts.train.drop(columns=target).iloc[found.rows].reset_index(drop=True)
        columns.columns = [name if name not in made.columns else f"{name} (file)" for name in columns.columns]
        return pd.concat([made, columns], axis=1)

    @cached_property
    def text(self) -> pd.Series:
        """All words of a row, in lower case, for the search."""
        words = [self.frame[name].astype("str") for name in self.frame.columns if name not in OWN]
        joined = words[0] if words else pd.Series([""] * len(self.frame))
        for column in words[1:]:
            joined = joined + " " + column
        return joined.str.lower()

    @property
    def found(self) -> Predictions:
        """The predictions behind it."""
        return self._found


class Browser:
    """Answers what the page asks for.

    Args:
        facts: the competition.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self.index = lru_cache(4)(lambda member: RowIndex(facts, member))

    @property
    def members(self) -> list[str]:
        """Members that can be looked at, best first."""
        return [one.id for one in self._facts.members]

    def select(self, query: Mapping[str, str]) -> pd.DataFrame:
        """The rows that a query asks for, in its order.

        Args:
            query: ``member``; ``right`` (yes or no); ``sure_from``, ``sure_to``, ``error_from``, ``error_to``;
                ``column`` with ``is``, or ``from`` and ``to``; ``text``; ``against``, a member that predicts another
                label, or is off by over a standard deviation of the errors; ``sort`` and ``down``.

        Raises:
            InputError: an unknown member or column, or a number that is none.
        """
        member = query.get("member") or (self.members[0] if self.members else "")
        if member not in self.members:
            raise InputError(f"no member {member!r}; there are {', '.join(self.members[:5])}")
        index = self.index(member)
        frame = index.frame
        kept = np.ones(len(frame), np.bool_)
        if query.get("right") and "right" in frame:
            kept &= frame["right"].to_numpy() == (query["right"] == "yes")
        for name in ("sure", "error"):
            if name in frame:
                kept &= _between(frame[name], query.get(f"{name}_from"), query.get(f"{name}_to"))
        if column := query.get("column"):
            kept &= _of_column(frame, column, query)
        if text := query.get("text"):
            kept &= index.text.str.contains(text.lower(), regex=False).to_numpy()
        if other := query.get("against"):
            kept &= self._disagree(index, other)
        rows = np.flatnonzero(kept)
        sort = query.get("sort") or "error"
        if sort not in frame:
            raise InputError(f"no column {sort!r} to sort by")
        keys = frame[sort].iloc[rows]
        if not pd.api.types.is_numeric_dtype(keys.dtype):
            keys = keys.astype("str")
        order = np.argsort(keys.to_numpy(), kind="stable")
        return frame.iloc[rows[order[::-1] if query.get("down", "yes") == "yes" else order]]

    def _disagree(self, index: RowIndex, other: str) -> Any:
        if other not in self.members:
            raise InputError(f"no member {other!r} to compare with")
        mine, theirs = index.found, self.index(other).found
        place = pd.Series(np.arange(len(theirs.rows)), theirs.rows).reindex(mine.rows)
        known = place.notna().to_numpy()
        at = place.fillna(0).to_numpy(np.int64)
        if len(mine.labels):
            return known & (mine.labels != theirs.labels[at])
        gap = np.abs(mine.values[:, 0] - theirs.values[at, 0])
        return known & (gap > np.std(mine.losses))

    def answer(self, query: Mapping[str, str]) -> dict[str, Any]:
        """A page of rows as JSON values."""
        chosen = self.select(query)
        size = min(MAX_PAGE, max(1, int(_number(query.get("size"), PAGE))))
        start = max(0, int(_number(query.get("page"), 0))) * size
        part = chosen.iloc[start : start + size]
        rows = [[cell_text(value) for value in line] for line in part.itertuples(index=False)]
        return {
            "columns": list(chosen.columns),
            "rows": rows,
            "total": len(chosen),
            "page": start // size,
            "size": size,
        }


def _between(values: pd.Series, low: str | None, high: str | None) -> Any:
    kept = np.ones(len(values), np.bool_)
    if low:
        kept &= values.to_numpy() >= _number(low)
    if high:
        kept &= values.to_numpy() <= _number(high)
    return kept


def _of_column(frame: pd.DataFrame, column: str, query: Mapping[str, str]) -> Any:
    if column not in frame:
        raise InputError(f"no column {column!r}; there are {', '.join(map(str, frame.columns[:12]))}")
    values = frame[column]
    if query.get("is"):
        wanted = query["is"]
        if pd.api.types.is_numeric_dtype(values.dtype):
            try:
                return values.to_numpy() == float(wanted)
            except ValueError:
                return np.zeros(len(values), np.bool_)
        return (values.astype("str") == wanted).to_numpy()
    if query.get("from") or query.get("to"):
        if not pd.api.types.is_numeric_dtype(values.dtype):
            raise InputError(f"{column!r} holds no numbers; give one of its values instead of a range")
        return _between(values, query.get("from"), query.get("to"))
    return np.ones(len(values), np.bool_)


def _number(text: str | None, default: float = 0.0) -> float:
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is no number") from None
    if not np.isfinite(value):
        raise InputError(f"{text!r} is not finite")
    return value


def make_app(facts: Facts) -> App:
    """The page, ``/rows`` as JSON and ``/rows.csv``; only GET."""
    browser = Browser(facts)
    page = files("foldsmith.reporting").joinpath("browse.html").read_text(encoding="utf-8")
    name = html.escape(facts.competition.root.resolve().name)
    known = json.dumps({"members": browser.members}).replace("<", "\\u003c")
    page = page.replace("<!--title-->", name).replace("<!--known-->", known)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = {key: values[-1] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        try:
            status, kind, body = _respond(browser, page, environ.get("PATH_INFO", "/"), query)
        except FoldsmithError as error:
            status, kind, body = "400 Bad Request", "application/json", json.dumps({"error": str(error)})
        data = body.encode()
        start_response(status, [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(data)))])
        return [data]

    return app


def _respond(browser: Browser, page: str, path: str, query: Mapping[str, str]) -> tuple[str, str, str]:
    match path:
        case "/":
            return "200 OK", "text/html", page
        case "/rows":
            return "200 OK", "application/json", json.dumps(browser.answer(query))
        case "/rows.csv":
            text = io.StringIO()
            browser.select(query).to_csv(text, index=False)
            return "200 OK", "text/csv", text.getvalue()
    return "404 Not Found", "text/plain", "no such page"


def make_server(facts: Facts, port: int) -> WSGIServer:
    """A server on 127.0.0.1 that is not yet serving.

    Raises:
        InputError: there is no complete member, or the port is taken.
    """
    if not facts.members:
        raise InputError("there is no complete member to look at yet; run 'foldsmith search' first")
    return serve_on(make_app(facts), port)
