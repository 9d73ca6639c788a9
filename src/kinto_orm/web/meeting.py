"""Saving what was changed in a form, and what is shown when somebody else was first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from starlette.responses import Response

from kinto_orm.async_session import AsyncSession
from kinto_orm.errors import Conflict
from kinto_orm.models.contents import same_json
from kinto_orm.models.resource import Resource
from kinto_orm.templates.template import Template
from kinto_orm.web.calls import Call
from kinto_orm.web.loaded import Data, as_shown, change, data_of, merged, raw, same
from kinto_orm.web.pages import page
from kinto_orm.web.refusals import Refused
from kinto_orm.web.texts import key_of

SAVED = "Saved."
_UNCHANGED = "Nothing had changed, so nothing was sent."
_HIDDEN = frozenset({"id", "last_modified"})


@dataclass(frozen=True)
class Target:
    """What is edited.

    Attributes:
        model: Its class.
        scope: The session, in the bucket and the collection where it lives.
        id: Its id.
        path: Its page.
        title: How pages call it.
    """

    model: type[Resource]
    scope: AsyncSession
    id: str
    path: str
    title: str


def sealed(call: Call, target: Target, shown: Mapping[str, JsonValue] | None) -> str:
    """What a form carries of an object as it is; it holds for that object only."""
    return call.site.seal.close({"of": target.path, "was": shown})


def unsealed(call: Call, target: Target, name: str = "base") -> Any:
    """What a form carried.

    Raises:
        Refused: It was changed, or is of another object.
    """
    return opened(call, name, target.path)["was"]


def opened(call: Call, name: str, path: str) -> Any:
    """What a form carried sealed under a name.

    Raises:
        Refused: It was changed, or is of the page at another path.
    """
    found = call.site.seal.open(call.form.get(name))
    if found["of"] != path:
        raise Refused(
            400, "This form is of another page", "Nothing was changed. Load the page again."
        )
    return found


async def save(call: Call, target: Target, shown: Data, wanted: Data) -> Response:
    """Save what was changed, if nobody else was first; else show both.

    Args:
        call: The request.
        target: What is edited.
        shown: How it was in the form, as `raw` gave it.
        wanted: All of its fields as they were filled in.

    Raises:
        InvalidData: The server refuses it.
    """
    stored = await as_shown(target.model, shown, target.scope)
    change(stored, wanted)
    if not stored.diff():
        call.visit.tell(_UNCHANGED)
        return call.goto(target.path)
    try:
        await stored.asave()
    except Conflict as conflict:
        theirs = None if conflict.remote is None else raw(conflict.remote)
        return met(call, target, shown, theirs, wanted, conflict)
    call.visit.tell(SAVED)
    return call.goto(target.path)


@dataclass(frozen=True)
class Row:
    """A field in which the three states differ.

    Attributes:
        name: The field.
        base: Its value when the form was loaded, as a list of one; empty where it was not there.
        theirs: The same of what is there now.
        mine: The same of what was filled in.
        contested: Whether both changed it, to different values.
    """

    name: str
    base: list[JsonValue]
    theirs: list[JsonValue]
    mine: list[JsonValue]
    contested: bool

    @property
    def key(self) -> str:
        """How its controls are called."""
        return key_of(self.name)

    @property
    def is_agreed(self) -> bool:
        """Whether both changed it to the same."""
        return self.is_mine and same_json(self.theirs, self.mine)

    @property
    def is_mine(self) -> bool:
        """Whether I changed it."""
        return not same_json(self.base, self.mine)


def met(
    call: Call, target: Target, shown: Data, theirs: Data | None, wanted: Data, conflict: Conflict
) -> Response:
    """The page of a conflict: base, theirs and mine side by side."""
    now = {} if theirs is None else theirs
    rows = rows_of(target, shown, now, wanted)
    return page(
        call,
        "conflict.html",
        409,
        target=target,
        rows=rows,
        gone=theirs is None,
        unconfirmed=conflict.unconfirmed,
        said=str(conflict),
        base=sealed(call, target, _differing(shown, rows)),
        theirs=sealed(call, target, theirs),
        mine=sealed(call, target, wanted if theirs is None else _differing(wanted, rows)),
        missing="",
    )


def rows_of(target: Target, base: Data, theirs: Data, mine: Data) -> list[Row]:
    """The fields in which the three differ."""
    base, theirs = data_of(target.model, base), data_of(target.model, theirs)
    names = dict.fromkeys((*base, *theirs, *mine))
    return [
        Row(
            name,
            _held(base, name),
            _held(theirs, name),
            _held(mine, name),
            _is_contested(base, theirs, mine, name),
        )
        for name in names
        if not (same(base, theirs, name) and same(base, mine, name))
    ]


def _differing(data: Data, rows: list[Row]) -> Data:
    """What has to be known of a state: all else is as theirs."""
    names = {each.name for each in rows}
    return {name: value for name, value in data.items() if name in names}


def _held(data: Data, name: str) -> list[JsonValue]:
    return [data[name]] if name in data else []


def _is_contested(base: Data, theirs: Data, mine: Data, name: str) -> bool:
    pairs = ((base, theirs), (base, mine), (theirs, mine))
    return not any(same(one, other, name) for one, other in pairs)


async def merge(call: Call, target: Target) -> Response:
    """Save the two changes together, as was chosen on the page of a conflict.

    Raises:
        Refused: Of a contested field nothing was chosen.
    """
    theirs, mine = unsealed(call, target, "theirs"), unsealed(call, target, "mine")
    if theirs is None:
        return await _again(call, target, mine)
    # They have only what differs: all else is as theirs.
    base = unsealed(call, target)
    rows = rows_of(target, base, theirs, mine)
    chosen = {each.name: call.form.get(f"pick:{each.key}") for each in rows if each.contested}
    if not set(chosen.values()) <= {"mine", "theirs"}:
        raise Refused(
            422,
            "Of a field that both changed nothing was chosen",
            "Nothing was changed. Go back, and choose theirs or mine for each of them.",
        )
    now = data_of(target.model, theirs)
    together = merged(data_of(target.model, base), now, mine, chosen)
    return await save(call, target, theirs, together)


async def _again(call: Call, target: Target, mine: Data) -> Response:
    """Create what was deleted meanwhile."""
    await made(target.model, target.id, mine).asave(session=target.scope)
    call.visit.tell("It is there again, as you wrote it.")
    return call.goto(target.path)


def made(model: type[Resource], id: str, data: Data) -> Resource:
    """A new object with these fields."""
    if issubclass(model, Template):
        new: Resource = model(name=str(data["name"]), source=str(data["source"]))
    else:
        new = model(id=id)
    for name, value in data.items():
        new[name] = value
    return new
