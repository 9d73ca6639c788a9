"""Deleting an object: `DELETE` with `If-Match`."""

from __future__ import annotations

from dataclasses import dataclass

from kinto_orm._shown import Described
from kinto_orm.errors import BadReply, ConfigurationError, NotFound, ResponseError
from kinto_orm.models.asking import ask_about, path_of, place_of, require_id
from kinto_orm.models.conflicts import conflict_of
from kinto_orm.models.contents import name_of
from kinto_orm.models.state import Doubting, call_of, is_new, known_stamp, set_state, state_of
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request, if_match
from kinto_orm.wire.scope import Scope


@dataclass(frozen=True, slots=True, repr=False)
class Tombstone(Described):
    """What is left of a deleted object.

    Attributes:
        id: The object's id.
        last_modified: Milliseconds, when it was deleted; None when that is not known, because
            the object was gone already or the first answer was lost.
    """

    id: str
    last_modified: int | None


def deleting(
    stored: Stored, given: Scope | None, *, missing_ok: bool = False, force: bool = False
) -> Flow[Tombstone]:
    """Delete an object.

    Args:
        stored: The object.
        given: Where it lives; None: where it is known to live.
        missing_ok: Be content when it is gone already.
        force: Delete it without a precondition, whatever the server has.

    Raises:
        Conflict: It was changed by somebody else, or is gone; `unconfirmed` when an answer was
            lost, so that this call may have deleted it.
    """
    stored.__kinto_check_delete__()
    with Doubting(stored):
        place = yield from place_of(stored, given)
        refuse_unknown_object(stored, force=force)
        place = place.explaining(loaded=not is_new(stored))
        request = Request(
            "DELETE",
            path_of(stored, place),
            headers={} if force else if_match(stored.last_modified or 0),
            alone=stored.__kinto_kind__ != "record",
        )
        doing, known = f"delete {name_of(stored)} in {place.path}", known_stamp(stored)
        try:
            reply = yield from ask_about(type(stored), request, doing, place.parents)
        except NotFound as error:
            if missing_ok:
                return bury(stored, None)
            unconfirmed = error.lost or state_of(stored).doubt
            message = f"{error} It is gone already."
            raise conflict_of(stored, message, error, unconfirmed=unconfirmed) from error
        except ResponseError as error:
            if error.status != 412:
                raise
            raise conflict_of(stored, str(error), error, place) from error
        return bury(stored, _deleted_at(stored, reply, known, doing))


def refuse_unknown_object(stored: Stored, *, force: bool) -> None:
    """Refuse to delete what was never seen here, unless it is forced.

    Raises:
        ConfigurationError: It is new.
    """
    if is_new(stored) and not force:
        raise ConfigurationError(
            f"cannot delete {name_of(stored)}: it was never saved nor loaded here; get it first, "
            f"or call {call_of(stored, 'delete(force=True)')} to delete whatever the server has. "
            "Nothing was sent."
        )


def _deleted_at(stored: Stored, reply: Reply, known: int | None, doing: str) -> int:
    data = reply.object["data"]
    require_id(type(stored), reply, data, stored.id)
    reply.require(data.get("deleted") is True)
    when: int = data["last_modified"]
    if known is not None and when <= known:
        raise BadReply(
            f"cannot {doing}: the answer is of an earlier deletion; does a proxy or a cache repeat "
            "an old answer? Whether it was deleted is not known: "
            f"{call_of(stored, 'delete()')} again looks."
        )
    return when


def bury(stored: Stored, when: int | None) -> Tombstone:
    """Let an object know that it is gone.

    Args:
        stored: The object.
        when: Milliseconds; None when that is not known.
    """
    set_state(stored, state_of(stored).replaced(source=None, gone=True, permissions=None))
    return Tombstone(stored.id, when)
