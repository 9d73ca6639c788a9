"""An object made equal to other data, with preconditions."""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import JsonValue

from kinto_orm import Conflict, Record, Session
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import moment
from kinto_orm.cli.targets import NOT_DATA, Stored, stored

S = TypeVar("S", bound=Stored)

Fields = dict[str, JsonValue]
Sets = dict[str, list[str]]


def made_of(model: type[S], id: str | None, fields: Fields) -> S:
    """A new object with these fields; without an id it gets one of its own."""
    made = model() if id is None else model(id=id)
    set_fields(made, fields)
    return made


def write(
    there: Stored | None, made: Stored, sets: Sets | None, scope: Session, *, force: bool
) -> Literal["created", "updated", "unchanged"]:
    """Create an object, or give the one that is there its data, and save that.

    Args:
        there: The object, if there is one, which was read just now.
        made: What it is to be equal to.
        sets: The permissions that it is to have; None: those that it has.
        scope: Where it is.
        force: Overwrite what somebody else wrote since it was read.
    """
    if there is None:
        permit(made, sets)
        made.save(session=scope)
        return "created"
    before, wanted = there.last_modified, stored(made)
    set_fields(there, wanted)
    for name in stored(there).keys() - wanted.keys():
        if not _is_made_by_server(there, name):
            remove_field(there, name)
    permit(there, sets)
    there.save(session=scope, force=force)
    return "unchanged" if there.last_modified == before else "updated"


def set_fields(there: Stored, fields: Fields) -> None:
    """Set fields by their stored names; not the id and the timestamp."""
    for name, value in fields.items():
        if name not in NOT_DATA:
            there[name] = value


def remove_field(there: Stored, name: str) -> None:
    """Take a field away.

    Raises:
        Misuse: There is none, or it cannot be taken away.
    """
    if name not in there or name in NOT_DATA:
        raise Misuse(f"there is no field {name!r} to be taken away")
    if name in type(there).model_fields:
        # Such as the schema of a collection: it is left out of what is stored when it is none.
        there[name] = type(there).model_fields[name].get_default()
        return
    del there[name]


def permit(there: Stored, sets: Sets | None, *, keep: bool = False) -> None:
    """Say who may do what; lists that are not named are emptied, or kept."""
    if sets is not None:
        there.permissions = {**there.permissions.wanted(), **sets} if keep else sets


def check_stamp(id: str, there: Stored | None, fields: Fields) -> None:
    """Refuse to overwrite what was changed since the JSON was read.

    Raises:
        Conflict: It has another timestamp than the JSON, or is gone.
    """
    stamp = fields.get("last_modified")
    if stamp is None:
        return
    if there is None:
        raise Conflict(
            f"{id!r} is gone: it was deleted after the JSON was read. Without last_modified in the "
            "JSON it is created anew. Nothing was sent."
        )
    if stamp != there.last_modified:
        now = stored(there)
        conflict = Conflict(
            f"{id!r} was changed at {moment(there.last_modified)}, after the JSON was read. "
            "Nothing was sent."
        )
        names = (name for name in fields if fields[name] != now.get(name))
        conflict.remote, conflict.fields = there, frozenset(names) - NOT_DATA
        raise conflict


def _is_made_by_server(there: Stored, name: str) -> bool:
    """Whether a field is the timestamp of the schema, which the server writes into records."""
    return isinstance(there, Record) and name == "schema" and type(there[name]) is int
