"""How far a reader of changes came, as a token, and the changes that it is given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kinto_orm._shown import Described
from kinto_orm.errors import InvalidData
from kinto_orm.wire.jsonvalues import is_storable

M = TypeVar("M")

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a reader came; all times are the server's, in milliseconds.

    Attributes:
        floor: Up to this time everything was seen; the next pass begins here.
        high: The highest timestamp seen.
        witness: The id of the object that had it; it must still be there, or its tombstone.
        seen: The timestamps above the floor that were seen.
        after: While the first pass lasts: the last id that was given out.
    """

    floor: int
    high: int
    witness: str = ""
    seen: frozenset[int] = frozenset()
    after: str | None = None

    def token(self) -> str:
        """What `of` makes this mark of again; a short text."""
        seen = sorted(each - self.floor for each in self.seen if each > self.floor)
        parts = [self.floor, self.high, self.witness, seen, self.after]
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def of(cls, token: str) -> Mark:
        """The mark that a token stands for.

        Raises:
            InvalidData: It is none.
        """
        try:
            floor, high, witness, seen, after = json.loads(token)
            valid = all(type(each) is int and each >= 0 for each in (floor, high, *seen))
            ids = (witness, "" if after is None else after)
            valid = valid and all(isinstance(each, str) and is_storable(each) for each in ids)
        except (ValueError, TypeError, RecursionError):
            valid = False
        if not valid:
            raise InvalidData(f"{token!r:.200} is no token of changes(); start with since=None")
        return cls(floor, high, witness, frozenset(floor + each for each in seen), after)

    def given(self, entries: Sequence[Entry]) -> Mark:
        """The mark after these entries of the first pass."""
        stamps = (each["last_modified"] for each in entries)
        seen = self.seen.union(each for each in stamps if each > self.floor)
        after = entries[-1]["id"] if entries else self.after
        return dataclasses.replace(self, seen=seen, after=after)

    def moved(self, entries: Sequence[Entry], complete: int) -> Mark:
        """The mark after these entries of a later pass.

        Args:
            entries: In the order of their timestamps.
            complete: Up to this time nothing can come that was not read.
        """
        if not entries:
            return self
        last = entries[-1]
        floor = max(self.floor, min(last["last_modified"], complete))
        stamps = self.seen.union(each["last_modified"] for each in entries)
        high, witness = max(
            (self.high, self.witness), (last["last_modified"], last["id"]), key=lambda pair: pair[0]
        )
        return Mark(floor, high, witness, frozenset(each for each in stamps if each > floor))


@dataclass(frozen=True, slots=True, repr=False)
class Change(Described, Generic[M]):
    """Something that happened to an object; Created, Updated or Deleted.

    Attributes:
        id: The object's id.
        last_modified: Milliseconds, when it happened.
        object: The object as it is now; None for a deleted one.
    """

    id: str
    last_modified: int
    object: M | None
    _mark: Mark = field(repr=False, compare=False)
    _page: list[Entry] = field(repr=False, compare=False)
    _index: int = field(repr=False, compare=False)
    _complete: int = field(repr=False, compare=False, default=0)

    @property
    def token(self) -> str:
        """What `changes(since=...)` goes on from after this change; a short text."""
        given = self._page[: self._index + 1]
        if self._mark.after is not None:
            return self._mark.given(given).token()
        return self._mark.moved(given, self._complete).token()


class Created(Change[M]):
    """An object that was not there before."""

    __slots__ = ()
    object: M


class Updated(Change[M]):
    """An object that was changed."""

    __slots__ = ()
    object: M


class Deleted(Change[M]):
    """An object that is gone; `object` is None."""

    __slots__ = ()
    object: None


AnyChange = Created[M] | Updated[M] | Deleted[M]
"""What checkers tell apart: the object of a Deleted is None, the others have one."""
