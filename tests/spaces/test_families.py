"""Every shipped family passes the shared suite."""

from foldsmith.spaces.forests import ExtraTrees, RandomForest
from foldsmith.spaces.knn import KNN
from foldsmith.spaces.lightgbm import LightGBM
from foldsmith.spaces.linear import Linear
from foldsmith.spaces.mlp import MLP
from foldsmith.spaces.testing import FamilySuite
from foldsmith.spaces.xgboost import XGBoost


class TestLightGBM(FamilySuite):
    family = LightGBM()


class TestXGBoost(FamilySuite):
    family = XGBoost()


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
