"""Putting the changes of two writers together: three-way, down to the keys of objects.

Objects (models, dictionaries, what is not declared) are merged key by key, sets item by item. All
else is a leaf, which one side changes as a whole: a text, a number, a list, which has an order, and
an object of which the two sides, or what both began with, are of different classes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, JsonValue, RootModel

from kinto_orm.errors import InvalidData
from kinto_orm.models.contents import (
    differing,
    dump_at_load,
    dump_of,
    equal,
    in_order,
    raw_of,
    same_json,
    unlike,
    value_of,
)
from kinto_orm.models.declaring import stored_name
from kinto_orm.models.fidelity import names_read
from kinto_orm.models.naming import names_of
from kinto_orm.models.pristine import changes_of, pristine_of
from kinto_orm.models.readback import unreadable
from kinto_orm.models.state import is_new, state_of
from kinto_orm.models.stored import Stored
from kinto_orm.models.traits import tags_of, traits_of
from kinto_orm.wire.jsonvalues import ABSENT, MaybeJson

S = TypeVar("S", bound=Stored)

Path = tuple[str, ...]
"""A field by its name in the program, and the names on the way to what is inside of it."""

Whose = Literal["local", "remote", "both"]


@dataclass(frozen=True, slots=True)
class Merged:
    """Two changes put together.

    Attributes:
        keep: The stored names of the fields that stay as the local object has them.
        mixed: By stored names, what is neither as the one side has it nor as the other, as JSON.
        clashes: The leaves that both sides changed to different values.
        decided: Whose value was taken, for each path that is not the same on both sides.
    """

    keep: frozenset[str]
    mixed: Mapping[str, JsonValue]
    clashes: frozenset[Path]
    decided: Mapping[Path, Whose]

    @property
    def fields(self) -> frozenset[str]:
        """The fields in which the clashes are."""
        return frozenset(path[0] for path in self.clashes)


def put_together(
    local: S,
    remote: S,
    mine: Collection[str],
    prefer: Literal["local", "remote"] | None = None,
) -> Merged:
    """Merge what an object has of its own into what the server has; nothing is changed here.

    Args:
        local: The object.
        remote: What the server has.
        mine: The stored names of what the object has of its own.
        prefer: Whose value is taken where both changed a leaf.
    """
    sides = _Sides(None if is_new(local) else pristine_of(local), local, remote)
    names, joint = names_of(type(local)), _Joint(prefer)
    keep, mixed = set(mine), dict[str, JsonValue]()
    theirs, apart = sides.theirs(mine), differing(local, remote) - local.__kinto_server_made__
    contested = keep & theirs & apart
    whole = sides.whole(contested)
    for name in sorted(contested):
        three, path = sides.at(name), (names.get(name, name),)
        joint.tags = tags_of(type(local)).get(name, frozenset())
        joint.is_set = name in local.__kinto_sets__
        found = joint.leaf(path, three) if name in whole else joint.join(path, three)
        if not _is(found, three.local.json):
            keep.discard(name)
            if found is not ABSENT and not _is(found, three.remote.json):
                mixed[name] = found
    for name in (apart - contested) & (keep | theirs):
        joint.decided[(names.get(name, name),)] = "local" if name in keep else "remote"
    return Merged(frozenset(keep), mixed, frozenset(joint.clashes), joint.decided)


class _Part(NamedTuple):
    """What one side has at a path.

    Attributes:
        json: As it is written; ABSENT when it is not there.
        value: The same in Python.
        name: How the program calls it.
        given: Whether it was read or set, and is no default.
    """

    json: MaybeJson
    value: Any = ABSENT
    name: str = ""
    given: bool = True

    @property
    def is_nothing(self) -> bool:
        return self.json is ABSENT or self.json is None

    def parts(self) -> dict[str, _Part]:
        """What is inside of it, by stored names."""
        if not isinstance(self.json, dict):
            return {}
        inside = _inside(self.value, self.json)
        unnamed = _Part(None)
        return {
            name: inside.get(name, unnamed)._replace(json=each) for name, each in self.json.items()
        }

    def tag(self, name: str) -> MaybeJson:
        """The value inside of it that tells what kind of object it is."""
        return self.json.get(name, ABSENT) if isinstance(self.json, dict) else ABSENT

    def items(self) -> list[JsonValue]:
        """What it has, as a set."""
        return self.json if isinstance(self.json, list) else []


_NOTHING: Final = _Part(ABSENT, given=False)


class _Three(NamedTuple):
    """The same place on all sides."""

    base: _Part
    local: _Part
    remote: _Part

    @property
    def known(self) -> list[_Part]:
        """Those that there are; of the base it does not count that there is nothing."""
        return [*self[1:], *([] if self.base.is_nothing else [self.base])]


class _Sides:
    """The three objects.

    Args:
        base: What both sides began with; None when the object is new.
        local: The object.
        remote: What the server has.
    """

    def __init__(self, base: Stored | None, local: Stored, remote: Stored) -> None:
        self._base, self._local, self._remote = base, local, remote
        self._dumps = (
            {} if base is None else dump_at_load(base),
            dump_of(local),
            dump_of(remote),
        )

    def theirs(self, mine: Collection[str]) -> set[str]:
        """The stored names of what the other side changed."""
        if type(self._local) is not type(self._remote):
            return {*mine, *self._dumps[2]}  # another kind of object: all of it is another
        if self._base is None:
            return set(self._dumps[2])
        changed = differing(self._base, self._remote)
        new, model = unlike(raw_of(self._local), raw_of(self._remote)), type(self._local)
        # A default that each load makes anew was changed by nobody.
        return {name for name in changed if not new.isdisjoint(_read_names(model, name))}

    def at(self, name: str) -> _Three:
        """What each has under a stored name."""
        base, local, remote = (
            _part_of(each, dump, name)
            for each, dump in zip((self._base, self._local, self._remote), self._dumps, strict=True)
        )
        if _same(base, local):
            base = _NOTHING  # a default that the server lacks, and that was given by the program
        return _Three(base, local, remote)

    def whole(self, contested: Collection[str]) -> set[str]:
        """The stored names of what is not looked into.

        That is what may hold more than is written, where it does; and what was not loaded, so
        that nobody knows what became of it.
        """
        local, found = self._local, {n for n in contested if _is_hidden(self.at(n))}
        if type(local) is not type(self._remote):
            return set(contested)
        if state_of(local).partial:
            found |= {name for name in contested if name not in self._dumps[0]}
        hiding = traits_of(type(local)).hiding.intersection(contested)
        if hiding and not (is_new(local) or _is_readable(local)):
            found |= hiding
        return found


def _is_readable(local: Stored) -> bool:
    """Whether an object would be read back as it is, once its changes were saved."""
    changes = changes_of(local)
    try:
        return unreadable(local, changes.applied_to(raw_of(local)), changes.names) is None
    except InvalidData:
        return False


def _is_hidden(three: _Three) -> bool:
    """Whether the two sides differ in what is not written."""
    return _is(three.local.json, three.remote.json)


def _read_names(model: type[Stored], name: str) -> set[str]:
    """The names in a record from which a field is read."""
    field_name = names_of(model).get(name)
    return {name} if field_name is None else {name, *names_read(model.model_fields[field_name])}


def _part_of(stored: Stored | None, dump: Mapping[str, JsonValue], name: str) -> _Part:
    if stored is None or name not in dump:
        return _NOTHING
    return _Part(dump[name], value_of(stored, name), names_of(type(stored)).get(name, name))


@dataclass(slots=True)
class _Joint:
    """What is found on the way down.

    Args:
        prefer: Whose value is taken where both changed a leaf.

    Attributes:
        tags: The names that tell the objects of a union apart which are no models.
        is_set: Whether a list has no order.
    """

    prefer: Literal["local", "remote"] | None
    tags: frozenset[str] = frozenset()
    is_set: bool = False
    clashes: set[Path] = field(default_factory=set)
    decided: dict[Path, Whose] = field(default_factory=dict)

    def join(self, path: Path, three: _Three) -> MaybeJson:
        """What comes of the three; what both changed to different values is noted."""
        base, local, remote = three
        if _same(local, remote):
            return remote.json
        if _same(base, local):
            return self._take(path, "remote", three)
        if _same(base, remote) or not (base.given or remote.given):
            return self._take(path, "local", three)
        if self._is_object(three):
            return self._keys(path, three)
        items = _items(three) if self.is_set or _are_sets(three) else None
        return self.leaf(path, three) if items is None else self._both(path, three, items)

    def leaf(self, path: Path, three: _Three) -> MaybeJson:
        """What both changed as a whole."""
        self.clashes.add(path)
        return self._take(path, self.prefer or "local", three)

    def _take(self, path: Path, whose: Whose, three: _Three) -> MaybeJson:
        self.decided[path] = whose
        return three.local.json if whose == "local" else three.remote.json

    def _both(self, path: Path, three: _Three, items: list[JsonValue]) -> MaybeJson:
        found = in_order(items)
        if _is(found, in_order(three.remote.items())):
            self.decided[path] = "remote"
        else:
            same = _is(found, in_order(three.local.items()))
            self.decided[path] = "local" if same else "both"
        return items

    def _is_object(self, three: _Three) -> bool:
        """Whether all are objects of one class, to be merged by their keys."""
        known = three.known
        if not all(isinstance(each.json, dict) for each in known):
            return False
        if len({type(each.value) for each in known}) > 1:
            return False
        return all(_is(known[0].tag(tag), each.tag(tag)) for each in known[1:] for tag in self.tags)

    def _keys(self, path: Path, three: _Three) -> JsonValue:
        base, local, remote = (each.parts() for each in three)
        joined = {}
        for name in {**remote, **local}:
            inside = _Three(*(each.get(name, _NOTHING) for each in (base, local, remote)))
            label = inside.local.name or inside.remote.name or name
            found = self.join((*path, label), inside)
            if found is not ABSENT:
                joined[name] = found
        return joined


def _is(one: MaybeJson, other: MaybeJson) -> bool:
    if one is ABSENT or other is ABSENT:
        return one is other
    return same_json(one, other)


def _same(one: _Part, other: _Part) -> bool:
    if _is(one.json, other.json):
        return True
    if one.json is ABSENT or other.json is ABSENT:
        return False
    # Sets have no order, their dumps have one.
    return bool(equal(one.value, other.value)) and same_json(
        in_order(one.json), in_order(other.json)
    )


def _inside(value: Any, written: Mapping[str, JsonValue]) -> dict[str, _Part]:
    """What is in an object in Python, by the names under which it is written."""
    if isinstance(value, RootModel):
        return _inside(value.root, written)
    if isinstance(value, BaseModel):
        given, extra = value.model_fields_set, value.__pydantic_extra__ or {}
        found = {
            stored_name(name, info): _Part(None, value.__dict__.get(name), name, name in given)
            for name, info in type(value).model_fields.items()
        }
        return found | {name: _Part(None, each, name) for name, each in extra.items()}
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return {name: _Part(None, getattr(value, name, ABSENT), name) for name in names}
    if isinstance(value, Mapping) and len(value) == len(written):
        # In the order in which they are written; keys may be no texts in Python.
        pairs = zip(written, value.values(), strict=True)
        return {name: _Part(None, each, name) for name, each in pairs}
    return {}


# Sets


def _are_sets(three: _Three) -> bool:
    return all(isinstance(_root(each.value), set | frozenset) for each in three.known)


def _root(value: Any) -> Any:
    return value.root if isinstance(value, RootModel) else value


def _items(three: _Three) -> list[JsonValue] | None:
    """What comes of three sets; None when their items cannot be told apart by what is written."""
    if not all(isinstance(each.json, list) for each in three.known):
        return None
    key = _key_for(item for each in three.known for item in _root(each.value) or ())
    if key is None:
        return None
    base, local, remote = ({key(item): item for item in each.items()} for each in three)
    gone = base.keys() - local.keys()
    return [
        *(item for name, item in remote.items() if name not in gone),
        *(item for name, item in local.items() if name not in base and name not in remote),
    ]


def _key_for(values: Iterable[Any]) -> Callable[[JsonValue], str] | None:
    """What tells the items of sets apart; None when that cannot be told.

    A set in a set is written in any order.
    """
    items = list(values)
    if not any(map(_holds_set, items)):
        return lambda item: json.dumps(item, sort_keys=True)
    if all(isinstance(each, frozenset) and not any(map(_holds_set, each)) for each in items):
        return lambda item: json.dumps(in_order(item), sort_keys=True)
    return None


def _holds_set(value: Any) -> bool:
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        return any(map(_holds_set, vars(value).values()))
    return isinstance(value, frozenset) or (
        isinstance(value, tuple) and any(map(_holds_set, value))
    )
