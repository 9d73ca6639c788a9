"""Key values as a tree: each root key is a record of the collection `kv`."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue
from starlette.responses import Response

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import Conflict, NotFound, PathError, sentence
from kinto_orm.kv import keypath
from kinto_orm.models.contents import same_json
from kinto_orm.models.record import Record
from kinto_orm.queries.conditions import field
from kinto_orm.queries.pager import Page
from kinto_orm.web.calls import Call
from kinto_orm.web.forms import Unreadable, loose, read_json
from kinto_orm.web.loaded import Data, data_of, first_page, raw, whatever
from kinto_orm.web.meeting import Target, merge, save, sealed, unsealed
from kinto_orm.web.pages import page, pretty
from kinto_orm.web.records import delete_shown
from kinto_orm.web.refusals import Refused

COLLECTION: Final = "kv"
_SIZE: Final = 50


def _scope(call: Call) -> AsyncSession:
    return call.session.scoped(bucket=call.named("bucket"), collection=COLLECTION)


def _target_of(call: Call, title: str = "") -> Target:
    id = call.named("id")
    path = call.at("buckets", call.named("bucket"), "keys", id)
    return Target(Record, _scope(call), id, path, title or id)


async def keys(call: Call) -> Response:
    """Show the root keys with what is below them."""
    prefix = call.asked("prefix")
    query = whatever(Record.find(session=_scope(call)).page_size(_SIZE))
    if prefix:
        query = query.where(field("key").like(f"{prefix.replace('*', '')}*"))
    try:
        found = await first_page(query.resume(call.asked("position") or None))
    except NotFound:
        found = Page[Record]([], None)  # the first key makes the collection
    rows = [(each.id, _key(raw(each)), raw(each).get("value")) for each in found]
    return page(call, "keys.html", rows=rows, position=found.position, prefix=prefix)


def _key(shown: Data) -> str:
    return str(shown.get("key", shown["id"]))


async def key(call: Call) -> Response:
    """Show a root key: as a tree, and as JSON to be changed."""
    shown = raw(await Record.aget(call.named("id"), session=_scope(call)))
    return _edited(call, shown, pretty(shown.get("value")))


def _edited(call: Call, shown: Data, text: str, wrong: str = "", status: int = 200) -> Response:
    target = _target_of(call, _key(shown))
    return page(
        call,
        "key.html",
        status,
        target=target,
        value=shown.get("value"),
        text=text,
        wrong=wrong,
        base=sealed(call, target, shown),
    )


async def save_key(call: Call) -> Response:
    """Save a root key's value, with its precondition."""
    target = _target_of(call)
    shown, text = unsealed(call, target), call.form.get("json")
    try:
        value = read_json(text)
    except Unreadable as error:
        return _edited(call, shown, text, f"Nothing was saved: {error}.", 422)
    return await save(call, target, shown, data_of(Record, shown) | {"value": value})


async def merge_key(call: Call) -> Response:
    """Save what was chosen on the page of a conflict."""
    return await merge(call, _target_of(call))


async def set_key(call: Call) -> Response:
    """Store a value under a new path; what is there already is left as it is."""
    path, value = call.form.get("path").strip(), _written(call)
    scope = call.session.scoped(bucket=call.named("bucket"))
    try:
        id = keypath.record_id(keypath.parse(path)[0])
        if not same_json(await scope.kv.setdefault(path, value), value):
            raise Conflict(f"there is a value at {path} already")
    except PathError as error:
        raise Refused(
            422,
            "This is no key path",
            f"{sentence(error)} Write one such as nginx/port, without quotes.",
        ) from error
    except Conflict as error:
        raise Refused(
            409, "There is a value already", "Nothing was changed. Open the key, and change it."
        ) from error
    call.visit.tell(f"Stored: {path}.")
    return call.goto(call.at("buckets", call.named("bucket"), "keys", id))


def _written(call: Call) -> JsonValue:
    try:
        return loose(call.form.get("new"))
    except Unreadable as error:
        raise Refused(422, "This cannot be stored", f"{error}.") from error


async def delete_key(call: Call) -> Response:
    """Delete a root key with all below it, if it is as it was shown."""
    await delete_shown(call, _target_of(call))
    call.visit.tell("Deleted. The history still has it.")
    return call.goto(call.at("buckets", call.named("bucket"), "keys"))
