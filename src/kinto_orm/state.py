"""What an object knows of its place and of what the server has, beside its fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from kinto_orm.loading import Kept, Source
from kinto_orm.permissions import Permissions

if TYPE_CHECKING:
    from kinto_orm.session import Session
    from kinto_orm.stored import Stored

# What the path or the server says; never sent as data.
NOT_DATA = frozenset({"id", "last_modified"})


class State:
    """Where an object lives and what the server has of it; objects of one page share one."""

    __slots__ = (
        "doubt",
        "gone",
        "known_id",
        "parent",
        "partial",
        "past",
        "permissions",
        "planned",
        "session",
        "shared",
        "source",
    )

    def __init__(
        self,
        session: Session | None,
        parent: str | None,
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
        self.session = session
        self.parent = parent
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


class Holder(BaseModel):
    """A model with room for a state: a slot costs nothing when objects are loaded."""

    __slots__ = ("__kinto_state__",)


_slot = Holder.__dict__["__kinto_state__"]
put_state: Callable[[Holder, State], None] = _slot.__set__
_read_state: Callable[[Holder, type], State] = _slot.__get__


def state_of(stored: Holder) -> State:
    """The state of an object; that of a new one is made here."""
    try:
        return _read_state(stored, Holder)
    except AttributeError:
        state = State(None, None, None)
        put_state(stored, state)
        return state


def set_state(stored: Holder, state: State) -> None:
    """Give an object a state."""
    put_state(stored, state)


def own_state(stored: Holder) -> State:
    """The state of an object, no longer shared with the others of its page."""
    state = state_of(stored)
    if state.shared:
        state = state.replaced()
        put_state(stored, state)
    return state


# Copies carry what the server has; others may then write under the id, too.


def copy_state(stored: Stored, made: Stored) -> None:
    """Give a copy the state of its original."""
    own_state(stored).known_id = True
    state = state_of(stored).replaced()
    if isinstance(state.permissions, Permissions):
        copied = Permissions()._restore(state.permissions._snapshot())
        state.permissions = made._bind_permissions(copied)
    put_state(made, state)


def pickled(stored: Stored) -> tuple[Any, ...]:
    """The state of an object, for pickle: without its session."""
    state = own_state(stored)
    state.known_id = True
    raw = None if state.source is None else state.source.raw(stored.id)
    dump = None if state.source is None else state.source.dump(stored.id)
    kept: Any = state.permissions
    if isinstance(kept, Permissions):
        kept = kept._snapshot()
    return state.parent, raw, dump, kept, state.partial, state.gone, state.doubt, state.past


def unpickled(stored: Stored, kept: tuple[Any, ...]) -> State:
    """The state that was pickled."""
    parent, raw, dump, permissions, partial, gone, doubt, past = kept
    written = None if dump is None else Kept(dumps={stored.id: dump})
    source = None if raw is None else Source(raws={stored.id: raw}, kept=written)
    if isinstance(permissions, tuple):
        permissions = stored._bind_permissions(Permissions()._restore(permissions))
    return State(
        None,
        parent,
        source,
        permissions=permissions,
        partial=partial,
        gone=gone,
        doubt=doubt,
        past=past,
        known_id=True,
    )
