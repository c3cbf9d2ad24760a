"""Fitted ensembles: how the members' predictions of any rows become one. Each is plain values and can be stored."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from foldsmith.ensembling.blend_space import from_space, to_space
from foldsmith.ensembling.task import Predictions, Step, common_dtype, mix
from foldsmith.problem.errors import UnknownNameError
from foldsmith.problem.floors import ChanceFloor
from foldsmith.problem.goal import Outputs

Floats = NDArray[np.float64]


class Fitted(Protocol):
    """A fitted ensemble."""

    @property
    def weights(self) -> dict[str, float]:
        """By member, the greatest first, sum 1; of a meta-model the share of its coefficients."""
        ...

    @property
    def trace(self) -> tuple[Step, ...]:
        """The steps of a selection; empty for other methods."""
        ...

    @property
    def note(self) -> str:
        """How it was found, for people; not stored."""
        ...

    def predict(self, predictions: Predictions) -> Outputs:
        """``(n_rows, n_outputs)`` from at least its members' predictions of those rows."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain values for :func:`fitted_from_json`."""
        ...


def by_weight(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights that are not zero, the greatest first."""
    return {name: weight for name, weight in sorted(weights.items(), key=lambda item: -abs(item[1])) if weight}


@dataclass(frozen=True)
class Weighted:
    """A weighted mean in a blend space.

    Args:
        weights: sum 1.
        signed: whether one may be negative: chances are then clipped and divided by their sums.
        note: how it was found, for people.
    """

    weights: dict[str, float]
    space: str
    trace: tuple[Step, ...] = ()
    signed: bool = False
    is_chance: bool = False
    note: str = ""
    kind: ClassVar[str] = "weighted"

    def predict(self, predictions: Predictions) -> Outputs:
        """See :class:`Fitted`."""
        mixed = mix(self.weights, predictions, self.space)
        return simplex(mixed) if self.signed and self.is_chance else mixed

    def to_json(self) -> dict[str, Any]:
        """See :class:`Fitted`."""
        record = {"kind": self.kind, "weights": self.weights, "space": self.space}
        return {**record, "signed": self.signed, "is_chance": self.is_chance}


def simplex(chances: Outputs) -> Outputs:
    """Chances clipped to [0, 1]; those of several classes divided by their sums."""
    if chances.shape[1] == 1:
        return chances.clip(0.0, 1.0)
    clipped = np.asarray(chances, np.float64).clip(1e-15, 1.0)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True), chances.dtype)


@dataclass(frozen=True)
class Stacked:
    """A linear meta-model on the members' predictions.

    Args:
        members: in the order of the coefficients.
        features: ``"logit"`` for chances, else a blend space.
        link: ``"logistic"``: its outputs are logits; ``"identity"``: values in the blend space.
        coefficients: ``(n_outputs, n_members * n_columns)`` of the features as they are.
        intercept: ``(n_outputs,)``.
        note: how it was found, for people.
    """

    members: tuple[str, ...]
    features: str
    link: str
    coefficients: list[list[float]]
    intercept: list[float]
    note: str = ""
    trace: tuple[Step, ...] = ()
    kind: ClassVar[str] = "stacked"

    @cached_property
    def weights(self) -> dict[str, float]:
        """See :class:`Fitted`."""
        sizes = np.abs(np.array(self.coefficients)).sum(axis=0).reshape(len(self.members), -1).sum(axis=1)
        total = sizes.sum()
        shares = sizes / total if total > 0 else np.full(len(sizes), 1 / len(sizes))
        return by_weight(dict(zip(self.members, shares.tolist(), strict=True)))

    def predict(self, predictions: Predictions) -> Outputs:
        """See :class:`Fitted`."""
        given = [predictions[name] for name in self.members]
        values = stack_features(given, self.features) @ np.array(self.coefficients).T + np.array(self.intercept)
        space = "logit" if self.link == "logistic" else self.features
        return np.asarray(from_space(values, space), common_dtype(given))

    def to_json(self) -> dict[str, Any]:
        """See :class:`Fitted`."""
        record = {"kind": self.kind, "members": list(self.members), "features": self.features, "link": self.link}
        return {**record, "coefficients": self.coefficients, "intercept": self.intercept}


def stack_features(predictions: list[NDArray[Any]], space: str) -> Floats:
    """``(n_rows, n_members * n_columns)``: members' predictions in a space, logits of several classes centred."""
    parts = [to_space(prediction, space) for prediction in predictions]
    if space == "logit":
        parts = [part - part.mean(axis=1, keepdims=True) if part.shape[1] > 1 else part for part in parts]
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True)
class Boosted:
    """A gradient-boosted meta-model on the members' predictions (LightGBM, as text).

    Args:
        members: in the order of its features.
        features: ``"logit"`` for chances, else a blend space.
        is_chance: whether it predicts chances.
        origin, unit: values are ``origin + unit * output`` of the model, which holds labels in float32.
    """

    members: tuple[str, ...]
    features: str
    model: str
    is_chance: bool
    origin: float = 0.0
    unit: float = 1.0
    note: str = ""
    trace: tuple[Step, ...] = ()
    kind: ClassVar[str] = "boosted"

    @cached_property
    def _booster(self) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=self.model)

    @cached_property
    def weights(self) -> dict[str, float]:
        """See :class:`Fitted`."""
        gains = np.asarray(self._booster.feature_importance("gain"), np.float64)
        gains = gains.reshape(len(self.members), -1).sum(axis=1) + 1e-12
        return by_weight(dict(zip(self.members, (gains / gains.sum()).tolist(), strict=True)))

    def predict(self, predictions: Predictions) -> Outputs:
        """See :class:`Fitted`."""
        given = [predictions[name] for name in self.members]
        features = stack_features(given, self.features)
        values = np.asarray(self._booster.predict(features, num_threads=1), np.float64)
        values = values.reshape(len(features), -1) * self.unit + self.origin
        restored = values if self.is_chance else from_space(values, self.features)
        return np.asarray(restored, common_dtype(given))

    def to_json(self) -> dict[str, Any]:
        """See :class:`Fitted`."""
        record = {"kind": self.kind, "members": list(self.members), "features": self.features}
        return {**record, "model": self.model, "is_chance": self.is_chance, "origin": self.origin, "unit": self.unit}


