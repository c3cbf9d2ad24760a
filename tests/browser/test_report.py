"""The report and the page of predictions in a real browser, the report with the network off."""

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from foldsmith.flow.competition import Competition
from foldsmith.reporting.facts import Facts
from foldsmith.reporting.page import write_report
from foldsmith.reporting.server import make_server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("no chromium on the PATH; install Debian's package: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        made = playwright.chromium.launch(executable_path=chromium, args=options)
        yield made
        made.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_report_stands_alone(browser: Browser, searched: Path, width: int, scheme: str) -> None:
    facts = Facts(Competition(searched))
    path = write_report(facts, searched / "report.html")
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)  # type: ignore[arg-type]
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("#member-table tbody tr")
    cells = page.locator("#member-table tbody tr").first.locator("td").all_inner_texts()
    best = facts.members[0]
    assert best.scores is not None
    assert cells[0] == best.id and float(cells[2]) == pytest.approx(best.scores.value, rel=1e-4)
    height = int(page.evaluate("document.body.scrollHeight"))
    for top in range(0, height, 400):
        page.evaluate(f"window.scrollTo(0, {top})")
        page.wait_for_timeout(40)
    charts = page.locator(".chart").count()
    page.wait_for_function(f"document.querySelectorAll('.chart[data-drawn]').length === {charts}", timeout=600_000)
    assert charts >= 10 and page.locator(".chart .main-svg").count() >= charts
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.locator("#member-search").fill("knn")
    assert page.locator("#member-table tbody tr").count() == 1
    assert complaints == []
    context.close()


def test_predictions_are_searched(browser: Browser, searched: Path) -> None:
    facts = Facts(Competition(searched))
    with make_server(facts, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/?right=no")
        page.wait_for_selector("#rows tbody tr")
        found = facts.predictions_of(facts.members[0].id)
        assert page.locator("#rows tbody tr.wrong").count() == int((~found.right).sum())
        page.locator("select[name=right]").select_option("yes")
        expect(page.locator("#rows tbody tr.wrong")).to_have_count(0)
        assert "right=yes" in page.url
        page.locator("input[name=text]").fill("red")
        expect(page).to_have_url(re.compile("text=red"))
        page.close()
        server.shutdown()
        thread.join(5)
