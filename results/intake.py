"""Members that come whole from elsewhere: written beside the store, then moved in together, or not at all."""

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from foldsmith.problem.errors import InputError
from foldsmith.problem.files import sync
from foldsmith.problem.folder import Folder
from foldsmith.problem.goal import Outputs
from foldsmith.results.members import Member, MemberStore


def check_plain_word(what: str, name: str) -> None:
    """Refuse a name that is no good name for a folder.

    Raises:
        InputError: it is not 1 to 60 letters, digits, dashes and underscores.
    """
    if not re.fullmatch(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-]{1,60}", name):
        raise InputError(f"{what} {name!r} may hold up to 60 letters, digits, '-' and '_' only")


class Intake:
    """Takes members in; see :func:`intake`."""

    def __init__(self, store: MemberStore, waiting: MemberStore) -> None:
        self._store = store
        self._waiting = waiting
        self._ids: list[str] = []

    def check_free(self, member_id: str) -> None:
        """Refuse an id that is taken, here or in the store.

        Raises:
            InputError: it is.
        """
        if member_id in self._ids or self._store.path(member_id).exists():
            raise _taken(member_id)

    def add(self, member: Member, oof: Outputs, test: Outputs | None) -> None:
        """Write a member where nobody reads it yet; see :meth:`MemberStore.finish`."""
        self.check_free(member.id)
        self._waiting.path(member.id).mkdir(parents=True)
        self._waiting.finish(member, oof, test)
        self._ids.append(member.id)

    def move_in(self) -> None:
        """Give all members that were added to the store, each by one rename."""
        for member_id in self._ids:
            target = self._store.path(member_id)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.rename(self._waiting.path(member_id), target)
            except OSError:
                raise _taken(member_id) from None
        if self._ids:
            sync(self._store.path(self._ids[0]).parent)


def _taken(member_id: str) -> InputError:
    return InputError(f"there is a member {member_id!r} already; choose another name")


@contextmanager
def intake(folder: Folder) -> Iterator[Intake]:
    """Members added inside are in the store at the end; after an error none of them is, and nothing is left over."""
    waiting = Folder(folder.state / f"incoming-{uuid.uuid4().hex[:8]}.tmp")
    try:
        members = Intake(MemberStore(folder), MemberStore(waiting))
        yield members
        members.move_in()
    finally:
        shutil.rmtree(waiting.root, ignore_errors=True)
