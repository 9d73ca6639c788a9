"""What an object knows of its place and of what the server has, beside its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kinto_orm.models.loading import Source
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.stored import Stored
from kinto_orm.wire.scope import Scope


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
        "scope",
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
