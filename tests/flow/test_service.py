"""The unit is one that systemd takes, whatever the path, and one that a finished search does not restart."""

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from foldsmith.flow.service import unit, unit_name
from foldsmith.problem.errors import InputError

ODD_FOLDERS = ["comp", "two words", '100 % "sure"', "it's", "back\\slash", "$HOME", "größe", "a;b", " lead", "#x", "%h"]


def parsed(text: str) -> ConfigParser:
    """Sections and keys; no interpolation, as ``%`` means something else in units."""
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def test_what_a_restart_would_not_mend_is_not_restarted() -> None:
    service = parsed(unit(Path("/data/comp"), Path("/venv/bin/python")))["Service"]
    assert service["ExecStart"] == '"/venv/bin/python" -P -m foldsmith -C "/data/comp" resume'
    assert service["WorkingDirectory"] == "/data/comp"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"].split() == ["2", "3", "130"]
    assert service["SuccessExitStatus"] == "130"
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")  # the driver drains its workers


@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_odd_paths_mean_themselves(name: str) -> None:
    root = Path("/data") / name
    unit_text = unit(root, Path("/usr/bin") / name)
    service = parsed(unit_text)["Service"]
    assert service["WorkingDirectory"].replace("%%", "%") == str(root)
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', service["ExecStart"].replace("%%", "%"))
    unescaped = [re.sub(r"\\(.)", r"\1", word) for word in words]
    is_odd = any(char in name for char in "'\"\\")  # systemd takes no such program, but env does
    assert service["ExecStart"].startswith("/usr/bin/env ") == is_odd
    program = f"/usr/bin/{name}"
    assert unescaped == [program.replace("$", "$$") if is_odd else program, str(root).replace("$", "$$")]


@pytest.mark.parametrize("name", ["two\nlines", "tab\there", "blank ", "back\\", "bell\x07", "not-utf8\udcff"])
def test_paths_that_no_unit_can_name(name: str) -> None:
    with pytest.raises(InputError, match="a systemd unit cannot name the path .*; rename or move the folder"):
        unit(Path("/data") / name, Path("/usr/bin/python"))
    with pytest.raises(InputError, match="cannot name the path"):
        unit(Path("/data"), Path("/usr") / name)


def verify(text: str, folder: Path) -> str:
    """What systemd says about a unit."""
    path = folder / "foldsmith-x.service"
    path.write_text(text)
    words = ["systemd-analyze", "verify", "--user", "--man=no", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, env={"XDG_RUNTIME_DIR": str(folder)}, timeout=900)
    return "\n".join(line for line in done.stderr.splitlines() if "foldsmith-x" in line)


has_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@has_systemd
@pytest.mark.parametrize("name", ODD_FOLDERS)
def test_systemd_takes_it(tmp_path: Path, name: str) -> None:
    """It looks whether the program exists, so it must have read the path as it is meant."""
    root = tmp_path / name
    root.mkdir()
    (root / "python").symlink_to(sys.executable)
    assert verify(unit(root, root / "python"), tmp_path) == ""


@has_systemd
def test_systemd_sees_what_is_wrong(tmp_path: Path) -> None:
    text = unit(tmp_path, tmp_path / "nothing")
    assert "nothing is not executable" in verify(text, tmp_path)
    assert "Unknown key" in verify(text.replace("KillMode", "KillMood"), tmp_path)


@pytest.mark.parametrize(
    ("root", "name"),
    [
        ("/data/titanic", "foldsmith-titanic.service"),
        ("/data/Two Words (3)", "foldsmith-two-words-3.service"),
        ("/", "foldsmith-search.service"),
        ("/data/größe", "foldsmith-gr-e.service"),
    ],
)
def test_names(root: str, name: str) -> None:
    assert unit_name(Path(root)) == name
