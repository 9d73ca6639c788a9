"""What was, and who did it: the history plugin, snapshots, and the permissions endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from kinto_orm._shown import DescribedModel
from kinto_orm.errors import BadReply, InvalidData, NotFound, Unsupported, again
from kinto_orm.models.asking import ask_about, from_raw, page_at, place_of
from kinto_orm.models.contents import name_of
from kinto_orm.models.loading import loader_of
from kinto_orm.models.pristine import adopt
from kinto_orm.models.resource import Resource
from kinto_orm.models.state import State, own_state, set_state, state_of
from kinto_orm.queries.conditions import Column, Condition, col
from kinto_orm.queries.pager import reading_all
from kinto_orm.queries.positions import next_position
from kinto_orm.queries.query import Query
from kinto_orm.wire.clock import milliseconds
from kinto_orm.wire.flows import ANEW, Flow, ask, side_by_side
from kinto_orm.wire.messages import Reply, Request, is_object
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.places import Place, require
from kinto_orm.wire.scope import Scope

R = TypeVar("R", bound=Resource)
H = TypeVar("H", bound="Query[HistoryEntry]")

_ENTRIES_IN_A_PAGE = 100
# An object's timestamp is so many milliseconds before that of its entry, or after it, where the
# server made both in one request.
_LATEST = 10_000
_EARLIEST = 100
# Paths are long, and some servers take no URL of more than 4,000 characters.
_PATHS_IN_A_REQUEST = 20


class HistoryEntry(Resource):
    """One thing that somebody did to an object of a bucket; the server writes it.

    Attributes:
        date: When, as the server writes it.
        action: "create", "update" or "delete".
        object_uri: The object's path; stored as `uri`.
        user_id: Who did it.
        resource_name: "bucket", "group", "collection" or "record".
        target: The object after it: `data` and `permissions`; no repr and no table shows it.
    """

    __kinto_kind__: ClassVar[str] = "history entry"
    __kinto_says_total__: ClassVar[bool] = False

    date: datetime
    action: str
    object_uri: str = Field(validation_alias="uri", serialization_alias="uri")
    user_id: str
    resource_name: str
    # Of any class: nothing tells here which of its fields are secret.
    target: dict[str, JsonValue] = Field(default={}, repr=False)

    @classmethod
    def __kinto_named__(cls, raw: Mapping[str, Any]) -> str:
        return f"{super().__kinto_named__(raw)} of {raw.get('uri')}"

    def __kinto_check_save__(self, *, force: bool) -> None:
        raise Unsupported(f"{name_of(self)} cannot be changed: the server writes the history")

    def __kinto_check_delete__(self) -> None:
        raise Unsupported(
            f"{name_of(self)} cannot be deleted by itself: the server writes the history. Entries "
            "are deleted by a query, as in bucket.history().where(HistoryEntry.id == ...).delete()"
        )


class History(Query[HistoryEntry]):
    """A query of history entries, newest first unless it is told otherwise."""

    _by_default: ClassVar[str] = "-last_modified"

    def updating(self, *given: object) -> NoReturn:
        """Raise Unsupported: the server writes the history."""
        raise Unsupported("history entries cannot be changed: the server writes the history")


class Unreadable:
    """Lets a history go on where entries cannot be loaded: of these it keeps why.

    Another client may have nested what an entry shows deeper than is loaded; the others tell what
    they tell all the same.

    Attributes:
        why: What is wrong with entries, by their ids.
    """

    def __init__(self) -> None:
        self.why: dict[str, InvalidData] = {}

    def passed_by(self, history: H) -> H:
        """The same entries; those that cannot be loaded say which object, what was done and when.

        What they show of the object is left out, but for its timestamp.
        """
        return history.on_invalid(self._bare)

    def of(self, entry: HistoryEntry | None) -> InvalidData | None:
        """Why an entry does not show its object; None where it does."""
        return None if entry is None else self.why.get(entry.id)

    def _bare(self, raw: dict[str, JsonValue], error: InvalidData) -> HistoryEntry:
        target = raw.get("target")
        data = target.get("data") if isinstance(target, dict) else None
        if not isinstance(data, dict):
            raise error
        bare: JsonValue = {"data": {"last_modified": data.get("last_modified")}}
        entry = loader_of(HistoryEntry).of(raw | {"target": bare})
        self.why[entry.id] = error
        return entry


class PermissionEntry(DescribedModel, BaseModel):
    """An object on which the user has permissions, as the permissions endpoint lists it.

    Attributes:
        uri: The object's path.
        resource_name: "root", "bucket", "group", "collection" or "record".
        id: The object's id; empty for the root.
        permissions: What the user may do with it, by the server's names.
    """

    uri: str
    resource_name: str
    id: str = ""
    permissions: list[str]


_ENTRIES = TypeAdapter(list[PermissionEntry])


def history_of_bucket(scope: Scope, bucket: str) -> Flow[History]:
    """The entries of a bucket, newest first (`GET /buckets/x/history`).

    Raises:
        Unsupported: The server lacks the history plugin.
    """
    yield from require(scope, "history", "read the history")
    return History(HistoryEntry, scope, f"/buckets/{bucket}/history")


def history_of(resource: Resource, given: Scope | None) -> Flow[History]:
    """The entries of one object, newest first."""
    return (yield from _entries_of(resource, (yield from _place_of(resource, given))))


def _entries_of(resource: Resource, place: Place) -> Flow[History]:
    return _entries_in(place, resource.id, resource.__kinto_kind__)


def _entries_in(place: Place, id: str, kind: str) -> Flow[History]:
    history = yield from history_in(place)
    return history.where(HistoryEntry.object_uri == place.of(id, kind))


def history_in(place: Place) -> Flow[History]:
    """The entries of the bucket that a place is in, newest first."""
    return history_of_bucket(place.scope, place.path.split("/")[2])


def modified_at() -> Column[int]:
    """The timestamp of the object that an entry shows, for conditions.

    An entry's own one is some milliseconds later; see `done_at` for one that is far away.
    """
    return col(HistoryEntry.target)["data"]["last_modified"]


def done_at(entry: HistoryEntry) -> int:
    """When something was done, in milliseconds.

    The server writes an entry at the end of the request, or of the whole batch: then the object's
    timestamp is the better one, and what `todo.last_modified` says. Where the two are far from
    each other, the object's was given by who wrote it, or follows such a one.
    """
    data = entry.target.get("data")
    given = data.get("last_modified") if isinstance(data, dict) else None
    written = entry.last_modified or 0
    is_near = type(given) is int and written - _LATEST <= given <= written + _EARLIEST
    return given if is_near else written  # type: ignore[return-value]


def near(when: int) -> tuple[Condition, Condition]:
    """Conditions that find all entries of what was done after a time, and of all until then.

    They find some others, too: `done_at` tells.
    """
    written = col(HistoryEntry.last_modified)
    return written > max(when - _EARLIEST, 0), written <= when + _LATEST


def newest_of(
    history: Query[HistoryEntry],
    uris: Iterable[str],
    wanted: Callable[[HistoryEntry], bool] = lambda _: True,
) -> Flow[dict[str, HistoryEntry]]:
    """The newest entry of each of these objects that is no deletion, by the object's path.

    Args:
        history: In which entries.
        uris: Of the objects.
        wanted: Which entries.
    """
    parts = yield from side_by_side(_newest_of(history, each, wanted) for each in _groups(uris))
    return {uri: entry for part in parts for uri, entry in part.items()}


def _newest_of(
    history: Query[HistoryEntry], uris: list[str], wanted: Callable[[HistoryEntry], bool]
) -> Flow[dict[str, HistoryEntry]]:
    found: dict[str, HistoryEntry] = {}
    these = history.where(HistoryEntry.action != "delete", col(HistoryEntry.object_uri).in_(uris))
    pages = yield from these.page_size(_ENTRIES_IN_A_PAGE).opening()
    while pages.has_more and not found.keys() >= set(uris):
        for each in pages.take((yield from pages.fetching())):
            if wanted(each):
                found.setdefault(each.object_uri, each)
        yield ANEW
    return found


def _groups(items: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(items)
    while group := list(islice(rest, _PATHS_IN_A_REQUEST)):
        yield group


def _place_of(resource: Resource, given: Scope | None) -> Flow[Place]:
    """The place of an object, which from now on knows where it lives."""
    place = yield from place_of(resource, given)
    own_state(resource).plural = place.path
    return place


def looking_back(resource: R, given: Scope | None, when: int | datetime) -> Flow[R]:
    """Find an object as it was.

    Raises:
        NotFound: It was not there at that time.
    """
    milliseconds(when)  # None is no time here
    place = yield from _place_of(resource, given)
    return (yield from as_it_was(type(resource), place, resource.id, when, name_of(resource)))


def as_it_was(
    model: type[R], place: Place, id: str, when: int | datetime | None, name: str
) -> Flow[R]:
    """Find an object as it was.

    Args:
        model: Its class.
        place: Where it is, or was.
        id: Its id.
        when: A time; None: at last, before it was deleted.
        name: How messages call it.

    Raises:
        NotFound: It was not there at that time, or the history does not show it.
        InvalidData: What the history shows cannot be loaded.
    """
    entries = yield from _entries_in(place, id, model.__kinto_kind__)
    if when is None:
        entries = entries.where(HistoryEntry.action != "delete")
    else:
        entries = entries.where(modified_at() <= milliseconds(when))
    try:
        found = yield from reading_all(entries.limit(1))
    except InvalidData as error:
        raise again(error, f"it cannot be told how {name} was: {error}") from error
    if not found or found[0].action == "delete":
        then = "in the history" if when is None else f"there at {when}"
        raise NotFound(f"{name} was not {then}", status=404)
    return shown_by(model, found[0], place, id, name)


def shown_by(model: type[R], entry: HistoryEntry, place: Place, id: str, name: str) -> R:
    """The object that an entry shows.

    Raises:
        BadReply: It shows another one.
    """
    raw = entry.target.get("data")
    if not is_object(raw) or raw["id"] != id:
        raise BadReply(
            f"the history does not show {name} in the entry {entry.id!r}; does a proxy or a cache "
            "mix answers up?"
        )
    old = from_raw(model, raw, place)
    own_state(old).past = True
    return old


def reverting(resource: R, given: Scope | None, when: int | datetime) -> Flow[None]:
    """Make an object what it was, and save it."""
    old = yield from looking_back(resource, given, when)
    adopt(resource, old, frozenset())
    state = state_of(resource)
    if state.gone:
        set_state(resource, State(state_of(old).scope, state.plural, None))
    yield from resource.__kinto_save__(given)


def taking_snapshot(
    model: type[R], scope: Scope, bucket: str, collection: str, when: int | datetime
) -> Flow[list[R]]:
    """All records of a collection as they were (`GET /buckets/b/snapshot/collections/c@time`)."""
    yield from require(scope, "history", "take a snapshot")
    parents = Parents(bucket, collection, False)
    place = Place(scope, f"/buckets/{bucket}/collections/{collection}/records", parents)
    path = f"/buckets/{bucket}/snapshot/collections/{collection}@{milliseconds(when)}"
    doing = f"take a snapshot of {collection} in {bucket}"
    reply = yield from ask_about(model, Request("GET", path), doing, parents)
    found = page_at(model, reply, place)
    for each in found:
        state_of(each).past = True
    return found


def permission_entries(scope: Scope) -> Iterator[Flow[list[PermissionEntry]]]:
    """Every object on which the user has permissions, page by page; see Session.permissions."""
    pages = _PermissionPages(scope)
    while pages.has_more:
        yield pages.reading()


class _PermissionPages:
    """Pages of the permissions endpoint, one after the other.

    Attributes:
        has_more: Whether there is a page to be read.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._query: str | None = None
        self.has_more = True

    def reading(self) -> Flow[list[PermissionEntry]]:
        """Fetch the next page (`GET`)."""
        if self._query is None:
            yield from require(self._scope, "permissions_endpoint", "list the permissions")
        request = Request("GET", "/permissions", self._query or "")
        reply = yield from ask(request, "list the permissions")
        entries = _listed_in(reply)
        following = next_position(reply)
        if following is not None and following == self._query:
            raise reply.bad("the same page comes again and again")
        self._query, self.has_more = following, following is not None
        return entries


def _listed_in(reply: Reply) -> list[PermissionEntry]:
    try:
        return _ENTRIES.validate_python(reply.json.get("data"))
    except ValidationError:
        raise reply.bad() from None
