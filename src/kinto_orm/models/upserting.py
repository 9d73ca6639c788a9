"""Saving what may be there already: it is looked at first, and that says what is to be sent.

What is there is read, alone or a hundred with one request. "update": the object takes what it was
not given itself, and sends what differs, with a precondition. "replace": what it does not have
itself is taken away, too. "skip": what is there is left alone. An object that nobody else can have
is not looked for.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kinto_orm.bulk.jobs import Existing, check_existing
from kinto_orm.errors import Conflict, InvalidData, KintoError, ResponseError
from kinto_orm.models.asking import (
    address_in,
    ask_about,
    from_raw,
    home_of,
    is_foreign,
    path_of,
    place_of,
    require_id,
)
from kinto_orm.models.contents import extra_of, name_of, stamp
from kinto_orm.models.getting import is_missing
from kinto_orm.models.hooks import around_save
from kinto_orm.models.kinds import all_kinds_of
from kinto_orm.models.links import lead_elsewhere, link_fields
from kinto_orm.models.naming import names_of
from kinto_orm.models.overlaying import Saying, stamps_in, take_over
from kinto_orm.models.permissions import Permissions, loaded, wished
from kinto_orm.models.permitting import fetching_permissions
from kinto_orm.models.pristine import adopt, own_names
from kinto_orm.models.saving import (
    Saved,
    creating_again,
    has_own_id,
    plural_in,
    refuse_partial,
)
from kinto_orm.models.state import is_new, own_state, set_state, state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.queries.columns import IDS_IN_A_REQUEST, Column
from kinto_orm.queries.pager import Asked, Listing, Pager, reading_all
from kinto_orm.queries.query import Query
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import Reply, Request
from kinto_orm.wire.places import Place, info_of, is_absent
from kinto_orm.wire.scope import Scope

if TYPE_CHECKING:
    _Base = Stored
else:
    # For checkers they are methods of a stored object; Pydantic need not know of another model.
    _Base = object


@dataclass(frozen=True, slots=True)
class Found:
    """What the server has under an id.

    Attributes:
        id: The id.
        raw: The stored data; None when there is nothing.
        place: Where it was looked for.
        permissions: Who may do what; None where that was not said.
    """

    id: str
    raw: Mapping[str, Any] | None
    place: Place
    permissions: Mapping[str, list[str]] | None = None


class Upserting(_Base):
    """What bulk ways of writing need of a stored object, to save it over what is there."""

    __slots__ = ()

    def __kinto_upsert__(
        self,
        given: Scope | None,
        existing: Existing,
        *,
        last_modified: int | None = None,
        there: Found | None = None,
        equal: bool = False,
    ) -> Flow[Saved]:
        return upserting(
            self, given, existing, last_modified=last_modified, there=there, equal=equal
        )

    def __kinto_address__(self, given: Scope) -> tuple[str, str] | None:
        return address_in(self, given)

    @classmethod
    def __kinto_there__(
        cls,
        objects: Sequence[Stored],
        given: Scope | None,
        existing: Existing,
        *,
        equal: bool = False,
    ) -> Flow[Mapping[int, Found]]:
        return looking_for(cls, objects, given, existing, equal=equal)


def writing(
    stored: Stored,
    given: Scope | None,
    existing: Existing,
    *,
    force: bool,
    last_modified: int | None,
) -> Flow[Any]:
    """Save an object, whatever becomes of what is there; see Resource.save.

    Raises:
        InvalidData: `existing` is no answer.
        TypeError: `force` is one, too.
    """
    if existing == "fail":
        return stored.__kinto_save__(given, force=force, last_modified=last_modified)
    check_existing(existing, force=force)
    return upserting(stored, given, existing, last_modified=last_modified)


def upserting(
    stored: Stored,
    given: Scope | None,
    existing: Existing,
    *,
    last_modified: int | None = None,
    there: Found | None = None,
    equal: bool = False,
) -> Flow[Any]:
    """Save an object over what is there.

    Args:
        stored: The object.
        given: Where to save it; None: where it lives.
        existing: What becomes of what is there.
        last_modified: The timestamp to be stored, in milliseconds, instead of the server's own.
        there: What is there, if that was looked at before.
        equal: What is there is to be what is given: it is looked at whatever the object believes,
            and permissions that are given are not added to those there, as always for "replace".

    Raises:
        Conflict: Somebody else wrote it since it was looked at.
        InvalidData: What is there does not fit the model, or the server refuses the data.
    """
    refuse_partial(stored)
    place = yield from _place_to_look(stored, given, existing, equal=equal)
    if place is None:
        known = existing == "replace" and not is_new(stored)
        with Saying(stored, own_names(stored) if known else frozenset()):
            return (yield from stored.__kinto_save__(given, last_modified=last_modified))
    found = there or (yield from _looking(stored, place))
    if existing == "skip" and found.raw is not None:
        return "skipped"
    write = _Write(stored, given, found, last_modified, equal or existing == "replace")
    if found.raw is None:
        return (yield from write.creating(existing))
    if existing == "replace":
        return (yield from write.replacing())
    return (yield from write.updating())


@dataclass(frozen=True, slots=True)
class _Write:
    """A write over what was found."""

    stored: Stored
    given: Scope | None
    found: Found
    last_modified: int | None
    equal: bool

    def saving(self, *, force: bool = False) -> Flow[Any]:
        """Save the object as any other."""
        return self.stored.__kinto_save__(self.given, force=force, last_modified=self.last_modified)

    def creating(self, existing: Existing) -> Flow[Any]:
        """Create what is not there."""
        try:
            if is_new(self.stored) or (yield from _lives_elsewhere(self.stored, self.given)):
                return (yield from self.saving())
            place = yield from place_of(self.stored, self.given)
            wanted = _asked_for(self.stored) if self.equal else None
            again = creating_again(self.stored, place, self.last_modified, wanted)
            return (yield from around_save(self.stored, self.given, again))
        except Conflict as conflict:
            # Only what is shown is there: a proxy may refuse in Kinto's words.
            shown = "existing" in conflict.details
            if existing != "skip" or conflict.unconfirmed or conflict.of_hook or not shown:
                raise
            return "skipped"

    def replacing(self) -> Flow[Any]:
        """Send what differs, and take away what only the server has.

        What cannot be compared with what is there is sent whole, over what was found.
        """
        names = self._own_and_others()
        if names is not None:
            return (yield from self.updating(names))
        own_state(self.stored).seen = (self.found.raw or {}).get("last_modified")
        try:
            return (yield from self.saving(force=True))
        finally:
            own_state(self.stored).seen = None

    def _own_and_others(self) -> frozenset[str] | None:
        """The stored names of both sides; None where the two cannot be compared."""
        stored, raw = self.stored, self.found.raw or {}
        if self.last_modified is not None or stored.__kinto_secrets__:
            return None
        try:
            fresh = from_raw(type(stored), raw, self.found.place)
        except InvalidData:
            return None
        if type(fresh) is not type(stored):
            return None  # of another kind
        own = names_of(type(stored)).keys() | extra_of(stored).keys()
        return frozenset(own | raw.keys()) - NOT_DATA - stamps_in(stored, raw)

    def updating(self, names: frozenset[str] | None = None) -> Flow[Any]:
        """Send what differs from what is there.

        What is known of an object that lives elsewhere stays true when this fails.

        Args:
            names: The stored names of what the object says itself; None: those it was given.
        """
        stored, raw, place = self.stored, self.found.raw or {}, self.found.place
        if not (yield from _lives_elsewhere(stored, self.given)):
            held = state_of(stored).permissions
            names = take_over(stored, raw, place, held, names)
            yield from _compare_permissions(stored, self.found, equal=self.equal)
            with Saying(stored, names):
                return (yield from self.saving())
        moved = _led_elsewhere(stored, place.scope)
        names = take_over(moved, raw, place, None, names)
        with Saying(moved, names):
            saved = yield from replace(self, stored=moved).saving()
        stamp(stored, moved.__dict__)
        adopt(stored, moved, frozenset())
        set_state(stored, state_of(moved))
        lead_elsewhere(stored, place.scope)
        return saved


def _led_elsewhere(stored: Stored, scope: Scope) -> Stored:
    """A copy whose links lead to what is in another scope, as those of what is created there."""
    moved = copy.copy(stored)
    for name in link_fields(type(stored)):
        moved.__dict__[name] = copy.deepcopy(stored.__dict__[name])
    lead_elsewhere(moved, scope)
    return moved


def _asked_for(stored: Stored) -> Permissions | None:
    """The permissions that a creation is to give to what was there once; None: nobody said."""
    held = state_of(stored).permissions
    return wished(held) if isinstance(held, Permissions) and held.is_changed else None


def _compare_permissions(stored: Stored, found: Found, *, equal: bool) -> Flow[None]:
    """Look what is there of the permissions that were asked for, so that only the rest is sent."""
    held = state_of(stored).permissions
    if not (isinstance(held, Permissions) and (held.is_changed or (equal and held.is_given))):
        return
    if found.permissions is None:
        fresh = yield from fetching_permissions(stored)
    else:
        kind, stamped = stored.__kinto_kind__, stored.last_modified
        fresh = loaded(found.permissions, stored, kind, stamped)
    if equal and held.is_given:
        user = (yield from info_of(found.place.scope)).user or {}
        held.replace_given(fresh, str(user.get("id")))
    else:
        held.rebase(fresh)


# Looking


def _place_to_look(
    stored: Stored, given: Scope | None, existing: Existing, *, equal: bool
) -> Flow[Place | None]:
    """Where to look for what is there; None when that says nothing new."""
    if (yield from _lives_elsewhere(stored, given)):
        scope = given or stored.__kinto_lives_in__()
        plural = yield from plural_in(stored, scope)
        return (yield from home_of(type(stored), scope, plural)).explaining()
    state = state_of(stored)
    is_known = not is_new(stored) and not state.gone and not state.past
    if has_own_id(stored) or (existing != "skip" and is_known and not equal):
        return None
    return (yield from place_of(stored, given)).explaining()


def _lives_elsewhere(stored: Stored, given: Scope | None) -> Flow[bool]:
    return given is not None and (yield from is_foreign(stored, given))


def _looking(stored: Stored, place: Place) -> Flow[Found]:
    """Look what is there under an object's id (`GET`)."""
    request = Request("GET", path_of(stored, place))
    doing = f"look for {name_of(stored)} in {place.path}"
    try:
        reply = yield from ask_about(type(stored), request, doing, place.parents)
    except ResponseError as error:
        if not (is_missing(type(stored), error) or is_absent(error, place)):
            raise
        return Found(stored.id, None, place)
    raw = reply.object["data"]
    require_id(type(stored), reply, raw, stored.id)
    return Found(stored.id, raw, place, reply.json.get("permissions") or {})


