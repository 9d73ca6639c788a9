"""One record: as a form by its schema, and as JSON."""

from __future__ import annotations

from starlette.responses import Response

from kinto_orm.errors import Conflict, InvalidData, NotFound
from kinto_orm.models.record import Record
from kinto_orm.models.structure import Collection
from kinto_orm.web.calls import Call
from kinto_orm.web.forms import Field, Unreadable, fields_of, read_fields, read_object
from kinto_orm.web.loaded import Data, data_of, raw
from kinto_orm.web.meeting import Target, made, merge, save, sealed, unsealed
from kinto_orm.web.pages import page, pretty
from kinto_orm.web.shapes import Shape, shapes_of

_REFUSED = "The server did not take it: "


def target_of(call: Call) -> Target:
    """The record that the path names."""
    bucket, collection, id = (call.named(each) for each in ("bucket", "collection", "id"))
    path = call.at("buckets", bucket, "collections", collection, "records", id)
    return Target(Record, call.scope(), id, path, id)


async def shapes(call: Call) -> dict[str, Shape]:
    """What the collection's schema says; nothing where it cannot be read."""
    try:
        found = await Collection.aget(call.named("collection"), session=call.scope())
    except NotFound:
        return {}
    return shapes_of(found.json_schema)


async def record(call: Call) -> Response:
    """Show a record to be read and changed."""
    stored = await Record.aget(call.named("id"), session=call.scope())
    shown = raw(stored)
    fields = fields_of(await shapes(call), data_of(Record, shown))
    return edited(call, target_of(call), shown, fields, pretty(data_of(Record, shown)))


def edited(
    call: Call,
    target: Target,
    shown: Data,
    fields: list[Field],
    text: str,
    *,
    wrong: str = "",
    status: int = 200,
) -> Response:
    """The page of a record, as it is or as it was filled in."""
    by_json = call.asked("as") == "json" or call.form.has("json")
    return page(
        call,
        "record.html",
        status,
        target=target,
        shown=shown,
        fields=fields,
        text=text,
        by_json=by_json,
        wrong=wrong,
        base=sealed(call, target, shown),
    )


async def save_record(call: Call) -> Response:
    """Save a record with its precondition."""
    target = target_of(call)
    shown = unsealed(call, target)
    data = data_of(Record, shown)
    fields = fields_of(await shapes(call), data)
    wanted, wrong = _filled_in(call, fields, data)
    text = call.form.get("json", pretty(data))
    if wanted is None:
        return edited(call, target, shown, fields, text, wrong=wrong, status=422)
    try:
        return await save(call, target, shown, wanted)
    except InvalidData as error:
        said = _REFUSED + str(error)
        return edited(call, target, shown, fields, text, wrong=said, status=422)


def _filled_in(call: Call, fields: list[Field], before: Data) -> tuple[Data | None, str]:
    """What was filled in, or what is wrong with it."""
    if not call.form.has("json"):
        found = read_fields(fields, call.form, before)
        return found, "" if found is not None else "Nothing was saved: correct the fields below."
    try:
        return data_of(Record, read_object(call.form.get("json"))), ""
    except Unreadable as error:
        return None, f"Nothing was saved: {error}."


async def merge_record(call: Call) -> Response:
    """Save what was chosen on the page of a conflict."""
    return await merge(call, target_of(call))


async def new_record(call: Call) -> Response:
    """Show an empty form."""
    return _empty(call, fields_of(await shapes(call), {}), "{\n}")


def _empty(
    call: Call, fields: list[Field], text: str, *, wrong: str = "", status: int = 200
) -> Response:
    by_json = call.asked("as") == "json" or call.form.has("json")
    given = {"fields": fields, "text": text, "wrong": wrong, "by_json": by_json}
    return page(call, "new.html", status, id=call.form.get("id"), **given)


async def create_record(call: Call) -> Response:
    """Create a record; its id is made here where none is given."""
    fields = fields_of(await shapes(call), {})
    wanted, wrong = _filled_in(call, fields, {})
    text = call.form.get("json", "{\n}")
    if wanted is None:
        return _empty(call, fields, text, wrong=wrong, status=422)
    try:
        new = made(Record, call.form.get("id").strip() or Record().id, wanted)
        await new.asave(session=call.scope())
    except (InvalidData, Conflict) as error:
        status = 409 if isinstance(error, Conflict) else 422
        return _empty(call, fields, text, wrong=_REFUSED + str(error), status=status)
    call.visit.tell("Created.")
    named = call.request.path_params
    return call.goto(
        call.at("buckets", named["bucket"], "collections", named["collection"], "records", new.id)
    )


async def delete_record(call: Call) -> Response:
    """Delete a record, if it is as it was shown."""
    target = target_of(call)
    await delete_shown(call, target)
    call.visit.tell(f"Deleted: {target.title}. The history still has it.")
    return call.goto(call.at(*_above(call)))


async def delete_shown(call: Call, target: Target) -> None:
    """Delete an object, if it is as it was shown.

    Raises:
        Conflict: Somebody changed it since.
    """
    from kinto_orm.web.loaded import as_shown

    stored = await as_shown(target.model, unsealed(call, target), target.scope)
    await stored.adelete()


def _above(call: Call) -> tuple[str, ...]:
    return ("buckets", call.named("bucket"), "collections", call.named("collection"))
