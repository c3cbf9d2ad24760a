"""Every shipped family passes the shared suite."""

import pytest

from foldsmith.spaces import catboost, forests, lightgbm, xgboost
from foldsmith.spaces.catboost import CatBoost
from foldsmith.spaces.forests import ExtraTrees, RandomForest
from foldsmith.spaces.gp import GP
from foldsmith.spaces.knn import KNN
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.lightgbm_fe import LightGBMFE
from foldsmith.spaces.linear import Linear
from foldsmith.spaces.mlp import MLP
from foldsmith.spaces.realmlp import RealMLP
from foldsmith.spaces.space import Params
from foldsmith.spaces.svm import SVM
from foldsmith.spaces.tabm import TabM
from foldsmith.spaces.testing import FamilySuite
from foldsmith.spaces.toy import Problem
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


class TestLightGBMFE(FamilySuite):
    family = LightGBMFE()


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


class TestSVM(FamilySuite):
    family = SVM()


class TestGP(FamilySuite):
    family = GP()


class TestRealMLP(FamilySuite):
    family = RealMLP()
    n_random_points = 2

    def params(self, problem: Problem) -> Params:
        """Two narrow members for a few epochs."""
        small: Params = {"n_members": 2, "epochs": 32, "n_layers": 2, "width": 128}
        return {**super().params(problem), **small}


class TestTabM(FamilySuite):
    family = TabM()
    n_random_points = 2

    def params(self, problem: Problem) -> Params:
        """Eight narrow submodels for a few epochs at a higher rate."""
        small: Params = {"k": 8, "width": 64, "epochs": 8, "embedding": 8, "n_bins": 16, "learning_rate": 5e-3}
        return {**super().params(problem), **small}
