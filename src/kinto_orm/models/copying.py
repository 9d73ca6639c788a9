"""Copying an object to another place: `PUT`."""

from __future__ import annotations

import copy
from typing import TypeVar

from kinto_orm.models.asking import place_of
from kinto_orm.models.contents import go_back, held_by
from kinto_orm.models.hooks import calling_after, calling_hook, refuse_coroutines
from kinto_orm.models.links import lead_elsewhere
from kinto_orm.models.saving import data_to_send, put, refuse_partial
from kinto_orm.models.state import Doubting, State, set_state
from kinto_orm.models.stored import Stored
from kinto_orm.wire.flows import Flow
from kinto_orm.wire.messages import if_none_match
from kinto_orm.wire.scope import Scope

S = TypeVar("S", bound=Stored)


def copying(stored: S, target: Scope, *, id: str | None, force: bool) -> Flow[S]:
    """Create a copy of an object in another scope; see Resource.copy_to.

    Raises:
        Conflict: There is an object with this id already.
        ConfigurationError: The target names no place for it.
    """
    refuse_partial(stored)
    refuse_coroutines(type(stored), target)
    copied = copy.deepcopy(stored)
    if id is not None:
        copied.__dict__["id"] = id
    plural = stored.__kinto_path_of_copies__(target)
    set_state(copied, State(target, plural, None, known_id=True))
    lead_elsewhere(copied, target)
    yield from calling_hook(copied, "before_save")
    data = data_to_send(_as_source(copied, stored))
    with Doubting(copied):
        place = yield from place_of(copied, target)
        yield from put(copied, place, {} if force else if_none_match(), {}, data)
    yield from calling_after(copied, "after_save", "saved")
    return copied


def _as_source(copied: S, stored: S) -> S:
    """The object that was copied, with what the copy holds: it knows what the server has."""
    source = copy.copy(stored)
    values, given, extra = held_by(copied)
    identity = {name: stored.__dict__[name] for name in ("id", "last_modified")}
    go_back(source, (values | identity, given, extra))
    return source
