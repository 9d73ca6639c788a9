"""Keeping a collection's JSON schema in step with its model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, Flag
from typing import Any, cast

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from kinto_orm._shown import Described, Shown, Table, table
from kinto_orm.errors import ConfigurationError, Forbidden, InvalidData, ModelError, NotFound
from kinto_orm.models.asking import home_of
from kinto_orm.models.contents import raw_of
from kinto_orm.models.fitting import fits_schema
from kinto_orm.models.getting import getting, getting_or_creating
from kinto_orm.models.kinds import kinds_of
from kinto_orm.models.loading import loader_of, without
from kinto_orm.models.naming import names_of
from kinto_orm.models.record import Record
from kinto_orm.models.saving import saving
from kinto_orm.models.stored import Stored
from kinto_orm.models.structure import Bucket, Collection
from kinto_orm.queries.pager import reading_all
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.refusals import is_hidden
from kinto_orm.wire.scope import Scope

_SERVER_MADE = ("id", "last_modified")
# A Kinto in a file makes an index on such a field; others take it for a remark.
_INDEXED = "x-indexed"


@dataclass(slots=True, repr=False)
class SchemaChange(Described):
    """What syncing one model means for the server.

    Attributes:
        model: The model's name.
        bucket: The bucket's id.
        collection: The collection's id.
        creates_bucket: The bucket is missing.
        creates_collection: The collection is missing.
        added: Fields that the stored schema does not have, by stored names.
        removed: Fields that only the stored schema has.
        changed: Fields whose schema differs, or that become or cease to be required.
        indexed: Fields of which nothing but an index differs (`"x-indexed": true`).
        rest: Something else of the stored schema differs, such as its title.
        refused: How many stored records do not fit the schema, or the model (its strict mode is
            asked); the server would refuse the next change of each. They are read and counted
            only when fields are added, removed or changed.
        applied: Whether it was done.
    """

    model: str
    bucket: str
    collection: str
    creates_bucket: bool = False
    creates_collection: bool = False
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    indexed: list[str] = field(default_factory=list)
    rest: bool = False
    refused: int = 0
    applied: bool = False

    def __bool__(self) -> bool:
        is_new = self.creates_bucket or self.creates_collection
        return is_new or self.moves_fields or bool(self.indexed) or self.rest

    @property
    def moves_fields(self) -> bool:
        """Whether fields are added, removed or changed."""
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        return f"{self.model} in {self.bucket}/{self.collection}: {self.told}"

    @property
    def told(self) -> str:
        """What changes."""
        new = [name for name in ("bucket", "collection") if getattr(self, f"creates_{name}")]
        parts = [f"new {' and '.join(new)}"] if new else []
        for name in ("added", "removed", "changed"):
            if getattr(self, name):
                parts.append(f"{name} {', '.join(getattr(self, name))}")
        if self.indexed:
            parts.append(f"other indexes: {', '.join(self.indexed)}")
        if self.rest:
            parts.append("changed the rest of the schema")
        if self.refused:
            parts.append(f"{self.refused} stored record(s) do not fit")
        return "; ".join(parts) or "nothing to do"


class SchemaPlan(Shown, list[SchemaChange]):
    """The changes of all models, in order; true when there is anything to do."""

    def __bool__(self) -> bool:
        return any(self)

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def __kinto_table__(self) -> Table:
        rows = [(each.model, f"{each.bucket}/{each.collection}", each.told) for each in self]
        return table("schema", ("model", "collection", "changes"), rows)


def syncing_schema(
    scope: Scope, models: Sequence[type[Record]], *, dry_run: bool
) -> Flow[SchemaPlan]:
    """See Session.sync_schema."""
    scope.require_kinto("sync a schema")
    plan = SchemaPlan()
    for model in models:
        plan.append((yield from _syncing(scope, model, dry_run)))
    return plan


def _syncing(scope: Scope, model: type[Record], dry_run: bool) -> Flow[SchemaChange]:
    if not (isinstance(model, type) and issubclass(model, Record)):
        raise ConfigurationError(f"sync_schema() takes classes of records, not {model!r}")
    kinds = kinds_of(model)
    # The collection of several kinds has one schema, whichever of them is named.
    model = model if kinds is None else cast("type[Record]", kinds.base)
    for each in [model] if kinds is None else kinds.classes():
        _refuse_schema_field(cast("type[Record]", each))
    _, _, bucket, _, collection, *_ = (yield from home_of(model, scope)).path.split("/")
    change = SchemaChange(model.__name__, bucket, collection)
    there = yield from _collection(scope, change)
    wanted = None if model.__kinto_open__ else json_schema(model)
    if wanted is not None:
        _compare(change, there.json_schema or {}, wanted)
        if change.moves_fields and not change.creates_collection:
            change.refused = yield from _misfits(scope, change, model, wanted)
    if not dry_run:
        yield from _apply(scope, change, there, wanted)
    return change


def _refuse_schema_field(model: type[Record]) -> None:
    field = names_of(model).get("schema")
    if field is not None and not model.__kinto_open__:
        raise ModelError(
            f"sync_schema() cannot give {model.__name__} a schema: the server overwrites the field "
            f"{field!r}, which is stored as 'schema', in every record of a collection that has "
            "one. Store it under another name. Nothing was sent."
        )


def _collection(scope: Scope, change: SchemaChange) -> Flow[Collection]:
    """The collection, or a new one when it is missing."""
    try:
        inside = scope.scoped(bucket=change.bucket)
        return (yield from getting(Collection, inside, change.collection))
    except NotFound:
        change.creates_collection = True
    except Forbidden as error:
        if not is_hidden(error):
            raise
        # Missing or not ours: the server does not say which; creating it will tell.
        change.creates_bucket = change.creates_collection = True
    return Collection(id=change.collection, bucket=change.bucket)


def json_schema(model: type[Record]) -> dict[str, Any]:
    """The JSON schema of what a model stores, by stored names.

    Fields with a default are not required, so that older records keep fitting. Names that the
    model does not know are allowed. Of several kinds, it is that of any of them.
    """
    kinds = kinds_of(model)
    if kinds is None or model is not kinds.base or not kinds.classes():
        return _schema_of(model)
    whole = _schema_of(model)
    schemas = {each.__name__: _schema_of(each) for each in kinds.classes() if each is not model}
    definitions: dict[str, Any] = whole.get("$defs", {})
    for each in schemas.values():
        definitions |= each.pop("$defs", {})
    # What has no kind, or an unknown one, has to be as the base is.
    known = {"properties": {kinds.stored: {"enum": kinds.values()}}, "required": [kinds.stored]}
    any_of = [*schemas.values(), {"not": known}]
    return whole | {"anyOf": any_of} | ({"$defs": definitions} if definitions else {})


class _AsWritten(GenerateJsonSchema):
    """Pydantic's schema, but for enums that have more values than those it names."""

    def enum_schema(self, schema: core_schema.EnumSchema) -> dict[str, Any]:
        found = super().enum_schema(schema)
        enum: type[Enum] = schema["cls"]
        if issubclass(enum, Flag):
            # Flags are joined.
            return without(found, ("enum", "const")) | {"type": "integer"}
        if getattr(enum._missing_, "__func__", None) is not Enum._missing_.__func__:  # type: ignore[attr-defined]
            return without(found, ("enum", "const"))  # it may make any
        return found


