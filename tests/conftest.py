"""Tiny competitions and stored members that several test folders share."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foldsmith.cli.main import run_command_line
from foldsmith.flow.setup import SetupRequest, init
from foldsmith.problem.contract import Problem, open_problem
from foldsmith.problem.goal import Task
from foldsmith.problem.scoring import score_oof
from foldsmith.results.members import Member, MemberStore

# Started in the background or by nohup, the tests would ignore these signals, and with them all processes they start.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _usual)

LABELS: dict[Task, Callable[[NDArray[np.float64]], Any]] = {
    "binary": lambda signal: (signal > 0).astype(int),
    "multiclass": lambda signal: np.array(["calm", "fair", "wild"])[np.digitize(signal, [-0.5, 0.5])],
    "regression": lambda signal: np.round(3 + signal, 3).clip(0),
}


def frames_of(task: Task = "binary", n_train: int = 60, n_test: int = 12) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A learnable train and test table with ids ``001``, ``002``, … and a target ``y``."""
    rng = np.random.default_rng(5)
    n_rows = n_train + n_test
    frame = pd.DataFrame(
        {
            "id": [f"{number:03d}" for number in range(1, n_rows + 1)],
            "size": rng.normal(size=n_rows).round(4),
            "weight": rng.normal(size=n_rows).round(4),
            "colour": rng.choice(["red", "green", "blue"], n_rows),
        }
    )
    frame["y"] = LABELS[task](frame["size"].to_numpy() + 0.3 * rng.normal(size=n_rows))
    return frame.iloc[:n_train], frame.iloc[n_train:].drop(columns="y")


@pytest.fixture(scope="session", autouse=True)
def no_own_portfolio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the person who runs the tests has learned must not change them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOLDSMITH_PORTFOLIO", str(tmp_path_factory.mktemp("home") / "portfolio.json"))
        yield


@pytest.fixture
def make_frames() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """``frames_of``."""
    return frames_of


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """``train`` and ``test`` of a binary problem in ``tmp_path / "data"``."""
    train, test = frames_of()
    return write_files(tmp_path / "data", train, test)


def write_files(folder: Path, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, Path]:
    """Both tables as csv files."""
    folder.mkdir(exist_ok=True)
    paths = {"train": folder / "train.csv", "test": folder / "test.csv"}
    train.to_csv(paths["train"], index=False)
    test.to_csv(paths["test"], index=False)
    return paths


@pytest.fixture
def make_problem(tmp_path: Path) -> Callable[..., Problem]:
    """Sets up ``tmp_path / name`` and freezes its folds.

    ``train`` and ``test`` replace the tables of the kind of task; further words go to ``SetupRequest``.
    """

    def make(
        kind: Task = "binary",
        /,
        *,
        name: str = "comp",
        train: pd.DataFrame | None = None,
        test: pd.DataFrame | None = None,
        **options: Any,
    ) -> Problem:
        usual_train, usual_test = frames_of(kind)
        paths = write_files(
            tmp_path / "data", usual_train if train is None else train, usual_test if test is None else test
        )
        if kind == "multiclass" and options.get("metric") == "qwk":
            options.setdefault("classes", ("calm", "fair", "wild"))  # words have no order of their own
        request = SetupRequest(paths["train"], paths["test"], **{"target": "y", "n_folds": 3, **options})
        init(tmp_path / name, request)
        return open_problem(tmp_path / name, freeze=True)

    return make


@pytest.fixture
def add_member() -> Callable[..., Member]:
    """Stores a complete member of a problem under a new id; scored with the problem's judge."""

    def add(
        problem: Problem,
        oof: NDArray[Any],
        test: NDArray[Any] | None = None,
        *,
        prefix: str = "lin",
        **facts: Any,
    ) -> Member:
        store = MemberStore(problem.folder)
        oof = np.asarray(oof, np.float32).reshape(len(problem.data.y), -1)
        test = np.tile(np.nanmean(oof, axis=0), (problem.data.test.n_rows, 1)) if test is None else test
        member = Member(
            id=store.reserve(prefix),
            kind="trial",
            state="complete",
            contract=problem.contract,
            family="linear",
            metric=problem.metric.name,
            scores=score_oof(problem.judge, oof),
            test_fingerprint=problem.data.test_fingerprint,
        )
        member = Member(**{**{name: getattr(member, name) for name in member.__dataclass_fields__}, **facts})
        store.finish(member, oof, np.asarray(test, np.float32).reshape(problem.data.test.n_rows, -1))
        return store.get(member.id)

    return add


