"""What an object knows beside its fields: its place, what the server has of it, its permissions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from kinto_orm.models import permissions as perms
from kinto_orm.models.access import Access
from kinto_orm.models.loading import Source
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.stored import Stored
from kinto_orm.wire.scope import Scope, called


class State:
    """Where an object lives and what the server has of it; objects of one page share one."""

    __slots__ = (
        "doubt",
        "gone",
        "known_id",
        "partial",
        "past",
        "permissions",
        "planned",
        "plural",
        "rehearsed",
        "said",
        "scope",
        "seen",
        "shared",
        "source",
    )

    def __init__(
        self,
        scope: Scope | None,
        plural: str | None,
        source: Source | None,
        *,
        permissions: Permissions | Mapping[str, list[str]] | None = None,
        partial: bool = False,
        shared: bool = False,
        gone: bool = False,
        doubt: bool = False,
        known_id: bool = False,
        past: bool = False,
        planned: dict[str, Any] | None = None,
        seen: int | None = None,
        rehearsed: bool = False,
        said: frozenset[str] = frozenset(),
    ) -> None:
        self.scope = scope
        self.plural = plural
        self.source = source
        self.permissions = permissions
        self.partial = partial
        self.shared = shared
        self.gone = gone
        # The answer to a write was lost: the server may have what it does not say.
        self.doubt = doubt
        # It is how the object was at a time, by the history.
        self.past = past
        # Others may write under this id: it was copied, or was on the server before.
        self.known_id = known_id
        # What the object was written as when its save was planned.
        self.planned = planned
        # The timestamp of what was seen under its id, and is to be overwritten.
        self.seen = seen
        # It is written to see what that would do: no hook is called, which might write.
        self.rehearsed = rehearsed
        # Stored names of which the object's own form is to be stored: another one that means the
        # same, such as an older program wrote, is a difference.
        self.said = said

    def replaced(self, **changes: Any) -> State:
        """A copy of its own with other values."""
        names = [name for name in self.__slots__ if name != "shared"]
        return State(**{name: getattr(self, name) for name in names} | changes)


_slot = Stored.__dict__["__kinto_state__"]
put_state: Callable[[Stored, State], None] = _slot.__set__
_read_state: Callable[[Stored, type], State] = _slot.__get__


def state_of(stored: Stored) -> State:
    """The state of an object; that of a new one is made here."""
    try:
        return _read_state(stored, Stored)
    except AttributeError:
        state = State(None, None, None)
        put_state(stored, state)
        return state


def set_state(stored: Stored, state: State) -> None:
    """Give an object a state."""
    put_state(stored, state)


def own_state(stored: Stored) -> State:
    """The state of an object, no longer shared with the others of its page."""
    state = state_of(stored)
    if state.shared:
        state = state.replaced()
        put_state(stored, state)
    return state


def is_new(stored: Stored) -> bool:
    """Whether it was never saved nor loaded."""
    state = state_of(stored)
    if state.source is None:
        return not state.gone
    # A copy may have been given another id.
    return not state.source.knows(stored.id)


def call_of(stored: Stored, call: str) -> str:
    """How a message writes a call of an object's verb: `refresh()`, or `arefresh()`."""
    return called(call, state_of(stored).scope, stored.__kinto_session__)


def known_stamp(stored: Stored) -> int | None:
    """The timestamp of what the server is known to have of an object; None when it is new."""
    return stored.last_modified if state_of(stored).source is not None else None


# The permissions that it holds: not asked for, fetched, or wished


def bound(stored: Stored, permissions: Permissions) -> Permissions:
    """Say that these permissions are an object's."""
    return permissions.bind(stored, stored.__kinto_kind__)


def permissions_of(stored: Stored) -> Permissions:
    """The permissions of an object; reading those that were not loaded is a NotLoaded error."""
    state = own_state(stored)
    held = state.permissions
    if not isinstance(held, Permissions):
        if held is None and (state.source is None or state.gone):
            held = bound(stored, Permissions())
        else:
            kind = stored.__kinto_kind__
            held = perms.loaded(held, stored, kind, stored.last_modified)
        state.permissions = held
    return held


def renewed(
    stored: Stored,
    answered: Mapping[str, list[str]] | None,
    as_of: int | None,
    *,
    keep: bool,
    sent: Access | None = None,
) -> Permissions | Mapping[str, list[str]] | None:
    """The permissions after an answer; an object that somebody may hold stays the same.

    Args:
        stored: The object.
        answered: What the answer says of them, if anything.
        as_of: The object's timestamp in it.
        keep: Keep what is not saved yet.
        sent: What went with the request; what was asked for since stays to be saved.
    """
    held = state_of(stored).permissions
    if not isinstance(held, Permissions):
        return answered
    fresh = perms.loaded(answered, stored, stored.__kinto_kind__, as_of)
    if sent is not None:
        held.settle(fresh, sent)
    elif keep:
        held.rebase(fresh)
    else:
        held.take(fresh)
    return held


def has_fetched_permissions(stored: Stored) -> bool:
    """Whether the server was asked for them."""
    held = state_of(stored).permissions
    return held.is_fetched if isinstance(held, Permissions) else held is not None


def has_pending_permissions(stored: Stored) -> bool:
    """Whether something about them is not saved yet."""
    held = state_of(stored).permissions
    return isinstance(held, Permissions) and held.is_changed


def wished_permissions(stored: Stored) -> Access | None:
    """What is to go with a creation, as it is now; None when nothing was said of it."""
    held = state_of(stored).permissions
    return held.snapshot() if isinstance(held, Permissions) else None


def wanted_permissions(stored: Stored) -> dict[str, list[str]]:
    """The sets that are to go with a creation."""
    wished = wished_permissions(stored)
    return {} if wished is None else wished.wanted()


# A write to which no answer came


def is_lost(error: BaseException) -> bool:
    """Whether a write that ended so may have been done, and nobody said so.

    An interrupt came while the answer was awaited; of all else it says itself.
    """
    return getattr(error, "lost", not isinstance(error, Exception))


class Doubting:
    """What ends this block without a clear answer is remembered by the object.

    Its next write then takes an equal value on the server for what it may be: its own.

    Args:
        stored: The object that is written.
    """

    __slots__ = ("_stored",)

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and is_lost(error):
            own_state(self._stored).doubt = True
            if not is_new(self._stored):
                _doubt_permissions(self._stored)


def _doubt_permissions(stored: Stored) -> None:
    """Keep in mind that the server may have the permissions that were on their way."""
    held = state_of(stored).permissions
    if isinstance(held, Permissions) and held.is_changed:
        held.lose(held.snapshot())
