"""The direction of imports, and that every tool that watches it would see a breach."""

import json
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

import foldsmith

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("problem", "spaces", "results", "search", "ensembling", "flow", "reporting", "cli")
TOOLS = Path(sys.executable).parent


def _config() -> ConfigParser:
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def _lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Check the contract of a checkout on its own source, whatever is installed."""
    return subprocess.run(
        [TOOLS / "lint-imports", "--no-cache", "--config", checkout / "setup.cfg"],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def _bare_imports(*paths: Path) -> list[str]:
    """The imports of top-level ``search``, ``problem`` and so on that ruff finds, as written in its messages."""
    options = ("--no-cache", "--config", ROOT / "pyproject.toml", "--select", "TID251", "--output-format", "json")
    done = subprocess.run(
        [TOOLS / "ruff", "check", *options, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return [str(finding["message"]) for finding in json.loads(done.stdout)]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the source that a test may spoil."""
    for name in (*FOLDERS, "src"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def test_imports_point_one_way() -> None:
    done = _lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("problem/errors.py", "foldsmith.cli.main"),
        ("results/members.py", "foldsmith.spaces.registry"),
        ("search/executors/base.py", "foldsmith.ensembling.greedy"),
        ("ensembling/greedy.py", "foldsmith.search.trials"),
    ],
)
def test_an_import_upwards_or_sideways_is_seen(checkout: Path, module: str, imported: str) -> None:
    with (checkout / module).open("a", encoding="utf-8") as source:
        source.write(f"\n\ndef _breach() -> None:\n    import {imported}  # noqa\n")
    done = _lint_imports(checkout)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
    assert imported in done.stdout


def test_the_contract_names_every_folder() -> None:
    layers = re.findall(r"foldsmith\.(\w+)", _config()["importlinter:contract:layers"]["layers"])
    assert sorted(layers) == sorted(FOLDERS)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(FOLDERS)


def test_no_module_imports_a_bare_folder() -> None:
    assert _bare_imports(ROOT) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_bare_import_is_seen(tmp_path: Path, folder: str) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        f"import {folder}\nimport {folder}.files\nfrom {folder} import files\nfrom {folder}.files import write\n"
        f"import foldsmith.{folder}\nfrom foldsmith import {folder}\n",
        encoding="utf-8",
    )
    found = _bare_imports(planted)
    assert len(found) == 4
    assert all(f"import foldsmith.{folder}" in message for message in found)


def test_the_version_has_one_source() -> None:
    assert _config()["metadata"]["version"] == "attr: foldsmith._version.__version__"
    stated = (ROOT / "src" / "foldsmith" / "_version.py").read_text(encoding="utf-8")
    assert stated == f'__version__ = "{foldsmith.__version__}"\n'
    assert f"\n## [{foldsmith.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
