"""`history`, `diff` and `restore`: what was done, what is different, and back to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, pairwise
from typing import Annotated, Any

from pydantic import JsonValue
from typer import Argument, Context, Exit, Option

from kinto_orm import Bucket, NotFound, RestorePlan, Session, SyncChange
from kinto_orm.cli.arguments import TargetText
from kinto_orm.cli.failing import REFUSED, Misuse, failure_of
from kinto_orm.cli.past import SIGNS, Difference, Past, change_of, milliseconds
from kinto_orm.cli.printing import Output, Row, moment, tell
from kinto_orm.cli.settings import settings_of
from kinto_orm.cli.targets import Target, real, require_there, single, stored, target_of
from kinto_orm.cli.times import Time, time_of
from kinto_orm.cli.unfit import Told

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
    with settings.session(reads=True) as session:
        wanted = _wanted(target, session)
        past = Past(wanted, session)
        _refuse_unknown(past, wanted)
        found = past.told(limit)
        if settings.as_json:
            rows = (stored(each.entry) | {"target": each.target} for each in found)
            settings.output.rows(rows, ())
            return
        alone = wanted.kind in ("groups", "records")
        pairs = _with_older(found) if alone else ((each, None) for each in found)
        cells = (_cells(told, older) for told, older in pairs)
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
    with settings.session(reads=True) as session:
        wanted = _wanted(target, session)
        past = Past(wanted, session)
        found = False
        for each in past.between(begin, end):
            found = True
            each.show(settings.output)
        _tell_unknown(past.unknown)
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
    with settings.session(reads=dry_run) as session:
        wanted = _wanted(target, session)
        above, below = Bucket(id=wanted.id_of("buckets") or ""), wanted.inside("buckets")
        # Read before anything is written: of a whole bucket it may be too much to be kept.
        shown = _differences(Past(wanted, session), when) if below else {}
        plan = above.restore(when, within=below, dry_run=dry_run, force=force, session=session)
        try:
            for each in _in_order(plan.changes, shown):
                _show(each, above.uri, shown, settings.output)
        finally:  # done it is, whether or not it can be printed
            tell(f"{'would restore' if dry_run else 'restored'} {len(plan.changes)}")
            _tell_left(plan, above.uri)
    status = max((failure_of(each.error) or REFUSED for each in plan.failed), default=0)
    if status or below in plan.unknown:
        raise Exit(status or REFUSED)


def _wanted(text: str, session: Session) -> Target:
    """The object of which the past is wanted; it may be gone, and its bucket is there."""
    wanted = single(target_of(text, session))
    require_there(wanted.bucket, session)
    return real(wanted, session)


def _differences(past: Past, when: int | datetime) -> dict[str, Difference]:
    """What leads back to a time, by the path in the bucket."""
    found = (each.back for each in past.between(when, None))
    return {each.target.inside("buckets"): each for each in found}


def _in_order(changes: list[SyncChange], shown: Iterable[str]) -> list[SyncChange]:
    """What was done: what is written from the outside in; then what is deleted."""
    places = {path: place for place, path in enumerate(shown)}
    changes = sorted(changes, key=lambda each: (places.get(each.id, len(places)), each.id))
    written = [each for each in changes if each.action != "delete"]
    return written + [each for each in reversed(changes) if each.action == "delete"]


def _show(done: SyncChange, bucket: str, shown: dict[str, Difference], output: Output) -> None:
    """Print one change."""
    if done.id in shown:
        shown[done.id].show(output)
        return
    target = f"{bucket}/{done.id}".rstrip("/")
    if output.as_json:
        told: Row = {"action": done.action, "target": target, "fields": list(done.fields)}
        output.rows([told], ())
    else:
        names = ", ".join(done.fields)
        output.fields(f"{SIGNS[done.action]} {target}", *([names] if names else []))


def _tell_left(plan: RestorePlan, bucket: str) -> None:
    for uri in plan.left:
        tell(f"left, empty: {bucket}/{uri} (created since; kinto-orm rm deletes it)")
    _tell_unknown(f"{bucket}/{uri}".rstrip("/") for uri in plan.unknown)


def _refuse_unknown(past: Past, target: Target) -> None:
    """Refuse a target that never was.

    Raises:
        NotFound: The history does not know it.
    """
    if not past.entries().exists():
        raise NotFound(f"the history does not know {target}")


def _tell_unknown(unknown: Iterable[str]) -> None:
    for uri in unknown:
        tell(f"left as it is, for the history does not reach back so far: {uri}")


def _cells(told: Told, older: Told | None) -> list[JsonValue]:
    """What an entry says, and of an update what was changed."""
    entry, data = told.entry, told.target.get("data")
    stamp = data.get("last_modified") if isinstance(data, dict) else None
    when = moment(stamp if isinstance(stamp, int) else entry.last_modified)
    fields: list[str] = []
    if older is not None and entry.action == "update":
        fields = [*change_of(told, older)]
    return [when, entry.action, entry.user_id, entry.object_uri, ", ".join(fields)]


def _with_older(entries: Iterable[Told]) -> Iterator[tuple[Told, Any]]:
    """Each entry, with the one before it."""
    yield from pairwise(chain(entries, [None]))
