"""The machine as it is: what its faults are called in one line, and streams that cannot spell every name."""

import codecs
import errno
import os
import sys
from collections.abc import Sequence

from foldsmith.problem.standard_streams import fill_standard_streams

REMEDIES = {
    errno.EACCES: "its owner must let you, or work in a folder of your own",
    errno.EPERM: "its owner must let you, or work in a folder of your own",
    errno.EROFS: "it lies on a read-only file system; work on a copy, or write elsewhere",
    errno.ENOSPC: "make room on the disk, then give the command again",
    errno.EDQUOT: "make room in your quota, then give the command again",
    errno.EFBIG: "the file system, or a limit of this shell (ulimit -f), allows no file of that size",
    errno.EIO: "the device failed to read or write; look at its health before anything else",
    errno.EMFILE: "this shell allows too few open files; raise the limit with 'ulimit -n'",
    errno.ENFILE: "this machine has too many files open; end other programs",
    errno.ENAMETOOLONG: "work in a folder with a shorter path",
    errno.ELOOP: "links lead in a circle; give the real path",
    errno.ESTALE: "the network folder was replaced meanwhile; give the command again",
    errno.ENOMEM: "end other programs, or work on a machine with more memory",
    errno.ENOTDIR: "a part of the path is a file; correct the path",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENOENT: "it is not there, or was removed meanwhile; correct the path",
    errno.EEXIST: "it is there already; name another",
    errno.EADDRINUSE: "another program listens there; choose another --port",
}


def machine_fault(error: BaseException) -> str | None:
    """What the machine refused, where, and what to do, in one line; None when it is no fault of the machine."""
    if isinstance(error, MemoryError):
        return "there is not enough memory; end other programs, or work with fewer rows or --workers"
    if not isinstance(error, OSError):
        return None
    code = error.errno
    if code is None and "No space left" in str(error):
        code = errno.ENOSPC
    if code is None:
        return None
    remedy = REMEDIES.get(code)
    if error.filename is None and remedy is None:
        return None
    where = "a file, or the output, could not be written or read" if error.filename is None else error.filename
    return f"{os.fsdecode(where)}: {os.strerror(code)}" + (f"; {remedy}" if remedy else "")


def one_line(message: str) -> str:
    """Printable characters only, on one line."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(message.split()))


# --- before anything else runs ---------------------------------------------------------------------------------------


def prepare_streams() -> None:
    """Have standard streams that are open, and that fail at no character; for the start of a process."""
    fill_standard_streams()
    codecs.register_error("foldsmith", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="foldsmith")


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """A byte of a file name as it is on disk; another character that the stream cannot spell as its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    made = b""
    for char in error.object[error.start : error.end]:
        is_byte = "\udc80" <= char <= "\udcff"
        made += bytes([ord(char) - 0xDC00]) if is_byte else char.encode("ascii", "backslashreplace")
    return made, error.end


def in_utf8_mode(arguments: Sequence[str]) -> None:
    """Start this program again in Python's UTF-8 mode where the locale would spell file names in another way.

    A competition that is made under one locale and opened under another has the same files only if both spell alike.

    Args:
        arguments: of the interpreter, as ``sys.orig_argv``.
    """
    if sys.flags.utf8_mode or codecs.lookup(sys.getfilesystemencoding()).name == "utf-8":
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *arguments[1:]])
