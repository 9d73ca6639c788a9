"""Changing an object without having it: `PATCH` of some fields; or get, change, save, again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError

from kinto_orm.errors import BadReply, Conflict, InvalidData, ResponseError, sentence
from kinto_orm.models.asking import ask_about, home_of, loaded, require_id
from kinto_orm.models.assigning import Assignment
from kinto_orm.models.conflicts import show
from kinto_orm.models.contents import dump_of, name_of, shows
from kinto_orm.models.hooks import calling_after, refuse_coroutines
from kinto_orm.models.kinds import kinds_of
from kinto_orm.models.linking import check_links
from kinto_orm.models.loading import without
from kinto_orm.models.naming import names_of, refuse_reserved
from kinto_orm.models.readback import refuse_unreadable_alone
from kinto_orm.models.saving import name_fields
from kinto_orm.models.stored import Stored
from kinto_orm.wire.clock import race_pause
from kinto_orm.wire.flows import ANEW, Flow, Pause, calling
from kinto_orm.wire.jsonvalues import encode_dumped
from kinto_orm.wire.messages import Reply, Request, if_match, is_object
from kinto_orm.wire.places import Place
from kinto_orm.wire.scope import Scope, called

S = TypeVar("S", bound=Stored)

# How often a patch is tried again that somebody else's write came before.
_TIMES = 10


def patching(
    model: type[S],
    scope: Scope,
    title: str,
    values: Mapping[str, object],
    stamp: int | None,
) -> Flow[S]:
    """Set some fields of an object that was not loaded (`PATCH`); the object as it is then.

    Args:
        model: Its class.
        scope: Where the class does not say where it is, this says.
        title: By which the class gets its objects: the name of a template, else the id.
        values: The new values, by any name that a constructor takes.
        stamp: Its timestamp, if it must not have changed since; else None.

    Raises:
        NotFound: There is none.
        Conflict: It has another timestamp.
        InvalidData: It is of another class, of several kinds.
    """
    bare = Assignment(model, values).alone(model, model.__kinto_id_of__(title))
    bare.__dict__[model.__kinto_title__] = title
    data = _data_of(bare)
    scope.require_kinto(f"patch {name_of(bare)}")
    refuse_coroutines(model, scope, ("after_save",))
    place = (yield from home_of(model, scope)).explaining()
    bare.__kinto_check_place__()
    yield from check_links(bare, place.scope)
    kinds = kinds_of(model)
    looks = kinds is not None and kinds.is_told(model, data)
    reply = yield from (_look_and_send if looks else _send)(bare, place, data, stamp)
    try:
        found = loaded(model, reply, place, bare.id)
    except InvalidData as error:
        raise _done_all_the_same(bare, data, reply, error) from error
    yield from calling_after(found, "after_save", "saved")
    return found


def _look_and_send(
    bare: Stored, place: Place, data: Mapping[str, JsonValue], stamp: int | None
) -> Flow[Reply]:
    """Send the values to an object of the right kind (`GET`, then `PATCH` with `If-Match`).

    Where no timestamp was asked for it is done again when somebody else wrote meanwhile.

    Raises:
        InvalidData: It is of another class; nothing is written.
    """
    for attempt in range(_TIMES + 1):
        began = time.monotonic()
        raw = yield from _looking(bare, place, data)
        try:
            return (yield from _send(bare, place, data, stamp or raw["last_modified"]))
        except Conflict:
            if stamp is not None or attempt == _TIMES:
                raise
        yield Pause(race_pause(attempt, began))
        yield ANEW
    raise AssertionError


def _looking(bare: Stored, place: Place, data: Mapping[str, JsonValue]) -> Flow[Mapping[str, Any]]:
    """Look which kind of object there is (`GET`).

    Raises:
        InvalidData: It is of another class.
    """
    model, doing = type(bare), f"patch {name_of(bare)} in {place.path}"
    request = Request("GET", place.of(bare.id, model.__kinto_kind__))
    reply = yield from ask_about(model, request, doing, place.parents)
    raw: Mapping[str, Any] = reply.object["data"]
    require_id(model, reply, raw, bare.id)
    try:
        model.__kinto_kinds__.refuse_part(model, raw, data)
    except InvalidData as error:
        error.args = (f"cannot patch {name_of(bare)}: {sentence(error)} Nothing was written.",)
        raise
    return raw


def _done_all_the_same(
    bare: Stored, sent: Mapping[str, JsonValue], reply: Reply, unfit: InvalidData
) -> InvalidData:
    """What to raise when the server has done it, and what it has now does not fit the model."""
    names = names_of(type(bare))
    fields = ", ".join(names.get(name, name) for name in sent)
    now = without(reply.object["data"], bare.__kinto_secrets__)
    error = InvalidData(
        f"{name_of(bare)} was patched, and what the server has now does not fit the model. Stored "
        f"are the given {fields}, at last_modified {now['last_modified']}; "
        "error.details['existing'] has all of it. Patch it back to what fits. modify() instead of "
        f"patch() checks the whole object before it is sent. What does not fit: {unfit}",
        status=unfit.status,
        details={"existing": now},
    )
    error.lost = True
    return error


def _send(
    bare: Stored, place: Place, data: Mapping[str, JsonValue], stamp: int | None
) -> Flow[Reply]:
    """Send the values (`PATCH`); the answer, if it shows them.

    Raises:
        Conflict: The object has another timestamp.
        BadReply: It shows something else, or is of an earlier time.
    """
    model, doing = type(bare), f"patch {name_of(bare)} in {place.path}"
    request = Request(
        "PATCH",
        place.of(bare.id, model.__kinto_kind__),
        body=encode_dumped({"data": data}, name_of(bare)),
        headers={} if stamp is None else if_match(stamp),
        alone=model.__kinto_kind__ != "record",
    )
    try:
        reply = yield from ask_about(model, request, doing, place.parents)
    except ResponseError as error:
        name_fields(bare, error, data)
        if error.status == 412:
            _refuse(bare, place, error)
        raise
    raw = reply.object["data"]
    if not shows(bare, raw, data) or raw["last_modified"] < (stamp or 0):
        raise BadReply(
            f"cannot {doing}: the answer does not show what was written; does a proxy or a cache "
            "repeat an old answer, or mix answers up? Whether it was done is not known: "
            f"{called('get()', place.scope)} looks"
        )
    return reply


def _data_of(bare: Stored) -> dict[str, JsonValue]:
    """What is sent of an object that has some values only.

    Raises:
        InvalidData: It cannot be sent, or would not be read back.
    """
    bare.__kinto_check_save__(force=False)
    try:
        data = without(dump_of(bare), (bare.__kinto_title__,))
    except (AttributeError, KeyError, PydanticSerializationError) as error:
        raise InvalidData(
            f"{name_of(bare)} cannot be written without its other fields ({error}): use modify(). "
            "Nothing was sent."
        ) from error
    names = names_of(type(bare))
    missing = bare.__pydantic_fields_set__ - {"id"} - {names.get(name, name) for name in data}
    for name in sorted(missing):
        raise InvalidData(
            f"{type(bare).__name__}.{name} is left out of what is written (exclude=True): it "
            "cannot be patched. Nothing was sent."
        )
    refuse_reserved(type(bare), data)
    refuse_unreadable_alone(bare, data)
    return data


def _refuse(bare: Stored, place: Place, error: ResponseError) -> NoReturn:
    """Raise the Conflict that a 412 means; there is no local object, so that nothing is merged.

    Raises:
        Conflict: Always.
    """
    conflict = Conflict(
        f"{error} It changed since the timestamp in if_match.",
        status=error.status,
        errno=error.errno,
        details=error.details,
        request=error.request,
    )
    conflict.unconfirmed = conflict.lost = error.lost
    existing = error.details.get("existing")
    if is_object(existing) and existing["id"] == bare.id:
        show(conflict, type(bare), existing, place)
    raise conflict from conflict.unfit or error


def modifying(
    model: type[S], scope: Scope, title: str, function: Callable[[S], Any], times: int
) -> Flow[S]:
    """Get an object, let a function change it, and save it; again when somebody else was first.

    Args:
        model: Its class.
        scope: Where the class does not say where it is, this says.
        title: By which the class gets its objects.
        function: Is given the object; may be a coroutine function.
        times: How often to do it again.

    Raises:
        Conflict: The last one; an unconfirmed one at once.
    """
    what = f"{getattr(function, '__name__', repr(function))}()"
    for attempt in range(times + 1):
        began = time.monotonic()
        found = yield from model.__kinto_get__(scope, title)
        _refuse_other(found, (yield from calling(function, what, found)), what)
        try:
            yield from found.__kinto_save__(None)
        except Conflict as conflict:
            is_own = conflict.local is found and not conflict.of_hook
            if conflict.unconfirmed or not is_own or attempt == times:
                raise
        else:
            return found
        yield Pause(race_pause(attempt, began))
        yield ANEW
    raise AssertionError


def _refuse_other(found: Stored, given: object, what: str) -> None:
    """Refuse a function that gave another object, whose changes nobody would save.

    Raises:
        TypeError: It is one.
    """
    if isinstance(given, Stored) and given is not found:
        raise TypeError(
            f"{what} gave another object than it was given: modify() saves the one that it gives "
            "to the function, so change that. Nothing was saved."
        )
