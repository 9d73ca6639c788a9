"""What was, and who did it: the history plugin, snapshots, and the permissions endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, NoReturn, TypeVar

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from kinto_orm.conditions import col
from kinto_orm.errors import BadReply, NotFound, Unsupported
from kinto_orm.pages import next_position
from kinto_orm.protocol import Call, Parents, Reply, Request, is_object, require_id
from kinto_orm.query import Query
from kinto_orm.resource import Resource
from kinto_orm.session import Session
from kinto_orm.state import State, own_state, set_state, state_of

if TYPE_CHECKING:
    R = TypeVar("R", bound=Resource)
else:
    R = TypeVar("R")


class HistoryEntry(Resource):
    """One thing that somebody did to an object of a bucket; the server writes it.

    Attributes:
        date: When, as the server writes it.
        action: "create", "update" or "delete".
        object_uri: The object's path; stored as `uri`.
        user_id: Who did it.
        resource_name: "bucket", "group", "collection" or "record".
        target: The object after it: `data` and `permissions`.
    """

    __kinto_kind__: ClassVar[str] = "history entry"

    date: datetime
    action: str
    object_uri: str = Field(validation_alias="uri", serialization_alias="uri")
    user_id: str
    resource_name: str
    target: dict[str, JsonValue] = {}

    def _save_call(self, given: Session | None, **options: object) -> NoReturn:
        raise Unsupported(f"{self._name} cannot be changed: the server writes the history")

    def _delete_call(self, given: Session | None, **options: bool) -> NoReturn:
        raise Unsupported(
            f"{self._name} cannot be deleted by itself: the server writes the history. Entries are "
            "deleted by a query, as in bucket.history().where(HistoryEntry.id == ...).delete()"
        )


class History(Query[HistoryEntry]):
    """A query of history entries, newest first unless it is told otherwise."""

    _by_default: ClassVar[str] = "-last_modified"

    def count(self) -> int:
        """How many entries there are; `limit` does not count.

        Kinto says no total of a history, so that their ids are read, page by page (`GET`).
        """
        if self._compiled.impossible:
            return 0
        return sum(len(found) for found in self._raw_pages(self._listing()))

    def update(self, *fields: object, **more: object) -> NoReturn:
        """Raise Unsupported: the server writes the history."""
        raise Unsupported("history entries cannot be changed: the server writes the history")


class PermissionEntry(BaseModel):
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


def history_of_bucket(session: Session, bucket: str) -> History:
    """The entries of a bucket, newest first (`GET /buckets/x/history`).

    Raises:
        Unsupported: The server lacks the history plugin.
    """
    session.require("history", "read the history")
    return History(HistoryEntry, session, f"/buckets/{bucket}/history")


def history_of(resource: Resource, session: Session) -> History:
    """The entries of one object, newest first."""
    bucket = resource.uri.split("/")[2]
    return history_of_bucket(session, bucket).where(HistoryEntry.object_uri == resource.uri)


def at(resource: R, session: Session, when: int | datetime) -> R:
    """An object as it was.

    Raises:
        NotFound: It was not there at that time.
    """
    # An entry's own timestamp is some milliseconds later than the object's.
    modified = col(HistoryEntry.target)["data"]["last_modified"]
    entry = history_of(resource, session).where(modified <= milliseconds(when)).first()
    if entry is None or entry.action == "delete":
        raise NotFound(f"{resource._name} was not there at {when}", status=404)
    raw = entry.target.get("data")
    if not is_object(raw):
        raise BadReply(f"the history does not show {resource._name} in the entry {entry.id!r}")
    require_id(raw, resource.id)
    found = type(resource)._from_raw(raw, session, state_of(resource).parent or "")
    own_state(found).past = True
    return found


def revert(resource: R, session: Session, when: int | datetime) -> R:
    """Make an object what it was, and save it."""
    old = at(resource, session, when)
    resource._adopt(old, frozenset())
    state = state_of(resource)
    if state.gone:
        set_state(resource, State(session, state.parent, None))
    return resource.save(session=session)


def milliseconds(when: int | datetime) -> int:
    """A time as the server's timestamps have it."""
    if isinstance(when, datetime):
        return int(when.timestamp() * 1000)
    if type(when) is not int:
        raise TypeError(
            f"{when!r} is no time: give milliseconds as a whole number, such as a last_modified, "
            "or a datetime"
        )
    return when


def snapshot(
    model: type[R], session: Session, bucket: str, collection: str, when: int | datetime
) -> list[R]:
    """All records of a collection as they were (`GET /buckets/b/snapshot/collections/c@time`)."""
    session.require("history", "take a snapshot")
    parent = f"/buckets/{bucket}/collections/{collection}/records"
    path = f"/buckets/{bucket}/snapshot/collections/{collection}@{milliseconds(when)}"

    def receive(reply: Reply) -> list[R]:
        found = model._page(reply, session, parent, None)
        for each in found:
            state_of(each).past = True
        return found

    call = Call(
        Request("GET", path),
        receive,
        f"take a snapshot of {collection} in {bucket}",
        parents=Parents(bucket, collection, False),
    )
    return session.run(call)


def permission_entries(session: Session) -> Iterator[PermissionEntry]:
    """Every object on which the user has permissions; see Session.permissions."""
    session.require("permissions_endpoint", "list the permissions")
    query: str | None = ""
    while query is not None:
        request, asked = Request("GET", "/permissions", query), query
        page, query = session.run(Call(request, _permission_page, "list the permissions"))
        yield from page
        if query == asked:
            raise BadReply("cannot list the permissions: the same page comes again and again")


def _permission_page(reply: Reply) -> tuple[list[PermissionEntry], str | None]:
    """The entries of a page, and where the next one begins."""
    try:
        entries = _ENTRIES.validate_python(reply.json.get("data"))
    except ValidationError:
        raise BadReply(reply.complaint()) from None
    return entries, next_position(reply)
