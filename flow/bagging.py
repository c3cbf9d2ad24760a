"""What a blend's test prediction gains from being a mean over the folds' models; see :mod:`..ensembling.bag_gain`."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.bag_gain import MAX_ROWS, BagGain, expected_bag_gain
from foldsmith.ensembling.task import EnsembleResult
from foldsmith.problem.contract import Problem
from foldsmith.problem.errors import DamagedFileError, FoldsmithWarning
from foldsmith.problem.goal import Outputs
from foldsmith.results.members import MemberStore

Rows = Outputs


def blend_bag_gain(problem: Problem, members: MemberStore, result: EnsembleResult) -> BagGain | None:
    """The gain expected of an ensemble of stored members; None where no member's folds are known.

    At most 20,000 test rows are looked at, the same at every call.
    """
    n_test = problem.data.test.n_rows
    rows = np.arange(n_test)
    if n_test > MAX_ROWS:
        rows = np.sort(np.random.default_rng(0).permutation(n_test)[:MAX_ROWS])
    together = {name: np.asarray(members.test(name)[rows]) for name in result.weights}
    of_folds = {name: folds for name in result.weights if (folds := _fold_tests(problem, members, name, rows))}
    if not of_folds:
        return None
    alone = [
        result.predict({name: of_folds[name][fold] if name in of_folds else together[name] for name in result.weights})
        for fold in range(problem.plan.n_folds)
    ]
    without = [name for name in result.weights if name not in of_folds]
    bagged, oof = result.predict(together), result.nested_oof
    return expected_bag_gain(problem.judge, bagged, alone, oof, result.decision, without=without)


def _fold_tests(problem: Problem, members: MemberStore, name: str, rows: NDArray[np.int64]) -> Sequence[Rows]:
    """Test predictions of each fold's model; empty for members that keep none, as imports, blends and refits."""
    stores = [members.fold(name, 0, fold) for fold in range(problem.plan.n_folds)]
    if not all((store.path / "test.npy").exists() for store in stores):
        return ()
    shape = (problem.data.test.n_rows, problem.goal.n_outputs)
    try:
        tests = [store.test() for store in stores]
    except DamagedFileError as error:
        warnings.warn(f"the gain of the mean over folds goes without {name}: {error}", FoldsmithWarning, stacklevel=2)
        return ()
    if any(test.shape != shape or not np.isfinite(test[rows]).all() for test in tests):
        return ()
    return [np.asarray(test[rows]) for test in tests]
