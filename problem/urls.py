"""URLs of stores and databases, as people may see them."""

import re


def hide_password(url: str) -> str:
    """``url`` for messages and JSON, with ``***`` in place of passwords.

    Rather too much is hidden than too little when the password holds characters that it should not.

    >>> hide_password("postgresql://ann:secret@rig:5432/studies")
    'postgresql://ann:***@rig:5432/studies'
    """
    url = re.sub(r"(?<=://)([^:/?#@]*):.*@", r"\1:***@", url, flags=re.DOTALL)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", url)
