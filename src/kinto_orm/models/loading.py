"""From a reply's bytes to objects: pages are parsed whole, the pristine copy is kept as bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Generic, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import (
    CoreConfig,
    CoreSchema,
    PydanticSerializationError,
    SchemaValidator,
    core_schema,
    to_json,
)

from kinto_orm.errors import BadReply, InvalidData
from kinto_orm.models.collector import collector
from kinto_orm.models.naming import cached, names_of, unguarded
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.models.veiling import veil_of
from kinto_orm.wire.forking import cached_property
from kinto_orm.wire.jsonvalues import MOST_LEVELS, decode, is_deep
from kinto_orm.wire.messages import Reply
from kinto_orm.wire.veils import masked, without_values

M = TypeVar("M", bound=Stored)


class Kept:
    """How objects were written right after they were loaded, parsed when that is needed.

    It is kept for models that may give other values when the same is loaded again.

    Args:
        ids: The ids of the objects.
        body: A JSON list of them.
        dumps: The same by id, when it is at hand.
    """

    __slots__ = ("_body", "_dumps", "_ids")

    def __init__(
        self,
        ids: Iterable[str] = (),
        body: bytes = b"[]",
        dumps: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        self._ids = ids
        self._body = body
        self._dumps = dumps

    def of(self, id: str) -> dict[str, Any] | None:
        """The object with this id as it was written, without id and last_modified."""
        if self._dumps is None:
            dumps = (without(each, NOT_DATA) for each in decode(self._body))
            self._dumps = dict(zip(self._ids, dumps, strict=True))
        return self._dumps.get(id)


class Source:
    """What the server sent, parsed again only when a change has to be found.

    Args:
        body: The reply's bytes, shared by all objects of a page.
        raws: The objects themselves by id, when they are at hand.
        kept: How they were written after loading, if loading again could give something else.
    """

    __slots__ = ("_body", "_raws", "kept")

    def __init__(
        self,
        body: bytes | None = None,
        raws: Mapping[str, dict[str, Any]] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._body = body
        self._raws = raws
        self.kept = kept

    def knows(self, id: str) -> bool:
        """Whether the server sent an object with this id."""
        return bool(self.raw(id))

    def raw(self, id: str) -> dict[str, Any]:
        """The object with this id as the server sent it; empty when it sent none."""
        if self._raws is None:
            found = decode(self._body or b"{}").get("data", [])
            found = found if isinstance(found, list) else [found]
            self._raws = {each["id"]: each for each in found}
            self._body = None
        return self._raws.get(id, {})

    def dump(self, id: str) -> dict[str, Any] | None:
        """How the object was written after loading; None when loading again tells."""
        return None if self.kept is None else self.kept.of(id)


def without(raw: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """A copy without some names."""
    kept = dict(raw)
    for name in names:
        kept.pop(name, None)
    return kept


# The `permissions` beside an object.
_PERMISSIONS = core_schema.typed_dict_field(
    core_schema.dict_schema(
        core_schema.str_schema(), core_schema.list_schema(core_schema.str_schema())
    ),
    required=False,
)


# Around the data of what was written come up to so many levels more: in an entry of the history.
_AROUND = 4

# Bytes of a page from which the pause is felt.
_LARGE = 50_000


class Loader(Generic[M]):
    """Builds objects of one model from JSON, with Pydantic's own parser.

    Args:
        model: The model class.
    """

    def __init__(self, model: type[M]) -> None:
        model.model_rebuild()
        self._model = model
        self._veil = veil_of(model)
        self._schema: Any = unguarded(model.__pydantic_core_schema__)
        self._page = self._validator(core_schema.list_schema(self._schema))
        self._single = self._validator(self._schema, permissions=_PERMISSIONS)

    def _validator(self, data: CoreSchema, **beside: core_schema.TypedDictField) -> SchemaValidator:
        """What reads the body of a reply."""
        body = core_schema.typed_dict_schema({"data": core_schema.typed_dict_field(data), **beside})
        return self._compiled(body)

    def _compiled(self, schema: CoreSchema, config: CoreConfig | None = None) -> SchemaValidator:
        if self._veil is not None:
            config = {"hide_input_in_errors": True, **(config or {})}
        # Of a model that was used already Pydantic would take the guarded validator.
        return SchemaValidator(schema, config, _use_prebuilt=False)

    @cached_property
    def _written(self) -> TypeAdapter[list[M]]:
        return TypeAdapter(list[self._model])  # type: ignore[name-defined]

    def kept(self, found: list[M]) -> Kept | None:
        """How these objects are written now; None when they cannot be."""
        try:
            body = self._written.dump_json(
                found, by_alias=True, exclude_computed_fields=True, warnings=False
            )
        except Exception:  # noqa: BLE001  (whatever a serializer raises: saving will say so)
            return None
        return Kept([each.__dict__["id"] for each in found], body)

    def page(self, reply: Reply) -> list[M]:
        """The objects of a list's page.

        Raises:
            InvalidData: One does not fit the model; the message names it and its field.
            BadReply: The body is no JSON.
        """
        try:
            with collector.paused() if len(reply.body) >= _LARGE else nullcontext():
                found: list[M] = self._page.validate_json(reply.body)["data"]
                return found
        except ValidationError as error:
            if _is_too_deep(error):
                return [self.of(raw) for raw in reply.objects]  # not all of them are
            raise self._explain(error, reply, page=True) from self._cause(error)
        except Exception as error:  # noqa: BLE001  (whatever a validator raises)
            for raw in reply.objects:
                self.of(raw)  # says which one it is
            raise self._broken(error, {}) from self._cause(error)

    def single(self, reply: Reply) -> tuple[M, dict[str, list[str]] | None]:
        """The object of a reply, and its permissions if it has any.

        Raises:
            InvalidData: It does not fit the model.
            BadReply: The body is no JSON.
        """
        try:
            found = self._parsed(reply)
        except ValidationError as error:
            raise self._explain(error, reply, page=False) from self._cause(error)
        except Exception as error:  # noqa: BLE001  (whatever a validator raises)
            raise self._broken(error, reply.object["data"]) from self._cause(error)
        return found["data"], found.get("permissions")

    def _parsed(self, reply: Reply) -> dict[str, Any]:
        """What a reply about one object says."""
        found: dict[str, Any] = _read(self._single, reply.body, lambda: reply.object, around=1)
        return found

    def of(self, raw: Mapping[str, Any]) -> M:
        """An object from its JSON data."""
        return self.single(_reply({"data": raw}))[0]

    def again(self, raw: Mapping[str, Any]) -> M:
        """An object from JSON data that was not sent yet, checked as a load would.

        Raises:
            pydantic.ValidationError: It does not fit the model; or what a validator raises.
        """
        made: M = self._single.validate_json(_json({"data": raw}))["data"]
        return made

    def accepts(self, text: str, *, strict: bool) -> bool:
        """Whether an object can be loaded.

        Args:
            text: The JSON of one object.
            strict: In Pydantic's strict mode.
        """
        try:
            self._single.validate_json(f'{{"data": {text}}}', strict=strict)
        except ValidationError:
            return False
        return True

    def partial(self, reply: Reply, fields: frozenset[str]) -> list[M]:
        """Objects that have some fields only; the others are not set at all.

        Args:
            reply: A list's page, fetched with `_fields`.
            fields: The Python names of the fields.
        """
        validator = self.of_fields(fields)
        return [self._assemble(raw, validator) for raw in reply.objects]

    def fields(self, raw: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
        """The values of some fields, by Python names, without the validators of the whole model.

        There are none when they do not fit.
        """
        try:
            values: dict[str, Any] = self.of_fields(names).validate_json(_json(raw))[0]
        except Exception:  # noqa: BLE001  (a validator of the model may raise anything)
            return {}
        return {name: values[name] for name in names}

    def _assemble(self, raw: dict[str, Any], validator: SchemaValidator) -> M:
        try:
            values, extra, given = _read(validator, json.dumps(raw), lambda: raw)
        except ValidationError as error:
            if _is_too_deep(error):
                raise self._too_deep(raw) from self._cause(error)
            raise self._unfit(error, raw, _location(error)) from self._cause(error)
        except Exception as error:  # noqa: BLE001  (whatever a validator raises)
            raise self._broken(error, raw) from self._cause(error)
        found = self._model.__new__(self._model)
        object.__setattr__(found, "__dict__", values)
        object.__setattr__(found, "__pydantic_fields_set__", given)
        object.__setattr__(found, "__pydantic_extra__", extra)
        object.__setattr__(found, "__pydantic_private__", None)
        return found

    def of_fields(self, names: frozenset[str]) -> SchemaValidator:
        """What validates some fields as the model would, with its settings and their validators."""
        schema = self._schema
        definitions: list[Any] = []
        config = None
        while schema["type"] != "model-fields":
            definitions = schema.get("definitions", definitions)
            config = schema.get("config", config)
            if schema["type"] == "definition-ref":
                schema = next(each for each in definitions if each["ref"] == schema["schema_ref"])
            else:
                schema = schema["schema"]
        fields = {name: each for name, each in schema["fields"].items() if name in names}
        some: Any = schema | {"fields": fields}
        return self._compiled(core_schema.definitions_schema(some, definitions), config)

    def _explain(self, error: ValidationError, reply: Reply, *, page: bool) -> InvalidData:
        if not page and _is_too_deep(error):
            return self._too_deep(reply.object["data"])
        first = error.errors(include_url=False)[0]
        where = _location(error)
        if first["type"] == "json_invalid" or where[:1] != ["data"]:
            # Pydantic's error shows the body, and a gateway's page may show the credentials.
            if self._veil is not None:
                reply.mask = masked(reply.mask, tuple)
            raise reply.bad() from None
        del where[0]
        try:
            raw: Any = reply.objects[where.pop(0)] if page else reply.object["data"]
        except BadReply as bad:
            raise bad from None
        return self._unfit(error, raw, where)

    def _too_deep(self, raw: Mapping[str, Any]) -> InvalidData:
        return InvalidData(
            f"the stored {self._model.__kinto_named__(raw)} cannot be loaded: its lists and "
            f"objects are nested deeper than {MOST_LEVELS} levels, which another client wrote. "
            "`session.request` reads it as JSON; `on_invalid` of a query leaves it out.",
            status=None,
        )

    def _cause(self, error: Exception) -> Exception | None:
        """What is chained to an error about a record; None where it may say values of secrets."""
        return error if self._veil is None else None

    def _broken(self, error: Exception, raw: Mapping[str, Any]) -> InvalidData:
        said = self._veiled(str(error), raw)
        return InvalidData(
            f"the stored {self._model.__kinto_named__(raw)} cannot be loaded: a validator of "
            f"the model failed with {type(error).__name__}: {said}. Read it as a plain Record to "
            "see its data.",
            status=None,
        )

    def _unfit(
        self, error: ValidationError, raw: Mapping[str, Any], where: Sequence[Any]
    ) -> InvalidData:
        errors = error.errors(include_url=False)
        first = errors[0]
        record = first["loc"][: len(_location(error)) - len(where)]
        problems = sum(each["loc"][: len(record)] == record for each in errors)
        said, hint = self._said(first, raw, where), self._hint(first)
        field = self._veiled(".".join(str(part) for part in where), raw) or "the whole object"
        return InvalidData(
            f"the stored {self._model.__kinto_named__(raw)} does not fit the model: "
            f"{field}: {said} ({problems} problem(s)). Change the model "
            "(a default, another type, a validation_alias for a renamed field), or read it as "
            f"a plain Record to mend the data.{hint}",
            status=None,
        )

    def _said(self, first: Any, raw: Mapping[str, Any], where: Sequence[Any]) -> str:
        """What is wrong; of a secret field no more than the kind of that, if it has a value in it.

        Names within lists have no place in the paths of secret fields, so that they are left out.
        """
        names = [each for each in where if isinstance(each, str)]
        if self._veil is not None and "ctx" in first and self._veil.hides(names):
            return f"its value is refused ({first['type']}), and not shown, for the field is secret"
        return self._veiled(str(first["msg"]), raw)

    def _veiled(self, text: str, raw: Mapping[str, Any]) -> str:
        """What a validator of the program says, without the values of secret fields."""
        return text if self._veil is None else without_values(text, self._veil.values(raw))

    def _hint(self, first: Any) -> str:
        """What to do about an object that may be of another class."""
        name = first["loc"][-1]
        field = names_of(self._model).get(name)
        info = self._model.model_fields.get(field or "")
        if first["type"] != "literal_error" or info is None:
            return ""
        value = next(iter(get_args(info.annotation)), None)
        model = self._model.__name__
        return (
            f" If objects of other classes are in the same collection, ask for these only: "
            f"{model}.find({model}.{field} == {value!r}), or give the class that they have in "
            f"common a discriminator={field!r}."
        )


def loader_of(model: type[M]) -> Loader[M]:
    """What loads objects of a class, made when it is first asked for."""
    found: Loader[M] | None = model.__kinto_cache__.get("loader")
    return cached(model, "loader", lambda: Loader(model)) if found is None else found


def _read(
    validator: SchemaValidator, body: bytes | str, parsed: Callable[[], Any], *, around: int = 0
) -> Any:
    """What a validator makes of JSON.

    Pydantic's parser reads as many levels as may be written, and what is read has some more.

    Args:
        validator: Of what is read.
        body: That, as JSON.
        parsed: Gives the same, parsed.
        around: How many levels it has around the data of an object.
    """
    try:
        return validator.validate_json(body)
    except ValidationError as error:
        if not _is_too_deep(error) or is_deep(parsed(), MOST_LEVELS + _AROUND + around):
            raise
        return validator.validate_python(parsed())


def _is_too_deep(error: ValidationError) -> bool:
    """Whether the JSON may be well, and has more levels than Pydantic's parser reads."""
    first = error.errors(include_url=False, include_input=False)[0]
    return first["type"] == "json_invalid" and "recursion limit" in first["msg"]


def _location(error: ValidationError) -> list[Any]:
    return list(error.errors(include_url=False)[0]["loc"])


def page_of(*raws: Mapping[str, Any]) -> Reply:
    """A page with these objects only."""
    return _reply({"data": raws})


def _reply(body: Mapping[str, Any]) -> Reply:
    return Reply(200, {}, _json(body))


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return to_json(body, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError):  # half of a surrogate pair; many levels
        return json.dumps(body).encode()
