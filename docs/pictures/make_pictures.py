"""Makes the pictures of README from one real ``foldsmith demo``: nothing in them is drawn by hand.

    python docs/pictures/make_pictures.py --time-budget 60s

run.svg is the terminal in the middle of the run, result.svg its end, dashboard.png the Optuna dashboard afterwards.
Needs Debian's chromium for the last one.
"""

import argparse
import fcntl
import io
import os
import pty
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

from foldsmith.flow.durations import parse_duration

WIDTH, HEIGHT = 100, 30
HERE = Path(__file__).parent
# What rich's live display writes before each frame, and at its end, to get back to where the frame begins.
BACK = re.compile(r"\r?(?:\x1b\[2K)?(?:\x1b\[1A\x1b\[2K)+|\x1b\[\?25[lh]")
CLOCK = re.compile(r"(\d+):(\d\d) of ")
MAX_PNG_BYTES = 150_000


def record(command: list[str], folder: Path) -> str:
    """All that a command writes to a terminal of 100 x 30 cells."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        environment.pop(name, None)
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=its_end, stdout=its_end, stderr=its_end)
    os.close(its_end)
    written = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux: the other end was closed
            break
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    if process.wait() != 0:
        raise SystemExit(f"{shlex.join(command)} failed:\n{written.decode(errors='replace')}")
    return written.decode().replace("\r\n", "\n")


def frame_at(frames: list[str], seconds: float) -> str:
    """The last frame whose clock shows no more than ``seconds``."""
    fitting = [
        frame
        for frame in frames
        if (clock := CLOCK.search(Text.from_ansi(frame).plain)) and 60 * int(clock[1]) + int(clock[2]) <= seconds
    ]
    return fitting[-1]


def save_svg(path: Path, command: str, output: str) -> None:
    """A terminal window with the command, if given, and what it wrote."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    if command:
        console.print(Text("$ ", style="dim").append(command, style="bold not dim"))
    for line in output.strip("\n").split("\n"):
        console.print(Text.from_ansi(line), overflow="fold")
    svg = console.export_svg(title="foldsmith", unique_id=f"foldsmith-{path.stem}")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # nothing is fetched from elsewhere
    svg = svg.replace("font-family: Fira Code, monospace", "font-family: Fira Code, DejaVu Sans Mono, Menlo, monospace")
    svg = re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)
    path.write_text(svg, encoding="utf-8")


def save_dashboard(path: Path, competition: Path, family: str) -> None:
    """A screenshot of one study in the dashboard."""
    from foldsmith.problem.contract import open_problem
    from foldsmith.search.journal import open_journal

    problem = open_problem(competition)
    study = open_journal(problem.folder.journal).get_study_id_from_name(f"{problem.contract}/{family}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "foldsmith", "-C", str(competition), "dashboard", "--port", url.rsplit(":", 1)[1]]
    server = subprocess.Popen(command)
    try:
        wait_for(url)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", "--disable-sync"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 1220})
            page.goto(f"{url}/dashboard/studies/{study}")
            page.wait_for_selector("text=Hyperparameter Importance")
            page.wait_for_selector(".js-plotly-plot .barlayer .point")
            page.wait_for_load_state("networkidle")
            page.screenshot(path=path, animations="disabled")
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
    if path.stat().st_size > MAX_PNG_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, more than {MAX_PNG_BYTES:,}")


def wait_for(url: str) -> None:
    """Until something is served there."""
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/api/studies", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing is served at {url}")


def main() -> None:
    """Run the demo, write the three pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--time-budget", default="60s", help="of the demo; 60s by default")
    parser.add_argument("--family", default="lightgbm", help="whose study the dashboard shows")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the pictures")
    options = parser.parse_args()
    command = ["foldsmith", "demo", "--time-budget", options.time_budget]
    with tempfile.TemporaryDirectory() as folder:
        written = record(command, Path(folder))
        start, *frames, result = [part for part in BACK.split(written) if part.strip()]
        middle = frame_at(frames, 0.7 * parse_duration(options.time_budget))
        save_svg(options.out / "run.svg", shlex.join(command), f"{start.rstrip()}\n\n{middle}")
        save_svg(options.out / "result.svg", "", result)
        save_dashboard(options.out / "dashboard.png", Path(folder) / "demo" / "breast_cancer", options.family)


if __name__ == "__main__":
    main()
