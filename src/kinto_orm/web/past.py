"""What was: the history as a list of differences, and bringing something back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pydantic import JsonValue
from starlette.responses import Response

from kinto_orm.errors import InvalidData
from kinto_orm.models.contents import same_json
from kinto_orm.models.history import HistoryEntry, Unreadable
from kinto_orm.models.record import Record
from kinto_orm.models.restoring import Deletion
from kinto_orm.models.structure import Bucket, Collection
from kinto_orm.queries.conditions import Condition, col
from kinto_orm.queries.query import Query
from kinto_orm.web.calls import Call
from kinto_orm.web.loaded import Data, first_page
from kinto_orm.web.pages import page
from kinto_orm.web.records import target_of
from kinto_orm.web.refusals import Refused

_SIZE: Final = 20
_MOST_DELETED: Final = 100
_ELSEWHERE: Final = "How it was before is on the next page."
_TOO_DEEP: Final = (
    "cannot be shown here: another program nested it too deeply. The command line shows it: "
    "kinto-orm history, with --json."
)
_HIDDEN: Final = frozenset({"id", "last_modified", "schema"})


@dataclass(frozen=True)
class Difference:
    """A value that is another one than before.

    Attributes:
        name: Its field; with those inside of it after dots.
        old: What was there, as a list of one; empty where nothing was.
        new: The same of what is there since.
    """

    name: str
    old: list[JsonValue]
    new: list[JsonValue]


@dataclass(frozen=True)
class Event:
    """Something that was done to an object.

    Attributes:
        entry: As the history has it.
        differences: What it changed.
        stamp: The object's own timestamp after it; None when it was deleted.
        untold: Why it is not told what was changed; empty where it is.
    """

    entry: HistoryEntry
    differences: list[Difference]
    stamp: int | None
    untold: str


def differences(
    old: Mapping[str, JsonValue], new: Mapping[str, JsonValue], above: str = ""
) -> Iterator[Difference]:
    """What is other in two states of an object, field by field."""
    for name in dict.fromkeys((*old, *new)):
        full = f"{above}.{name}" if above else name
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, full)
        elif name not in old or name not in new or not same_json(before, after):
            yield Difference(full, [before] if name in old else [], [after] if name in new else [])


def data_in(entry: HistoryEntry) -> Data:
    """The object's fields after what an entry tells."""
    found = entry.target.get("data")
    return dict(found) if isinstance(found, dict) else {}


def events(entries: list[HistoryEntry], unreadable: Unreadable) -> list[Event]:
    """What happened, newest first; the oldest entry of the last page is the beginning."""
    return [_event(entry, entries[at + 1 :], unreadable) for at, entry in enumerate(entries)]


def _event(entry: HistoryEntry, older: list[HistoryEntry], unreadable: Unreadable) -> Event:
    if unreadable.of(entry) is not None:
        return Event(entry, [], None, f"What it was then {_TOO_DEEP}")
    before = next((each for each in older if each.object_uri == entry.object_uri), None)
    untold = "" if before is not None or entry.action == "create" else _ELSEWHERE
    if unreadable.of(before) is not None:
        untold = f"What it was before {_TOO_DEEP}"
    data = data_in(entry)
    stamp = data.get("last_modified")
    gone = entry.action == "delete"
    new = {} if gone else _without_hidden(data)
    old = {} if before is None or before.action == "delete" else _without_hidden(data_in(before))
    changes = [] if untold else list(differences(old, new))
    return Event(entry, changes, stamp if isinstance(stamp, int) and not gone else None, untold)


def _without_hidden(data: Data) -> Data:
    return {name: value for name, value in data.items() if name not in _HIDDEN}


async def _history(call: Call, *conditions: Condition | bool) -> Query[HistoryEntry]:
    """The entries of the bucket that the path names, newest first."""
    scope = call.scope()
    found = await Bucket(id=call.named("bucket")).ahistory(session=scope)
    return found.where(*conditions)


