"""Saving an object: what is sent, what each answer means, and what becomes of the object.

New: `PUT` with `If-None-Match: *`. Changed: `PATCH` of the changed top-level fields with
`If-Match` (a JSON-Patch when fields are removed or permissions change). Forced: `PUT` without a
precondition, or with that of what was just seen. Nothing changed: nothing is sent.

A 412 says that somebody else was first, or that an earlier sending was this very write and its
answer was lost; `_after_412` and `_patch` decide which.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue

from kinto_orm.errors import (
    ConfigurationError,
    InvalidData,
    KintoError,
    NotFound,
    NotLoaded,
    ResponseError,
)
from kinto_orm.models.accepting import GONE, Written, accept, doing, looking
from kinto_orm.models.access import Access, JsonPatch
from kinto_orm.models.asking import ask_about, home_in, is_foreign, path_of, place_of, require_id
from kinto_orm.models.conflicts import conflict_of, existing_of
from kinto_orm.models.contents import Changes, dump_of, fits, name_of, raw_of, stamp
from kinto_orm.models.kinds import refuse_other_kind
from kinto_orm.models.linking import check_links
from kinto_orm.models.links import lead_elsewhere
from kinto_orm.models.loading import without
from kinto_orm.models.naming import names_of, refuse_reserved
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.permitting import pending_permissions, sending_permissions
from kinto_orm.models.pristine import adopt, changes_of, own_names, plan, settle_unchanged
from kinto_orm.models.readback import refuse_unreadable
from kinto_orm.models.state import (
    Doubting,
    State,
    bound,
    call_of,
    is_new,
    known_stamp,
    set_state,
    state_of,
    wished_permissions,
)
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.jsonvalues import as_stored, encode_dumped, has_name
from kinto_orm.wire.messages import JSON_PATCH, Request, if_match, if_none_match
from kinto_orm.wire.places import Place
from kinto_orm.wire.scope import Scope

Saved = Literal["created", "updated", "unchanged", "skipped"]


def saving(
    stored: Stored,
    given: Scope | None,
    *,
    force: bool = False,
    last_modified: int | None = None,
) -> Flow[Saved]:
    """Create an object, or send what changed.

    Args:
        stored: The object.
        given: Where to save it; an object that does not live there is created there. None: where
            it lives.
        force: Overwrite without a precondition, whatever the server has.
        last_modified: The timestamp to be stored, in milliseconds, instead of the server's own.

    Raises:
        Conflict: It exists already, was changed by somebody else, or is gone.
        InvalidData: The server refuses the data, or the library knows that it would.
    """
    refuse_partial(stored)
    stored.__kinto_check_save__(force=force)
    with Doubting(stored):
        if given is not None and (yield from is_foreign(stored, given)):
            asked = stamp_to_send(last_modified)
            return (yield from _move(stored, given, asked, force=force))
        place = yield from place_of(stored, given)
        asked = stamp_to_send(last_modified, None if force else stored.last_modified)
        yield from check_links(stored, place.scope)
        if force:
            saved = yield from put(stored, place, _if_seen(stored), asked)
            # A forced PUT leaves the permissions of what was there: they go by their difference.
            yield from sending_permissions(stored)
            return saved
        if state_of(stored).gone:
            raise conflict_of(
                stored,
                f"cannot save {name_of(stored)}: it was deleted. To create it again call "
                f"{call_of(stored, 'save(force=True)')}. Nothing was sent.",
            )
        if is_new(stored):
            return (yield from put(stored, place, if_none_match(), asked))
        return (yield from _update(stored, place, asked))


def _update(stored: Stored, place: Place, asked: Mapping[str, int]) -> Flow[Saved]:
    """Send what changed of an object that is there."""
    changes = changes_to_send(stored)
    pending = yield from pending_permissions(stored, place)
    if not changes and not pending and not asked:
        refuse_past(stored)
        if state_of(stored).doubt:
            yield from looking(stored, place)
        settle_unchanged(stored)
        return "unchanged"
    yield from _patch(stored, place, changes, pending, asked)
    return "updated"


def _move(stored: Stored, scope: Scope, asked: Mapping[str, int], *, force: bool) -> Flow[Saved]:
    """Create an object in a scope where it does not live; then it lives there.

    A copy is sent, so that what is known of the original stays true when this fails.
    """
    data = data_to_send(stored, own=force)
    moved = copy.copy(stored)
    plural = yield from plural_in(stored, scope)
    doubt = state_of(stored).doubt
    seen = state_of(stored).seen
    set_state(moved, State(scope, plural, None, known_id=True, doubt=doubt, seen=seen))
    place = yield from place_of(moved, scope)
    precondition = _if_seen(moved) if force else if_none_match()
    saved = yield from put(moved, place, precondition, asked, data)
    stamp(stored, moved.__dict__)
    adopt(stored, moved, frozenset())
    set_state(stored, state_of(moved))
    lead_elsewhere(stored, scope)
    return saved


def creating_again(
    stored: Stored,
    place: Place,
    last_modified: int | None = None,
    permissions: Permissions | None = None,
) -> Flow[Saved]:
    """Create an object that was there once, with all that is known of it (`PUT`).

    Args:
        stored: The object; the history shows it, or it was deleted since it was loaded.
        place: Where it was.
        last_modified: The timestamp to be stored, instead of the server's own.
        permissions: What it is to have; None for what the server gives to who creates.
    """
    yield from check_links(stored, place.scope)
    data = data_to_send(stored)
    asked = stamp_to_send(last_modified)
    held = bound(stored, permissions) if permissions is not None else None
    set_state(stored, State(place.scope, place.path, None, known_id=True, permissions=held))
    with Doubting(stored):
        return (yield from put(stored, place, if_none_match(), asked, data))


def plural_in(stored: Stored, scope: Scope) -> Flow[str | None]:
    """Where an object is to live in a scope that says no place for it: as it lives elsewhere."""
    homeless = (yield from home_in(type(stored), scope)) is None
    return state_of(stored).plural if homeless else None


# What is sent


def refuse_partial(stored: Stored) -> None:
    """Refuse to save an object of which only some fields are here.

    Raises:
        NotLoaded: It is one.
    """
    if state_of(stored).partial:
        raise NotLoaded(
            f"cannot save {name_of(stored)}: it was loaded with some fields only; call "
            f"{call_of(stored, 'refresh(keep_changes=True)')} first. Nothing was sent."
        )


def refuse_past(stored: Stored) -> None:
    """Refuse to save what the history gave, unchanged: that would bring nothing back.

    Raises:
        ConfigurationError: It is that.
    """
    if state_of(stored).past:
        raise ConfigurationError(
            f"cannot save {name_of(stored)}: it is how it was at a time. "
            f"{call_of(stored, 'revert(when)')} of the object brings that back; "
            f"{call_of(stored, 'copy_to()')} makes another object of it. Nothing was sent."
        )


def changes_to_send(stored: Stored) -> Changes:
    """What changed, to be saved.

    Raises:
        InvalidData: Something would not be read back as it is.
    """
    changes = changes_of(stored)
    refuse_other_kind(stored, changes.changed, raw_of(stored))
    refuse_unreadable(
        stored, changes.changed, changes.names, lambda: changes.applied_to(raw_of(stored))
    )
    plan(stored)
    return changes


def data_to_send(stored: Stored, *, own: bool = False) -> dict[str, JsonValue]:
    """All data for a PUT, with stored fields that the model leaves out of its dumps.

    With `own` it is as the model writes it, whatever form was stored of what means the same.

    Raises:
        InvalidData: Something would not be read back as it is.
    """
    data, raw = dump_of(stored), raw_of(stored)
    refuse_other_kind(stored, data, raw)
    if raw:
        changes = changes_of(stored, own_names(stored) if own else None)
        kept = {name: as_stored(value) for name, value in raw.items()}
        names = changes.names | (data.keys() - raw.keys())
        data = data | changes.applied_to(kept)
    else:
        names = set(data)
    refuse_reserved(type(stored), names & data.keys() if raw else data)
    refuse_unreadable(stored, data, names, lambda: data)
    plan(stored)
    return data


def stamp_to_send(last_modified: int | None, stored: int | None = None) -> dict[str, int]:
    """The timestamp to be stored, if one is asked for.

    Args:
        last_modified: What is asked for, in milliseconds.
        stored: What the object has.

    Raises:
        InvalidData: The server would not keep it.
    """
    if last_modified is None:
        return {}
    if type(last_modified) is not int or last_modified <= (stored or 0):
        raise InvalidData(
            f"last_modified={last_modified!r} would not be kept: it is a whole number of "
            f"milliseconds beyond {stored or 0}. Nothing was sent."
        )
    return {"last_modified": last_modified}


def _patch_request(stored: Stored, place: Place, changes: Changes, pending: JsonPatch) -> Request:
    path, headers = path_of(stored, place), if_match(stored.last_modified or 0)
    if not changes.removed and not pending:
        body = encode_dumped({"data": changes.changed}, name_of(stored))
        alone = stored.__kinto_kind__ != "record"
        return Request("PATCH", path, body=body, headers=headers, alone=alone)
    if not stored.__kinto_secrets__.isdisjoint(changes.changed):
        # Kinto hashes the password of a plain PATCH only: a JSON-Patch would store it as it is.
        raise InvalidData(
            f"save the permissions of {name_of(stored)} by themselves, then the password: the "
            "server does not take both at once. Nothing was sent."
        )
    headers["Content-Type"] = JSON_PATCH
    body = encode_dumped(changes.operations() + pending, name_of(stored))
    return Request("PATCH", path, body=body, headers=headers, alone=True)


# Sending it, and what each answer means


def put(
    stored: Stored,
    place: Place,
    precondition: dict[str, str],
    asked: Mapping[str, int],
    given: dict[str, JsonValue] | None = None,
) -> Flow[Saved]:
    """Store all of an object (`PUT`).

    Args:
        stored: The object.
        place: Where.
        precondition: That there is none yet, or nothing.
        asked: The timestamp to be stored, if one was asked for.
        given: Its data, when that is not what is to be sent of it now.
    """
    forced = "If-None-Match" not in precondition
    data = data_to_send(stored, own=forced) if given is None else given
    body: dict[str, Any] = {"data": {**data, **asked}}
    # Those of an object that is there are changed by their difference, never replaced.
    sent = wished_permissions(stored) if is_new(stored) else None
    wanted = sent.wanted() if sent else {}
    if wanted:
        body["permissions"] = wanted
    own = has_own_id(stored)
    seen, known = state_of(stored).seen, known_stamp(stored)
    # Each write gets a later timestamp than what was there.
    later = known if seen is None else max(known or 0, seen + 1)
    written = Written(place, data, data, later, own=own, access=sent)
    request = Request(
        "PUT",
        path_of(stored, place),
        body=encode_dumped(body, name_of(stored)),
        headers=precondition,
        alone=stored.__kinto_kind__ != "record",
    )
    try:
        reply = yield from ask_about(type(stored), request, doing(stored, place), place.parents)
    except ResponseError as error:
        if error.status != 412 or not precondition:
            name_fields(stored, error, data)
            raise
        told = str(error)
        if "If-None-Match" in precondition and not error.lost:
            told = f"{told} {_existing(stored)}"
        answer = yield from _after_412(stored, place, error, told, data, wanted)
    else:
        answer = reply.object
        require_id(type(stored), reply, answer["data"], stored.id)
        if "If-None-Match" not in precondition and reply.status != 201:
            accept(stored, written, answer)
            return "updated"
    accept(stored, written, answer)
    return "created"


def _if_seen(stored: Stored) -> dict[str, str]:
    """The precondition of a forced write: that there is what was seen, if anything was."""
    seen = state_of(stored).seen
    return {} if seen is None else if_match(seen)


def _existing(stored: Stored) -> str:
    """What to do where there is an object already."""
    update, replace = (
        call_of(stored, f"save({how})") for how in ('existing="update"', "force=True")
    )
    return f"To save over what is there, call {update}; {replace} replaces it."


def _after_412(
    stored: Stored,
    place: Place,
    error: ResponseError,
    told: str,
    data: Mapping[str, JsonValue],
    wanted: Mapping[str, list[str]],
) -> Flow[dict[str, Any]]:
    """What is there, if it is what this very creation made; the answer to it was lost.

    Only nobody else can have written under a random UUID that was made for this object.

    Raises:
        Conflict: Somebody else was first, or that cannot be told.
    """
    lost, same = _is_lost(stored, error), _shows(stored, error, data)
    if lost and same and has_own_id(stored):
        answer: dict[str, Any] | None = {"data": existing_of(stored, error)}
        if wanted:
            answer = yield from _what_is_there(stored, place, wanted)
        if answer is not None and fits(stored, answer["data"], data):
            return answer
    raise conflict_of(stored, told, error, place, unconfirmed=lost, same=same)


def _patch(
    stored: Stored,
    place: Place,
    changes: Changes,
    pending: Access | None,
    asked: Mapping[str, int],
) -> Flow[None]:
    """Send the difference (`PATCH`), if the server has what the object was."""
    expected = {**without(raw_of(stored), changes.removed), **changes.changed}
    request = _patch_request(
        stored, place, changes.with_stamp(asked), pending.patch() if pending else []
    )
    place = place.explaining(loaded=True)
    written = Written(
        place, changes.changed, expected, known_stamp(stored), changes.removed, access=pending
    )
    try:
        reply = yield from ask_about(type(stored), request, doing(stored, place), place.parents)
    except NotFound as error:
        raise conflict_of(stored, f"{error} {GONE}", error) from error
    except ResponseError as error:
        if error.status != 412:
            name_fields(stored, error, changes.changed)
            raise
        lost, same = _is_lost(stored, error), _shows(stored, error, expected)
        raise conflict_of(stored, str(error), error, place, unconfirmed=lost, same=same) from error
    answer = reply.object
    require_id(type(stored), reply, answer["data"], stored.id)
    accept(stored, written, answer)


def name_fields(stored: Stored, error: ResponseError, sent: Mapping[str, Any]) -> None:
    """Say of a refusal which fields of the model the names are that the server gives."""
    names = names_of(type(stored))
    for name in error.names if isinstance(error, InvalidData) else ():
        inside = [
            names[key] for key, value in sent.items() if key in names and has_name(value, name)
        ]
        if names.get(name, name) != name:
            error.args = (f"{error} {name!r} is what the field {names[name]!r} is stored as.",)
        elif name not in names and inside:
            error.args = (f"{error} {name!r} is inside of the field {' or '.join(inside)}.",)


def has_own_id(stored: Stored) -> bool:
    """Whether nobody else can write under this id: a random UUID that was made for it."""
    given = "id" in stored.__pydantic_fields_set__ or state_of(stored).known_id
    # A factory of the program may count, or make the same id from the same data.
    return is_new(stored) and not given and type(stored).__kinto_id_factory__ is None


def _is_lost(stored: Stored, error: ResponseError) -> bool:
    """Whether this very write may have been done before, by a sending whose answer was lost."""
    return error.lost or state_of(stored).doubt


def _shows(stored: Stored, error: ResponseError, expected: Mapping[str, JsonValue]) -> bool:
    """Whether a refusal shows that what was to be written is there."""
    existing = error.details.get("existing")
    return isinstance(existing, dict) and fits(stored, existing, expected)


def _what_is_there(
    stored: Stored, place: Place, wanted: Mapping[str, list[str]]
) -> Flow[dict[str, Any] | None]:
    """Fetch the object, if it has the permissions that were asked for with it (`GET`)."""
    request = Request("GET", path_of(stored, place))
    try:
        reply = yield from ask_about(type(stored), request, doing(stored, place), None)
    except KintoError as error:
        error.lost = True  # the answer to the creation was
        raise
    require_id(type(stored), reply, reply.object["data"], stored.id)
    there = reply.json.get("permissions") or {}
    has_all = all(set(who) <= set(there.get(name, ())) for name, who in wanted.items())
    return reply.json if has_all else None
