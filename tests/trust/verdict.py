"""What is right after a fault, judged by what the server has."""

from __future__ import annotations

import copy
import logging
import traceback
from asyncio import CancelledError
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kinto_orm import (
    Conflict,
    KeyNotFound,
    KintoError,
    NotFound,
    TransportError,
)
from kinto_orm.models.resource import Resource
from trust.answers import is_write
from trust.direct import Stored
from trust.faults import Fault
from trust.operations import Operation
from trust.proxy import Received
from trust.world import DEADLINE, World

MARK = "theirs"
# The rest of the deadline, the last answer's slowness, and a machine that is busy.
PATIENCE = DEADLINE + 3.0

_MISSING = object()


@dataclass(frozen=True)
class Plain:
    """What an operation does when nothing goes wrong.

    Attributes:
        before: What the server had.
        after: What it has.
        result: What the user sees.
        read: What the user sees of its parts, where they are acknowledged one by one.
        received: The requests.
        waits: At how many points it waits for its loop.
    """

    before: Stored
    after: Stored
    result: Any
    read: Mapping[str, Any]
    received: Sequence[Received]
    waits: int

    @property
    def lists(self) -> list[str]:
        """The lists in which there is something, and what the operation may make."""
        paths = self.before.keys() | self.after.keys() | {"collections/x"}
        return sorted({each.rsplit("/", 1)[0] for each in paths})

    @property
    def changed(self) -> set[str]:
        """The paths of what the operation changes."""
        paths = self.before.keys() | self.after.keys()
        return {each for each in paths if self.before.get(each) != self.after.get(each)}


@dataclass
class Outcome:
    """What became of one operation that met a fault.

    Attributes:
        result: What came back; nothing when it raised.
        error: What it raised.
        stored: What the server had afterwards.
        seconds: How long it took.
        received: The requests.
        records: What was logged meanwhile.
        left: What the loop complains of, and what goes on though nobody waits for it.
        wrong: What is wrong with it.
    """

    result: Any = None
    error: BaseException | None = None
    stored: Stored = field(default_factory=dict)
    seconds: float = 0.0
    received: Sequence[Received] = ()
    records: list[logging.LogRecord] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> bool:
        return self.error is None


