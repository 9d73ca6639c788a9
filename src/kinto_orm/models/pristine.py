"""What an object was when it was loaded or saved, and how it becomes that.

For most models it is what another load of the same data gives. Where a load may give other values
(a default that a factory makes, a validator that is not Pydantic's) it is kept how the object was
written after loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import JsonValue

from kinto_orm._shown import Differences
from kinto_orm.errors import InvalidData
from kinto_orm.models.contents import (
    Changes,
    differing,
    dump_of,
    extra_of,
    find_changes,
    go_back,
    held_by,
    is_given,
    raw_of,
    same_json,
    stamp,
    value_of,
)
from kinto_orm.models.fidelity import older_names, read_earlier
from kinto_orm.models.links import reach
from kinto_orm.models.loading import Kept, Source, loader_of, page_of, without
from kinto_orm.models.naming import names_of, refuse_reserved
from kinto_orm.models.readback import complaint_of, hidden_changes, load_again, unreadable
from kinto_orm.models.state import State, is_new, own_state, set_state, state_of
from kinto_orm.models.stored import NOT_DATA, Stored
from kinto_orm.models.traits import traits_of

S = TypeVar("S", bound=Stored)


def changes_of(stored: Stored, said: frozenset[str] | None = None) -> Changes:
    """What is not saved yet.

    Args:
        stored: The object.
        said: The stored names of which its own form is to be stored; None: those of its state.

    Raises:
        InvalidData: It cannot be written, or has a name that the server takes for its own.
    """
    said = state_of(stored).said if said is None else said
    changes = find_changes(stored, lambda: pristine_of(stored), raw_of(stored), said)
    refuse_reserved(type(stored), changes.changed)
    return changes


def own_names(stored: Stored) -> frozenset[str]:
    """The stored names of all that an object writes, and of what is read as a field of it.

    There are none where its own form would be read as something else: then what is stored stays.
    """
    names = (dump_of(stored).keys() | older_names(type(stored))) - NOT_DATA
    changes = changes_of(stored, frozenset(names))
    odd = unreadable(stored, changes.applied_to(raw_of(stored)), changes.names)
    return frozenset() if odd else frozenset(names)


def pristine_of(stored: S) -> S:
    """The object as it was loaded or saved."""
    model, source = type(stored), state_of(stored).source
    raw = {} if source is None else source.raw(stored.id)
    if state_of(stored).partial:
        fields = stored.__dict__.keys() & model.model_fields.keys()
        found = loader_of(model).partial(page_of(raw), frozenset(fields))[0]
    else:
        found = _as_loaded(stored, raw)
    kept = None if source is None else source.dump(stored.id)
    if kept is not None:
        align(found, kept)
    return found


def _as_loaded(stored: S, raw: Mapping[str, Any]) -> S:
    """What a load of the stored data gives; of what does not fit the model, the data as it is."""
    source = state_of(stored).source
    try:
        return loader_of(type(stored)).of(raw)
    except InvalidData:
        if source is None or source.kept is None:
            raise
    names = names_of(type(stored))
    values = {names[name]: value for name, value in raw.items() if name in names}
    found = type(stored).__new__(type(stored))
    object.__setattr__(found, "__pydantic_private__", None)
    go_back(found, (values, {*values}, without(raw, names)))
    return found


def difference_of(stored: Stored) -> Differences:
    """What is not saved yet, by field: (old, new); see Resource.diff."""
    names = names_of(type(stored))
    found = Differences((names.get(name, name), both) for name, both in _differences(stored))
    veil = type(stored).__kinto_veil__()
    if veil is not None:
        # What holds a secret field hides it itself.
        found.hidden = {names.get(each[0], each[0]) for each in veil.paths if len(each) == 1}
    return found


def _differences(stored: Stored) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The same by stored names."""
    if is_new(stored) or state_of(stored).gone:
        given = sorted(each for each in traits_of(type(stored)).hiding if is_given(stored, each))
        for name in dict.fromkeys((*dump_of(stored), *given)):
            yield name, (None, value_of(stored, name))
        return
    pristine = pristine_of(stored)
    changes = changes_of(stored)
    hidden = hidden_changes(stored, lambda: pristine_of(stored))
    for name in dict.fromkeys((*changes.changed, *sorted(changes.removed), *hidden)):
        yield name, (value_of(pristine, name), value_of(stored, name))


