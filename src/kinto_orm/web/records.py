"""One record: as a form by its schema, and as JSON."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from kinto_orm.errors import Conflict, Forbidden, InvalidData, NotFound, Unauthorized
from kinto_orm.models.record import Record
from kinto_orm.models.structure import Collection
from kinto_orm.web.calls import MOST_BYTES, MOST_FIELDS, Call
from kinto_orm.web.forms import OWN, Field, Unreadable, fields_of, read_fields, read_object
from kinto_orm.web.loaded import Data, data_of, raw
from kinto_orm.web.meeting import Target, made, merge, opened, save, sealed, unsealed
from kinto_orm.web.pages import page, pretty
from kinto_orm.web.shapes import Shape, shapes_of

Shapes = dict[str, Shape]

# Each has two controls.
_MOST_FIELDS = MOST_FIELDS // 3
_REFUSED = "The server did not take it: "


def target_of(call: Call) -> Target:
    """The record that the path names."""
    bucket, collection, id = (call.named(each) for each in ("bucket", "collection", "id"))
    path = call.at("buckets", bucket, "collections", collection, "records", id)
    return Target(Record, call.scope(), id, path, id)


async def shapes(call: Call) -> Shapes:
    """What the collection's schema says; nothing where it cannot be read."""
    try:
        found = await Collection.aget(call.named("collection"), session=call.scope())
    except (NotFound, Forbidden):
        return {}  # a record may be shared without its collection
    except Unauthorized:
        if call.visit.principal is not None:
            raise
        return {}
    return shapes_of(found.json_schema)


def _sealed_shapes(call: Call, found: Shapes) -> str:
    """What a form carries of its controls: the schema may be another one when it comes back."""
    return call.site.seal.close(
        {"of": call.path, "shapes": {name: asdict(each) for name, each in found.items()}}
    )


def _shown_shapes(call: Call) -> Shapes:
    """The shapes with which the form was made that was sent.

    Raises:
        Refused: They were changed, or are of another form.
    """
    found = opened(call, "shapes", call.path)["shapes"]
    return {name: Shape(**each) for name, each in found.items()}


async def record(call: Call) -> Response:
    """Show a record to be read and changed."""
    stored = await Record.aget(call.named("id"), session=call.scope())
    shown, found = raw(stored), await shapes(call)
    fields = fields_of(found, data_of(Record, shown))
    text = pretty(data_of(Record, shown))
    return edited(call, target_of(call), shown, fields, text, found)


def edited(
    call: Call,
    target: Target,
    shown: Data,
    fields: list[Field],
    text: str,
    found: Shapes,
    *,
    wrong: str = "",
    status: int = 200,
) -> Response:
    """The page of a record, as it is or as it was filled in."""
    by_json = _is_by_json(call) or len(fields) > _MOST_FIELDS
    base = sealed(call, target, shown)
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
        base=base,
        too_large=_too_large(base),
        shapes=_sealed_shapes(call, found),
    )


def _is_by_json(call: Call) -> bool:
    return call.asked("as") == "json" or call.form.has("json")


def _too_large(base: str) -> str:
    """What is said of a record of which a form would not be taken; empty where it would.

    The form of a conflict has it up to three times, and a browser may write three characters for
    one.
    """
    if len(base) * 4 <= MOST_BYTES:
        return ""
    return (
        f"This record is too large to be changed here: about {MOST_BYTES // 2**20 // 5} MB can be. "
        "Use the command line."
    )


async def save_record(call: Call) -> Response:
    """Save a record with its precondition."""
    target = target_of(call)
    shown = unsealed(call, target)
    data = data_of(Record, shown)
    found = _shown_shapes(call)
    fields = fields_of(found, data)
    wanted, wrong = _filled_in(call, fields, shown)
    text = call.form.get("json", pretty(data))
    if wanted is None:
        return edited(call, target, shown, fields, text, found, wrong=wrong, status=422)
    try:
        return await save(call, target, shown, wanted)
    except InvalidData as error:
        said = _REFUSED + str(error)
        return edited(call, target, shown, fields, text, found, wrong=said, status=422)


def _without_own(given: Data, shown: Data) -> Data:
    """What may be changed of what was written.

    Raises:
        Unreadable: The server's own fields are in it, with other values: they would be lost.
    """
    for name in sorted(OWN & given.keys()):
        if given[name] != shown.get(name):
            raise Unreadable(f'"{name}" is a name of the server\'s own: choose another one')
    return data_of(Record, given)


def _filled_in(call: Call, fields: list[Field], shown: Data) -> tuple[Data | None, str]:
    """What was filled in, or what is wrong with it."""
    if not call.form.has("json"):
        return read_fields(fields, call.form, data_of(Record, shown))
    try:
        return _without_own(read_object(call.form.get("json")), shown), ""
    except Unreadable as error:
        return None, f"Nothing was saved: {error}."


async def merge_record(call: Call) -> Response:
    """Save what was chosen on the page of a conflict."""
    return await merge(call, target_of(call))


async def new_record(call: Call) -> Response:
    """Show an empty form."""
    found = await shapes(call)
    return _empty(call, fields_of(found, {}), "{\n}", found)


def _empty(
    call: Call, fields: list[Field], text: str, found: Shapes, *, wrong: str = "", status: int = 200
) -> Response:
    by_json = _is_by_json(call)
    given = {"fields": fields, "text": text, "wrong": wrong, "by_json": by_json}
    # Sent twice, it makes one record.
    given["fresh"] = call.form.get("fresh") or Record().id
    given["shapes"] = _sealed_shapes(call, found)
    return page(call, "new.html", status, id=call.form.get("id"), **given)


async def create_record(call: Call) -> Response:
    """Create a record; its id is made here where none is given."""
    found = _shown_shapes(call)
    fields = fields_of(found, {})
    text = call.form.get("json", "{\n}")
    id = call.form.get("id").strip() or _id_in(text)
    wanted, wrong = _filled_in(call, fields, {"id": id})
    if wanted is None:
        return _empty(call, fields, text, found, wrong=wrong, status=422)
    try:
        new = made(Record, id or call.form.get("fresh") or Record().id, wanted)
        await new.asave(session=call.scope())
    except (InvalidData, Conflict) as error:
        status = 409 if isinstance(error, Conflict) else 422
        return _empty(call, fields, text, found, wrong=_REFUSED + str(error), status=status)
    call.visit.tell("Created.")
    named = call.request.path_params
    return call.goto(
        call.at("buckets", named["bucket"], "collections", named["collection"], "records", new.id)
    )


def _id_in(text: str) -> str:
    """The id that stands in the JSON; empty where none does."""
    try:
        return str(read_object(text).get("id", ""))
    except Unreadable:
        return ""


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
