"""Loading the user's own functions and classes, named ``"module:name"``, from one folder of ``.py`` files."""

import ast
import difflib
import importlib.util
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from foldsmith.problem.errors import InputError
from foldsmith.problem.files import digest, file_digest

PACKAGE = "foldsmith_usercode"
_loading = threading.RLock()  # sys.path and sys.modules belong to the whole process


def load_object(reference: str, code_folder: Path) -> Any:
    """The object ``name`` of the file ``code_folder/module.py``.

    The module is registered as ``foldsmith_usercode.<module>``, so what it defines pickles by that name; a worker
    calls this function before it unpickles. A second call gives the same objects as long as the file's bytes are the
    same, and loads the file anew once they changed. While the file runs, its folder is first on ``sys.path``: it may
    import its neighbours, which stay ordinary modules and are loaded once per process.

    Args:
        reference: ``"module:name"``, two plain Python names.
        code_folder: the folder that holds ``module.py``.

    Raises:
        InputError: the reference is malformed, the file or the name is missing, or the file fails when imported.
    """
    module_name, name = _split_reference(reference)
    module = _load_module(reference, _source_path(reference, code_folder), module_name)
    if not hasattr(module, name):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise InputError(
            f"{reference!r}: {module.__file__} defines no {name!r}; {_nearest(name, public)}define it there or correct "
            "the name"
        )
    return getattr(module, name)


def source_digest(reference: str, code_folder: Path) -> str:
    """A digest of the source file behind ``"module:name"``, 12 hexadecimal digits.

    It covers that one file, not the neighbours it imports: keep what changes a score in the file itself.

    Raises:
        InputError: the reference is malformed or the file is missing.
    """
    return digest(reference, file_digest(_source_path(reference, code_folder)))


def sources_digest(references: Iterable[str], code_folder: Path) -> str:
    """A digest of these objects' source files in order, and of the neighbours that these import, 12 digits.

    Imports are read, not run: a neighbour whose name is put together at run time does not count.

    Raises:
        InputError: a reference is malformed or its file is missing.
    """
    folder = Path(code_folder).resolve()
    wanted = list(references)
    paths = _with_neighbours([_source_path(reference, folder) for reference in wanted])
    return digest(wanted, [[path.relative_to(folder).as_posix(), file_digest(path)] for path in sorted(paths)])


def _with_neighbours(paths: Iterable[Path]) -> set[Path]:
    """The files and all files of their folder that they import, directly or not."""
    found: set[Path] = set()
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _neighbours(path)
    return found


def _neighbours(path: Path) -> list[Path]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return []  # loading it says what is wrong
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = [path.parent.joinpath(*name.split(".")) for name in names]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return [file for file in files if file.is_file()]


def _split_reference(reference: str) -> tuple[str, str]:
    """``"module:name"`` as its two halves; plain names only, so that no reference leaves the folder."""
    module, _, name = reference.partition(":")
    if not (module.isidentifier() and name.isidentifier()):
        raise InputError(f"{reference!r} is not of the form 'module:name'; write e.g. 'my_metrics:weighted_mae'")
    return module, name


def _source_path(reference: str, code_folder: Path) -> Path:
    module, _ = _split_reference(reference)
    path = Path(code_folder).resolve() / f"{module}.py"
    if not path.is_file():
        nearest = _nearest(module, (file.stem for file in path.parent.glob("*.py")))
        raise InputError(f"{reference!r}: there is no file {path}; {nearest}create it or correct the name")
    return path


def _nearest(name: str, known: Iterable[str]) -> str:
    """``"did you mean 'a' or 'b'? "``, or an empty text where nothing is near."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""


def _load_module(reference: str, path: Path, module_name: str) -> ModuleType:
    """The module of ``path``: the registered one if it came from these very bytes, else freshly run."""
    full_name = f"{PACKAGE}.{module_name}"
    with _loading:
        source = path.read_bytes()
        known = sys.modules.get(full_name)
        if known is not None and getattr(known, "__foldsmith_source__", None) == (str(path), source):
            return known
        spec = importlib.util.spec_from_file_location(full_name, path)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        module.__dict__["__foldsmith_source__"] = (str(path), source)
        _register_package()
        sys.modules[full_name] = module
        try:
            with _first_on_path(path.parent):
                # compiled here, not by the loader: a .pyc is matched by whole seconds and could be an older version
                exec(compile(source, str(path), "exec"), module.__dict__)
        except Exception as error:
            if known is None:
                del sys.modules[full_name]
            else:
                sys.modules[full_name] = known
            raise InputError(
                f"{reference!r}: importing {path} failed with {type(error).__name__}: {error}; correct the file"
            ) from error
        return module


def _register_package() -> None:
    """Put an empty parent package into ``sys.modules``, which unpickling looks up first."""
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE, "The user's own modules, as loaded by foldsmith.problem.usercode.")
        package.__path__ = []
        sys.modules[PACKAGE] = package


@contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
