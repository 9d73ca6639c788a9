"""`find`: what meets conditions."""

from __future__ import annotations

from typing import Annotated, Any

from typer import Argument, Context, Option

from kinto_orm import Condition, InvalidData, Query, read_condition, read_order
from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.objects import show
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import listed, model_of, target_of
from kinto_orm.cli.wording import said_of


def find(
    ctx: Context,
    collection: TargetText,
    condition: Annotated[
        list[str] | None, Argument(metavar="CONDITION", help="All of them have to hold")
    ] = None,
    sort: Annotated[
        str | None, Option(metavar="FIELDS", help="title,-price: - is for downwards")
    ] = None,
    limit: Annotated[int | None, Option(min=1, help="At most so many")] = None,
    fields: Annotated[str | None, Option(metavar="FIELDS", help="These only: title,price")] = None,
    count: Annotated[bool, Option("--count", help="Print how many there are")] = False,
) -> None:
    """Find the records of a collection that meet all conditions.

    A condition is a field, an operator and a value: = != < <= > >= ~ (a pattern with *), in,
    not in, has (a list has the value), exists, not exists. The value is JSON if it parses as
    JSON, else a text: 2 is a number, "2" a text. Put each condition into quotes, for the shell.
    A collection that is a path such as /buckets or /buckets/blog/groups serves, too.

    Examples:
        kinto-orm find todos 'done=false' 'price>=74' --sort -price
        kinto-orm find todos 'name~n*' --fields name,price --limit 10
        kinto-orm find todos 'status in open,new' 'tags has urgent'
        kinto-orm find todos 'due not exists' 'place.city=Lyon' --count
        kinto-orm find todos -- '-x=1'      behind -- a condition may begin with a dash
        kinto-orm find todos 'done=true' --json | jq -r '"todos/" + .id' | kinto-orm rm -
    """
    conditions, orders = _read(condition or [], sort or "")
    names = tuple(each.strip() for each in (fields or "").split(",") if each.strip())
    settings = settings_of(ctx)
    with settings.session(reads=True) as session:
        model, scope = model_of(listed(target_of(collection, session), session), session)
        found: Query[Any] = scope.find(model).where(*conditions).order_by(*orders)
        if count:
            settings.output.value(found.count())
            return
        found = found.limit(limit) if limit else found
        show(settings.output, found.only(*names) if names else found, names)


def _read(conditions: list[str], order: str) -> tuple[list[Condition], list[object]]:
    """What the conditions and the order mean.

    Raises:
        Misuse: One is none.
    """
    try:
        return [read_condition(each) for each in conditions], [*read_order(order)]
    except InvalidData as error:
        raise Misuse(said_of(error)) from None
