"""The order of classes that are words: what their numbers say, and scales that people use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from foldsmith.problem.errors import InputError
from foldsmith.problem.labels import classes_option, without_blanks, without_common_words
from foldsmith.problem.metrics import Metric
from foldsmith.problem.target import Target


@dataclass(frozen=True)
class Order:
    """Classes from the lowest to the highest.

    Args:
        is_plain: their numbers say it; else it is only what the words usually mean, and has to be asked.
    """

    classes: tuple[str, ...]
    is_plain: bool


# Each line is a scale, the lowest first, continued on lines that begin with blanks; spellings of one step are separated
# by |. Case, blanks and dashes do not count.
_SCALES = """
extremely low, very very low, very low|verylow|vl, low|lo|l, rather low|medium low|moderately low|low medium,
  medium|mid|middle|moderate|average|normal|med|m|intermediate|neutral,
  rather high|medium high|moderately high|high medium|elevated, high|hi|h, very high|veryhigh|vh|critical|severe,
  extremely high|extreme
none|no, minimal|trivial|trace|slight, low|lo, medium|mid|moderate|med, high|hi, very high, extreme
terrible|awful|horrible, very bad|very poor, bad|poor|po, rather bad|below average,
  ok|okay|fair|fa|average|medium|mediocre|acceptable|neutral|ta|typical|satisfactory|sufficient,
  rather good|above average, good|gd|fine, very good|great, excellent|ex|superb|perfect|outstanding|best
worst, worse, same|equal|unchanged|neutral, better, best
fair, good, very good, premium, ideal
normal, abnormal
none|no|absent|normal|healthy|negative|no dr, minimal|trace|very mild|borderline, mild|light|slight|minor|low,
  mild to moderate, moderate|medium|mod, moderate to severe, severe|major|serious|strong|high,
  very severe|critical|extreme|proliferative dr|proliferative|fatal, death|dead|deceased
xxxs, xxs, xs|extra small|extrasmall|x small, s|small|sm, m|medium|med|mid, l|large|lg|big,
  xl|extra large|extralarge|x large, xxl|2xl, xxxl|3xl, 4xl|xxxxl, 5xl
tiny|very small, small|little, medium|mid|average|normal, large|big, very large|huge|very big,
  enormous|giant|gigantic
strongly disagree|completely disagree|totally disagree|sd, disagree|d,
  somewhat disagree|slightly disagree|rather disagree,
  neutral|neither agree nor disagree|undecided|neither|no opinion|n, somewhat agree|slightly agree|rather agree,
  agree|a, strongly agree|completely agree|totally agree|sa
very dissatisfied|very unsatisfied|very unhappy, dissatisfied|unsatisfied|unhappy, somewhat dissatisfied,
  neutral|neither|neither satisfied nor dissatisfied|undecided, somewhat satisfied, satisfied|happy,
  very satisfied|very happy
very negative|strongly negative, negative|neg, somewhat negative, neutral|neu, somewhat positive, positive|pos,
  very positive|strongly positive
very unlikely|highly unlikely, unlikely, neutral|possible|even chance, likely|probable,
  very likely|highly likely, certain|almost certain
never, almost never|hardly ever, rarely|seldom, occasionally, sometimes, often|frequently, usually|mostly,
  almost always|very often, always
none|nothing, few|a little|little, some, several, many|a lot|much, most, all
not at all, a little|slightly|a little bit, somewhat|moderately, quite|very|considerably|quite a bit,
  extremely|very much
not important|unimportant, slightly important, moderately important|important, very important,
  extremely important
f, e-, e, e+, d-, d, d+, c-, c, c+, b-, b, b+, a-, a, a+
d, c, cc, ccc, b-, b, b+, bb-, bb, bb+, bbb-, bbb, bbb+, a-, a, a+, aa-, aa, aa+, aaa
fail|failed, pass|passed, merit|credit, distinction, high distinction
po|poor, fa|fair, ta|typical|average, gd|good, ex|excellent
i3, i2, i1, si2, si1, vs2, vs1, vvs2, vvs1, if, fl
freezing|very cold, cold, cool|chilly, mild|warm|lukewarm, hot, very hot
very slow, slow, medium|normal|average, fast|quick, very fast
very easy, easy, medium|moderate|normal|intermediate, hard|difficult, very hard|very difficult|expert
novice|newbie, beginner|basic|elementary|entry|starter, lower intermediate, intermediate|medium,
  upper intermediate, advanced|proficient, expert|master|professional
