"""A metric with its direction and needs, the registry that finds it, and the user's own metrics.

NumPy only: importing this module loads neither scikit-learn nor SciPy, so the command line stays instant.
"""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foldsmith.problem.errors import InputError, UnknownNameError
from foldsmith.problem.formulas import (
    FloatArray,
    accuracy_of,
    auc,
    auc_ovr,
    average_precision,
    balanced_accuracy_of,
    brier,
    f1_of,
    log_loss,
    macro_f1_of,
    mae,
    mcc_of,
    of_labels,
    qwk_of,
    r2,
    rmse,
    rmsle,
)
from foldsmith.problem.goal import Goal, Task
from foldsmith.problem.usercode import load_object

Needs = Literal["proba", "label", "value"]
Aggregate = Literal["mean_of_folds", "pooled"]
DecisionKind = Literal["none", "threshold", "argmax", "multipliers", "cuts"]
Function = Callable[[Any, Any, FloatArray | None], float]

CLASSIFICATION: frozenset[Task] = frozenset({"binary", "multiclass"})
REGRESSION: frozenset[Task] = frozenset({"regression"})


@dataclass(frozen=True)
class Metric:
    """A function of labels and predictions with its direction and what it needs.

    Args:
        name: the canonical key, or ``module:function`` for a user's metric.
        title: the name for people.
        greater_is_better: the direction; scores are never sign-flipped.
        needs: ``"proba"``: chances; ``"label"``: class codes; ``"value"``: numbers.
        tasks: the tasks it fits.
        aggregate: how a cross-validation score is made: the mean of the folds' scores, or one score of all
            out-of-fold rows together.
        function: ``(y, prediction, sample_weight or None) -> float``; call :meth:`score`, which prepares its arrays.
        best: the perfect score, None if unknown.
        decision: how several classes become labels; two classes use a threshold unless this is ``"cuts"``.
        blend_space: the scale on which predictions are averaged.
        of_confusion: for label metrics that are a function of the confusion matrix: ``(..., C, C)`` weights of
            (true class, predicted class) to ``(...)`` scores, so that many rules are judged at once.
    """

    name: str
    title: str
    greater_is_better: bool
    needs: Needs
    tasks: frozenset[Task]
    aggregate: Aggregate
    function: Function = field(compare=False, repr=False)
    best: float | None = None
    decision: DecisionKind = "none"
    blend_space: Literal["identity", "log1p"] = "identity"
    of_confusion: Callable[[FloatArray], FloatArray] | None = field(default=None, compare=False, repr=False)

    def score(self, y: ArrayLike, prediction: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The metric in its own units.

        Args:
            y: ``(n_rows,)``, class codes 0..C-1, or float64 for a metric that needs values.
            prediction: chances ``(n_rows,)`` or ``(n_rows, 1)`` of class 1 for two classes, ``(n_rows, C)`` for
                several; class codes ``(n_rows,)`` for label metrics; values ``(n_rows,)`` or ``(n_rows, 1)``.
            sample_weight: ``(n_rows,)``, not negative; rows of weight 0 are left out. None counts each row once.

        Returns:
            The score; nan where it is undefined (no rows, one class under AUC, a constant target under R2) and where
            the prediction holds a nan or an infinity.
        """
        truth: NDArray[Any] = np.asarray(y, dtype=np.float64 if self.needs == "value" else np.int64)
        given: NDArray[Any] = np.asarray(prediction, dtype=np.float64)
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        if given.ndim == 2 and given.shape[1] == 1:
            given = given[:, 0]
        assert len(truth) == len(given) and (weight is None or len(weight) == len(truth)), "row counts differ"
        if weight is not None and not (weight > 0).all():
            truth, given, weight = truth[weight > 0], given[weight > 0], weight[weight > 0]
        if len(truth) == 0 or not np.isfinite(given).all():
            return math.nan
        return float(self.function(truth, given.astype(np.int64) if self.needs == "label" else given, weight))

    def better(self, a: float, b: float) -> bool:
        """Whether score ``a`` beats ``b``; nan beats nothing, and any number beats nan.

        >>> get_metric("rmse").better(0.1, 0.2), get_metric("auc").better(0.1, 0.2)
        (True, False)
        """
        if math.isnan(a) or math.isnan(b):
            return not math.isnan(a)
        return a > b if self.greater_is_better else a < b

    @property
    def worst(self) -> float:
        """The score that every other one beats: minus or plus infinity."""
        return -math.inf if self.greater_is_better else math.inf

    def decision_for(self, task: Task) -> DecisionKind:
        """How predictions become labels for this metric: see :mod:`foldsmith.problem.decisions`."""
        if self.needs != "label" or self.decision == "cuts":
            return self.decision
        return "threshold" if task == "binary" else self.decision

    @property
    def is_ordinal(self) -> bool:
        """Whether it matters how far apart two classes stand: their order must be known."""
        return self.decision == "cuts"

    @property
    def punishes_certainty(self) -> bool:
        """Whether a chance of 0 for what happens costs without bound, as far as is known."""
        return self.needs == "proba" and (self.name == "log_loss" or ":" in self.name)

    def goal(self, task: Task, n_classes: int) -> Goal:
        """What the model families fit for this metric.

        Chances are fitted by log loss; the curve of a rank metric on two classes is the AUC. Cut points (QWK) and
        metrics that need values are fitted as a regression, also on class codes.
        """
        if self.needs == "value" or self.decision == "cuts":
            if self.name == "mae":
                return Goal("regression", 0, "absolute", "mae")
            return Goal("regression", 0, "squared", "rmse", log1p=self.blend_space == "log1p")
        rank = task == "binary" and self.name in ("auc", "average_precision")
        return Goal(task, n_classes, "log_loss", "auc" if rank else "log_loss")

    def check_fits(self, task: Task, n_classes: int, y: ArrayLike) -> None:
        """Refuse a target that this metric cannot judge.

        Args:
            task: what the target is.
            n_classes: the number of classes, 0 for regression.
            y: the labels, ``(n_rows,)``, as :meth:`score` takes them.

        Raises:
            InputError: the metric does not fit the task, or it is RMSLE and a label is negative.
        """
        labels = np.asarray(y)
        if task not in self.tasks:
            found = f"{n_classes} classes" if task in CLASSIFICATION else f"{len(np.unique(labels))} distinct numbers"
            other = "class labels" if task == "regression" else "a number to be predicted"
            raise InputError(
                f"metric {self.name!r} fits {' or '.join(sorted(self.tasks))}, but the target is {task} with {found}; "
                f"use {_instead(self.name, task)}, or set the task if the target is really {other}"
            )
        if task in CLASSIFICATION and n_classes < 2:
            raise InputError(
                f"metric {self.name!r} needs two classes or more, but the target has {n_classes}; check the target "
                "column and the rows that were read"
            )
        if self.blend_space == "log1p" and len(labels) and labels.min() < 0:
            raise InputError(
                f"metric {self.name!r} needs labels of 0 or more, but {int((labels < 0).sum())} of {len(labels)} are "
                f"negative, the smallest {labels.min():g}; use rmse, or correct the target column"
            )


def _instead(name: str, task: Task) -> str:
    """The metrics to use on ``task`` where ``name`` does not fit it."""
    same_idea = {"auc": "auc_ovr", "average_precision": "auc_ovr", "f1": "macro_f1", "brier": "log_loss"}
    if task == "binary":
        return "auc or log_loss"
    return "rmse or mae" if task == "regression" else same_idea.get(name, "log_loss or accuracy")


def _label_metric(
    name: str, title: str, of: Callable[[FloatArray], FloatArray], decision: DecisionKind, tasks: frozenset[Task]
) -> Metric:
    function = partial(of_labels, of)
    return Metric(name, title, True, "label", tasks, "pooled", function, 1.0, decision, of_confusion=of)


_TWO: frozenset[Task] = frozenset({"binary"})
_SEVERAL: frozenset[Task] = frozenset({"multiclass"})
_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auc", "ROC AUC", True, "proba", _TWO, "mean_of_folds", auc, 1.0),
        Metric("auc_ovr", "ROC AUC, mean of one versus rest", True, "proba", _SEVERAL, "mean_of_folds", auc_ovr, 1.0),
        Metric("average_precision", "Average precision", True, "proba", _TWO, "mean_of_folds", average_precision, 1.0),
        Metric("log_loss", "Log loss", False, "proba", CLASSIFICATION, "pooled", log_loss, 0.0),
        Metric("brier", "Brier score", False, "proba", _TWO, "pooled", brier, 0.0),
        Metric("rmse", "RMSE", False, "value", REGRESSION, "pooled", rmse, 0.0),
        Metric("rmsle", "RMSLE", False, "value", REGRESSION, "pooled", rmsle, 0.0, blend_space="log1p"),
        Metric("mae", "MAE", False, "value", REGRESSION, "pooled", mae, 0.0),
        Metric("r2", "R²", True, "value", REGRESSION, "pooled", r2, 1.0),
        _label_metric("accuracy", "Accuracy", accuracy_of, "argmax", CLASSIFICATION),
        _label_metric("balanced_accuracy", "Balanced accuracy", balanced_accuracy_of, "multipliers", CLASSIFICATION),
        _label_metric("f1", "F1", f1_of, "threshold", _TWO),
        _label_metric("macro_f1", "Macro F1", macro_f1_of, "multipliers", CLASSIFICATION),
        _label_metric("mcc", "Matthews correlation", mcc_of, "multipliers", CLASSIFICATION),
        _label_metric("qwk", "Quadratic weighted kappa", qwk_of, "cuts", CLASSIFICATION),
    )
}
_ALIASES: dict[str, str] = {  # without dashes, underscores and spaces
    **{name.replace("_", ""): name for name in _METRICS},
    **dict.fromkeys(("rocauc",), "auc"),
    **dict.fromkeys(("rocaucovr", "macroauc"), "auc_ovr"),
    **dict.fromkeys(("binarylogloss", "multilogloss", "mlogloss", "crossentropy"), "log_loss"),
    **dict.fromkeys(("ap", "prauc"), "average_precision"),
    "acc": "accuracy",
    "bacc": "balanced_accuracy",
    "f1macro": "macro_f1",
    **dict.fromkeys(("quadraticweightedkappa", "kappa"), "qwk"),
}


def known_metrics() -> list[str]:
    """The canonical names, sorted."""
    return sorted(_METRICS)


def get_metric(name: str, code_folder: Path | None = None) -> Metric:
    """The metric of that name.

    Upper case, dashes, underscores and spaces do not matter, and common other names are known (``"ROC-AUC"``). A name
    with a colon, ``"module:function"``, is the user's own: ``function(y, prediction)``, or with a third argument
    ``sample_weight``, from ``code_folder/module.py``. It gets the arrays that :meth:`Metric.score` describes and
    declares itself by attributes:

    - ``greater_is_better``: True or False, required;
    - ``needs``: ``"proba"``, ``"label"`` or ``"value"``. Default ``"value"``, or ``"proba"`` if ``tasks`` names only
      classification;
    - ``tasks``: some of ``"binary"``, ``"multiclass"``, ``"regression"``. Default: regression if it needs values,
      else both kinds of classification;
    - ``aggregate``: ``"pooled"`` (default) or ``"mean_of_folds"``;
    - ``ordinal``: True for labels that are steps of a scale, as for QWK: values are cut into labels. Default False.

    Raises:
        UnknownNameError: no metric has that name.
        InputError: the user's function cannot be loaded, or its attributes are missing or wrong.

    >>> get_metric("ROC-AUC").name
    'auc'
    """
    if ":" in name:
        if code_folder is None:
            raise InputError(
                f"metric {name!r} is code of your own, but no folder of code is known; set one, or use one of "
                f"{', '.join(known_metrics())}"
            )
        return _user_metric(name, code_folder)
    canonical = _ALIASES.get(re.sub(r"[-_\s]", "", name.lower()))
    if canonical is None:
        raise UnknownNameError("metric", name, _METRICS, 'your own metric is written "module:function"')
    return _METRICS[canonical]


@dataclass(frozen=True)
class _UserFunction:
    """A user's function with the arguments of ours; pickles as its reference, so a worker loads the file itself."""

    reference: str
    code_folder: Path
    function: Callable[..., Any]
    takes_weight: bool

    def __call__(self, y: Any, prediction: Any, weight: FloatArray | None) -> float:
        if weight is None:
            return float(self.function(y, prediction))
        if not self.takes_weight:
            raise InputError(
                f"metric {self.reference!r} has two arguments, but the rows have weights; give it a third one, "
                "sample_weight=None, or leave the weights out"
            )
        return float(self.function(y, prediction, weight))

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_user_function, (self.reference, self.code_folder)


def _load_user_function(reference: str, code_folder: Path) -> _UserFunction:
    function = load_object(reference, code_folder)
    if not callable(function):
        raise InputError(
            f"metric {reference!r} is a {type(function).__name__}; name a function (y, prediction) -> float"
        )
    n_arguments = len(inspect.signature(function).parameters)
    if n_arguments not in (2, 3):
        raise InputError(
            f"metric {reference!r} has {n_arguments} arguments; write it as (y, prediction) or "
            "(y, prediction, sample_weight=None)"
        )
    return _UserFunction(reference, Path(code_folder).resolve(), function, n_arguments == 3)


def _user_metric(reference: str, code_folder: Path) -> Metric:
    loaded = _load_user_function(reference, code_folder)
    function = loaded.function
    greater = getattr(function, "greater_is_better", None)
    if not isinstance(greater, bool):
        name = reference.partition(":")[2]
        raise InputError(
            f"metric {reference!r} does not say which direction is better (greater_is_better is {greater!r}); write "
            f"{name}.greater_is_better = True or False below the function"
        )
    tasks = _declared_tasks(reference, function)
    default = "proba" if tasks and tasks <= CLASSIFICATION else "value"
    needs = _declared(reference, "needs", getattr(function, "needs", default), get_args(Needs))
    aggregate = _declared(reference, "aggregate", getattr(function, "aggregate", "pooled"), get_args(Aggregate))
    tasks = tasks or (REGRESSION if needs == "value" else CLASSIFICATION)
    if needs != "value" and not tasks <= CLASSIFICATION:
        raise InputError(
            f"metric {reference!r} needs {needs!r} but names the task 'regression'; a regression gives values: set "
            "needs = 'value', or leave 'regression' out of tasks"
        )
    decision: DecisionKind = "argmax" if needs == "label" else "none"
    if needs == "label" and _declared(reference, "ordinal", getattr(function, "ordinal", False), (True, False)):
        decision = "cuts"
    return Metric(reference, reference, greater, needs, tasks, aggregate, loaded, decision=decision)


def _declared_tasks(reference: str, function: Any) -> frozenset[Task]:
    """The attribute ``tasks``, which may be one name or several; empty if it is missing."""
    tasks = getattr(function, "tasks", ())
    names = [tasks] if isinstance(tasks, str) else list(tasks)
    return frozenset(_declared(reference, "tasks", name, get_args(Task)) for name in names)


def _declared(reference: str, attribute: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise InputError(
            f"metric {reference!r} declares {attribute} {value!r}; use {' or '.join(repr(a) for a in allowed)}"
        )
    return value