async def _shown(call: Call, query: Query[HistoryEntry], there: bool, **context: Any) -> Response:
    """The page of some entries.

    Raises:
        Refused: There are none, and what they would be of is not there either.
    """
    unreadable = Unreadable()
    asked = unreadable.passed_by(query).page_size(_SIZE)
    found = await first_page(asked.resume(call.asked("position") or None))
    if not (found or there or call.asked("position")):
        raise Refused(404, "This was never there", "No history is known of it: check the address.")
    return page(
        call,
        "history.html",
        events=events(list(found), unreadable),
        position=found.position,
        **context,
    )


async def record_history(call: Call) -> Response:
    """Show what was done to a record, also to one that is deleted."""
    target = target_of(call)
    bucket = await call.session.resolve_bucket(call.named("bucket"))
    uri = f"/buckets/{bucket}/collections/{call.named('collection')}/records/{target.id}"
    query = await _history(call, HistoryEntry.object_uri == uri)
    now = await _stamp_now(target.id, uri, call)
    there = now is not None
    return await _shown(
        call, query, there, title=target.title, now=now, of_one=True, back=target.path
    )


async def _stamp_now(id: str, uri: str, call: Call) -> int | None:
    """The timestamp of a record, whatever else it is; None where there is none."""
    try:
        stored = await Record.aget_or_none(id, session=call.scope())
    except InvalidData as error:
        if error.status is not None:
            raise
        reply = await call.session.request("GET", uri)
        stamp: int = reply.object["data"]["last_modified"]
        return stamp
    return None if stored is None else stored.last_modified


async def collection_history(call: Call) -> Response:
    """Show what was done in a collection."""
    bucket = await call.session.resolve_bucket(call.named("bucket"))
    uri = f"/buckets/{bucket}/collections/{call.named('collection')}"
    query = await _history(call, col(HistoryEntry.object_uri).like(f"{uri}/records/*"))
    back = call.at("buckets", call.named("bucket"), "collections", call.named("collection"))
    title = call.named("collection")
    there = await Collection.aget_or_none(title, session=call.scope()) is not None
    return await _shown(call, query, there, title=title, now=None, of_one=False, back=back)


async def bucket_history(call: Call) -> Response:
    """Show what was done in a bucket."""
    back = call.at("buckets", call.named("bucket"))
    query = await _history(call)
    title = call.named("bucket")
    return await _shown(call, query, True, title=title, now=None, of_one=False, back=back)


async def bring_back(call: Call) -> Response:
    """Make a record what it was at a time, if it is still as it was shown."""
    scope, target = call.scope(), target_of(call)
    when = _time_in(call)
    stored = await Record.aget_or_none(target.id, session=scope)
    seen = call.form.get("seen")
    if seen != str(stored.last_modified if stored is not None else ""):
        raise Refused(
            409,
            "Somebody changed it since you looked",
            "Nothing was brought back. Go back, load the history again, and see what is new.",
        )
    if stored is not None:
        await stored.arevert(when)
    else:
        await Record.arestore(target.id, at=when, session=scope)
    call.visit.tell("It is what it was then.")
    return call.goto(target.path)


def _time_in(call: Call) -> int:
    """The time that was chosen, in milliseconds."""
    text = call.form.get("when")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refused(422, "This is no time of the history", "Go back, and load the page again.")
    return int(text)


async def deleted(call: Call) -> Response:
    """Show what was deleted from a collection and is not there again."""
    found: list[Deletion[Record]] = []
    async with aclosing(Record.adeleted(session=call.scope())) as deletions:  # type: ignore[type-var]
        async for each in deletions:
            found.append(each)
            if len(found) == _MOST_DELETED:
                break
    return page(call, "deleted.html", rows=[(each, _data_before(each)) for each in found])


def _data_before(deletion: Deletion[Record]) -> list[tuple[str, JsonValue]]:
    """The first few fields of what was deleted."""
    data = _without_hidden(deletion.object.model_dump(mode="json")) if deletion.object else {}
    return list(islice(data.items(), 4))
