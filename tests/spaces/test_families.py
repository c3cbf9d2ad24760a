"""Every shipped family passes the shared suite."""

import pytest

from foldsmith.spaces import catboost, forests, lightgbm, xgboost
from foldsmith.spaces.catboost import CatBoost
from foldsmith.spaces.forests import ExtraTrees, RandomForest
from foldsmith.spaces.knn import KNN
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.linear import Linear
from foldsmith.spaces.mlp import MLP
from foldsmith.spaces.testing import FamilySuite
from foldsmith.spaces.xgboost import XGBoost


@pytest.fixture(autouse=True)
def _small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough trees to learn the suite's problems, few enough for a quick run."""
    monkeypatch.setattr(lightgbm, "MAX_ROUNDS", 200)
    monkeypatch.setattr(xgboost, "MAX_ROUNDS", 200)
    monkeypatch.setattr(catboost, "MAX_ROUNDS", 60)
    monkeypatch.setattr(forests, "N_TREES", 50)


class TestLightGBM(FamilySuite):
    family = LightGBM()


class TestXGBoost(FamilySuite):
    family = XGBoost()


class TestCatBoost(FamilySuite):
    family = CatBoost()


class TestExtraTrees(FamilySuite):
    family = ExtraTrees()


class TestRandomForest(FamilySuite):
    family = RandomForest()


class TestLinear(FamilySuite):
    family = Linear()


class TestKNN(FamilySuite):
    family = KNN()


class TestMLP(FamilySuite):
    family = MLP()
