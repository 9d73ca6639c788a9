"""Conflicts: who changed what, and putting the two changes together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from kinto_orm.errors import BadReply, Conflict, InvalidData, ResponseError, sentence
from kinto_orm.models.asking import from_raw
from kinto_orm.models.contents import dump_of, raw_of
from kinto_orm.models.merging import Merged, Path, put_together
from kinto_orm.models.permissions import Permissions, unknown, wished
from kinto_orm.models.pristine import changes_of, pristine_of, reload
from kinto_orm.models.state import bound, is_new, known_stamp, set_state, state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.wire.messages import is_object
from kinto_orm.wire.places import Place

_CONTESTED = " Contested:"
# As many paths as a message names.
_NAMED = 5
_UNFIT = " The two changes do not fit the model together:"
_OTHER_CLASS = (
    "So the two cannot be merged: look at conflict.remote, which is what is there; the option "
    "force=True goes over it."
)
_SAME = (
    "An earlier answer was lost, so that this may be your own write, or somebody else wrote the "
    "same: nothing tells which. Look at the object, or go on from conflict.merge()."
)
_OTHER = (
    "An earlier answer was lost, so that your own write may have been done, and changed again by "
    "somebody else: nothing tells. Look at the object, or go on from conflict.merge()."
)


def conflict_of(
    local: Stored,
    message: str,
    error: ResponseError | None = None,
    place: Place | None = None,
    *,
    unconfirmed: bool = False,
    same: bool = True,
) -> Conflict:
    """What to raise when somebody else was first.

    Args:
        local: The object that was to be written.
        message: What was being done, and what the server said.
        error: The server's refusal, perhaps with the existing object; None when nothing was sent.
        place: Where that one lives; None where there is none.
        unconfirmed: An answer was lost: this very write may have been done.
        same: What is there is what was to be written.
    """
    if unconfirmed:
        message = f"{message} {_SAME if same else _OTHER}"
    conflict = _conflict(local, message, error)
    conflict.unconfirmed = conflict.lost = unconfirmed
    if place is not None and error is not None and "existing" in error.details:
        show(conflict, type(local), existing_of(local, error), place, in_hand=True)
        if conflict.unfit is None and not (unconfirmed and same):
            _tell(conflict, put_together(local, conflict.remote, _own_names(local)))
    return conflict


def show(
    conflict: Conflict,
    model: type[Stored],
    raw: Mapping[str, Any],
    place: Place,
    *,
    in_hand: bool = False,
) -> None:
    """Let a conflict show what is there: also what is of another kind, or does not fit the model.

    Args:
        conflict: It.
        model: The class by which it was written.
        raw: What is there.
        place: Where it lives.
        in_hand: There is an object of that very class, which cannot become one of another.
    """
    try:
        conflict.remote = from_raw(model, raw, place, in_hand=in_hand)
    except InvalidData as unfit:
        conflict.remote = _by_a_class_above(model, raw, place)
        conflict.unfit = conflict.__cause__ = unfit
        conflict.merger = None
        conflict.args = (f"{conflict} And {sentence(unfit)} {_OTHER_CLASS}",)


def _by_a_class_above(model: type[Stored], raw: Mapping[str, Any], place: Place) -> Stored | None:
    """What is there, by the nearest class that takes it: the last is a record of any fields."""
    for above in model.__mro__[1:]:
        if issubclass(above, Stored) and above.__kinto_kind__ == model.__kinto_kind__:
            # A program may make errors of warnings: that of an unknown kind must not hide this one.
            with suppress(InvalidData, UserWarning):
                return from_raw(above, raw, place)
    return None


def conflict_with(stored: Stored, message: str, place: Place) -> Conflict:
    """What to raise of an object that is there, as it was read, and should not be so.

    Args:
        stored: The object.
        message: What was being done.
        place: Where it lives.
    """
    own = {name: getattr(stored, name) for name in NOT_DATA}
    error = ResponseError(message, status=412, details={"existing": {**raw_of(stored), **own}})
    return conflict_of(stored, message, error, place)


def existing_of(local: Stored, error: ResponseError) -> dict[str, Any]:
    """What a refusal shows of the object that is there.

    Raises:
        BadReply: It shows none, or another one.
    """
    existing = error.details["existing"]
    same = is_object(existing) and (
        existing["id"] == local.id or local.id in local.__kinto_aliases__
    )
    if not same:
        raise BadReply(
            f"{error} But the object that it shows as existing is another one than was written, or "
            "none of a Kinto server; does a proxy or a cache mix answers up?"
        )
    return existing  # type: ignore[no-any-return]


def _conflict(local: Stored, message: str, error: ResponseError | None) -> Conflict:
    conflict = Conflict(
        message,
        status=error.status if error else None,
        errno=error.errno if error else None,
        details=error.details if error else None,
        request=error.request if error else None,
    )
    conflict.local = local
    conflict.base = _base(local)
    conflict.merger = partial(_merge, since=known_stamp(local))
    return conflict


def _base(local: Stored) -> Stored | None:
    state = state_of(local)
    if state.source is None:
        return None
    pristine = pristine_of(local)
    set_state(pristine, state.replaced(permissions=None))
    return pristine


def _tell(conflict: Conflict, merged: Merged) -> None:
    """Let a conflict know what both sides changed, and name the places in its message."""
    conflict.fields, conflict.contested = merged.fields, merged.clashes
    told = str(conflict).partition(_CONTESTED)[0].partition(_UNFIT)[0]
    conflict.args = (
        told
        + (f"{_CONTESTED} {_listed(conflict.local, merged.clashes)}." if merged.clashes else ""),
    )


def _listed(local: Stored, paths: Collection[Path]) -> str:
    veil = local.__kinto_veil__()
    shown = paths if veil is None else {veil.cut(path) for path in paths}
    names = sorted(".".join(path) for path in shown)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _own_names(local: Stored) -> set[str]:
    """The stored names of what an object has of its own."""
    return set(dump_of(local)) if is_new(local) else changes_of(local).names


def is_ahead_of(local: Stored, remote: Stored, since: int | None) -> bool:
    """Whether an object was brought up to date since, beyond what a conflict shows.

    A lower timestamp alone does not say that what is shown is older: an object may be deleted and
    created with another one, or the server be put back from a backup.

    Args:
        local: The object.
        remote: What the conflict shows.
        since: The timestamp that the object had then.
    """
    known = known_stamp(local)
    return known is not None and known != since and known > (remote.last_modified or 0)


def _merge(conflict: Conflict, prefer: Literal["local", "remote"] | None, since: int | None) -> Any:
    """Bring the local object up to date; see Conflict.merge."""
    local: Stored = conflict.local
    remote: Stored | None = conflict.remote
    if remote is None:
        if prefer != "local":
            raise conflict
        # Others knew it, too, and may create it again.
        state = state_of(local).replaced(source=None, gone=False, known_id=True)
        if isinstance(state.permissions, Permissions):
            state.permissions = bound(local, wished(state.permissions))
        set_state(local, state)
        return local
    if is_ahead_of(local, remote, since):
        return local  # another task of this program took something newer meanwhile
    merged = put_together(local, remote, _own_names(local), prefer)
    # It may have been changed since the conflict was met.
    _tell(conflict, merged)
    if merged.clashes and prefer is None:
        raise conflict
    permissions = state_of(local).permissions
    state = state_of(remote).replaced(permissions=permissions)
    try:
        reload(local, remote, state, merged.keep, merged.mixed)
    except InvalidData as error:
        conflict.args = (f"{conflict}{_UNFIT} {sentence(error)} Nothing was changed.",)
        raise conflict from error
    conflict.decided = merged.decided
    if isinstance(permissions, Permissions):
        permissions.rebase(unknown(local, local.__kinto_kind__))
    return local
