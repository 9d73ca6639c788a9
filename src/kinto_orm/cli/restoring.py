"""`history`, `diff` and `restore`: what was done, what is different, and back to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, pairwise
from typing import Annotated, Any

from pydantic import JsonValue
from typer import Argument, Context, Exit, Option

from kinto_orm import Bucket, Conflict, HistoryEntry, KintoError, NotFound, Session, TransportError
from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.failing import REFUSED, Misuse, failure_of
from kinto_orm.cli.past import SIGNS, Difference, Past, change_of, milliseconds
from kinto_orm.cli.printing import moment, tell
from kinto_orm.cli.replacing import made_of, write
from kinto_orm.cli.settings import Settings, settings_of
from kinto_orm.cli.targets import (
    Stored,
    Target,
    inside_of,
    model_of,
    real,
    single,
    target_of,
)
from kinto_orm.cli.times import Time, time_of

# So much, in milliseconds, the clocks of a server and of this computer may differ.
_CLOCKS = 60 * 1000


def history(
    ctx: Context,
    target: TargetText,
    limit: Annotated[int | None, Option(min=1, help="The newest so many")] = None,
) -> None:
    """Say what was done to an object and who did it, the newest first.

    Of a bucket or a collection: also to what is inside. What was deleted has a history, too,
    until its bucket is deleted. The times are those that diff and restore take.

    Examples:
        kinto-orm history todos/first
        kinto-orm history /buckets/blog --limit 20
        kinto-orm history todos --json | jq 'select(.action == "delete")'
    """
    settings = settings_of(ctx)
    with settings.session() as session:
        wanted = real(single(target_of(target, session)), session)
        past = Past(wanted, session)
        _refuse_unknown(past, wanted)
        found: Any = past.entries() if limit is None else past.entries().limit(limit)
        if settings.as_json:
            settings.output.rows(
                (each.model_dump(mode="json", by_alias=True) for each in found), ()
            )
            return
        alone = wanted.kind in ("groups", "records")
        pairs = _with_older(found) if alone else ((each, None) for each in found)
        cells = (_cells(each, older) for each, older in pairs)
        settings.output.table(cells, ("time", "action", "who", "target", "changed"))


def diff(
    ctx: Context,
    target: TargetText,
    time: Time,
    until: Annotated[str | None, Argument(metavar="TIME", help="By default now")] = None,
) -> None:
    """Show what is different between a time and now, or between two times.

    Of a bucket or a collection: of all that is inside, too. + was created, - deleted, ~ changed.

    Examples:
        kinto-orm diff todos/first '10 minutes ago'
        kinto-orm diff todos yesterday
        kinto-orm diff /buckets/blog 2026-11-29T08:00 2026-11-29T12:00
        kinto-orm diff todos 1795984521237 --json
    """
    begin, end = time_of(time), None if until is None else time_of(until)
    settings = settings_of(ctx)
    with settings.session() as session:
        wanted = real(single(target_of(target, session)), session)
        past = Past(wanted, session)
        found = False
        for each in past.between(begin, end):
            found = True
            each.show(settings.output)
        _tell_unknown(past)
        if not found:
            _refuse_unknown(past, wanted)
            tell("no difference")


def restore(
    ctx: Context,
    target: TargetText,
    time: Time,
    dry_run: Annotated[bool, Option("--dry-run", help="Only show what would be done")] = False,
    force: Annotated[
        bool, Option("--force", help="Overwrite what somebody changes meanwhile")
    ] = False,
) -> None:
    """Make an object what it was at a time, by the history.

    Of a bucket or a collection: all that is inside, too: what was deleted since is created
    again, what was created since is deleted. Permissions become what they were. What was done is
    printed; --dry-run prints the same and does nothing.

    What somebody else changes while this goes on is not overwritten, and said.

    Examples:
        kinto-orm restore todos/first '10 minutes ago'
        kinto-orm restore todos 2026-11-29T08:00 --dry-run
        kinto-orm restore /buckets/blog yesterday
    """
    when = time_of(time)
    if milliseconds(when) > milliseconds(datetime.now(UTC)) + _CLOCKS:
        raise Misuse(f"{time} is still to come: nobody knows what will be. Nothing was restored")
    settings = settings_of(ctx)
    with settings.session() as session:
        wanted = real(single(target_of(target, session)), session)
        past = Past(wanted, session)
        if past.at(str(wanted), when) is None:
            raise NotFound(
                f"{wanted} was not there at {moment(milliseconds(when))}, by the history"
            )
        if wanted.kind == "buckets" and not force:
            raise Exit(
                _restore_bucket(session.get(Bucket, wanted.id or ""), when, settings, dry_run)
            )
        status, count = 0, 0
        for back in in_order(past.between(when, None)):
            failed = 0 if dry_run else put_back(back, session, force=force)
            status = max(status, failed)
            count += not failed
            if not failed:
                back.show(settings.output)
        tell(f"{'would restore' if dry_run else 'restored'} {count}")
        _tell_unknown(past)
    if status:
        raise Exit(status)


def _restore_bucket(bucket: Bucket, when: int | datetime, settings: Settings, dry_run: bool) -> int:
    """Put a whole bucket back; the exit status."""
    plan = bucket.restore(when, dry_run=dry_run)
    for each in plan.changes:
        told = {"action": each.action, "target": f"{bucket.uri}/{each.id}".rstrip("/")}
        if settings.as_json:
            settings.output.rows([{**told, "fields": list(each.fields)}], ())
        else:
            sign, names = SIGNS[each.action], ", ".join(each.fields)
            settings.output.fields(f"{sign} {told['target']}", *([names] if names else []))
    tell(f"{'would restore' if dry_run else 'restored'} {len(plan.changes)}")
    for uri in plan.left:
        tell(f"left, empty: {bucket.uri}/{uri} (created since; kinto-orm rm deletes it)")
    for uri in plan.unknown:
        tell(f"left as it is, for the history does not reach back so far: {bucket.uri}/{uri}")
    return max((failure_of(each.error) or REFUSED for each in plan.failed), default=0)


def put_back(back: Difference, session: Session, *, force: bool) -> int:
    """Make an object what it is to be; the exit status."""
    model, scope = model_of(back.target, session)
    try:
        there = model.get_or_none(back.target.id or "", session=scope)
        if not force:
            _check_unchanged(back, there)
        _write(back, there, model, scope, force=force)
    except TransportError:
        raise
    except KintoError as error:
        status = failure_of(error)
        return REFUSED if status is None else status
    return 0


def _write(
    back: Difference, there: Stored | None, model: type[Stored], scope: Session, *, force: bool
) -> None:
    if back.after is None:
        if there is not None:
            _refuse_full(there)
            there.delete(force=force, missing_ok=True)
        return
    made = made_of(model, back.target.id, back.after.data)
    write(there, made, back.after.permissions, scope, force=force)


def _refuse_full(there: Stored) -> None:
    """Refuse to delete what has something inside by now.

    Raises:
        Conflict: It has.
    """
    if any(each.exists() for each in inside_of(there).values()):
        raise Conflict(f"{there.uri} is not empty, and stays.")


def _check_unchanged(back: Difference, there: Stored | None) -> None:
    """Refuse to overwrite what was changed since the history was read.

    Raises:
        Conflict: It was.
    """
    expected = None if back.before is None else back.before.last_modified
    if expected != (None if there is None else there.last_modified):
        raise Conflict(f"{back.target} was changed meanwhile, and stays as it is.")


def in_order(found: Iterable[Difference]) -> list[Difference]:
    """What leads back: first what is written, from the outside in; then what is deleted."""
    back = [Difference(each.target, each.after, each.before) for each in found]
    written = [each for each in back if each.after is not None]
    return written + [each for each in reversed(back) if each.after is None]


def _refuse_unknown(past: Past, target: Target) -> None:
    """Refuse a target that never was.

    Raises:
        NotFound: The history does not know it.
    """
    if not past.entries().exists():
        raise NotFound(f"the history does not know {target}")


def _tell_unknown(past: Past) -> None:
    for uri in past.unknown:
        tell(f"left as it is, for the history does not reach back so far: {uri}")


def _cells(entry: HistoryEntry, older: HistoryEntry | None) -> list[JsonValue]:
    """What an entry says, and of an update what was changed."""
    data = entry.target.get("data")
    stamp = data.get("last_modified") if isinstance(data, dict) else None
    when = moment(stamp if isinstance(stamp, int) else entry.last_modified)
    fields: list[str] = []
    if older is not None and entry.action == "update":
        fields = [*change_of(entry, older)]
    return [when, entry.action, entry.user_id, entry.object_uri, ", ".join(fields)]


def _with_older(entries: Iterable[HistoryEntry]) -> Iterator[tuple[HistoryEntry, Any]]:
    """Each entry, with the one before it."""
    yield from pairwise(chain(entries, [None]))
