"""Asking a server about objects: where they live, and what an answer shows of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from kinto_orm.errors import ConfigurationError, InvalidData, ResponseError
from kinto_orm.models.contents import dump_of, name_of
from kinto_orm.models.links import reach
from kinto_orm.models.loading import Kept, Loader, Source, loader_of, page_of, without
from kinto_orm.models.naming import field_names, names_of
from kinto_orm.models.state import State, call_of, is_new, put_state, state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.models.traits import traits_of
from kinto_orm.queries.pager import Listing
from kinto_orm.queries.unfit import OnUnfit
from kinto_orm.wire.flows import Flow, ask
from kinto_orm.wire.messages import Reply, Request, segment
from kinto_orm.wire.parents import Parents
from kinto_orm.wire.places import Place, known_path, place_at, require
from kinto_orm.wire.scope import Scope, chosen, refuse_other

S = TypeVar("S", bound=Stored)


# Where they live


def scope_for(model: type[Stored], given: Scope | None, came_from: Scope | None = None) -> Scope:
    """The scope to use for a class.

    Raises:
        ConfigurationError: There is none.
    """
    return chosen(given, came_from, model.__kinto_session__, needed_for=model.__name__)


def scope_of(stored: Stored, given: Scope | None = None) -> Scope:
    """The scope to use for an object.

    Raises:
        ConfigurationError: There is none.
    """
    return scope_for(type(stored), given, state_of(stored).scope)


def home_of(model: type[Stored], scope: Scope, plural: str | None = None) -> Flow[Place]:
    """Find where objects of a class live.

    Args:
        model: The class.
        scope: What the class does not say, this says.
        plural: The plural path, when that is known.

    Raises:
        ConfigurationError: Neither says where.
        Unsupported: The server lacks what such objects need.
    """
    if model.__kinto_capability__ is not None:
        yield from require(scope, model.__kinto_capability__, f"work with {model.__name__}")
    path = model.__kinto_path__(scope) if plural is None else plural
    place = yield from place_at(scope, path, _synced_by(model))
    return place.explaining() if model.__kinto_unmade__ else place


def _synced_by(model: type[Stored]) -> str:
    """The name of the class if sync_schema takes it, else nothing."""
    is_record = model.__kinto_kind__ == "record" and not model.__kinto_unmade__
    return model.__name__ if is_record else ""


def place_of(stored: Stored, given: Scope | None) -> Flow[Place]:
    """Find where an object lives, or will live once it is saved.

    Raises:
        ConfigurationError: The scope that is given is another one, or is on another server.
    """
    yield from refuse_foreign(stored, given)
    scope = scope_of(stored, given)
    scope.require_kinto(f"work with {name_of(stored)}")
    place = yield from home_of(type(stored), scope, state_of(stored).plural)
    stored.__kinto_check_place__()
    return place.making() if stored.__kinto_unmade__ else place


def path_of(stored: Stored, place: Place) -> str:
    """The path of an object in its place.

    Raises:
        InvalidData: There can be none of its id.
    """
    return place.of(stored.id, stored.__kinto_kind__)


def uri_of(stored: Stored) -> str:
    """The path of an object, as far as it is known without asking."""
    state = state_of(stored)
    plural = state.plural
    if plural is None:
        scope = scope_of(stored)
        plural = known_path(scope, stored.__kinto_path__(scope))
    return f"{plural}/{segment(stored.id, stored.__kinto_kind__)}"


def address_in(stored: Stored, scope: Scope) -> tuple[str, str] | None:
    """The plural path and the id of what a save over a scope writes, as far as they are known."""
    plural = state_of(stored).plural
    if plural is None or not is_new(stored):
        # Of one that lives nowhere its own save says why.
        with suppress(ConfigurationError, InvalidData):
            plural = known_path(scope, stored.__kinto_path__(scope))
    return None if plural is None else (plural, stored.id)


def refuse_foreign(stored: Stored, given: Scope | None) -> Flow[None]:
    """Refuse a scope in which the object does not live.

    Raises:
        ConfigurationError: It lives elsewhere.
    """
    if given is not None and (yield from is_foreign(stored, given)):
        raise ConfigurationError(
            f"{name_of(stored)} lives {_where(state_of(stored))}, and not in the scope of "
            f"{given!r}: work with it there (leave session= out), or copy it: "
            f"{call_of(stored, 'copy_to(session)')}. Nothing was sent."
        )


def is_foreign(stored: Stored, given: Scope | None) -> Flow[bool]:
    """Find out whether what is known of an object does not hold in a scope.

    Raises:
        ConfigurationError: What is given is no scope.
    """
    state = state_of(stored)
    if given is None or given is state.scope:
        return False
    refuse_other(given, "session=")
    if is_new(stored):
        return False
    if state.scope is not None and not given.shares_server(state.scope):
        return True
    if state.plural is None:
        return False
    return (yield from home_in(type(stored), given)) not in (None, state.plural)


def home_in(model: type[Stored], scope: Scope) -> Flow[str | None]:
    """Find the plural path that a scope says; None where it says none."""
    try:
        path = model.__kinto_path__(scope)
    except ConfigurationError:
        return None
    return (yield from home_of(model, scope, path)).path


def _where(state: State) -> str:
    server = f" on {state.scope.server_url}" if state.scope is not None else ""
    return f"in {state.plural}{server}"


def listing(model: type[S], given: Scope | None, plural: str | None) -> Flow[Listing[S]]:
    """Find where the objects of a class are.

    Args:
        model: The class.
        given: The scope that the query was given.
        plural: The plural path, when that is known.
    """
    scope = scope_for(model, given)
    scope.require_kinto(f"find {model.__name__}")
    place = yield from home_of(model, scope, plural)

    def load(reply: Reply, only: frozenset[str] | None) -> list[S]:
        return page_at(model, reply, place, only)

    def mend(reply: Reply, only: frozenset[str] | None, on_invalid: OnUnfit) -> list[S | None]:
        return mended_page_at(model, reply, place, only, on_invalid)

    unmade, says_total = model.__kinto_unmade__, model.__kinto_says_total__
    return Listing(place, load, unmade, says_total, mend, veil=model.__kinto_veil__())


# What an answer shows


def ask_about(
    model: type[Stored], request: Request, doing: str, parents: Parents | None
) -> Flow[Reply]:
    """Send a request about objects of a class; see `ask`.

    Nothing that is to be kept secret is in the answer, or in the error.
    """
    request.veil = model.__kinto_veil__()
    try:
        reply = yield from ask(request, doing, parents)
    except ResponseError as error:
        model.__kinto_refused__(error)
        raise
    return model.__kinto_read__(reply)


def require_id(model: type[Stored], reply: Reply, raw: Mapping[str, Any], id: str) -> None:
    """Make sure that an answer is about the object with this id.

    Raises:
        BadReply: It is about another one.
    """
    if id not in model.__kinto_aliases__:
        reply.require_id(raw, id)


def loaded(model: type[S], reply: Reply, place: Place, id: str, *, in_hand: bool = False) -> S:
    """The object that an answer shows.

    Args:
        model: Its class, or that by which it was asked for.
        reply: The answer.
        place: Where it lives.
        id: Its id.
        in_hand: It is for an object of that very class (models/kinds.py).

    Raises:
        InvalidData: It does not fit the model.
        BadReply: It shows another one, or none.
    """
    if model.__kinto_kinds__ is not None:
        model = model.__kinto_kinds__.class_of(reply.object["data"], model, in_hand=in_hand)
    found, permissions = loader_of(model).single(reply)
    _require_stamps([found], reply)
    require_id(model, reply, found.__dict__, id)
    source = source_of(model, [found], reply.body)
    put_state(found, State(place.scope, place.path, source, permissions=permissions))
    reach([found], place.scope)
    return found


def from_raw(model: type[S], raw: Mapping[str, Any], place: Place, *, in_hand: bool = False) -> S:
    """The object that its JSON data shows.

    Args:
        model: Its class, or that by which it was asked for.
        raw: The data.
        place: Where it lives.
        in_hand: It is for an object of that very class (models/kinds.py).

    Raises:
        InvalidData: It does not fit the model.
    """
    if model.__kinto_kinds__ is not None:
        model = model.__kinto_kinds__.class_of(raw, model, in_hand=in_hand)
    found = loader_of(model).of(raw)
    source = source_of(model, [found], raws={found.id: dict(raw)})
    put_state(found, State(place.scope, place.path, source))
    reach([found], place.scope)
    return found


def page_at(
    model: type[S], reply: Reply, place: Place, only: frozenset[str] | None = None
) -> list[S]:
    """The objects of a page.

    Args:
        model: Their class.
        reply: The page.
        place: Where they live.
        only: The Python names of the fields, if not all were asked for.

    Raises:
        InvalidData: One does not fit the model.
        BadReply: It is no page.
    """
    if model.__kinto_kinds__ is not None:
        return _mixed_page(model, reply, place, only)
    return _page_of_one(model, reply, place, only)


def _mixed_page(model: type[S], reply: Reply, place: Place, only: frozenset[str] | None) -> list[S]:
    """The objects of a page, each of its own class."""
    kinds = model.__kinto_kinds__
    rows: dict[type[S], list[Any]] = {}
    order = [kinds.class_of(raw, model) for raw in reply.objects]
    dropped = {kinds.stored} if only is not None and kinds.field not in only else ()
    for kind, raw in zip(order, reply.objects, strict=True):
        rows.setdefault(kind, []).append(without(raw, dropped))
    made = {kind: iter(_page_of_one(kind, _part(reply, rows[kind]), place, only)) for kind in rows}
    return [next(made[kind]) for kind in order]


def _part(reply: Reply, rows: list[Any]) -> Reply:
    page = Reply.parsed(200, {}, {"data": rows})
    page.doing = reply.doing
    return page


def _page_of_one(
    model: type[S], reply: Reply, place: Place, only: frozenset[str] | None
) -> list[S]:
    """The objects of a page, all of one class."""
    loader: Loader[S] = loader_of(model)
    reply = model.__kinto_read__(reply)
    found = loader.page(reply) if only is None else loader.partial(reply, only)
    _require_stamps(found, reply)
    source = source_of(model, found, reply.body)
    state = State(place.scope, place.path, source, partial=only is not None, shared=True)
    put = put_state
    for each in found:
        put(each, state)
    reach(found, place.scope)
    return found


def mended_page_at(
    model: type[S],
    reply: Reply,
    place: Place,
    only: frozenset[str] | None,
    on_invalid: OnUnfit,
) -> list[S | None]:
    """The objects of a page, one for each that the server sent.

    Args:
        model: Their class.
        reply: The page.
        place: Where they live.
        only: The Python names of the fields, if not all were asked for.
        on_invalid: Gives what is used instead of one that does not fit; None leaves it out.
    """
    try:
        return [*page_at(model, reply, place, only)]
    except InvalidData as error:
        # What is secret is not shown to programs either.
        raws = model.__kinto_read__(reply).objects
        if len(raws) < 2:
            # A copy in Python calls itself for each level; there may be hundreds.
            made = [on_invalid(json.loads(json.dumps(each)), error) for each in raws]
            if only is None:
                for stored, raw in zip(made, raws, strict=True):
                    _put_in_its_place(stored, raw, place)
            return made
    halves = (raws[: len(raws) // 2], raws[len(raws) // 2 :])
    pages = (page_of(*half) for half in halves)
    return [each for page in pages for each in mended_page_at(model, page, place, only, on_invalid)]


def _put_in_its_place(made: Stored | None, raw: dict[str, Any], place: Place) -> None:
    """Let what is used instead of a record that does not fit be as if it was loaded and mended.

    That holds for a new object of the same id; another one is what it is.
    """
    if made is None or made.id != raw.get("id") or state_of(made).source is not None:
        return
    stored = without(raw, NOT_DATA)
    known = field_names(type(made))
    others = {name: value for name, value in stored.items() if name not in known}
    # A default that nobody gave is none that the function mended.
    names = names_of(type(made))
    defaults = {
        name: value
        for name, value in dump_of(made).items()
        if names.get(name, name) not in made.__pydantic_fields_set__
    }
    object.__setattr__(made, "__pydantic_extra__", others | (made.__pydantic_extra__ or {}))
    made.__dict__["last_modified"] = raw["last_modified"]
    kept = Kept(dumps={made.id: defaults | stored})
    source = Source(raws={made.id: raw}, kept=kept)
    put_state(made, State(place.scope, place.path, source))
    reach([made], place.scope)


def source_of(
    model: type[S],
    found: list[S],
    body: bytes | None = None,
    raws: Mapping[str, dict[str, Any]] | None = None,
) -> Source:
    """What the server sent for objects that were loaded of it."""
    kept = None if traits_of(model).steady else loader_of(model).kept(found)
    return Source(body, raws, kept)


def _require_stamps(found: Iterable[Stored], reply: Reply) -> None:
    """Make sure that objects came with what every stored one has.

    Raises:
        BadReply: One has no id or no timestamp.
    """
    for each in found:
        if not each.__pydantic_fields_set__ >= NOT_DATA or each.__dict__["last_modified"] is None:
            raise reply.bad()
