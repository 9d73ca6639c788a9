"""Reading and changing the permissions of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kinto_orm.errors import (
    BadReply,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidData,
)
from kinto_orm.models import permissions as perms
from kinto_orm.models.access import Access, JsonPatch
from kinto_orm.models.asking import ask_about, path_of, place_of, require_id
from kinto_orm.models.conflicts import conflict_of
from kinto_orm.models.contents import fits, name_of, raw_of, stamp
from kinto_orm.models.loading import Source
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.state import call_of, is_lost, is_new, own_state, permissions_of, state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.jsonvalues import encode
from kinto_orm.wire.messages import JSON_PATCH, Request, if_match
from kinto_orm.wire.places import Place
from kinto_orm.wire.scope import Scope

_ATTEMPTS = 5


def fetching_permissions(stored: Stored) -> Flow[Permissions]:
    """Read the permissions of an object (`GET`)."""
    place = yield from place_of(stored, None)
    return (yield from _fetch(stored, place))


def sending_permissions(
    stored: Stored, permissions: Permissions | None = None, given: Scope | None = None
) -> Flow[None]:
    """Send the difference (`PATCH`, JSON-Patch), without a precondition.

    What is asked for while it is sent stays to be saved.

    When somebody else took one of the principals away meanwhile, the server refuses the whole
    patch; then it is made anew from what the server has.

    Args:
        stored: The object.
        permissions: What it is to have; None for what it holds.
        given: Where it lives; None: where it is known to live.

    Raises:
        ConfigurationError: It lives elsewhere.
        Conflict: They keep changing.
        Forbidden: The server does not show them, so that nothing can be taken away.
    """
    wanted = permissions_of(stored) if permissions is None else permissions
    if not wanted.is_changed:
        return
    place = yield from place_of(stored, given)
    for _ in range(_ATTEMPTS):
        sent = yield from _to_send(stored, place, wanted)
        patch, guard = sent.patch(), sent.opened_since
        if not patch:
            return
        headers = {"Content-Type": JSON_PATCH} | (if_match(guard) if guard else {})
        try:
            known = stored.last_modified or 0
            fresh = yield from _patch(stored, place, patch, headers)
            _refuse_old(stored, fresh.snapshot(), sent, known)
            wanted.settle(fresh, sent)
            return
        except BaseException as error:
            if is_lost(error):
                wanted.lose(sent)
            if not _may_be_made_anew(error, patch):
                raise
            wanted.rebase((yield from _fetch(stored, place)), sent)
    conflict = conflict_of(
        stored, f"the permissions of {name_of(stored)} keep changing: save them again"
    )
    conflict.merger = None  # it is there; only its permissions were to be written
    raise conflict


def _may_be_made_anew(error: BaseException, patch: JsonPatch) -> bool:
    """Whether a patch was refused because others changed what it goes by."""
    removes = any(operation["op"] == "remove" for operation in patch)
    return isinstance(error, Conflict) or (isinstance(error, InvalidData) and removes)


def _refuse_old(stored: Stored, answered: Access, sent: Access, known: int) -> None:
    """Refuse an answer that is no newer than the object was, and does not show what was asked.

    Raises:
        BadReply: A proxy or a cache repeats an old one.
    """
    sets, shown = answered.sets, answered.stored is not None
    done = not shown or all(
        added <= sets.get(name, set()) and (name == "write" or not removed & sets.get(name, set()))
        for name, (added, removed) in sent.difference().items()
    )
    old = answered.as_of is not None and answered.as_of <= known
    if old and (not done or answered.as_of != known):
        raise BadReply(
            f"cannot save the permissions of {name_of(stored)}: the answer shows them as they were "
            "before; does a proxy or a cache repeat an old answer? Whether they were saved is not "
            f"known: {call_of(stored, 'permissions.save()')} looks."
        )


def clearing_permissions(stored: Stored) -> Flow[None]:
    """Empty every list (`PATCH`); the server keeps the one who asks in `write`.

    What was not saved yet is dropped; what is asked for while this is sent stays to be saved.
    """
    place = yield from place_of(stored, None)
    names = sorted(perms.BY_KIND[stored.__kinto_kind__])
    body: dict[str, Any] = {"permissions": {name: [] for name in names}}
    held = permissions_of(stored)
    sent = held.snapshot()
    held.settle((yield from _patch(stored, place, body, {})), sent)


def pending_permissions(stored: Stored, place: Place) -> Flow[Access | None]:
    """What is to go with a change of an object; None when that is nothing."""
    held = state_of(stored).permissions
    if not isinstance(held, Permissions):
        return None
    sent = yield from _to_send(stored, place, held)
    return sent if sent.patch() else None


def _to_send(stored: Stored, place: Place, permissions: Permissions) -> Flow[Access]:
    """How they are now; what the server has is fetched when it is not known."""
    now = permissions.snapshot()
    if now.is_blind:
        permissions.rebase((yield from _fetch(stored, place)), now.lost)
    sent = permissions.snapshot()
    if sent.is_changed and not sent.patch():
        raise Forbidden(
            f"cannot save the permissions of {name_of(stored)}: the server shows them only to "
            "those who may write it. Nothing was sent.",
            status=403,
        )
    return sent


def _fetch(stored: Stored, place: Place) -> Flow[Permissions]:
    return (yield from _ask(stored, place, Request("GET", path_of(stored, place)), "read"))


def _patch(
    stored: Stored, place: Place, body: Any, headers: Mapping[str, str]
) -> Flow[Permissions]:
    if is_new(stored):
        raise ConfigurationError(
            f"cannot save the permissions of {name_of(stored)}: save the object itself first; "
            "its permissions go with it. Nothing was sent."
        )
    content = encode(body, f"the permissions of {name_of(stored)}")
    request = Request(
        "PATCH", path_of(stored, place), body=content, headers=dict(headers), alone=True
    )
    return (yield from _ask(stored, place, request, "save"))


def _ask(stored: Stored, place: Place, request: Request, verb: str) -> Flow[Permissions]:
    doing = f"{verb} the permissions of {name_of(stored)} in {place.path}"
    parents = place.explaining(loaded=not is_new(stored)).parents
    reply = yield from ask_about(type(stored), request, doing, parents)
    raw = reply.object["data"]
    require_id(type(stored), reply, raw, stored.id)
    _bump(stored, raw)
    there = reply.json.get("permissions") or {}
    return perms.loaded(there, stored, stored.__kinto_kind__, raw["last_modified"])


def _bump(stored: Stored, raw: dict[str, Any]) -> None:
    """Take a newer timestamp, if the data is still what it was when it was loaded.

    Otherwise the old one stays, so that the next save meets the conflict that there is.
    """
    state = own_state(stored)
    known = raw_of(stored)
    newer = raw["last_modified"] > (stored.last_modified or 0)
    if state.source is None or not newer or not fits(stored, raw, known):
        return
    new = {name: raw[name] for name in NOT_DATA}
    state.source = Source(raws={raw["id"]: known | new}, kept=state.source.kept)
    stamp(stored, raw)