class Judge:
    """Judges one operation under one fault."""

    def __init__(self, operation: Operation, fault: Fault, plain: Plain, world: World) -> None:
        self.operation = operation
        self.fault = fault
        self.plain = plain
        self.world = world

    def all(self, subject: Any, outcome: Outcome) -> None:
        """Put all that is wrong into the outcome."""
        try:
            for look in (self.errors, self.sent, self.result, self.stored):
                outcome.wrong += look(outcome)
            outcome.wrong += self.belief(subject, outcome)
            outcome.wrong += self.going_on(subject, outcome)
        except Exception as error:
            outcome.wrong.append(f"breaks afterwards: {type(error).__name__}: {str(error)[:80]}")

    # What the user is told

    def errors(self, outcome: Outcome) -> Iterator[str]:
        """Only documented errors come out, soon enough, and without secrets."""
        yield from outcome.left
        if self.fault.cancels:
            if not isinstance(outcome.error, CancelledError):
                yield f"not cancelled, but {outcome.error!r:.80}"
        elif outcome.error is not None:
            for each in leaves(outcome.error):
                if not isinstance(each, KintoError):
                    yield f"foreign error {type(each).__name__}: {str(each)[:80]}"
        if outcome.seconds > PATIENCE + self.operation.longer:
            yield f"hangs: {outcome.seconds:.1f} s with a deadline of {DEADLINE} s"
        for where, text in _texts(outcome):
            if any(secret in text for secret in self.world.secrets):
                yield f"secret in the {where}"

    def sent(self, outcome: Outcome) -> Iterator[str]:
        """Nothing that writes is sent in a dry run."""
        for each in outcome.received if self.operation.dry else ():
            if is_write(each):
                yield f"a dry run has sent {each}"

    def result(self, outcome: Outcome) -> Iterator[str]:
        """What is returned is what is so."""
        if self.fault.lies:
            return
        for name, value in self.world.read.items():
            if self.world.named(value) != self.plain.read.get(name):
                yield f"wrong part {name!r}: {value!r:.80}"
        if not outcome.acknowledged or self.fault.other:
            return
        if outcome.result != self.plain.result:
            yield f"wrong result {outcome.result!r:.100} instead of {self.plain.result!r:.100}"

    # What the server has

    def stored(self, outcome: Outcome) -> Iterator[str]:
        """What was acknowledged is stored, the rest is whole, and nothing else happened."""
        before, after, found = self.plain.before, self.plain.after, outcome.stored
        for path in before.keys() | after.keys() | found.keys():
            if path == self.operation.target and self.fault.other:
                yield from self._met(outcome)
                continue
            now = found.get(path)
            if path in self._acknowledged(outcome) and now != after.get(path):
                yield f"acknowledged, but {path} is {_short(now)}, not {_short(after.get(path))}"
            elif not self._is_whole(now, before.get(path), after.get(path)):
                yield f"{path} became {_short(now)}"

    def _is_whole(self, now: Any, before: Any, after: Any) -> bool:
        """Whether it is as it was, or as it should be; between the two when there are steps."""
        if now in (before, after):
            return True
        steps = self.operation.steps and now is not None
        return steps and all(
            _at(now, keys) in (_at(before, keys), value) for keys, value in _changes(before, after)
        )

    def _acknowledged(self, outcome: Outcome) -> set[str]:
        """The paths of which the user believes that they are written."""
        if self.fault.lies:
            return set()
        done = {self.world.path_of(path) for path in self.world.done}
        if outcome.acknowledged:
            return self.plain.changed
        return done & self.plain.changed

    def _met(self, outcome: Outcome) -> Iterator[str]:
        """The object to which another writer wrote, too."""
        path = self.operation.target
        now = outcome.stored.get(path)
        believed = path in self._acknowledged(outcome) and (
            not outcome.acknowledged or self.operation.claims(outcome.result)
        )
        if believed and self.fault.other == "equal" and not self.fault.done:
            yield from self._own_equal_write(now)
        if self.operation.overwrites or self._took_theirs(outcome, now):
            return
        undone = self.fault.other == "deleted" and now is None and self.fault.done
        if believed and not undone and not self._has_effect(now) and not self._is_twice(now):
            yield f"acknowledged, but {path} is {_short(now)}"
        yield from self._another_is_kept(now)

    def _own_equal_write(self, now: Any) -> Iterator[str]:
        """Who overwrites or appends has written, whatever another did; nobody else has."""
        writes = self.operation.overwrites and not self._deletes
        if not writes and not self._is_twice(now):
            yield "another's equal write was taken for its own"

    def _is_twice(self, now: Any) -> bool:
        """Whether what can be done twice was done by both."""
        after = self.plain.after.get(self.operation.target)
        return self.operation.appends and self.fault.other == "equal" and now != after

    def _took_theirs(self, outcome: Outcome, now: Any) -> bool:
        """Whether the other's value was removed and given to the user."""
        theirs = self.operation.takes and _is_theirs(outcome.result)
        return theirs and not self.fault.done and now is None

    def _another_is_kept(self, now: Any) -> Iterator[str]:
        """What the other writer did is still so."""
        if self.fault.other == "different" and not _is_marked(now):
            yield f"another's write was overwritten: {_short(now)}"
        if self.fault.other == "equal" and not self.operation.appends and not self._has_effect(now):
            yield f"another's equal write was overwritten: {_short(now)}"
        if self.fault.other == "deleted" and now is not None and not self._may_make_anew():
            yield f"another's delete was undone: {_short(now)}"

    def _may_make_anew(self) -> bool:
        """Whether the operation makes its object when there is none."""
        if self.operation.makes or not self.plain.before.get(self.operation.target):
            return True
        return "/kv/" in self.operation.target and self.operation.target in self.plain.after

    def _has_effect(self, now: Any) -> bool:
        """Whether an object has all that the operation changes in it."""
        path = self.operation.target
        before, after = self.plain.before.get(path), self.plain.after.get(path)
        if after is None or now is None:
            return after is None and now is None
        return all(_at(now, keys) == value for keys, value in _changes(before, after))

    # What the object believes

    def belief(self, subject: Any, outcome: Outcome) -> Iterator[str]:
        """After an acknowledgement the objects are what the server has."""
        if not outcome.acknowledged or self.fault.lies or self.fault.other:
            return
        for each in _objects(subject):
            yield from self._believes(each)

    def _believes(self, resource: Resource) -> Iterator[str]:
        if resource.is_new or resource.is_partial:
            return
        inside = resource.uri.split("/", 3)[-1]
        actual = self.world.direct.read(self.world.bucket, inside)
        if actual is None:
            return
        if not self.operation.keeps and resource.diff():
            yield f"diff() of {resource.id} is {resource.diff()!r:.100}"
        if resource.last_modified != actual["data"]["last_modified"]:
            yield f"last_modified of {resource.id} is out of date"

    # Going on

    def going_on(self, subject: Any, outcome: Outcome) -> Iterator[str]:
        """After an error the same is done again, without a fault: then it is done, once."""
        if outcome.acknowledged or self.fault.lies:
            return
        writes = bool(self.plain.changed)
        if self.operation.appends and outcome.stored != self.plain.before:
            return
        self.world.done.clear()
        error, result, merged = self._again(subject)
        found = self.world.look(self.operation.target, self.plain.lists)
        if error is not None and not self._may_fail(error, found):
            yield f"cannot go on: {type(error).__name__}: {str(error)[:160]}"
        elif not writes and result != self.plain.result and not self.fault.other:
            yield f"wrong result later: {result!r:.100}"
        if self.fault.other:
            yield from self._still_theirs(found, result, merged=merged)
        elif found != self.plain.after:
            yield f"later stored: {_differing(found, self.plain.after)}"

    def _still_theirs(self, found: Stored, result: Any, *, merged: bool) -> Iterator[str]:
        """Doing it again keeps what the other writer did, too."""
        # Whoever prefers the local object to a deleted one makes it again.
        if self.operation.overwrites or (merged and self.fault.other == "deleted"):
            return
        if self.operation.undoes:
            return
        if self.operation.takes and _is_theirs(result):
            return
        for each in self._another_is_kept(found.get(self.operation.target)):
            yield f"later: {each}"

    def _again(self, subject: Any) -> tuple[Exception | None, Any, bool]:
        """Do it again; what it raised, what came back, and whether it had to be merged.

        No fault is armed: when no answer comes then, the machine is slow, and it is tried again.
        """
        for _ in range(1 if self.operation.appends else 10):
            error, result, merged = self._once_more(subject)
            if error is None or not all(isinstance(e, TransportError) for e in leaves(error)):
                break
        return error, result, merged

    def _once_more(self, subject: Any) -> tuple[Exception | None, Any, bool]:
        try:
            return None, self.world.named(self._act(subject)), False
        except Conflict as error:
            if self._deletes:
                return error, None, False
            return self._merged(error), None, True
        except Exception as error:
            return error, None, False

    def _act(self, subject: Any) -> Any:
        return self.world.run(self.operation.act(self.world, subject))

    @property
    def _deletes(self) -> bool:
        """Whether all that the operation does is to delete."""
        return not self.plain.after.keys() & self.plain.changed

    def _merged(self, error: Conflict) -> Exception | None:
        """Take both changes together, as the documentation says."""
        try:
            merged = error.merge(prefer="local")
            self.world.run(self.world.do(merged).save())
        except Exception as problem:
            return problem
        return None

    def _may_fail(self, error: Exception, found: Stored) -> bool:
        """Whether the error says what is so: it was done already, or somebody was first."""
        path = self.operation.target
        gone = found.get(path) is None
        kinds = list(leaves(error))
        known = all(isinstance(each, Conflict | NotFound | KeyNotFound) for each in kinds)
        if self.fault.other:
            return known
        done = all(found.get(each) == self.plain.after.get(each) for each in self.plain.changed)
        missing = all(isinstance(each, KeyNotFound) for each in kinds)
        return known and done and (gone or missing or isinstance(error, ExceptionGroup))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside of groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def mark(stored: Any, target: str) -> dict[str, Any]:
    """What another writer makes of an object: the same with a mark; a new one when it is gone."""
    data = copy.deepcopy(stored["data"]) if stored else _fresh(target)
    value = data.get("value")
    (value if isinstance(value, dict) else data)["mark"] = MARK
    data.pop("last_modified", None)
    return data