junior|jr, mid|middle|medior|intermediate, senior|sr, lead|principal, head
bronze, silver, gold, platinum|plat, diamond, master|champion
basic|standard|economy, plus|comfort|premium economy, premium|business, first|deluxe|luxury
economy, premium economy, business, first
third, second, first
infant|baby, toddler, child|kid, teen|teenager|adolescent|youth, young adult|young, adult|middle aged|middle age,
  senior|elderly|old
young, middle aged|middle age|middle, old
none|no schooling|no formal education, primary|elementary|primary school|preschool,
  middle school|lower secondary, secondary|high school|upper secondary|highschool, some college,
  associate|associates|vocational, bachelor|bachelors|undergraduate|college|university|graduation,
  master|masters|graduate|postgraduate, doctorate|doctoral|phd|doctor
weak|very weak, fair|medium|moderate, strong, very strong
light, medium|moderate, heavy, very heavy
short, medium|average, long|tall
thin|underweight|insufficient weight, normal weight|normal, overweight|overweight level i|overweight 1,
  overweight level ii|overweight 2, obese|obesity type i|obesity 1, obesity type ii|obesity 2,
  obesity type iii|obesity 3
down|decrease|falling|fall|lower, flat|stable|same|unchanged|neutral|hold, up|increase|rising|rise|higher
strong sell, sell|underperform|reduce, hold|neutral, buy|outperform|accumulate, strong buy
green, yellow|amber, orange, red
info|information, minor|low, warning|medium, major|error|high, critical|severe, fatal|blocker
early, middle|mid, late
first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth
zero|none, one|single|once, two|double|twice, three|triple, four, five, six, seven, eight, nine, ten
i, ii, iii, iv, v, vi, vii, viii, ix, x, xi, xii
monday|mon, tuesday|tue|tues, wednesday|wed, thursday|thu|thurs, friday|fri, saturday|sat, sunday|sun
january|jan, february|feb, march|mar, april|apr, may, june|jun, july|jul, august|aug, september|sep|sept,
  october|oct, november|nov, december|dec
morning, noon|midday, afternoon, evening, night
"""


def _key(text: str) -> str:
    """A step without case, blanks and dashes; signs at the end (``B+``) count.

    >>> _key("Very-High "), _key("B +")
    ('veryhigh', 'b+')
    """
    plain = without_blanks(text).casefold()
    sign = plain[-1] if plain[-1:] in ("+", "-") else ""
    return "".join(char for char in plain if char.isalnum()) + sign


def _steps(line: str) -> dict[str, int]:
    return {_key(name): place for place, step in enumerate(line.split(",")) for name in step.split("|")}


SCALES: tuple[dict[str, int], ...] = tuple(_steps(line) for line in _SCALES.replace("\n  ", " ").strip().splitlines())


def order_of(classes: Sequence[str]) -> Order | None:
    """The order that classes have by their numbers, or by a scale that people use; None when nothing tells it.

    >>> order_of(["high", "low", "mid"])
    Order(classes=('low', 'mid', 'high'), is_plain=False)
    >>> order_of(["1-2 years", "10+ years", "3-9 years"])
    Order(classes=('1-2 years', '3-9 years', '10+ years'), is_plain=True)
    """
    by_number = _by_number(classes)
    if by_number is not None:
        return by_number
    for names in (list(classes), without_common_words(classes)):
        places = _places_on_scale(names)
        if places is not None:
            return Order(_sorted_by(classes, places), is_plain=False)
    return None


def _places_on_scale(names: Sequence[str]) -> list[int] | None:
    """Each name's step on the first scale that has them all apart."""
    keys = [_key(name) for name in names]
    for scale in SCALES:
        places = [scale[key] for key in keys if key in scale]
        if len(places) == len(keys) == len(set(places)):
            return places
    return None


