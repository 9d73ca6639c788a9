"""Putting a bucket back to what it was at a time: `bucket.restore`.

What was done since is found by the history, and undone object by object: the bucket, its groups and
collections, their records; at the end what was not there then is
deleted, but for collections, which stay empty. Each write says which
state of the object it undoes, so that what somebody does meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from kinto_orm.bulk.jobs import Job, Outcome
from kinto_orm.bulk.summary import Bulk, OnError, Progress
from kinto_orm.errors import InvalidData, KintoError, NotFound, ResponseError, again
from kinto_orm.models.asking import ask_about, home_of, loaded, refuse_foreign, scope_of
from kinto_orm.models.conflicts import conflict_of, conflict_with
from kinto_orm.models.getting import is_missing
from kinto_orm.models.history import HistoryEntry, shown_by
from kinto_orm.models.permissions import Everyone, Permissions, known_to, wished
from kinto_orm.models.planning import Plan, listed, noting
from kinto_orm.models.pristine import adopt
from kinto_orm.models.resource import Resource
from kinto_orm.models.saving import creating_again
from kinto_orm.models.state import permissions_of
from kinto_orm.models.traces import Then, Trace
from kinto_orm.wire.clock import milliseconds
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request, segment
from kinto_orm.wire.places import Place, bucket_id, info_of, is_absent
from kinto_orm.wire.scope import Scope

Models: TypeAlias = Mapping[str, type[Resource]]
"""The class of each kind of object: "bucket", "group", "collection" and "record"."""

Part: TypeAlias = tuple[list[tuple[str, Trace]], Bulk]
"""Objects that may be written side by side, and what writes them."""

Done = Literal["created", "updated", "unchanged", "skipped", "deleted"]

# For so many objects the history is asked at once.
_AT_ONCE = 100
_PARENTS = frozenset({"group", "collection"})


@dataclass(slots=True, repr=False)
class RestorePlan(Plan):
    """What was done to put a bucket back to what it was at a time, or would be done. Print it.

    It has the counts of a Summary; `skipped` are those of `unknown` and `left`. The ids of
    `changes`, and the targets of `failed`, are paths in the bucket, such as
    "collections/todos/records/a".

    Attributes:
        bucket: The bucket's id.
        when: The time, in milliseconds.
        within: The path in the bucket that was put back; empty for all of it.
        dry_run: Whether nothing was written.
        changes: What was created, updated and deleted, or would be.
        unknown: Paths of what was there, and changed since, where the history does not reach back
            to the time. It was left as it is. Where the history cannot be loaded, so was the
            object, and it is in `failed`.
        left: Paths of collections that were not there: their records are deleted, and they stay,
            for Kinto would delete with them what somebody writes at the same time.
    """

    bucket: str = ""
    when: int = 0
    within: str = ""
    unknown: list[str] = field(default_factory=list)

    @property
    def subject(self) -> str:
        """The bucket or what is in it, and the time."""
        return f"{'/'.join(filter(None, (self.bucket, self.within)))} at {self.when}"

    @property
    def left_alone(self) -> list[str]:
        """Lines that say what is not as it was."""
        return [
            *listed("left as it is, for the history does not reach back so far", self.unknown),
            *listed(
                "left empty, for what others write meanwhile would be deleted with it", self.left
            ),
        ]


class PuttingBack:
    """Puts a bucket back to what it was.

    Args:
        bucket: The bucket.
        given: Where it lives; None: where it is known to live.
        when: The time: milliseconds, or a datetime.
        models: The classes of what is in it.
        within: The path in the bucket of what is to be put back; empty for all of it.
        dry_run: Write nothing.
        force: Undo also what is changed after the history was read.
        workers: How many chunks are written at the same time.
        on_error: As in `save_all`.
        progress: As in `save_all`.

    Attributes:
        plan: What was done.
    """

    def __init__(
        self,
        bucket: Resource,
        given: Scope | None,
        when: int | datetime,
        models: Models,
        *,
        within: str,
        dry_run: bool,
        force: bool,
        workers: int,
        on_error: OnError,
        progress: Progress | None,
    ) -> None:
        _check_within(within)
        self.plan = RestorePlan(
            bucket=bucket.id, when=milliseconds(when), within=within, dry_run=dry_run
        )
        self._bucket = bucket
        self._given = given
        self._scope = scope = scope_of(bucket, given)
        self._models = models
        self._options: Any = (workers, on_error, progress, self.plan)
        self._traces: dict[str, Trace] = {}
        self._force = force
        self._jobs = _PutsBack(Then(scope, bucket.id, self.plan.when), models, self.plan)
        Bulk(scope, self._jobs, *self._options)  # refuses wrong options before anything is sent

    def opening(self) -> Flow[None]:
        """Find what was done since.

        Raises:
            NotFound: It was not there at that time.
            Unsupported: The server lacks the history plugin.
        """
        yield from refuse_foreign(self._bucket, self._given)
        plan = self.plan
        id = yield from bucket_id(self._scope, plan.bucket)
        then = Then(self._scope, id, plan.when, plan.within)
        user = (yield from info_of(self._scope)).user or {}
        me = str(user.get("id", Everyone))
        self._jobs = _PutsBack(then, self._models, plan, me, force=self._force)
        self._traces = yield from then.tracing()
        if not (yield from self._was_there(then)):
            what = plan.within or f"the bucket {plan.bucket!r}"
            raise NotFound(f"{what} was not there at {plan.when}", status=404)
        yield from then.looking_ahead(uri for uri, each in self._traces.items() if each.was_there)

    def _was_there(self, then: Then) -> Flow[bool]:
        """Whether what is to be put back was there; what was not changed since is there now."""
        own = self._traces.get(then.root)
        if own is not None or not then.within:
            return own is None or own.was_there
        plural, _, id = then.root.rpartition("/")
        model = self._models[plural.rpartition("/")[2].removesuffix("s")]
        place = (yield from home_of(model, self._scope, plural)).explaining()
        return (yield from _asking(model, place, id)) is not None

    def parts(self) -> Iterator[Part]:
        """What is to be written, part after part; the next is asked for when one is done."""
        for kinds, were_there in (
            ({"bucket"}, {True}),
            (_PARENTS, {True}),
            ({"record"}, {True, False}),
            (_PARENTS, {False}),
        ):
            chosen = [
                (uri, each)
                for uri, each in sorted(self._traces.items(), key=itemgetter(0))
                if each.kind in kinds
                and each.was_there in were_there
                and (each.was_there or each.is_there)
            ]
            if chosen and self.plan.stopped is None:
                yield chosen, Bulk(self._scope, self._jobs, *self._options)


class _PutsBack:
    """Jobs that make objects what they were.

    Args:
        then: The bucket at the time.
        models: The classes of what is in it.
        plan: Notes what changes.
        me: The principal of the user, whom the server lets write what the user writes.
        force: Whether to undo also what is changed after the history was read.
    """

    at_once = _AT_ONCE

    def __init__(
        self, then: Then, models: Models, plan: RestorePlan, me: str = "", *, force: bool = False
    ) -> None:
        self._then = then
        self._models = models
        self._plan = plan
        self._me = me
        self._force = force

    def reading(self, given: list[tuple[str, Trace]]) -> list[tuple[str, Trace]]:
        """The paths, with what is known of them; each is there once."""
        return given

    def making(self, objects: list[tuple[str, Trace]]) -> Flow[list[Job]]:
        """Look how these were, and make the job of each."""
        uris = [uri for uri, each in objects if each.was_there]
        try:
            entries = yield from self._then.last_entries(uris)
        except KintoError as error:
            jobs = [self._failing(self._path_of(uri), error) for uri, _ in objects]
            for each in jobs:
                each.sent = True
            return jobs
        return [self._job(uri, each, entries.get(uri)) for uri, each in objects]

    def _path_of(self, uri: str) -> str:
        return uri.removeprefix(self._then.path).removeprefix("/")

    def _failing(self, path: str, error: KintoError) -> Job:
        """The job of an object of which it is not known how it was."""

        def fail() -> Flow[Done]:
            raise again(error, f"cannot restore {path or 'the bucket'}: {error}")

        return Job(Outcome("save", path), fail)

    def _job(self, uri: str, trace: Trace, entry: HistoryEntry | None) -> Job:
        path = self._path_of(uri)
        unfit = self._then.unreadable.of(entry) or trace.error
        if unfit is not None:
            return self._failing(path, unfit)
        if trace.was_there and entry is None:
            self._plan.unknown.append(path)
            return Job(Outcome("save", path), _skipping)
        model = self._models[trace.kind]
        write = partial(self._writing, model, uri, trace, entry)
        return Job(Outcome("save", path), lambda: noting(self._plan, path, model, write()))

    def _writing(
        self, model: type[Resource], uri: str, trace: Trace, entry: HistoryEntry | None
    ) -> Flow[Done]:
        """Make an object what an entry shows; delete it where there is none."""
        plural, _, id = uri.rpartition("/")
        place = (yield from home_of(model, self._then.scope, plural)).explaining()
        there = yield from _looking(model, place, id)
        old = None
        if entry is not None:
            old = shown_by(model, entry, place, id, f"{model.__name__} {id!r}")
        if not self._force:
            _refuse_changed(there, old, trace, place)
        if old is None or entry is None:
            return (yield from self._deleting(there, self._path_of(uri)))
        permissions = _permissions_in(entry)
        if there is None:
            return (yield from creating_again(old, place, permissions=permissions))
        adopt(there, old, frozenset())
        self._permit(there, permissions)
        return (yield from there.__kinto_save__(self._then.scope))

    def _permit(self, there: Resource, then: Permissions) -> None:
        """Ask for the permissions that there were, where the server shows those that there are.

        The server lets those write who have written, whatever they ask for.
        """
        held = permissions_of(there)
        if held.is_loaded:
            if self._me in held.current("write"):
                then.grant("write", self._me)
            held.replace_by(then)

    def _deleting(self, there: Resource | None, path: str) -> Flow[Done]:
        """Delete what was not there; but a collection stays.

        Kinto deletes a collection with whatever is in it by then, and knows no precondition
        against that.
        """
        if there is None:
            return "unchanged"
        if there.__kinto_kind__ == "collection":
            self._plan.left.append(path)
            return "skipped"
        yield from there.__kinto_delete__(self._then.scope, missing_ok=True)
        return "deleted"


def _refuse_changed(
    there: Resource | None, old: Resource | None, trace: Trace, place: Place
) -> None:
    """Refuse to undo what the history did not show when it was read.

    Raises:
        Conflict: Somebody else wrote the object since, or the history was told nothing of it.
    """
    expected = trace.last_modified if trace.is_there else None
    said = (
        "was changed since its history was read, or the history does not show all changes; it "
        "stays as it is. To undo that, too, restore again. Nothing was sent."
    )
    if there is not None and there.last_modified != expected:
        raise conflict_with(there, f"{there.__kinto_name__} {said}", place)
    if there is None and old is not None and expected is not None:
        raise conflict_of(old, f"{old.__kinto_name__} {said}")


def _skipping() -> Flow[Done]:
    yield from ()
    return "skipped"


def _check_within(within: str) -> None:
    """Refuse what is no path in a bucket.

    Raises:
        InvalidData: It is none.
    """
    plural, *ids = within.split("/")
    kinds = {
        ("groups", 1): ("group",),
        ("collections", 1): ("collection",),
        ("collections", 3): ("collection", "records", "record"),
    }.get((plural, len(ids)))
    if not within:
        return
    if kinds is None or (len(ids) == 3 and ids[1] != "records"):
        raise InvalidData(
            "within= is a path in the bucket, such as 'collections/todos', "
            f"'collections/todos/records/x' or 'groups/writers', not {within!r:.80}"
        )
    for id, kind in zip(ids[::2], kinds[::2], strict=True):
        segment(id, kind)


def _looking(model: type[Resource], place: Place, id: str) -> Flow[Resource | None]:
    """What is there."""
    reply = yield from _asking(model, place, id)
    return None if reply is None else loaded(model, reply, place, id)


def _asking(model: type[Resource], place: Place, id: str) -> Flow[Reply | None]:
    """What the server says of an object (`GET`); None where there is none."""
    request = Request("GET", place.of(id, model.__kinto_kind__))
    doing = f"look for {model.__name__} {id!r} in {place.path}"
    try:
        return (yield from ask_about(model, request, doing, place.parents))
    except ResponseError as error:
        if not (is_missing(model, error) or is_absent(error, place)):
            raise
        return None


def _permissions_in(entry: HistoryEntry) -> Permissions:
    """The permissions that an entry shows."""
    shown = entry.target.get("permissions")
    return wished(known_to(shown if isinstance(shown, dict) else {}))
