"""What an installation brings: every package, one top-level name, a command that starts at once."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import foldsmith

# One worker of pytest-xdist runs the whole file, so that the distributions are built once.

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("problem", "spaces", "results", "search", "ensembling", "flow", "reporting", "cli")
SOURCE = ROOT / "src" / "foldsmith"
BOOSTING = {"catboost", "lightgbm", "xgboost"}
HEAVY = BOOSTING | {"numpy", "optuna", "optuna_dashboard", "pandas", "pyarrow", "ray", "scipy", "sklearn", "torch"}


def _config() -> ConfigParser:
    config = ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def _lines(section: str, option: str) -> list[str]:
    return _config()[section][option].strip().splitlines()


def _run(*command: str | Path, cwd: Path, pythonpath: Path | None = None) -> str:
    """Run a command without this process's settings for coverage and paths; its standard output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    if pythonpath is not None:
        environment["PYTHONPATH"] = str(pythonpath)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _contents(wheel: Path) -> dict[str, bytes]:
    """Every file of a wheel but RECORD, which lists the others."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def _installed_files() -> set[str]:
    """What a wheel must hold of foldsmith, read off the folders."""
    files = {f"foldsmith/{path.name}" for path in SOURCE.iterdir() if path.is_file()}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files.add(f"foldsmith/{path.relative_to(ROOT).as_posix()}")
    return files


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, so that nothing is written into the checkout and no old build leaks in."""
    copy = tmp_path_factory.mktemp("packaging") / "checkout"
    copy.mkdir()
    for name in (*FOLDERS, "src"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "tests").mkdir()
    shutil.copy2(__file__, copy / "tests")
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy2(path, copy)
    return copy


