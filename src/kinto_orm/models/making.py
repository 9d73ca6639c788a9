"""Making objects: what class keywords and constructors take, and copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kinto_orm.errors import InvalidData, ModelError
from kinto_orm.models.attributes import refuse_stamp, set_item
from kinto_orm.models.contents import extra_of
from kinto_orm.models.declaring import (
    refuse_other_identity,
    refuse_shared_names,
    set_default_factory,
)
from kinto_orm.models.fidelity import refuse_unread_fields
from kinto_orm.models.kinds import kind_of, kinds_of
from kinto_orm.models.loading import Kept, Source, without
from kinto_orm.models.naming import RESERVED, field_of, names_of
from kinto_orm.models.permissions import Permissions
from kinto_orm.models.signatures import MADE
from kinto_orm.models.state import State, bound, own_state, set_state, state_of
from kinto_orm.models.stored import NOT_DATA, Stored

S = TypeVar("S", bound=Stored)


def configure(
    model: type[Stored], *, id_factory: Callable[[], str] | None = None, extra: str | None = None
) -> None:
    """Take the class keywords, and the setting `extra` that Pydantic is not told.

    Raises:
        ModelError: The class cannot be.
    """
    if extra not in (None, "allow", "forbid"):
        raise ModelError(
            f"{model.__name__} cannot have extra={extra!r}: stored fields that the model does "
            "not declare are kept. Leave it out or write 'forbid', so that others than "
            "declared ones are refused from outside, or 'allow', so that they are taken"
        )
    if extra is not None:
        model.__kinto_extra__ = extra
    if model.__kinto_extra__ is not None:
        model.__kinto_open__ = model.__kinto_extra__ == "allow"
    refuse_other_identity(model)
    refuse_shared_names(model)
    refuse_unread_fields(model)
    for name in RESERVED.keys() & names_of(model).keys():
        raise ModelError(f"{model.__name__} cannot store a field as {name!r}: {RESERVED[name]}")
    if id_factory is not None:
        if not callable(id_factory):
            raise ModelError(
                f"id_factory= of {model.__name__} is a function that makes the id of a new "
                f"object, such as lambda: str(uuid4()), not {id_factory!r:.80}"
            )
        model.__kinto_id_factory__ = id_factory
        set_default_factory(model, "id", id_factory)


def make(model: type[S], create: Callable[[dict[str, Any]], S], given: dict[str, Any]) -> S:
    """Make a new object from a constructor's keywords.

    Raises:
        InvalidData: One of them is not for a program to give.
        pydantic.ValidationError: They do not fit the model.
    """
    for name in [name for name, value in given.items() if value is MADE]:
        del given[name]
    permissions = _access_list(model, given)
    plural = model.__kinto_placement__(given)
    for name in NOT_DATA:
        if given.get(name, "") is None:
            del given[name]
    if "last_modified" in given:
        raise InvalidData(
            f"last_modified of a {model.__name__} is the server's: leave it out. To copy a "
            "stored object use copy_to(session); to keep a timestamp, as replicas do, "
            "save(last_modified=...)"
        )
    model.__kinto_check_names__(given)
    made = create(given)
    if plural is not None:
        set_state(made, State(None, plural, None))
    if isinstance(permissions, Marked):
        extra_of(made)["permissions"] = permissions.value
    elif permissions is not None:
        made.permissions = permissions  # type: ignore[attr-defined]
    return made


def of_fields(model: type[S], fields: Mapping[str, Any] | None, more: Mapping[str, Any]) -> S:
    """A new object of a mapping, in which every name is a field's, and of keywords."""
    given = dict(fields or {})
    apart = {name: given.pop(name) for name in model.__kinto_keywords__ & given.keys()}
    made = model(**given, **more)
    for name, value in apart.items():
        set_item(made, name, value)
    return made


class Marked(dict[str, Any]):
    """The value of a stored field `permissions`, in a dump: it is data, and no access list."""

    @property
    def value(self) -> dict[str, Any]:
        """The value itself."""
        return dict(self)


def _access_list(model: type[Stored], given: dict[str, Any]) -> Any:
    """Take the keyword `permissions`: who may do what, and never a stored field of that name.

    Raises:
        InvalidData: It is no such thing.
    """
    if "permissions" not in given:
        return None
    value = given.pop("permissions")
    if isinstance(value, Permissions | Marked):
        return value
    field = names_of(model).get("permissions")
    if field is None and isinstance(value, Mapping):
        return value
    instead = f"{field}=..." if field else f"record['permissions'] = ... on the {model.__name__}"
    raise InvalidData(
        f"permissions={value!r:.80} is no access list of a {model.__name__}: that is a "
        f'Permissions, such as Permissions(read={{"system.Everyone"}}). A field that is stored '
        f"under this name is given by {instead}"
    )


def mark_permissions(stored: Stored, dumped: Any) -> None:
    """Mark a stored field `permissions` that the model does not declare, in a dump."""
    extra = stored.__pydantic_extra__
    if extra and "permissions" in extra and isinstance(dumped.get("permissions"), dict):
        dumped["permissions"] = Marked(dumped["permissions"])


# Copies carry what the server has; others may then write under the id, too.


def copied_values(stored: Stored, update: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a copy is given: under another id it is a new object.

    Raises:
        pydantic.ValidationError: A field that the model does not have.
        ModelError: Another timestamp than the server's.
        InvalidData: The kind of another class.
    """
    update = update or {}
    given = {field_of(type(stored), name) or name: update[name] for name in update}
    stored.__kinto_check_names__(without(given, extra_of(stored)))
    if given.get("id", stored.id) != stored.id:
        given["last_modified"] = None
    elif "last_modified" in given:
        refuse_stamp(stored, given["last_modified"])
    kinds = kinds_of(type(stored))
    if kinds is not None:
        was = kind_of(stored)
        kinds.refuse_change(type(stored), stored.id, given.get(kinds.field, was), was)
    return given


def copy_state(stored: Stored, made: Stored) -> None:
    """Give a copy the state of its original."""
    own_state(stored).known_id = True
    state = state_of(stored).replaced()
    if isinstance(state.permissions, Permissions):
        copied = Permissions().restored(state.permissions.snapshot())
        state.permissions = bound(made, copied)
    set_state(made, state)


def pickled(stored: Stored) -> tuple[Any, ...]:
    """The state of an object, for pickle: without its session."""
    state = own_state(stored)
    state.known_id = True
    raw = None if state.source is None else state.source.raw(stored.id)
    dump = None if state.source is None else state.source.dump(stored.id)
    kept: Any = state.permissions
    if isinstance(kept, Permissions):
        kept = kept.snapshot()
    return state.plural, raw, dump, kept, state.partial, state.gone, state.doubt, state.past


def unpickled(stored: Stored, kept: tuple[Any, ...]) -> State:
    """The state that was pickled."""
    plural, raw, dump, permissions, partial, gone, doubt, past = kept
    written = None if dump is None else Kept(dumps={stored.id: dump})
    source = None if raw is None else Source(raws={stored.id: raw}, kept=written)
    if isinstance(permissions, tuple):
        permissions = bound(stored, Permissions().restored(permissions))
    return State(
        None,
        plural,
        source,
        permissions=permissions,
        partial=partial,
        gone=gone,
        doubt=doubt,
        past=past,
        known_id=True,
    )