def _schema_of(model: type[Stored]) -> dict[str, Any]:
    """The JSON schema of one class."""
    schema = model.model_json_schema(
        by_alias=True, mode="serialization", schema_generator=_AsWritten
    )
    definitions: dict[str, Any] = schema.pop("$defs", {})
    if "$ref" in schema:
        # A model that is part of itself has its own schema among the definitions.
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
    computed = {info.alias or name for name, info in model.model_computed_fields.items()}
    own = {model.model_fields[name].serialization_alias or name for name in _SERVER_MADE}
    dropped = own | computed
    wanted: dict[str, Any] = {
        name: schema[name] for name in ("title", "type", "description") if name in schema
    }
    wanted["properties"] = without(schema.get("properties", {}), dropped)
    wanted["required"] = [name for name in schema.get("required", []) if name not in dropped]
    return wanted | ({"$defs": definitions} if definitions else {})


def _compare(change: SchemaChange, old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = old.get("properties", {}), new["properties"]
    change.added = sorted(after.keys() - before.keys())
    change.removed = sorted(before.keys() - after.keys())
    required = set(old.get("required", [])) ^ set(new["required"])
    for name in sorted(before.keys() & after.keys()):
        one, other = _unfolded(old, before[name]), _unfolded(new, after[name])
        if name in required or _unmarked(one) != _unmarked(other):
            change.changed.append(name)
        elif one != other:
            change.indexed.append(name)
    change.rest = old != new and not change.moves_fields and not change.indexed


def _unmarked(part: Any) -> Any:
    """A part of a schema without what asks for an index."""
    if isinstance(part, dict):
        return {name: _unmarked(each) for name, each in part.items() if name != _INDEXED}
    return [_unmarked(each) for each in part] if isinstance(part, list | tuple) else part


def _unfolded(schema: dict[str, Any], part: Any) -> tuple[Any, dict[str, Any]]:
    """A part of a schema, with all the definitions that it leads to."""
    found: dict[str, Any] = {}
    todo = _references(part)
    while todo:
        name = todo.pop()
        found[name] = schema.get("$defs", {}).get(name)
        todo |= _references(found[name]) - found.keys()
    return part, found


def _references(part: Any) -> set[str]:
    return set(re.findall(r"'#/\$defs/([^']+)'", str(part)))


def _misfits(
    scope: Scope, change: SchemaChange, model: type[Record], wanted: dict[str, Any]
) -> Flow[int]:
    """How many stored records the server will refuse by the schema, or the model in strict mode."""
    inside = scope.scoped(bucket=change.bucket, collection=change.collection)
    records = yield from reading_all(Record.find(session=inside))
    return sum(
        not (fits_schema(raw_of(record), wanted) and _fits(model, record)) for record in records
    )


def _fits(model: type[Record], record: Record) -> bool:
    kinds = kinds_of(model)
    if kinds is not None:
        try:
            model = kinds.class_of(record.model_dump(mode="json"), model)
        except InvalidData:
            return False
    return loader_of(model).accepts(record.model_dump_json(), strict=True)


def _apply(
    scope: Scope, change: SchemaChange, there: Collection, wanted: dict[str, Any] | None
) -> Flow[None]:
    if change.creates_bucket and not scope.connection.is_personal(change.bucket):
        yield from getting_or_creating(Bucket, scope, change.bucket, None, {})
    if wanted is not None:
        there.json_schema = wanted
    yield from saving(there, scope.scoped(bucket=change.bucket))
    change.applied = True
