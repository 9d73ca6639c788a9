"""What every model holds: fields, what the server has of them, and what changed since."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticSerializationError

from kinto_orm.changes import (
    Changes,
    differing,
    find_changes,
    python_names,
)
from kinto_orm.errors import InvalidData, KintoError, ModelError, NotLoaded
from kinto_orm.fidelity import lossy_fields, refuse_loss, refuse_unread_fields
from kinto_orm.jsonvalues import alike, as_stored
from kinto_orm.loading import Loader, Source, page_of, without
from kinto_orm.metaclass import (
    ResourceMeta,
    accepted_names,
    computed_names,
    constructor_keyword,
    refuse_other_identity,
    refuse_shared_names,
    refuse_unknown,
    set_default_factory,
    suggestion,
)
from kinto_orm.outside import described, guarded
from kinto_orm.permissions import Permissions
from kinto_orm.pristine import align, plan
from kinto_orm.protocol import require_id
from kinto_orm.readback import hidden_changes, refuse_unreadable
from kinto_orm.signatures import MADE
from kinto_orm.state import (
    NOT_DATA,
    Holder,
    State,
    copy_state,
    own_state,
    pickled,
    set_state,
    state_of,
    unpickled,
)
from kinto_orm.traits import Traits, traits_of

RESERVED = {
    "__permissions__": "the server takes it for the permissions; give permissions=... instead",
    "deleted": "the server takes an object with it for a tombstone; choose another name, such "
    "as 'removed'",
}


# Whatever a model's settings do to its other strings (str_to_lower, str_max_length).
_Id = Annotated[
    str,
    StringConstraints(strip_whitespace=False, to_lower=False, to_upper=False, max_length=2**31),
]


class Stored(Holder, metaclass=ResourceMeta):
    """The part of a model that sends nothing.

    Attributes:
        id: Checked against the server's rule when it is used, never rewritten.
        last_modified: Milliseconds since 1970 by the server's clock; None until saved.
    """

    model_config = ConfigDict(
        extra="allow",
        validate_assignment=True,
        validate_by_name=True,
        validate_by_alias=True,
        ser_json_inf_nan="constants",
    )

    # Aliases of their own: an alias generator of the model must not rename them.
    id: _Id = Field(default_factory=lambda: str(uuid.uuid4()), alias="id")
    last_modified: int | None = Field(default=None, alias="last_modified")

    if TYPE_CHECKING:
        # A keyword of every constructor; the attribute is Resource's property.
        _permissions: Permissions | Mapping[str, Iterable[str]] = constructor_keyword(
            default_factory=dict, alias="permissions"
        )

        @property
        def permissions(self) -> Permissions:
            """Who may do what."""

        @permissions.setter
        def permissions(self, value: Permissions | Mapping[str, Iterable[str]]) -> None: ...

    __kinto_cache__: ClassVar[dict[Any, Any]]
    # The class keywords beside Pydantic's settings.
    __kinto_options__: ClassVar[frozenset[str]] = frozenset({"id_factory"})
    __kinto_kind__: ClassVar[str] = "record"
    # What a program wrote for `extra`; Pydantic always has "allow".
    __kinto_extra__: ClassVar[str | None] = None
    # Whether fields that are not declared are taken from outside.
    __kinto_open__: ClassVar[bool] = True
    __kinto_server_made__: ClassVar[frozenset[str]] = NOT_DATA
    __kinto_id_factory__: ClassVar[Callable[[], str] | None] = None
    # What a constructor takes as a keyword and does not store.
    __kinto_keywords__: ClassVar[frozenset[str]] = frozenset({"permissions"})

    # Making objects

    @classmethod
    def _configure(
        cls, *, id_factory: Callable[[], str] | None = None, extra: str | None = None
    ) -> None:
        """Take the class keywords, and the setting `extra` that Pydantic is not told."""
        if extra not in (None, "allow", "forbid"):
            raise ModelError(
                f"{cls.__name__} cannot have extra={extra!r}: stored fields that the model does "
                "not declare are kept. Leave it out or write 'forbid', so that others than "
                "declared ones are refused from outside, or 'allow', so that they are taken"
            )
        if extra is not None:
            cls.__kinto_extra__ = extra
        if cls.__kinto_extra__ is not None:
            cls.__kinto_open__ = cls.__kinto_extra__ == "allow"
        refuse_other_identity(cls)
        refuse_shared_names(cls)
        refuse_unread_fields(cls)
        for name in RESERVED.keys() & python_names(cls).keys():
            raise ModelError(f"{cls.__name__} cannot store a field as {name!r}: {RESERVED[name]}")
        if id_factory is not None:
            if not callable(id_factory):
                raise ModelError(
                    f"id_factory= of {cls.__name__} is a function that makes the id of a new "
                    f"object, such as lambda: str(uuid4()), not {id_factory!r:.80}"
                )
            cls.__kinto_id_factory__ = id_factory
            set_default_factory(cls, "id", id_factory)

    @classmethod
    def _make(cls, create: Callable[[dict[str, Any]], Self], given: dict[str, Any]) -> Self:
        """Make a new object from a constructor's keywords."""
        for name in [name for name, value in given.items() if value is MADE]:
            del given[name]
        permissions = cls._access_list(given)
        parent = cls._placement(given)
        for name in NOT_DATA:
            if given.get(name, "") is None:
                del given[name]
        if "last_modified" in given:
            raise InvalidData(
                f"last_modified of a {cls.__name__} is the server's: leave it out. To copy a "
                "stored object use copy_to(session); to keep a timestamp, as replicas do, "
                "save(last_modified=...)"
            )
        cls._check_names(given)
        made = create(given)
        if parent is not None:
            set_state(made, State(None, parent, None))
        if isinstance(permissions, _Field):
            made._extra["permissions"] = permissions.value
        elif permissions is not None:
            made.permissions = permissions
        return made

    @classmethod
    def _of_fields(cls, fields: Mapping[str, Any] | None, more: Mapping[str, Any]) -> Self:
        """A new object of a mapping, in which every name is a field's, and of keywords."""
        given = dict(fields or {})
        apart = {name: given.pop(name) for name in cls.__kinto_keywords__ & given.keys()}
        made = cls(**given, **more)
        for name, value in apart.items():
            made[name] = value
        return made

    @classmethod
    def _access_list(cls, given: dict[str, Any]) -> Any:
        """Take the keyword `permissions`: who may do what, and never a stored field of that name.

        Raises:
            InvalidData: It is no such thing.
        """
        if "permissions" not in given:
            return None
        value = given.pop("permissions")
        if isinstance(value, Permissions | _Field):
            return value
        field = cls._python_names().get("permissions")
        if field is None and isinstance(value, Mapping):
            return value
        instead = f"{field}=..." if field else f"record['permissions'] = ... on the {cls.__name__}"
        raise InvalidData(
            f"permissions={value!r:.80} is no access list of a {cls.__name__}: that is a "
            f'Permissions, such as Permissions(read={{"system.Everyone"}}). A field that is stored '
            f"under this name is given by {instead}"
        )

    if not TYPE_CHECKING:

        def model_dump(self, *args, **options):
            """The fields as Pydantic dumps them.

            A stored field `permissions` that the model does not declare is marked, so that a
            constructor takes it for what it is: data, and not who may do what.
            """
            dumped = super().model_dump(*args, **options)
            extra = self.__pydantic_extra__
            if extra and "permissions" in extra and isinstance(dumped.get("permissions"), dict):
                dumped["permissions"] = _Field(dumped["permissions"])
            return dumped

    @classmethod
    def _placement(cls, given: dict[str, Any]) -> str | None:
        """Take what says where the object lives from a constructor's keywords."""
        return None

    @classmethod
    def _check_names(cls, given: Mapping[str, Any]) -> None:
        """Refuse what a constructor does not take."""
        cls._refuse_undeclared(given)

    @classmethod
    def _refuse_undeclared(cls, given: Mapping[str, Any]) -> None:
        if given.keys() <= cls._field_names():
            return
        cls._refuse_reserved(given)
        unknown = {name: given[name] for name in given if cls._is_unknown(name)}
        if unknown:
            refuse_unknown(cls, unknown)

    @classmethod
    def _is_unknown(cls, name: str) -> bool:
        """Whether a field of this name is refused from outside."""
        if name in cls._field_names():
            return False
        return not cls.__kinto_open__ or name in computed_names(cls)

    @classmethod
    def _refuse_reserved(cls, names: Iterable[str]) -> None:
        """Refuse names that the server takes for something else than a field."""
        if RESERVED.keys().isdisjoint(names):
            return
        for name in RESERVED.keys() & set(names):
            raise InvalidData(f"{cls.__name__} cannot have a field {name!r}: {RESERVED[name]}")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return guarded(cls, handler(source), handler)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return described(cls, schema, handler)

    if not TYPE_CHECKING:
        # Checkers know both from Pydantic, with the fields of each model.

        @classmethod
        def model_construct(cls, _fields_set=None, **values):
            """A new object without validation; the names of the fields are checked all the same."""
            cls._refuse_undeclared(values)
            return super().model_construct(_fields_set, **values)

        def model_copy(self, *, update=None, deep=False):
            """A copy that knows what the server has; under another id it is a new object.

            Args:
                update: Values for the copy, which are not validated; their names are.
                deep: Copy what the fields hold, too.
            """
            given = {self._field_named(name) or name: update[name] for name in update or {}}
            self._check_names(without(given, self._extra))
            if given.get("id", self.id) != self.id:
                given["last_modified"] = None
            elif "last_modified" in given:
                self._refuse_stamp(given["last_modified"])
            return super().model_copy(update=given, deep=deep)

    @classmethod
    def _check_stored_name(cls, stored: str) -> None:
        """Refuse a stored name in a condition that a typed model does not declare."""
        known = cls._python_names()
        if not cls.__kinto_open__ and stored not in known:
            raise InvalidData(
                f"{cls.__name__} has no field stored as {stored!r}{suggestion(stored, known)}. "
                "Nothing was sent."
            )

    @classmethod
    def _field_names(cls) -> set[str]:
        """Every name by which a constructor takes a declared field."""
        return cls._cached("accepted", cls._accepted)  # type: ignore[no-any-return]

    @classmethod
    def _accepted(cls) -> set[str]:
        names = (accepted_names(name, info) for name, info in cls.model_fields.items())
        return set().union(*names) - RESERVED.keys()

    @classmethod
    def _cached(cls, key: str, make: Callable[[], Any]) -> Any:
        cache = cls.__kinto_cache__
        if key not in cache:
            cache[key] = make()
        return cache[key]

    @classmethod
    def _loader(cls) -> Loader[Self]:
        return cls._cached("loader", lambda: Loader(cls))  # type: ignore[no-any-return]

    @classmethod
    def _traits(cls) -> Traits:
        # Every save asks for it.
        found: Traits | None = cls.__kinto_cache__.get("traits")
        return cls._cached("traits", lambda: traits_of(cls)) if found is None else found

    @classmethod
    def _source(
        cls,
        found: list[Self],
        body: bytes | None = None,
        raws: Mapping[str, dict[str, Any]] | None = None,
    ) -> Source:
        """What the server sent for objects that were loaded of it."""
        kept = None if cls._traits().steady else cls._loader().kept(found)
        return Source(body, raws, kept)

    @classmethod
    def _python_names(cls) -> dict[str, str]:
        return cls._cached("names", lambda: python_names(cls))  # type: ignore[no-any-return]

    @property
    def is_new(self) -> bool:
        """Whether it was never saved nor loaded."""
        state = state_of(self)
        if state.source is None:
            return not state.gone
        # A copy may have been given another id.
        return not state.source.knows(self.id)

    @property
    def is_partial(self) -> bool:
        """Whether it was loaded with some fields only; then it cannot be saved."""
        return state_of(self).partial

    @property
    def _name(self) -> str:
        return f"{type(self).__name__} {self.id!r}"

    # What changed

    def diff(self) -> dict[str, tuple[Any, Any]]:
        """What is not saved yet, by field: (old, new); a missing value is None."""
        if self.is_new or state_of(self).gone:
            empty: dict[str, tuple[Any, Any]] = {}
            given = sorted(each for each in self._traits().hiding if self._is_given(each))
            written = dict.fromkeys((*self._dump(), *given))
            return empty | {name: (None, self._value(name)) for name in written}
        pristine = self._pristine()
        names = self._python_names()
        changes = self._changes()
        return {
            names.get(name, name): (pristine._value(name), self._value(name))
            for name in dict.fromkeys(
                (
                    *changes.changed,
                    *sorted(changes.removed),
                    *hidden_changes(self, self._pristine),
                )
            )
        }

    def _is_given(self, stored: str) -> bool:
        return self._python_names().get(stored) in self.__pydantic_fields_set__

    def _value(self, stored: str) -> Any:
        name = self._python_names().get(stored, stored)
        return self.__dict__.get(name, (self.__pydantic_extra__ or {}).get(stored))

    def _changes(self) -> Changes:
        changes = find_changes(self, self._pristine, self._raw())
        self._refuse_reserved(changes.changed)
        return changes

    def _checked_changes(self) -> Changes:
        """What changed, to be saved.

        Raises:
            InvalidData: Something would not be read back as it is.
        """
        changes = self._changes()
        refuse_unreadable(
            self, changes.changed, changes.names, lambda: changes.applied_to(self._raw())
        )
        plan(self)
        return changes

    def _raw(self) -> dict[str, Any]:
        """What the server has, without id and last_modified."""
        source = state_of(self).source
        return {} if source is None else without(source.raw(self.id), NOT_DATA)

    def _pristine(self) -> Self:
        """The object as it was loaded or saved."""
        source = state_of(self).source
        raw = {} if source is None else source.raw(self.id)
        if self.is_partial:
            fields = self.__dict__.keys() & type(self).model_fields.keys()
            found = self._loader().partial(page_of(raw), frozenset(fields))[0]
        else:
            found = self._loader().of(raw)
        kept = None if source is None else source.dump(self.id)
        if kept is not None:
            align(found, kept)
        return found

    def _pristine_dump(self) -> dict[str, JsonValue]:
        """How a pristine object was written when it was loaded."""
        source = state_of(self).source
        kept = None if source is None else source.dump(self.id)
        return self._dump() if kept is None else kept

    def _dump(self) -> dict[str, JsonValue]:
        """The data as JSON, by stored names."""
        if lossy_fields(type(self)):
            refuse_loss(self)
        try:
            data: dict[str, JsonValue] = self.model_dump(
                mode="json",
                by_alias=True,
                exclude=set(NOT_DATA),
                exclude_computed_fields=True,
                warnings="error",
            )
        except (PydanticSerializationError, TypeError, ValueError) as error:
            raise InvalidData(
                f"{self._name} cannot be written as JSON: {error}. Nothing was sent."
            ) from error
        if not isinstance(data, dict):
            raise InvalidData(
                f"{self._name} cannot be saved: the serializer of its model gives no object of "
                "JSON, which a record is. Nothing was sent."
            )
        # A serializer of the model's own excludes nothing.
        return data if data.keys().isdisjoint(NOT_DATA) else without(data, NOT_DATA)

    def _full_data(self) -> dict[str, JsonValue]:
        """All data for a PUT, with stored fields that the model leaves out of its dumps.

        Raises:
            InvalidData: Something would not be read back as it is.
        """
        data, raw = self._dump(), self._raw()
        if raw:
            changes = self._changes()
            kept = {name: as_stored(value) for name, value in raw.items()}
            names = changes.names | (data.keys() - raw.keys())
            data = data | changes.applied_to(kept)
        else:
            names = set(data)
        self._refuse_reserved(names & data.keys() if raw else data)
        refuse_unreadable(self, data, names, lambda: data)
        plan(self)
        return data

    def _remember_doubt(self, error: BaseException) -> None:
        """Keep in mind that the server may have done a write to which no answer came."""
        if isinstance(error, KintoError) and error.lost:
            own_state(self).doubt = True

    @classmethod
    def _require_id(cls, raw: Mapping[str, Any], id: str) -> None:
        """Make sure that an answer is about the object with this id."""
        require_id(raw, id)

    def _refuse_stamp(self, value: object) -> None:
        """Refuse another timestamp than the server's."""
        if value != self.last_modified:
            raise ModelError(
                f"last_modified of {self._name} is the server's and cannot be assigned; to "
                "keep a timestamp, as replicas do, give it to save(last_modified=...)"
            )

    def _stamp(self, raw: Mapping[str, Any]) -> None:
        self.__dict__["id"] = raw["id"]
        self.__dict__["last_modified"] = raw["last_modified"]

    def _fits(self, raw: Mapping[str, Any], expected: Mapping[str, JsonValue]) -> bool:
        """Whether stored data is what was sent, but for what the server makes."""
        made = self.__kinto_server_made__
        return alike(without(raw, made), without(expected, made))

    def _bind_permissions(self, permissions: Permissions) -> Permissions:
        """Say to whom these permissions belong."""
        return permissions

    def _adopt(self, other: Self, keep: frozenset[str]) -> None:
        """Take the other's values, but for the stored names in `keep`."""
        given = {self._python_names().get(stored, stored) for stored in keep}
        names = self._python_names()
        for stored in differing(self, other) - keep:
            name = names.get(stored)
            target, source = (
                (self.__dict__, other.__dict__)
                if name is not None
                else (self.__pydantic_extra__, other.__pydantic_extra__)
            )
            _copy_item(source or {}, target, name or stored)  # type: ignore[arg-type]
        # What the other was not given is not this one's own any more, either.
        self.__pydantic_fields_set__.intersection_update(given)
        self.__pydantic_fields_set__.update(other.__pydantic_fields_set__)

    # Attributes and items

    def _check_attribute(self, name: str, value: object) -> None:
        if name in type(self).model_fields or name.startswith("_") or name == "permissions":
            return
        if _is_settable(type(self), name):
            return
        if hasattr(Stored, name) or any(name in base.__dict__ for base in type(self).__mro__):
            raise AttributeError(
                f"{name!r} is a method or property of {type(self).__name__}; a stored field of "
                f"that name is reached by [{name!r}]"
            )
        if name not in self._extra:
            self._check_names({name: value})

    def _held(self) -> tuple[dict[str, Any], set[str], dict[str, Any]]:
        """All values, to go back to."""
        return self.__dict__.copy(), self.__pydantic_fields_set__.copy(), dict(self._extra)

    def _hold(self, held: tuple[dict[str, Any], set[str], dict[str, Any]]) -> None:
        """Go back to what was held."""
        values, given, extra = held
        object.__setattr__(self, "__dict__", values)
        object.__setattr__(self, "__pydantic_fields_set__", given)
        object.__setattr__(self, "__pydantic_extra__", extra)

    def _set_unchecked(self, name: str, value: Any) -> None:
        if name in type(self).model_fields:
            self.__dict__[name] = value
            self.__pydantic_fields_set__.add(name)
        elif name.startswith("_") or _is_settable(type(self), name):
            super().__setattr__(name, value)
        else:
            self._extra[name] = value

    if not TYPE_CHECKING:
        # Hidden from checkers, or they would take every name for an attribute.

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "id" and state_of(self).source is not None and value != self.id:
                raise ModelError(
                    f"the id of {self._name} cannot change: it is saved. Copy the object instead: "
                    "copy_to(session, id=...)"
                )
            if name == "last_modified":
                self._refuse_stamp(value)
            self._check_attribute(name, value)
            if id(self) in _validating.objects:
                # By a validator of the model, which must not start all validators again.
                self._set_unchecked(name, value)
                return
            _validating.objects.add(id(self))
            before = self._held()
            try:
                super().__setattr__(name, value)
            except BaseException:
                # A validator of the whole model sees the new value in its place, and may refuse it.
                self._hold(before)
                raise
            finally:
                _validating.objects.discard(id(self))

        def __delattr__(self, name: str) -> None:
            if name in NOT_DATA:
                raise ModelError(f"{name} of {self._name} cannot be taken away")
            super().__delattr__(name)

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields and self.is_partial:
                raise NotLoaded(
                    f"{name!r} of {self._name} was not loaded: the query asked for other fields "
                    "only; call refresh() first"
                )
            return super().__getattr__(name)

    def __getitem__(self, name: str) -> JsonValue:
        field = self._field_named(name)
        try:
            value: JsonValue = self._extra[name] if field is None else getattr(self, field)
            return value
        except NotLoaded:
            raise
        except (KeyError, AttributeError):
            known = (*type(self).model_fields, *self._extra)
            raise KeyError(f"{self._name} has no {name!r}{suggestion(name, known)}") from None

    def __setitem__(self, name: str, value: JsonValue) -> None:
        field = self._field_named(name)
        if field is not None:
            setattr(self, field, value)
            return
        if name not in self._extra:
            self._check_names({name: value})
        self._extra[name] = value

    def __delitem__(self, name: str) -> None:
        field = self._field_named(name)
        if field is not None:
            delattr(self, field)
        elif name in self._extra:
            del self._extra[name]
        else:
            raise KeyError(f"{self._name} has no {name!r}")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            self._field_named(name) in self.__dict__ or name in self._extra
        )

    def _field_named(self, name: str) -> str | None:
        """The declared field with this Python name or stored name."""
        return name if name in type(self).model_fields else self._python_names().get(name)

    @property
    def _extra(self) -> dict[str, Any]:
        if self.__pydantic_extra__ is None:
            object.__setattr__(self, "__pydantic_extra__", {})
        return self.__pydantic_extra__  # type: ignore[return-value]

    # Copies carry what the server has

    def __copy__(self) -> Self:
        made = super().__copy__()
        copy_state(self, made)
        return made

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        made = super().__deepcopy__(memo)
        copy_state(self, made)
        return made

    def __getstate__(self) -> dict[Any, Any]:
        return super().__getstate__() | {"__kinto_state__": pickled(self)}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        kept = state.pop("__kinto_state__")
        super().__setstate__(state)
        set_state(self, unpickled(self, kept))


class _Field(dict[str, Any]):
    """The value of a stored field `permissions`, in a dump."""

    @property
    def value(self) -> dict[str, Any]:
        """The value itself."""
        return dict(self)


class _Validating(threading.local):
    """The objects, by their identity, whose attributes this thread is setting."""

    def __init__(self) -> None:
        self.objects: set[int] = set()


_validating = _Validating()


def _is_settable(cls: type, name: str) -> bool:
    """Whether the name stands for a property with a setter."""
    found = next((base.__dict__[name] for base in cls.__mro__ if name in base.__dict__), None)
    return isinstance(found, property) and found.fset is not None


def _copy_item(source: Mapping[str, Any], target: dict[str, Any], name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)
