"""All methods by name: ``ensemble("greedy", predictions, task)``."""

from collections.abc import Callable

from foldsmith.ensembling.auto import fit_auto
from foldsmith.ensembling.blend_space import check_space
from foldsmith.ensembling.calibration import Calibrated
from foldsmith.ensembling.convex import Convex
from foldsmith.ensembling.greedy import FoldGreedy, Greedy, QuickGreedy
from foldsmith.ensembling.hill import SignedHill
from foldsmith.ensembling.method import Method, fit_method
from foldsmith.ensembling.pool import Pool
from foldsmith.ensembling.simple import BestSingle, TopMean
from foldsmith.ensembling.stacks import BoostedStack, LinearStack
from foldsmith.ensembling.task import BlendTask, EnsembleResult, Predictions
from foldsmith.problem.errors import InputError, UnknownNameError

METHODS: dict[str, Callable[[], Method]] = {
    kind.name: kind
    for kind in (
        BestSingle,
        TopMean,
        Greedy,
        QuickGreedy,
        FoldGreedy,
        Convex,
        SignedHill,
        LinearStack,
        BoostedStack,
        Calibrated,
    )
}


def known_methods() -> tuple[str, ...]:
    """What ``ensemble`` takes: ``auto`` first."""
    return ("auto", *METHODS)


def check_method(method: str) -> None:
    """Refuse a method that is not known.

    Raises:
        UnknownNameError: no such method.
    """
    if method not in known_methods():
        raise UnknownNameError("blend method", method, known_methods())


def ensemble(
    method: str, predictions: Predictions, task: BlendTask, *, insist: bool = False, bags: int = 0
) -> EnsembleResult:
    """Fit a method and score it on rows that had no part in it.

    Args:
        method: see :func:`known_methods`.
        predictions: out-of-fold predictions ``(n_rows, n_outputs)`` by member, best member first.
        task: metric, labels, folds, space.
        insist: also where the method advises against itself.
        bags: for ``greedy``: the mean of so many selections, each from half of the members and four fifths of the rows.

    Raises:
        UnknownNameError: no such method or space.
        InputError: the method should not be used on these rows.
    """
    check_method(method)
    check_space(task.space, task.judge.metric)
    if method == "auto" and not bags:
        return fit_auto(predictions, task)
    if bags and method != Greedy.name:
        raise InputError(f"bags are for greedy selection, not for {method}; leave them out")
    made = Greedy(bags=bags, share_of_rows=0.8) if bags else METHODS[method]()
    pool = Pool(predictions, task)
    if not insist and (reason := made.why_not(pool)):
        raise InputError(f"{method} should not be used here: {reason}; use auto or greedy, or --insist")
    return fit_method(made, pool)
