"""The picture of a trial: valid SVG that shows what it was given, whatever the numbers are."""

import math
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from foldsmith.search.picture import MAX_POINTS, FoldShape, draw_trial, thinned_rows

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "scores",
    [
        [0.5, 0.5 + 1e-16, 0.5],
        [0.5, float(np.nextafter(0.5, 1)), float(np.nextafter(0.5, 0))],
        [1.0, 1.0, 1.0],
        [0.0, 0.0, 0.0],
        [1e40, 1.0000000000000002e40, 1e40],
        [-1e40, 1e40, 0.0],
        [1.7e308, -1.7e308, 0.0],
        [5e-324, 0.0, 1e-323],
        [-3.0, -2.0, -2.0 - 1e-15],
        [math.nan, math.inf, -math.inf],
        [math.nan, 0.5, math.inf],
        [1e-300, 2e-300, 3e-300],
        [0.1 + 0.2, 0.3, 0.3],
    ],
)
def test_any_scores_can_be_drawn(scores: list[float]) -> None:
    curves = [np.array([score, score, score + abs(score)]) for score in scores]
    with np.errstate(all="ignore"):
        folds = [
            FoldShape(number, score, curve, round=2)
            for number, (score, curve) in enumerate(zip(scores, curves, strict=True), 1)
        ]
        mean, sem = float(np.mean(scores)), float(np.std(scores))
    for shapes in (folds, [replace(fold, curve=None) for fold in folds], folds[:1]):
        text = draw_trial("x", shapes, score_name="rmse", mean=mean, sem=sem)
        places = [float(value) for value in re.findall(r'(?:cx|cy|x|y|height)="(-?[\w.]+)"', text)]
        assert all(map(math.isfinite, places)) and min(places) >= 0 and max(places) <= 720


def falling(n_rounds: int) -> np.ndarray:
    return 0.3 + 0.4 * np.exp(-np.arange(n_rounds) / 50)


def draw(*folds: FoldShape, title: str = "lgb-0001", **options: Any) -> ElementTree.Element:
    return ElementTree.fromstring(draw_trial(title, folds, score_name="log_loss", **options))


def polylines(picture: ElementTree.Element) -> list[list[tuple[float, float]]]:
    found = [line.attrib["points"].split() for line in picture.iter(f"{SVG}polyline")]
    return [[(float(x), float(y)) for x, y in (point.split(",") for point in points)] for points in found]


def words(picture: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def dots(picture: ElementTree.Element) -> dict[str, tuple[float, float]]:
    return {
        dot[0].text or "": (float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in picture.iter(f"{SVG}circle")
    }


def test_a_curve_falls_on_the_picture_and_its_round_lies_on_it() -> None:
    picture = draw(FoldShape(1, 0.31, falling(100), 80), FoldShape(2, 0.32, falling(60), 40))
    first, second = polylines(picture)
    assert len(first) == 100 and len(second) == 60
    assert [y for _, y in first] == sorted(y for _, y in first)  # pixels count downwards
    assert dots(picture)["fold 1: round 80"] == pytest.approx(first[79], abs=0.11)
    assert dots(picture)["fold 2: round 40"] == pytest.approx(second[39], abs=0.11)
    assert {"validation curve by round", "log_loss by fold", "round", "fold"} <= set(words(picture))


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    assert len(polylines(draw(FoldShape(1, 0.3, falling(5000), 10)))[0]) == MAX_POINTS
    rows = thinned_rows(5000)
    assert (rows[0], rows[-1]) == (0, 4999) and (np.diff(rows) > 0).all()


def test_dots_stand_by_their_score_and_the_mean_has_a_band() -> None:
    picture = draw(FoldShape(1, 0.2), FoldShape(2, 0.4), FoldShape(3, 0.3), mean=0.3, sem=0.05)
    low, high, middle = (dots(picture)[f"fold {fold}"][1] for fold in ("1: 0.2", "2: 0.4", "3: 0.3"))
    assert high < middle < low and middle == pytest.approx((low + high) / 2, abs=0.11)
    assert "mean 0.3 ± 0.05" in words(picture)
    band = [box for box in picture.iter(f"{SVG}rect") if "fill-opacity" in box.attrib]
    assert float(band[0].attrib["height"]) == pytest.approx((low - high) / 2, abs=0.2)


def test_without_curves_there_are_dots_only() -> None:
    picture = draw(FoldShape(1, 0.2), FoldShape(2, 0.4))
    assert polylines(picture) == [] and "round" not in words(picture)
    assert len(dots(picture)) == 2


@pytest.mark.parametrize(
    "folds",
    [
        [],
        [FoldShape(1, None)],
        [FoldShape(1, math.nan)],
        [FoldShape(1, 0.5, np.array([0.5]), 1)],
        [FoldShape(1, 0.5, np.full(30, np.nan), 3)],
        [FoldShape(1, 0.5, np.array([np.inf, 1.0, np.nan, 0.5]), 3)],
        [FoldShape(1, 1e12), FoldShape(2, -3e12)],
        [FoldShape(1, 1e-9), FoldShape(2, 1.1e-9)],
        [FoldShape(1, 0.0), FoldShape(2, 0.0)],
        [FoldShape(number, number / 7) for number in range(1, 41)],
    ],
    ids=["none", "no score", "nan", "one round", "nan curve", "holes", "huge", "tiny", "equal", "forty"],
)
def test_odd_numbers_leave_a_whole_picture(folds: list[FoldShape]) -> None:
    text = draw_trial("x", folds, score_name="rmse", mean=math.nan, sem=math.nan)
    picture = ElementTree.fromstring(text)
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"<(title|text)[^>]*>[^<]*", "", text))
    numbers = [float(x) for point in polylines(picture) for xy in point for x in xy]
    numbers += [x for xy in dots(picture).values() for x in xy]
    assert all(math.isfinite(number) for number in numbers)
    if not any(fold.score is not None and math.isfinite(fold.score) for fold in folds):
        assert "no fold was scored" in words(picture)


def test_names_cannot_become_markup() -> None:
    picture = draw(FoldShape(1, 0.5), title="<script>alert(1)</script>\x07 & co")
    assert list(picture.iter(f"{SVG}script")) == []
    assert words(picture)[0] == "<script>alert(1)</script>  & co"
