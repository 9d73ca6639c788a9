"""`models`: typed classes for what is in collections."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Context, Option

from kinto_orm import Collection, Record, Session
from kinto_orm.cli import completing
from kinto_orm.cli.modelling.schemas import shape_of
from kinto_orm.cli.modelling.shapes import Shape
from kinto_orm.cli.modelling.source import Module
from kinto_orm.cli.printing import tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import require_there, target_of
from kinto_orm.cli.wording import said_of
from kinto_orm.wire.jsonvalues import is_deep

# Each level is a class or a pair of brackets; Python compiles some 200 of these.
_MOST_LEVELS = 100


def models(
    ctx: Context,
    collections: Annotated[
        list[str] | None,
        Argument(
            metavar="COLLECTION",
            help="All of the bucket by default",
            autocompletion=completing.collections,
        ),
    ] = None,
    sample: Annotated[int, Option(min=0, help="At how many records to look in each")] = 1000,
) -> None:
    """Print Python source: a model class for each collection, from its schema and a look at it.

    Examples:
        kinto-orm models articles authors --bucket blog > models.py
        kinto-orm models --sample 0     from the schemas alone
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        ids = collections or _all(session)
        module = Module(f"Models of the bucket {session.bucket}.")
        for each in ids:
            require_there(target_of(each, session), session)
            _add(module, session.get(Collection, each), session, sample)
    settings.output.line(str(module).removesuffix("\n"))


def _all(session: Session) -> list[str]:
    if session.collection is not None:
        return [session.collection]
    return sorted(each.id for each in session.find(Collection))


def _add(module: Module, collection: Collection, session: Session, sample: int) -> None:
    schema = collection.json_schema
    shape = (None if schema is None else shape_of(schema)) or Shape()
    inside = session.scoped(collection=collection.id)
    looked_at = inside.find(Record).on_invalid(lambda _, error: tell(f"left out: {said_of(error)}"))
    for record in looked_at.limit(sample) if sample else ():
        data = record.model_dump(mode="json", by_alias=True)
        if is_deep(data, _MOST_LEVELS):
            tell(_too_deep(collection.id, record.id))
        else:
            shape.widen(data)
    module.add(collection.id, shape, has_schema=schema is not None)


def _too_deep(collection: str, id: str) -> str:
    return (
        f"left out: {collection}/{id}: its lists and objects are nested deeper than {_MOST_LEVELS} "
        "levels, which is no model; a field of the type JsonValue takes them"
    )
