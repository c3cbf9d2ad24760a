"""The page of a trial in a real browser: the note's table and the picture of its folds."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from playwright.sync_api import Page, sync_playwright

from foldsmith.flow.dashboard import make_dashboard
from foldsmith.problem.folder import Folder
from foldsmith.problem.scoring import Scores
from foldsmith.results.members import Member, MemberStore
from foldsmith.search.journal import open_journal
from foldsmith.search.notes import describe_trial

pytestmark = pytest.mark.browser

ROUNDS = [180, 200, 220]


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A complete trial with curves, and one that failed in its second fold."""
    folder = Folder(tmp_path)
    store = MemberStore(folder)
    study = optuna.create_study(storage=open_journal(folder.journal), study_name="c0ffee/lightgbm")
    study.enqueue_trial({"rate": 0.1})
    study.enqueue_trial({"rate": 0.7})
    scores = Scores(0.32, 0.32, 0.0058, (0.31, 0.33, 0.32), 0.321)
    tail = "Traceback (most recent call last):\nMemoryError: <b>42</b> GiB"
    error = {"reason": "oom", "message": "MemoryError: <b>42</b> GiB", "tail": tail}
    for state, n_fitted in (("complete", 3), ("failed", 1)):
        trial = study.ask()
        params = {"rate": trial.suggest_float("rate", 0, 1)}
        member = Member(store.reserve("lgb"), "trial", state, "c0ffee", "lightgbm", "log_loss", params=params)  # type: ignore[arg-type]
        for fold in range(n_fitted):
            rounds = np.arange(600)
            curve = 0.31 + 0.01 * fold + 0.4 * np.exp(-rounds / 40) + 1e-5 * rounds
            record = {"provisional": 0.3, "seconds": 1.5, "facts": {"device": "cpu", "stopped_by": "patience"}}
            store.fold(member.id, 0, fold).save_fitted(lambda path: None, curve, record)
        changes = {"scores": scores, "details": {"rounds": ROUNDS}} if state == "complete" else {"error": error}
        member = Member(**{**{name: getattr(member, name) for name in member.__dataclass_fields__}, **changes})
        store.write(member)
        describe_trial(study, trial, member, store)
        study.tell(trial, *([0.32] if state == "complete" else [None, optuna.trial.TrialState.FAIL]))
    return study


@pytest.fixture
def page(study: optuna.Study, tmp_path: Path) -> Iterator[Page]:
    """A browser, and a dashboard at its base address."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("no chromium on the PATH; install Debian's package: sudo apt-get install chromium")
    with make_dashboard(Folder(tmp_path).journal, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with (
            sync_playwright() as playwright,
            playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]) as browser,
        ):
            page = browser.new_page(
                base_url=f"http://127.0.0.1:{server.server_port}", viewport={"width": 1280, "height": 1000}
            )
            page.set_default_timeout(20_000)
            yield page
        server.shutdown()
        thread.join()


def rows(page: Page, number: int) -> list[list[str]]:
    """The cells of one table of the note."""
    table = page.locator("table").nth(number)
    return [row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all()]


def test_note_and_picture_of_a_complete_trial(page: Page, tmp_path: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto("/dashboard/studies/0/trials?numbers=0")
    picture = page.locator("img[alt='folds of lgb-0001']")
    picture.wait_for()
    page.wait_for_function("document.querySelector(\"img[alt='folds of lgb-0001']\").naturalWidth > 0")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [720, 320]
    assert page.locator("table").first.locator("th").all_inner_texts()[-1].strip() == "stopped by"
    assert rows(page, 0) == [
        [str(fold + 1), score, str(round), "1.5", "cpu", "patience"]
        for fold, (score, round) in enumerate(zip(("0.31", "0.33", "0.32"), ROUNDS, strict=True))
    ]
    assert "All parameters are the family's default." in page.inner_text("body")
    assert page.locator("text=lgb-0001.svg").count() == 1  # the artifact itself
    page.screenshot(path=tmp_path / "trial.png")
    assert (tmp_path / "trial.png").stat().st_size > 10_000
    assert errors == []


def test_note_of_a_failed_trial(page: Page) -> None:
    page.goto("/dashboard/studies/0/trials?numbers=1")
    page.locator("img[alt='folds of lgb-0002']").wait_for()
    text = page.inner_text("body")
    assert "oom: MemoryError: <b>42</b> GiB" in text  # as words, not as markup
    assert "Traceback (most recent call last):" in text
    assert rows(page, 0) == [["1", "0.3", "", "1.5", "cpu", "patience"]]
    assert rows(page, 1) == [["rate", "0.7", "0.1"]]


def test_the_picture_alone(page: Page) -> None:
    page.goto("/dashboard/studies/0/trials?numbers=0")
    link = page.get_by_text("picture alone")
    link.wait_for()
    page.goto(str(link.get_attribute("href")))
    assert page.locator("svg polyline").count() == 3
    assert page.locator("svg circle").count() == 6
    assert "mean 0.32 ± 0.0058" in page.locator("svg").first.text_content()  # type: ignore[operator]
