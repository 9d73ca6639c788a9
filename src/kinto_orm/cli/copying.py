"""`cp` and `mv`: buckets, collections, groups and records, also between servers."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Context, Exit, Option

from kinto_orm import NotFound, Session
from kinto_orm.cli import completing
from kinto_orm.cli.addresses import Servers
from kinto_orm.cli.failing import Misuse
from kinto_orm.cli.printing import tell
from kinto_orm.cli.progress import progress_bars
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import Target, model_of, real
from kinto_orm.cli.transfer import Transfer

_ADDRESS = "A target, or a URL: https://host/v1/buckets/..., sqlite:///file.db/buckets/..."

From = Annotated[str, Argument(metavar="FROM", help=_ADDRESS, autocompletion=completing.targets)]
To = Annotated[
    str,
    Argument(
        metavar="TO",
        help="The same; a server alone means the same path there",
        autocompletion=completing.targets,
    ),
]
FromAuth = Annotated[
    str | None, Option(metavar="AUTH", help="user:password where FROM is; a user alone is asked")
]
ToAuth = Annotated[str | None, Option(metavar="AUTH", help="The same where TO is")]
Force = Annotated[bool, Option("--force", help="Overwrite what is there")]
WithPermissions = Annotated[
    bool, Option(help="Copy who may do what; without, it goes several times as fast")
]


def cp(
    ctx: Context,
    source: From,
    to: To,
    from_auth: FromAuth = None,
    to_auth: ToAuth = None,
    permissions: WithPermissions = True,
    force: Force = False,
) -> None:
    """Copy an object with all that is inside: records, groups, schema, attributes, permissions.

    TO is the new object, or what it goes into: a record into a collection, a collection or a
    group into a bucket. /records, /collections, /groups and /buckets at the end of FROM mean all
    of them. Who one is on another server says its profile, or --from-auth and --to-auth.

    What is there is not overwritten without --force. What is there and equal is left alone, so
    that a copy that was interrupted is gone on with by the same command.

    Examples:
        kinto-orm cp todos old-todos
        kinto-orm cp todos/first archive
        kinto-orm cp /buckets/blog /buckets/blog2
        kinto-orm cp https://a.example/v1/buckets/x/collections/y sqlite:///y.db
        kinto-orm cp /buckets/blog https://b.example/v1 --to-auth ada
    """
    _transfer(ctx, (source, from_auth), (to, to_auth), permissions, force, move=False)


def mv(
    ctx: Context,
    source: From,
    to: To,
    from_auth: FromAuth = None,
    to_auth: ToAuth = None,
    permissions: WithPermissions = True,
    force: Force = False,
) -> None:
    """Move an object with all that is inside: it is copied as by cp, and deleted where it was.

    Only that is deleted of which the copy is there for sure, and which nobody changed meanwhile.
    What stays is said, and the exit status is 1; the same command goes on.

    Examples:
        kinto-orm mv todos done-todos
        kinto-orm mv todos/first archive
        kinto-orm mv /buckets/blog https://b.example/v1 --to-auth ada
    """
    _transfer(ctx, (source, from_auth), (to, to_auth), permissions, force, move=True)


def _transfer(
    ctx: Context,
    source: tuple[str, str | None],
    to: tuple[str, str | None],
    permissions: bool,
    force: bool,
    *,
    move: bool,
) -> None:
    settings = settings_of(ctx)
    with Servers(settings).opened() as servers:
        begin = servers.address(*source)
        if begin.target is None:
            raise Misuse("FROM is a server only: say what to copy, such as /buckets/blog on it")
        end = servers.address(*to, makes=True)
        there = real(_where(begin.target, end.target), end.session)
        here = real(begin.target, begin.session)
        if (begin.session, here) == (end.session, there):
            raise Misuse(f"{here} is both where it is and where it goes")
        if end.target is None:
            _make_parents(there, end.session)
        bars = progress_bars()
        bar = bars.add_task("moved" if move else "copied", total=None)
        transfer = Transfer(begin.session, end.session, force, permissions, move)
        transfer.progress = lambda counts: bars.update(bar, completed=counts.done)
        try:
            with bars:
                transfer.all(here, there)
        except KeyboardInterrupt:
            tell("interrupted; the same command goes on")
            raise
        finally:
            tell(str(transfer.counts))
            if transfer.counts.hidden:
                tell(
                    f"the permissions of {transfer.counts.hidden} are not shown to you: not copied"
                )
    if transfer.counts.status:
        raise Exit(transfer.counts.status)


def _where(source: Target, to: Target | None) -> Target:
    """What the copy is: the target itself, or something in it.

    Raises:
        Misuse: The target can be neither.
    """
    if to is None:
        return source
    parent = source.parent.kind if source.parent else None
    if to.kind == parent and to.id is not None:
        return to.child(source.kind, source.id)
    if to.kind == source.kind and to.id is None and source.id is not None:
        return to.at(source.id)
    if to.kind == source.kind and (to.id is None) == (source.id is None):
        return to
    raise Misuse(f"{source} cannot become {to}: a record goes into a collection, and so on")


def _make_parents(target: Target, session: Session) -> None:
    """Make the bucket and the collection that an object lives in, where they are not there."""
    parent = target.parent
    if parent is None or parent.id is None:
        return
    _make_parents(parent, session)
    model, scope = model_of(parent, session)
    try:
        found = model.get_or_none(parent.id, session=scope)
    except NotFound:
        found = None
    if found is None:
        model(id=parent.id).save(session=scope, existing="skip")
        tell(f"made {parent}")