def _fresh(target: str) -> dict[str, Any]:
    id = target.rsplit("/", 1)[-1]
    if "/kv/" in target:
        return {"key": id, "value": {}}
    if "/templates/" in target:
        return {"name": id, "source": "theirs"}
    return {"members": []} if target.startswith("groups/") else {"title": "theirs"}


def _is_theirs(result: Any) -> bool:
    return isinstance(result, dict) and result.get("mark") == MARK


def _is_marked(now: Any) -> bool:
    return now is not None and MARK in (
        now["data"].get("mark"),
        now["data"]["value"].get("mark") if isinstance(now["data"].get("value"), dict) else None,
    )


def _changes(before: Any, after: Any, *way: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What differs, each innermost value with the keys that lead to it."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            old, new = before.get(key, _MISSING), after.get(key, _MISSING)
            if old != new:
                yield from _changes(old, new, *way, key)
    elif isinstance(after, dict) and before in (None, _MISSING):
        for key, value in after.items():
            yield from _changes(None, value, *way, key)
    elif way and way[-1] in ("read", "write"):
        yield (*way,), after
    else:
        yield way, after


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _objects(subject: Any) -> Iterator[Resource]:
    for each in subject if isinstance(subject, list) else [subject]:
        if isinstance(each, Resource):
            yield each


def _texts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    if outcome.error is not None:
        yield "message", str(outcome.error)
        yield "repr", repr(outcome.error)
        yield "traceback", "".join(traceback.format_exception(outcome.error))
    for each in outcome.records:
        yield "log", f"{each.getMessage()} {each.exc_text or ''}"


def _short(value: Any) -> str:
    return "gone" if value is None else f"{value!r:.120}"


def _differing(found: Stored, wanted: Stored) -> str:
    paths = sorted(p for p in found.keys() | wanted.keys() if found.get(p) != wanted.get(p))
    return "; ".join(f"{p} is {_short(found.get(p))}, not {_short(wanted.get(p))}" for p in paths)
