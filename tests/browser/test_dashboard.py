"""The dashboard as a person sees it: a real browser over a search that is running."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from playwright.sync_api import Page, sync_playwright

from foldsmith.flow.demo import make_demo
from foldsmith.problem.contract import open_problem
from foldsmith.problem.files import read_json
from foldsmith.search.journal import open_journal

pytestmark = pytest.mark.browser

FAMILIES = ("linear", "knn", "lightgbm")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Site:
    """A dashboard in the browser.

    Args:
        root: the competition folder.
        contract: begins the names of the studies.
        errors: uncaught errors of the page's scripts.
        search: the process that searches until it is stopped.
    """

    root: Path
    contract: str
    url: str
    page: Page
    errors: list[str]
    search: subprocess.Popen[bytes]

    def study_id(self, family: str) -> int:
        """The dashboard's number of a family's study."""
        storage = open_journal(self.root / ".foldsmith" / "study.journal")
        return storage.get_study_id_from_name(f"{self.contract}/{family}")

    def study(self, family: str) -> optuna.Study:
        """A family's study, read past the dashboard."""
        storage = open_journal(self.root / ".foldsmith" / "study.journal")
        return optuna.load_study(study_name=f"{self.contract}/{family}", storage=storage)

    def open(self, path: str, awaited: str) -> str:
        """Load a page and return its text once it shows ``awaited``."""
        self.page.goto(f"{self.url}{path}")
        self.page.wait_for_selector(awaited)
        return self.page.inner_text("body")

    def stop_search(self) -> None:
        """Let the search end itself, as Ctrl-C does."""
        if self.search.poll() is None:
            self.search.send_signal(signal.SIGTERM)
            self.search.wait(30)

    def journal(self) -> bytes:
        """What the study's one writer has written."""
        return (self.root / ".foldsmith" / "study.journal").read_bytes()


@contextmanager
def started(log: Path, *words: object) -> Iterator[subprocess.Popen[bytes]]:
    """A foldsmith command beside the tests; what is left of its process group is ended with them."""
    command = [sys.executable, "-m", "foldsmith", *map(str, words)]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def wait_until(is_true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Look again and again, for three minutes, while ``process`` runs."""
    give_up = time.monotonic() + 600
    while not is_true():
        assert process.poll() is None and time.monotonic() < give_up, log.read_text()
        time.sleep(0.1)


def all_families_have_scores(root: Path) -> bool:
    """Whether each family has a complete trial, by the driver's own heartbeat."""
    beat = root / ".foldsmith" / "driver.json"
    families = read_json(beat)["snapshot"]["families"] if beat.exists() else []
    return {view["name"] for view in families if view["best"] is not None} >= set(FAMILIES)


def answers(url: str) -> bool:
    """Whether something is served there."""
    try:
        with urllib.request.urlopen(f"{url}/api/studies", timeout=600) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser; missing, it is a failure, for then nobody would have looked."""
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("no chromium on the PATH; install Debian's package: sudo apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Site]:
    """A search without an end, its dashboard, and a browser, all at the same time."""
    folder = tmp_path_factory.mktemp("browser")
    files = make_demo(folder / "data", "breast_cancer")
    root, port = folder / "comp", free_port()
    words = ["--train", files.train, "--test", files.test, "--target", files.target, "--id", "id", "--folds", "3"]
    options = ["--families", ",".join(FAMILIES), "--executor", "local", "--workers", "1", "--trials", "100000"]
    search_log, dashboard_log = folder / "search.log", folder / "dashboard.log"
    with started(search_log, "run", *words, "--out", root, *options) as search:
        wait_until((root / ".foldsmith" / "study.journal").exists, search, search_log)
        with (
            started(dashboard_log, "-C", root, "dashboard", "--port", port) as dashboard,
            sync_playwright() as playwright,
            playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS)) as browser,
        ):
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(20_000)
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: all_families_have_scores(root), search, search_log)
            wait_until(lambda: answers(url), dashboard, dashboard_log)
            yield Site(root, open_problem(root).contract, url, page, errors, search)


def test_lists_the_studies_of_a_running_search(site: Site) -> None:
    text = site.open("/", f"text={site.contract}/{FAMILIES[0]}")
    assert site.search.poll() is None
    for family in FAMILIES:
        assert f"{site.contract}/{family}" in text
    assert text.count("Direction: MAXIMIZE") == len(FAMILIES)
    assert site.errors == []


def test_shows_a_study_and_its_history(site: Site, tmp_path: Path) -> None:
    site.open("/", f"text={site.contract}/lightgbm")
    site.page.click(f"text={site.contract}/lightgbm")
    site.page.wait_for_url(f"{site.url}/dashboard/studies/{site.study_id('lightgbm')}")
    site.page.wait_for_selector("text=Hyperparameter Importance")
    site.page.wait_for_selector(".js-plotly-plot .scatterlayer .trace")
    assert site.page.locator(".js-plotly-plot .scatterlayer .trace .point").count() >= 1
    site.page.screenshot(path=tmp_path / "study.png")
    assert (tmp_path / "study.png").stat().st_size > 10_000
    assert site.errors == []


def test_shows_trials_with_the_score_of_each_fold(site: Site) -> None:
    text = site.open(f"/dashboard/studies/{site.study_id('linear')}/trials?numbers=0", "text=Intermediate Values")
    assert site.search.poll() is None
    trial = site.study("linear").trials[0]
    shown = re.search(r"Intermediate Values\s+0 (\S+)\s+1 (\S+)\s+2 (\S+)\s", text)
    assert shown is not None, text
    assert [float(value) for value in shown.groups()] == [trial.intermediate_values[fold] for fold in range(3)]
    assert f"{trial.value}" in text and trial.user_attrs["member"] in text
    n_trials = re.search(r"(\d+) Trials", text)
    assert n_trials is not None and int(n_trials[1]) >= 1
    assert site.errors == []


def test_shows_the_note_and_the_picture_of_a_trial(site: Site) -> None:
    site.open(f"/dashboard/studies/{site.study_id('lightgbm')}/trials?numbers=0", "text=stopped by")
    member = site.study("lightgbm").trials[0].user_attrs["member"]
    site.page.wait_for_function(f"document.querySelector(\"img[alt='folds of {member}']\").naturalWidth == 720")
    assert site.page.locator("table").first.locator("tbody tr").count() == 3
    assert site.errors == []


def test_refuses_to_change_anything(site: Site) -> None:
    site.stop_search()
    before = site.journal()
    site.open("/", f"text={site.contract}/linear")
    with site.page.expect_response(lambda response: response.request.method == "DELETE") as deleting:
        site.page.locator("button[aria-label='delete study']").first.click()
        site.page.get_by_role("button", name="Yes").click()
    assert deleting.value.status == 405
    for method, path in (
        ("POST", "/api/studies"),
        ("PUT", f"/api/studies/{site.study_id('linear')}/note"),
        ("POST", "/api/trials/0/tell"),
        ("DELETE", f"/api/studies/{site.study_id('knn')}"),
    ):
        ask = "([url, method]) => fetch(url, {method, body: '{}'}).then(answer => answer.status)"
        assert site.page.evaluate(ask, [f"{site.url}{path}", method]) == 405
    text = site.open("/", f"text={site.contract}/linear")
    assert all(f"{site.contract}/{family}" in text for family in FAMILIES)
    assert site.journal() == before
    writers = {json.loads(line)["worker_id"].rsplit("-", 1)[0] for line in before.splitlines()}
    assert len(writers) == 1  # all that time only the search has written
