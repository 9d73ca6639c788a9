"""Attributes and items of an object: what may be set, and that a refusal changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from kinto_orm.errors import InvalidData, ModelError, NotLoaded
from kinto_orm.models.contents import extra_of, go_back, held_by, name_of
from kinto_orm.models.declaring import suggestion
from kinto_orm.models.kinds import kind_of, refuse_change
from kinto_orm.models.naming import field_of
from kinto_orm.models.state import call_of, state_of
from kinto_orm.models.stored import NOT_DATA, Stored


class _Validating(threading.local):
    """The objects, by their identity, whose attributes this thread is setting."""

    def __init__(self) -> None:
        self.objects: set[int] = set()


_validating = _Validating()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def modified_at(stored: Stored) -> datetime | None:
    """The timestamp of an object as a datetime in UTC; None until it is saved."""
    stamp = stored.last_modified
    return None if stamp is None else _EPOCH + timedelta(milliseconds=stamp)


def set_attribute(stored: Stored, name: str, value: Any, put: Callable[[str, Any], None]) -> None:
    """Set an attribute; when that is refused the object is as it was.

    Args:
        stored: The object.
        name: The attribute's.
        value: The new one.
        put: Sets it as Pydantic does, with all validators.

    Raises:
        ModelError: It is the server's to set.
        AttributeError: It is a method, or a property without a setter.
        InvalidData: It would be an object of another class, of several kinds.
        pydantic.ValidationError: The model refuses it.
    """
    if name == "id" and state_of(stored).source is not None and value != stored.id:
        raise ModelError(
            f"the id of {name_of(stored)} cannot change: it is saved. Copy the object instead: "
            f"{call_of(stored, 'copy_to(session, id=...)')}"
        )
    if name == "last_modified":
        refuse_stamp(stored, value)
    _check_attribute(stored, name, value)
    if id(stored) in _validating.objects:
        # By a validator of the model, which must not start all validators again.
        _set_unchecked(stored, name, value, put)
        return
    _validating.objects.add(id(stored))
    before, kind = held_by(stored), kind_of(stored)
    try:
        put(name, value)
        refuse_change(stored, kind)
    except BaseException:
        # A validator of the whole model sees the new value in its place, and may refuse it.
        go_back(stored, before)
        raise
    finally:
        _validating.objects.discard(id(stored))


def refuse_stamp(stored: Stored, value: object) -> None:
    """Refuse another timestamp than the server's.

    Raises:
        ModelError: It is another one.
    """
    if value != stored.last_modified:
        raise ModelError(
            f"last_modified of {name_of(stored)} is the server's and cannot be assigned; to "
            "keep a timestamp, as replicas do, give it to "
            f"{call_of(stored, 'save(last_modified=...)')}"
        )


def _check_attribute(stored: Stored, name: str, value: object) -> None:
    model = type(stored)
    if name in model.model_fields or name.startswith("_") or name == "permissions":
        return
    if _is_settable(model, name):
        return
    if any(name in base.__dict__ for base in model.__mro__):
        raise AttributeError(
            f"{name!r} is a method or property of {model.__name__}; a stored field of "
            f"that name is reached by [{name!r}]"
        )
    if name not in extra_of(stored):
        model.__kinto_check_names__({name: value})


def _set_unchecked(stored: Stored, name: str, value: Any, put: Callable[[str, Any], None]) -> None:
    if name in type(stored).model_fields:
        stored.__dict__[name] = value
        stored.__pydantic_fields_set__.add(name)
    elif name.startswith("_") or _is_settable(type(stored), name):
        put(name, value)
    else:
        extra_of(stored)[name] = value


def _is_settable(model: type, name: str) -> bool:
    """Whether the name stands for a property with a setter."""
    found = next((base.__dict__[name] for base in model.__mro__ if name in base.__dict__), None)
    return isinstance(found, property) and found.fset is not None


def refuse_deletion(stored: Stored, name: str) -> None:
    """Refuse to take away what every object has.

    Raises:
        ModelError: It is the id or the timestamp.
    """
    if name in NOT_DATA:
        raise ModelError(f"{name} of {name_of(stored)} cannot be taken away")


def refuse_unloaded(stored: Stored, name: str) -> None:
    """Refuse to read a field that the query did not ask for.

    Raises:
        NotLoaded: It is one.
    """
    if name in type(stored).model_fields and state_of(stored).partial:
        raise NotLoaded(
            f"{name!r} of {name_of(stored)} was not loaded: the query asked for other fields "
            f"only; call {call_of(stored, 'refresh()')} first"
        )


def get_item(stored: Stored, name: str) -> JsonValue:
    """The value of any stored field, by its name in the program or its stored one.

    Raises:
        KeyError: There is none.
        NotLoaded: The query did not ask for it.
    """
    field = field_of(type(stored), name)
    try:
        value: JsonValue = extra_of(stored)[name] if field is None else getattr(stored, field)
        return value
    except NotLoaded:
        raise
    except (KeyError, AttributeError):
        known = (*type(stored).model_fields, *extra_of(stored))
        raise KeyError(f"{name_of(stored)} has no {name!r}{suggestion(name, known)}") from None


def set_item(stored: Stored, name: str, value: JsonValue) -> None:
    """Set any stored field; see `set_attribute`."""
    field = field_of(type(stored), name)
    if field is not None:
        setattr(stored, field, value)
        return
    if name not in extra_of(stored):
        stored.__kinto_check_names__({name: value})
    before, kind = held_by(stored), kind_of(stored)
    extra_of(stored)[name] = value
    try:
        refuse_change(stored, kind)
    except InvalidData:
        go_back(stored, before)
        raise


def delete_item(stored: Stored, name: str) -> None:
    """Take any stored field away.

    Raises:
        KeyError: There is none.
    """
    field = field_of(type(stored), name)
    if field is not None:
        delattr(stored, field)
    elif name in extra_of(stored):
        del extra_of(stored)[name]
    else:
        raise KeyError(f"{name_of(stored)} has no {name!r}")


def has_item(stored: Stored, name: object) -> bool:
    """Whether there is a stored field of this name."""
    return isinstance(name, str) and (
        field_of(type(stored), name) in stored.__dict__ or name in extra_of(stored)
    )