def looking_for(
    model: type[Stored],
    objects: Sequence[Stored],
    given: Scope | None,
    existing: Existing,
    *,
    equal: bool = False,
) -> Flow[Mapping[int, Found]]:
    """Look what is there of many objects, a hundred with each request (`GET ?in_id=...`).

    Args:
        model: The class of all of them.
        objects: Of two that have the same id, the second is to look for itself.
        given: Where they are to be saved.
        existing: What becomes of what is there.
        equal: Look for those, too, that are believed to be known.

    Returns:
        What was found, by the `id()` of the object; those that need not be looked for are missing.
    """
    wanted: dict[str, tuple[Place, dict[str, Stored]]] = {}
    for each in objects:
        try:
            place = yield from _place_to_look(each, given, existing, equal=equal)
            if place is not None:
                path_of(each, place)
                wanted.setdefault(place.path, (place, {}))[1].setdefault(each.id, each)
        except KintoError:
            continue  # its own save says why
    found: dict[int, Found] = {}
    for place, by_id in wanted.values():
        ids = list(by_id)
        for start in range(0, len(ids), IDS_IN_A_REQUEST):
            group = ids[start : start + IDS_IN_A_REQUEST]
            there = {each.id: each for each in (yield from reading(model, place, group))}
            found |= {id(by_id[i]): there.get(i) or Found(i, None, place) for i in group}
    return found


def reading(model: type[Stored], place: Place, ids: list[str]) -> Flow[list[Found]]:
    """Look which of these ids are there (`GET ?in_id=...`), a hundred at most; of none, nothing."""
    if not ids:
        return []

    def load(reply: Reply, _: object) -> list[Found]:
        rows = model.__kinto_read__(reply).objects
        return [Found(each["id"], each, place) for each in rows]

    # What is there is there, of whichever kind.
    query = Query(all_kinds_of(model), place.scope, place.path)  # type: ignore[type-var]
    question = _Question(
        query.where(Column[str](("id",)).in_(ids)).asked(),
        Listing(place, load, True, model.__kinto_says_total__),
    )
    return (yield from reading_all(question))


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, and where."""

    asked: Asked
    listing: Listing[Found]

    def opening(self) -> Flow[Pager[Found]]:
        """Open its pages."""
        yield from ()
        return Pager(self.listing, self.asked)
