"""What is about to be sent of an object, checked: it would be read back as the object is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from kinto_orm.errors import ConfigurationError, InvalidData, NotLoaded, ResponseError
from kinto_orm.models.changes import Changes, has_name
from kinto_orm.models.contents import dump_of, name_of, raw_of
from kinto_orm.models.naming import names_of, refuse_reserved
from kinto_orm.models.pristine import changes_of, plan
from kinto_orm.models.readback import refuse_unreadable
from kinto_orm.models.state import state_of
from kinto_orm.models.stored import Stored
from kinto_orm.wire.jsonvalues import as_stored


def changes_to_send(stored: Stored) -> Changes:
    """What changed, to be saved.

    Raises:
        InvalidData: Something would not be read back as it is.
    """
    changes = changes_of(stored)
    refuse_unreadable(
        stored, changes.changed, changes.names, lambda: changes.applied_to(raw_of(stored))
    )
    plan(stored)
    return changes


def data_to_send(stored: Stored) -> dict[str, JsonValue]:
    """All data for a PUT, with stored fields that the model leaves out of its dumps.

    Raises:
        InvalidData: Something would not be read back as it is.
    """
    data, raw = dump_of(stored), raw_of(stored)
    if raw:
        changes = changes_of(stored)
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


def refuse_partial(stored: Stored) -> None:
    """Refuse to save an object of which only some fields are here.

    Raises:
        NotLoaded: It is one.
    """
    if state_of(stored).partial:
        raise NotLoaded(
            f"cannot save {name_of(stored)}: it was loaded with some fields only; call "
            "refresh(keep_changes=True) first. Nothing was sent."
        )


def refuse_past(stored: Stored) -> None:
    """Refuse to save what the history gave, unchanged: that would bring nothing back.

    Raises:
        ConfigurationError: It is that.
    """
    if state_of(stored).past:
        raise ConfigurationError(
            f"cannot save {name_of(stored)}: it is how it was at a time. revert(when) of the "
            "object brings that back; copy_to() makes another object of it. Nothing was sent."
        )


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
