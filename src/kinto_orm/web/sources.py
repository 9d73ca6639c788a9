"""Templates: source, values and result side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue, ValidationError
from starlette.responses import Response

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import (
    Conflict,
    Forbidden,
    InvalidData,
    KintoError,
    NotFound,
    PathError,
    TemplateError,
    sentence,
)
from kinto_orm.kv import keypath
from kinto_orm.models.record import Record
from kinto_orm.queries.pager import Page
from kinto_orm.templates.template import Template
from kinto_orm.web.calls import Call
from kinto_orm.web.forms import Unreadable, read_object
from kinto_orm.web.loaded import Data, as_shown, data_of, first_page, raw, whatever
from kinto_orm.web.meeting import Target, merge, save, sealed, unsealed
from kinto_orm.web.pages import page
from kinto_orm.web.records import delete_shown
from kinto_orm.web.refusals import Refused
from kinto_orm.web.texts import as_sent, restored

_SIZE: Final = 50


@dataclass(frozen=True)
class Rendered:
    """What became of rendering a template.

    Attributes:
        text: The result; None where there is none.
        error: Why there is none.
        line: The line of the source that is wrong, if one is.
        values: The values that it takes, of the bucket's keys.
    """

    text: str | None
    error: str
    line: int | None
    values: dict[str, JsonValue]


def _scope(call: Call) -> AsyncSession:
    return call.session.scoped(bucket=call.named("bucket"))


def _target_of(call: Call, title: str = "") -> Target:
    id = call.named("id")
    path = call.at("buckets", call.named("bucket"), "templates", id)
    return Target(Template, _scope(call), id, path, title or id)


async def templates(call: Call) -> Response:
    """Show the templates of a bucket."""
    query = whatever(Record.find(session=_records(call)).page_size(_SIZE))
    try:
        found = await first_page(query.resume(call.asked("position") or None))
    except NotFound:
        found = Page[Record]([], None)
    rows = [(each, await _readable(call, each)) for each in found]
    return page(call, "templates.html", rows=rows, position=found.position)


def _records(call: Call) -> AsyncSession:
    return _scope(call).scoped(collection="templates")


async def _readable(call: Call, stored: Record) -> Template | None:
    """The template that a record is; None where it is none: others write there, too."""
    try:
        return await as_shown(Template, raw(stored), _scope(call))
    except (ValidationError, KintoError):
        return None


async def _loaded(call: Call) -> Template:
    shown = raw(await Record.aget(call.named("id"), session=_records(call)))
    return await as_shown(Template, shown, _scope(call))


async def template(call: Call) -> Response:
    """Show a template with its values and its result."""
    stored = await _loaded(call)
    return await _edited(call, raw(stored), stored, "{}")


async def _edited(
    call: Call, shown: Data, stored: Template, overrides: str, *, wrong: str = "", status: int = 200
) -> Response:
    target = _target_of(call, stored.name)
    return page(
        call,
        "template.html",
        status,
        target=target,
        source=stored.source,
        written=call.request.method == "POST",
        overrides=overrides,
        rendered=await _in_turn(call, stored, overrides),
        wrong=wrong,
        base=sealed(call, target, shown),
    )


async def _in_turn(call: Call, stored: Template, overrides: str) -> Rendered:
    """Render for each visitor one after another, so that nobody takes all that others need."""
    async with call.site.turn(call.session):
        return await _rendered(stored, overrides)


async def _rendered(stored: Template, overrides: str) -> Rendered:
    """Render a template as it is in the form; in a process of its own, whoever wrote it."""
    values: dict[str, JsonValue] = {}
    try:
        given = read_object(overrides or "{}")
        values = await _values(stored, given)
        text = await stored.arender(given, isolation="process")
    except Unreadable as error:
        return Rendered(None, f"The values to try are not readable: {error}", None, values)
    except (TemplateError, Forbidden, NotFound) as error:
        return Rendered(None, str(error), getattr(error, "lineno", None), values)
    return Rendered(text, "", None, values)


async def _values(stored: Template, given: Data) -> dict[str, JsonValue]:
    """The values of the bucket's keys that a template takes, and those that are given instead."""
    names = sorted(await stored.avariables())
    kv = stored.__kinto_lives_in__().kv  # type: ignore[attr-defined]
    found = await kv.get_many([(name,) for name in names if name not in given])
    return {key[0]: value for key, value in found.items()} | given


def _filled_in(call: Call, stored: Template) -> None:
    """Let a template have the source that was filled in; its line ends stay."""
    source = call.form.get("source")
    if as_sent(source) != as_sent(stored.source):
        stored.source = restored(source, stored.source)


async def preview(call: Call) -> Response:
    """Render what was filled in; nothing is stored."""
    shown = unsealed(call, _target_of(call))
    stored = await as_shown(Template, shown, _scope(call))
    _filled_in(call, stored)
    return await _edited(call, shown, stored, call.form.get("overrides"))


async def save_template(call: Call) -> Response:
    """Save a template's source, with its precondition."""
    target = _target_of(call)
    shown = unsealed(call, target)
    stored = await as_shown(Template, shown, _scope(call))
    _filled_in(call, stored)
    try:
        return await save(call, target, shown, data_of(Template, shown) | {"source": stored.source})
    except (TemplateError, InvalidData) as error:
        wrong = f"Nothing was saved: {error}"
        overrides = call.form.get("overrides")
        return await _edited(call, shown, stored, overrides, wrong=wrong, status=422)


async def merge_template(call: Call) -> Response:
    """Save what was chosen on the page of a conflict."""
    return await merge(call, _target_of(call))


async def create_template(call: Call) -> Response:
    """Create a template without a source yet."""
    name = call.form.get("name").strip()
    if not name:
        raise Refused(422, "A template has a name", "Go back, and write one, such as nginx.conf.")
    try:
        id = keypath.record_id(name)
        await Template(name=name, source="").asave(session=_scope(call))
    except PathError as error:
        raise Refused(
            422, "This is no name of a template", f"{sentence(error)} Go back."
        ) from error
    except Conflict as error:
        raise Refused(
            409, "There is a template of this name", "Nothing was changed. Open that one."
        ) from error
    call.visit.tell(f"The template {name} is there, and empty.")
    return call.goto(call.at("buckets", call.named("bucket"), "templates", id))


async def delete_template(call: Call) -> Response:
    """Delete a template, if it is as it was shown."""
    await delete_shown(call, _target_of(call))
    call.visit.tell("Deleted. The history still has it.")
    return call.goto(call.at("buckets", call.named("bucket"), "templates"))
