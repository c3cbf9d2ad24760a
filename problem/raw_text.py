"""The bytes of a text file as UTF-8, whatever it is stored as, and what its encoding is."""

import codecs
import gzip
import re
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from foldsmith.problem.errors import InputError

DAMAGED = (OSError, EOFError, zlib.error)
"""What reading a broken gz file raises."""

BLOCK_BYTES = 1 << 18
_SCAN_BYTES = 1 << 20
_BOM = "\ufeff"

# A character of two to four bytes in UTF-8 (Unicode 16, table 3-7).
_UTF8_CHARACTER = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
# Bytes that no text file holds: control characters, and the five that Windows-1252 leaves undefined. Tab, line ends,
# form feed and Ctrl-Z are text.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f\x81\x8d\x8f\x90\x9d]")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")


def open_bytes(path: Path) -> BinaryIO:
    """The file's bytes, unpacked where its name ends in .gz."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    file: BinaryIO = opener(path, "rb")
    return file


class RawText:
    """A text file as a stream of UTF-8 bytes without a byte-order mark.

    Args:
        path: the file; ``.gz`` is unpacked.
        encoding: what it is stored in. Bytes that are said to be UTF-8 are passed on unchecked.
        cr_lines: lines end with a carriage return alone, as on old Macs; they come out with a line feed.
    """

    def __init__(self, path: Path, encoding: str, *, cr_lines: bool = False) -> None:
        self._path = path
        self._encoding = encoding
        self._file = open_bytes(path)
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._cr_lines = cr_lines
        self._is_first = True
        self._n_lines = 0

    def __enter__(self) -> "RawText":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """About ``size`` bytes more; empty at the end only.

        Raises:
            InputError: bytes that the encoding does not have, or an end inside a character.
        """
        while True:
            raw = self._file.read(size)
            text = raw if self._decoder is None else self._as_utf8(raw)
            if self._is_first and text:
                text = text.removeprefix(codecs.BOM_UTF8)
                self._is_first = False
            if text or not raw:
                return text.replace(b"\r", b"\n") if self._cr_lines else text

    def _as_utf8(self, raw: bytes) -> bytes:
        assert self._decoder is not None
        try:
            text = self._decoder.decode(raw, final=not raw)
            encoded = text.encode()
        except UnicodeError as error:
            raise InputError(
                f"{self._path}, line {self._n_lines + 1} or after: not {self._encoding} ({error}); "
                "check that the file is complete, or save it as UTF-8"
            ) from None
        self._n_lines += encoded.count(b"\n")
        return encoded


def guess_encoding(head: bytes) -> str | None:
    """The encoding that the first bytes of a file show by a byte-order mark or by every second byte being zero.

    Returns:
        ``"utf-16-le"`` and its like; None where nothing speaks against UTF-8.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32-le" if head.startswith(codecs.BOM_UTF32_LE) else "utf-32-be"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if head.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    even, odd = head[0::2], head[1::2]
    # Separators, digits and line ends are ASCII: in UTF-16 most of the text has a zero as one of its two bytes.
    if len(odd) > 1 and odd.count(0) > 0.5 * len(odd) and even.count(0) == 0:
        return "utf-16-le"
    if len(even) > 1 and even.count(0) > 0.5 * len(even) and odd.count(0) == 0:
        return "utf-16-be"
    return None


def single_byte_encoding(path: Path) -> str:
    """The encoding of a file that is not UTF-8: Windows-1252, which has latin-1's letters, if it is that throughout.

    A file that holds valid UTF-8 characters beside bytes that are none was put together from two encodings, or damaged:
    whichever is chosen, some words come out wrong. So it is refused with the line.

    Raises:
        InputError: a mixed file, an end inside a UTF-8 character, or bytes that no text has.
    """
    scan = _Scan(path)
    line = b""
    with open_bytes(path) as file:
        while block := file.read(_SCAN_BYTES):
            block = line + block
            whole = block.rfind(b"\n") + 1
            line = block[whole:]
            scan.add(block[:whole])
    n_before = scan.n_stray
    scan.add(line)
    if n_before == 0 and _is_cut_character(line):
        raise InputError(
            f"{path}, line {scan.n_lines + 1}: the file ends inside a character of UTF-8; check that it is complete"
        )
    if scan.n_characters and scan.n_stray:
        raise InputError(
            f"{path}, line {scan.stray_line}: the byte 0x{scan.stray_byte:02X} is not UTF-8, but {scan.n_characters} "
            "other characters of the file are; repair the line, or save the whole file in one encoding"
        )
    return "cp1252"


class _Scan:
    """What a file has beyond ASCII: characters of UTF-8, and stray bytes with the line of the first."""

    def __init__(self, path: Path) -> None:
        self.n_lines = 0
        self.n_characters = 0
        self.n_stray = 0
        self.stray_line = 0
        self.stray_byte = 0
        self._path = path

    def add(self, block: bytes) -> None:
        """Look at whole lines, or at the end of the file."""
        rest, n_characters = _UTF8_CHARACTER.subn(lambda match: b"_" * len(match[0]), block)
        self.n_characters += n_characters
        control = _NO_TEXT.search(rest)
        if control:
            line = self._line(rest, control.start())
            raise InputError(
                f"{self._path}, line {line}: the byte 0x{control[0][0]:02X} is neither UTF-8 nor latin-1 text; "
                "save the file as UTF-8"
            )
        stray = _BEYOND_ASCII.search(rest)
        if stray and self.n_stray == 0:
            self.stray_line = self._line(rest, stray.start())
            self.stray_byte = stray[0][0]
        self.n_stray += len(_BEYOND_ASCII.findall(rest))
        self.n_lines += block.count(b"\n")

    def _line(self, block: bytes, place: int) -> int:
        return self.n_lines + block.count(b"\n", 0, place) + 1


def _is_cut_character(end: bytes) -> bool:
    """Whether the last bytes begin a character of UTF-8 and stop inside it."""
    ends = (end[-n:] for n in (1, 2, 3) if len(end) >= n and end[-n] >= 0xC2)
    for last in ends:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(last)
        except UnicodeDecodeError:
            continue
        if decoder.getstate()[0]:
            return True
    return False


def first_beyond_ascii(path: Path, encoding: str) -> tuple[int, str]:
    """The first line with a character beyond ASCII, and the word around it, to show how a file was understood."""
    with RawText(path, encoding) as text:
        n_lines = 0
        while block := text.read(_SCAN_BYTES):
            match = re.search(rb"[^\s,;|\t\"]*[\x80-\xff][^\s,;|\t\"]*", block)
            if match:
                line = n_lines + block.count(b"\n", 0, match.start()) + 1
                return line, match[0].decode("utf-8", "replace")[:40]
            n_lines += block.count(b"\n")
    return 0, ""
