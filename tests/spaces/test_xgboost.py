import json

import numpy as np
import pytest

from foldsmith.problem.errors import FoldsmithError
from foldsmith.spaces.encoding import TreeEncoder
from foldsmith.spaces.text import TextEncoder
from foldsmith.spaces.toy import make_problem
from foldsmith.spaces.xgboost import MIN_LEVEL_ROWS, FrequentCodes, XGBoost, _device_used


def test_rare_and_unseen_codes_become_missing() -> None:
    train = np.array([[0.5, code] for code in [0] * MIN_LEVEL_ROWS + [1] * (MIN_LEVEL_ROWS - 1) + [np.nan]], np.float32)
    codes = FrequentCodes.fit(TreeEncoder(TextEncoder(()), np.arange(1), np.arange(1)), train)
    masked = codes.mask(np.array([[1, 0], [1, 1], [1, 2], [1, np.nan]], np.float32))
    np.testing.assert_array_equal(masked, [[1, 0], [1, np.nan], [1, np.nan], [1, np.nan]])
    assert codes.feature_types == ["q", "c"]


class _Booster:
    """Says that it ran on some device."""

    def __init__(self, device: str) -> None:
        self._device = device

    def save_config(self) -> str:
        return json.dumps({"learner": {"generic_param": {"device": self._device}}})


def test_the_device_really_used_is_read_back() -> None:
    assert _device_used(_Booster("cpu"), "cpu") == "cpu"
    assert _device_used(_Booster("cuda:0"), "cuda") == "cuda"
    with pytest.raises(FoldsmithError, match="trained on 'cpu' though device 'cuda' was asked for"):
        _device_used(_Booster("cpu"), "cuda")


def test_levels_of_one_row_do_not_spoil_the_model() -> None:
    """A category with a level per row would be learnt by heart if rare levels were kept."""
    problem = make_problem("squared")
    frame = problem.frame.copy()
    frame["many levels"] = [f"own {number}" for number in range(len(frame))]
    from foldsmith.problem.tables import build_schema, type_frame

    schema = build_schema(frame, list(problem.table.schema.columns))
    table = type_frame(frame, schema)
    params = XGBoost().defaults(problem.facts)[0]
    spoilt = XGBoost().fit_fold(problem.task(params, table=table))
    clean = XGBoost().fit_fold(problem.task(params))
    assert spoilt.curve is not None and clean.curve is not None
    assert spoilt.curve.min() < 1.2 * clean.curve.min()