def adopt(stored: S, other: S, keep: frozenset[str]) -> None:
    """Take the other's values, but for the stored names in `keep`."""
    names = names_of(type(stored))
    keep |= stored.__kinto_figures__
    given = {names.get(name, name) for name in keep}
    for name in differing(stored, other) - keep:
        field = names.get(name)
        target, source = (
            (stored.__dict__, other.__dict__)
            if field is not None
            else (extra_of(stored), other.__pydantic_extra__)
        )
        _copy_item(source or {}, target, field or name)
    # What the other was not given is not this one's own any more, either.
    stored.__pydantic_fields_set__.intersection_update(given)
    stored.__pydantic_fields_set__.update(other.__pydantic_fields_set__)
    reach([stored], state_of(stored).scope)


def _copy_item(source: Mapping[str, Any], target: dict[str, Any], name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def align(found: Stored, kept: dict[str, Any]) -> None:
    """Give an object the values of an earlier load of the same, where this one gave others."""
    try:
        now, names = dump_of(found), names_of(type(found))
    except InvalidData:  # it is what never fitted
        now, names = kept, {}
    other = {
        names[stored]
        for stored, value in kept.items()
        if stored in names and not same_json(value, now.get(stored))
    }
    if other:
        found.__dict__.update(loader_of(type(found)).fields(kept, frozenset(other)))
    set_state(found, State(None, None, Source(raws={}, kept=Kept(dumps={found.id: kept}))))


def plan(stored: Stored) -> None:
    """Remember what is going to be saved, where loading it again cannot tell."""
    traits = traits_of(type(stored))
    if traits.entangled or not traits.steady:
        own_state(stored).planned = dump_of(stored)


def made_of(stored: S, raw: Mapping[str, JsonValue], expected: Mapping[str, JsonValue]) -> S | None:
    """What the server has made of a write; None when it stored what it was sent.

    Args:
        stored: The object.
        raw: What the server has.
        expected: What it should have.

    Raises:
        InvalidData: It does not fit the model.
    """
    if raw == {**expected, "id": raw["id"], "last_modified": raw["last_modified"]}:
        return None
    return loader_of(type(stored)).of(raw)


def settle(
    stored: S,
    raw: Mapping[str, JsonValue],
    made: S | None,
    keep: frozenset[str] = frozenset(),
) -> None:
    """Become what the server has made of a write; equal values keep their identity.

    Args:
        stored: The object, whose state has been set.
        raw: What the server has.
        made: The same as an object; None when that is what it was sent.
        keep: The stored names of what was changed since.
    """
    state, traits = own_state(stored), traits_of(type(stored))
    stamp(stored, raw)
    written = _with_defaults(stored, raw, state.planned)
    if made is not None:
        adopt(stored, made, keep)
        written = None
    elif traits.entangled and written is not None:
        written = _follow(stored, raw, written)
    _take_forms(stored, raw)
    if not traits.steady:
        state.source = Source(
            raws={stored.id: dict(raw)}, kept=Kept(dumps={stored.id: written or dump_of(stored)})
        )


def settle_unchanged(stored: Stored) -> None:
    """Become what the server has, of which nothing has to be sent."""
    source = state_of(stored).source
    if source is not None and (traits_of(type(stored)).loose or stored.__pydantic_extra__):
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
    if len(stored.__dict__) == len(names_of(type(stored))):
        return written
    missing = type(stored).model_fields.keys() - stored.__dict__.keys()
    read = loader_of(type(stored)).of(raw)
    stored.__dict__.update({name: read.__dict__[name] for name in missing & read.__dict__.keys()})
    stored.__pydantic_fields_set__.difference_update(missing)
    if written is None:
        return None
    names, now = names_of(type(stored)), dump_of(stored)
    return {**written, **{n: each for n, each in now.items() if names.get(n) in missing}}


def _follow(
    stored: S, raw: Mapping[str, JsonValue], written: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Take the values that follow from others which were changed in place.

    What was changed while the request was under way stays.

    Returns:
        How the object is written without these.
    """
    read = loader_of(type(stored)).of(raw)
    now, then = dump_of(stored), dump_of(read)
    names = {
        name
        for name in _following(stored, read, loader_of(type(stored)).of(raw))
        if same_json(now.get(name), written.get(name))
    }
    _take(stored, read, names)
    return {**written, **{name: then[name] for name in names}}


def _following(stored: S, read: S, again: S) -> set[str]:
    """The stored names of what would be read as something else, and each time as the same."""
    other = differing(stored, read) & dump_of(read).keys() - traits_of(type(stored)).hiding
    return other - differing(read, again) if other else other


def _take_forms(stored: Stored, raw: Mapping[str, JsonValue]) -> None:
    """Let fields without a type have the JSON that they were written as."""
    names = traits_of(type(stored)).loose
    if not names and not stored.__pydantic_extra__:
        return
    loose = {each: value_of(stored, each) for each in names}
    other = {
        name
        for name, value in (extra_of(stored) | loose).items()
        if name in raw and value is not None and value != raw[name]
    }
    if other:
        now = dump_of(stored)
        same = {name for name in other if same_json(now.get(name), raw[name])}
        _take(stored, loader_of(type(stored)).of(raw), same)


def _take(stored: S, other: S, names: Iterable[str]) -> None:
    declared = names_of(type(stored))
    for name in names:
        target = stored.__dict__ if name in declared else extra_of(stored)
        target[declared.get(name, name)] = value_of(other, name)


def unsaved(stored: Stored) -> frozenset[str]:
    """The stored names of what an object has of its own: all that was given, if it is new."""
    if state_of(stored).source is not None:
        return frozenset(changes_of(stored).names)
    names = names_of(type(stored))
    dumped = dump_of(stored)
    given = {name for name in dumped if names.get(name, name) in stored.model_fields_set}
    left = {name for name in dumped.keys() - given if isinstance(dumped[name], dict | list)}
    defaults = dump_of(type(stored).model_construct()) if left else {}
    return frozenset(
        given | {name for name in left if not same_json(dumped[name], defaults.get(name))}
    )


def reload(
    stored: S,
    fresh: S,
    state: State,
    keep: frozenset[str],
    mixed: Mapping[str, JsonValue] | None = None,
) -> None:
    """Become another object of the same id, but for what is kept of one's own.

    Args:
        stored: The object.
        fresh: What the server has.
        state: The object's state from now on.
        keep: The stored names of what is kept.
        mixed: By stored names, what is to be as neither of the two has it.

    Raises:
        InvalidData: Both together do not fit the model; then nothing has changed.
    """
    before = state_of(stored), held_by(stored)
    adopt(stored, fresh, keep)
    stamp(stored, fresh.__dict__)
    set_state(stored, state)
    complaint = _mix(stored, mixed) if mixed else None
    if complaint is None and (keep or mixed):
        complaint = _join(stored)
    if complaint is not None:
        set_state(stored, before[0])
        go_back(stored, before[1])
        raise InvalidData(complaint)


def _mix(stored: Stored, mixed: Mapping[str, JsonValue]) -> str | None:
    """Take values that are given as JSON; say why they do not fit the model."""
    names = names_of(type(stored))
    earlier = [n for name in mixed for n in read_earlier(type(stored)).get(names.get(name, ""), ())]
    data = without(changes_of(stored).applied_to(raw_of(stored)), earlier) | dict(mixed)
    read: list[Stored] = []
    complaint = complaint_of(lambda: read.append(load_again(stored, data)), stored, data)
    if not read:
        return complaint or "it could not be loaded again."
    _take(stored, read[0], mixed)
    stored.__pydantic_fields_set__.update(names[name] for name in mixed.keys() & names.keys())
    reach([stored], state_of(stored).scope)
    return None


def _join(stored: Stored) -> str | None:
    """Let follow what depends on others; say why this would not be read back."""
    changes = changes_of(stored)
    if traits_of(type(stored)).entangled and changes:
        data = changes.applied_to(raw_of(stored))
        try:
            read, again = load_again(stored, data), load_again(stored, data)
        except Exception:  # noqa: BLE001  (whatever a validator raises: it is said below)
            read, again = stored, stored
        _take(stored, read, _following(stored, read, again))
        changes = changes_of(stored)
    return unreadable(stored, changes.applied_to(raw_of(stored)), changes.names)


def restore(stored: Stored, keep: frozenset[str]) -> None:
    """Become what was loaded or saved, but for what is kept of one's own."""
    adopt(stored, pristine_of(stored), keep)
    source = state_of(stored).source
    kept = None if source is None else source.dump(stored.id)
    if source is not None and kept is not None:
        now = {name: value for name, value in dump_of(stored).items() if name not in keep}
        old = {name: value for name, value in kept.items() if name in keep}
        dumps = {stored.id: now | old}
        own_state(stored).source = Source(
            raws={stored.id: source.raw(stored.id)}, kept=Kept(dumps=dumps)
        )
