"""Conflicts: who changed what, and putting the two changes together."""

from __future__ import annotations

from typing import Any

from kinto_orm.changes import differing, unlike
from kinto_orm.errors import Conflict, InvalidData, ResponseError
from kinto_orm.permissions import Permissions, unknown, wished
from kinto_orm.pristine import reload
from kinto_orm.state import set_state, state_of
from kinto_orm.stored import Stored

_UNFIT = " The two changes do not fit the model together:"


def conflict_of(
    local: Stored,
    message: str,
    error: ResponseError | None = None,
    remote: Stored | None = None,
) -> Conflict:
    """The Conflict that an object met.

    Args:
        local: The object that was to be written.
        message: What was being done, and what the server said.
        error: The server's refusal; None when nothing was sent.
        remote: What the server has; None when it is gone.
    """
    conflict = Conflict(
        message,
        status=error.status if error else None,
        errno=error.errno if error else None,
        details=error.details if error else None,
        request=error.request if error else None,
    )
    conflict.local = local
    conflict.base = _base(local)
    conflict.remote = remote
    conflict._merger = _merge
    if remote is not None:
        conflict.fields = _contested(local, remote)
    return conflict


def _base(local: Stored) -> Stored | None:
    state = state_of(local)
    if state.source is None:
        return None
    pristine = local._pristine()
    set_state(pristine, state.replaced(permissions=None))
    return pristine


def _contested(local: Stored, remote: Stored) -> frozenset[str]:
    """The fields that both sides changed, to different values."""
    if local.is_new:
        mine, theirs = set(local._dump()), set(remote._dump())
    else:
        mine, theirs = local._changes().names, differing(local._pristine(), remote)
        # A default that each load makes anew was changed by nobody.
        theirs &= unlike(local._raw(), remote._raw())
    both = mine & theirs & differing(local, remote) - local.__kinto_server_made__
    names = local._python_names()
    return frozenset(names.get(name, name) for name in both)


def _merge(conflict: Conflict, prefer: str | None) -> Any:
    """Bring the local object up to date; see Conflict.merge."""
    local: Stored = conflict.local
    remote: Stored | None = conflict.remote
    if remote is None:
        if prefer != "local":
            raise conflict
        state = state_of(local).replaced(source=None, gone=False)
        if isinstance(state.permissions, Permissions):
            state.permissions = local._bind_permissions(wished(state.permissions))
        set_state(local, state)
        return local
    if conflict.fields and prefer is None:
        raise conflict
    mine = set(local._dump()) if local.is_new else local._changes().names
    names = local._python_names()
    lost = conflict.fields if prefer == "remote" else frozenset[str]()
    keep = frozenset(name for name in mine if names.get(name, name) not in lost)
    permissions = state_of(local).permissions
    try:
        reload(local, remote, state_of(remote).replaced(permissions=permissions), keep)
    except InvalidData as error:
        met = str(conflict).partition(_UNFIT)[0]
        conflict.args = (f"{met}{_UNFIT} {error} Nothing was changed.",)
        raise conflict from error
    if isinstance(permissions, Permissions):
        permissions._rebase(unknown(permissions._owner, local.__kinto_kind__))
    return local
