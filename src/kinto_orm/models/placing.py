"""Where an object lives: the scope that is used for it, and the place in that."""

from __future__ import annotations

from kinto_orm.errors import ConfigurationError
from kinto_orm.models.contents import is_new, name_of
from kinto_orm.models.state import State, state_of
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.paths import segment
from kinto_orm.wire.places import Place, known_path, place_at, require
from kinto_orm.wire.scope import Scope, chosen, refuse_other


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


def refuse_foreign(stored: Stored, given: Scope | None) -> Flow[None]:
    """Refuse a scope in which the object does not live.

    Raises:
        ConfigurationError: It lives elsewhere.
    """
    if given is not None and (yield from is_foreign(stored, given)):
        raise ConfigurationError(
            f"{name_of(stored)} lives {_where(state_of(stored))}, and not in the scope of "
            f"{given!r}: work with it there (leave session= out), or copy it: copy_to(session). "
            "Nothing was sent."
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
