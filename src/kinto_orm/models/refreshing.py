"""Refreshing an object: `GET` with `If-None-Match`."""

from __future__ import annotations

from typing import Any, TypeVar

from kinto_orm.errors import InvalidData, sentence
from kinto_orm.models.accepting import is_late
from kinto_orm.models.asking import ask_about, loaded, path_of, place_of
from kinto_orm.models.contents import name_of
from kinto_orm.models.merging import put_together
from kinto_orm.models.pristine import reload, restore, unsaved
from kinto_orm.models.state import (
    State,
    call_of,
    has_fetched_permissions,
    has_pending_permissions,
    is_new,
    known_stamp,
    own_state,
    renewed,
    state_of,
    wished_permissions,
)
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Request, if_none_match
from kinto_orm.wire.scope import Scope

S = TypeVar("S", bound=Stored)


def refreshing(
    stored: S, given: Scope | None, *, keep_changes: bool = False, whole: bool = False
) -> Flow[S]:
    """Take the server's state.

    Args:
        stored: The object.
        given: Where it lives; None: where it is known to live.
        keep_changes: Keep what is not saved yet; the other fields become the server's.
        whole: Ask for all of it, changed or not: one 304 turns a whole batch into a 500.

    Raises:
        NotFound: It is gone.
        InvalidData: What is kept does not fit the server's state; then nothing has changed.
    """
    place = yield from place_of(stored, given)
    place = place.explaining(loaded=not is_new(stored))
    headers = {} if whole else _precondition(stored, keep_changes=keep_changes)
    known, asked = known_stamp(stored), wished_permissions(stored)
    request = Request("GET", path_of(stored, place), headers=headers)
    doing = f"refresh {name_of(stored)} in {place.path}"
    reply = yield from ask_about(type(stored), request, doing, place.parents)
    # What was changed while it was awaited is kept, too.
    keep = unsaved(stored) if keep_changes else frozenset[str]()
    if reply.status == 304 and headers:
        restore(stored, keep)
        return stored
    fresh = loaded(type(stored), reply, place, stored.id, in_hand=True)
    if is_late(stored, known, fresh.last_modified or 0):
        return stored
    state = state_of(fresh)
    answered: Any = state.permissions
    become(stored, fresh, state.replaced(permissions=state_of(stored).permissions), keep)
    # What was granted and revoked while it was awaited is kept, whatever becomes of the rest.
    keeps, since = keep_changes or asked is None, None if keep_changes else asked
    permissions = renewed(stored, answered, stored.last_modified, keep=keeps, sent=since)
    own_state(stored).permissions = permissions
    return stored


def _precondition(stored: Stored, *, keep_changes: bool) -> dict[str, str]:
    """That the server has something newer, where nothing else would change by a refresh."""
    state = state_of(stored)
    known = state.source is not None and not state.partial and stored.last_modified
    pending = not keep_changes and has_pending_permissions(stored)
    current = known and has_fetched_permissions(stored) and not pending
    return if_none_match(stored.last_modified) if current else {}


def become(stored: S, fresh: S, state: State, keep: frozenset[str]) -> None:
    """Become what the server has, but for what was changed of the stored names in `keep`.

    Of an object or a set that both changed the two changes are put together.

    Raises:
        InvalidData: Both together do not fit the model.
    """
    merged = put_together(stored, fresh, keep, "local") if keep else None
    mixed = merged.mixed if merged else None
    try:
        reload(stored, fresh, state, merged.keep if merged else keep, mixed)
    except InvalidData as error:
        raise InvalidData(
            f"cannot refresh {name_of(stored)}: what the server has and what is not saved yet do "
            f"not fit together: {sentence(error)} The object is as it was: "
            f"{call_of(stored, 'refresh()')} without keep_changes drops what is not saved."
        ) from error
