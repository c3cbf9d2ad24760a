"""Which of two labels says yes."""

from collections.abc import Sequence

from foldsmith.problem.cells import BOOLEAN_PAIRS

# Two labels of which the second says yes.
_OBVIOUS = (
    *BOOLEAN_PAIRS,
    *(("0.0", "1.0"), ("-1", "1"), ("-1.0", "1.0"), ("-", "+"), ("neg", "pos"), ("negative", "positive")),
)
_USUAL = (
    *(("off", "on"), ("absent", "present"), ("fail", "pass"), ("failed", "passed"), ("failure", "success")),
    *(("lose", "win"), ("loss", "win"), ("benign", "malignant"), ("normal", "abnormal"), ("healthy", "sick")),
    *(("healthy", "diseased"), ("ham", "spam"), ("control", "case"), ("legit", "fraud"), ("legitimate", "fraudulent")),
    *(("rejected", "accepted"), ("denied", "approved"), ("wrong", "right"), ("incorrect", "correct")),
)
_NOT = ("no ", "not ", "non ", "non-", "no-", "not-", "no_", "not_", "non_", "non", "un", "in", "dis")


def likely_positive(classes: Sequence[str]) -> tuple[int, bool]:
    """Which of two labels, 0 or 1, is the one whose chance is asked for, and whether that is obvious.

    >>> likely_positive(["Yes", "no"]), likely_positive(["churn", "no churn"]), likely_positive(["1", "2"])
    ((0, True), (0, True), (1, False))
    """
    first, second = (" ".join(label.split()).casefold() for label in classes)
    for pair in (*_OBVIOUS, *_USUAL):
        if {first, second} == set(pair):
            return (1 if second == pair[1] else 0), pair in _OBVIOUS
    for index, (label, other) in enumerate(((first, second), (second, first))):
        if any(other == prefix + label for prefix in _NOT):
            return index, True
    return 1, False
