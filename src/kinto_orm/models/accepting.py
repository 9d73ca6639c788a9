"""What the answer to a write means, and where to look when none came.

An answer is believed only if it shows what was written, and is later than what was there before:
a proxy or a cache may repeat an old one, or mix two up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import JsonValue

from kinto_orm.errors import BadReply, InvalidData, NotFound, ResponseError
from kinto_orm.models.access import Access
from kinto_orm.models.asking import ask_about, path_of, require_id
from kinto_orm.models.conflicts import conflict_of
from kinto_orm.models.contents import (
    differing,
    dump_of,
    fits,
    name_of,
    raw_of,
    same_json,
    shows,
    stamp,
)
from kinto_orm.models.links import reach
from kinto_orm.models.loading import Source
from kinto_orm.models.pristine import changes_of, made_of, pristine_of, settle
from kinto_orm.models.state import (
    State,
    call_of,
    known_stamp,
    own_state,
    renewed,
    set_state,
    state_of,
)
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Request
from kinto_orm.wire.places import Place

GONE = (
    'It is gone: merge(prefer="local") makes it ready to be created again; to accept that it is '
    "gone, let go of the object."
)


class Written(NamedTuple):
    """A write as it was sent.

    Attributes:
        place: Where the object lives.
        sent: What was sent: all of it, or what changed.
        expected: What should be stored by now.
        known: The timestamp of what the server had when it was sent; None when that is not known.
        removed: What should be there no more.
        own: Whether nobody else can have written under the object's id.
        access: The permissions that went with it.
    """

    place: Place
    sent: Mapping[str, JsonValue]
    expected: Mapping[str, JsonValue]
    known: int | None
    removed: frozenset[str] = frozenset()
    own: bool = False
    access: Access | None = None


def doing(stored: Stored, place: Place) -> str:
    """How messages call a save."""
    return f"save {name_of(stored)} in {place.path}"


def accept(stored: Stored, written: Written, answer: Mapping[str, Any]) -> None:
    """Take what the server made of a write; equal values keep their identity.

    Args:
        stored: The object.
        written: What was sent.
        answer: `data` and perhaps `permissions`.

    Raises:
        BadReply: It does not show what was written.
        InvalidData: What the server made of it does not fit the model; the object is as it was.
    """
    raw = answer["data"]
    _refuse_other(stored, written, raw)
    if is_late(stored, written.known, raw["last_modified"]):
        return
    try:
        made = made_of(stored, raw, written.expected)
    except InvalidData as error:
        error.lost = True
        raise
    keep = frozenset[str]() if made is None else _changed_since(stored, written.expected)
    stamped = raw["last_modified"]
    permissions = renewed(
        stored, answer.get("permissions"), stamped, keep=True, sent=written.access
    )
    source = Source(raws={raw["id"]: raw})
    state = State(written.place.scope, written.place.path, source, permissions=permissions)
    state.planned = state_of(stored).planned
    # In this order: an interrupt between the two leaves a change that is sent once more.
    stamp(stored, raw)
    set_state(stored, state)
    settle(stored, raw, made, keep)
    reach([stored], state.scope)


def is_late(stored: Stored, known: int | None, answered: int) -> bool:
    """Whether an object knows something newer than an answer that was awaited meanwhile.

    Args:
        stored: The object.
        known: Its timestamp when the request was sent.
        answered: The one in the answer.
    """
    now = known_stamp(stored)
    return now is not None and now != known and answered < now


def looking(stored: Stored, place: Place) -> Flow[None]:
    """Find out what became of a write whose answer was lost, when nothing is left to be sent.

    Raises:
        Conflict: Unconfirmed: the server has something else than the object was, or nothing.
    """
    place = place.explaining(loaded=True)
    request = Request("GET", path_of(stored, place))
    try:
        reply = yield from ask_about(type(stored), request, doing(stored, place), place.parents)
    except NotFound as error:
        raise conflict_of(stored, f"{error} {GONE}", error, unconfirmed=True, same=False) from error
    raw = reply.object["data"]
    require_id(type(stored), reply, raw, stored.id)
    if raw["last_modified"] != stored.last_modified and not fits(stored, raw, raw_of(stored)):
        message = f"cannot {doing(stored, place)}: the server has something else by now."
        found = ResponseError(message, status=412, details={"existing": raw})
        raise conflict_of(stored, message, found, place, unconfirmed=True, same=False)
    state = own_state(stored)
    state.doubt = False
    kept = state.source.kept if state.source is not None else None
    state.source = Source(raws={raw["id"]: raw}, kept=kept)
    stamp(stored, raw)


def _changed_since(stored: Stored, expected: Mapping[str, JsonValue]) -> frozenset[str]:
    """The stored names of what was changed while a write was under way."""
    try:
        now = changes_of(stored).applied_to(raw_of(stored)) if raw_of(stored) else dump_of(stored)
    except InvalidData:
        return frozenset(differing(pristine_of(stored), stored))
    names = {*now, *expected} - stored.__kinto_server_made__
    return frozenset(name for name in names if not same_json(now.get(name), expected.get(name)))


def _refuse_other(stored: Stored, written: Written, raw: Mapping[str, Any]) -> None:
    """Refuse an answer that does not show the write: each write gets a later timestamp.

    A plugin of the server may have changed what was sent. That can be told from an answer to
    somebody else's write only where nobody else can have written, and no earlier answer was lost:
    that may come now, and is of what the object was then.

    Raises:
        BadReply: It is an old one, or another one's.
    """
    known, stamped = written.known or 0, raw["last_modified"]
    done = shows(stored, raw, written.sent) and written.removed.isdisjoint(raw)
    is_its_own = written.own and not state_of(stored).doubt
    if stamped < known or not (done or is_its_own):
        raise BadReply(
            f"cannot {doing(stored, written.place)}: the answer does not show what was written; "
            "does a proxy or a cache repeat an old answer, or mix answers up? Whether it was saved "
            f"is not known: {call_of(stored, 'save()')} again, or "
            f"{call_of(stored, 'refresh(keep_changes=True)')}, looks."
        )
