"""What an object was when it was loaded or saved, and how it becomes that.

For most models it is what another load of the same data gives. Where a load may give other values
(a default that a factory makes, a validator that is not Pydantic's) it is kept how the object was
written after loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import JsonValue

from kinto_orm.changes import differing, same_json
from kinto_orm.errors import InvalidData
from kinto_orm.loading import Kept, Source
from kinto_orm.readback import load_again, unreadable
from kinto_orm.state import State, own_state, set_state, state_of

if TYPE_CHECKING:
    from kinto_orm.stored import Stored

S = TypeVar("S", bound="Stored")

Held = tuple[State, tuple[dict[str, Any], set[str], dict[str, Any]]]


def align(found: Stored, kept: dict[str, Any]) -> None:
    """Give an object the values of an earlier load of the same, where this one gave others."""
    now, names = found._dump(), found._python_names()
    other = {
        names[stored]
        for stored, value in kept.items()
        if stored in names and not same_json(value, now.get(stored))
    }
    if other:
        found.__dict__.update(found._loader().fields(kept, frozenset(other)))
    set_state(found, State(None, None, Source(raws={}, kept=Kept(dumps={found.id: kept}))))


def plan(stored: Stored) -> None:
    """Remember what is going to be saved, where loading it again cannot tell."""
    traits = stored._traits()
    if traits.entangled or not traits.steady:
        own_state(stored).planned = stored._dump()


def settle(stored: Stored, raw: Mapping[str, JsonValue], expected: Mapping[str, JsonValue]) -> None:
    """Become what the server has made of a write; equal values keep their identity.

    Args:
        stored: The object, whose state has been set.
        raw: What the server has.
        expected: What it should have.
    """
    state, traits = own_state(stored), stored._traits()
    stored._stamp(raw)
    written = _with_defaults(stored, raw, state.planned)
    if raw != {**expected, "id": raw["id"], "last_modified": raw["last_modified"]}:
        stored._adopt(stored._loader().of(raw), frozenset())
        written = None
    elif traits.entangled and written is not None:
        written = _follow(stored, raw, written)
    _take_forms(stored, raw)
    if not traits.steady:
        state.source = Source(
            raws={stored.id: dict(raw)}, kept=Kept(dumps={stored.id: written or stored._dump()})
        )


def settle_unchanged(stored: Stored) -> None:
    """Become what the server has, of which nothing has to be sent."""
    source = state_of(stored).source
    if source is not None and (stored._traits().loose or stored.__pydantic_extra__):
        _take_forms(stored, source.raw(stored.id))
    if source is not None:
        _with_defaults(stored, source.raw(stored.id), None)


def _with_defaults(
    stored: Stored, raw: Mapping[str, JsonValue], written: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Let fields that were taken away have what a load gives in their place.

    Returns:
        How the object is written with these.
    """
    if len(stored.__dict__) == len(stored._python_names()):
        return written
    missing = type(stored).model_fields.keys() - stored.__dict__.keys()
    read = stored._loader().of(raw)
    stored.__dict__.update({name: read.__dict__[name] for name in missing & read.__dict__.keys()})
    stored.__pydantic_fields_set__.difference_update(missing)
    if written is None:
        return None
    names, now = stored._python_names(), stored._dump()
    return {**written, **{n: each for n, each in now.items() if names.get(n) in missing}}


def _follow(
    stored: S, raw: Mapping[str, JsonValue], written: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Take the values that follow from others which were changed in place.

    What was changed while the request was under way stays.

    Returns:
        How the object is written without these.
    """
    read = stored._loader().of(raw)
    now, then = stored._dump(), read._dump()
    names = {
        name
        for name in _following(stored, read, stored._loader().of(raw))
        if same_json(now.get(name), written.get(name))
    }
    _take(stored, read, names)
    return {**written, **{name: then[name] for name in names}}


def _following(stored: S, read: S, again: S) -> set[str]:
    """The stored names of what would be read as something else, and each time as the same."""
    other = differing(stored, read) & read._dump().keys() - stored._traits().hiding
    return other - differing(read, again) if other else other


def _take_forms(stored: Stored, raw: Mapping[str, JsonValue]) -> None:
    """Let fields without a type have the JSON that they were written as."""
    names = stored._traits().loose
    if not names and not stored.__pydantic_extra__:
        return
    loose = {each: stored._value(each) for each in names}
    other = {
        name
        for name, value in (stored._extra | loose).items()
        if name in raw and value is not None and value != raw[name]
    }
    if other:
        now = stored._dump()
        same = {name for name in other if same_json(now.get(name), raw[name])}
        _take(stored, stored._loader().of(raw), same)


def _take(stored: S, other: S, names: Iterable[str]) -> None:
    declared = stored._python_names()
    for name in names:
        target = stored.__dict__ if name in declared else stored._extra
        target[declared.get(name, name)] = other._value(name)


def unsaved(stored: Stored) -> frozenset[str]:
    """The stored names of what an object has of its own: all that was given, if it is new."""
    if state_of(stored).source is not None:
        return frozenset(stored._changes().names)
    names = stored._python_names()
    dumped = stored._dump()
    given = {name for name in dumped if names.get(name, name) in stored.model_fields_set}
    left = {name for name in dumped.keys() - given if isinstance(dumped[name], dict | list)}
    defaults = type(stored).model_construct()._dump() if left else {}
    return frozenset(
        given | {name for name in left if not same_json(dumped[name], defaults.get(name))}
    )


def reload(stored: S, fresh: S, state: State, keep: frozenset[str]) -> None:
    """Become another object of the same id, but for what is kept of one's own.

    Args:
        stored: The object.
        fresh: What the server has.
        state: The object's state from now on.
        keep: The stored names of what is kept.

    Raises:
        InvalidData: Both together do not fit the model; then nothing has changed.
    """
    before: Held = state_of(stored), stored._held()
    stored._adopt(fresh, keep)
    stored._stamp(fresh.__dict__)
    set_state(stored, state)
    complaint = _join(stored) if keep else None
    if complaint is not None:
        set_state(stored, before[0])
        stored._hold(before[1])
        raise InvalidData(complaint)


def _join(stored: Stored) -> str | None:
    """Let follow what depends on others; say why this would not be read back."""
    changes = stored._changes()
    if stored._traits().entangled and changes:
        data = changes.applied_to(stored._raw())
        try:
            read, again = load_again(stored, data), load_again(stored, data)
        except Exception:  # noqa: BLE001  (whatever a validator raises: it is said below)
            read, again = stored, stored
        _take(stored, read, _following(stored, read, again))
        changes = stored._changes()
    return unreadable(stored, changes.applied_to(stored._raw()), changes.names)


def restore(stored: Stored, keep: frozenset[str]) -> None:
    """Become what was loaded or saved, but for what is kept of one's own."""
    stored._adopt(stored._pristine(), keep)
    source = state_of(stored).source
    kept = None if source is None else source.dump(stored.id)
    if source is not None and kept is not None:
        now = {name: value for name, value in stored._dump().items() if name not in keep}
        old = {name: value for name, value in kept.items() if name in keep}
        dumps = {stored.id: now | old}
        own_state(stored).source = Source(
            raws={stored.id: source.raw(stored.id)}, kept=Kept(dumps=dumps)
        )