def _sorted_by(classes: Sequence[str], places: Sequence[object]) -> tuple[str, ...]:
    pairs = sorted(zip(places, classes, strict=True), key=lambda pair: pair[0])  # type: ignore[arg-type,return-value]
    return tuple(name for _, name in pairs)


# A dash before a number is a minus only where no word stands before it: level-1 is the first level.
_NUMBER = re.compile(r"(?<![\w.)])-\d+(?:\.\d+)?|(?<![\d.])\d+(?:\.\d+)?")
_LESS = re.compile(r"<|≤|\bunder\b|\bbelow\b|\bless than\b|\bup to\b|\bat most\b|\bfewer than\b")
_MORE = re.compile(r">|≥|\d\s*\+|\bover\b|\babove\b|\bmore than\b|\bat least\b|\bor more\b|\band more\b|\bplus\b")


def _by_number(classes: Sequence[str]) -> Order | None:
    """Order by the numbers inside the labels; plain when nothing but numbers, ranges and their bounds differs."""
    keys: list[tuple[float, int, float]] = []
    rests: set[str] = set()
    for name in classes:
        text = without_blanks(name).casefold()
        ranged = re.sub(r"(?<=\d)\s*(?:-|–|—|\bto\b|\.\.)\s*(?=\d)", " ~ ", text)
        ranged = re.sub(r"(?<=\d),(?=\d{3}\b)", "", ranged)
        found = [float(number) for number in _NUMBER.findall(ranged)]
        if not found or len(found) > 2:
            return None
        bound = -1 if _LESS.search(ranged) else 1 if _MORE.search(ranged) else 0
        keys.append((found[0], bound, found[-1]))
        rests.add(_rest(ranged))
    if len(set(keys)) < len(keys):
        return None
    # Bounds at the ends only, ranges that do not overlap.
    ordered = sorted(keys)
    apart = all(low[2] <= high[0] for low, high in zip(ordered, ordered[1:], strict=False))
    bounds_fit = all(key[1] >= 0 for key in ordered[1:]) and all(key[1] <= 0 for key in ordered[:-1])
    is_plain = len(rests) == 1 and apart and bounds_fit
    return Order(_sorted_by(classes, keys), is_plain)


def _rest(text: str) -> str:
    """What is left of a label without its numbers, signs of range and bound, and the plural."""
    rest = _MORE.sub(" ", _LESS.sub(" ", text))
    rest = re.sub(r"[\s~+<>≤≥_.:()\[\]-]+", " ", _NUMBER.sub(" ", rest))
    rest = re.sub(r"\d", " ", rest)
    return " ".join(word.rstrip("s") for word in rest.split())


def needs_order(metric: Metric, target: Target) -> bool:
    """Whether the metric asks how far classes are apart, and the labels are words that do not say it."""
    return metric.is_ordinal and target.task == "multiclass" and target.label_dtype == "str"


def require_order(metric: Metric, target: Target) -> None:
    """Refuse to guess the order of words.

    Raises:
        InputError: shows the order that a known scale suggests, to be pasted, or how to say it.
    """
    shown = ", ".join(repr(name) for name in target.classes[:8]) + (", …" if len(target.classes) > 8 else "")
    order = order_of(target.classes)
    start = f"metric {metric.name!r} needs the order of the classes, and target {target.name!r} has words ({shown})"
    if order is None:
        listed = classes_option(sorted(target.classes))
        raise InputError(
            f"{start} whose order foldsmith does not know; name them from the lowest to the highest, that is "
            f"{listed} with these words in their order (or classes = [...] under [problem] in foldsmith.toml)"
        )
    scale = " < ".join(order.classes)
    raise InputError(
        f"{start} that look like {scale}; if that is their order say {classes_option(order.classes)}, else name them "
        "from the lowest to the highest (or classes = [...] under [problem] in foldsmith.toml)"
    )
