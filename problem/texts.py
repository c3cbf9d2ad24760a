"""A text as people see it."""

import unicodedata

# Characters without width, and the soft hyphen: nobody sees them.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))


def clean(text: str) -> str:
    """A text without blanks around it, with single plain blanks inside, no invisible characters, composed accents.

    >>> clean(" New\\u00a0 York\\u200b ")
    'New York'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(_INVISIBLE))
    return " ".join(text.split())