@pytest.fixture(scope="module")
def sdist(checkout: Path) -> Path:
    """The source distribution."""
    _run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", checkout / "dist", cwd=checkout)
    return next((checkout / "dist").glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    """The wheel that the checkout gives."""
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", checkout / "dist", cwd=checkout)
    return next((checkout / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into a folder of its own, which goes before the checkout on the path."""
    target = tmp_path_factory.mktemp("installed")
    _run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"),
        *("--no-deps", "--no-compile", "--target", target, wheel),
        cwd=target,
    )
    return target


def test_the_list_of_packages_equals_the_folders() -> None:
    found = {"foldsmith"}
    for folder in FOLDERS:
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add("foldsmith." + ".".join(init.parent.relative_to(ROOT).parts))
    assert sorted(_lines("options", "packages")) == sorted(found)


def test_every_folder_with_modules_is_a_package() -> None:
    for folder in FOLDERS:
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.relative_to(ROOT)} lies outside every package"


def test_each_folder_is_mapped_and_linked_once() -> None:
    mapped = dict(line.split(" = ") for line in _lines("options", "package_dir"))
    assert mapped == {"foldsmith": "src/foldsmith"} | {f"foldsmith.{folder}": folder for folder in FOLDERS}
    links = {path.name: os.readlink(path) for path in SOURCE.iterdir() if path.is_symlink()}
    assert links == {folder: f"../../{folder}" for folder in FOLDERS}
    for folder in FOLDERS:
        assert (SOURCE / folder).resolve() == ROOT / folder
        assert (SOURCE / folder / "__init__.py").is_file()


def test_the_wheel_holds_every_file_and_one_name(wheel: Path) -> None:
    contents = _contents(wheel)
    code = {name for name in contents if ".dist-info/" not in name}
    assert code == _installed_files()
    assert "foldsmith/py.typed" in code
    assert {name.split("/")[0] for name in code} == {"foldsmith"}
    for folder in FOLDERS:
        name = f"{folder}/__init__.py"
        assert contents[f"foldsmith/{name}"] == (wheel.parents[1] / name).read_bytes()


def test_the_wheel_carries_version_and_licence(wheel: Path) -> None:
    assert wheel.name == f"foldsmith-{foldsmith.__version__}-py3-none-any.whl"
    contents = _contents(wheel)
    info = f"foldsmith-{foldsmith.__version__}.dist-info"
    metadata = contents[f"{info}/METADATA"].decode()
    assert f"\nVersion: {foldsmith.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert contents[f"{info}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    kept = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    for folder in FOLDERS:
        assert f"{folder}/__init__.py" in kept
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "CHANGELOG.md", "constraints.txt"} <= kept
    assert not any(name.startswith("tests/") for name in kept)
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", cwd=unpacked)
    (again,) = (unpacked / "dist").iterdir()
    assert again.name == wheel.name
    assert _contents(again) == _contents(wheel)


def test_the_installed_wheel_runs(installed: Path, tmp_path: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {
        "bin",
        "foldsmith",
        f"foldsmith-{foldsmith.__version__}.dist-info",
    }
    code = "import foldsmith.cli.main, foldsmith.problem.errors as e; print(foldsmith.__file__, e.__file__, sep='\\n')"
    for line in _run(sys.executable, "-c", code, cwd=tmp_path, pythonpath=installed).splitlines():
        assert Path(line).is_relative_to(installed)
    version = _run(sys.executable, "-m", "foldsmith", "--version", cwd=tmp_path, pythonpath=installed)
    assert version == f"foldsmith, version {foldsmith.__version__}\n"
    by_module = _run(sys.executable, "-m", "foldsmith", "--help", cwd=tmp_path, pythonpath=installed)
    by_script = _run(installed / "bin" / "foldsmith", "--help", cwd=tmp_path, pythonpath=installed)
    assert by_module == by_script
    assert by_module.startswith("Usage: foldsmith ")


def test_every_module_of_the_installed_wheel_imports(installed: Path, tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, foldsmith
names = [info.name for info in pkgutil.walk_packages(foldsmith.__path__, "foldsmith.")]
for name in names:
    if name != "foldsmith.__main__":
        importlib.import_module(name)
print(len(names))
"""
    count = int(_run(sys.executable, "-c", code, cwd=tmp_path, pythonpath=installed))
    modules = [name for name in _installed_files() if name.endswith(".py")]
    assert count == len(modules) - 1  # walk_packages does not yield foldsmith itself


def _heavy_after(code: str, cwd: Path) -> list[str]:
    """Which heavy libraries a fresh process holds after ``code``."""
    tail = f"\nimport sys; print('\\n', *sorted({HEAVY!r} & set(sys.modules)))"
    return _run(sys.executable, "-c", code + tail, cwd=cwd, pythonpath=SOURCE.parent).splitlines()[-1].split()


def test_importing_foldsmith_loads_no_library(tmp_path: Path) -> None:
    assert _heavy_after("import foldsmith; foldsmith.__version__", tmp_path) == []


def test_help_of_every_command_loads_no_library(tmp_path: Path) -> None:
    code = """
from foldsmith.cli.main import COMMANDS, run_command_line
for arguments in ([], ["--version"], *([name] for name in COMMANDS)):
    assert run_command_line([*arguments, "--help"]) == 0, arguments
"""
    assert _heavy_after(code, tmp_path) == []


def test_heavy_libraries_would_be_seen(tmp_path: Path) -> None:
    assert _heavy_after("import numpy", tmp_path) == ["numpy"]


def test_constraints_pin_each_library_exactly_and_no_local_build() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    names = []
    for pin in pins:
        name, version = pin.split("==")
        assert "+" not in version, f"{pin} names a build that only some machines have"
        names.append(_canonical(name))
    assert len(names) == len(set(names))
    assert "foldsmith" not in names
    wanted = _lines("options", "install_requires") + _lines("options.extras_require", "test")
    for extra in ("catboost", "dev", "postgres"):
        wanted += _lines("options.extras_require", extra)
    required = {_canonical(line.split(">=")[0].split("[")[0]) for line in wanted} - {"foldsmith"}
    assert required <= set(names), f"no pin for {sorted(required - set(names))}"


def _canonical(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(".", "-")
