"""The permissions that an object holds: not asked for, fetched, or wished."""

from __future__ import annotations

from collections.abc import Mapping

from kinto_orm.models import permissions as perms
from kinto_orm.models.access import Access
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.state import own_state, state_of
from kinto_orm.models.stored import Stored


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