class Outcome(NamedTuple):
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def foldsmith(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line in this process, with what libraries print from C captured too."""

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        code = run_command_line([str(word) for word in words])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def options(files: Mapping[str, Path]) -> Sequence[object]:
    """``--train``, ``--test`` and ``--target`` of the binary problem."""
    return ["--train", files["train"], "--test", files["test"], "--target", "y"]


@pytest.fixture(scope="session")
def searched_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Linear, knn and lightgbm, one trial each over two folds, and a blend."""
    folder = tmp_path_factory.mktemp("searched")
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"id": range(1, 81), "size": rng.normal(size=80), "colour": rng.choice(["red", "blue"], 80)})
    frame["y"] = (frame["size"] + 0.5 * rng.normal(size=80) > 0).astype(int)
    frame.iloc[:60].to_csv(folder / "train.csv", index=False)
    frame.iloc[60:].drop(columns="y").to_csv(folder / "test.csv", index=False)
    words = ["--train", folder / "train.csv", "--test", folder / "test.csv", "--target", "y", "--folds", 2]
    search = ["--trials", 3, "--families", "lightgbm,linear,knn", "--executor", "inline", "--out", folder / "comp"]
    assert run_command_line([str(word) for word in ("run", *words, *search)]) == 0
    return folder


@pytest.fixture
def searched(searched_once: Path, tmp_path: Path) -> Path:
    """A copy of that competition folder; its tables lie outside."""
    shutil.copytree(searched_once / "comp", tmp_path / "comp")
    return tmp_path / "comp"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this test session; the URL of its empty database ``postgres``."""
    folder = Path(tempfile.mkdtemp(prefix="foldsmith-postgres-"))  # the server's user cannot enter pytest's folders
    server: subprocess.Popen[bytes] | None = None
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        (folder / "password").write_text("pass-word")
        (folder / "password").chmod(0o644)
        words = [
            "--username=ann",
            "--auth=scram-sha-256",
            f"--pwfile={folder}/password",
            "--no-sync",
            "--locale=C.UTF-8",
        ]
        subprocess.run([*_postgres("initdb"), "-D", folder / "data", *words], check=True, stdout=subprocess.DEVNULL)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = ["fsync=off", f"unix_socket_directories={folder}", f"port={port}", "listen_addresses=127.0.0.1"]
        words = [word for setting in settings for word in ("-c", setting)]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen([*_postgres("postgres"), "-D", folder / "data", *words], stderr=log)
        url = f"postgresql://ann:pass-word@127.0.0.1:{port}/postgres"
        _wait_for_postgres(url, server, folder / "log")
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # an immediate shutdown, which frees its shared memory
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _postgres(program: str) -> list[str]:
    """How to start one of PostgreSQL's programs: not as root, which it refuses, and not to outlive the tests."""
    found = shutil.which(program) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), None)
    if found is None:
        pytest.fail(f"these tests need PostgreSQL's {program}; install the package postgresql", pytrace=False)
    user = ["--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    setpriv = ["setpriv", *user, "--pdeathsig=KILL"] if shutil.which("setpriv") else []
    return [*setpriv, found]


def _wait_for_postgres(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    give_up = time.monotonic() + 600
    while True:
        try:
            psycopg.connect(url, connect_timeout=600).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > give_up:
                pytest.fail(f"PostgreSQL did not start:\n{log.read_text()}", pytrace=False)
            time.sleep(0.05)


@pytest.fixture
def postgres_database(postgres_url: str) -> str:
    """The URL of an empty database; it is the same for all tests, a new one would cost 300 files each."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'shared'").fetchone() is None:
            connection.execute("CREATE DATABASE shared")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shared'")
    url = postgres_url.removesuffix("postgres") + "shared"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute("GRANT USAGE ON SCHEMA public TO public")  # as in every new database
    return url


# Its first trial waits in the second fold until there is a file "go".
SLOW_FAMILY = """
import time
from pathlib import Path

import numpy as np

from foldsmith.spaces.family import Family
from foldsmith.spaces.space import Float, Space

HERE = Path(__file__).parent


class Level:
    curve, facts = None, {}

    def __init__(self, level):
        self.level = level

    def predict(self, table, round=None):
        return np.full((table.n_rows, 1), self.level, np.float32)

    def save(self, folder):
        (folder / "level.txt").write_text(repr(float(self.level)))


class Slow(Family):
    name, prefix = "slow", "slow"

    def space(self, facts):
        return Space("slow@1", {"shift": Float(0.0, 0.4)})

    def defaults(self, facts):
        return [{"shift": 0.1}]

    def fit_fold(self, task):
        if task.fold_key.endswith("-1"):
            (HERE / "waits").touch()
            for _ in range(60_000):
                if (HERE / "go").exists():
                    break
                time.sleep(0.01)
        return Level(task.y[task.train_rows].mean() + task.params["shift"])

    def load(self, folder):
        return Level(float((folder / "level.txt").read_text()))


class Nothing(Slow):
    def accepts(self, facts):
        return "it takes nothing"
"""


@pytest.fixture(scope="session")
def slow_family() -> str:
    """For ``code/mine.py``: the family ``mine:Slow`` waits for a test, ``mine:Nothing`` fits no problem."""
    return SLOW_FAMILY