@dataclass(frozen=True)
class Scaled:
    """Chances of an ensemble, calibrated: softmax(temperature * logit + bias), the logit taken of its prediction.

    Source: Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks, ICML.
    """

    inner: Fitted
    temperature: float
    bias: tuple[float, ...]
    note: str = ""
    kind: ClassVar[str] = "scaled"

    @property
    def weights(self) -> dict[str, float]:
        """See :class:`Fitted`."""
        return self.inner.weights

    @property
    def trace(self) -> tuple[Step, ...]:
        """See :class:`Fitted`."""
        return self.inner.trace

    def predict(self, predictions: Predictions) -> Outputs:
        """See :class:`Fitted`."""
        return scale(self.inner.predict(predictions), self.temperature, self.bias)

    def to_json(self) -> dict[str, Any]:
        """See :class:`Fitted`."""
        record = {"kind": self.kind, "inner": self.inner.to_json(), "temperature": self.temperature}
        return {**record, "bias": list(self.bias)}


def scale(chances: Outputs, temperature: float, bias: tuple[float, ...]) -> Outputs:
    """softmax(temperature * logit + bias) of chances ``(n_rows, n_outputs)``; ``bias`` has one entry per output."""
    values = temperature * to_space(chances, "logit") + np.array(bias)
    return np.asarray(from_space(values, "logit"), chances.dtype)


@dataclass(frozen=True)
class Floored:
    """An ensemble that was fitted on rows that lack a class: its chance is lifted, see :class:`ChanceFloor`."""

    inner: Fitted
    unseen: tuple[int, ...]
    chance: float
    kind: ClassVar[str] = "floored"

    @property
    def weights(self) -> dict[str, float]:
        """See :class:`Fitted`."""
        return self.inner.weights

    @property
    def trace(self) -> tuple[Step, ...]:
        """See :class:`Fitted`."""
        return self.inner.trace

    @property
    def note(self) -> str:
        """See :class:`Fitted`."""
        return self.inner.note

    def predict(self, predictions: Predictions) -> Outputs:
        """See :class:`Fitted`."""
        return ChanceFloor(self.unseen, self.chance).lift(self.inner.predict(predictions))

    def to_json(self) -> dict[str, Any]:
        """See :class:`Fitted`."""
        record = {"kind": self.kind, "inner": self.inner.to_json()}
        return {**record, "unseen": list(self.unseen), "chance": self.chance}


@dataclass(frozen=True)
class Averaged:
    """A weighted mean of ensembles, taken in a blend space.

    Args:
        parts: fitted ensembles and their shares, sum 1.
    """

    parts: tuple[tuple[float, Fitted], ...]
    space: str
    note: str = ""
    trace: tuple[Step, ...] = field(default=())
    kind: ClassVar[str] = "averaged"

    @cached_property
    def weights(self) -> dict[str, float]:
        """See :class:`Fitted`."""
        total: dict[str, float] = {}
        for share, part in self.parts:
            for name, weight in part.weights.items():
                total[name] = total.get(name, 0.0) + share * weight
        return by_weight(total)

    def predict(self, predictions: Predictions) -> Outputs:
        """See :class:`Fitted`."""
        made = {str(number): part.predict(predictions) for number, (_, part) in enumerate(self.parts)}
        return mix({str(number): share for number, (share, _) in enumerate(self.parts)}, made, self.space)

    def to_json(self) -> dict[str, Any]:
        """See :class:`Fitted`."""
        parts = [{"share": share, "part": part.to_json()} for share, part in self.parts]
        return {"kind": self.kind, "parts": parts, "space": self.space}


def fitted_from_json(record: Mapping[str, Any]) -> Fitted:
    """The ensemble that ``to_json`` wrote.

    Raises:
        UnknownNameError: of a kind that this version does not know.
    """
    known: dict[str, Callable[[dict[str, Any]], Fitted]] = {
        "weighted": lambda values: Weighted(**values),
        "stacked": lambda values: Stacked(**{**values, "members": tuple(values["members"])}),
        "boosted": lambda values: Boosted(**{**values, "members": tuple(values["members"])}),
        "scaled": lambda values: Scaled(
            fitted_from_json(values["inner"]), values["temperature"], tuple(values["bias"])
        ),
        "floored": lambda values: Floored(fitted_from_json(values["inner"]), tuple(values["unseen"]), values["chance"]),
        "averaged": lambda values: Averaged(
            tuple((part["share"], fitted_from_json(part["part"])) for part in values["parts"]), values["space"]
        ),
    }
    kind = str(record.get("kind"))
    if kind not in known:
        raise UnknownNameError("ensemble", kind, known)
    return known[kind]({key: value for key, value in record.items() if key != "kind"})
