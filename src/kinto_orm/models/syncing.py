"""Making a collection equal to an iterable: `session.sync`.

What is given is saved over what is there. With `delete_missing`, what was not given is deleted at
the end. Of a dry run each flow goes on until it would write.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kinto_orm.bulk.jobs import Existing, Job, Outcome
from kinto_orm.bulk.summary import Bulk, OnError, Progress, Upserts
from kinto_orm.errors import ConfigurationError, InvalidData, wrong_option
from kinto_orm.models.asking import home_of, is_foreign
from kinto_orm.models.contents import name_of
from kinto_orm.models.hooks import sees_deletions
from kinto_orm.models.links import lead_elsewhere, link_fields
from kinto_orm.models.making import of_fields
from kinto_orm.models.naming import of_a_client
from kinto_orm.models.overlaying import say_defaults
from kinto_orm.models.planning import Plan, listed, noting
from kinto_orm.models.resource import Resource
from kinto_orm.models.saving import plural_in
from kinto_orm.models.state import own_state, state_of
from kinto_orm.queries.pager import Pager
from kinto_orm.queries.query import Query
from kinto_orm.queries.unfit import Raw
from kinto_orm.wire.flows import ANEW, Flow
from kinto_orm.wire.messages import timestamp
from kinto_orm.wire.places import bucket_id
from kinto_orm.wire.scope import Scope


@dataclass(slots=True, repr=False)
class SyncPlan(Plan):
    """What was done to make a collection equal to an iterable, or would be done. Print it.

    It has the counts of a Summary, and of what changes the ids.

    Attributes:
        model: The name of the class.
        dry_run: Whether nothing was written; then no hook was called, and what hooks would have
            set is not in the plan.
        changes: What was created, updated and deleted, or would be.
        left: The ids of what was not given and would have been deleted, but was written after the
            work began.
        kept: How many objects are there that were not given, and stay because something failed;
            None when that was not looked at.
    """

    model: str = ""
    kept: int | None = None

    @property
    def subject(self) -> str:
        """The name of the class."""
        return self.model

    @property
    def left_alone(self) -> list[str]:
        """Lines that say what was not given, and is there."""
        kept = [f"{self.kept} not deleted, because something failed"] if self.kept else []
        return kept + listed("not deleted, because somebody wrote it meanwhile", self.left)


class Syncing:
    """Makes a collection equal to what is given.

    Args:
        scope: Where.
        model: The class of the objects.
        delete_missing: Whether what was not given is to be found.
        dry_run: Write nothing.
        existing: What becomes of what is there.
        workers: How many chunks are written at the same time.
        on_error: As in `save_all`.
        progress: As in `save_all`.

    Attributes:
        plan: What was done.
        saving: Saves what is given.
        deleting: Deletes what was not.
    """

    def __init__(
        self,
        scope: Scope,
        model: type[Resource],
        *,
        delete_missing: bool,
        dry_run: bool,
        existing: Existing,
        workers: int,
        on_error: OnError,
        progress: Progress | None,
    ) -> None:
        if existing not in ("update", "replace"):
            raise wrong_option(f"existing must be 'update' or 'replace' here, not {existing!r}")
        self.plan = SyncPlan(model=model.__name__, dry_run=dry_run)
        self._scope = scope
        self._model = model
        self._deletes = delete_missing
        self._as_of = 0
        self._ids: set[str] = set()
        ids = self._ids if delete_missing else None
        rest = workers, on_error, progress, self.plan
        self.saving = Bulk(scope, _Saves(scope, model, existing, self.plan, ids), *rest)
        self.deleting = Bulk(scope, _Deletes(scope, self.plan), *rest)

    def opening(self) -> Flow[None]:
        """Note the time, and make sure that a dry run does not promise what would fail.

        Raises:
            NotFound: The collection is missing, and the first write would not make it.
        """
        place = yield from home_of(self._model, self._scope)
        checks = self.plan.dry_run and (place.parents is None or not place.parents.permitted)
        if checks or self._deletes:
            query = Query(self._model, self._scope).only("id").limit(1)
            reply = yield from (yield from self._pages(query, unmade=not checks)).fetching()
            stamp = timestamp(reply.headers)
            if stamp is None and reply.objects:
                raise reply.bad(
                    "the answer has no ETag, which says as of when it is: does a proxy leave it "
                    "out? Without it nobody knows what may be deleted. Nothing was written."
                )
            self._as_of = stamp or 0

    def missing(self) -> Flow[list[Any]]:
        """Find what is there and was not given; nothing when something failed.

        Where a hook is to see what is deleted it is loaded whole, else the ids are. What somebody
        wrote since the work began is left: nobody could have given it.
        """
        found: list[Any] = []
        for alias in self._ids & self._model.__kinto_aliases__:
            self._ids.add((yield from bucket_id(self._scope, alias)))
        pages = yield from self._pages(self._seen(found), unmade=True)
        while pages.has_more:
            page = pages.take((yield from pages.fetching()))
            missing = [each for each in page if each.id not in self._ids]
            found += [each for each in missing if (each.last_modified or 0) <= self._as_of]
            self.plan.left += [
                each.id for each in missing if (each.last_modified or 0) > self._as_of
            ]
            yield ANEW
        if not self.plan.failed and self.plan.stopped is None:
            return found
        self.plan.kept = len(found)
        return []

    def _seen(self, unfit: list[Any]) -> Query[Resource]:
        """What is there, as far as its deletion needs it; what does not fit goes into the list."""

        def keep(raw: Raw, error: InvalidData) -> None:
            if raw["id"] not in self._ids:
                unfit.append(_Unfit(error, raw["id"]))

        if sees_deletions(self._model):
            return Query(self._model, self._scope, invalid=keep)
        return Query(self._model, self._scope).only("id")

    def _pages(self, query: Query[Resource], *, unmade: bool) -> Flow[Pager[Resource]]:
        """Read objects, and make nothing."""
        there = yield from query.listing()
        there = replace(there, place=there.place.explaining(), unmade=unmade or there.unmade)
        return Pager(there, query.asked())


class _Saves(Upserts):
    """Jobs that save what is given over what is there.

    Args:
        scope: Where.
        model: The class of the objects.
        existing: What becomes of what is there.
        plan: Notes what changes.
        ids: Is given the ids of all that was given; None: nobody asks for them.
    """

    def __init__(
        self,
        scope: Scope,
        model: type[Resource],
        existing: Existing,
        plan: SyncPlan,
        ids: set[str] | None,
    ) -> None:
        super().__init__(scope, existing, equal=True)
        self._model = model
        self._plan = plan
        self._ids = ids

    def reading(self, given: list[Any]) -> list[Any]:
        """The objects, and those that mappings are made to."""
        return [self._made(each) for each in given]

    def making(self, objects: list[Any]) -> Flow[list[Job]]:
        """Make the job of each object; a failure shows the mapping of which none was made."""
        jobs = yield from super().making(objects)
        for job in jobs:
            if isinstance(job.outcome.target, _Unfit):
                job.outcome.target = job.outcome.target.given
        return jobs

    def _made(self, given: Any) -> Any:
        if isinstance(given, Resource):
            given = _rehearsing(copy.deepcopy(given)) if self._plan.dry_run else given
            say_defaults(given)
            return given
        if not isinstance(given, Mapping):
            return given
        try:
            made = self._of_fields(given)
        except Exception as error:  # noqa: BLE001  (whatever a validator raises: its own failure)
            return _Unfit(error, given=given)
        return _rehearsing(made) if self._plan.dry_run else made

    def _of_fields(self, given: Mapping[str, Any]) -> Resource:
        """The object that a mapping is made to; links in a dump are ids, wherever they led."""
        made = of_fields(self._model, of_a_client(self._model, given), {})
        if link_fields(type(made)):
            made = copy.deepcopy(made)
            lead_elsewhere(made, self._scope)
        return made

    def flow(self, target: Any, there: Any) -> Flow[Any]:
        """Make the flow that saves an object, and notes what it writes."""
        if isinstance(target, _Unfit):
            raise target.error
        if not isinstance(target, self._model):
            raise TypeError(
                f"objects of {self._model.__name__} are needed here, or mappings of their fields, "
                f"not {target!r:.80}"
            )
        _refuse_new_id(target)
        if self._ids is not None:
            self._ids.add(target.id)
        flow = super().flow(target, there)
        return self._noted(target, flow)

    def _noted(self, target: Resource, flow: Flow[Any]) -> Flow[Any]:
        yield from self._checking(target)
        return (yield from noting(self._plan, target.id, type(target), flow))

    def _checking(self, target: Resource) -> Flow[None]:
        """Refuse what would be written into another collection."""
        plural = state_of(target).plural
        if (yield from is_foreign(target, self._scope)):
            plural = yield from plural_in(target, self._scope)
        own = yield from home_of(type(target), self._scope, plural)
        place = yield from home_of(self._model, self._scope)
        if own.path != place.path:
            raise ConfigurationError(
                f"{name_of(target)} lives in {own.path}, and what is made equal is {place.path}. "
                "Nothing was sent."
            )


def _rehearsing(stored: Resource) -> Resource:
    """An object that is only saved to see what that would do, and calls no hooks."""
    own_state(stored).rehearsed = True
    return stored


@dataclass(frozen=True, slots=True)
class _Unfit:
    """A mapping of which no object can be made, or what is stored and does not fit the model."""

    error: Exception
    id: object = None
    given: object = None


class _Deletes:
    """Jobs that delete what was not given, unless it was changed since it was listed."""

    at_once = 1

    def __init__(self, scope: Scope, plan: SyncPlan) -> None:
        self._scope = scope
        self._plan = plan

    def reading(self, given: list[Any]) -> list[Any]:
        """The objects."""
        return given

    def making(self, objects: list[Any]) -> Flow[list[Job]]:
        """Make the job of each object."""
        yield from ()
        return [
            Job(Outcome("delete", _named(each)), partial(self._noted, each)) for each in objects
        ]

    def _noted(self, target: Any) -> Flow[Any]:
        if isinstance(target, _Unfit):
            raise target.error
        if self._plan.dry_run:
            _rehearsing(target)
        flow = target.__kinto_delete__(self._scope, missing_ok=True)
        return noting(self._plan, target.id, type(target), flow)


def _named(target: Any) -> Any:
    """What a failure shows of what could not be deleted."""
    return target.id if isinstance(target, _Unfit) else target


def _refuse_new_id(stored: Resource) -> None:
    """Refuse an object that nobody can find again.

    Raises:
        InvalidData: Its id was made for it.
    """
    if "id" not in stored.model_fields_set and type(stored).__kinto_id_factory__ is None:
        raise InvalidData(
            f"{name_of(stored)} has an id that was made for it just now, so that each run would "
            "create it once more: give it an id, such as one that follows from its data. Nothing "
            "was sent."
        )
