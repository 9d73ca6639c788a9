"""`ls` and `get`: what is there."""

from __future__ import annotations

from itertools import chain, islice
from typing import Annotated, Any

from typer import Argument, Context, Option

from kinto_orm import Bucket, Collection, InvalidData, KintoError, Query, Session
from kinto_orm.cli import completing
from kinto_orm.cli.arguments import TARGET_HELP, TargetText
from kinto_orm.cli.printing import Output, moment, tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import (
    Stored,
    Target,
    listed,
    model_of,
    single,
    stored,
    target_of,
)
from kinto_orm.cli.unfit import Data, Whole, data_of, is_unfit, read
from kinto_orm.cli.wording import said_of

# A reader is shown so many fields, of those that so many records have.
_COLUMNS, _LOOK = 4, 50


def ls(
    ctx: Context,
    target: Annotated[
        str | None,
        Argument(metavar="TARGET", help=TARGET_HELP, autocompletion=completing.targets),
    ] = None,
    limit: Annotated[int | None, Option(min=1, help="At most so many")] = None,
    count: Annotated[bool, Option(help="Count what is inside of each")] = True,
) -> None:
    """List what is in TARGET: the buckets, a bucket's collections, a collection's records.

    Without TARGET: the records of the default collection, else the collections of the default
    bucket, else all buckets. A bucket's groups are in /buckets/BUCKET/groups.

    Examples:
        kinto-orm ls /                          all buckets
        kinto-orm ls /buckets/blog              the collections of a bucket
        kinto-orm ls /buckets/blog/groups       its groups
        kinto-orm ls articles --limit 10        records of a collection
        kinto-orm ls articles --json | jq .id   each as a line of JSON
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        given = _by_default(session) if target is None else target_of(target, session)
        within = listed(given, session)
        model, scope = model_of(within, session)
        found: Query[Any] = scope.find(model)
        listing = found if limit is None else found.limit(limit)
        if settings.as_json or not (count and within.kind in ("buckets", "collections")):
            show(settings.output, listing)
        else:
            _show_counted(settings.output, listing)
        if settings.output.is_terminal and within.kind == "collections":
            _tell_groups(scope)


def get(
    ctx: Context,
    target: TargetText,
    permissions: Annotated[
        bool, Option("--permissions", help="Print the permissions, too")
    ] = False,
) -> None:
    """Print an object as JSON.

    With --permissions it is {"data": ..., "permissions": ...}; the server shows the permissions
    to those only who may write the object, others see {}.

    Examples:
        kinto-orm get articles/first
        kinto-orm get /buckets/blog/groups/writers
        kinto-orm get articles --permissions    the collection itself, and who may do what
        kinto-orm get articles/first > a.json   then change it, and: kinto-orm put articles/first -
    """
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        wanted = single(target_of(target, session))
        model, scope = model_of(wanted, session)
        found = _whole(model, wanted, scope)
        told: dict[str, Any] = {"data": found.data, "permissions": found.permissions}
        settings.output.value(told if permissions else found.data)


def _whole(model: type[Stored], target: Target, scope: Session) -> Whole:
    """An object's data and its permissions, as the server writes them."""
    try:
        found = scope.get(model, target.id or "")
    except InvalidData as error:
        if not is_unfit(error):
            raise
        return read(target, scope)
    return Whole(found.id, stored(found), found.permissions.wanted())


def show(output: Output, found: Query[Any], columns: tuple[str, ...] = ()) -> None:
    """Print what a query finds as it comes.

    Args:
        output: Where.
        found: The query.
        columns: The fields that a reader is shown; by default those that most of the first
            objects have.
    """
    rows = data_of(found)
    if output.as_json:
        output.rows((_in_order(row, columns) for row in rows) if columns else rows, ())
        return
    first = list(islice(rows, _LOOK))
    names = columns or _names_in(first)
    cells = (
        [row["id"], moment(row["last_modified"]), *(row.get(name) for name in names)]
        for row in chain(first, rows)
    )
    output.table(cells, ("id", "last_modified", *names))


def _in_order(row: Data, names: tuple[str, ...]) -> Data:
    """The same with the fields in this order behind the others: servers have no order of theirs."""
    others = {name: value for name, value in row.items() if name not in names}
    return others | {name: row[name] for name in names if name in row}


def _names_in(rows: list[Data]) -> tuple[str, ...]:
    """The fields to be shown: of many rows rather than few, simple ones rather than large ones."""
    seen: dict[str, int] = {}
    for row in rows:
        for name, value in row.items():
            weight = 1 if isinstance(value, list | dict) else 1000
            seen[name] = seen.get(name, 0) + weight
    for name in ("id", "last_modified", "schema"):
        seen.pop(name, None)
    chosen = set(sorted(seen, key=lambda name: -seen[name])[:_COLUMNS])
    return tuple(name for name in seen if name in chosen)


def _show_counted(output: Output, found: Query[Any]) -> None:
    """Print buckets or collections, and how much is inside of each."""
    what = "collections" if found.model is Bucket else "records"
    cells = ([each.id, moment(each.last_modified), _count(each)] for each in found)
    output.table(cells, ("id", "last_modified", what))


def _count(parent: Bucket | Collection) -> int | None:
    """How much is inside; None where one may not look."""
    inside = parent.collections if isinstance(parent, Bucket) else parent.records
    try:
        return inside.find().count()
    except KintoError as error:
        tell(f"{parent.id} is not counted: {said_of(error)}")
        return None


def _by_default(session: Session) -> Target:
    """What a session's options speak of: its collection, its bucket, or all buckets."""
    if session.collection is not None:
        return Target((("buckets", session.bucket), ("collections", session.collection)))
    return Target((("buckets", None if session.bucket == "default" else session.bucket),))


def _tell_groups(scope: Session) -> None:
    bucket = Bucket(id=scope.bucket)
    if bucket.groups.find().exists():
        tell(f"and groups: kinto-orm ls /buckets/{scope.bucket}/groups")
