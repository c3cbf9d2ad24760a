"""Which families there are, and what is said of one whose library is missing."""

import os
import subprocess
import sys

import pytest

from foldsmith.problem.errors import MissingPackageError, UnknownNameError
from foldsmith.spaces import registry
from foldsmith.spaces.registry import FAMILIES, FamilyEntry, available_families, get_family, known_families


@pytest.fixture(autouse=True)
def _entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two families more: one without its library, one that has to be asked for."""
    monkeypatch.setattr(registry, "FAMILIES", dict(FAMILIES))
    registry.FAMILIES["ghost"] = FamilyEntry("foldsmith.spaces.ghost:Ghost", package="no_such_library", extra="ghost")
    registry.FAMILIES["shy"] = FamilyEntry("foldsmith.spaces.knn:KNN", by_default=False)


def test_a_missing_library_is_named_with_its_remedy() -> None:
    with pytest.raises(MissingPackageError, match=r"family 'ghost' .*pip install no_such_library.*extra \[ghost\]"):
        get_family("ghost")


def test_without_names_the_missing_are_skipped_with_a_reason() -> None:
    names, skipped = available_families()
    assert "ghost" not in names and "shy" not in names
    assert "pip install no_such_library" in skipped["ghost"]
    assert "shy" not in skipped


def test_families_off_by_default_can_be_listed_and_named() -> None:
    names, _ = available_families(by_default=False)
    assert names[-1] == "shy"
    assert get_family("shy").name == "knn"
    assert set(known_families()) >= {"ghost", "shy"}


def test_an_unknown_family_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'lightgbm'.*xgboost"):
        get_family("lightgmb")


@pytest.mark.parametrize("name", available_families(by_default=False)[0])
def test_every_family_is_what_its_entry_says(name: str) -> None:
    assert get_family(name).name == name


def test_prefixes_differ() -> None:
    prefixes = [get_family(name).prefix for name in FAMILIES if FAMILIES[name].missing is None]
    assert len(prefixes) == len(set(prefixes))


def test_asking_imports_no_library() -> None:
    code = """
import sys
from foldsmith.spaces.registry import available_families
names, skipped = available_families(by_default=False)
print([name for name in (*names, *skipped) if name in sys.modules], 'torch' in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]
