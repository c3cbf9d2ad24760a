"""Every method keeps what it declares."""

from typing import ClassVar

from foldsmith.ensembling.auto import fit_auto
from foldsmith.ensembling.calibration import Calibrated
from foldsmith.ensembling.convex import Convex
from foldsmith.ensembling.greedy import FoldGreedy, Greedy
from foldsmith.ensembling.hill import SignedHill
from foldsmith.ensembling.methods import METHODS
from foldsmith.ensembling.simple import BestSingle, TopMean
from foldsmith.ensembling.stacks import BoostedStack, LinearStack
from foldsmith.ensembling.task import BlendTask, EnsembleResult
from foldsmith.ensembling.testing import (
    Members,
    MethodSuite,
)


class TestBestSingle(MethodSuite):
    method = BestSingle()


class TestTopMean(MethodSuite):
    method = TopMean(3)


class TestGreedy(MethodSuite):
    method = Greedy()


class TestBaggedGreedy(MethodSuite):
    method = Greedy(bags=3, share_of_members=1.0, share_of_rows=0.7)


class TestFoldGreedy(MethodSuite):
    method = FoldGreedy()


class TestConvex(MethodSuite):
    method = Convex()
    tolerance = 1e-3


class TestSignedHill(MethodSuite):
    method = SignedHill()


class TestLinearStack(MethodSuite):
    method = LinearStack()
    tolerance = 1e-3


class TestBoostedStack(MethodSuite):
    method = BoostedStack()


class TestCalibrated(MethodSuite):
    method = Calibrated()


class TestAuto(MethodSuite):
    class _Auto:
        name: ClassVar[str] = "auto"
        declares: ClassVar[frozenset[str]] = frozenset({"weights"})

    method = _Auto()  # type: ignore[assignment]

    def fit(self, members: Members, task: BlendTask) -> EnsembleResult:
        return fit_auto(members, task)


def test_every_method_has_a_suite() -> None:
    suites = [kind for name, kind in globals().items() if name.startswith("Test")]
    assert {suite.method.name for suite in suites} == {*METHODS, "auto"}
