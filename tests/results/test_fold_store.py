"""A fold on disk: two stages, each whole or absent, and harm is noticed."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foldsmith.problem.errors import ContractError
from foldsmith.results import fold_store
from foldsmith.results.fold_store import FoldState, FoldStore

CURVE = np.array([0.3, 0.2, 0.25])
VALID: NDArray[np.float32] = np.array([[0.25], [0.5]], np.float32)
TEST: NDArray[np.float32] = np.array([[0.75]], np.float32)


def save_model(folder: Path) -> None:
    (folder / "model.txt").write_text("tree")
    (folder / "encoder.json").write_text("{}")


@pytest.fixture
def store(tmp_path: Path) -> FoldStore:
    return FoldStore(tmp_path / "lgb-0001" / "folds" / "0-2")


@pytest.fixture
def done(store: FoldStore) -> FoldStore:
    store.save_fitted(save_model, CURVE, {"seed": 3})
    store.save_done(VALID, TEST, {"round": 2})
    return store


def names(store: FoldStore) -> set[str]:
    return {path.name for path in store.path.parent.iterdir()}


def test_two_stages(store: FoldStore) -> None:
    assert store.state() == store.state(verify=True) == "missing"
    store.save_fitted(save_model, CURVE, {"seed": 3, "provisional": 0.25})
    assert store.state() == store.state(verify=True) == "fitted"
    assert store.fitted()["seed"] == 3 and store.fitted()["format"] == 1
    curve = store.curve()
    assert curve is not None and curve.tolist() == CURVE.tolist()
    store.save_done(VALID, TEST, {"round": 2})
    assert store.state() == store.state(verify=True) == "done"
    assert store.done()["round"] == 2
    np.testing.assert_array_equal(store.valid(), VALID)
    np.testing.assert_array_equal(store.test(), TEST)
    assert names(store) == {"0-2"}


def test_a_model_without_rounds_has_no_curve(store: FoldStore) -> None:
    store.save_fitted(save_model, None, {})
    assert store.curve() is None
    assert set(store.fitted()["files"]) == {"encoder.json", "model.txt"}


def test_the_record_vouches_for_every_file(done: FoldStore) -> None:
    assert set(done.fitted()["files"]) == {"model.txt", "encoder.json", "curve.npy"}
    assert set(done.done()["files"]) == {"valid.npy", "test.npy"}
    assert done.fitted()["files"]["model.txt"]["bytes"] == 4


@pytest.mark.parametrize("error", [RuntimeError("no disk"), KeyboardInterrupt()])
def test_a_model_writer_that_raises_leaves_nothing(store: FoldStore, error: BaseException) -> None:
    def fail(folder: Path) -> None:
        save_model(folder)
        raise error

    with pytest.raises(type(error)):
        store.save_fitted(fail, CURVE, {})
    assert names(store) == set()
    assert store.state() == "missing"


def test_a_record_that_cannot_be_written_leaves_nothing(store: FoldStore) -> None:
    with pytest.raises(TypeError, match="is no JSON value"):
        store.save_fitted(save_model, CURVE, {"facts": object()})
    assert names(store) == set()


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("model.txt", "missing"),
        ("encoder.json", "missing"),
        ("curve.npy", "missing"),
        ("fitted.json", "missing"),
        ("valid.npy", "fitted"),
        ("test.npy", "fitted"),
        ("done.json", "fitted"),
    ],
)
class TestHarm:
    def test_a_lost_file(self, done: FoldStore, name: str, state: FoldState) -> None:
        (done.path / name).unlink()
        assert done.state() == done.state(verify=True) == state

    def test_a_torn_file(self, done: FoldStore, name: str, state: FoldState) -> None:
        path = done.path / name
        path.write_bytes(path.read_bytes()[:-1] if name.endswith(".npy") else path.read_bytes()[:-2])
        assert done.state() == done.state(verify=True) == state

    def test_an_empty_file(self, done: FoldStore, name: str, state: FoldState) -> None:
        (done.path / name).write_bytes(b"")
        assert done.state() == done.state(verify=True) == state

    def test_a_changed_byte_is_seen_by_verify(self, done: FoldStore, name: str, state: FoldState) -> None:
        path = done.path / name
        data = bytearray(path.read_bytes())
        data[-1] ^= 0xFF
        path.write_bytes(data)
        assert done.state(verify=True) == state


@pytest.mark.parametrize("text", ["null", "[]", '{"format": 1}'])
def test_a_record_of_another_shape_does_not_count(done: FoldStore, text: str) -> None:
    (done.path / "fitted.json").write_text(text)
    assert done.state(verify=True) == "missing"


def test_a_harmed_fold_is_replaced_whole(done: FoldStore) -> None:
    (done.path / "model.txt").write_text("torn")
    (done.path / "model.txt").write_text("tor")
    done.save_fitted(save_model, CURVE[:2], {"seed": 4})
    assert done.state(verify=True) == "fitted"  # the old predictions went with the old model
    assert not (done.path / "done.json").exists()
    assert done.fitted()["seed"] == 4
    assert names(done) == {"0-2"}


def test_predictions_without_their_record_do_not_count(store: FoldStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the arrays and done.json: the fold is fitted, not done."""
    store.save_fitted(save_model, CURVE, {})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fold_store, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            store.save_done(VALID, TEST, {"round": 1})
    assert (store.path / "valid.npy").exists()
    assert store.state() == "fitted"
    store.save_done(VALID, TEST, {"round": 1})
    assert store.state(verify=True) == "done"


def test_a_newer_record_does_not_count(done: FoldStore) -> None:
    path = done.path / "fitted.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    assert done.state() == "missing"
    with pytest.raises(ContractError, match="has format 2"):
        done.fitted()
