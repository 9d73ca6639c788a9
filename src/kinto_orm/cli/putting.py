"""`put` and `patch`: an object made equal to JSON, or some of its fields set."""

from __future__ import annotations

from typing import Annotated

from typer import Context, Option

from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.documents import Document, Sets, object_of, sets_of
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.replacing import (
    Fields,
    check_stamp,
    made_of,
    permit,
    remove_field,
    set_fields,
    write,
)
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import Stored, Target, model_of, single, stored, target_of

Force = Annotated[
    bool, Option("--force", help="Overwrite what somebody else has written meanwhile")
]


def put(
    ctx: Context,
    target: TargetText,
    json: Document,
    permissions: Sets = None,
    force: Force = False,
) -> None:
    """Make an object equal to JSON: it is created, or all of its data is replaced.

    Fields that the JSON does not have are taken away. Permissions stay as they are unless
    --permissions gives them. The object is printed as it then is.

    Nothing that somebody else wrote is overwritten: where the JSON has a last_modified, as that
    of `kinto-orm get` has, the object must still have it. Without one it must be as it is read
    now. A target that ends in /records creates a record under a new id.

    Examples:
        kinto-orm put articles '{}'                             a collection
        kinto-orm put articles/first '{"title": "Hello"}'
        kinto-orm put /buckets/blog/groups/writers '{"members": ["account:ada"]}'
        kinto-orm put articles/first - < first.json
        kinto-orm put articles/first '{}' --permissions '{"read": ["system.Everyone"]}'
    """
    fields = object_of(json)
    settings = settings_of(ctx)
    with settings.session(makes=True) as session:
        wanted = _named(target_of(target, session), fields)
        sets = sets_of(permissions, wanted.kind)
        model, scope = model_of(wanted, session)
        made = made_of(model, wanted.id, fields)
        there = model.get_or_none(made.id, session=scope) if wanted.id else None
        if not force:
            check_stamp(made.id, there, fields)
        done = write(there, made, sets, scope, force=force)
        tell(f"{done} {wanted if wanted.id else wanted.at(made.id)}")
        settings.output.value(stored(there or made))


def patch(
    ctx: Context,
    target: TargetText,
    json: Document,
    remove: Annotated[
        list[str] | None, Option(metavar="FIELD", help="Take a field away; may be repeated")
    ] = None,
    permissions: Sets = None,
    force: Force = False,
) -> None:
    """Set some fields of an object, and leave the others as they are.

    A value replaces the whole field; null is stored as null. With --permissions the lists that
    are named are replaced. The object is printed as it then is.

    Where the JSON has a last_modified, the object must still have it, unless --force is given.

    Examples:
        kinto-orm patch articles/first '{"title": "Hello", "draft": false}'
        kinto-orm patch articles/first '{}' --remove draft
        kinto-orm patch articles '{"schema": {"type": "object"}}'
        echo '{"draft": true}' | kinto-orm patch articles/first -
    """
    fields = object_of(json)
    settings = settings_of(ctx)
    with settings.session() as session:
        wanted = _named(single(target_of(target, session)), fields)
        sets = sets_of(permissions, wanted.kind)
        model, scope = model_of(wanted, session)
        stamps: list[int | None] = []

        def change(there: Stored) -> None:
            stamps.append(there.last_modified)
            if not force:
                check_stamp(there.id, there, fields)
            set_fields(there, fields)
            for name in remove or ():
                remove_field(there, name)
            permit(there, sets, keep=True)

        found = model.modify(wanted.id or "", change, session=scope)
        tell(f"{'unchanged' if found.last_modified == stamps[-1] else 'updated'} {wanted}")
        settings.output.value(stored(found))


def _named(target: Target, fields: Fields) -> Target:
    """The target, whose id may be in the JSON instead.

    Raises:
        Misuse: The JSON has the id of another object, or none at all has an id.
    """
    id = fields.get("id")
    if id is not None and not isinstance(id, str):
        raise Misuse(f"the id of an object is a text, not {id!r:.80}")
    stamp = fields.get("last_modified")
    if stamp is not None and type(stamp) is not int:
        raise Misuse(f"last_modified is a whole number of milliseconds, not {stamp!r:.80}")
    if target.id is None:
        if id is None and target.kind != "records":
            raise Misuse(f"give its id: {target}/ID")
        return target if id is None else target.at(id)
    if id is not None and target.id not in (id, "default"):
        raise Misuse(f"the JSON has the id {id!r}, and the target is {target}: give one id")
    return target
